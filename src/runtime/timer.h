// Timer: an intrusive one-shot timer of a core. Pure (the clock behind it is the core's).
#pragma once

#include "base/intrusive.h"
#include "base/time.h"

namespace robustmq::runtime {

struct TimerTag;

// Lives in its owner and calls it back on the owner's core. Armed with Core::arm; disarmed by cancel() or its destructor.
// Resolution: one millisecond, never early. 40 bytes.
class Timer : public ListHook<TimerTag> {
 public:
  using Fire = void (*)(void* owner);
  Timer(Fire fire, void* owner) : fire_(fire), owner_(owner) {}

  bool is_armed() const { return is_linked(); }
  Instant due() const { return due_; }
  void cancel() { unlink(); }

 private:
  friend class TimerWheel;
  Instant due_{};
  Fire fire_;
  void* owner_;
};

}  // namespace robustmq::runtime
