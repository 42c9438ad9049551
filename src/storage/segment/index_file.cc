// Encoding and decoding of a segment's index file. Pure.
#include "storage/segment/index_file.h"

#include "base/hash.h"
#include "base/wire.h"

namespace robustmq::storage::segment {
namespace {

constexpr uint64_t kIndexMagic = 0x49514D52;  // "RMQI"
constexpr uint64_t kIndexVersion = 1;
constexpr size_t kIndexCrcEnd = 8;
constexpr uint32_t kSole = 1u << 31;

Error wrong(const char* what) { return {Code::corrupt_storage, std::string("index file: ") + what}; }

}  // namespace

Bytes encode_index(const SegmentIndex& index, Offset base, Offset end) {
  Buffer body;
  wire::put_fixed(kIndexVersion, 4, body);
  wire::put_fixed(index.block_count(), 4, body);
  wire::put_fixed(static_cast<uint64_t>(base), 8, body);
  wire::put_fixed(static_cast<uint64_t>(end), 8, body);
  wire::put_fixed(index.size(), 8, body);
  for (size_t i = 0; i < index.block_count(); ++i) {
    wire::put_fixed(static_cast<uint64_t>(index.offset_of(i) - base), 4, body);
    wire::put_fixed(index.position_of(i) | (index.is_sole(i) ? kSole : 0), 4, body);
    wire::put_fixed(static_cast<uint64_t>(index.max_timestamp_of(i)), 8, body);
  }
  const Bytes behind = body.take();
  Buffer file;
  wire::put_fixed(kIndexMagic, 4, file);
  wire::put_fixed(crc32c(behind), 4, file);
  file.append(behind);
  return file.take();
}

Result<SegmentIndex> decode_index(ByteSpan bytes, Offset base, Offset end, uint64_t size, uint32_t interval) {
  wire::Reader reader(bytes);
  const uint64_t magic = reader.fixed(4);
  const uint64_t crc = reader.fixed(4);
  if (reader.failed() || magic != kIndexMagic) return wrong("no index");
  if (crc != crc32c(bytes.subspan(kIndexCrcEnd))) return wrong("damaged");
  const uint64_t version = reader.fixed(4);
  if (version > kIndexVersion) return Error{Code::not_supported, "an index file of format " + std::to_string(version)};
  const uint64_t count = reader.fixed(4);
  const auto its_base = static_cast<Offset>(reader.fixed(8));
  const auto its_end = static_cast<Offset>(reader.fixed(8));
  const uint64_t its_size = reader.fixed(8);
  if (reader.failed() || bytes.size() != index_file_bytes(count)) return wrong("another length than its blocks");
  if (its_base != base || its_end != end || its_size != size || size == 0 || count == 0) return wrong("of another state");
  SegmentIndex index(base, 0, interval);
  for (uint64_t i = 0; i < count; ++i) {
    const auto offset = base + static_cast<Offset>(reader.fixed(4));
    const uint64_t position = reader.fixed(4);
    const auto max_timestamp = static_cast<int64_t>(reader.fixed(8));
    if (!index.add_block(offset, position & ~uint64_t{kSole}, (position & kSole) != 0, max_timestamp))
      return wrong("blocks out of order");
  }
  if (index.offset_of(count - 1) >= end || !index.close_at(size)) return wrong("blocks behind the end");
  return index;
}

}  // namespace robustmq::storage::segment
