// Ring: a bounded queue from one thread to another, without locks. Pure.
//
// The producer fills slots and moves the tail, the consumer empties them and moves the head; each keeps a copy of the other's
// index and looks at the real one only when the copy says full or empty.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>

namespace robustmq::runtime::posix {

template <class T>
class Ring {
 public:
  // `capacity` is a power of two.
  explicit Ring(size_t capacity) : mask_(capacity - 1), slots_(std::make_unique<T[]>(capacity)) {}

  // ---- producer ----
  bool is_full() {
    size_t tail = tail_.load(std::memory_order_relaxed);
    if (tail - head_seen_ <= mask_) return false;
    head_seen_ = head_.load(std::memory_order_acquire);
    return tail - head_seen_ > mask_;
  }
  // The caller ensures it is not full.
  void push(T value) {
    size_t tail = tail_.load(std::memory_order_relaxed);
    slots_[tail & mask_] = std::move(value);
    tail_.store(tail + 1, std::memory_order_release);
  }
  // Puts all pushes before whatever the producer looks at next, in the one order all threads agree on.
  void publish() { tail_.store(tail_.load(std::memory_order_relaxed), std::memory_order_seq_cst); }

  // ---- consumer ----
  bool is_empty() const { return head_.load(std::memory_order_relaxed) == tail_.load(std::memory_order_seq_cst); }
  bool pop(T& value) {
    size_t head = head_.load(std::memory_order_relaxed);
    if (head == tail_seen_) {
      tail_seen_ = tail_.load(std::memory_order_acquire);
      if (head == tail_seen_) return false;
    }
    value = std::move(slots_[head & mask_]);
    head_.store(head + 1, std::memory_order_release);
    return true;
  }

 private:
  size_t mask_;
  std::unique_ptr<T[]> slots_;
  alignas(64) std::atomic<size_t> tail_{0};
  size_t head_seen_ = 0;
  alignas(64) std::atomic<size_t> head_{0};
  size_t tail_seen_ = 0;
};

}  // namespace robustmq::runtime::posix
