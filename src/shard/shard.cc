#include "shard/shard.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "shard/passing.h"
#include "shard/record_reader.h"
#include "storage/replay.h"

namespace robustmq::shard {
namespace {

constexpr uint16_t kLogAppendTimeBit = 8;

// Stamps all records with one time: the header's max timestamp and bit 3 of its attributes (base/batch.h), and the CRC anew.
void stamp(Bytes& batch, int64_t now_ms) {
  uint8_t* at = batch.patchable();
  at[kBatchAttributesAt] |= kLogAppendTimeBit;
  for (size_t i = 0; i < 8; ++i)
    at[kBatchMaxTimestampAt + i] = static_cast<uint8_t>(static_cast<uint64_t>(now_ms) >> (56 - 8 * i));
  renew_batch_crc(at, batch.size());
}

Result<TimedOffset> look_inside(const Bytes& batch, const storage::FindWhat& what) {
  if (BatchView(batch).record_count() == 0) return TimedOffset{};
  Result<OpenedRecords> opened = open_records(batch, kOpenedBytesMax);
  if (!opened.ok()) return Error{Code::corrupt_storage, opened.error().detail};
  const int64_t wanted = std::holds_alternative<storage::FindByTime>(what) ? std::get<storage::FindByTime>(what).timestamp_ms
                                                                           : opened->header.max_timestamp();
  RecordView record;
  while (opened->records.next(record)) {
    if (record.timestamp_ms >= wanted) return TimedOffset{record.offset, record.timestamp_ms, opened->header.leader_epoch()};
  }
  // A producer's header may claim more than its records hold: the batch then answers with its end.
  return TimedOffset{opened->header.last_offset(), opened->header.max_timestamp(), opened->header.leader_epoch()};
}

}  // namespace

Shard::Shard(runtime::Core& core, ShardId id, storage::OpenedLog opened, LeaderEpoch epoch, const ShardSettings& settings)
    : core_(core),
      id_(id),
      log_append_time_(settings.log_append_time),
      is_volatile_(opened.is_volatile),
      batch_bytes_max_(settings.batch_bytes_max),
      log_(std::move(opened.log)),
      replica_(log_->bounds().end, epoch) {
  replica_.set_lost_until(opened.lost_until);
  if (opened.replica_state.empty() && opened.state_as_of >= log_->bounds().end) return;  // nothing to recover
  kept_ = std::make_unique<Kept>(Kept{std::move(opened.replica_state), opened.state_as_of});
}

Shard::~Shard() { end(); }

void Shard::end() {
  anchor_.cut();
  if (const std::unique_ptr<CompactionState> state = std::move(compaction_); state && state->running) state->running->cancel();
  log_.reset();
  while (std::unique_ptr<Waiting> waiting = dequeue()) waiting->done(Code::shutting_down);
  if (inline_) inline_->done(Code::shutting_down);
  if (waiting_starts_) {
    for (WaitingStart& one : *waiting_starts_) one.done(Code::shutting_down);
  }
  if (const std::unique_ptr<Asked> asked = std::move(asked_)) {
    for (auto& [number, done] : asked->readings) done(Code::shutting_down);
    if (asked->change) {
      for (auto& done : asked->change->done) done(Code::shutting_down);
    }
  }
  wake();
}

void Shard::recover(Callback<void(Status)> done) {
  const std::unique_ptr<Kept> kept = std::move(kept_);
  if (!kept) return done(Status());
  const Status restored = replica_.restore(kept->state, kept->as_of);
  if (!restored.ok()) return done(restored);
  if (replica_.clean_until() > 0)
    compaction_ = std::make_unique<CompactionState>(CompactionState{nullptr, replica_.clean_until()});
  const storage::Bounds bounds = log_->bounds();
  const Offset from = std::max(kept->as_of, bounds.start);
  if (from >= bounds.end) {
    abort_open_transactions();
    return done(Status());
  }
  const WallTime now = core_.wall_now();
  storage::replay_batches(
      core_, *log_, from, [self = anchor_.anchor(this)] { return self.get() != nullptr; },
      [this, now](ByteSpan batch) {
        replica_.replay(BatchView(batch), now);
        return Status();
      },
      [self = anchor_.anchor(this), done = std::move(done)](Status status) mutable {
        if (Shard* shard = self.get(); shard && status.ok()) shard->abort_open_transactions();
        done(std::move(status));
      });
}

// What was in memory is gone, and with it the markers of transactions that had begun below: nobody would end them.
void Shard::abort_open_transactions() {
  if (!is_volatile_) return;
  for (const Marker& marker : replica_.markers_to_abort()) end_transaction(marker, [](const Status&) {});
}

void Shard::change(storage::Durability to, Callback<void(Status)> done) {
  Change* present = changing();
  if (present && present->to == to) {
    present->done.push_back(std::move(done));
    return begin_change();
  }
  if (present && present->has_begun) {
    // Behind the one under way.
    present->done.push_back([self = anchor_.anchor(this), to, done = std::move(done)](const Status& status) mutable {
      Shard* shard = self.get();
      if (!shard || status.code() == Code::shutting_down) return done(Code::shutting_down);
      shard->change(to, std::move(done));
    });
    return;
  }
  asked().change = std::make_unique<Change>(Change{to, false, {}});
  asked_->change->done.push_back(std::move(done));
  begin_change();
}

void Shard::begin_change() {
  Change* change = changing();
  if (!change || change->has_begun) return;
  if (change->to == storage::Durability::memory && !replica_.markers_to_abort().empty()) {
    for (auto& done : std::exchange(change->done, {})) done({});  // may end it
    return;
  }
  change->has_begun = true;
  log_->change(change->to, [self = anchor_.anchor(this)](const Status& status) {
    if (Shard* shard = self.get()) shard->on_changed(status);
  });
}

void Shard::on_changed(const Status& status) {
  const std::unique_ptr<Change> change = std::move(asked_->change);
  forget_asked();
  // What limits dropped from memory, those behind it drop too, for good.
  if (const Offset whole_from = log_->bounds().whole_from; status.ok() && whole_from > replica_.start()) {
    replica_.trim(whole_from);
    ++unsealed_bytes_;
    seal([](const Status&) {});
  }
  for (auto& done : change->done) done(status);
}

void Shard::append(Bytes batch, uint64_t origin, Callback<void(Result<Appended>)> done) {
  if (batch.size() > static_cast<size_t>(batch_bytes_max_))
    return done(
        Error{Code::too_large, std::to_string(batch.size()) + " bytes, the limit is " + std::to_string(batch_bytes_max_)});
  if (has_failed()) return done(Code::storage_failed);
  if (failure_ != Code::ok) return done(failure_);

  const WallTime now = core_.wall_now();
  const Result<Replica::Assigned> assigned = replica_.assign(batch, now);
  if (!assigned.ok()) return done(assigned.error());
  append_assigned(std::move(batch), origin, *assigned, now, std::move(done));
}

void Shard::end_transaction(const Marker& marker, Callback<void(Status)> done) {
  if (has_failed()) return done(Code::storage_failed);
  if (failure_ != Code::ok) return done(failure_);
  const WallTime now = core_.wall_now();
  Bytes batch = marker_batch(marker, now);
  const Result<Replica::Assigned> assigned = replica_.assign_marker(batch, marker, now);
  if (!assigned.ok()) return done(assigned.error());
  // Known to have ended: stored for good, or on its way behind what is not.
  if (assigned->is_repeat && in_log_ == 0) return done({});
  Replica::Assigned at = *assigned;
  if (at.is_repeat) at.base_offset = replica_.end() - 1;
  append_assigned(std::move(batch), 0, at, now,
                  [done = std::move(done)](Result<Appended> appended) mutable { done(appended ? Status() : appended.error()); });
}

void Shard::append_assigned(Bytes batch, uint64_t origin, const Replica::Assigned& assigned, WallTime now,
                            Callback<void(Result<Appended>)> done) {
  const int64_t append_time_ms = log_append_time_ ? now.ms : -1;
  Waiting waiting{{}, origin, std::move(done), assigned.base_offset, replica_.end(), append_time_ms, assigned.is_repeat, nullptr};
  if (assigned.is_repeat) {
    waiting.next_offset = assigned.base_offset + BatchView(batch).last_offset_delta() + 1;
    if (waiting.next_offset <= replica_.high_watermark()) return settle(waiting, Status());
    // Its first time is on its way to the disk: in the list or, being a nested call, just in front of it.
    if (inline_) enqueue(std::move(*std::exchange(inline_, nullptr)));
    return enqueue(std::move(waiting));
  }
  if (log_append_time_) stamp(batch, now.ms);
  if (listener_) waiting.batch = batch;
  unsealed_bytes_ += batch.size();

  if (in_log_ == 0 && log_->append_now(batch)) return settle(waiting, Status());

  if (inline_) enqueue(std::move(*std::exchange(inline_, nullptr)));
  const bool is_behind = listener_ && listener_->on_appending(id_, batch, origin);
  inline_ = &waiting;
  const Anchor<Shard> self = anchor_.anchor(this);
  std::vector<Bytes> batches;
  batches.push_back(std::move(batch));
  ++in_log_;
  auto stored = [self](Status status) {
    if (Shard* shard = self.get()) shard->on_log_done(std::move(status));
  };
  if (is_behind)
    log_->append_behind(std::move(batches), std::move(stored));
  else
    log_->append(std::move(batches), std::move(stored));
  if (self.get() && inline_ == &waiting) {
    inline_ = nullptr;
    enqueue(std::move(waiting));
  }
}

void Shard::enqueue(Waiting&& waiting) {
  auto node = std::make_unique<Waiting>(std::move(waiting));
  Waiting* last = node.get();
  (last_waiting_ ? last_waiting_->behind : first_waiting_) = std::move(node);
  last_waiting_ = last;
}

std::unique_ptr<Shard::Waiting> Shard::dequeue() {
  std::unique_ptr<Waiting> first = std::move(first_waiting_);
  if (!first) return first;
  first_waiting_ = std::move(first->behind);
  if (!first_waiting_) last_waiting_ = nullptr;
  return first;
}

// The log completes in append order, so what is done is the first that waits, or the one inside Log::append.
void Shard::on_log_done(Status status) {
  --in_log_;
  if (!first_waiting_) {
    ROBUSTMQ_CHECK(inline_, "the log completed an append twice");
    return settle(*std::exchange(inline_, nullptr), status);
  }
  const Anchor<Shard> self = anchor_.anchor(this);
  std::unique_ptr<Waiting> waiting = dequeue();
  settle(*waiting, status);
  while (self.get() && first_waiting_ && first_waiting_->is_repeat) {
    waiting = dequeue();
    const bool is_stored = waiting->next_offset <= replica_.high_watermark();
    settle(*waiting, is_stored ? Status() : Status(Code::storage_full));
  }
}

void Shard::settle(Waiting& waiting, const Status& status) {
  if (waiting.is_repeat) {
    if (!status.ok()) return waiting.done(status.error());
    return waiting.done(Appended{waiting.base_offset, waiting.append_time_ms, start(), true});
  }
  if (!status.ok() || failure_ != Code::ok) {
    if (failure_ == Code::ok) failure_ = status.code();
    const Code failure = failure_;
    if (listener_) listener_->on_failed(id_, waiting.base_offset);
    if (!watchers_.empty()) core_.defer(*this);
    if (in_log_ == 0) {
      replica_.roll_back();
      // A log whose end is not where the committed records end cannot be continued.
      if (log_->bounds().end != replica_.end()) has_failed_ = true;
      failure_ = Code::ok;
    }
    return waiting.done(Error{failure, status.error().detail});
  }
  replica_.commit(waiting.next_offset);
  if (!watchers_.empty()) core_.defer(*this);
  if (asked_) begin_change();
  if (unsealed_bytes_ >= kSealEveryBytes) seal([](Status) {});
  const Offset log_start = start();
  if (listener_ && !waiting.batch.empty()) {
    const Anchor<Shard> self = anchor_.anchor(this);
    listener_->on_committed(id_, waiting.batch, waiting.origin);
    if (!self.get()) return waiting.done(Appended{waiting.base_offset, waiting.append_time_ms, log_start, false});
  }
  waiting.done(Appended{waiting.base_offset, waiting.append_time_ms, log_start, false});
}

void Shard::fetch(Offset from, uint64_t bytes_max, bool first_batch_over_limit, bool until_stable,
                  Callback<void(Result<Fetched>)> done) {
  read(from, start(), bytes_max, first_batch_over_limit, until_stable, std::move(done));
}

void Shard::fetch_kept(Offset from, uint64_t bytes_max, bool first_batch_over_limit, Callback<void(Result<Fetched>)> done) {
  read(from, log_->bounds().start, bytes_max, first_batch_over_limit, false, std::move(done));
}

void Shard::read(Offset from, Offset start, uint64_t bytes_max, bool first_batch_over_limit, bool until_stable,
                 Callback<void(Result<Fetched>)> done) {
  if (from < start || from > log_->bounds().end) return done(Code::offset_out_of_range);
  Fetched fetched{{}, from, replica_.high_watermark(), start, std::max(replica_.last_stable(), start), {}};
  const Offset end = until_stable ? replica_.last_stable() : fetched.high_watermark;
  if (from >= end) return done(std::move(fetched));
  // What is below the last stable offset now stays as it is.
  if (until_stable) fetched.aborted = replica_.aborted_in(from, end);
  const storage::ReadLimits limits{.bytes_max = bytes_max, .first_batch_over_limit = first_batch_over_limit, .end = end};
  log_->read(from, limits,
             [self = anchor_.anchor(this), limits, fetched = std::move(fetched),
              done = std::move(done)](Result<storage::ReadResult> read) mutable {
               if (!read.ok()) return done(read.error());
               if (read->is_rewritten) {
                 Shard* shard = self.get();
                 if (!shard) return;
                 auto passing = std::make_shared<Compacting::Passing>(*shard, limits, std::move(fetched), std::move(done));
                 return passing->start(passing->run(read.take()));
               }
               fetched.pieces = std::move(read->pieces);
               fetched.next = read->next;
               std::erase_if(fetched.aborted, [&](const AbortedRange& each) { return each.first >= fetched.next; });
               done(std::move(fetched));
             });
}

void Shard::read_batches(Offset from, Offset until, Callback<Status(ByteSpan)> each, Callback<void(Status)> done) {
  struct Reading {
    Offset until;
    Callback<Status(ByteSpan)> each;
    bool is_over = false;
  };
  auto reading = std::make_shared<Reading>(Reading{until, std::move(each)});
  const uint64_t number = ++asked().last_reading;
  asked_->readings.emplace(number, std::move(done));
  storage::replay_batches(
      core_, *log_, std::max(from, log_->bounds().start), [self = anchor_.anchor(this)] { return self.get() != nullptr; },
      [reading](ByteSpan batch) {
        reading->is_over = BatchView(batch).base_offset() >= reading->until;
        if (reading->is_over) return Status(Code::not_found);  // only to end it
        return reading->each(batch);
      },
      [reading, number, self = anchor_.anchor(this)](Status status) {
        Shard* shard = self.get();
        if (!shard) return;  // told at its end
        const auto found = shard->asked_->readings.find(number);
        Callback<void(Status)> told = std::move(found->second);
        shard->asked_->readings.erase(found);
        shard->forget_asked();
        told(reading->is_over ? Status() : std::move(status));
      });
}

void Shard::find_by_time(int64_t timestamp_ms, Callback<void(Result<TimedOffset>)> done) {
  find(storage::FindByTime{timestamp_ms}, std::move(done));
}

void Shard::find_max_time(Callback<void(Result<TimedOffset>)> done) { find(storage::FindMaxTime{}, std::move(done)); }

void Shard::find(storage::FindWhat what, Callback<void(Result<TimedOffset>)> done) {
  log_->find(what, [what, high_watermark = replica_.high_watermark(), start = start(),
                    done = std::move(done)](Result<std::optional<storage::Found>> found) mutable {
    if (!found.ok()) return done(found.error());
    if (!found->has_value()) return done(TimedOffset{});
    const Bytes& batch = (*found)->batch;
    if (BatchView(batch).base_offset() >= high_watermark) return done(TimedOffset{});
    Result<TimedOffset> inside = look_inside(batch, what);
    if (inside.ok()) inside->offset = std::max(inside->offset, start);
    done(std::move(inside));
  });
}

void Shard::trim(Offset keep_from, Callback<void(Status)> done) {
  if (keep_from > replica_.high_watermark()) return done(Code::offset_out_of_range);
  const Offset kept = listener_ ? listener_->kept_from(id_) : INT64_MAX;
  if (keep_from <= kept) return log_->trim(keep_from, std::move(done));
  replica_.trim(keep_from);
  if (kept > log_->bounds().start) log_->trim(kept, [](Status) {});
  keep_start(std::move(done));
}

void Shard::retain(WallTime now) {
  const Offset kept = listener_ ? listener_->kept_from(id_) : INT64_MAX;
  log_->retain(now, kept);
  // What a trim could not drop.
  const Offset below = std::min(std::max(replica_.start(), log_->bounds().whole_from), kept);
  if (below > log_->bounds().start) log_->trim(below, [](Status) {});
}

void Shard::keep_start(Callback<void(Status)> done) {
  if (!waiting_starts_) waiting_starts_ = std::make_unique<std::vector<WaitingStart>>();
  waiting_starts_->push_back({replica_.start(), std::move(done)});
  if (!is_sealing_) seal([](Status) {});
}

void Shard::seal(Callback<void(Status)> done) {
  if (is_sealing_) return done(Code::overloaded);
  is_sealing_ = true;
  unsealed_bytes_ = 0;
  replica_.forget_below(log_->bounds().start);
  log_->seal(replica_.snapshot(), replica_.high_watermark(),
             [self = anchor_.anchor(this), start = replica_.start(), clean = replica_.clean_until(),
              done = std::move(done)](Status status) mutable {
               if (Shard* shard = self.get()) return shard->on_sealed(start, clean, status, done);
               done(std::move(status));
             });
}

void Shard::on_sealed(Offset start, Offset clean, const Status& status, Callback<void(Status)>& done) {
  is_sealing_ = false;
  if (status.ok() && compaction_) compaction_->durable_until = std::max(compaction_->durable_until, clean);
  if (!waiting_starts_) return done(status);
  const std::unique_ptr<std::vector<WaitingStart>> waiting = std::move(waiting_starts_);
  const auto behind =
      std::partition(waiting->begin(), waiting->end(), [start](const WaitingStart& one) { return one.start <= start; });
  if (behind != waiting->end()) {
    waiting_starts_ =
        std::make_unique<std::vector<WaitingStart>>(std::make_move_iterator(behind), std::make_move_iterator(waiting->end()));
    waiting->erase(behind, waiting->end());
    seal([](Status) {});
  }
  // Whoever is told may destroy the shard.
  for (WaitingStart& one : *waiting) one.done(status);
  done(status);
}

Offset Shard::compaction_limit(const std::vector<storage::SealedPart>& parts, int64_t min_lag_ms) const {
  const Offset kept = listener_ ? listener_->kept_from(id_) : INT64_MAX;
  Offset limit = std::min(replica_.last_stable(), kept);
  if (parts.empty()) return std::min(limit, log_->bounds().start);
  const int64_t youngest_ms = core_.wall_now().ms - min_lag_ms;
  const auto young = std::find_if(parts.begin(), parts.end(), [&](const storage::SealedPart& part) {
    return min_lag_ms > 0 && part.max_timestamp > youngest_ms;
  });
  return std::min(limit, young == parts.end() ? parts.back().end : young->begin);
}

void Shard::measure_dirt(int64_t min_lag_ms, Callback<void(CompactionDirt)> done) {
  log_->list_parts(
      [self = anchor_.anchor(this), min_lag_ms, done = std::move(done)](std::vector<storage::SealedPart> parts) mutable {
        const Shard* shard = self.get();
        if (!shard) return;
        CompactionDirt dirt;
        const Offset limit = shard->compaction_limit(parts, min_lag_ms);
        const Offset clean = std::max(shard->replica_.clean_until(), shard->log_->bounds().start);
        for (const storage::SealedPart& part : parts) {
          const Offset from = std::clamp(clean, part.begin, part.end);
          const Offset until = std::clamp(limit, part.begin, part.end);
          const double a_offset =
              static_cast<double>(part.size_bytes) / static_cast<double>(std::max<Offset>(part.end - part.begin, 1));
          dirt.clean_bytes += static_cast<uint64_t>(a_offset * static_cast<double>(from - part.begin));
          if (from >= until) continue;
          dirt.dirty_bytes += std::max<uint64_t>(static_cast<uint64_t>(a_offset * static_cast<double>(until - from)), 1);
          if (dirt.oldest_dirty_ms < 0) dirt.oldest_dirty_ms = part.max_timestamp;
        }
        done(dirt);
      });
}

void Shard::compact(const CompactionSettings& settings, Callback<void(Result<Compacted>)> done) {
  if (!compaction_) compaction_ = std::make_unique<CompactionState>();
  if (compaction_->running) return done(Code::already_exists);
  if (has_failed()) return done(Code::storage_failed);
  const auto kept = std::make_shared<Compacting>(*this, settings, std::move(done));
  compaction_->running = kept;
  kept->start(kept->run());
}

void Shard::watch(Watcher& watcher) { watchers_.push_back(watcher); }

void Shard::wake() {
  List<Watcher, WatcherTag> woken;
  woken.splice_back(watchers_);
  while (!woken.empty()) woken.pop_front().on_shard_moved();
}

void Shard::configure(const ShardSettings& settings) {
  log_append_time_ = settings.log_append_time;
  batch_bytes_max_ = settings.batch_bytes_max;
  log_->configure(settings.log);
}

ShardBounds Shard::bounds() const {
  const storage::Bounds bounds = log_->bounds();
  const Offset last_stable = std::max(replica_.last_stable(), start());
  return {start(), replica_.high_watermark(), last_stable, replica_.end(), replica_.epoch(), bounds.size_bytes};
}

}  // namespace robustmq::shard
