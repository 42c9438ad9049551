// EngineCore: opening, appending, trimming and removing logs. Truncation: truncating.cc; reads: reading.cc.
#include "storage/segment/engine_core.h"

#include <algorithm>
#include <utility>

#include "base/batch.h"
#include "base/check.h"
#include "storage/segment/segment_log.h"

namespace robustmq::storage::segment {

using runtime::DiskStep;
using runtime::FilePtr;

EngineCore::EngineCore(runtime::Core& core, const StorageOptions& options, SegmentTestSwitches switches)
    : core_(core),
      options_(options),
      switches_(switches),
      journal_(core, options, switches.unsafe_skip_sync, *this),
      checkpoint_timer_([](void* self) { static_cast<EngineCore*>(self)->start_checkpoint(); }, this) {}

EngineCore::~EngineCore() {
  // After a crash: what waits holds its log, which holds what waits.
  for (auto& [id, log] : logs_) {
    log->waiting.clear();
    log->asked.clear();
    log->truncation.reset();
  }
}

void EngineCore::open(ShardId id, const LogSettings& settings, Offset first_offset, Callback<void(Result<OpenedLog>)> done) {
  if (is_closing_) return done(Code::shutting_down);
  const auto give = [this](const LogPtr& log, Callback<void(Result<OpenedLog>)>& to) {
    log->handle = ++handle_last_;
    OpenedLog opened;
    opened.log = std::make_unique<SegmentLog>(*this, log);
    opened.replica_state = log->replica_state;
    opened.state_as_of = std::max(log->state_as_of, log->start);
    opened.report = log->report;
    to(std::move(opened));
  };
  if (auto found = logs_.find(id); found != logs_.end()) {
    if (found->second->handle != 0 || found->second->is_removed) return done(Error{Code::already_exists, "the log is open"});
    found->second->settings = settings;
    return give(found->second, done);
  }
  if (has_failed()) return done(Code::storage_failed);
  auto log = std::make_shared<LogState>();
  log->id = id;
  log->settings = settings;
  log->start = log->start_durable = log->end = log->placed_end = log->durable = log->durable_base = log->state_as_of =
      log->checkpointed_base = first_offset;
  logs_.emplace(id, log);
  log->handle = UINT32_MAX;  // nobody else opens it meanwhile
  JournalEntry entry = entry_of(log, FrameKind::create);
  entry.offset = first_offset;
  auto kept = std::make_unique<Callback<void(Result<OpenedLog>)>>(std::move(done));
  entry.done = [this, log, give, kept = std::move(kept)](Status status) {
    if (status.ok()) return give(log, *kept);
    logs_.erase(log->id);
    (*kept)(status.error());
  };
  journal_.submit(std::move(entry));
}

std::vector<ShardId> EngineCore::list() const {
  std::vector<ShardId> ids;
  for (const auto& [id, log] : logs_) {
    if (!log->is_removed && log->handle != UINT32_MAX) ids.push_back(id);
  }
  return ids;
}

JournalEntry EngineCore::entry_of(const LogPtr& log, FrameKind kind) const {
  JournalEntry entry;
  entry.kind = kind;
  entry.shard = log->id;
  entry.owner = log;
  return entry;
}

void EngineCore::remove(ShardId id, Callback<void(Status)> done) {
  if (is_closing_) return done(Code::shutting_down);
  auto found = logs_.find(id);
  if (found == logs_.end() || found->second->is_removed) return done(Code::not_found);
  LogPtr log = found->second;
  ROBUSTMQ_CHECK(log->handle == 0, "an open log is removed");
  log->is_removed = true;
  JournalEntry entry = entry_of(log, FrameKind::remove);
  auto kept = std::make_unique<Callback<void(Status)>>(std::move(done));
  entry.done = [this, log, kept = std::move(kept)](Status status) {
    if (status.ok())
      on_removed(log);
    else
      log->is_removed = false;
    (*kept)(std::move(status));
  };
  submit_or_wait(log, std::move(entry));
}

// Durably gone; the files follow. What a crash leaves of them the next start finishes.
void EngineCore::on_removed(const LogPtr& log) {
  std::vector<std::string> paths;
  for (Segment& segment : log->segments) {
    paths.push_back(log->path_of(segment));
    paths.push_back(log->index_path_of(segment));
    close_file(segment);
  }
  log->segments.clear();
  const bool has_folder = log->has_folder;
  logs_.erase(log->id);
  if (has_folder) delete_files(std::move(paths), log->folder());
}

void EngineCore::delete_files(std::vector<std::string> paths, std::string folder) {
  std::vector<DiskStep> steps;
  for (std::string& path : paths) {
    steps.push_back(DiskStep::remove(std::move(path)));
    steps.back().required = false;
  }
  if (!folder.empty()) {
    steps.push_back(DiskStep::remove(std::move(folder)));
    steps.back().required = false;
  }
  ++background_;
  core_.disk().run(std::move(steps), [this](std::vector<Status>) {
    --background_;
    finish_close_if_idle();
  });
}

uint64_t EngineCore::direct_bytes_min() const {
  return static_cast<uint64_t>(std::min(options_.direct_bytes_min, options_.journal_file_bytes / 4));
}

bool EngineCore::needs_roll(const LogState& log, uint64_t bytes, Offset next) const {
  if (log.segments.empty()) return true;
  const Segment& active = log.segments.back();
  if (active.size_bytes == 0) return false;
  const uint64_t limit =
      std::min<uint64_t>(static_cast<uint64_t>(std::max<int64_t>(log.settings.segment_bytes, 1)), kSegmentBytesMax);
  return active.size_bytes + bytes > limit || next - active.base >= kSegmentOffsetsMax ||
         core_.wall_now().ms - active.begun_ms >= log.settings.segment_ms;
}

void EngineCore::append(const LogPtr& log, std::vector<Bytes> batches, bool is_behind, Callback<void(Status)> done) {
  if (is_closing_) return done(Code::shutting_down);
  if (has_failed() || log->has_failed) return done(Code::storage_failed);
  if (batches.empty()) return done({});
  uint64_t bytes = 0;
  for (const Bytes& batch : batches) bytes += batch.size();
  if (bytes > kSegmentBytesMax / 2) return done(Code::too_large);
  for (const Bytes& batch : batches) {
    const BatchView view(batch);
    ROBUSTMQ_CHECK(view.base_offset() == log->end, "an append does not continue the chain");
    ROBUSTMQ_CHECK(view.leader_epoch() >= log->last_epoch, "the leader epoch of an append falls");
    log->end = view.next_offset();
    log->last_epoch = view.leader_epoch();
  }
  if (log->truncation) {
    log->asked.push_back({std::move(batches), std::move(done), log->handle, is_behind});
    return;
  }
  place(log, std::move(batches), is_behind, log->handle, std::move(done));
}

// Gives the batches their place in the active segment and sends them to the journal.
void EngineCore::place(const LogPtr& log, std::vector<Bytes> batches, bool is_behind, uint32_t handle,
                       Callback<void(Status)> done) {
  uint64_t bytes = 0;
  for (const Bytes& batch : batches) bytes += batch.size();
  const Offset next = BatchView(batches.back()).next_offset();
  if (needs_roll(*log, bytes, next)) {
    if (!log->segments.empty() && log->active().index) count_index(log, log->active());
    log->roll(core_.wall_now().ms, index_interval());
  }

  Segment& active = log->active();
  // A sealed one that a truncation made the active one again may have lost its index.
  if (!active.index) active.index = std::make_unique<SegmentIndex>(active.base, active.size_bytes, index_interval());
  JournalEntry entry = entry_of(log, FrameKind::append);
  entry.tag = handle;
  entry.is_direct = bytes >= direct_bytes_min();
  entry.leads = log->settings.leads;
  entry.is_behind = is_behind;
  entry.leader_epoch = BatchView(batches.back()).leader_epoch();
  entry.offset = active.end;
  entry.segment_base = active.base;
  entry.position = active.size_bytes;
  entry.next_offset = next;
  entry.serial = ++log->serial_last;
  if (active.size_bytes == 0) active.begun_ms = core_.wall_now().ms;
  for (const Bytes& batch : batches) {
    const BatchView view(batch);
    active.index->add(view.base_offset(), batch.size(), view.max_timestamp(), true);
    active.max_timestamp = std::max(active.max_timestamp, view.max_timestamp());
  }
  active.end = log->placed_end = next;
  active.size_bytes += bytes;
  entry.payload = std::move(batches);
  entry.done = std::move(done);
  submit_or_wait(log, std::move(entry));
}

bool EngineCore::is_held_back(const JournalEntry& entry) {
  if (leaders_waiting_.empty() || !entry.is_behind) return false;
  std::erase_if(leaders_waiting_, [](const LogPtr& leader) { return leader->waiting.empty(); });
  return !leaders_waiting_.empty();
}

void EngineCore::release_held() {
  for (const LogPtr& log : std::exchange(held_, {})) {
    log->is_held = false;
    if (!log->is_refusing) submit_waiting(log);
  }
}

void EngineCore::submit_or_wait(const LogPtr& log, JournalEntry entry) {
  if (log->waiting.empty() && !log->is_refusing && log->is_settled && !is_held_back(entry)) {
    if (entry.kind != FrameKind::append) return journal_.submit(std::move(entry));
    if (FilePtr file = file_if_open(*log->find(entry.segment_base))) {
      entry.file = std::move(file);
      ++log->appends_in_journal;
      return journal_.submit(std::move(entry));
    }
  }
  log->waiting.push_back(std::move(entry));
  if (log->settings.leads && (leaders_waiting_.empty() || leaders_waiting_.back() != log)) leaders_waiting_.push_back(log);
  if (!log->is_refusing) submit_waiting(log);
}

// Submits from the front of what waits, as far as the files are open, and opens the next one.
void EngineCore::submit_waiting(const LogPtr& log) {
  if (log->is_opening) return;
  if (!log->is_settled) return settle(log);
  std::vector<JournalEntry> waiting = std::exchange(log->waiting, {});
  size_t i = 0;
  for (; i < waiting.size(); ++i) {
    JournalEntry& entry = waiting[i];
    if (entry.kind == FrameKind::append) {
      if (is_held_back(entry)) break;
      Segment* segment = log->find(entry.segment_base);
      FilePtr file = segment ? file_if_open(*segment) : nullptr;
      if (!file) break;
      entry.file = std::move(file);
      ++log->appends_in_journal;
    }
    journal_.submit(std::move(entry));
  }
  waiting.erase(waiting.begin(), waiting.begin() + static_cast<ptrdiff_t>(i));
  for (JournalEntry& entry : log->waiting) waiting.push_back(std::move(entry));
  log->waiting = std::move(waiting);
  if (log->waiting.empty()) {
    if (log->settings.leads) release_held();
    return continue_truncation(log);
  }
  if (is_held_back(log->waiting.front())) {
    if (!std::exchange(log->is_held, true)) held_.push_back(log);
    return;
  }

  log->is_opening = true;
  open_segment(log, log->waiting.front().segment_base, true, [this, log](Result<FilePtr> file) {
    log->is_opening = false;
    if (file.ok()) return submit_waiting(log);
    if (file.code() != Code::storage_full) log->has_failed = true;
    refuse_waiting(log, file.code());
  });
}

void EngineCore::refuse_waiting(const LogPtr& log, Code code) {
  if (log->appends_in_journal > 0) {
    log->is_refusing = true;  // after the journal's answers
    return;
  }
  log->is_refusing = false;
  for (JournalEntry& entry : std::exchange(log->waiting, {})) {
    if (entry.kind == FrameKind::append || entry.kind == FrameKind::seal) {
      on_done(entry, code);
    } else {
      journal_.submit(std::move(entry));
    }
  }
  if (log->settings.leads) release_held();
}

void EngineCore::on_round(std::vector<JournalEntry>& entries, std::vector<JournalEntry>& also) {
  for (JournalEntry& entry : entries) {
    auto log = std::static_pointer_cast<LogState>(entry.owner);
    // The folder and file that a direct append is in must be there after a crash; a framed one makes them again.
    if (entry.is_direct && !switches_.unsafe_skip_sync) {
      Segment* segment = log->find(entry.segment_base);
      if (segment && !segment->is_name_durable) {
        entry.before.push_back(DiskStep::sync_directory(log->folder()));
        entry.before.push_back(DiskStep::sync_directory(std::string(kLogsFolder)));
      }
    }
    if (log->is_touched) continue;
    log->is_touched = true;
    touched_.push_back(log);
    if (entry.is_direct) also.push_back(entry_of(log, FrameKind::touch));
  }
  arm_checkpoint();
}

void EngineCore::on_done(JournalEntry& entry, const Status& status) {
  if (entry.kind == FrameKind::touch) return;
  auto log = std::static_pointer_cast<LogState>(entry.owner);
  if (entry.kind == FrameKind::append) return on_append_done(log, entry, status);
  if (entry.tag != 0 && entry.tag != log->handle && entry.kind != FrameKind::truncate) {
    entry.done.reset();
    return;
  }
  if (entry.done) entry.done(status);
}

void EngineCore::on_append_done(const LogPtr& log, JournalEntry& entry, const Status& status) {
  if (entry.file) --log->appends_in_journal;
  if (status.ok()) {
    const Offset base_before = std::exchange(log->durable_base, entry.segment_base);
    log->durable = entry.next_offset;
    log->durable_position = entry.position + entry.payload_bytes();
    log->durable_epoch = entry.leader_epoch;
    if (Segment* segment = log->find(entry.segment_base)) {
      segment->is_dirty = true;
      if (entry.is_direct) segment->is_name_durable = true;
    }
    if (base_before < entry.segment_base) write_indexes_of_sealed(log, base_before, entry.segment_base);
    if (entry.is_direct) {
      direct_bytes_since_checkpoint_ += entry.payload_bytes();
      if (direct_bytes_since_checkpoint_ >= static_cast<uint64_t>(options_.checkpoint_direct_bytes)) start_checkpoint();
    }
  } else {
    log->is_touched = false;  // its frame may not be there
    if (status.code() == Code::storage_full) {
      metrics_.appends_refused_full_total += 1;
      if (entry.serial > log->serial_rewound) rewind(log, entry);
      if (!log->waiting.empty()) log->is_refusing = true;
    } else {
      log->has_failed = true;
    }
  }
  if (entry.done && entry.tag == log->handle) entry.done(status);
  if (log->is_refusing && log->appends_in_journal == 0) refuse_waiting(log, status.ok() ? Code::storage_full : status.code());
  if (log->truncation) continue_truncation(log);
}

void EngineCore::trim(const LogPtr& log, Offset keep_from, Callback<void(Status)> done) {
  if (is_closing_) return done(Code::shutting_down);
  if (keep_from > log->end) return done(Code::offset_out_of_range);
  if (keep_from <= log->start_durable) return done({});
  if (has_failed()) return done(Code::storage_failed);
  log->start = std::max(log->start, keep_from);
  JournalEntry entry = entry_of(log, FrameKind::trim);
  entry.tag = log->handle;
  entry.offset = keep_from;
  auto kept = std::make_unique<Callback<void(Status)>>(std::move(done));
  entry.done = [this, log, keep_from, kept = std::move(kept)](Status status) {
    if (status.ok()) {
      log->start_durable = std::max(log->start_durable, keep_from);
      drop_below_start(log);
    }
    (*kept)(std::move(status));
  };
  submit_or_wait(log, std::move(entry));
}

void EngineCore::drop_below_start(const LogPtr& log) {
  if (log->is_replacing) return;  // again when that is over
  std::vector<std::string> paths;
  for (Segment& segment : log->take_below_start()) {
    paths.push_back(log->path_of(segment));
    paths.push_back(log->index_path_of(segment));
    close_file(segment);
  }
  if (!paths.empty()) delete_files(std::move(paths), {});
}

void EngineCore::retain(const LogPtr& log, WallTime now, Offset keep_from) {
  if (is_closing_ || has_failed() || log->truncation) return;
  Offset start = log->start;
  uint64_t bytes = log->size_bytes();
  for (size_t i = 0; i + 1 < log->segments.size(); ++i) {
    const Segment& segment = log->segments[i];
    const int64_t newest_ms = segment.max_timestamp >= 0 ? segment.max_timestamp : segment.begun_ms;
    const bool is_old = log->settings.retention_ms >= 0 && newest_ms < now.ms - log->settings.retention_ms;
    const bool is_over =
        log->settings.retention_bytes >= 0 && bytes - segment.size_bytes >= static_cast<uint64_t>(log->settings.retention_bytes);
    if ((!is_old && !is_over) || segment.base == log->durable_base || segment.end > keep_from) break;
    bytes -= segment.size_bytes;
    start = segment.end;
    metrics_.retention_segments_total += 1;
    metrics_.retention_bytes_total += segment.size_bytes;
  }
  if (start > log->start) trim(log, start, [](Status) {});
}

void EngineCore::seal(const LogPtr& log, Bytes replica_state, Offset as_of, Callback<void(Status)> done) {
  if (is_closing_) return done(Code::shutting_down);
  if (has_failed()) return done(Code::storage_failed);
  if (as_of > log->end || as_of < log->state_as_of) return done(Code::offset_out_of_range);
  if (replica_state.size() > static_cast<uint64_t>(options_.journal_file_bytes / 4)) return done(Code::too_large);
  JournalEntry entry = entry_of(log, FrameKind::seal);
  entry.tag = log->handle;
  entry.offset = as_of;
  Bytes state = replica_state.compact();
  if (!state.empty()) entry.payload.push_back(state);
  auto kept = std::make_unique<Callback<void(Status)>>(std::move(done));
  entry.done = [log, as_of, state = std::move(state), kept = std::move(kept)](Status status) {
    if (status.ok()) {
      log->replica_state = state;
      log->state_as_of = as_of;
    }
    (*kept)(std::move(status));
  };
  submit_or_wait(log, std::move(entry));
}

void EngineCore::close(Callback<void(Status)> done) {
  is_closing_ = true;
  close_done_ = std::move(done);
  checkpoint_timer_.cancel();
  finish_close_if_idle();
}

// What was asked before ends first; then comes a last checkpoint, then the answer.
void EngineCore::finish_close_if_idle() {
  if (!is_closing_ || !close_done_ || background_ > 0 || checkpointing_) return;
  if (!journal_.is_idle()) {
    ++background_;
    journal_.at_boundary([this](uint64_t) {
      core_.post([this] {
        --background_;
        finish_close_if_idle();
      });
    });
    return;
  }
  if (!std::exchange(are_last_indexes_written_, true) && !has_failed()) {
    write_indexes_of_active();
    if (background_ > 0) return;
  }
  if (!is_last_checkpoint_made_ && !has_failed()) {
    is_last_checkpoint_made_ = true;
    return checkpoint([this](Status status) { close_status_ = std::move(status); });
  }
  Status status = has_failed() ? Status(Code::storage_failed) : close_status_;
  std::exchange(close_done_, {})(std::move(status));
}

}  // namespace robustmq::storage::segment
