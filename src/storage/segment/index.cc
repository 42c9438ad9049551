// Blocks of a segment's index. Pure.
#include "storage/segment/index.h"

#include <algorithm>

#include "base/check.h"

namespace robustmq::storage::segment {

void SegmentIndex::add(Offset offset, uint64_t size_bytes, int64_t max_timestamp, bool is_verified) {
  const uint64_t position = size_;
  ROBUSTMQ_CHECK(position < kSegmentBytesMax && offset - base_ < kSegmentOffsetsMax, "a segment is too large for its index");
  size_ += size_bytes;
  const bool joins = !blocks_.empty() && size_bytes < interval_ && position - position_of(blocks_.size() - 1) < interval_ &&
                     this->is_verified(blocks_.size() - 1) == is_verified;
  if (joins) {
    Block& block = blocks_.back();
    block.position_and_flags &= ~kSole;
    block.max_timestamp = std::max(block.max_timestamp, max_timestamp);
    return;
  }
  const uint32_t flags = kSole | (is_verified ? kVerified : 0);
  blocks_.push_back({static_cast<uint32_t>(offset - base_), static_cast<uint32_t>(position) | flags, max_timestamp});
}

bool SegmentIndex::add_block(Offset offset, uint64_t position, bool is_sole, int64_t max_timestamp) {
  const bool is_first = blocks_.empty();
  const bool is_in_order = is_first ? position == covered_from_ && offset == base_
                                    : position > position_of(blocks_.size() - 1) && offset > offset_of(blocks_.size() - 1);
  if (!is_in_order || position >= kSegmentBytesMax || offset - base_ >= kSegmentOffsetsMax) return false;
  blocks_.push_back(
      {static_cast<uint32_t>(offset - base_), static_cast<uint32_t>(position) | (is_sole ? kSole : 0), max_timestamp});
  size_ = position + 1;
  return true;
}

bool SegmentIndex::close_at(uint64_t size) {
  if (size < size_) return false;
  size_ = size;
  return true;
}

void SegmentIndex::drop_front(uint64_t position) {
  size_t count = 0;
  while (count < blocks_.size() && position_of(count) < position) ++count;
  blocks_.erase(blocks_.begin(), blocks_.begin() + static_cast<ptrdiff_t>(count));
  covered_from_ = position;
}

void SegmentIndex::shorten_to(uint64_t position) {
  while (!blocks_.empty() && position_of(blocks_.size() - 1) >= position) blocks_.pop_back();
  covered_from_ = std::min(covered_from_, position);
  size_ = position;
}

void SegmentIndex::extend_front(const SegmentIndex& before) {
  ROBUSTMQ_CHECK(before.size_ == covered_from_, "two parts of an index do not meet");
  blocks_.insert(blocks_.begin(), before.blocks_.begin(), before.blocks_.end());
  covered_from_ = before.covered_from_;
}

int64_t SegmentIndex::max_timestamp() const {
  int64_t largest = -1;
  for (const Block& block : blocks_) largest = std::max(largest, block.max_timestamp);
  return largest;
}

std::optional<size_t> SegmentIndex::block_at(Offset offset) const {
  auto behind = std::upper_bound(blocks_.begin(), blocks_.end(), offset,
                                 [this](Offset asked, const Block& block) { return asked < base_ + block.offset_delta; });
  if (behind == blocks_.begin()) return std::nullopt;
  return static_cast<size_t>(behind - blocks_.begin()) - 1;
}

}  // namespace robustmq::storage::segment
