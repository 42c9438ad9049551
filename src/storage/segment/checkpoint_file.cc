// Encoding and decoding of the checkpoint. Pure.
#include "storage/segment/checkpoint_file.h"

#include "base/hash.h"
#include "base/wire.h"
#include "storage/segment/index.h"

namespace robustmq::storage::segment {
namespace {

constexpr uint64_t kMagic = 0x43514D52;  // "RMQC"
constexpr uint64_t kVersion = 2;
constexpr uint64_t kVersionWithGenerations = 2;
constexpr size_t kCrcEnd = 8;
constexpr uint64_t kIsBeingCut = 1;

void put(uint64_t value, size_t bytes, Buffer& to) { wire::put_fixed(value, bytes, to); }

void put_log(const CheckpointLog& log, Buffer& to) {
  to.append(ByteSpan(log.id.topic.bytes));
  put(static_cast<uint32_t>(log.id.partition), 4, to);
  put(static_cast<uint32_t>(log.last_epoch), 4, to);
  put(static_cast<uint64_t>(log.start), 8, to);
  put(static_cast<uint64_t>(log.end), 8, to);
  put(static_cast<uint64_t>(log.state_as_of), 8, to);
  put(log.replica_state.size(), 4, to);
  put(log.segments.size(), 4, to);
  put(log.is_being_cut ? kIsBeingCut : 0, 4, to);
  to.append(log.replica_state);
  for (const CheckpointSegment& segment : log.segments) {
    put(static_cast<uint64_t>(segment.base), 8, to);
    put(static_cast<uint64_t>(segment.end), 8, to);
    put(segment.size_bytes, 8, to);
    put(static_cast<uint64_t>(segment.max_timestamp), 8, to);
    put(segment.generation, 4, to);
  }
}

bool take_log(wire::Reader& reader, uint64_t version, CheckpointLog& log) {
  const ByteSpan topic = reader.take(16);
  if (reader.failed()) return false;
  std::copy(topic.begin(), topic.end(), log.id.topic.bytes.begin());
  log.id.partition = static_cast<int32_t>(reader.fixed(4));
  log.last_epoch = static_cast<LeaderEpoch>(reader.fixed(4));
  log.start = static_cast<Offset>(reader.fixed(8));
  log.end = static_cast<Offset>(reader.fixed(8));
  log.state_as_of = static_cast<Offset>(reader.fixed(8));
  const uint64_t state_bytes = reader.fixed(4);
  const uint64_t segment_count = reader.fixed(4);
  log.is_being_cut = (reader.fixed(4) & kIsBeingCut) != 0;
  log.replica_state = Bytes::copy_of(reader.take(state_bytes));
  if (reader.failed() || segment_count > reader.left() / 32) return false;
  Offset expected = INT64_MIN;
  for (uint64_t i = 0; i < segment_count; ++i) {
    CheckpointSegment segment;
    segment.base = static_cast<Offset>(reader.fixed(8));
    segment.end = static_cast<Offset>(reader.fixed(8));
    segment.size_bytes = reader.fixed(8);
    segment.max_timestamp = static_cast<int64_t>(reader.fixed(8));
    if (version >= kVersionWithGenerations) segment.generation = static_cast<uint32_t>(reader.fixed(4));
    const bool continues = i == 0 || segment.base == expected;
    if (!continues || segment.base < 0 || segment.end < segment.base || segment.size_bytes >= kSegmentBytesMax + (1u << 31))
      return false;
    expected = segment.end;
    log.segments.push_back(segment);
  }
  const bool ends = log.segments.empty() || expected == log.end;
  return !reader.failed() && ends && log.start >= 0 && log.start <= log.end;
}

}  // namespace

Bytes encode_checkpoint(const Checkpoint& checkpoint) {
  Buffer buffer(64 + checkpoint.logs.size() * 128);
  put(kMagic, 4, buffer);
  put(0, 4, buffer);
  put(kVersion, 4, buffer);
  put(0, 4, buffer);
  put(checkpoint.generation, 8, buffer);
  put(checkpoint.covered_sequence, 8, buffer);
  put(checkpoint.file_epoch_last, 8, buffer);
  put(checkpoint.logs.size(), 8, buffer);
  for (const CheckpointLog& log : checkpoint.logs) put_log(log, buffer);
  const uint32_t crc = crc32c(buffer.span().subspan(kCrcEnd));
  std::memcpy(buffer.data() + 4, &crc, 4);
  return buffer.take();
}

Result<Checkpoint> decode_checkpoint(ByteSpan bytes) {
  wire::Reader reader(bytes);
  const uint64_t magic = reader.fixed(4);
  const uint64_t crc = reader.fixed(4);
  const uint64_t version = reader.fixed(4);
  reader.fixed(4);
  if (reader.failed() || magic != kMagic) return Error{Code::corrupt_storage, "the checkpoint has no magic"};
  if (crc != crc32c(bytes.subspan(kCrcEnd))) return Error{Code::corrupt_storage, "the checkpoint fails its checksum"};
  if (version < 1 || version > kVersion) return Error{Code::not_supported, "checkpoint format " + std::to_string(version)};
  Checkpoint checkpoint;
  checkpoint.generation = reader.fixed(8);
  checkpoint.covered_sequence = reader.fixed(8);
  checkpoint.file_epoch_last = reader.fixed(8);
  const uint64_t count = reader.fixed(8);
  for (uint64_t i = 0; i < count; ++i) {
    CheckpointLog log;
    if (!take_log(reader, version, log)) return Error{Code::corrupt_storage, "a log of the checkpoint is malformed"};
    checkpoint.logs.push_back(std::move(log));
  }
  if (reader.left() != 0) return Error{Code::corrupt_storage, "bytes left over behind the checkpoint"};
  return checkpoint;
}

}  // namespace robustmq::storage::segment
