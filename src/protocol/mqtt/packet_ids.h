// PacketIds: the packet ids of one direction of a connection, and how far the message of each has come (MQTT5 2.2.1, 4.3). Pure.
//
// The ids lie in a range, taken in order and round again; an id in use is never given. Those between the oldest and the newest in
// use form a window of two bits each: 0 is free, the other three are the user's (see Sent and Received). In order, which is
// usual, that is two words; at worst, ids from all over the range, 16 KiB.
#pragma once

#include <cstdint>
#include <memory>

namespace robustmq::mqtt {

class IdWindow {
 public:
  // Ids `low` to `high`, 1 <= low <= high.
  explicit IdWindow(uint16_t low = 1, uint16_t high = 65535) : first_(low), low_(low), high_(high) {}

  // The next free id, now in `state` (1 to 3); 0 when there is none.
  uint16_t take(uint8_t state);
  // An id that the other side chose. State 0 frees it. The caller ensures that it is in the range.
  void set(uint16_t id, uint8_t state);
  // The id is free again; returns the state that it had.
  uint8_t free(uint16_t id) {
    if (id < low_ || id > high_) return 0;
    const uint32_t index = index_of(id);
    if (index >= span_) return 0;
    const uint8_t state = cell(index);
    if (state == 0) return 0;
    put(index, 0);
    --in_use_;
    if (index == 0) trim();
    return state;
  }
  // 0: free, or not in the range.
  uint8_t get(uint16_t id) const {
    if (id < low_ || id > high_) return 0;
    const uint32_t index = index_of(id);
    return index < span_ ? cell(index) : 0;
  }
  uint32_t in_use() const { return in_use_; }
  size_t bytes() const { return capacity_ / 4; }

 private:
  static constexpr uint32_t kCellsKept = 1024;  // of an empty window; a larger one is given back
  uint32_t count() const { return static_cast<uint32_t>(high_ - low_) + 1; }
  uint32_t index_of(uint16_t id) const {
    const uint32_t index = static_cast<uint32_t>(id) + count() - first_;
    return index >= count() ? index - count() : index;
  }
  uint16_t id_at(uint32_t index) const {
    const uint32_t offset = static_cast<uint32_t>(first_ - low_) + index;
    return static_cast<uint16_t>(low_ + (offset >= count() ? offset - count() : offset));
  }
  uint8_t cell(uint32_t index) const {
    const uint32_t at = (head_ + index) & (capacity_ - 1);
    return bits_[at / 32] >> (at % 32 * 2) & 3;
  }
  void skip_first() {
    head_ = (head_ + 1) & (capacity_ - 1);
    first_ = first_ == high_ ? low_ : static_cast<uint16_t>(first_ + 1);
    --span_;
  }
  void put(uint32_t index, uint8_t state) {
    const uint32_t at = (head_ + index) & (capacity_ - 1);
    uint64_t& word = bits_[at / 32];
    word = (word & ~(uint64_t{3} << (at % 32 * 2))) | uint64_t{state} << (at % 32 * 2);
  }
  void grow(uint32_t cells);
  // The first cell is free.
  void trim() {
    do skip_first();
    while (span_ > 0 && cell(0) == 0);
    if (span_ == 0 && capacity_ > kCellsKept) give_back();
  }
  void give_back();
  uint16_t take_inside(uint8_t state);

  std::unique_ptr<uint64_t[]> bits_;  // a ring of capacity_ cells, a power of two; free outside the window
  uint32_t capacity_ = 0;
  uint32_t head_ = 0;  // where the cell of first_ stands
  uint32_t span_ = 0;  // ids in the window
  uint32_t in_use_ = 0;
  uint16_t first_;  // the window's oldest id, or the next one given when it is empty
  uint16_t low_;
  uint16_t high_;
  uint16_t next_ = 0;  // while the window spans the range: where the search for a free id goes on
};

// An IdWindow whose states are an enum with four values, the first of which means free.
template <class State>
class PacketIds : public IdWindow {
 public:
  using IdWindow::IdWindow;
  uint16_t take(State state) { return IdWindow::take(static_cast<uint8_t>(state)); }
  void set(uint16_t id, State state) { IdWindow::set(id, static_cast<uint8_t>(state)); }
  State free(uint16_t id) { return static_cast<State>(IdWindow::free(id)); }
  State get(uint16_t id) const { return static_cast<State>(IdWindow::get(id)); }
};

// A message to the client.
enum class Sent : uint8_t {
  none,
  qos1,      // waits for PUBACK
  qos2,      // waits for PUBREC
  released,  // waits for PUBCOMP
};
// A QoS 2 message of the client.
enum class Received : uint8_t {
  none,
  asked,      // the broker has not answered
  owned,      // it is ours: PUBREC is sent, PUBREL not come
  releasing,  // PUBREL came; PUBCOMP waits for the broker
};

}  // namespace robustmq::mqtt
