// PosixCore: a core as a thread with one epoll set.
//
// Sleeping and waking: before it sleeps a core says so (`sleeps_`), then looks once more at its rings and completions. A
// sender first publishes its messages, then looks whether the target sleeps; so one of the two always sees the other, and an
// awake core is never written to. Senders look once a turn, at its end.
//
// Borrowing: waking a thread costs more than most messages. What lives on a core is touched by whoever holds its `turn_`: the
// core's own thread, which lays it down while it sleeps, or a sender that finds it laid down, has few messages for it, and
// runs one turn of that core itself (no socket events, no timers). If that turn leaves something for the core's own thread
// (posted work, a timer earlier than the one it sleeps for), the thread is woken after all.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "base/callback.h"
#include "runtime/core.h"
#include "runtime/posix/ring.h"
#include "runtime/posix/worker.h"
#include "runtime/timer_wheel.h"

namespace robustmq::runtime::posix {

class PosixListening;

// What an epoll set tells of: its address is the event's data.
class Pollable {
 public:
  virtual void on_events(uint32_t events) = 0;

 protected:
  ~Pollable() = default;
};

// Owned by PosixWorld. Everything but complete() and wake() on the core's own thread.
class PosixCore final : public Core {
 public:
  struct Shared {
    int data_directory;  // -1: no disk
    Worker* writes;
    Worker* reads;
    PosixListening* listening;
    size_t ring_messages;
    size_t unsent_messages_max;
    std::atomic<bool>* is_stopping;
  };
  PosixCore(CoreIndex index, CoreIndex count, Shared shared);
  ~PosixCore() override;
  // Before any core runs. `cores` outlives the loop.
  void connect_to(std::vector<PosixCore*> cores);

  CoreIndex index() const override { return index_; }
  CoreIndex count() const override { return count_; }
  Instant now() const override { return now_; }
  WallTime wall_now() const override;
  uint64_t random() override;
  void arm(Timer& timer, Instant due) override { wheel_.arm(timer, due); }
  void defer(Deferred& work) override {
    if (!work.is_linked()) deferred_.push_back(work);
  }
  void post(Callback<void()> work) override { posted_.push_back(std::move(work)); }
  void send(CoreIndex to, Callback<void()> work) override;
  bool is_congested() const override { return unsent_ > shared_.unsent_messages_max; }
  Disk& disk() override { return *disk_; }
  Net& net() override { return *net_; }

  // Runs the loop on this thread until the world stops.
  void run();
  void read_clock();

  // ---- any thread ----
  // Runs `work` in a later turn of this core.
  void complete(Callback<void()> work);
  void wake();  // async-signal-safe

  // ---- for what lives on the core ----
  void watch(int descriptor, uint32_t events, Pollable& pollable);
  void rewatch(int descriptor, uint32_t events, Pollable& pollable);
  void unwatch(int descriptor);
  // `pollable` ends: events for it that this turn has not come to are dropped.
  void forget(const Pollable* pollable);
  // Inside on_events of `pollable`: false once it has ended. It is not looked into.
  bool is_dispatching(const Pollable* pollable) const {
    return event_at_ < event_count_ && events_[event_at_].data.ptr == pollable;
  }
  const Shared& shared() const { return shared_; }

 private:
  struct Outgoing {
    PosixCore* core = nullptr;
    std::deque<Callback<void()>> waiting;  // over the ring's size
    size_t pushed = 0;                     // in this turn
  };

  enum class Turn : uint8_t { taken, laid_down };

  void set_alarm(Instant due);
  void wait();
  int64_t sleep_ns();
  void lay_down_turn();
  void take_turn();
  bool try_take_turn();
  bool run_borrowed();
  void run_work();
  bool has_incoming();
  void dispatch();
  void take_messages();
  void take_completions();
  void run_posted();
  void flush_messages();

  static constexpr size_t kEventsMax = 128;
  static constexpr size_t kMessagesAtOnce = 1024;   // of one core, a turn
  static constexpr size_t kBorrowMessagesMax = 32;  // for more than these the core is woken: then two work at once

  CoreIndex index_;
  CoreIndex count_;
  Shared shared_;
  int epoll_ = -1;
  int wake_ = -1;
  int alarm_ = -1;
  Instant alarm_at_{};  // what the alarm is set to; in the past: nothing
  Instant now_{};
  mutable WallTime wall_now_{};
  mutable bool wall_is_read_ = false;
  TimerWheel wheel_;
  List<Deferred, DeferTag> deferred_;
  std::vector<Callback<void()>> posted_;
  std::vector<Callback<void()>> running_;
  std::array<epoll_event, kEventsMax> events_;
  int event_count_ = 0;
  int event_at_ = 0;
  std::vector<const Pollable*> ended_;  // forgotten in borrowed turns; the sleeping thread may be told of them still
  Instant sleeps_until_{};
  bool is_borrowed_ = false;   // this turn is run by a sender
  bool has_borrowed_ = false;  // this core ran another's turn
  std::array<uint64_t, 32> random_;
  size_t random_left_ = 0;

  std::vector<std::unique_ptr<Ring<Callback<void()>>>> incoming_;  // by sending core
  std::unique_ptr<Outgoing[]> outgoing_;                           // by target core
  size_t unsent_ = 0;

  alignas(64) std::atomic<bool> sleeps_{false};  // and nobody has woken it yet
  std::atomic<Turn> turn_{Turn::taken};
  std::atomic<bool> has_completions_{false};
  std::mutex completions_mutex_;
  std::vector<Callback<void()>> completions_;
  std::vector<Callback<void()>> completed_;

  std::unique_ptr<Disk> disk_;
  std::unique_ptr<Net> net_;
};

}  // namespace robustmq::runtime::posix
