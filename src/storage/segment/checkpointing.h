// Checkpointing: syncs what segments hold, writes the checkpoint, then frees journal files.
#pragma once

#include <string>
#include <vector>

#include "storage/activity.h"
#include "storage/segment/checkpoint_file.h"
#include "storage/segment/engine_core.h"

namespace robustmq::storage::segment {

constexpr std::string_view kCheckpointPath = "checkpoint";
constexpr std::string_view kCheckpointNewPath = "checkpoint.new";

// One checkpoint, captured between two rounds of the journal: what was answered by then is all that is durable.
class EngineCore::Checkpointing final : public Activity {
 public:
  explicit Checkpointing(EngineCore& engine) : engine_(engine) {}
  runtime::Task<> run();

 private:
  struct Dirty {
    LogPtr log;
    Offset base = 0;
    bool is_name_due = false;
  };
  // Up to where a log's segments do not change any more, and are in this checkpoint.
  struct Sealed {
    LogPtr log;
    Offset base = 0;
    uint32_t truncations = 0;
  };
  uint64_t capture(uint64_t covered);
  runtime::Task<Status> sync_segments();
  runtime::Task<Status> run_steps(std::vector<runtime::DiskStep> steps);
  void put_back();

  EngineCore& engine_;
  Checkpoint checkpoint_;
  std::vector<Dirty> dirty_;
  std::vector<Sealed> sealed_;
};

// Where more files are to be synced, the file system is as a whole (DiskStep::sync_all): one wait in place of as many.
constexpr size_t kSyncEachMax = 256;

// The steps that put `encoded` in the place of the checkpoint.
std::vector<runtime::DiskStep> replace_checkpoint_steps(runtime::FilePtr new_file, Bytes encoded, bool skip_sync);

}  // namespace robustmq::storage::segment
