#include "protocol/mqtt/packet_ids.h"

#include <utility>

namespace robustmq::mqtt {

bool PacketIds::bit(uint32_t index) const {
  const uint32_t at = (head_ + index) & (capacity_ - 1);
  return bits_[at / 64] >> (at % 64) & 1;
}

void PacketIds::flip(uint32_t index) {
  const uint32_t at = (head_ + index) & (capacity_ - 1);
  bits_[at / 64] ^= uint64_t{1} << (at % 64);
}

void PacketIds::grow() {
  const uint32_t capacity = capacity_ == 0 ? 64 : capacity_ * 2;
  auto bits = std::make_unique<uint64_t[]>(capacity / 64);
  for (uint32_t i = 0; i < span_; ++i) {
    if (bit(i)) bits[i / 64] |= uint64_t{1} << (i % 64);
  }
  bits_ = std::move(bits);
  capacity_ = capacity;
  head_ = 0;
}

uint16_t PacketIds::take() {
  if (span_ == kIds) return 0;
  if (span_ == capacity_) grow();
  const auto id = static_cast<uint16_t>((first_ - 1 + span_) % kIds + 1);
  flip(span_++);
  ++in_use_;
  return id;
}

bool PacketIds::is_in_use(uint16_t id) const {
  if (id == 0) return false;
  const uint32_t index = index_of(id);
  return index < span_ && bit(index);
}

bool PacketIds::give_back(uint16_t id) {
  if (!is_in_use(id)) return false;
  flip(index_of(id));
  --in_use_;
  while (span_ > 0 && !bit(0)) {
    head_ = (head_ + 1) & (capacity_ - 1);
    first_ = first_ == kIds ? 1 : static_cast<uint16_t>(first_ + 1);
    --span_;
  }
  return true;
}

}  // namespace robustmq::mqtt
