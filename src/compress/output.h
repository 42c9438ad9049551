// Output: where a decoder writes; grows as bytes really come, never over a limit. Pure.
#pragma once

#include <algorithm>

#include "base/bytes.h"

namespace robustmq::compress {

// The decoder asks for room, writes at most that much and says how much it was.
//
// One byte over the limit is granted, so a decoder that fills it shows that there is more than allowed.
class Output {
 public:
  // `expected`: what the input probably becomes.
  Output(size_t bytes_max, size_t expected) : bytes_max_(bytes_max) {
    buffer_.reserve(std::clamp<size_t>(expected, 64, std::max<size_t>(bytes_max_ + 1, 64)));
  }

  // Where to write next and how much fits (not zero while !is_over()).
  std::span<uint8_t> room() {
    if (buffer_.size() == buffer_.capacity()) buffer_.reserve(std::min(buffer_.capacity() * 2, bytes_max_ + 1));
    return {buffer_.data() + buffer_.size(), std::min(buffer_.capacity(), bytes_max_ + 1) - buffer_.size()};
  }
  void wrote(size_t bytes) { buffer_.extend(bytes); }
  bool is_over() const { return buffer_.size() > bytes_max_; }
  size_t size() const { return buffer_.size(); }
  size_t left() const { return bytes_max_ - std::min(bytes_max_, buffer_.size()); }
  Bytes take() { return buffer_.take(); }

 private:
  Buffer buffer_;
  size_t bytes_max_;
};

}  // namespace robustmq::compress
