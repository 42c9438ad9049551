#include "broker/sink_looks.h"

#include <algorithm>

namespace robustmq::broker {
namespace {

constexpr Duration kPause = Duration::millis(2);
constexpr Duration kPauseMax = Duration::millis(128);

}  // namespace

SinkLooks::SinkLooks(runtime::Core& core, Callback<Pace*(uint64_t)> find, Callback<void(uint64_t)> go_on)
    : core_(core), find_(std::move(find)), go_on_(std::move(go_on)), timer_(&SinkLooks::on_timer, this) {}

void SinkLooks::wait(uint64_t id, Pace& pace, Context& context) {
  context.is_waited_for = true;
  if (pace.is_waiting) return;
  const bool is_moving = std::exchange(pace.has_sent, false) || pace.pause.ns == 0;
  pace.pause = is_moving ? kPause : std::min(Duration{pace.pause.ns * 2}, kPauseMax);
  pace.is_waiting = true;
  const Instant due = core_.now() + pace.pause;
  waiting_.emplace(due, id);
  if (!timer_.is_armed() || due < timer_.due()) core_.arm(timer_, due);
}

void SinkLooks::look(uint64_t id) {
  Pace* pace = find_(id);
  if (!pace || !pace->is_waiting) return;
  pace->is_waiting = false;
  go_on_(id);
}

void SinkLooks::on_timer(void* self) {
  SinkLooks& looks = *static_cast<SinkLooks*>(self);
  auto& waiting = looks.waiting_;
  const Instant now = looks.core_.now();
  for (size_t done = 0; done < kLooksATurn && !waiting.empty() && waiting.begin()->first <= now; ++done) {
    const uint64_t id = waiting.begin()->second;
    waiting.erase(waiting.begin());
    looks.look(id);
  }
  if (!waiting.empty()) looks.core_.arm(looks.timer_, std::max(waiting.begin()->first, now + Duration::millis(1)));
}

}  // namespace robustmq::broker
