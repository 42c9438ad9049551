// EngineCore: the segment engine's state and its dealings with the journal. Lives on its home core.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/core.h"
#include "runtime/disk.h"
#include "runtime/timer.h"
#include "storage/journal.h"
#include "storage/segment/engine.h"
#include "storage/segment/log_state.h"

namespace robustmq::storage::segment {

using LogPtr = std::shared_ptr<LogState>;

class EngineCore final : public JournalSink {
 public:
  EngineCore(runtime::Core& core, const StorageOptions& options, SegmentTestSwitches switches);
  ~EngineCore();

  void recover(Callback<void(Status)> done);     // recovery.cc
  void checkpoint(Callback<void(Status)> done);  // checkpointing.cc; one at a time, those asked meanwhile share the next
  void close(Callback<void(Status)> done);

  void open(ShardId id, const LogSettings& settings, Offset first_offset, Callback<void(Result<OpenedLog>)> done);
  void remove(ShardId id, Callback<void(Status)> done);
  std::vector<ShardId> list() const;

  // The verbs of one log.
  void append(const LogPtr& log, std::vector<Bytes> batches, bool is_behind, Callback<void(Status)> done);
  void trim(const LogPtr& log, Offset keep_from, Callback<void(Status)> done);
  void truncate(const LogPtr& log, Offset keep_until, Callback<void(Status)> done);
  void seal(const LogPtr& log, Bytes replica_state, Offset as_of, Callback<void(Status)> done);
  void retain(const LogPtr& log, WallTime now, Offset keep_from);
  void read(const LogPtr& log, Offset from, ReadLimits limits, Callback<void(Result<ReadResult>)> done);  // reading.cc
  void find(const LogPtr& log, FindWhat what, Callback<void(Result<std::optional<Found>>)> done);         // reading.cc

  void list_parts(const LogPtr& log, Callback<void(std::vector<SealedPart>)> done);  // rewriting.cc
  void rewrite(const LogPtr& log, Offset from, Offset until, Callback<void(Result<std::unique_ptr<Rewrite>>)> done);

  // Opens a segment's file, or gives it at once when it is open. `create`: with its folder where that is missing.
  void open_segment(const LogPtr& log, Offset base, bool create, Callback<void(Result<runtime::FilePtr>)> done);
  // The file when it is open: marks it as used.
  runtime::FilePtr file_if_open(Segment& segment);

  runtime::Core& core() { return core_; }
  const StorageOptions& options() const { return options_; }
  uint32_t index_interval() const { return static_cast<uint32_t>(options_.index_interval_bytes); }
  bool unsafe_skip_sync() const { return switches_.unsafe_skip_sync; }
  bool has_failed() const { return journal_.has_failed(); }
  const std::string& report() const { return report_; }
  SegmentMetrics& metrics() { return metrics_; }
  Journal& journal() { return journal_; }

  // JournalSink
  void on_round(std::vector<JournalEntry>& entries, std::vector<JournalEntry>& also) override;
  void on_done(JournalEntry& entry, const Status& status) override;
  void on_checkpoint_wanted() override { start_checkpoint(); }

 private:
  class Recovery;
  class Checkpointing;
  class Access;  // base of the activities that read segments
  class Reading;
  class Finding;
  class Locating;
  class Settling;
  class Rewriting;
  class RewriteDoor;
  struct ReadPlan;
  ReadPlan plan_read(LogState& log, Offset from, const ReadLimits& limits);

  void place(const LogPtr& log, std::vector<Bytes> batches, bool is_behind, uint32_t handle, Callback<void(Status)> done);
  bool needs_roll(const LogState& log, uint64_t bytes, Offset next) const;
  void submit_or_wait(const LogPtr& log, JournalEntry entry);
  void submit_waiting(const LogPtr& log);
  // The entry waits: what was asked before of a log that leads is not in the journal yet.
  bool is_held_back(const JournalEntry& entry);
  void release_held();
  void settle(const LogPtr& log);
  void refuse_waiting(const LogPtr& log, Code code);
  void truncate_at(const LogPtr& log, Offset base, uint64_t position, runtime::FilePtr file);
  void cut_segments(const LogPtr& log, std::vector<runtime::DiskStep> steps);
  void continue_truncation(const LogPtr& log);
  void end_truncation(const LogPtr& log, const Status& status);
  void rewind(const LogPtr& log, const JournalEntry& entry);
  void drop_below_start(const LogPtr& log);
  void close_file(Segment& segment);
  // Index files (index_file.h, indexing.cc). A short segment needs none: it is read whole at once.
  bool wants_index_file(uint64_t segment_bytes) const { return segment_bytes >= 4 * uint64_t{index_interval()}; }
  void write_index(const LogPtr& log, Segment& segment);
  void write_indexes_of_active();
  void write_indexes_of_sealed(const LogPtr& log, Offset from, Offset until);
  void distrust_index_file(const LogPtr& log, Segment& segment);
  // A sealed segment has got an index: over the limit the oldest ones of others go.
  void count_index(const LogPtr& log, const Segment& segment);
  void on_append_done(const LogPtr& log, JournalEntry& entry, const Status& status);
  void on_removed(const LogPtr& log);
  void delete_files(std::vector<std::string> paths, std::string folder);
  void delete_leftovers();
  void end_background() {
    --background_;
    finish_close_if_idle();
  }
  void keep_open(const LogPtr& log, Offset base, runtime::FilePtr file);
  JournalEntry entry_of(const LogPtr& log, FrameKind kind) const;
  uint64_t direct_bytes_min() const;
  void start_checkpoint();
  void on_checkpoint_ended(const Status& status);
  void arm_checkpoint();
  void finish_close_if_idle();
  void add_to_report(const std::string& line) { report_ += line + "\n"; }

  runtime::Core& core_;
  StorageOptions options_;
  SegmentTestSwitches switches_;
  SegmentMetrics metrics_;
  Journal journal_;
  std::map<ShardId, LogPtr> logs_;
  std::vector<LogPtr> touched_;          // since the last checkpoint was captured
  std::vector<LogPtr> leaders_waiting_;  // logs that lead whose appends may wait for a file
  std::vector<LogPtr> held_;             // logs whose appends wait for those
  List<OpenSegment> open_files_;
  size_t open_file_count_ = 0;
  // Indexes of sealed segments in the order they came, with what they weighed then.
  struct CountedIndex {
    std::weak_ptr<LogState> log;
    Offset base = 0;
    size_t bytes = 0;
  };
  std::deque<CountedIndex> indexes_;
  size_t index_bytes_ = 0;
  uint32_t handle_last_ = 0;
  std::string report_;
  std::shared_ptr<std::vector<std::string>> leftovers_ = std::make_shared<std::vector<std::string>>();  // of rewrites given up

  runtime::Timer checkpoint_timer_;
  std::shared_ptr<Checkpointing> checkpointing_;
  bool checkpoint_again_ = false;
  std::vector<Callback<void(Status)>> checkpoint_waiters_;
  std::vector<Callback<void(Status)>> next_checkpoint_waiters_;
  uint64_t checkpoint_generation_ = 0;
  uint64_t direct_bytes_since_checkpoint_ = 0;

  uint32_t background_ = 0;  // disk operations that nobody waits for
  bool is_closing_ = false;
  bool is_last_checkpoint_made_ = false;
  bool are_last_indexes_written_ = false;
  Status close_status_;
  Callback<void(Status)> close_done_;
};

}  // namespace robustmq::storage::segment
