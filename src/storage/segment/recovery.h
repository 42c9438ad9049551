// Recovery: from checkpoint, journal and segments to the logs as they were acknowledged.
//
// 1. The checkpoint gives each log's segments and where they were synced up to. Without a readable one every folder is taken for
// a
//    log and walked from its first segment ("rebuilding"); then nothing is removed that is not understood.
// 2. The journal's frames behind the checkpoint are applied in order: creations, trims, truncations, seals, rewrites, removals at
//    once, appends by offset; a later frame for an offset replaces those at and behind it.
// 3. Each log that a frame names is walked from where it was synced: at each offset the frame for it is taken, else what the
//    segment holds, if it continues the chain and is whole. What was taken is written again: after a failed sync the page cache
//    may show bytes that never reached the disk. The walk ends where neither continues; the rest is cut and reported.
// 4. Each walked file is synced, or, where they are many, the file system; then a new checkpoint is written; only then is the
// journal used again. Doing it twice changes
//    nothing, so a crash within it is harmless.
#pragma once

#include <coroutine>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "storage/activity.h"
#include "storage/segment/checkpoint_file.h"
#include "storage/segment/engine_core.h"

namespace robustmq::storage::segment {

class EngineCore::Recovery final : public Activity {
 public:
  Recovery(EngineCore& engine, Callback<void(Status)> done) : engine_(engine), done_(std::move(done)) {}
  runtime::Task<> run();

 private:
  struct ReplayedAppend {
    const Frame* frame = nullptr;
    Offset end = INT64_MAX;  // its batches at and past this were truncated
  };
  // What the journal says of one log.
  struct Replay {
    LogPtr log;
    std::map<Offset, ReplayedAppend> appends;
    std::map<Offset, uint32_t> generations;  // of segments' files, by base; those of other bases have none yet
    Offset offset = 0;                       // the walk begins here
    bool is_touched = false;
  };
  using Statuses = std::vector<Status>;

  runtime::Disk& disk() { return engine_.core_.disk(); }
  runtime::Task<Status> recover();
  runtime::Task<Status> run_steps(std::vector<runtime::DiskStep> steps);
  runtime::Task<Result<std::vector<runtime::FileEntry>>> list_folder(std::string path);
  runtime::Task<Status> read_checkpoint();
  runtime::Task<Status> add_folders();
  void add_checkpointed_logs();
  void look_for_gaps();
  void apply_frame(const Frame& frame);
  void apply_rewrite(Replay& replay, const Frame& frame);
  static void forget_appends(Replay& replay, Offset from);
  void cut_walk_to(Replay& replay, Offset offset, Offset base, uint64_t position);
  runtime::Task<Status> write_checkpoint();

  // The walk of one log (recovery_walk.cc).
  struct Walk;
  class Lane;
  runtime::Task<Status> walk_all();
  runtime::Task<> walk_some();
  runtime::Task<Status> walk(Replay& replay);
  runtime::Task<Status> find_files(Walk& walk);
  runtime::Task<Status> jump_to_start(Walk& walk, bool& jumped);
  runtime::Task<Status> open_active(Walk& walk);
  runtime::Task<Status> take_frame(Walk& walk, const ReplayedAppend& append, bool& taken);
  runtime::Task<Status> take_stored(Walk& walk, bool& taken);
  runtime::Task<Result<Bytes>> stored_batch(Walk& walk, Offset base, uint64_t position);
  runtime::Task<Status> place(Walk& walk, Offset base, const std::vector<Bytes>& batches);
  runtime::Task<Status> finish(Walk& walk);

  EngineCore& engine_;
  Callback<void(Status)> done_;
  Checkpoint checkpoint_;
  bool is_rebuilding_ = false;
  bool walks_all_ = false;
  JournalContents journal_;
  std::vector<ShardId> folders_;
  std::map<ShardId, Replay> replays_;
  bool syncs_at_once_ = false;
  // Walks side by side: of each log much is waiting for the disk.
  std::map<ShardId, Replay>::iterator next_walk_;
  std::vector<std::shared_ptr<Lane>> lanes_;
  size_t lanes_left_ = 0;
  std::coroutine_handle<> walked_;
  Status walk_status_;
};

}  // namespace robustmq::storage::segment
