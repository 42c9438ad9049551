#include "base/bytes.h"

#include <cstdlib>
#include <new>

#include "base/check.h"

namespace robustmq {

BytesBlock* BytesBlock::allocate(size_t capacity) {
  void* memory = std::malloc(sizeof(BytesBlock) + capacity);
  ROBUSTMQ_CHECK(memory != nullptr, "out of memory");
  auto* block = new (memory) BytesBlock;
  block->references.store(1, std::memory_order_relaxed);
  block->capacity = capacity;
  return block;
}

void BytesBlock::destroy(BytesBlock* block) { std::free(block); }

Bytes Bytes::copy_of(ByteSpan source) {
  if (source.empty()) return {};
  BytesBlock* block = BytesBlock::allocate(source.size());
  std::memcpy(block->data(), source.data(), source.size());
  return adopt(block, block->data(), source.size());
}

void Buffer::grow(size_t capacity_min) {
  size_t capacity = this->capacity() * 2;
  if (capacity < capacity_min) capacity = capacity_min;
  if (capacity < 64) capacity = 64;
  BytesBlock* block = BytesBlock::allocate(capacity);
  if (size_ > 0) std::memcpy(block->data(), block_->data(), size_);
  if (block_) block_->release();
  block_ = block;
}

Bytes Buffer::take() {
  if (size_ == 0) return {};
  BytesBlock* block = std::exchange(block_, nullptr);
  return Bytes::adopt(block, block->data(), std::exchange(size_, 0));
}

}  // namespace robustmq
