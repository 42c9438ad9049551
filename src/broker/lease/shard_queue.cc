#include "broker/lease/shard_queue.h"

#include <algorithm>

#include "base/wire.h"
#include "storage/row_key.h"

namespace robustmq::broker {
namespace {

constexpr size_t kQueueRowsAPage = 1000;
constexpr int64_t kLeaseMsMax = 43'200'000;

}  // namespace

ShardQueue::ShardQueue(const Setup& setup, QueueKey key, std::shared_ptr<const meta::Topic> topic)
    : core_(setup.core),
      rows_(setup.rows),
      locator_(setup.locator),
      queue_metrics_(setup.queue_metrics),
      metrics_(setup.metrics),
      events_(setup.events),
      key_(std::move(key)),
      topic_(std::move(topic)),
      used_at_(core_.now()),
      timer_([](void* self) { static_cast<ShardQueue*>(self)->on_timer(); }, this) {
  ++metrics_.queues_open;
}

ShardQueue::~ShardQueue() {
  anchor_.cut();
  if (is_over_) return;
  metrics_.dead_letters_waiting -= letters_owed_;
  --metrics_.queues_open;  // a closed one may outlive what it counts in
}

// ---- Opening ----

void ShardQueue::when_open(Making making, Callback<void(Code)> use) {
  if (is_over_) return use(Code::shutting_down);
  if (making.is_allowed) used_at_ = core_.now();  // else what it is opened for says so
  if (is_open_) return use(Code::ok);
  opening_.push_back({making, std::move(use)});
  if (opening_.size() == 1) open();
}

void ShardQueue::open() {
  events_.ask_settings(key_, [self = self()](Result<QueueSettings> settings) {
    ShardQueue* queue = self.get();
    if (!queue) return;
    if (!settings.ok()) return queue->finish_opening(settings.code());
    queue->configure(*settings);
    queue->read_rows(queue_rows_of(queue->key_));
  });
}

void ShardQueue::read_rows(std::string from) {
  const std::string prefix = queue_rows_of(key_);
  rows_.scan(std::move(from), storage::end_of(prefix), kQueueRowsAPage, [self = self(), prefix](Result<storage::KvRows> rows) {
    ShardQueue* queue = self.get();
    if (!queue) return;
    if (!rows.ok()) return queue->finish_opening(rows.code());
    for (auto& [key, value] : *rows) {
      if (const auto number = change_number(std::string_view(key).substr(prefix.size()))) {
        queue->changes_.emplace_back(*number, std::move(value));
      } else {
        Result<SnapshotRow> snapshot = decode_described<SnapshotRow>(as_bytes(value));
        if (!snapshot.ok()) return queue->finish_opening(Code::corrupt_storage);
        queue->snapshot_ = snapshot.take();
      }
    }
    if (rows->size() == kQueueRowsAPage) return queue->read_rows(rows->back().first + '\0');
    queue->restore();
  });
}

void ShardQueue::restore() {
  if (!snapshot_) {
    const bool may_make =
        std::any_of(opening_.begin(), opening_.end(), [](const Opening& each) { return each.making.is_allowed; });
    return may_make ? make() : finish_opening(Code::not_found);
  }
  Result<std::unique_ptr<queue::Queue>> restored =
      queue::Queue::restore(options_, queue_metrics_, nullptr, snapshot_->image.span(), now());
  if (!restored.ok()) return finish_opening(Code::corrupt_storage);
  queue_ = restored.take();
  next_change_ = snapshot_->next_change;
  snapshot_bytes_ = snapshot_->image.size();
  first_change_ = changes_.empty() ? next_change_ : std::min(next_change_, changes_.front().first);
  for (const auto& [number, value] : changes_) {
    if (number < snapshot_->next_change) continue;
    const Result<ChangeRow> change = decode_described<ChangeRow>(as_bytes(value));
    if (!change.ok() || number != next_change_) return finish_opening(Code::corrupt_storage);
    for (const queue::Delta& delta : change->deltas) {
      if (!queue_->replay(delta, now()).ok()) return finish_opening(Code::corrupt_storage);
    }
    ++next_change_;
    changed_bytes_ += value.size();
  }
  finish_opening(Code::ok);
}

// The place where a new queue begins is durable before anything of it is leased: else a crash could move it.
void ShardQueue::make() {
  with_shard([self = self()](Result<shard::Shard*> shard) {
    ShardQueue* queue = self.get();
    if (!queue) return;
    if (!shard) return queue->finish_opening(shard.code());
    const shard::ShardBounds bounds = (*shard)->bounds();
    const auto from_start = [](const Opening& each) { return each.making.from_start; };
    if (std::any_of(queue->opening_.begin(), queue->opening_.end(), from_start)) return queue->begin_at(bounds.log_start);
    switch (queue->settings_.start_at) {
      case QueueSettings::StartAt::earliest:
        return queue->begin_at(bounds.log_start);
      case QueueSettings::StartAt::latest:
        return queue->begin_at(bounds.high_watermark);
      case QueueSettings::StartAt::before_now:
        break;
    }
    const int64_t time_ms = queue->core_.wall_now().ms - queue->settings_.before_ms;
    (*shard)->find_by_time(time_ms, [self, latest = bounds.high_watermark](Result<shard::TimedOffset> found) {
      ShardQueue* again = self.get();
      if (!again) return;
      if (!found.ok()) return again->finish_opening(found.code());
      again->begin_at(found->offset < 0 ? latest : found->offset);
    });
  });
}

void ShardQueue::begin_at(Offset start) {
  queue_ = std::make_unique<queue::Queue>(options_, queue_metrics_, nullptr, start);
  ++metrics_.queues_made_total;
  SnapshotRow row{0, queue_->snapshot()};
  snapshot_bytes_ = row.image.size();
  rows_.put(snapshot_key(key_), encode_described(row), [self = self()](const Status& status) {
    if (ShardQueue* queue = self.get()) queue->finish_opening(status.code());
  });
}

void ShardQueue::finish_opening(Code code) {
  snapshot_.reset();
  changes_.clear();
  if (code != Code::ok) {
    if (code != Code::not_found && code != Code::group_not_found) ++metrics_.queues_failed_total;
    return close(code);
  }
  is_open_ = true;
  arm();
  for (Opening& each : std::exchange(opening_, {})) each.use(Code::ok);
}

void ShardQueue::close(Code code) {
  if (std::exchange(is_over_, true)) return;
  --metrics_.queues_open;
  anchor_.cut();
  timer_.cancel();
  unlink();
  metrics_.dead_letters_waiting -= letters_owed_;
  events_.on_closed(key_, letters_owed_ > 0);
  std::vector<Callback<void(Code)>> told = std::move(writing_);
  for (Callback<void(Code)>& each : behind_) told.push_back(std::move(each));
  for (Opening& each : opening_) told.push_back(std::move(each.use));
  behind_.clear();
  opening_.clear();
  std::deque<Serving> line = std::exchange(line_, {});
  for (const Waiting& each : waiters_) events_.wake(each.who);
  waiters_.clear();
  for (Callback<void(Code)>& each : told) each(code);
  for (Serving& each : line) each.done({.code = code});
}

void ShardQueue::with_shard(Callback<void(Result<shard::Shard*>)> use) {
  locator_.with_shard({topic_, {}}, key_.shard.partition, std::move(use));
}

// ---- Rows ----

void ShardQueue::take_outputs() {
  queue::Outputs& outputs = queue_->outputs();
  for (queue::Delta& delta : outputs.deltas) pending_.push_back(std::move(delta));
  outputs.deltas.clear();
  if (!outputs.deaths.empty()) owe(std::exchange(outputs.deaths, {}));
  if (!pending_.empty() && !is_writing_) write();
  arm();
}

// `done` when everything that changed is durable.
void ShardQueue::flush(Callback<void(Code)> done) {
  if (!is_writing_) return done(Code::ok);  // take_outputs() begins a write for everything
  (pending_.empty() ? writing_ : behind_).push_back(std::move(done));
}

void ShardQueue::write() {
  storage::KvBatch batch;
  ChangeRow row{std::exchange(pending_, {})};
  std::string value = encode_described(row);
  changed_bytes_ += value.size();
  if (changed_bytes_ < std::max(kSnapshotEveryBytes, 2 * snapshot_bytes_)) {
    batch.put(change_key(key_, next_change_++), std::move(value));
  } else {
    const SnapshotRow snapshot{next_change_, queue_->snapshot()};
    snapshot_bytes_ = snapshot.image.size();
    changed_bytes_ = 0;
    batch.put(snapshot_key(key_), encode_described(snapshot));
    if (first_change_ < next_change_) batch.remove_range(change_key(key_, first_change_), change_key(key_, next_change_));
    first_change_ = next_change_;
  }
  is_writing_ = true;
  writing_ = std::exchange(behind_, {});
  rows_.write(std::move(batch), [self = self()](const Status& status) {
    if (ShardQueue* queue = self.get()) queue->on_written(status);
  });
}

void ShardQueue::on_written(const Status& status) {
  if (!status.ok()) {
    ++metrics_.queues_failed_total;
    return close(status.code());
  }
  is_writing_ = false;
  std::vector<Callback<void(Code)>> told = std::exchange(writing_, {});
  if (!pending_.empty()) write();
  for (Callback<void(Code)>& each : told) each(Code::ok);
}

// ---- Who waits ----

void ShardQueue::park(const QueueWaiter& waiter, const std::string& consumer) {
  waiters_.push_back({waiter, consumer, false});
  watch();
}

void ShardQueue::unpark(const QueueWaiter& waiter) {
  bool was_woken = false;
  waiters_.remove_if([&](const Waiting& each) {
    const bool is_it = each.who == waiter;
    was_woken |= is_it && each.is_woken;
    return is_it;
  });
  // It took nothing of what it was woken for.
  if (was_woken) wake_next();
}

void ShardQueue::wake_next() {
  if (!next_offset()) return;
  std::vector<Waiting*> asleep;
  std::vector<const std::string*> consumers;
  for (Waiting& each : waiters_) {
    if (each.is_woken) continue;
    asleep.push_back(&each);
    consumers.push_back(&each.consumer);
    if (settings_.dispatch == QueueSettings::Dispatch::round_robin) break;
  }
  if (asleep.empty()) return;
  Waiting& next = *asleep[choose(consumers)];
  next.is_woken = true;
  events_.wake(next.who);
}

void ShardQueue::look_at(const shard::Shard& shard) {
  const shard::ShardBounds bounds = shard.bounds();
  end_ = settings_.read_committed ? bounds.last_stable : bounds.high_watermark;
  log_start_ = bounds.log_start;
  if (bounds.log_start <= queue_->start()) return;
  queue_->trim(bounds.log_start, now());
  take_outputs();
}

// Somebody waits: wakes him if there is something, and else when the shard moves.
void ShardQueue::watch() {
  if (waiters_.empty()) return;
  with_shard([self = self()](Result<shard::Shard*> shard) {
    ShardQueue* queue = self.get();
    if (!queue) return;
    if (!shard) return queue->close(shard.code());
    queue->look_at(**shard);
    if (!queue->is_linked()) (*shard)->watch(*queue);
    queue->wake_next();
  });
}

// In the middle of a commit, or of the shard's end.
void ShardQueue::on_shard_moved() {
  core_.post([self = self()] {
    if (ShardQueue* queue = self.get()) queue->watch();
  });
}

// ---- Time ----

void ShardQueue::arm() {
  if (is_over_) return;
  Instant next = queue_->next_timer(now());
  if (window_) next = std::min(next, window_until_);
  if (letters_owed_ > 0 && !is_lettering_) next = std::min(next, letters_not_before_);
  if (next == Instant::never()) return timer_.cancel();
  core_.arm(timer_, next);
}

void ShardQueue::on_timer() {
  if (core_.now() >= window_until_) window_.reset();
  queue_->tick(now());
  take_outputs();
  settle_letters();
  wake_next();
}

bool ShardQueue::is_idle_since(Instant then) const {
  return is_open_ && used_at_ <= then && consumers_.empty() && line_.empty() && waiters_.empty() && !is_writing_ &&
         letters_owed_ == 0 && queue_->count(queue::State::leased) == 0;
}

// ---- For who looks after it ----

void ShardQueue::configure(const QueueSettings& settings) {
  if (settings.read_committed != settings_.read_committed) window_.reset();
  settings_ = settings;
  options_.lease_ms = settings.lease_ms;
  options_.lease_ms_max = std::max(kLeaseMsMax, settings.lease_ms);
  options_.delivery_limit = settings.delivery_limit;
  options_.limit_counts_releases = true;
  options_.is_death_confirmed = !settings.dead_letters.topic.empty();
  letters_not_before_ = {};  // what stood in the way may be gone
  options_.in_flight_max = settings.in_flight_max;
  options_.ranges_max = std::max(options_.ranges_max, 4 * settings.in_flight_max);
  if (is_open_) arm();
}

void ShardQueue::describe(Callback<void(QueueFacts)> done) {
  with_shard([self = self(), done = std::move(done)](Result<shard::Shard*> shard) mutable {
    ShardQueue* queue = self.get();
    if (!queue) return done({.code = Code::shutting_down});
    if (!shard) return done({.code = shard.code()});
    queue->look_at(**shard);
    const queue::Queue& state = *queue->queue_;
    const int64_t open = state.count(queue::State::available) + state.count(queue::State::waiting) +
                         state.count(queue::State::leased) + std::max<int64_t>(0, queue->end_ - state.end());
    done({Code::ok, state.start(), (*shard)->bounds().leader_epoch, open});
  });
}

void ShardQueue::seek(Offset to, Callback<void(Code)> done) {
  if (to < 0 || to == INT64_MAX) return done(Code::invalid_argument);
  queue_->seek(to, now());
  metrics_.dead_letters_waiting -= letters_owed_ - static_cast<int64_t>(letters_.size());
  letters_owed_ = static_cast<int64_t>(letters_.size());
  owed_.clear();  // of those that are being written, none is dead any more
  take_outputs();
  flush(std::move(done));
  wake_next();
}

}  // namespace robustmq::broker
