// SegmentIndex: where the batches of one segment lie, sparsely. Pure.
//
// The segment from covered_from() on is divided into blocks: a block begins at a batch and is at least `interval` bytes long but
// for the last; a batch of `interval` bytes and more is always alone in its block. 16 bytes a block.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/ids.h"

namespace robustmq::storage::segment {

// Positions in a segment are below this; a segment is sealed before it would pass it.
constexpr uint64_t kSegmentBytesMax = 1ull << 30;
constexpr int64_t kSegmentOffsetsMax = 1ll << 31;

class SegmentIndex {
 public:
  SegmentIndex(Offset base, uint64_t covered_from, uint32_t interval)
      : base_(base), covered_from_(covered_from), size_(covered_from), interval_(interval) {}

  // The batch behind the last one added.
  void add(Offset offset, uint64_t size_bytes, int64_t max_timestamp, bool is_verified);
  // A block as kept in an index file, behind the last one; not verified. False: out of order. close_at() says where the last
  // ends.
  bool add_block(Offset offset, uint64_t position, bool is_sole, int64_t max_timestamp);
  bool close_at(uint64_t size);
  // Forgets the blocks before `position`, a block's begin or the end: covered_from() is there then.
  void drop_front(uint64_t position);
  // Forgets all at and behind `position`, a batch boundary.
  void shorten_to(uint64_t position);
  // Puts the blocks of what lies before covered_from() in front; `before` ends there.
  void extend_front(const SegmentIndex& before);

  uint64_t covered_from() const { return covered_from_; }
  uint64_t size() const { return size_; }  // position behind the last batch
  size_t block_count() const { return blocks_.size(); }
  Offset offset_of(size_t block) const { return base_ + blocks_[block].offset_delta; }
  uint64_t position_of(size_t block) const { return blocks_[block].position_and_flags & kPositionMask; }
  // Behind the block's last byte.
  uint64_t end_of(size_t block) const { return block + 1 < blocks_.size() ? position_of(block + 1) : size_; }
  bool is_sole(size_t block) const { return blocks_[block].position_and_flags & kSole; }
  bool is_verified(size_t block) const { return blocks_[block].position_and_flags & kVerified; }
  void set_verified(size_t block) { blocks_[block].position_and_flags |= kVerified; }
  int64_t max_timestamp_of(size_t block) const { return blocks_[block].max_timestamp; }
  // Of all blocks; -1 without any.
  int64_t max_timestamp() const;
  // The block that holds the offset: the last that begins at or before it; nullopt when the first begins behind it.
  std::optional<size_t> block_at(Offset offset) const;
  size_t memory_bytes() const { return blocks_.capacity() * sizeof(Block); }

 private:
  static constexpr uint32_t kPositionMask = static_cast<uint32_t>(kSegmentBytesMax - 1);
  static constexpr uint32_t kSole = 1u << 30;
  static constexpr uint32_t kVerified = 1u << 31;
  struct Block {
    uint32_t offset_delta;
    uint32_t position_and_flags;
    int64_t max_timestamp;
  };

  Offset base_;
  uint64_t covered_from_;
  uint64_t size_;
  uint32_t interval_;
  std::vector<Block> blocks_;
};

}  // namespace robustmq::storage::segment
