// JoinedLog: the tail of a hybrid log: what is acknowledged before it is synced, and when it is handed to the disk.
#include <algorithm>

#include "storage/joined_log.h"

namespace robustmq::storage {
namespace {

constexpr uint64_t kFlushBytesMax = 1 << 20;  // of one append to the durable log, or one batch
constexpr int64_t kFullRetryMs = 200;

uint64_t records_of(const Bytes& batch) { return static_cast<uint64_t>(BatchView(batch).last_offset_delta()) + 1; }

}  // namespace

// With so much more of it, the tail may be acknowledged and not synced.
bool JoinedLog::fits_window(uint64_t bytes, uint64_t records, Instant oldest) const {
  return tail_bytes_ + bytes <= static_cast<uint64_t>(settings_.window_bytes) &&
         tail_records_ + records < static_cast<uint64_t>(settings_.window_records) && settings_.window_ms > 0 &&
         (engine_.core_.now() - oldest).ns / 1'000'000 < settings_.window_ms;
}

void JoinedLog::add_to_tail(Bytes batch, bool is_behind, bool is_acknowledged) {
  tail_bytes_ += batch.size();
  tail_records_ += records_of(batch);
  engine_.metrics_.unsynced_bytes += static_cast<int64_t>(batch.size());
  if (!is_acknowledged) ++waiting_in_tail_;
  Bytes kept = batch.compact();
  tail_.push_back({std::move(kept), engine_.core_.now(), is_behind, is_acknowledged, nullptr});
}

void JoinedLog::append_hybrid(std::vector<Bytes> batches, bool is_behind, Callback<void(Status)> done) {
  if (durable_->has_failed()) return done(Code::storage_failed);
  if (is_full_) return done(Code::storage_full);
  uint64_t bytes = 0;
  uint64_t records = 0;
  bool has_control = false;
  for (const Bytes& batch : batches) {
    bytes += batch.size();
    records += records_of(batch);
    has_control = has_control || BatchView(batch).is_control();
  }
  const Instant oldest = tail_.empty() ? engine_.core_.now() : tail_.front().since;
  const bool is_acknowledged = waiting_in_tail_ == 0 && !has_control && fits_window(bytes, records, oldest);
  for (Bytes& batch : batches) add_to_tail(std::move(batch), is_behind, is_acknowledged);
  if (!is_acknowledged) {
    ++engine_.metrics_.waits_total;
    tail_.back().done = std::move(done);
    return flush_if_due();
  }
  flush_if_due();
  done({});
}

void JoinedLog::flush_if_due() {
  if (is_flushing_ || is_full_ || tail_.empty() || class_ != Durability::hybrid) return;
  const Instant due =
      tail_.front().since + Duration::millis(std::max<int64_t>(std::min<int64_t>(settings_.window_ms, 1 << 30) / 2, 1));
  const bool is_due = waiting_in_tail_ > 0 || !awaited_.empty() ||
                      tail_bytes_ * 2 >= static_cast<uint64_t>(settings_.window_bytes) ||
                      tail_records_ >= static_cast<uint64_t>(settings_.window_records) / 2 || engine_.core_.now() >= due;
  if (is_due) return start_flush();
  if (!flush_timer_.is_armed()) engine_.core_.arm(flush_timer_, due);
}

void JoinedLog::start_flush() {
  if (is_flushing_ || tail_.empty() || class_ != Durability::hybrid) return;
  flush_timer_.cancel();
  is_flushing_ = true;
  ++engine_.metrics_.flushes_total;
  std::vector<Bytes> batches;
  uint64_t bytes = 0;
  bool is_behind = false;
  for (const Unsynced& each : tail_) {
    if (!batches.empty() && bytes + each.batch.size() > kFlushBytesMax) break;
    bytes += each.batch.size();
    is_behind = is_behind || each.is_behind;
    batches.push_back(each.batch);
  }
  const size_t count = batches.size();
  append_durable(std::move(batches), is_behind, [self = anchor_.anchor(this), count](const Status& status) {
    if (JoinedLog* log = self.get()) log->on_flushed(count, status);
  });
}

void JoinedLog::drop_tail_end(size_t count) {
  for (; count > 0; --count) {
    const Unsynced& last = tail_.back();
    tail_bytes_ -= last.batch.size();
    tail_records_ -= records_of(last.batch);
    engine_.metrics_.unsynced_bytes -= static_cast<int64_t>(last.batch.size());
    tail_.pop_back();
  }
}

void JoinedLog::on_flushed(size_t count, const Status& status) {
  is_flushing_ = false;
  if (!status.ok()) {
    const bool is_full = status.code() == Code::storage_full;
    if (is_full) ++engine_.metrics_.retries_total;
    is_full_ = is_full && tail_.size() > waiting_in_tail_;
    if (is_full_) {
      engine_.core_.arm(flush_timer_, engine_.core_.now() + Duration::millis(kFullRetryMs));
    }
    return fail_waiting(is_full ? Code::storage_full : Code::storage_failed);
  }
  is_full_ = false;
  std::vector<Callback<void(Status)>> told;
  for (; count > 0; --count) {
    Unsynced& first = tail_.front();
    flushed_ = BatchView(first.batch).next_offset();
    tail_bytes_ -= first.batch.size();
    tail_records_ -= records_of(first.batch);
    engine_.metrics_.unsynced_bytes -= static_cast<int64_t>(first.batch.size());
    if (!first.is_acknowledged) --waiting_in_tail_;
    if (first.done) told.push_back(std::move(first.done));
    tail_.pop_front();
  }
  std::erase_if(awaited_, [&](Awaited& each) {
    if (each.until > flushed_) return false;
    told.push_back(std::move(each.done));
    return true;
  });
  flush_if_due();
  const Anchor<JoinedLog> self = anchor_.anchor(this);
  for (auto& done : told) {
    if (!self.get()) return;
    done({});
  }
}

// What is acknowledged stays.
void JoinedLog::fail_waiting(Code code) {
  std::vector<Callback<void(Status)>> told;
  for (size_t i = tail_.size() - waiting_in_tail_; i < tail_.size(); ++i) {
    if (tail_[i].done) told.push_back(std::move(tail_[i].done));
  }
  drop_tail_end(std::exchange(waiting_in_tail_, 0));
  for (Awaited& each : std::exchange(awaited_, {})) told.push_back(std::move(each.done));
  const Anchor<JoinedLog> self = anchor_.anchor(this);
  for (auto& done : told) {
    if (!self.get()) return;
    done(code);
  }
}

void JoinedLog::await_flushed(Offset until, Callback<void(Status)> done) {
  if (durable_->has_failed()) return done(Code::storage_failed);
  if (is_full_) return done(Code::storage_full);
  awaited_.push_back({until, std::move(done)});
  flush_if_due();
}

void JoinedLog::flush(Callback<void(Status)> done) {
  if (class_ != Durability::hybrid || tail_.empty()) return done({});
  await_flushed(settled_end(), std::move(done));
}

ReadResult JoinedLog::read_tail(Offset from, const ReadLimits& limits) const {
  ReadResult result;
  result.next = from;
  auto at = std::partition_point(tail_.begin(), tail_.end(),
                                 [from](const Unsynced& each) { return BatchView(each.batch).next_offset() <= from; });
  uint64_t bytes = 0;
  for (; at != tail_.end(); ++at) {
    const BatchView view(at->batch);
    const bool is_first_whole = result.pieces.empty() && limits.first_batch_over_limit;
    if (view.base_offset() >= limits.end || (bytes + at->batch.size() > limits.bytes_max && !is_first_whole)) break;
    bytes += at->batch.size();
    result.pieces.push_back(Piece::of(at->batch));
    result.next = view.next_offset();
  }
  return result;
}

}  // namespace robustmq::storage
