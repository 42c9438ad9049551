// TimerWheel (see the header for the algorithm). Pure.
#include "runtime/timer_wheel.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace robustmq::runtime {

namespace {

int64_t tick_up(Instant due) { return due.ns <= 0 ? 0 : (due.ns - 1) / TimerWheel::kTickNs + 1; }

}  // namespace

void TimerWheel::arm(Timer& timer, Instant due) {
  timer.unlink();
  timer.due_ = due;
  if (due != Instant::never()) insert(timer);
}

void TimerWheel::insert(Timer& timer) {
  constexpr uint64_t kSpan = uint64_t{1} << (kLevels * kLevelBits);
  int64_t tick = std::max(tick_up(timer.due_), tick_);
  uint64_t differs = static_cast<uint64_t>(tick ^ tick_);
  if (differs >= kSpan) {
    tick = tick_ | static_cast<int64_t>(kSpan - 1);
    differs = static_cast<uint64_t>(tick ^ tick_);
  }
  int level = differs == 0 ? 0 : (63 - std::countl_zero(differs)) / kLevelBits;
  int slot = static_cast<int>(tick >> (level * kLevelBits)) & (kSlots - 1);
  levels_[level].in_use |= uint64_t{1} << slot;
  levels_[level].slots[slot].push_back(timer);
}

TimerWheel::Place TimerWheel::first_place() {
  for (int level = 0; level < kLevels; ++level) {
    Level& at = levels_[level];
    while (at.in_use != 0) {
      int slot = std::countr_zero(at.in_use);
      if (at.slots[slot].empty()) {
        at.in_use &= at.in_use - 1;
        continue;
      }
      int shift = level * kLevelBits;
      int64_t above = tick_ >> (shift + kLevelBits) << (shift + kLevelBits);
      return {level, slot, above + (static_cast<int64_t>(slot) << shift)};
    }
  }
  return {};
}

size_t TimerWheel::advance(Instant now) {
  int64_t now_tick = now.ns / kTickNs;
  List<Timer, TimerTag> due;
  while (true) {
    Place place = first_place();
    if (place.level < 0 || place.tick > now_tick) break;
    ROBUSTMQ_CHECK(place.tick >= tick_, "a timer lies behind the wheel");
    tick_ = place.tick;
    Level& level = levels_[place.level];
    level.in_use &= ~(uint64_t{1} << place.slot);
    List<Timer, TimerTag>& slot = level.slots[place.slot];
    if (place.level == 0) {
      due.splice_back(slot);
      continue;
    }
    List<Timer, TimerTag> down;
    down.splice_back(slot);
    while (!down.empty()) insert(down.pop_front());
  }
  tick_ = std::max(tick_, now_tick);

  size_t fired = 0;
  while (!due.empty()) {
    Timer& timer = due.pop_front();
    ++fired;
    timer.fire_(timer.owner_);
  }
  return fired;
}

Instant TimerWheel::next_due() {
  Place place = first_place();
  return place.level < 0 ? Instant::never() : Instant{place.tick * kTickNs};
}

void TimerWheel::clear() {
  for (Level& level : levels_) {
    level.in_use = 0;
    for (auto& slot : level.slots) {
      while (!slot.empty()) slot.pop_front();
    }
  }
}

}  // namespace robustmq::runtime
