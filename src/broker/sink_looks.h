// SinkLooks: looks again at connections that take no more now (Sink::is_ready). Lives on its core.
//
// A wait ends when its connection says that it is ready (Broker::on_ready). Where that is not told, it is looked at after kPause,
// and after twice as long each time that nothing has gone out since, up to kPauseMax. At most kLooksATurn in one turn.
#pragma once

#include <cstdint>
#include <set>
#include <utility>

#include "base/callback.h"
#include "broker/broker.h"
#include "runtime/core.h"
#include "runtime/timer.h"

namespace robustmq::broker {

class SinkLooks {
 public:
  // What waits, kept by whoever waits.
  struct Pace {
    bool is_waiting = false;
    bool has_sent = false;  // something, since it was looked at last
    Duration pause{};       // before the look that is due
  };
  // `find(id)`: the pace of what waits under that id; nullptr: it is gone. `go_on(id)`: it is looked at.
  SinkLooks(runtime::Core& core, Callback<Pace*(uint64_t)> find, Callback<void(uint64_t)> go_on);

  // `context`: whose sink is waited for.
  void wait(uint64_t id, Pace& pace, Context& context);
  // It is ready.
  void look(uint64_t id);

 private:
  static constexpr size_t kLooksATurn = 256;
  static void on_timer(void* self);

  runtime::Core& core_;
  Callback<Pace*(uint64_t)> find_;
  Callback<void(uint64_t)> go_on_;
  std::set<std::pair<Instant, uint64_t>> waiting_;  // by when they are looked at; some are gone
  runtime::Timer timer_;                            // for the first of them
};

}  // namespace robustmq::broker
