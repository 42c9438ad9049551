// QuicSendQueue: the bytes of a stream that were given to QUIC and are not acknowledged yet, in blocks that stay where they are:
// ngtcp2 sends lost ones again from here. Pure.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>

#include "base/bytes.h"

namespace robustmq::net {

// Offsets are those of the stream: acknowledged <= sent <= end.
class QuicSendQueue {
 public:
  static constexpr size_t kBlockBytesMin = 1 << 10;
  static constexpr size_t kBlockBytesMax = 16 << 10;

  uint64_t end() const { return end_; }
  uint64_t sent() const { return sent_; }
  uint64_t held_bytes() const { return end_ - acknowledged_; }
  bool has_unsent() const { return sent_ < end_; }
  bool is_empty() const { return acknowledged_ == end_; }

  void append(ByteSpan bytes) {
    while (!bytes.empty()) {
      if (blocks_.empty() || blocks_.back().used == blocks_.back().capacity) {
        const size_t capacity = std::clamp(bytes.size(), kBlockBytesMin, kBlockBytesMax);
        blocks_.push_back({std::make_unique_for_overwrite<uint8_t[]>(capacity), capacity, 0});
      }
      Block& block = blocks_.back();
      const size_t part = std::min(bytes.size(), block.capacity - block.used);
      std::memcpy(block.bytes.get() + block.used, bytes.data(), part);
      block.used += part;
      end_ += part;
      bytes = bytes.subspan(part);
    }
  }

  // The next bytes to send, in `into` (made of data and size) from the front; returns how many parts there are.
  template <class Part>
  size_t unsent(Part* into, size_t parts_max) const {
    uint64_t at = blocks_from_;
    size_t parts = 0;
    for (const Block& block : blocks_) {
      if (parts == parts_max) break;
      if (at + block.used > sent_) {
        const size_t skip = sent_ > at ? static_cast<size_t>(sent_ - at) : 0;
        into[parts++] = {block.bytes.get() + skip, block.used - skip};
      }
      at += block.used;
    }
    return parts;
  }
  void mark_sent(size_t bytes) { sent_ += bytes; }
  // All before `offset` was acknowledged; never falls.
  void acknowledge(uint64_t offset) {
    acknowledged_ = std::clamp(offset, acknowledged_, sent_);
    while (!blocks_.empty() && blocks_from_ + blocks_.front().used <= acknowledged_ &&
           (blocks_.size() > 1 || acknowledged_ == end_)) {
      blocks_from_ += blocks_.front().used;
      blocks_.pop_front();
    }
  }
  void clear() {
    blocks_.clear();
    blocks_from_ = acknowledged_ = sent_ = end_;
  }

 private:
  struct Block {
    std::unique_ptr<uint8_t[]> bytes;
    size_t capacity;
    size_t used;
  };
  std::deque<Block> blocks_;
  uint64_t blocks_from_ = 0;  // offset of the first block
  uint64_t acknowledged_ = 0;
  uint64_t sent_ = 0;
  uint64_t end_ = 0;
};

}  // namespace robustmq::net
