#include "base/ids.h"

#include "base/hash.h"

namespace robustmq {

Slot slot_of(TenantId tenant, std::string_view name) {
  const uint64_t mixed = hash64(as_bytes(name)) ^ (tenant * 0x9E3779B97F4A7C15u);
  return static_cast<Slot>((mixed >> 32) % kSlotCount);
}

std::string Uuid::to_string() const {
  static constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string text;
  for (size_t i = 0; i < 16; i += 3) {
    uint32_t group = bytes[i] << 16;
    if (i + 1 < 16) group |= bytes[i + 1] << 8;
    if (i + 2 < 16) group |= bytes[i + 2];
    const int digits = i + 2 < 16 ? 4 : 2;
    for (int d = 0; d < digits; ++d) text += kAlphabet[(group >> (18 - 6 * d)) & 63];
  }
  return text;
}

Uuid Uuid::random(uint64_t high, uint64_t low) {
  Uuid id;
  for (int i = 0; i < 8; ++i) {
    id.bytes[i] = static_cast<uint8_t>(high >> (56 - 8 * i));
    id.bytes[8 + i] = static_cast<uint8_t>(low >> (56 - 8 * i));
  }
  id.bytes[6] = (id.bytes[6] & 0x0f) | 0x40;
  id.bytes[8] = (id.bytes[8] & 0x3f) | 0x80;
  return id;
}

std::string ShardId::to_string() const { return topic.to_string() + "-" + std::to_string(partition); }

}  // namespace robustmq
