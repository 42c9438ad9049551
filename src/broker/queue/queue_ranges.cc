// The ranges of a Queue and their indexes. Pure.
//
// Every change of a range goes through change(): take the range out of the indexes, change it, put it back, refresh its group,
// join it with equal neighbours. So an index never has to be searched for what is out of date.
#include <algorithm>

#include "base/check.h"
#include "broker/queue/queue.h"

namespace robustmq::queue {

// ---- Indexes ----

void Queue::index(Offset first, Range& range) {
  const int64_t length = range.last - first + 1;
  counts_[static_cast<size_t>(range.state)] += length;
  Group* group = range.extra ? range.extra->group : nullptr;
  if (range.is_open()) {
    int64_t due = range.state == State::waiting ? range.not_before.ms : INT64_MAX;
    if (range.expires.ms != 0) due = std::min(due, range.expires.ms);
    if (due != INT64_MAX) wall_due_.emplace(due, first);
    if (group) {
      group->pending.insert(first);
    } else if (range.state == State::available) {
      ready_[range.lane].insert(first);
      ready_lanes_ |= 1u << range.lane;
    }
  } else if (range.state == State::leased) {
    if (range.lease_end != Instant::never()) lease_due_.emplace(range.lease_end, first);
    Consumer& holder = consumers_.at(range.holder);
    holder.held.insert(first);
    holder.in_flight += length;
    if (group) {
      ++group->leased;
      group->lock = range.lease;
    }
  }
}

void Queue::unindex(Offset first, Range& range) {
  const int64_t length = range.last - first + 1;
  counts_[static_cast<size_t>(range.state)] -= length;
  Group* group = range.extra ? range.extra->group : nullptr;
  if (range.is_open()) {
    int64_t due = range.state == State::waiting ? range.not_before.ms : INT64_MAX;
    if (range.expires.ms != 0) due = std::min(due, range.expires.ms);
    if (due != INT64_MAX) wall_due_.erase({due, first});
    if (group) group->pending.erase(first);
    const bool is_ready = group ? group->ready == first : range.state == State::available;
    if (is_ready) {
      ready_[range.lane].erase(first);
      if (ready_[range.lane].empty()) ready_lanes_ &= ~(1u << range.lane);
      if (group) group->ready = kNone;
    }
  } else if (range.state == State::leased) {
    lease_due_.erase({range.lease_end, first});
    Consumer& holder = consumers_.at(range.holder);
    holder.held.erase(first);
    holder.in_flight -= length;
    if (group) --group->leased;
  }
}

// Its first pending message is ready when it is available and nobody else holds the group.
void Queue::refresh(Group& group) {
  if (group.size == 0) {
    groups_.erase(groups_.find(group.name));
    return;
  }
  Offset ready = kNone;
  const bool is_free = group.leased == 0 || (batch_ != 0 && group.lock == batch_);
  if (is_free && !group.pending.empty()) {
    const Offset head = *group.pending.begin();
    if (ranges_.at(head).state == State::available) ready = head;
  }
  if (ready == group.ready) return;
  if (group.ready != kNone) {
    ready_[group.ready_lane].erase(group.ready);
    if (ready_[group.ready_lane].empty()) ready_lanes_ &= ~(1u << group.ready_lane);
  }
  group.ready = ready;
  if (ready == kNone) return;
  group.ready_lane = ranges_.at(ready).lane;
  ready_[group.ready_lane].insert(ready);
  ready_lanes_ |= 1u << group.ready_lane;
  make_ready(ready, group.ready_lane);
}

void Queue::make_ready(Offset first, uint8_t lane) {
  for (auto& [id, filter] : filters_) {
    filter.cursor[lane] = std::min(filter.cursor[lane], first);
    filter.is_starved = false;
  }
}

// ---- Ranges ----

// The range that begins at `at`; a longer one is cut there.
Queue::Ranges::iterator Queue::split(Offset at) {
  auto next = ranges_.lower_bound(at);
  if (next != ranges_.end() && next->first == at) return next;
  if (next == ranges_.begin()) return next;
  auto whole = std::prev(next);
  Range& left = whole->second;
  if (left.last < at) return next;
  ROBUSTMQ_CHECK(!left.extra, "a message with an extra is a range of its own");
  unindex(whole->first, left);
  Range right;
  right.last = left.last;
  right.state = left.state;
  right.lane = left.lane;
  right.acquired = left.acquired;
  right.failed = left.failed;
  right.cause = left.cause;
  right.not_before = left.not_before;
  right.expires = left.expires;
  right.lease_end = left.lease_end;
  right.holder = left.holder;
  right.lease = left.lease;
  left.last = at - 1;
  index(whole->first, left);
  const auto made = ranges_.emplace_hint(next, at, std::move(right));
  index(at, made->second);
  return made;
}

// Joins equal neighbours from the one before `from` to the one behind `upto`.
void Queue::merge(Offset from, Offset upto) {
  auto at = ranges_.lower_bound(from);
  if (at != ranges_.begin()) --at;
  while (at != ranges_.end() && at->first <= upto) {
    const auto next = std::next(at);
    if (next == ranges_.end()) return;
    Range& left = at->second;
    Range& right = next->second;
    const bool is_same = !left.extra && !right.extra && left.state == right.state && left.lane == right.lane &&
                         left.acquired == right.acquired && left.failed == right.failed && left.cause == right.cause &&
                         left.not_before == right.not_before && left.expires == right.expires && left.holder == right.holder &&
                         left.lease == right.lease && left.lease_end == right.lease_end;
    if (!is_same) {
      at = next;
      continue;
    }
    unindex(at->first, left);
    unindex(next->first, right);
    left.last = right.last;
    ranges_.erase(next);
    index(at->first, left);
  }
}

void Queue::forget_done() {
  while (!ranges_.empty() && ranges_.begin()->second.state == State::done) {
    unindex(ranges_.begin()->first, ranges_.begin()->second);
    start_ = ranges_.begin()->second.last + 1;
    ranges_.erase(ranges_.begin());
  }
  arrived_ = std::max(arrived_, start_);
}

// Behind the last one.
void Queue::append(Offset last, Range range) {
  const Offset first = end_;
  if (last < first) return;
  range.last = last;
  end_ = last + 1;
  Group* group = range.extra ? range.extra->group : nullptr;
  const auto made = ranges_.emplace_hint(ranges_.end(), first, std::move(range));
  index(first, made->second);
  if (group)
    refresh(*group);
  else if (made->second.state == State::available)
    make_ready(first, made->second.lane);
  merge(first, last);
  forget_done();
}

void Queue::clear(Offset start) {
  for (auto& [id, consumer] : consumers_) {
    consumer.held.clear();
    consumer.in_flight = 0;
  }
  ranges_.clear();
  groups_.clear();
  for (auto& lane : ready_) lane.clear();
  ready_lanes_ = 0;
  wall_due_.clear();
  lease_due_.clear();
  counts_ = {};
  extras_ = 0;
  for (auto& [id, filter] : filters_) {
    filter.cursor.fill(0);
    filter.is_starved = false;
  }
  start_ = arrived_ = end_ = start;
  for (auto& [id, consumer] : consumers_) refresh(consumer);
}

// ---- Extras ----

void Queue::join_group(Range& range, const std::string& name) {
  if (!range.extra) {
    range.extra = std::make_unique<Extra>();
    ++extras_;
  }
  const auto [at, is_new] = groups_.try_emplace(name);
  at->second.name = at->first;
  ++at->second.size;
  range.extra->group = &at->second;
}

void Queue::annotate(Range& range, const std::string& annotations) {
  if (annotations.empty()) return;
  if (!range.extra) {
    range.extra = std::make_unique<Extra>();
    ++extras_;
  }
  range.extra->annotations = annotations;
}

// The group itself goes in refresh(), when the range is out of its sight.
void Queue::lose_extra(Range& range) {
  if (!range.extra) return;
  if (range.extra->group) --range.extra->group->size;
  range.extra.reset();
  --extras_;
}

}  // namespace robustmq::queue
