// Reading bytes, blocks and indexes of segments.
#include "storage/segment/access.h"

#include <algorithm>
#include <utility>

#include "storage/segment/index_file.h"

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

Task<Result<Bytes>> EngineCore::Access::read_bytes(Offset base, uint64_t position, uint64_t size, uint32_t rewrites) {
  Result<FilePtr> file = co_await open(base);
  if (log_->rewrites != rewrites) co_return kRewritten;
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
    const bool from_file = co_await load_index_file(base);
    if (from_file) continue;
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
  const uint32_t rewrites = log_->rewrites;

  auto scanned = std::make_unique<SegmentIndex>(base, 0, engine_.index_interval());
  Offset expected = base;
  uint64_t damaged = 0;
  uint64_t window = kScanBytes;
  while (scanned->size() < size) {
    const uint64_t position = scanned->size();
    const uint64_t asked = std::min(window, size - position);
    Result<Bytes> bytes = co_await read_bytes(base, position, asked, rewrites);
    if (log_->rewrites != rewrites) co_return Status();
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
    engine_.metrics_.scanned_bytes_total += present.size();
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
    segment->bytes_by_file = 0;
    engine_.count_index(log_, *segment);
    segment = log_->find(base);
  } else if (segment->index && segment->index->covered_from() == size) {
    segment->index->extend_front(*scanned);
    segment->bytes_by_file = 0;
  }
  if (segment && damaged == 0 && segment != &log_->active() && segment->end <= log_->durable) engine_.write_index(log_, *segment);
  co_return Status();
}

Task<bool> EngineCore::Access::load_index_file(Offset base) {
  Segment* segment = log_->find(base);
  if (!segment || segment->is_index_file_wrong) co_return false;
  const bool has_index = segment->index != nullptr;
  const uint64_t size = has_index ? segment->index->covered_from() : segment->size_bytes;
  const Offset end = has_index && segment->index->block_count() > 0 ? segment->index->offset_of(0) : segment->end;
  if (!engine_.wants_index_file(size)) co_return false;

  const uint32_t rewrites = log_->rewrites;
  runtime::Disk& disk = engine_.core_.disk();
  const std::string path = log_->index_path_of(*segment);
  Result<FilePtr> file = co_await wait<Result<FilePtr>>([&](auto done) { disk.open(path, {}, std::move(done)); });
  Result<SegmentIndex> loaded = Code::not_found;
  if (file.ok()) {
    // Not longer than an index can be: every batch has a header.
    const uint64_t bytes_max = index_file_bytes(size / kBatchHeaderBytes + 1);
    Result<Bytes> bytes =
        co_await wait<Result<Bytes>>([&](auto done) { disk.read(*file, 0, static_cast<size_t>(bytes_max), std::move(done)); });
    if (bytes.ok()) loaded = decode_index(*bytes, base, end, size, engine_.index_interval());
  }
  if (log_->rewrites != rewrites) co_return true;  // looked at anew
  segment = log_->find(base);
  if (!segment) co_return false;
  if (!loaded.ok()) {
    segment->is_index_file_wrong = true;
    engine_.metrics_.index_files_wrong_total += loaded.code() == Code::not_found ? 0 : 1;
    co_return false;
  }
  if (!segment->index && segment->size_bytes == size) {
    segment->index = std::make_unique<SegmentIndex>(loaded.take());
    segment->bytes_by_file = size;
    segment->file_covers = size;
    engine_.metrics_.index_files_read_total += 1;
    engine_.count_index(log_, *segment);
  } else if (segment->index && segment->index->covered_from() == size) {
    segment->index->extend_front(*loaded);
    segment->bytes_by_file = size;
    segment->file_covers = size;
    engine_.metrics_.index_files_read_total += 1;
  }
  co_return true;
}

Task<Result<bool>> EngineCore::Access::verify_blocks(Offset base, size_t block, uint64_t wanted) {
  Segment* segment = log_->find(base);
  if (!segment || !segment->index || block >= segment->index->block_count()) co_return true;  // looked at anew
  const uint64_t position = segment->index->position_of(block);
  const Offset first = segment->index->offset_of(block);
  size_t behind = block + 1;
  while (behind < segment->index->block_count() && segment->index->end_of(behind) <= segment->bytes_by_file &&
         !segment->index->is_verified(behind) && segment->index->end_of(behind) - position <= std::min(wanted, kScanBytes)) {
    ++behind;
  }
  const uint64_t size = segment->index->end_of(behind - 1) - position;
  const uint32_t rewrites = log_->rewrites;
  Result<Bytes> bytes = co_await read_bytes(base, position, size, rewrites);
  if (log_->rewrites != rewrites) co_return true;
  if (!bytes.ok() && bytes.code() != Code::not_found) co_return bytes.error();
  segment = log_->find(base);
  // Dropped, or cut, while the disk was asked.
  if (!segment || !segment->index || behind > segment->index->block_count()) co_return true;
  SegmentIndex& index = *segment->index;
  if (index.position_of(block) != position || index.offset_of(block) != first || index.end_of(behind - 1) != position + size)
    co_return true;
  engine_.metrics_.verified_bytes_total += bytes.ok() ? bytes->size() : 0;
  for (size_t i = block; i < behind; ++i) {
    const uint64_t from = index.position_of(i) - position;
    const uint64_t to = index.end_of(i) - position;
    const Offset end = i + 1 < index.block_count() ? index.offset_of(i + 1) : segment->end;
    bool is_whole = bytes.ok() && to <= bytes->size();
    size_t batches = 0;
    Offset next = index.offset_of(i);
    if (is_whole) {
      BatchWalker walker(bytes->span().subspan(from, to - from), next, end);
      BatchWalker::Step step;
      while (is_whole && walker.next(step)) {
        is_whole = !step.is_damaged;
        next = step.next;
        ++batches;
      }
      is_whole = is_whole && next == end && (batches == 1) == index.is_sole(i);
    }
    if (is_whole) {
      index.set_verified(i);
      continue;
    }
    if (i > block) break;
    engine_.distrust_index_file(log_, *segment);
    co_return false;
  }
  co_return true;
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
  Result<Bytes> bytes = co_await read_bytes(base, position, end - position, log_->rewrites);
  if (!bytes.ok()) co_return bytes.error();
  result.bytes = bytes.take();
  co_return result;
}

}  // namespace robustmq::storage::segment
