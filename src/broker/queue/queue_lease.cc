// Who gets what: consumers, credit and leases of a Queue. Pure.
#include <algorithm>

#include "base/check.h"
#include "broker/queue/queue.h"
#include "broker/queue/range_change.h"

namespace robustmq::queue {

// ---- Consumers ----

Code Queue::add_consumer(const ConsumerFacts& facts, Now now) {
  if (consumers_.contains(facts.id) || has_exclusive_ || (facts.is_exclusive && !consumers_.empty())) return Code::already_exists;
  if (facts.id == 0 || facts.in_flight_max < 1) return Code::invalid_argument;
  if (static_cast<int64_t>(consumers_.size()) >= options_.consumers_max) return Code::quota_exceeded;
  auto filter = filters_.find(facts.filter);
  if (filter == filters_.end()) {
    if (static_cast<int64_t>(filters_.size()) >= options_.filters_max) return Code::quota_exceeded;
    filter = filters_.try_emplace(facts.filter).first;
    filter->second.cursor.fill(0);
  }
  begin(now);
  ++filter->second.consumers;
  Consumer& consumer = consumers_[facts.id];
  consumer.facts = facts;
  consumer.order = ++orders_;
  has_exclusive_ = facts.is_exclusive;
  if (options_.is_single_active) standby_.insert({facts.priority, consumer.order, facts.id});
  activate();
  dispatch(now);
  return Code::ok;
}

void Queue::remove_consumer(ConsumerId id, Outcome outcome, Now now) {
  const auto found = consumers_.find(id);
  if (found == consumers_.end()) return;
  begin(now);
  Consumer& consumer = found->second;
  consumer.credit = 0;
  refresh(consumer);
  while (!consumer.held.empty()) {
    const Offset first = *consumer.held.begin();
    const Offset last = ranges_.at(first).last;
    (outcome == Outcome::fail ? metrics_.messages_failed_total : metrics_.messages_released_total) +=
        static_cast<uint64_t>(last - first + 1);
    change(first, last, [&](Offset at, Range& range) { come_back(at, range, outcome, {0}, now); });
  }
  if (consumer.facts.is_exclusive) has_exclusive_ = false;
  standby_.erase({consumer.facts.priority, consumer.order, id});
  draining_.erase(id);
  const auto filter = filters_.find(consumer.facts.filter);
  if (--filter->second.consumers == 0) filters_.erase(filter);
  consumers_.erase(found);
  if (active_ == id) active_.reset();
  activate();
  dispatch(now);
}

void Queue::activate() {
  if (!options_.is_single_active || active_ || standby_.empty()) return;
  active_ = standby_.begin()->id;
  outputs_.activated = active_;
  refresh(consumers_.at(*active_));
}

bool Queue::is_eligible(const Consumer& consumer) const {
  return consumer.credit > 0 && consumer.in_flight < consumer.facts.in_flight_max &&
         (!options_.is_single_active || active_ == consumer.facts.id);
}

// Keeps its place among the hungry in step with its credit.
void Queue::refresh(Consumer& consumer) {
  FilterState& filter = filters_.at(consumer.facts.filter);
  const Turn turn{consumer.facts.priority, consumer.served, consumer.facts.id};
  const bool is_hungry = is_eligible(consumer);
  if (consumer.is_hungry && (!is_hungry || consumer.turn.served != turn.served)) {
    filter.hungry.erase(consumer.turn);
    consumer.is_hungry = false;
    --hungry_;
  }
  if (is_hungry && !consumer.is_hungry) {
    consumer.turn = turn;
    consumer.is_hungry = true;
    filter.hungry.insert(turn);
    ++hungry_;
  }
}

// ---- Credit and leases ----

Code Queue::credit(ConsumerId id, int64_t messages, bool is_drain, Now now) {
  const auto found = consumers_.find(id);
  if (found == consumers_.end()) return Code::not_found;
  if (messages < 0) return Code::invalid_argument;
  begin(now);
  Consumer& consumer = found->second;
  consumer.credit = messages;
  consumer.is_once = false;
  consumer.bytes_max = INT64_MAX;
  consumer.lease_ms = 0;
  if (is_drain)
    draining_.insert(id);
  else
    draining_.erase(id);
  refresh(consumer);
  dispatch(now);
  return Code::ok;
}

Result<int64_t> Queue::lease(const LeaseRequest& request, Now now) {
  const auto found = consumers_.find(request.consumer);
  if (found == consumers_.end()) return Error{Code::not_found, "no such consumer"};
  if (request.messages_max < 1 || request.bytes_max < 1 || request.lease_ms < 0)
    return Error{Code::invalid_argument, "a lease asks for something"};
  Consumer& consumer = found->second;
  begin(now);
  // Those who stand and wait were there before.
  dispatch(now);
  int64_t granted = 0;
  const int64_t room = consumer.facts.in_flight_max - consumer.in_flight;
  if (room > 0 && may_lease() && has_ready() && (!options_.is_single_active || active_ == request.consumer))
    granted = take(consumer, std::min(request.messages_max, room), request.bytes_max, request.lease_ms, request.below, now);
  if (granted == 0 && request.is_waiting) {
    consumer.credit = request.messages_max;
    consumer.bytes_max = request.bytes_max;
    consumer.lease_ms = request.lease_ms;
    consumer.is_once = true;
  }
  refresh(consumer);
  return granted;
}

bool Queue::has_ready() const { return ready_lanes_ != 0; }

std::optional<Offset> Queue::first_ready() const {
  std::optional<Offset> first;
  for (const auto& lane : ready_) {
    if (!lane.empty() && (!first || *lane.begin() < *first)) first = *lane.begin();
  }
  return first;
}

bool Queue::may_lease() const { return !is_paused_ && arrived_ == end_ && count(State::leased) < options_.in_flight_max; }

// Gives what is ready to those who wait for it, in turn: each an equal part.
void Queue::dispatch(Now now) {
  while (hungry_ > 0 && may_lease() && has_ready()) {
    const Turn* next = nullptr;
    for (const auto& [id, filter] : filters_) {
      if (filter.is_starved || filter.hungry.empty()) continue;
      if (!next || *filter.hungry.begin() < *next) next = &*filter.hungry.begin();
    }
    if (!next) break;
    Consumer& consumer = consumers_.at(next->id);
    int64_t messages = std::min(consumer.credit, consumer.facts.in_flight_max - consumer.in_flight);
    if (!consumer.is_once) messages = std::min(messages, std::max<int64_t>(1, count(State::available) / hungry_));
    const int64_t granted = take(consumer, messages, consumer.bytes_max, consumer.lease_ms, INT64_MAX, now);
    if (granted > 0) {
      consumer.credit = consumer.is_once ? 0 : consumer.credit - granted;
      consumer.served = ++servings_;
      refresh(consumer);
    } else if (outputs_.has_more) {
      return;  // goes on in another turn
    } else {
      filters_.at(consumer.facts.filter).is_starved = true;
    }
  }
  finish_drains();
}

void Queue::finish_drains() {
  if (draining_.empty() || outputs_.unread) return;
  for (const ConsumerId id : draining_) {
    Consumer& consumer = consumers_.at(id);
    outputs_.drained.push_back({id, consumer.credit});
    consumer.credit = 0;
    refresh(consumer);
  }
  draining_.clear();
}

void Queue::looked(Now now) {
  begin(now);
  outputs_.unread.reset();
  for (auto& [id, filter] : filters_) filter.is_starved = false;
  dispatch(now);
}

Instant Queue::lease_end(int64_t lease_ms, Now now) const {
  const int64_t wanted = lease_ms > 0 ? lease_ms : options_.lease_ms;
  if (wanted == 0) return Instant::never();
  return now.instant + Duration::millis(std::min(wanted, options_.lease_ms_max));
}

void Queue::grant(Consumer& consumer, Offset first, Offset last, Instant end) {
  change(first, last, [&](Offset at, Range& range) {
    if (range.extra && range.extra->group && range.extra->group->lock != batch_) batch_groups_.push_back(range.extra->group);
    range.state = State::leased;
    range.holder = consumer.facts.id;
    range.lease = batch_;
    range.lease_end = end;
    const auto acquired = static_cast<uint16_t>(std::min<uint32_t>(range.acquired + 1u, UINT16_MAX));
    auto& grants = outputs_.grants;
    if (!grants.empty() && grants.back().lease == batch_ && grants.back().last + 1 == at && grants.back().acquired == acquired &&
        grants.back().failed == range.failed)
      grants.back().last = range.last;
    else
      grants.push_back({consumer.facts.id, batch_, at, range.last, acquired, range.failed});
  });
}

// One lease of what is ready and suits the consumer. Returns how many messages it has; 0 with outputs().has_more: not all of
// what is ready was looked at.
int64_t Queue::take(Consumer& consumer, int64_t messages_max, int64_t bytes_max, int64_t lease_ms, Offset below, Now now) {
  FilterState& filter = filters_.at(consumer.facts.filter);
  const bool has_filter = consumer.facts.filter != 0;
  const bool is_looking = reader_ && (has_filter || bytes_max != INT64_MAX);
  const Instant end = lease_end(lease_ms, now);
  batch_ = ++last_lease_;
  batch_groups_.clear();
  messages_max = std::min(messages_max, options_.in_flight_max - count(State::leased));
  int64_t taken = 0;
  int64_t bytes = 0;
  bool is_over = false;
  for (int lane = kLanes - 1; lane >= 0 && !is_over; --lane) {
    if ((ready_lanes_ & (1u << lane)) == 0) continue;
    const std::set<Offset>& ready = ready_[static_cast<size_t>(lane)];
    Offset at = has_filter ? filter.cursor[static_cast<size_t>(lane)] : 0;
    while (!(is_over = taken >= messages_max)) {
      // The ready range that `at` lies in, or the next one.
      auto next = ready.upper_bound(at);
      if (next != ready.begin() && ranges_.at(*std::prev(next)).last >= at) --next;
      if (next == ready.end()) break;
      const Offset first = std::max(at, *next);
      if (first >= below) break;
      const Offset range_last = ranges_.at(*next).last;
      const Offset last = std::min({range_last, first + (messages_max - taken) - 1, below - 1});
      // At the wall no range is cut in two.
      const int64_t walls = static_cast<int64_t>(ranges_.size()) / options_.ranges_max;
      if (walls >= (is_looking ? 4 : 2) && (first != *next || last != range_last)) {
        is_over = true;
        break;
      }
      if (!is_looking) {
        grant(consumer, first, last, end);
        taken += last - first + 1;
        at = last + 1;
        continue;
      }
      at = first;
      if (scan_left_-- <= 0) {
        outputs_.has_more = is_over = true;
        break;
      }
      const Look look = reader_->look(consumer.facts.filter, first);
      if (look.verdict == Look::Verdict::unread) {
        outputs_.unread = first;
        is_over = true;
        break;
      }
      if (look.verdict == Look::Verdict::take) {
        if (taken > 0 && look.bytes > bytes_max - bytes) {
          is_over = true;
          break;
        }
        bytes += look.bytes;
        grant(consumer, first, first, end);
        ++taken;
      } else if (look.verdict == Look::Verdict::gone) {
        change(first, first, [&](Offset from, Range& range) { finish(from, range); });
      }
      at = first + 1;
    }
    if (has_filter) filter.cursor[static_cast<size_t>(lane)] = at;
  }
  metrics_.messages_leased_total += static_cast<uint64_t>(taken);
  batch_ = 0;
  for (Group* group : batch_groups_) refresh(*group);
  batch_groups_.clear();
  return taken;
}

}  // namespace robustmq::queue
