// JoinedLog: changes of its class. Appends wait at the gate where they may not go on.
#include <algorithm>

#include "storage/activity.h"
#include "storage/joined_log.h"

namespace robustmq::storage {

using runtime::Task;

namespace {

constexpr uint64_t kCopyBytes = 256 << 10;  // read and appended at once
// The last round of a copy is the one during which appends wait: when a round was as short as this, or so many went before.
constexpr uint64_t kLastRoundBytes = 1 << 20;
constexpr int kRoundsMax = 5;
constexpr int64_t kPauseMs = 1;

// A log in memory completes at once.
ReadResult read_memory(Log& memory, Offset from) {
  ReadResult result;
  memory.read(from, {.bytes_max = kCopyBytes}, [&result](Result<ReadResult> read) {
    if (read.ok()) result = read.take();
  });
  return result;
}

}  // namespace

// Owned by the completion it waits for; looks after each wait whether the log is still there.
class JoinedLog::Changing final : public Activity {
 public:
  Changing(JoinedLog& log, Durability to) : self_(log.anchor_.anchor(&log)), to_(to) {}

  Task<> run() {
    Status status;
    if (self_.get()->class_ == Durability::memory) {
      status = co_await leave_memory();
    } else if (self_.get()->class_ == Durability::hybrid) {
      status = co_await leave_hybrid();
    } else {
      status = co_await leave_synced();
    }
    if (JoinedLog* log = self_.get()) log->end_change(to_, status);
  }

 private:
  Task<bool> pause() {
    const bool is_over = co_await wait<bool>([this](auto done) {
      JoinedLog* log = self_.get();
      log->pause_over_ = [done = std::move(done)]() mutable { done(true); };
      log->engine_.core_.arm(log->pause_timer_, log->engine_.core_.now() + Duration::millis(kPauseMs));
    });
    co_return is_over&& self_.get() != nullptr;
  }

  // Appends under way end.
  Task<Status> leave_synced() {
    self_.get()->is_gated_ = true;
    while (true) {
      JoinedLog* log = self_.get();
      if (log->durable_->has_failed()) co_return Code::storage_failed;
      const Bounds bounds = log->durable_->bounds();
      if (bounds.durable >= bounds.end) break;
      const bool is_there = co_await pause();
      if (!is_there) co_return Code::shutting_down;
    }
    JoinedLog* log = self_.get();
    log->flushed_ = log->durable_->bounds().end;
    if (to_ == Durability::memory) log->begin_memory(log->settled_end());
    co_return Status();
  }

  Task<Status> leave_hybrid() {
    self_.get()->is_gated_ = true;
    if (to_ == Durability::synced) {
      Status flushed = co_await wait<Status>([this](auto done) { self_.get()->flush(std::move(done)); });
      co_return flushed;
    }
    while (self_.get()->is_flushing_) {
      const bool is_there = co_await pause();
      if (!is_there) co_return Code::shutting_down;
    }
    // What is on its way to the disk stays in memory.
    JoinedLog* log = self_.get();
    const Offset first = log->tail_begin();
    LazyDeque<Unsynced> tail = std::move(log->tail_);
    log->forget_tail();
    log->begin_memory(first);
    for (const Unsynced& each : tail) log->memory_->append_now(each.batch);
    for (size_t i = 0; i < tail.size(); ++i) {
      if (tail[i].done && self_.get()) tail[i].done({});
    }
    for (Awaited& each : self_.get() ? std::exchange(self_.get()->awaited_, {}) : std::vector<Awaited>()) each.done({});
    co_return Status();
  }

  Task<Status> leave_memory() {
    if (!self_.get()->durable_) {
      Status opened = co_await open_durable();
      if (!opened.ok()) co_return opened;
    }
    JoinedLog* log = self_.get();
    const Offset before = log->durable_->bounds().end;
    log->is_copying_ = true;
    Status copied = co_await copy();
    log = self_.get();
    if (!log) co_return Code::shutting_down;
    log->is_copying_ = false;
    // A part of it is of no use.
    if (!copied.ok() && !log->durable_->has_failed() && log->durable_->bounds().end > before)
      log->durable_->truncate(before, [](Status) {});
    co_return copied;
  }

  Task<Status> open_durable() {
    JoinedLog* log = self_.get();
    const ReadResult first = read_memory(*log->memory_, log->memory_->bounds().start);
    const Offset begin = first.pieces.empty() ? log->memory_->bounds().end : BatchView(first.pieces[0].bytes).base_offset();
    log->engine_.durable_ids_.insert(log->id_);
    Result<OpenedLog> opened = co_await wait<Result<OpenedLog>>(
        [&](auto done) { log->engine_.durable_.open(log->id_, log->settings_, begin, std::move(done)); });
    log = self_.get();
    if (!log) co_return Code::shutting_down;
    if (!opened.ok()) co_return opened.error();
    log->durable_ = std::move(opened->log);
    co_return Status();
  }

