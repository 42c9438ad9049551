// TimerWheel: the timers of one core, by the tick (1 ms) they are due at. Pure.
//
// Seven levels of 64 slots. A timer stands on the level of the highest group of six bits in which its tick differs from the
// current one, in the slot those bits name; so every slot in use lies ahead of the current one of its level, and the lowest
// level in use holds the earliest timers. When time reaches a slot of a higher level, its timers move down. A level's mask
// says which slots may hold timers; cancelling does not clear it (a timer does not know its wheel), looking does.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/intrusive.h"
#include "base/time.h"
#include "runtime/timer.h"

namespace robustmq::runtime {

// Owned by a core. arm() and cancelling are O(1); advance() is linear in what is due plus what moves down.
class TimerWheel {
 public:
  static constexpr int64_t kTickNs = 1'000'000;

  explicit TimerWheel(Instant start = {}) : tick_(start.ns / kTickNs) {}

  // Arms or re-arms. Instant::never() disarms. What is due already fires at the next advance.
  void arm(Timer& timer, Instant due);

  // Fires all timers due at or before `now`, never early, by tick. One that is armed meanwhile waits for the next advance.
  // `now` never goes back. Returns how many fired.
  size_t advance(Instant now);

  // When advance() is to be called next: never later than the earliest timer's tick; earlier at most once for each level that
  // timer has to come down. Instant::never() when nothing is armed.
  Instant next_due();

  // Forgets all timers without firing.
  void clear();

 private:
  static constexpr int kLevelBits = 6;
  static constexpr int kSlots = 1 << kLevelBits;
  static constexpr int kLevels = 7;  // 2^42 ms are 139 years

  struct Level {
    uint64_t in_use = 0;
    std::array<List<Timer, TimerTag>, kSlots> slots;
  };
  struct Place {
    int level = -1;
    int slot = 0;
    int64_t tick = 0;  // when the slot begins
  };
  void insert(Timer& timer);
  Place first_place();

  int64_t tick_;  // all before it have fired
  std::array<Level, kLevels> levels_;
};

}  // namespace robustmq::runtime
