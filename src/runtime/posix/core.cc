// See core.h.
#include "runtime/posix/core.h"

#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/check.h"
#include "runtime/posix/disk.h"
#include "runtime/posix/net.h"

namespace robustmq::runtime::posix {

PosixCore::PosixCore(CoreIndex index, CoreIndex count, Shared shared) : index_(index), count_(count), shared_(shared) {
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  alarm_ = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  ROBUSTMQ_CHECK(epoll_ >= 0 && wake_ >= 0 && alarm_ >= 0, "no descriptors for a core");
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  event.data.ptr = nullptr;
  for (int descriptor : {wake_, alarm_}) ROBUSTMQ_CHECK(epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &event) == 0, "epoll_ctl");
  for (CoreIndex from = 0; from < count; ++from) {
    incoming_.push_back(std::make_unique<Ring<Callback<void()>>>(shared.ring_messages));
  }
  outgoing_ = std::make_unique<Outgoing[]>(count);
  disk_ = std::make_unique<PosixDisk>(*this);
  net_ = std::make_unique<PosixNet>(*this);
  read_clock();
}

PosixCore::~PosixCore() {
  // Work that nobody runs any more may hold sockets and files: it goes while the core still stands.
  posted_.clear();
  completions_.clear();
  for (auto& ring : incoming_) {
    Callback<void()> work;
    while (ring->pop(work)) work.reset();
  }
  for (CoreIndex to = 0; to < count_; ++to) outgoing_[to].waiting.clear();
  net_.reset();
  disk_.reset();
  close(alarm_);
  close(wake_);
  close(epoll_);
}

void PosixCore::connect_to(std::vector<PosixCore*> cores) {
  for (size_t i = 0; i < cores.size(); ++i) outgoing_[i].core = cores[i];
}

void PosixCore::read_clock() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  now_ = {time.tv_sec * 1'000'000'000 + time.tv_nsec};
  wall_is_read_ = false;
}

WallTime PosixCore::wall_now() const {
  if (!wall_is_read_) {
    timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    wall_now_ = {time.tv_sec * 1000 + time.tv_nsec / 1'000'000};
    wall_is_read_ = true;
  }
  return wall_now_;
}

uint64_t PosixCore::random() {
  if (random_left_ == 0) {
    size_t size = sizeof(random_);
    ROBUSTMQ_CHECK(getrandom(random_.data(), size, 0) == static_cast<ssize_t>(size), "getrandom");
    random_left_ = random_.size();
  }
  return random_[--random_left_];
}

// ---- messages ----

void PosixCore::send(CoreIndex to, Callback<void()> work) {
  if (to == index_) {
    posted_.push_back(std::move(work));
    return;
  }
  Outgoing& out = outgoing_[to];
  Ring<Callback<void()>>& ring = *out.core->incoming_[index_];
  ++out.pushed;
  if (out.waiting.empty() && !ring.is_full()) {
    ring.push(std::move(work));
  } else {
    out.waiting.push_back(std::move(work));
    ++unsent_;
  }
}

void PosixCore::flush_messages() {
  for (CoreIndex to = 0; to < count_; ++to) {
    Outgoing& out = outgoing_[to];
    if (out.pushed == 0 && out.waiting.empty()) continue;
    Ring<Callback<void()>>& ring = *out.core->incoming_[index_];
    while (!out.waiting.empty() && !ring.is_full()) {
      ring.push(std::move(out.waiting.front()));
      out.waiting.pop_front();
      --unsent_;
    }
    const bool are_few = std::exchange(out.pushed, 0) <= kBorrowMessagesMax;
    ring.publish();
    if (!out.core->sleeps_.load(std::memory_order_seq_cst)) continue;
    if (!is_borrowed_ && are_few && out.core->run_borrowed())
      has_borrowed_ = true;
    else
      out.core->wake();
  }
}

void PosixCore::take_messages() {
  for (auto& ring : incoming_) {
    Callback<void()> work;
    for (size_t i = 0; i < kMessagesAtOnce && ring->pop(work); ++i) {
      work();
      work.reset();
    }
  }
}

void PosixCore::complete(Callback<void()> work) {
  {
    std::lock_guard lock(completions_mutex_);
    completions_.push_back(std::move(work));
  }
  has_completions_.store(true, std::memory_order_seq_cst);
  if (sleeps_.load(std::memory_order_seq_cst)) wake();
}

void PosixCore::take_completions() {
  if (!has_completions_.load(std::memory_order_acquire)) return;
  {
    std::lock_guard lock(completions_mutex_);
    has_completions_.store(false, std::memory_order_relaxed);
    completed_.swap(completions_);
  }
  for (auto& work : completed_) work();
  completed_.clear();
}

void PosixCore::wake() {
  // One of several wakers writes.
  if (!sleeps_.exchange(false, std::memory_order_seq_cst)) return;
  uint64_t one = 1;
  ssize_t written = write(wake_, &one, sizeof(one));
  static_cast<void>(written);  // full means a wake-up is pending already
}

// ---- the loop ----

void PosixCore::run() {
  while (!shared_.is_stopping->load(std::memory_order_acquire)) {
    wait();
    read_clock();
    wheel_.advance(now_);
    dispatch();
    run_work();
    // What borrowed cores answered is here already.
    while (std::exchange(has_borrowed_, false) && has_incoming()) run_work();
  }
}