  // Everything in memory goes behind what the durable log has. When it returns ok, the gate is closed.
  Task<Status> copy() {
    uint64_t copied = UINT64_MAX;
    for (int round = 1;; ++round) {
      JoinedLog* log = self_.get();
      const bool is_last =
          copied <= kLastRoundBytes || round > kRoundsMax || (round == 1 && log->memory_->bounds().size_bytes <= kLastRoundBytes);
      if (is_last) log->is_gated_ = true;
      const Offset target = log->memory_->bounds().end;
      copied = 0;
      while (true) {
        log = self_.get();
        std::vector<Bytes> batches;
        const Offset trim_to = next_batches(*log, target, batches);
        if (batches.empty()) break;
        uint64_t bytes = 0;
        for (const Bytes& batch : batches) bytes += batch.size();
        copied += bytes;
        Status stored = co_await wait<Status>([&](auto done) { log->durable_->append(std::move(batches), std::move(done)); });
        log = self_.get();
        if (!log) co_return Code::shutting_down;
        if (!stored.ok()) co_return stored;
        log->engine_.metrics_.copied_bytes_total += bytes;
        if (trim_to == 0) continue;
        Status trimmed = co_await wait<Status>([&](auto done) { log->durable_->trim(trim_to, std::move(done)); });
        if (!self_.get()) co_return Code::shutting_down;
        if (!trimmed.ok()) co_return trimmed;
      }
      if (is_last) co_return Status();
    }
  }

  // What follows the durable log, with what fills the gap in front. Returns where the durable log is to begin then; 0: as it
  // does.
  static Offset next_batches(JoinedLog& log, Offset target, std::vector<Bytes>& batches) {
    const Bounds durable = log.durable_->bounds();
    const Offset start = log.memory_->bounds().start;
    const Offset from = std::max(durable.end, start);
    if (from >= target) return 0;
    const ReadResult read = read_memory(*log.memory_, from);
    for (const Piece& piece : read.pieces) batches.push_back(piece.bytes);
    if (batches.empty()) return 0;
    const Offset base = BatchView(batches.front()).base_offset();
    const bool is_first = durable.start >= durable.end;
    if (base > durable.end) {
      // Limits dropped what would be in between.
      if (!is_first && base > log.memory_begin_) log.whole_from_ = std::max(base, start);
      log.fill_durable(durable.end, base);
    }
    return is_first && start > durable.start ? start : 0;
  }

  Anchor<JoinedLog> self_;
  Durability to_;
};

void JoinedLog::change(Durability to, Callback<void(Status)> done) {
  if (is_changing_) return done(Code::not_attempted);
  if (to == class_) return done({});
  is_changing_ = true;
  change_done_ = std::move(done);
  const auto changing = std::make_shared<Changing>(*this, to);
  changing->start(changing->run());
}

void JoinedLog::begin_memory(Offset first) {
  memory_ = engine_.make_memory(id_, settings_, first);
  memory_begin_ = first;
  durable_max_timestamp_ = INT64_MIN;
  class_ = Durability::memory;
}

void JoinedLog::forget_tail() {
  tail_.clear();
  engine_.metrics_.unsynced_bytes -= static_cast<int64_t>(std::exchange(tail_bytes_, 0));
  tail_records_ = 0;
  waiting_in_tail_ = 0;
  is_full_ = false;
  flush_timer_.cancel();
}

void JoinedLog::end_change(Durability to, const Status& status) {
  is_changing_ = false;
  ++(status.ok() ? engine_.metrics_.changes_total : engine_.metrics_.changes_failed_total);
  if (status.ok() && to != Durability::memory && memory_) {
    if (has_hole()) whole_from_ = memory_->bounds().start;
    floor_ = std::max(floor_, memory_->bounds().end);
    memory_.reset();
    flushed_ = durable_->bounds().end;
  }
  if (status.ok()) class_ = to;
  Callback<void(Status)> done = std::exchange(change_done_, nullptr);
  const Anchor<JoinedLog> self = anchor_.anchor(this);
  open_gate();
  if (self.get()) done(status);
}

void JoinedLog::open_gate() {
  const Anchor<JoinedLog> self = anchor_.anchor(this);
  if (gated_.empty()) is_gated_ = false;
  // They continue nothing where what was under way in front of them failed.
  const bool continues = gated_.empty() || BatchView(gated_.front().batches.front()).base_offset() == settled_end();
  while (self.get() && !gated_.empty()) {
    Gated next = std::move(gated_.front());
    gated_.pop_front();
    is_gated_ = !gated_.empty();
    if (continues)
      submit_now(std::move(next.batches), next.is_behind, std::move(next.done));
    else
      next.done(Code::storage_full);
  }
}

}  // namespace robustmq::storage
