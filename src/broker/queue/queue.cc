// Arrivals, settlement and time of a Queue. Pure. Its ranges are in queue_ranges.cc, leases in queue_lease.cc, snapshots in
// queue_store.cc.
#include "broker/queue/queue.h"

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "broker/queue/range_change.h"

namespace robustmq::queue {
namespace {

uint16_t raised(uint16_t count) { return count == UINT16_MAX ? count : static_cast<uint16_t>(count + 1); }

}  // namespace

Queue::Queue(const QueueOptions& options, QueueMetrics& metrics, Reader* reader, Offset start)
    : options_(options), metrics_(metrics), reader_(reader), start_(start), arrived_(start), end_(start) {
  ROBUSTMQ_CHECK(start >= 0, "offsets are not negative");
}

Queue::~Queue() = default;

// ---- What becomes of messages ----

void Queue::note(Delta delta) {
  if (!outputs_.deltas.empty()) {
    Delta& before = outputs_.deltas.back();
    if (before.kind == delta.kind && before.last + 1 == delta.first && before.acquired == delta.acquired &&
        before.failed == delta.failed && before.cause == delta.cause && before.not_before_ms == delta.not_before_ms &&
        before.annotations.empty() && delta.annotations.empty() &&
        (delta.kind == Delta::Kind::open || delta.kind == Delta::Kind::dead || delta.kind == Delta::Kind::done)) {
      before.last = delta.last;
      return;
    }
  }
  outputs_.deltas.push_back(std::move(delta));
}

void Queue::note_open(Offset first, const Range& range) {
  note({.kind = Delta::Kind::open,
        .first = first,
        .last = range.last,
        .acquired = range.acquired,
        .failed = range.failed,
        .not_before_ms = range.not_before.ms,
        .annotations = range.extra ? range.extra->annotations : std::string()});
}

void Queue::become_done(Range& range) {
  lose_extra(range);
  const Offset last = range.last;
  range = Range{};
  range.last = last;
  range.state = State::done;
}

void Queue::finish(Offset first, Range& range) {
  become_done(range);
  note({.kind = Delta::Kind::done, .first = first, .last = range.last});
}

void Queue::die(Offset first, Range& range, DeathCause cause) {
  metrics_.messages_dead_total += static_cast<uint64_t>(range.last - first + 1);
  const uint16_t acquired = range.acquired;
  const uint16_t failed = range.failed;
  outputs_.deaths.push_back({first, range.last, cause, acquired, failed});
  if (!options_.is_death_confirmed) return finish(first, range);
  become_done(range);
  range.state = State::dead;
  range.cause = cause;
  range.acquired = acquired;
  range.failed = failed;
  note({.kind = Delta::Kind::dead,
        .first = first,
        .last = range.last,
        .acquired = acquired,
        .failed = failed,
        .cause = static_cast<uint8_t>(cause)});
}

// A lease ended without an accept.
void Queue::come_back(Offset first, Range& range, Outcome outcome, WallTime not_before, Now now) {
  const bool is_unread = outcome == Outcome::unread;
  if (!is_unread) range.acquired = raised(range.acquired);
  if (outcome == Outcome::fail) range.failed = raised(range.failed);
  range.holder = 0;
  range.lease = 0;
  range.lease_end = {};
  range.state = State::available;
  range.not_before = {0};
  const int32_t deliveries = options_.limit_counts_releases ? range.acquired : range.failed;
  if (!is_unread && options_.delivery_limit > 0 && deliveries >= options_.delivery_limit)
    return die(first, range, DeathCause::delivery_limit);
  if (range.expires.ms != 0 && range.expires <= now.wall) return die(first, range, DeathCause::expired);
  if (is_unread) return;  // as it is written already
  if (not_before > now.wall) {
    range.state = State::waiting;
    range.not_before = not_before;
  }
  note_open(first, range);
}

// ---- Arrivals ----

Code Queue::check_arrival(const Arrival& arrival) const {
  if (arrival.first < arrived_ || arrival.last < arrival.first || arrival.last == INT64_MAX || arrival.lane >= kLanes ||
      (!arrival.group.empty() && arrival.first != arrival.last))
    return Code::invalid_argument;
  if (static_cast<int64_t>(ranges_.size()) >= options_.ranges_max) return Code::quota_exceeded;
  if (!arrival.group.empty() && extras_ >= options_.extras_max) return Code::quota_exceeded;
  return Code::ok;
}

Code Queue::arrive(const Arrival& arrival, Now now) {
  if (const Code code = check_arrival(arrival); code != Code::ok) {
    if (code == Code::quota_exceeded) ++metrics_.arrivals_refused_total;
    return code;
  }
  begin(now);
  place(arrival, now);
  dispatch(now);
  drop_head();
  dispatch(now);
  return Code::ok;
}

void Queue::skip(Offset upto, Now now) {
  begin(now);
  pass_over(upto);
  dispatch(now);
}

void Queue::pass_over(Offset upto) {
  if (upto <= arrived_) return;
  if (arrived_ < end_) {
    change(arrived_, std::min(upto, end_) - 1, [&](Offset, Range& range) { become_done(range); });
  }
  Range gap;
  gap.state = State::done;
  append(upto - 1, std::move(gap));
  arrived_ = std::max(arrived_, upto);
}

void Queue::place(const Arrival& arrival, Now now) {
  pass_over(arrival.first);
  // What is done already, from a replay, needs no facts.
  const Offset first = std::max(arrival.first, start_);
  if (first > arrival.last) return;
  const State state = arrival.not_before > now.wall ? State::waiting : State::available;
  const WallTime not_before = state == State::waiting ? arrival.not_before : WallTime{0};
  if (first < end_) {
    change(first, std::min(arrival.last, end_ - 1), [&](Offset, Range& range) {
      if (!range.is_open()) return;
      range.lane = arrival.lane;
      range.expires = arrival.expires;
      if (range.acquired == 0) {
        range.state = state;
        range.not_before = not_before;
      }
      if (!arrival.group.empty()) join_group(range, arrival.group);
    });
  }
  if (arrival.last >= end_) {
    Range range;
    range.state = state;
    range.lane = arrival.lane;
    range.not_before = not_before;
    range.expires = arrival.expires;
    if (!arrival.group.empty()) join_group(range, arrival.group);
    append(arrival.last, std::move(range));
  }
  arrived_ = std::max(arrived_, arrival.last + 1);
}

int64_t Queue::room() const {
  if (options_.length_max == 0 || !options_.is_overflow_rejected) return INT64_MAX;
  return std::max<int64_t>(0, options_.length_max - count(State::available));
}

void Queue::drop_head() {
  if (options_.length_max == 0 || options_.is_overflow_rejected) return;
  while (count(State::available) > options_.length_max && has_ready()) {
    Offset first = INT64_MAX;
    for (const auto& lane : ready_) {
      if (!lane.empty()) first = std::min(first, *lane.begin());
    }
    const int64_t over = count(State::available) - options_.length_max;
    const Offset last = std::min(ranges_.at(first).last, first + over - 1);
    change(first, last, [&](Offset at, Range& range) { die(at, range, DeathCause::overflow); });
  }
}

// ---- Settlement ----

bool Queue::holds(ConsumerId consumer, Offset first, Offset last, LeaseId lease) const {
  if (first > last || first < start_ || last >= end_) return false;
  auto at = ranges_.upper_bound(first);
  if (at == ranges_.begin()) return false;
  --at;
  for (; at != ranges_.end() && at->first <= last; ++at) {
    const Range& range = at->second;
    if (range.state != State::leased || range.holder != consumer || (lease != 0 && range.lease != lease)) return false;
  }
  return true;
}

std::vector<Code> Queue::settle(const std::vector<Settlement>& settlements, Now now) {
  begin(now);
  std::vector<Code> codes;
  codes.reserve(settlements.size());
  for (const Settlement& one : settlements) {
    Code code = Code::ok;
    const bool has_annotations = !one.annotations.empty();
    const auto count = static_cast<uint64_t>(one.last - one.first + 1);
    if (!holds(one.consumer, one.first, one.last, one.lease)) {
      code = Code::not_found;
    } else if (has_annotations && (one.first != one.last || (one.outcome != Outcome::release && one.outcome != Outcome::fail))) {
      code = Code::invalid_argument;
    } else if (static_cast<int64_t>(one.annotations.size()) > options_.annotation_bytes_max) {
      code = Code::too_large;
    } else if (has_annotations && extras_ >= options_.extras_max) {
      code = Code::quota_exceeded;
    } else {
      switch (one.outcome) {
        case Outcome::accept:
          metrics_.messages_accepted_total += count;
          change(one.first, one.last, [&](Offset at, Range& range) { finish(at, range); });
          break;
        case Outcome::reject:
          change(one.first, one.last, [&](Offset at, Range& range) {
            range.acquired = raised(range.acquired);
            die(at, range, DeathCause::rejected);
          });
          break;
        case Outcome::release:
        case Outcome::fail:
        case Outcome::unread:
          (one.outcome == Outcome::fail ? metrics_.messages_failed_total : metrics_.messages_released_total) += count;
          change(one.first, one.last, [&](Offset at, Range& range) {
            annotate(range, one.annotations);
            come_back(at, range, one.outcome, one.not_before, now);
          });
          break;
      }
      if (const auto consumer = consumers_.find(one.consumer); consumer != consumers_.end()) refresh(consumer->second);
    }
    codes.push_back(code);
  }
  dispatch(now);
  return codes;
}

Code Queue::renew(ConsumerId consumer, Offset first, Offset last, int64_t lease_ms, LeaseId lease, Now now) {
  begin(now);
  const bool is_held = holds(consumer, first, last, lease);
  if (is_held) {
    const Instant until = lease_end(lease_ms, now);
    change(first, last, [&](Offset, Range& range) { range.lease_end = until; });
  }
  dispatch(now);
  return is_held ? Code::ok : Code::not_found;
}

Code Queue::confirm_dead(Offset first, Offset last, Now now) {
  if (first > last || first < start_ || last >= end_) return Code::not_found;
  auto at = std::prev(ranges_.upper_bound(first));
  for (; at != ranges_.end() && at->first <= last; ++at) {
    if (at->second.state != State::dead) return Code::not_found;
  }
  begin(now);
  change(first, last, [&](Offset from, Range& range) { finish(from, range); });
  dispatch(now);
  return Code::ok;
}

// ---- The whole queue ----

void Queue::seek(Offset to, Now now) {
  ROBUSTMQ_CHECK(to >= 0, "offsets are not negative");
  begin(now);
  clear(to);
  note({.kind = Delta::Kind::reset, .first = to, .last = to});
  finish_drains();
}

int64_t Queue::purge(Offset upto, Now now) {
  begin(now);
  int64_t purged = 0;
  upto = std::min(upto, end_);
  if (upto > start_) {
    change(start_, upto - 1, [&](Offset at, Range& range) {
      if (!range.is_open()) return;
      purged += range.last - at + 1;
      finish(at, range);
    });
  }
  dispatch(now);
  return purged;
}

void Queue::trim(Offset upto, Now now) {
  begin(now);
  if (upto > start_ && start_ < end_) {
    std::set<ConsumerId> holders;
    change(start_, std::min(upto, end_) - 1, [&](Offset at, Range& range) {
      if (range.holder != 0) holders.insert(range.holder);
      if (range.state == State::dead && options_.is_death_confirmed) return;
      if (range.state != State::done) finish(at, range);
    });
    for (const ConsumerId id : holders) refresh(consumers_.at(id));
  }
  if (upto > end_) {
    note({.kind = Delta::Kind::done, .first = end_, .last = upto - 1});
    Range gone;
    gone.state = State::done;
    append(upto - 1, std::move(gone));
  }
  arrived_ = std::max(arrived_, std::min(upto, end_));
  dispatch(now);
}

void Queue::pause() {
  if (is_paused_) return;
  is_paused_ = true;
  note({.kind = Delta::Kind::pause});
}

void Queue::resume(Now now) {
  begin(now);
  if (is_paused_) {
    is_paused_ = false;
    note({.kind = Delta::Kind::resume});
  }
  dispatch(now);
}

std::vector<View> Queue::browse(Offset from, size_t views_max) const {
  std::vector<View> views;
  auto at = ranges_.upper_bound(from);
  if (at != ranges_.begin()) --at;
  for (; at != ranges_.end() && views.size() < views_max; ++at) {
    const Range& range = at->second;
    if (range.last < from || range.state == State::done) continue;
    views.push_back({.first = std::max(from, at->first),
                     .last = range.last,
                     .state = range.state,
                     .acquired = range.acquired,
                     .failed = range.failed,
                     .lane = range.lane,
                     .cause = range.cause,
                     .not_before = range.not_before,
                     .expires = range.expires,
                     .holder = range.holder,
                     .lease = range.lease,
                     .group = range.extra && range.extra->group ? range.extra->group->name : std::string_view{},
                     .annotations = range.extra ? std::string_view(range.extra->annotations) : std::string_view{}});
  }
  return views;
}

// ---- Time ----

// What is due by `now`, before anything else of an input.
void Queue::begin(Now now) {
  scan_left_ = options_.scan_max;
  outputs_.has_more = false;
  if (owes_deaths_) {
    owes_deaths_ = false;
    for (const auto& [first, range] : ranges_) {
      if (range.state == State::dead) outputs_.deaths.push_back({first, range.last, range.cause, range.acquired, range.failed});
    }
  }
  while (!lease_due_.empty() && lease_due_.begin()->first <= now.instant) {
    const Offset first = lease_due_.begin()->second;
    const Range& due = ranges_.at(first);
    const ConsumerId holder = due.holder;
    metrics_.leases_expired_total += static_cast<uint64_t>(due.last - first + 1);
    change(first, due.last, [&](Offset at, Range& range) { come_back(at, range, Outcome::fail, {0}, now); });
    refresh(consumers_.at(holder));
  }
  while (!wall_due_.empty() && wall_due_.begin()->first <= now.wall.ms) {
    const Offset first = wall_due_.begin()->second;
    change(first, ranges_.at(first).last, [&](Offset at, Range& range) {
      if (range.expires.ms != 0 && range.expires <= now.wall) return die(at, range, DeathCause::expired);
      range.state = State::available;
      range.not_before = {0};
    });
  }
}

void Queue::tick(Now now) {
  begin(now);
  dispatch(now);
}

Instant Queue::next_timer(Now now) const {
  if (outputs_.has_more || owes_deaths_) return now.instant;
  Instant next = Instant::never();
  if (!lease_due_.empty()) next = lease_due_.begin()->first;
  if (!wall_due_.empty()) {
    const int64_t wait_ms = std::max<int64_t>(0, wall_due_.begin()->first - now.wall.ms);
    constexpr int64_t kWaitMaxMs = int64_t{1} << 40;  // a timer that comes early is no harm
    next = std::min(next, now.instant + Duration::millis(std::min(wait_ms, kWaitMaxMs)));
  }
  return next;
}

}  // namespace robustmq::queue
