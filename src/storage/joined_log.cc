// JoinedLog: what its parts share: appends by class, reads, bounds, retention. The tail: joined_tail.cc; changes:
// joined_change.cc.
#include "storage/joined_log.h"

#include <algorithm>

#include "base/check.h"
#include "base/empty_batch.h"

namespace robustmq::storage {
namespace {

// Where an empty batch that fills a gap ends at the latest, so that who reads knows where there may be one.
constexpr Offset kFillAlignment = Offset{1} << 31;

bool may_hold_filling(Offset from, Offset until) { return from / kFillAlignment != until / kFillAlignment; }

}  // namespace

JoinedLog::JoinedLog(JoinedEngine& engine, ShardId id, const LogSettings& settings, std::unique_ptr<Log> durable,
                     std::unique_ptr<Log> memory, Offset floor)
    : engine_(engine),
      id_(id),
      settings_(settings),
      class_(settings.durability),
      durable_(std::move(durable)),
      memory_(std::move(memory)),
      floor_(floor),
      flush_timer_(
          [](void* owner) {
            auto* log = static_cast<JoinedLog*>(owner);
            log->is_full_ ? log->start_flush() : log->flush_if_due();
          },
          this),
      pause_timer_([](void* owner) { std::exchange(static_cast<JoinedLog*>(owner)->pause_over_, nullptr)(); }, this) {
  if (memory_) memory_begin_ = memory_->bounds().start;
  if (!durable_) return;
  flushed_ = durable_->bounds().end;
}

JoinedLog::~JoinedLog() {
  anchor_.cut();
  engine_.metrics_.unsynced_bytes -= static_cast<int64_t>(tail_bytes_);
}

// ---- Appending ----

void JoinedLog::append(std::vector<Bytes> batches, Callback<void(Status)> done) {
  submit(std::move(batches), false, std::move(done));
}

void JoinedLog::append_behind(std::vector<Bytes> batches, Callback<void(Status)> done) {
  submit(std::move(batches), true, std::move(done));
}

bool JoinedLog::append_now(const Bytes& batch) {
  if (is_gated_ || class_ == Durability::synced) return false;
  if (class_ == Durability::memory) return memory_->append_now(batch);
  const BatchView view(batch);
  if (is_full_ || waiting_in_tail_ > 0 || view.is_control() || durable_->has_failed()) return false;
  const Instant oldest = tail_.empty() ? engine_.core_.now() : tail_.front().since;
  if (!fits_window(batch.size(), static_cast<uint64_t>(view.last_offset_delta()) + 1, oldest)) return false;
  add_to_tail(batch, false, true);
  flush_if_due();
  return true;
}

void JoinedLog::submit(std::vector<Bytes> batches, bool is_behind, Callback<void(Status)> done) {
  if (is_gated_) {
    gated_end_ = BatchView(batches.back()).next_offset();
    gated_.push_back({std::move(batches), is_behind, std::move(done)});
    return;
  }
  submit_now(std::move(batches), is_behind, std::move(done));
}

void JoinedLog::submit_now(std::vector<Bytes> batches, bool is_behind, Callback<void(Status)> done) {
  switch (class_) {
    case Durability::memory:
      return memory_->append(std::move(batches), std::move(done));
    case Durability::hybrid:
      return append_hybrid(std::move(batches), is_behind, std::move(done));
    case Durability::synced:
      return append_durable(std::move(batches), is_behind, std::move(done));
  }
}

void JoinedLog::append_durable(std::vector<Bytes> batches, bool is_behind, Callback<void(Status)> done) {
  if (floor_ > 0) fill_durable(durable_->bounds().end, BatchView(batches.front()).base_offset());
  if (is_behind)
    durable_->append_behind(std::move(batches), std::move(done));
  else
    durable_->append(std::move(batches), std::move(done));
}

void JoinedLog::fill_durable(Offset from, Offset until) {
  for (Bytes& batch : filling_of(from, until)) durable_->append({std::move(batch)}, [](const Status&) {});
}

std::vector<Bytes> JoinedLog::filling_of(Offset from, Offset until) const {
  std::vector<Bytes> filling;
  const auto epoch = static_cast<LeaderEpoch>(engine_.fresh_ >> 32);
  while (from < until) {
    const Offset next = std::min(until, (from / kFillAlignment + 1) * kFillAlignment);
    filling.push_back(encode_empty_batch({.base = from, .last = next - 1, .leader_epoch = epoch}));
    from = next;
  }
  return filling;
}

// ---- Bounds ----

Offset JoinedLog::tail_begin() const { return tail_.empty() ? settled_end() : BatchView(tail_.front().batch).base_offset(); }

Offset JoinedLog::settled_end() const {
  if (class_ == Durability::memory) return memory_->bounds().end;
  if (!tail_.empty()) return BatchView(tail_.back().batch).next_offset();
  return std::max(floor_, durable_->bounds().end);
}

// Limits dropped records in memory that are behind what is left on the disk.
bool JoinedLog::has_hole() const {
  if (!memory_ || !durable_) return false;
  const Bounds durable = durable_->bounds();
  const Offset start = memory_->bounds().start;
  return durable.start < durable.end && start > std::max(memory_begin_, durable.end);
}

Bounds JoinedLog::bounds() const {
  if (gated_.empty() && !durable_) return memory_->bounds();
  if (gated_.empty() && class_ == Durability::synced && floor_ == 0) {
    Bounds bounds = durable_->bounds();
    bounds.whole_from = whole_from_;
    return bounds;
  }
  Bounds bounds;
  bounds.end = gated_.empty() ? settled_end() : gated_end_;
  const Offset begin = memory_ ? memory_->bounds().start : tail_begin();
  bounds.start = begin;
  bounds.size_bytes = tail_bytes_;
  if (memory_) bounds.size_bytes += memory_->bounds().size_bytes;
  bounds.durable = settled_end();
  if (!durable_) return bounds;
  const Bounds durable = durable_->bounds();
  bounds.size_bytes += durable.size_bytes;
  if (durable.start < durable.end) bounds.start = durable.start;
  if (class_ == Durability::synced) bounds.durable = std::max(durable.durable, durable.end == durable.durable ? floor_ : 0);
  bounds.whole_from = has_hole() ? memory_->bounds().start : whole_from_;
  return bounds;
}

// ---- Reading ----

void JoinedLog::read(Offset from, ReadLimits limits, Callback<void(Result<ReadResult>)> done) {
  const Bounds all = bounds();
  if (from < all.start || from > all.end) return done(Error{Code::offset_out_of_range, {}});
  if (durable_ && class_ == Durability::synced && from < durable_->bounds().end && !may_hold_filling(from, all.end))
    return durable_->read(from, limits, std::move(done));
  Offset stored = 0;
  if (durable_) stored = class_ == Durability::synced ? durable_->bounds().end : durable_->bounds().durable;
  if (class_ == Durability::hybrid) stored = flushed_;
  if (durable_ && from < stored) {
    limits.end = std::min(limits.end, stored);
    return durable_->read(from, limits, [from, done = std::move(done)](Result<ReadResult> read) mutable {
      if (read.ok()) read->is_rewritten = read->is_rewritten || may_hold_filling(from, read->next);
      done(std::move(read));
    });
  }
  const Offset begin = std::max(memory_ ? memory_->bounds().start : tail_begin(), stored);
  if (from < begin) return done(read_gap(from, begin, limits));
  if (memory_) return memory_->read(from, limits, std::move(done));
  if (!tail_.empty() && from < settled_end()) return done(read_tail(from, limits));
  ReadResult nothing;
  nothing.next = from;
  done(std::move(nothing));
}

ReadResult JoinedLog::read_gap(Offset from, Offset until, const ReadLimits& limits) const {
  ReadResult result;
  result.next = from;
  result.is_rewritten = true;
  if (from >= limits.end) return result;
  uint64_t bytes = 0;
  for (Bytes& batch : filling_of(from, until)) {
    const BatchView view(batch);
    const bool is_first_whole = result.pieces.empty() && limits.first_batch_over_limit;
    if (view.base_offset() >= limits.end || (bytes + batch.size() > limits.bytes_max && !is_first_whole)) break;
    bytes += batch.size();
    result.next = view.next_offset();
    result.pieces.push_back(Piece::of(std::move(batch)));
  }
  return result;
}

void JoinedLog::find(FindWhat what, Callback<void(Result<std::optional<Found>>)> done) {
  const auto* by_time = std::get_if<FindByTime>(&what);
  // In the tail or in memory: the first that is late enough, or the latest.
  std::optional<Found> later;
  if (memory_) {
    memory_->find(what, [&later](Result<std::optional<Found>> found) {
      if (found.ok()) later = found.take();
    });
  }
  for (const Unsynced& each : tail_) {
    const int64_t time = BatchView(each.batch).max_timestamp();
    if (by_time ? !later && time >= by_time->timestamp_ms : !later || time > BatchView(later->batch).max_timestamp())
      later = Found{each.batch};
  }
  if (!durable_) return done(std::move(later));
  durable_->find(what, [is_by_time = by_time != nullptr, later = std::move(later),
                        done = std::move(done)](Result<std::optional<Found>> found) mutable {
    if (!found.ok()) return done(found.error());
    const bool is_older =
        found->has_value() &&
        (is_by_time || !later || BatchView((*found)->batch).max_timestamp() >= BatchView(later->batch).max_timestamp());
    if (is_older) return done(std::move(found));
    done(std::move(later));
  });
}

// ---- Trimming, sealing, retention ----

void JoinedLog::trim(Offset keep_from, Callback<void(Status)> done) {
  if (keep_from > bounds().end) return done(Code::offset_out_of_range);
  if (memory_) {
    memory_->trim(std::min(keep_from, memory_->bounds().end), [](Status) {});
    if (!durable_) return done({});
    return durable_->trim(std::min(keep_from, durable_->bounds().end), std::move(done));
  }
  if (class_ == Durability::hybrid && keep_from > flushed_ && !tail_.empty()) {
    return await_flushed(std::min(keep_from, settled_end()),
                         [self = anchor_.anchor(this), keep_from, done = std::move(done)](Status status) mutable {
                           JoinedLog* log = self.get();
                           if (!status.ok() || !log) return done(status.ok() ? Status(Code::shutting_down) : std::move(status));
                           log->durable_->trim(std::min(keep_from, log->durable_->bounds().end), std::move(done));
                         });
  }
  durable_->trim(std::min(keep_from, durable_->bounds().end), std::move(done));
}

void JoinedLog::truncate(Offset keep_until, Callback<void(Status)> done) {
  if (class_ != Durability::synced || is_changing_) return done(Code::not_supported);
  durable_->truncate(keep_until, std::move(done));
}

void JoinedLog::seal(Bytes replica_state, Offset as_of, Callback<void(Status)> done) {
  if (!durable_) return done({});
  // What the durable log has grows, and the state would be ahead of it (shard/replica.h, restore).
  if (is_copying_) return done(Code::overloaded);
  if (class_ == Durability::hybrid && !tail_.empty() && as_of > tail_begin()) {
    return await_flushed(as_of, [self = anchor_.anchor(this), state = std::move(replica_state), as_of,
                                 done = std::move(done)](Status status) mutable {
      JoinedLog* log = self.get();
      if (!status.ok() || !log) return done(status.ok() ? Status(Code::shutting_down) : std::move(status));
      log->durable_->seal(std::move(state), std::min(as_of, log->flushed_), std::move(done));
    });
  }
  durable_->seal(std::move(replica_state), std::min(as_of, durable_->bounds().durable), std::move(done));
}

void JoinedLog::retain(WallTime now, Offset keep_from) {
  if (durable_) durable_->retain(now, keep_from);
  // What sessions are owed of a topic in memory lies in their spool.
  if (memory_) memory_->retain(now, INT64_MAX);
  if (memory_ && durable_ && !is_copying_) retain_durable(now, keep_from);
}

// A part that nothing is appended to goes as a whole, its last segment too.
void JoinedLog::retain_durable(WallTime now, Offset keep_from) {
  const Bounds durable = durable_->bounds();
  if (durable.start >= durable.end) return;
  const auto drop = [&] { durable_->trim(std::min(durable.end, keep_from), [](Status) {}); };
  if (has_hole()) return drop();
  const auto size_max = static_cast<uint64_t>(settings_.retention_bytes);
  if (settings_.retention_bytes >= 0 && memory_->bounds().size_bytes >= size_max) return drop();
  if (settings_.retention_ms < 0) return;
  if (durable_max_timestamp_ != INT64_MIN) {
    if (durable_max_timestamp_ < now.ms - settings_.retention_ms) drop();
    return;
  }
  if (std::exchange(is_asking_timestamp_, true)) return;
  durable_->find(FindMaxTime{}, [self = anchor_.anchor(this)](const Result<std::optional<Found>>& found) {
    JoinedLog* log = self.get();
    if (!log) return;
    log->is_asking_timestamp_ = false;
    if (found.ok() && found->has_value()) log->durable_max_timestamp_ = BatchView((*found)->batch).max_timestamp();
  });
}

void JoinedLog::configure(const LogSettings& settings) {
  settings_ = settings;
  if (durable_) durable_->configure(settings);
  if (memory_) memory_->configure(settings);
  if (class_ == Durability::hybrid) flush_if_due();
}

void JoinedLog::list_parts(Callback<void(std::vector<SealedPart>)> done) {
  if (class_ == Durability::memory) return done({});
  durable_->list_parts(std::move(done));
}

void JoinedLog::rewrite(Offset from, Offset until, Callback<void(Result<std::unique_ptr<Rewrite>>)> done) {
  if (class_ == Durability::memory) return done(Code::not_supported);
  durable_->rewrite(from, until, std::move(done));
}

}  // namespace robustmq::storage
