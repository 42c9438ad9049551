// Recovery: the walk of one log along its chain.
#include <algorithm>
#include <set>
#include <utility>

#include "storage/segment/batch_walker.h"
#include "storage/segment/checkpointing.h"
#include "storage/segment/recovery.h"

namespace robustmq::storage::segment {

using runtime::DiskStep;
using runtime::FileEntry;
using runtime::FilePtr;
using runtime::Task;

namespace {
constexpr uint64_t kWindowBytes = 256 << 10;
constexpr size_t kWalkStepsPerRun = 64;
constexpr uint64_t kBytesPerRun = 4 << 20;
constexpr size_t kLanes = 8;
}  // namespace

struct EngineCore::Recovery::Walk {
  Replay& replay;
  LogState& log;
  struct File {
    uint64_t size = 0;
    uint32_t generation = 0;
  };
  std::map<Offset, File> files;     // by base
  std::vector<std::string> others;  // names: not of the chain
  Offset window_base = -1;          // what was read last, of which file and from where
  uint64_t window_position = 0;
  Bytes window;
  FilePtr active;
  Offset active_base = -1;
  std::vector<FilePtr> to_sync;
  std::vector<DiskStep> writes;
  uint64_t write_bytes = 0;
};

// Owned by the recovery: what a lane waits for keeps that alive.
class EngineCore::Recovery::Lane final : public Activity {
 public:
  explicit Lane(Recovery& recovery) : recovery_(recovery) {}
  Task<> run() {
    co_await recovery_.walk_some();
    if (--recovery_.lanes_left_ == 0 && recovery_.walked_) recovery_.walked_.resume();
  }

