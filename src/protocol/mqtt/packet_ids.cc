#include "protocol/mqtt/packet_ids.h"

#include <utility>

namespace robustmq::mqtt {
namespace {

constexpr uint32_t kCellsMin = 64;

}  // namespace

void IdWindow::grow(uint32_t cells) {
  if (cells <= capacity_) return;
  uint32_t capacity = capacity_ == 0 ? kCellsMin : capacity_;
  while (capacity < cells) capacity *= 2;
  auto bits = std::make_unique<uint64_t[]>(capacity / 32);
  for (uint32_t i = 0; i < span_; ++i) bits[i / 32] |= uint64_t{cell(i)} << (i % 32 * 2);
  bits_ = std::move(bits);
  capacity_ = capacity;
  head_ = 0;
}

uint16_t IdWindow::take(uint8_t state) {
  if (span_ == count()) return take_inside(state);
  grow(span_ + 1);
  put(span_, state);
  ++in_use_;
  return id_at(span_++);
}

// The oldest id is still in use and all others have had their turn since: any that is free.
uint16_t IdWindow::take_inside(uint8_t state) {
  if (in_use_ == count()) return 0;
  uint32_t index = next_ == 0 ? 0 : index_of(next_);
  while (cell(index)) index = index + 1 == count() ? 0 : index + 1;
  put(index, state);
  ++in_use_;
  const uint16_t id = id_at(index);
  next_ = id == high_ ? low_ : static_cast<uint16_t>(id + 1);
  return id;
}

void IdWindow::set(uint16_t id, uint8_t state) {
  uint32_t index = index_of(id);
  if (index >= span_) {
    if (state == 0) return;
    if (span_ == 0) {
      grow(1);
      first_ = id;
      span_ = 1;
      index = 0;
    } else if (count() - index < index - span_ + 1) {  // nearer to the front
      const uint32_t before = count() - index;
      grow(span_ + before);
      head_ = (head_ + capacity_ - before) & (capacity_ - 1);
      first_ = id;
      span_ += before;
      index = 0;
    } else {
      grow(index + 1);
      span_ = index + 1;
    }
  }
  if (state == 0) {
    free(id);
    return;
  }
  if (cell(index) == 0) ++in_use_;
  put(index, state);
}

void IdWindow::give_back() {
  bits_.reset();
  capacity_ = 0;
  head_ = 0;
}

}  // namespace robustmq::mqtt
