// Anchor: lets completions find out that their owner is gone. Pure.
//
// The owner holds an AnchorOwner; completions hold Anchors, which give the owner or nullptr. Asked on the owner's core alone; the
// count is atomic, as a completion may be dropped on another. Allocated with the first Anchor taken, so owners that never wait
// pay 8 bytes.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

namespace robustmq {

template <class T>
class Anchor {
 public:
  Anchor(Anchor&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  Anchor(const Anchor& other) : block_(other.block_) { block_->references.fetch_add(1, std::memory_order_relaxed); }
  Anchor& operator=(const Anchor&) = delete;
  ~Anchor() { release(block_); }

  T* get() const { return block_->owner; }  // nullptr: gone

 private:
  template <class U>
  friend class AnchorOwner;
  struct Block {
    T* owner;
    std::atomic<uint32_t> references;
  };
  explicit Anchor(Block* block) : block_(block) { block_->references.fetch_add(1, std::memory_order_relaxed); }
  static void release(Block* block) {
    if (block && block->references.fetch_sub(1, std::memory_order_acq_rel) == 1) delete block;
  }
  Block* block_;
};

template <class T>
class AnchorOwner {
 public:
  AnchorOwner() = default;
  AnchorOwner(const AnchorOwner&) = delete;
  ~AnchorOwner() { cut(); }

  Anchor<T> anchor(T* owner) {
    if (!block_) block_ = new typename Anchor<T>::Block{owner, {1}};
    return Anchor<T>(block_);
  }
  // From now on every anchor gives nullptr. No anchor is taken afterwards.
  void cut() {
    if (!block_) return;
    block_->owner = nullptr;
    Anchor<T>::release(std::exchange(block_, nullptr));
  }

 private:
  typename Anchor<T>::Block* block_ = nullptr;
};

}  // namespace robustmq
