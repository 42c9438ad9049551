// Recovery: the checkpoint, the journal's frames, the order of things. The walk of a log: recovery_walk.cc.
#include "storage/segment/recovery.h"

#include <algorithm>
#include <utility>

#include "storage/segment/checkpointing.h"
#include "storage/segment/rewriting.h"

namespace robustmq::storage::segment {

using runtime::DiskStep;
using runtime::FileEntry;
using runtime::FilePtr;
using runtime::Task;

void EngineCore::recover(Callback<void(Status)> done) {
  auto recovery = std::make_shared<Recovery>(*this, std::move(done));
  recovery->start(recovery->run());
}

Task<> EngineCore::Recovery::run() {
  Status status = co_await recover();
  done_(std::move(status));
}

Task<Status> EngineCore::Recovery::recover() {
  std::vector<DiskStep> folders;
  folders.push_back(DiskStep::make_directory(std::string(kLogsFolder)));
  folders.push_back(DiskStep::sync_directory("."));
  Status status = co_await run_steps(std::move(folders));
  if (!status.ok()) co_return status;
  status = co_await read_checkpoint();
  if (!status.ok()) co_return status;

  const uint64_t sequence_min = is_rebuilding_ ? 0 : checkpoint_.covered_sequence + 1;
  Result<JournalContents> contents =
      co_await wait<Result<JournalContents>>([&](auto done) { engine_.journal_.load(sequence_min, std::move(done)); });
  if (!contents.ok()) co_return contents.error();
  journal_ = contents.take();
  engine_.report_ += journal_.report;

  add_checkpointed_logs();
  look_for_gaps();
  status = co_await add_folders();
  if (!status.ok()) co_return status;
  for (const Frame& frame : journal_.frames) apply_frame(frame);
  status = co_await walk_all();
  if (!status.ok()) co_return status;
  for (auto& [id, replay] : replays_) {
    replay.log->start_durable = replay.log->start;
    replay.log->recount();
    engine_.logs_.emplace(id, replay.log);
  }

  if (!walks_all_) {
    for (const ShardId& id : folders_) {
      if (replays_.contains(id)) continue;
      const std::string folder = std::string(kLogsFolder) + "/" + folder_name(id);
      Result<std::vector<FileEntry>> entries = co_await list_folder(folder);
      if (!entries.ok()) co_return entries.error();
      std::vector<DiskStep> steps;
      for (const FileEntry& entry : *entries) steps.push_back(DiskStep::remove(folder + "/" + entry.name));
      steps.push_back(DiskStep::remove(folder));
      for (DiskStep& step : steps) step.required = false;
      // What stays is removed by the next start.
      Statuses removed = co_await wait<Statuses>([&](auto done) { disk().run(std::move(steps), std::move(done)); });
      static_cast<void>(removed);
    }
  }
  status = co_await write_checkpoint();
  if (!status.ok() && status.code() != Code::storage_full) co_return status;
  if (!status.ok()) engine_.add_to_report("the disk is full: no checkpoint could be made");
  for (auto& [id, log] : engine_.logs_) {
    log->checkpointed_base = status.ok() ? log->durable_base : INT64_MIN;
    for (const Segment& segment : log->segments) log->generation_last = std::max(log->generation_last, segment.generation);
  }
  const uint64_t file_epoch_last = std::max(journal_.file_epoch_last, checkpoint_.file_epoch_last);
  engine_.journal_.start(file_epoch_last, checkpoint_.covered_sequence, status.ok());
  co_return Status();
}

Task<Status> EngineCore::Recovery::run_steps(std::vector<DiskStep> steps) {
  Statuses statuses = co_await wait<Statuses>([&](auto done) { disk().run(std::move(steps), std::move(done)); });
  for (const Status& status : statuses) {
    if (!status.ok()) co_return status;
  }
  co_return Status();
}

// Empty when there is no such folder.
Task<Result<std::vector<FileEntry>>> EngineCore::Recovery::list_folder(std::string path) {
  using Entries = std::vector<FileEntry>;
  Result<Entries> entries = co_await wait<Result<Entries>>([&](auto done) { disk().list(path, std::move(done)); });
  if (!entries.ok() && entries.code() == Code::not_found) co_return Entries();
  co_return entries;
}

Task<Status> EngineCore::Recovery::read_checkpoint() {
  const std::string path(kCheckpointPath);
  Result<FilePtr> file = co_await wait<Result<FilePtr>>([&](auto done) { disk().open(path, {}, std::move(done)); });
  if (!file.ok()) {
    is_rebuilding_ = walks_all_ = true;
    co_return file.code() == Code::not_found ? Status() : Status(file.error());
  }
  Result<uint64_t> size = co_await wait<Result<uint64_t>>([&](auto done) { disk().size(*file, std::move(done)); });
  if (!size.ok()) co_return size.error();
  Result<Bytes> bytes =
      co_await wait<Result<Bytes>>([&](auto done) { disk().read(*file, 0, static_cast<size_t>(*size), std::move(done)); });
  if (!bytes.ok()) co_return bytes.error();
  Result<Checkpoint> checkpoint = decode_checkpoint(*bytes);
  if (checkpoint.ok()) {
    checkpoint_ = checkpoint.take();
    engine_.checkpoint_generation_ = checkpoint_.generation;
  } else if (checkpoint.code() == Code::corrupt_storage) {
    engine_.add_to_report(checkpoint.error().detail + ": rebuilding from journal and segments");
    is_rebuilding_ = walks_all_ = true;
  } else {
    co_return checkpoint.error();
  }
  co_return Status();
}

void EngineCore::Recovery::add_checkpointed_logs() {
  for (CheckpointLog& kept : checkpoint_.logs) {
    Replay& replay = replays_[kept.id];
    replay.log = std::make_shared<LogState>();
    LogState& log = *replay.log;
    log.id = kept.id;
    replay.is_touched = kept.is_being_cut;
    log.is_settled = false;
    log.start = kept.start;
    log.end = log.placed_end = log.durable = log.durable_base = replay.offset = kept.end;
    log.last_epoch = log.durable_epoch = kept.last_epoch;
    log.state_as_of = kept.state_as_of;
    log.replica_state = std::move(kept.replica_state);
    for (const CheckpointSegment& segment : kept.segments) {
      Segment& added = log.segments.emplace_back();
      added.base = segment.base;
      added.end = segment.end;
      added.size_bytes = segment.size_bytes;
      added.max_timestamp = segment.max_timestamp;
      added.generation = replay.generations[segment.base] = segment.generation;
      added.begun_ms = engine_.core_.wall_now().ms;
      added.is_name_durable = segment.size_bytes > 0;
    }
    if (!log.segments.empty()) {
      Segment& active = log.segments.back();
      active.index = std::make_unique<SegmentIndex>(active.base, active.size_bytes, engine_.index_interval());
      log.durable_base = active.base;
      log.durable_position = active.size_bytes;
      log.has_folder = true;
    }
  }
  checkpoint_.logs.clear();
}

// Sequences have no gaps but for damage, and for what a crash tore from the last round.
void EngineCore::Recovery::look_for_gaps() {
  uint64_t expected = checkpoint_.covered_sequence + 1;
  bool has_gap = journal_.frames.empty() && journal_.sequence_last >= expected;
  for (const Frame& frame : journal_.frames) {
    if (!is_rebuilding_ && frame.header.sequence != expected) has_gap = true;
    expected = frame.header.sequence + 1;
  }
  if (has_gap && !is_rebuilding_) engine_.add_to_report("the journal has a gap: every log is walked");
  walks_all_ = walks_all_ || has_gap;
}

Task<Status> EngineCore::Recovery::add_folders() {
  Result<std::vector<FileEntry>> entries = co_await list_folder(std::string(kLogsFolder));
  if (!entries.ok()) co_return entries.error();
  for (const FileEntry& entry : *entries) {
    const std::optional<ShardId> id = parse_folder_name(entry.name);
    if (!id || !entry.is_directory) continue;
    folders_.push_back(*id);
    if (!is_rebuilding_ || replays_.contains(*id)) continue;
    Result<std::vector<FileEntry>> files = co_await list_folder(std::string(kLogsFolder) + "/" + entry.name);
    if (!files.ok()) co_return files.error();
    std::optional<Offset> first;
    for (const FileEntry& file : *files) {
      const std::optional<SegmentFile> found = parse_file_name(file.name);
      if (found && found->kind == SegmentFile::Kind::segment && (!first || found->base < *first)) first = found->base;
    }
    if (!first) continue;
    Replay& replay = replays_[*id];
    replay.log = std::make_shared<LogState>();
    replay.log->id = *id;
    cut_walk_to(replay, *first, *first, 0);
    replay.log->start = replay.log->state_as_of = *first;
  }
  co_return Status();
}

void EngineCore::Recovery::forget_appends(Replay& replay, Offset from) {
  auto first = replay.appends.erase(replay.appends.lower_bound(from), replay.appends.end());
  if (first == replay.appends.begin()) return;
  ReplayedAppend& before = std::prev(first)->second;
  before.end = std::min(before.end, from);
}

// The walk begins at this place instead; the segments behind it are found anew.
void EngineCore::Recovery::cut_walk_to(Replay& replay, Offset offset, Offset base, uint64_t position) {
  LogState& log = *replay.log;
  replay.offset = offset;
  forget_appends(replay, offset);
  replay.generations.erase(replay.generations.upper_bound(base), replay.generations.end());
  while (!log.segments.empty() && log.segments.back().base >= std::max(base, offset)) log.segments.pop_back();
  while (!log.segments.empty() && log.segments.back().base > base) log.segments.pop_back();
  log.end = log.placed_end = offset;
  log.last_epoch = -1;
  if (log.segments.empty() || log.segments.back().base != base) return;
  Segment& active = log.segments.back();
  active.end = offset;
  active.size_bytes = position;
  active.index = std::make_unique<SegmentIndex>(base, position, engine_.index_interval());
}

void EngineCore::Recovery::apply_frame(const Frame& frame) {
  const FrameHeader& header = frame.header;
  auto found = replays_.find(header.shard);
  if (found == replays_.end()) {
    const bool begins = header.kind == FrameKind::create || (is_rebuilding_ && header.kind == FrameKind::append &&
                                                             header.position == 0 && header.segment_base == header.offset);
    if (!begins || header.offset < 0) return;
    Replay& replay = replays_[header.shard];
    replay.log = std::make_shared<LogState>();
    replay.log->id = header.shard;
    replay.log->start = replay.log->state_as_of = header.offset;
    cut_walk_to(replay, header.offset, header.offset, 0);
    found = replays_.find(header.shard);
  }
  Replay& replay = found->second;
  LogState& log = *replay.log;
  replay.is_touched = true;
  switch (header.kind) {
    case FrameKind::create:
    case FrameKind::touch:
      return;
    case FrameKind::append:
      if (header.offset < replay.offset && !is_rebuilding_)
        cut_walk_to(replay, header.offset, header.segment_base, header.position);
      forget_appends(replay, header.offset);
      replay.appends[header.offset] = {&frame};
      return;
    case FrameKind::truncate:
      if (header.offset < replay.offset) cut_walk_to(replay, header.offset, header.segment_base, header.position);
      forget_appends(replay, header.offset);
      if (log.state_as_of > header.offset) {
        log.replica_state = {};
        log.state_as_of = log.start;
      }
      return;
    case FrameKind::trim:
      log.start = std::max(log.start, header.offset);
      return;
    case FrameKind::seal:
      log.replica_state = frame.payload.compact();
      log.state_as_of = header.offset;
      return;
    case FrameKind::rewrite:
      return apply_rewrite(replay, frame);
    case FrameKind::remove:
      replays_.erase(found);
      return;
  }
}

// The new file was there before the frame was written. While rebuilding, the files say themselves which are the newest.
void EngineCore::Recovery::apply_rewrite(Replay& replay, const Frame& frame) {
  if (is_rebuilding_) return;
  LogState& log = *replay.log;
  const FrameHeader& header = frame.header;
  const std::optional<RewriteFacts> facts = decode_rewrite(frame.payload);
  const Segment* first = log.find(header.offset);
  const Segment* last = first && header.segment_base > header.offset ? &log.segment_at(header.segment_base - 1) : nullptr;
  if (!facts || !last || last->end != header.segment_base || last == &log.active() || header.position >= kSegmentBytesMax) {
    log.report += "the journal has a rewrite from offset " + std::to_string(header.offset) + " on of what is not there\n";
    return;
  }
  Segment made;
  made.base = header.offset;
  made.end = header.segment_base;
  made.size_bytes = header.position;
  made.max_timestamp = facts->max_timestamp;
  made.generation = facts->generation;
  made.begun_ms = engine_.core_.wall_now().ms;
  made.is_name_durable = true;
  replay.generations[made.base] = made.generation;
  static_cast<void>(log.replace(header.offset, header.segment_base, std::move(made)));
}

Task<Status> EngineCore::Recovery::write_checkpoint() {
  Checkpoint checkpoint;
  checkpoint.generation = ++engine_.checkpoint_generation_;
  checkpoint.covered_sequence = std::max(checkpoint_.covered_sequence, journal_.sequence_last);
  checkpoint.file_epoch_last = std::max(checkpoint_.file_epoch_last, journal_.file_epoch_last);
  for (const auto& [id, log] : engine_.logs_) checkpoint.logs.push_back(log->to_checkpoint());
  checkpoint_ = std::move(checkpoint);
  const std::string path(kCheckpointNewPath);
  Result<FilePtr> file = co_await wait<Result<FilePtr>>([&](auto done) { disk().open(path, {.create = true}, std::move(done)); });
  if (!file.ok()) co_return file.error();
  Status status =
      co_await run_steps(replace_checkpoint_steps(file.take(), encode_checkpoint(checkpoint_), engine_.unsafe_skip_sync()));
  if (status.ok()) engine_.metrics_.checkpoints_total += 1;
  co_return status;
}

}  // namespace robustmq::storage::segment