void PosixCore::run_work() {
  take_messages();
  take_completions();
  run_posted();
  while (!deferred_.empty()) deferred_.pop_front().run_deferred();
  flush_messages();
}

// On the sender's thread. False: somebody has the turn.
bool PosixCore::run_borrowed() {
  if (!try_take_turn()) return false;
  is_borrowed_ = true;
  read_clock();
  run_work();
  is_borrowed_ = false;
  const bool needs_its_thread = !posted_.empty() || unsent_ > 0 || wheel_.next_due() < sleeps_until_;
  lay_down_turn();
  if (needs_its_thread || has_incoming()) wake();
  return true;
}

void PosixCore::lay_down_turn() {
  turn_.store(Turn::laid_down, std::memory_order_seq_cst);
  turn_.notify_one();
}

bool PosixCore::try_take_turn() {
  Turn expected = Turn::laid_down;
  return turn_.compare_exchange_strong(expected, Turn::taken, std::memory_order_seq_cst);
}

void PosixCore::take_turn() {
  while (!try_take_turn()) turn_.wait(Turn::taken, std::memory_order_seq_cst);
}

bool PosixCore::has_incoming() {
  if (has_completions_.load(std::memory_order_seq_cst)) return true;
  return std::any_of(incoming_.begin(), incoming_.end(), [](auto& ring) { return !ring->is_empty(); });
}

int64_t PosixCore::sleep_ns() {
  constexpr int64_t kForEver = -1;
  constexpr int64_t kRetryNs = 50'000;  // a full ring of another core is tried again
  if (!posted_.empty() || !deferred_.empty()) return 0;
  Instant due = wheel_.next_due();
  int64_t ns = kForEver;
  if (due != Instant::never()) {
    read_clock();  // what the turn took comes off the sleep
    ns = std::max<int64_t>(0, (due - now_).ns);
  }
  if (unsent_ > 0) ns = ns == kForEver ? kRetryNs : std::min(ns, kRetryNs);
  return ns;
}

// A timer of the system's and not a timeout of each wait: it is set when the earliest timer changes, while a timeout programs
// the machine's clock at the begin and the end of every wait. An alarm that is early costs one turn.
void PosixCore::set_alarm(Instant due) {
  if (alarm_at_ > now_ && alarm_at_ <= due) return;
  alarm_at_ = due;
  itimerspec at{};
  at.it_value = {due.ns / 1'000'000'000, due.ns % 1'000'000'000};
  ROBUSTMQ_CHECK(timerfd_settime(alarm_, TFD_TIMER_ABSTIME, &at, nullptr) == 0, "timerfd_settime");
}

void PosixCore::wait() {
  int64_t ns = sleep_ns();
  const bool sleeps = ns != 0;
  if (sleeps) {
    sleeps_until_ = ns < 0 ? Instant::never() : now_ + Duration{ns};
    if (ns > 0) set_alarm(sleeps_until_);
    sleeps_.store(true, std::memory_order_seq_cst);
    lay_down_turn();
    if (has_incoming() || shared_.is_stopping->load(std::memory_order_seq_cst)) ns = 0;
  }
  int count = epoll_wait(epoll_, events_.data(), kEventsMax, ns == 0 ? 0 : -1);
  ROBUSTMQ_CHECK(count >= 0 || errno == EINTR, "epoll_wait");
  if (sleeps) {
    take_turn();
    sleeps_.store(false, std::memory_order_relaxed);
  }
  event_at_ = 0;
  event_count_ = std::max(count, 0);
  for (const Pollable* pollable : ended_) forget(pollable);
  ended_.clear();
}

void PosixCore::dispatch() {
  for (; event_at_ < event_count_; ++event_at_) {
    epoll_event& event = events_[event_at_];
    // The eventfd and the alarm are edge-triggered and never read: their counts only have to change.
    if (event.data.ptr) static_cast<Pollable*>(event.data.ptr)->on_events(event.events);
  }
  event_count_ = 0;
}

void PosixCore::run_posted() {
  if (posted_.empty()) return;
  running_.swap(posted_);
  for (auto& work : running_) work();
  running_.clear();
}

void PosixCore::watch(int descriptor, uint32_t events, Pollable& pollable) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &pollable;
  ROBUSTMQ_CHECK(epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &event) == 0, "epoll_ctl");
}

void PosixCore::rewatch(int descriptor, uint32_t events, Pollable& pollable) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &pollable;
  ROBUSTMQ_CHECK(epoll_ctl(epoll_, EPOLL_CTL_MOD, descriptor, &event) == 0, "epoll_ctl");
}

void PosixCore::unwatch(int descriptor) { epoll_ctl(epoll_, EPOLL_CTL_DEL, descriptor, nullptr); }

void PosixCore::forget(const Pollable* pollable) {
  if (is_borrowed_) ended_.push_back(pollable);
  for (int i = event_at_; i < event_count_; ++i) {
    if (events_[i].data.ptr == pollable) events_[i].data.ptr = nullptr;
  }
}

}  // namespace robustmq::runtime::posix
