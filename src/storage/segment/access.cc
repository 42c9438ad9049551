// Reading bytes, blocks and indexes of segments.
#include "storage/segment/access.h"

#include <algorithm>
#include <utility>

namespace robustmq::storage::segment {

using runtime::FilePtr;
using runtime::Task;

namespace {
constexpr uint64_t kScanBytes = 1 << 20;
}

Task<Result<FilePtr>> EngineCore::Access::open(Offset base) {
  Result<FilePtr> file =
      co_await wait<Result<FilePtr>>([&](auto done) { engine_.open_segment(log_, base, false, std::move(done)); });
  co_return file;
}

Task<Result<Bytes>> EngineCore::Access::read_bytes(Offset base, uint64_t position, uint64_t size) {
  Result<FilePtr> file = co_await open(base);
  if (!file.ok()) co_return file.error();
  Result<Bytes> bytes = co_await wait<Result<Bytes>>(
      [&](auto done) { engine_.core_.disk().read(*file, position, static_cast<size_t>(size), std::move(done)); });
  co_return bytes;
}

Task<Status> EngineCore::Access::load_index(Offset base) {
  while (true) {
    const Segment* segment = log_->find(base);
    if (!segment) co_return Status(Code::offset_out_of_range);
    if (segment->index && segment->index->covered_from() == 0) co_return Status();
    Status scanned = co_await scan_segment(base);  // in vain when the segment changed meanwhile
    if (!scanned.ok()) co_return scanned;
  }
}

Task<Status> EngineCore::Access::scan_segment(Offset base) {
  Segment* segment = log_->find(base);
  if (!segment) co_return Status(Code::offset_out_of_range);
  const bool has_index = segment->index != nullptr;
  const uint64_t size = has_index ? segment->index->covered_from() : segment->size_bytes;
  const Offset end = has_index && segment->index->block_count() > 0 ? segment->index->offset_of(0) : segment->end;

  auto scanned = std::make_unique<SegmentIndex>(base, 0, engine_.index_interval());
  Offset expected = base;
  uint64_t damaged = 0;
  uint64_t window = kScanBytes;
  while (scanned->size() < size) {
    const uint64_t position = scanned->size();
    const uint64_t asked = std::min(window, size - position);
    Result<Bytes> bytes = co_await read_bytes(base, position, asked);
    if (!bytes.ok() && bytes.code() != Code::not_found) co_return Status(bytes.error());
    const bool is_last = position + asked == size;
    const ByteSpan present = bytes.ok() ? bytes->span() : ByteSpan();
    BatchWalker walker(present, expected, end);
    BatchWalker::Step step;
    bool grew = false;
    while (walker.next(step)) {
      // What looks damaged at the end of a window may only be cut by it.
      if (step.is_damaged && !is_last && step.position + step.size == present.size()) break;
      grew = true;
      damaged += step.is_damaged ? 1 : 0;
      scanned->add(step.offset, step.size, step.max_timestamp, !step.is_damaged);
      expected = step.next;
    }
    window = grew ? kScanBytes : window * 2;
    if (is_last && scanned->size() < size) {
      // The file is shorter than it was.
      damaged += 1;
      scanned->add(expected, size - scanned->size(), -1, false);
    }
  }
  engine_.metrics_.corrupt_batches_total += damaged;
  segment = log_->find(base);
  if (!segment) co_return Status(Code::offset_out_of_range);
  if (!segment->index && segment->size_bytes == size) {
    segment->index = std::move(scanned);
    engine_.count_index(log_, *segment);
  } else if (segment->index && segment->index->covered_from() == size) {
    segment->index->extend_front(*scanned);
  }
  co_return Status();
}

Task<Result<EngineCore::Access::BlockBytes>> EngineCore::Access::read_block(Offset base, size_t block) {
  Segment* segment = log_->find(base);
  if (!segment || !segment->index || block >= segment->index->block_count()) co_return Code::offset_out_of_range;
  BlockBytes result;
  const SegmentIndex& index = *segment->index;
  result.begin = index.offset_of(block);
  result.end = block + 1 < index.block_count() ? index.offset_of(block + 1) : segment->end;
  const uint64_t position = index.position_of(block);
  uint64_t end = index.end_of(block);
  if (base == log_->durable_base && end > log_->durable_position) {
    end = log_->durable_position;
    result.end = log_->durable;
  }
  if (end <= position) co_return result;
  Result<Bytes> bytes = co_await read_bytes(base, position, end - position);
  if (!bytes.ok()) co_return bytes.error();
  result.bytes = bytes.take();
  co_return result;
}

}  // namespace robustmq::storage::segment
