// Core: one thread with its loop. All that is not deterministic (clock, random numbers, disk, network) is reached through it,
// so the simulated world can stand in for the real one. This header is the seam; runtime/posix and runtime/sim implement it.
//
// A turn: the core takes due timers, socket events, messages of other cores and disk completions, runs what they call, then
// runs the deferred work in the order it was deferred (deferred work may defer more), then waits for the next event.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/callback.h"
#include "base/ids.h"
#include "base/intrusive.h"
#include "base/time.h"
#include "runtime/timer.h"

namespace robustmq::runtime {

class Disk;
class Net;

struct DeferTag;

// Work for the end of this turn, run once however often it is deferred within the turn. Lives in its owner.
class Deferred : public ListHook<DeferTag> {
 public:
  virtual void run_deferred() = 0;

 protected:
  ~Deferred() = default;
};

// Called in the core's turns only (run by one thread at a time) unless said otherwise. Owned by the world; outlives all on it.
class Core {
 public:
  virtual ~Core() = default;

  virtual CoreIndex index() const = 0;
  virtual CoreIndex count() const = 0;  // cores of this node

  // Taken once a turn, so two reads within a turn are equal.
  virtual Instant now() const = 0;
  virtual WallTime wall_now() const = 0;
  virtual uint64_t random() = 0;

  virtual void arm(Timer& timer, Instant due) = 0;  // re-arms when armed
  virtual void defer(Deferred& work) = 0;           // to the end of this turn
  virtual void post(Callback<void()> work) = 0;     // to the next turn of this core; bounded by memory only, for cold paths

  // Runs `work` on core `to` (which may be this one: then in its next turn), in order per pair of cores. Never blocks and never
  // drops: over the ring's size it waits in this core's list, and is_congested() turns true until it has drained.
  virtual void send(CoreIndex to, Callback<void()> work) = 0;
  // True while this core's unsent messages exceed the limit: the sender reads no sockets meanwhile (replies still go).
  virtual bool is_congested() const = 0;

  virtual Disk& disk() = 0;
  virtual Net& net() = 0;
};

}  // namespace robustmq::runtime