 private:
  Recovery& recovery_;
};

Task<Status> EngineCore::Recovery::walk_all() {
  const auto walks =
      std::count_if(replays_.begin(), replays_.end(), [&](const auto& one) { return one.second.is_touched || walks_all_; });
  syncs_at_once_ = static_cast<size_t>(walks) > kSyncEachMax;
  next_walk_ = replays_.begin();
  lanes_left_ = kLanes;
  for (size_t i = 0; i < kLanes; ++i) {
    lanes_.push_back(std::make_shared<Lane>(*this));
    lanes_.back()->start(lanes_.back()->run());
  }
  struct Walked {
    Recovery& recovery;
    bool await_ready() const { return recovery.lanes_left_ == 0; }
    void await_suspend(std::coroutine_handle<> waiter) { recovery.walked_ = waiter; }
    void await_resume() {}
  };
  co_await Walked{*this};
  if (walk_status_.ok() && syncs_at_once_ && !engine_.unsafe_skip_sync()) {
    std::vector<DiskStep> sync;
    sync.push_back(DiskStep::sync_all());
    walk_status_ = co_await run_steps(std::move(sync));
  }
  co_return walk_status_;
}

Task<> EngineCore::Recovery::walk_some() {
  while (walk_status_.ok() && next_walk_ != replays_.end()) {
    Replay& replay = (next_walk_++)->second;
    if (!replay.is_touched && !walks_all_) continue;
    Status status = co_await walk(replay);
    if (!status.ok()) walk_status_ = std::move(status);
  }
}

Task<Status> EngineCore::Recovery::walk(Replay& replay) {
  Walk walk{replay, *replay.log};
  LogState& log = walk.log;
  Status status = co_await find_files(walk);
  if (!status.ok()) co_return status;
  while (true) {
    bool taken = false;
    // While rebuilding, frames may be older than a file that another one follows: that file may have been rewritten since.
    const bool is_file_newer = is_rebuilding_ && walk.files.upper_bound(log.placed_end) != walk.files.end();
    if (is_file_newer) {
      status = co_await take_stored(walk, taken);
      if (!status.ok()) co_return status;
    }
    auto frame = replay.appends.find(log.placed_end);
    if (!taken && frame != replay.appends.end()) {
      status = co_await take_frame(walk, frame->second, taken);
      if (!status.ok()) co_return status;
    }
    if (!taken && !is_file_newer) {
      status = co_await take_stored(walk, taken);
      if (!status.ok()) co_return status;
    }
    if (!taken) {
      status = co_await jump_to_start(walk, taken);
      if (!status.ok()) co_return status;
    }
    if (taken) continue;
    // While rebuilding, damage within a segment that is not the last is left where it is: a read reports it.
    auto next_file = walk.files.upper_bound(log.placed_end);
    if (!is_rebuilding_ || log.segments.empty() || next_file == walk.files.end()) break;
    Segment& damaged = log.segments.back();
    const uint64_t size = std::min(walk.files[damaged.base].size, kSegmentBytesMax);
    if (size <= damaged.size_bytes) break;
    damaged.index->add(log.placed_end, size - damaged.size_bytes, -1, false);
    damaged.size_bytes = size;
    damaged.end = log.placed_end = next_file->first;
  }
  status = co_await finish(walk);
  co_return status;
}

// Segments below the start were deleted since the checkpoint: the walk goes on at the one that holds the start, which is the last
// that begins with a batch of its name's offset.
Task<Status> EngineCore::Recovery::jump_to_start(Walk& walk, bool& jumped) {
  LogState& log = walk.log;
  if (log.placed_end >= log.start) co_return Status();
  std::set<Offset> candidates;
  for (const auto& [base, file] : walk.files) candidates.insert(base);
  for (const auto& [offset, append] : walk.replay.appends) candidates.insert(offset);
  for (auto at = candidates.upper_bound(log.start); at != candidates.begin();) {
    const Offset base = *--at;
    if (base <= log.placed_end) break;
    auto frame = walk.replay.appends.find(base);
    jumped = frame != walk.replay.appends.end() && frame->second.frame->header.position == 0;
    if (!jumped) {
      Result<Bytes> batch = co_await stored_batch(walk, base, 0);
      if (!batch.ok()) co_return batch.error();
      jumped = !batch->empty() && BatchView(*batch).base_offset() == base;
    }
    if (!jumped) continue;
    log.segments.clear();
    log.placed_end = base;
    break;
  }
  co_return Status();
}

Task<Status> EngineCore::Recovery::find_files(Walk& walk) {
  Result<std::vector<FileEntry>> entries = co_await list_folder(walk.log.folder());
  if (!entries.ok()) co_return entries.error();
  walk.log.has_folder = !entries->empty();
  for (const FileEntry& entry : *entries) {
    const std::optional<SegmentFile> file = parse_file_name(entry.name);
    if (!file || file->kind == SegmentFile::Kind::index) continue;
    if (file->kind == SegmentFile::Kind::unfinished) {
      walk.others.push_back(entry.name);
      continue;
    }
    // Which file is the segment, the checkpoint and the journal say; without them it is the newest.
    const auto known = walk.replay.generations.find(file->base);
    const uint32_t expected = known == walk.replay.generations.end() ? 0 : known->second;
    const auto there = walk.files.find(file->base);
    const bool is_older = there != walk.files.end() && there->second.generation > file->generation;
    const bool is_other = is_rebuilding_ ? is_older : file->generation != expected;
    if (is_other) {
      walk.others.push_back(entry.name);
      continue;
    }
    if (there != walk.files.end()) walk.others.push_back(segment_file_name(file->base, there->second.generation));
    walk.files[file->base] = {entry.size, file->generation};
  }
  for (const Segment& segment : walk.log.segments) {
    if (walk.files.contains(segment.base) || segment.size_bytes == 0 || segment.end <= walk.log.start) continue;
    walk.log.report += walk.log.path_of(segment) + " is missing\n";
  }
  co_return Status();
}

Task<Status> EngineCore::Recovery::open_active(Walk& walk) {
  const Offset base = walk.log.active().base;
  if (walk.active && walk.active_base == base) co_return Status();
  if (!walk.log.has_folder) {
    std::vector<DiskStep> make;
    make.push_back(DiskStep::make_directory(walk.log.folder()));
    Status made = co_await run_steps(std::move(make));
    if (!made.ok()) co_return made;
    walk.log.has_folder = true;
  }
  const std::string path = walk.log.path_of(walk.log.active());
  Result<FilePtr> file = co_await wait<Result<FilePtr>>([&](auto done) { disk().open(path, {.create = true}, std::move(done)); });
  if (!file.ok()) co_return file.error();
  walk.active = file.take();
  walk.active_base = base;
  if (!syncs_at_once_) walk.to_sync.push_back(walk.active);
  walk.files.insert({base, {0, walk.log.active().generation}});
  co_return Status();
}

// A frame is taken when its batches are whole and continue the chain at the place where they were written.
Task<Status> EngineCore::Recovery::take_frame(Walk& walk, const ReplayedAppend& append, bool& taken) {
  LogState& log = walk.log;
  const Frame& frame = *append.frame;
  const FrameHeader& header = frame.header;
  const bool begins_segment = header.position == 0 && header.segment_base == log.placed_end;
  const bool continues =
      !log.segments.empty() && header.segment_base == log.active().base && header.position == log.active().size_bytes;
  if (!begins_segment && !continues) co_return Status();
  std::vector<Bytes> batches;
  Offset expected = log.placed_end;
  LeaderEpoch epoch = log.last_epoch;
  for (size_t at = 0; at < frame.payload.size();) {
    const size_t size = whole_batch_size(frame.payload.span().subspan(at));
    if (size == 0) co_return Status();
    Bytes batch = frame.payload.slice(at, size);
    const BatchView view(batch);
    if (!is_whole_batch(batch) || view.base_offset() != expected || view.leader_epoch() < epoch) co_return Status();
    if (view.base_offset() >= append.end) break;
    expected = view.next_offset();
    epoch = view.leader_epoch();
    batches.push_back(std::move(batch));
    at += size;
  }
  if (batches.empty()) co_return Status();
  taken = true;
  Status status = co_await place(walk, header.segment_base, batches);
  co_return status;
}

Task<Status> EngineCore::Recovery::take_stored(Walk& walk, bool& taken) {
  LogState& log = walk.log;
  std::vector<std::pair<Offset, uint64_t>> places;
  if (!log.segments.empty()) places.emplace_back(log.active().base, log.active().size_bytes);
  if (log.segments.empty() || log.active().base != log.placed_end) places.emplace_back(log.placed_end, 0);
  for (auto [base, position] : places) {
    Result<Bytes> batch = co_await stored_batch(walk, base, position);
    if (!batch.ok()) co_return batch.error();
    if (batch->empty()) continue;
    const BatchView view(*batch);
    if (view.base_offset() != log.placed_end || view.leader_epoch() < log.last_epoch) continue;
    taken = true;
    std::vector<Bytes> batches;
    batches.push_back(batch.take());
    Status status = co_await place(walk, base, batches);
    co_return status;
  }
  co_return Status();
}

// The whole batch stored at this place; empty when there is none.
Task<Result<Bytes>> EngineCore::Recovery::stored_batch(Walk& walk, Offset base, uint64_t position) {
  auto file_size = walk.files.find(base);
  if (file_size == walk.files.end() || position + kBatchHeaderBytes > file_size->second.size || position >= kSegmentBytesMax) {
    co_return Bytes();
  }
  const uint64_t file_bytes = file_size->second.size;
  uint64_t wanted = kWindowBytes;
  for (int tries = 0; tries < 2; ++tries) {
    const bool is_in_window = walk.window_base == base && position >= walk.window_position &&
                              position + kBatchHeaderBytes <= walk.window_position + walk.window.size();
    if (is_in_window) {
      const ByteSpan rest = walk.window.span().subspan(position - walk.window_position);
      const std::optional<size_t> size = BatchView::size_at(rest);
      if (!size || *size < kBatchHeaderBytes || position + *size > file_bytes) co_return Bytes();
      if (*size <= rest.size()) {
        if (!is_whole_batch(rest.first(*size))) co_return Bytes();
        co_return walk.window.slice(position - walk.window_position, *size);
      }
      wanted = std::max<uint64_t>(wanted, *size);
    }
    const std::string path = walk.log.folder() + "/" + segment_file_name(base, file_size->second.generation);
    Result<FilePtr> file = co_await wait<Result<FilePtr>>([&](auto done) { disk().open(path, {}, std::move(done)); });
    if (!file.ok()) co_return file.error();
    const uint64_t size = std::min(wanted, file_bytes - position);
    Result<Bytes> bytes = co_await wait<Result<Bytes>>(
        [&](auto done) { disk().read(*file, position, static_cast<size_t>(size), std::move(done)); });
    if (!bytes.ok()) co_return bytes.error();
    walk.window_base = base;
    walk.window_position = position;
    walk.window = bytes.take();
  }
  // Read twice: the second time as long as the batch says, or the first window was already there.
  if (walk.window.size() < kBatchHeaderBytes) co_return Bytes();
  const size_t size = whole_batch_size(walk.window);
  if (size == 0 || !is_whole_batch(walk.window.span().first(size))) co_return Bytes();
  co_return walk.window.slice(0, size);
}

Task<Status> EngineCore::Recovery::place(Walk& walk, Offset base, const std::vector<Bytes>& batches) {
  LogState& log = walk.log;
  if (log.segments.empty() || log.active().base != base) {
    log.roll(engine_.core_.wall_now().ms, engine_.index_interval());
    if (const auto file = walk.files.find(base); file != walk.files.end()) {
      log.active().generation = file->second.generation;
    } else if (const auto known = walk.replay.generations.find(base); known != walk.replay.generations.end()) {
      log.active().generation = known->second;
    }
  }
  Segment& active = log.active();
  Status opened = co_await open_active(walk);
  if (!opened.ok()) co_return opened;
  for (const Bytes& batch : batches) {
    const BatchView view(batch);
    walk.writes.push_back(DiskStep::write(walk.active, active.size_bytes, {batch}));
    walk.write_bytes += batch.size();
    active.index->add(view.base_offset(), batch.size(), view.max_timestamp(), true);
    active.max_timestamp = std::max(active.max_timestamp, view.max_timestamp());
    active.size_bytes += batch.size();
    active.end = log.placed_end = view.next_offset();
    log.last_epoch = view.leader_epoch();
    engine_.metrics_.recovered_batches_total += 1;
  }
  if (walk.writes.size() >= kWalkStepsPerRun || walk.write_bytes >= kBytesPerRun) {
    walk.write_bytes = 0;
    Status written = co_await run_steps(std::exchange(walk.writes, {}));
    co_return written;
  }
  co_return Status();
}

// Cuts what lies behind the end, removes files that are not of the chain, syncs.
Task<Status> EngineCore::Recovery::finish(Walk& walk) {
  LogState& log = walk.log;
  uint64_t cut = 0;
  std::vector<DiskStep> steps = std::exchange(walk.writes, {});
  if (log.placed_end < log.start) {
    log.report += "the log ended at " + std::to_string(log.placed_end) + ", below its start " + std::to_string(log.start) + "\n";
    log.segments.clear();
    log.placed_end = log.start;
  }
  if (!log.segments.empty()) {
    const Segment& active = log.active();
    auto file = walk.files.find(active.base);
    if (file != walk.files.end() && file->second.size > active.size_bytes) {
      cut += file->second.size - active.size_bytes;
      Status opened = co_await open_active(walk);
      if (!opened.ok()) co_return opened;
      steps.push_back(DiskStep::truncate(walk.active, active.size_bytes));
    }
  }
  const std::string folder = log.folder() + "/";
  // What an index file says of a segment that goes on, or went, may be of another state of it.
  for (const auto& [base, file] : walk.files) {
    if (base < walk.replay.offset && log.find(base) && base != log.active().base) continue;
    steps.push_back(DiskStep::remove(folder + file_name_of({SegmentFile::Kind::index, base, file.generation})));
    steps.back().required = false;
  }
  bool removes = false;
  for (const auto& [base, file] : walk.files) {
    if (log.find(base)) continue;
    if (base >= log.start) cut += file.size;
    walk.others.push_back(segment_file_name(base, file.generation));
  }
  for (const std::string& name : walk.others) {
    steps.push_back(DiskStep::remove(folder + name));
    steps.back().required = false;
    removes = true;
  }
  if (cut > 0) {
    engine_.metrics_.cut_bytes_total += cut;
    log.report += "cut " + std::to_string(cut) + " bytes behind offset " + std::to_string(log.placed_end) + "\n";
  }
  if (auto behind = walk.replay.appends.lower_bound(log.placed_end); behind != walk.replay.appends.end()) {
    log.report += "the journal goes on at offset " + std::to_string(behind->first) + " but nothing leads there from " +
                  std::to_string(log.placed_end) + "\n";
  }
  if (!engine_.unsafe_skip_sync() && !syncs_at_once_) {
    for (FilePtr& file : walk.to_sync) steps.push_back(DiskStep::sync(std::move(file)));
    if (!walk.to_sync.empty() || removes) {
      steps.push_back(DiskStep::sync_directory(log.folder()));
      steps.push_back(DiskStep::sync_directory(std::string(kLogsFolder)));
    }
  }
  if (!steps.empty()) {
    // Removals may find nothing.
    Statuses statuses = co_await wait<Statuses>([&](auto done) { disk().run(std::move(steps), std::move(done)); });
    for (const Status& status : statuses) {
      if (!status.ok() && status.code() != Code::not_found) co_return status;
    }
  }
  log.end = log.durable = log.durable_base = log.placed_end;
  log.durable_position = 0;
  log.durable_epoch = log.last_epoch;
  if (log.state_as_of > log.end) {
    log.replica_state = {};
    log.state_as_of = log.start;
  }
  if (!log.segments.empty()) {
    log.durable_base = log.active().base;
    log.durable_position = log.active().size_bytes;
    for (Segment& segment : log.segments) segment.is_name_durable = true;
  }
  log.start_durable = log.start;
  log.is_settled = true;
  static_cast<void>(log.take_below_start());
  if (!log.report.empty()) engine_.report_ += log.folder() + ": " + log.report;
  co_return Status();
}

}  // namespace robustmq::storage::segment
