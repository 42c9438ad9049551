// PacketIds: the packet ids of QoS 1 messages under way to one client (MQTT5 2.2.1). Pure.
//
// Ids are given in order, 1 to 65,535 and round again, and an id in use is never given. Those given since the oldest that is
// still in use form a window; one bit each says which of them are in use. In order, which is usual, that is one word.
#pragma once

#include <cstdint>
#include <memory>

namespace robustmq::mqtt {

class PacketIds {
 public:
  // A free id, now in use; 0 when the window spans all ids.
  uint16_t take();
  // The id is free again. False: it was not in use.
  bool give_back(uint16_t id);
  bool is_in_use(uint16_t id) const;
  uint32_t in_use() const { return in_use_; }

 private:
  static constexpr uint32_t kIds = 65535;
  uint32_t index_of(uint16_t id) const { return (id + kIds - first_) % kIds; }
  bool bit(uint32_t index) const;
  void flip(uint32_t index);
  void grow();

  std::unique_ptr<uint64_t[]> bits_;  // a ring of capacity_ bits, a power of two
  uint32_t capacity_ = 0;
  uint32_t head_ = 0;  // where the bit of first_ stands
  uint32_t span_ = 0;  // ids in the window
  uint32_t in_use_ = 0;
  uint16_t first_ = 1;  // the window's oldest id, or the next one given when it is empty
};

}  // namespace robustmq::mqtt
