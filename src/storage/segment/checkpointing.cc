// Checkpoints while the engine runs.
#include "storage/segment/checkpointing.h"

#include <algorithm>
#include <utility>

namespace robustmq::storage::segment {

using runtime::DiskStep;
using runtime::FilePtr;
using runtime::Task;

namespace {
// Steps of one disk run; rounds of the journal come in between.
constexpr size_t kStepsPerRun = 2;
}  // namespace

std::vector<DiskStep> replace_checkpoint_steps(FilePtr new_file, Bytes encoded, bool skip_sync) {
  std::vector<DiskStep> steps;
  const uint64_t size = encoded.size();
  steps.push_back(DiskStep::write(new_file, 0, {std::move(encoded)}));
  steps.push_back(DiskStep::truncate(new_file, size));
  if (!skip_sync) steps.push_back(DiskStep::sync(std::move(new_file)));
  steps.push_back(DiskStep::rename(std::string(kCheckpointNewPath), std::string(kCheckpointPath)));
  if (!skip_sync) steps.push_back(DiskStep::sync_directory("."));
  return steps;
}

uint64_t EngineCore::Checkpointing::capture(uint64_t covered) {
  checkpoint_.generation = ++engine_.checkpoint_generation_;
  checkpoint_.covered_sequence = covered;
  for (const auto& [id, log] : engine_.logs_) {
    if (log->handle == UINT32_MAX) continue;  // its creation is not answered yet
    checkpoint_.logs.push_back(log->to_checkpoint());
  }
  for (const LogPtr& log : std::exchange(engine_.touched_, {})) {
    log->is_touched = false;
    if (!log->truncation) sealed_.push_back({log, log->durable_base, log->truncations});
    for (Segment& segment : log->segments) {
      if (!segment.is_dirty) continue;
      segment.is_dirty = false;
      dirty_.push_back({log, segment.base, !segment.is_name_durable});
    }
  }
  engine_.direct_bytes_since_checkpoint_ = 0;
  return covered;
}

// After a failure that is not final the next checkpoint syncs these again.
void EngineCore::Checkpointing::put_back() {
  for (const Dirty& dirty : dirty_) {
    if (Segment* segment = dirty.log->find(dirty.base)) segment->is_dirty = true;
    engine_.touched_.push_back(dirty.log);
  }
}

Task<Status> EngineCore::Checkpointing::run_steps(std::vector<DiskStep> steps) {
  std::vector<Status> statuses =
      co_await wait<std::vector<Status>>([&](auto done) { engine_.core_.disk().run(std::move(steps), std::move(done)); });
  for (const Status& status : statuses) {
    if (!status.ok()) co_return status;
  }
  co_return Status();
}

Task<Status> EngineCore::Checkpointing::sync_segments() {
  std::vector<DiskStep> steps;
  bool is_folder_due = false;
  const bool at_once = dirty_.size() > kSyncEachMax;
  if (at_once) steps.push_back(DiskStep::sync_all());
  for (const Dirty& dirty : dirty_) {
    if (at_once) break;
    if (dirty.log->is_removed || !dirty.log->find(dirty.base)) continue;
    Result<FilePtr> file =
        co_await wait<Result<FilePtr>>([&](auto done) { engine_.open_segment(dirty.log, dirty.base, false, std::move(done)); });
    if (dirty.log->is_removed || !dirty.log->find(dirty.base)) continue;
    if (!file.ok()) co_return file.error();
    steps.push_back(DiskStep::sync(file.take()));
    if (dirty.is_name_due) {
      steps.push_back(DiskStep::sync_directory(dirty.log->folder()));
      is_folder_due = true;
    }
    if (steps.size() < kStepsPerRun) continue;
    Status synced = co_await run_steps(std::exchange(steps, {}));
    if (!synced.ok()) co_return synced;
  }
  if (is_folder_due) steps.push_back(DiskStep::sync_directory(std::string(kLogsFolder)));
  if (!steps.empty()) {
    Status synced = co_await run_steps(std::move(steps));
    if (!synced.ok()) co_return synced;
  }
  for (const Dirty& dirty : dirty_) {
    Segment* segment = dirty.log->find(dirty.base);
    if (segment && dirty.is_name_due) segment->is_name_durable = true;
  }
  co_return Status();
}

Task<> EngineCore::Checkpointing::run() {
  const uint64_t covered = co_await wait<uint64_t>([this](auto done) {
    engine_.journal_.at_boundary([this, done = std::move(done)](uint64_t sequence) mutable { done(capture(sequence)); });
  });
  if (engine_.has_failed()) {
    engine_.on_checkpoint_ended(Code::storage_failed);
    co_return;
  }
  if (!engine_.unsafe_skip_sync()) {
    Status synced = co_await sync_segments();
    if (!synced.ok()) {
      // A log that was removed meanwhile may have taken its folder with it; anything else is final.
      put_back();
      if (synced.code() != Code::not_found) engine_.journal_.fail();
      engine_.on_checkpoint_ended(synced);
      co_return;
    }
  }
  const std::string path(kCheckpointNewPath);
  Result<FilePtr> file =
      co_await wait<Result<FilePtr>>([&](auto done) { engine_.core_.disk().open(path, {.create = true}, std::move(done)); });
  Status status = file.ok() ? Status() : Status(file.error());
  if (file.ok()) {
    status =
        co_await run_steps(replace_checkpoint_steps(file.take(), encode_checkpoint(checkpoint_), engine_.unsafe_skip_sync()));
  }
  if (status.ok()) {
    for (const Sealed& sealed : sealed_) {
      if (sealed.truncations == sealed.log->truncations)
        sealed.log->checkpointed_base = std::max(sealed.log->checkpointed_base, sealed.base);
    }
    engine_.journal_.release(covered);
  } else {
    put_back();
    if (status.code() != Code::storage_full) engine_.journal_.fail();
  }
  engine_.on_checkpoint_ended(status);
}

void EngineCore::checkpoint(Callback<void(Status)> done) {
  if (has_failed()) return done(Code::storage_failed);
  (checkpointing_ ? next_checkpoint_waiters_ : checkpoint_waiters_).push_back(std::move(done));
  start_checkpoint();
}

void EngineCore::start_checkpoint() {
  if (has_failed()) return;
  if (checkpointing_) {
    checkpoint_again_ = checkpoint_again_ || !next_checkpoint_waiters_.empty();
    return;
  }
  checkpoint_timer_.cancel();
  checkpointing_ = std::make_shared<Checkpointing>(*this);
  checkpointing_->start(checkpointing_->run());
}

void EngineCore::on_checkpoint_ended(const Status& status) {
  (status.ok() ? metrics_.checkpoints_total : metrics_.checkpoint_failures_total) += 1;
  core_.post([ended = std::exchange(checkpointing_, nullptr)] {});  // it is still on the stack
  std::vector<Callback<void(Status)>> waiters = std::exchange(checkpoint_waiters_, std::exchange(next_checkpoint_waiters_, {}));
  for (auto& waiter : waiters) waiter(status);
  if (std::exchange(checkpoint_again_, false) && !checkpoint_waiters_.empty()) {
    if (!has_failed()) return start_checkpoint();
    for (auto& waiter : std::exchange(checkpoint_waiters_, {})) waiter(Code::storage_failed);
  }
  if (!status.ok() && !has_failed()) {
    journal_.refuse_stalled();
    arm_checkpoint();
  }
  finish_close_if_idle();
}

void EngineCore::arm_checkpoint() {
  if (checkpoint_timer_.is_armed() || checkpointing_ || is_closing_) return;
  core_.arm(checkpoint_timer_, core_.now() + Duration::millis(options_.checkpoint_ms));
}

}  // namespace robustmq::storage::segment
