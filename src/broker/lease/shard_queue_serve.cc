// ShardQueue: leasing and settling. A request goes along the log: read a window, take in what is new of it, lease what suits;
// then the next window, until its limits are reached or nothing is there.
#include <algorithm>

#include "broker/gather.h"
#include "broker/lease/shard_queue.h"

namespace robustmq::broker {
namespace {

queue::Outcome outcome_of(SettleRange::What what) {
  switch (what) {
    case SettleRange::What::release:
      return queue::Outcome::release;
    case SettleRange::What::reject:
      return queue::Outcome::reject;
    case SettleRange::What::accept:
    case SettleRange::What::renew:
      break;
  }
  return queue::Outcome::accept;
}

}  // namespace

// ---- Leasing ----

void ShardQueue::lease(LeaseAsk ask, Callback<void(LeaseGot)> done) {
  used_at_ = core_.now();
  waiters_.remove_if([&](const Waiting& each) { return each.who == ask.waiter; });
  const auto [at, is_new] = consumers_.try_emplace(ask.consumer);
  Consumer& consumer = at->second;
  if (is_new) {
    consumer.id = ++last_consumer_;
    if (const Code code = queue_->add_consumer({.id = consumer.id}, now()); code != Code::ok) {
      consumers_.erase(at);
      return done({.code = code});
    }
  }
  consumer.origin = ask.origin;
  Serving& one = line_.emplace_back();
  one.consumer = consumer.id;
  one.got.lease_ms = settings_.lease_ms;
  one.until = ask.behind;
  one.ask = std::move(ask);
  one.done = std::move(done);
  take_outputs();  // of what was due
  serve();
}

void ShardQueue::serve() {
  if (std::exchange(is_serving_, true)) return;
  while (!line_.empty() && !is_reading_ && !is_over_) step();
  is_serving_ = false;
}

bool ShardQueue::is_known(const Serving& one) const {
  const auto found = consumers_.find(one.ask.consumer);
  return found != consumers_.end() && found->second.id == one.consumer;
}

void ShardQueue::step() {
  if (!is_known(line_.front())) return answer();
  is_reading_ = true;
  with_shard([self = self()](Result<shard::Shard*> shard) {
    if (ShardQueue* queue = self.get()) queue->on_shard(std::move(shard));
  });
}

// The first offset that there may be something to lease at; nullopt: none.
std::optional<Offset> ShardQueue::next_offset() const {
  const Offset arrived = queue_->next_arrival();
  const std::optional<Offset> fresh = arrived < end_ ? std::optional(arrived) : std::nullopt;
  if (arrived < queue_->end()) return fresh;  // after a start: what the log has up to there comes first
  if (queue_->count(queue::State::leased) >= options_.in_flight_max) return std::nullopt;
  const std::optional<Offset> ready = queue_->first_ready();
  return ready ? ready : fresh;
}

void ShardQueue::on_shard(Result<shard::Shard*> shard) {
  is_reading_ = false;
  if (!shard) {
    answer_with(shard.code());
    return serve();
  }
  look_at(**shard);
  const std::optional<Offset> at = next_offset();
  // What lies before the batches that it has would be out of their order.
  if (!at || *at < line_.front().until) {
    line_.front().got.leaves_some = at.has_value();
    answer();
    return serve();
  }
  if (look_ahead(**shard, *at)) return;
  if (window_ && window_->holds(*at)) {
    use_window(*at);
    return serve();
  }
  is_reading_ = true;
  (*shard)->fetch(*at, kWindowBytes, true, settings_.read_committed, [self = self(), at = *at](Result<shard::Fetched> fetched) {
    if (ShardQueue* queue = self.get()) queue->on_fetched(at, std::move(fetched));
  });
}

void ShardQueue::on_fetched(Offset at, Result<shard::Fetched> fetched) {
  if (!fetched.ok()) {
    is_reading_ = false;
    // Dropped since it was looked at: there is nothing of it now.
    answer_with(fetched.code() == Code::offset_out_of_range ? Code::ok : fetched.code());
    return serve();
  }
  auto taken = [self = self(), at, next = fetched->next, aborted = std::move(fetched->aborted)](Result<Bytes> bytes) {
    ShardQueue* queue = self.get();
    if (!queue) return;
    queue->is_reading_ = false;
    Result<Window> window = bytes.ok() ? Window::of(at, next, bytes.take(), aborted) : Result<Window>(bytes.error());
    if (window.ok()) {
      queue->window_ = window.take();
      queue->window_until_ = queue->core_.now() + kWindowKept;
      queue->use_window(at);
    } else {
      queue->answer_with(window.code());
    }
    queue->serve();
  };
  gather(core_, std::move(fetched->pieces), std::move(taken));
}

// What the window has behind what is known already.
void ShardQueue::take_in() {
  const std::vector<Window::Batch>& batches = window_->batches();
  if (!window_->holds(queue_->next_arrival())) return;
  for (size_t i = window_->find(queue_->next_arrival()); i < batches.size(); ++i) {
    const Window::Batch& batch = batches[i];
    if (batch.next <= queue_->next_arrival()) continue;  // done, so it moved over it
    if (batch.is_void) {
      queue_->skip(batch.next, now());
      continue;
    }
    const Offset first = std::max(batch.base, queue_->next_arrival());
    if (queue_->arrive({.first = first, .last = batch.next - 1}, now()) != Code::ok) return;
  }
  queue_->skip(window_->next(), now());
}

int64_t ShardQueue::grant(Serving& to, int64_t messages, Offset below, std::vector<LeasedRange>& ranges) {
  const Result<int64_t> granted = queue_->lease({.consumer = to.consumer, .messages_max = messages, .below = below}, now());
  std::vector<queue::Outputs::Grant>& grants = queue_->outputs().grants;
  for (const queue::Outputs::Grant& each : grants) ranges.push_back({each.first, each.last, each.acquired});
  grants.clear();
  return granted.ok() ? *granted : 0;
}

void ShardQueue::use_window(Offset at) {
  Serving& one = line_.front();
  if (!is_known(one)) return answer();
  take_in();
  LeaseGot& got = one.got;
  const std::vector<Window::Batch>& batches = window_->batches();
  const size_t first = window_->find(at);
  const uint64_t bytes_left = one.ask.bytes_max - std::min(one.ask.bytes_max, got.bytes);
  const bool has_bytes = one.ask.has_bytes || got.bytes > 0;
  if (has_bytes && first < batches.size() && batches[first].size > bytes_left) {
    got.leaves_some = true;
    return answer();
  }

  std::vector<LeasedRange> ranges;
  const int64_t wanted = one.ask.messages_max - got.messages;
  int64_t granted = grant(one, wanted, window_->end_within(at, bytes_left), ranges);
  if (one.ask.whole_batches && granted == wanted && !ranges.empty()) {
    const size_t last = window_->find(ranges.back().last);
    if (last < batches.size() && batches[last].next > ranges.back().last + 1)
      granted += grant(one, INT64_MAX, batches[last].next, ranges);
  }
  take_outputs();
  granted -= pass_over_replaced(one, ranges);
  if (is_over_) return;  // that could not be written, and who asked has heard so
  const size_t pieces = got.batches.size();
  window_->add_batches(ranges, got.batches);
  for (size_t i = pieces; i < got.batches.size(); ++i) got.bytes += got.batches[i].size;
  got.messages += granted;
  if (!ranges.empty()) {
    const size_t last = window_->find(ranges.back().last);
    one.until = last < batches.size() ? batches[last].next : ranges.back().last + 1;
    got.ranges.insert(got.ranges.end(), ranges.begin(), ranges.end());
  }
  const std::optional<Offset> next = next_offset();
  const bool is_over = got.messages >= one.ask.messages_max || got.bytes >= one.ask.bytes_max;
  if (is_over || (next && *next <= at)) answer();
}

void ShardQueue::answer() {
  Serving one = std::move(line_.front());
  line_.pop_front();
  put_next_first();
  one.got.until = one.until;
  one.done(std::move(one.got));
  if (!is_over_) wake_next();
}

void ShardQueue::put_next_first() {
  if (line_.size() < 2 || settings_.dispatch == QueueSettings::Dispatch::round_robin) return;
  std::vector<const std::string*> consumers;
  for (const Serving& each : line_) consumers.push_back(&each.ask.consumer);
  const auto next = line_.begin() + static_cast<std::ptrdiff_t>(choose(consumers));
  std::rotate(line_.begin(), next, next + 1);
}

void ShardQueue::answer_with(Code code) {
  line_.front().got.code = code;
  answer();
}

// ---- Settling ----

void ShardQueue::settle(const std::string& consumer, const std::vector<SettleRange>& ranges, Callback<void(Code)> done) {
  used_at_ = core_.now();
  queue_->tick(now());
  const auto found = consumers_.find(consumer);
  const queue::ConsumerId id = found == consumers_.end() ? 0 : found->second.id;
  std::vector<queue::Settlement> settlements;
  std::vector<SettleRange> renewals;
  Code code = Code::ok;
  for (SettleRange range : ranges) {
    if (range.first > range.last) {
      code = Code::invalid_argument;
      break;
    }
    // What lies before the first record that is not done is done, or gone from the log.
    const Offset open_from = std::max(queue_->start(), log_start_);
    if (range.last < open_from) continue;
    range.first = std::max(range.first, open_from);
    if (range.what == SettleRange::What::renew && !settings_.may_renew) code = Code::invalid_argument;
    if (!queue_->holds(id, range.first, range.last)) code = Code::not_found;
    if (code != Code::ok) break;
    if (range.what == SettleRange::What::renew)
      renewals.push_back(range);
    else
      settlements.push_back({.consumer = id, .first = range.first, .last = range.last, .outcome = outcome_of(range.what)});
  }
  if (code == Code::ok) {
    for (const SettleRange& each : renewals) queue_->renew(id, each.first, each.last, 0, 0, now());
    for (const Code each : queue_->settle(settlements, now())) {
      if (each != Code::ok) code = each;
    }
  }
  take_outputs();
  if (code != Code::ok) {
    done(code);
  } else {
    flush(std::move(done));
  }
  if (!is_over_) wake_next();
}

void ShardQueue::leave(const std::string& consumer, uint64_t origin, queue::Outcome outcome) {
  const auto found = consumers_.find(consumer);
  if (found == consumers_.end() || found->second.origin != origin) return;
  queue_->remove_consumer(found->second.id, outcome, now());
  consumers_.erase(found);
  used_at_ = core_.now();
  take_outputs();
  wake_next();
}

}  // namespace robustmq::broker
