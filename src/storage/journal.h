// Journal: makes the appends of all logs of a disk durable with one sync a round. Lives on its home core.
//
// Entries are submitted as they come. At the end of a turn, or when the round before is done, a round takes what waits, up to
// round_bytes_max, and hands it to the disk as one run: writes of segments (page cache only), syncs of the segments that hold
// direct entries, one write of frames, one sync of the journal. One round is under way at a time.
//
// What can fail: a segment's write for want of space refuses that log's entries (storage_full; their bytes are cut off again and
// the cut synced, so they never come back); no room for a journal file refuses appends the same way, while a reserve at the end
// of the last file still takes trims and removals, which make space. Every other failure is final: the journal has failed, all
// that waits and comes is answered storage_failed, until the next start.
//
// An entry that `is_behind` a leading one waits for the round after it, and with it all of its owner that comes later: within one
// round a power cut may leave its segment's bytes and not the frames. Where a leading one is refused, so is what waits behind it.
//
// Invariants: 1. frames are written in the order of submission, but for those that wait, sequences without gaps. 2. an entry is
// answered in the order of submission among those of its owner. 3. a file is used again only after release() covered its last
// sequence.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/callback.h"
#include "base/describe.h"
#include "runtime/core.h"
#include "runtime/disk.h"
#include "storage/journal_frame.h"
#include "storage/options.h"

namespace robustmq::storage {

struct JournalMetrics {
  uint64_t rounds_total = 0;
  uint64_t entries_total = 0;
  uint64_t frames_total = 0;
  uint64_t frame_bytes_total = 0;
  uint64_t direct_entries_total = 0;
  uint64_t direct_bytes_total = 0;
  uint64_t segment_bytes_total = 0;
  uint64_t round_ns_total = 0;
  uint64_t round_ns_max = 0;
  uint64_t files_created_total = 0;
  uint64_t files_recycled_total = 0;
  uint64_t stalls_total = 0;
  uint64_t refused_full_total = 0;
  int64_t failed = 0;

  template <class V>
  static void describe(V& v) {
    using S = JournalMetrics;
    v.field("rounds_total", &S::rounds_total, {.doc = "Sync rounds."});
    v.field("entries_total", &S::entries_total, {.doc = "Appends and other changes made durable."});
    v.field("frames_total", &S::frames_total, {.doc = "Frames written to the journal."});
    v.field("frame_bytes_total", &S::frame_bytes_total, {.doc = "Bytes written to the journal.", .unit = "bytes"});
    v.field("direct_entries_total", &S::direct_entries_total, {.doc = "Appends that skipped the journal."});
    v.field("direct_bytes_total", &S::direct_bytes_total, {.doc = "Their bytes.", .unit = "bytes"});
    v.field("segment_bytes_total", &S::segment_bytes_total, {.doc = "Bytes written to segments.", .unit = "bytes"});
    v.field("round_ns_total", &S::round_ns_total, {.doc = "Time of all sync rounds.", .unit = "ns"});
    v.field("round_ns_max", &S::round_ns_max, {.doc = "Time of the longest sync round.", .unit = "ns"});
    v.field("files_created_total", &S::files_created_total, {.doc = "Journal files made."});
    v.field("files_recycled_total", &S::files_recycled_total, {.doc = "Journal files used again."});
    v.field("stalls_total", &S::stalls_total, {.doc = "Times appends waited because every journal file was in use."});
    v.field("refused_full_total", &S::refused_full_total, {.doc = "Entries refused because the disk was full."});
    v.field("failed", &S::failed, {.doc = "1 after a failed sync: nothing is taken until the next start."});
  }
};

// The end of the last file that only what makes space may fill, so that a full disk can be emptied.
constexpr uint64_t journal_reserve_bytes(uint64_t file_bytes) { return file_bytes / 8 < (64 << 10) ? file_bytes / 8 : 64 << 10; }
constexpr bool journal_frame_makes_space(FrameKind kind) {
  return kind == FrameKind::trim || kind == FrameKind::truncate || kind == FrameKind::remove || kind == FrameKind::rewrite;
}

struct JournalEntry {
  FrameKind kind = FrameKind::append;
  bool is_direct = false;  // append: no frame; the segment file is synced
  bool leads = false;      // those `is_behind` that come after it are written when it is durable
  bool is_behind = false;
  ShardId shard;
  LeaderEpoch leader_epoch = 0;
  Offset offset = 0;
  Offset segment_base = 0;
  uint64_t position = 0;
  std::vector<Bytes> payload;
  runtime::FilePtr file;                  // append: payload is written to it at `position` first
  std::vector<runtime::DiskStep> before;  // run before the frame, all required
  std::shared_ptr<void> owner;            // entries of one owner fail together when the disk is full
  uint32_t tag = 0;                       // the sink's
  uint64_t serial = 0;                    // the sink's
  Offset next_offset = 0;                 // the sink's: append: where the log ends with this entry
  Callback<void(Status)> done;            // the sink's

  uint64_t payload_bytes() const {
    uint64_t bytes = 0;
    for (const Bytes& piece : payload) bytes += piece.size();
    return bytes;
  }
};

// Who uses the journal; told on the home core.
class JournalSink {
 public:
  // The round is about to be written: entries may be changed, and further ones added to `also`, which go before them.
  virtual void on_round(std::vector<JournalEntry>& entries, std::vector<JournalEntry>& also) = 0;
  virtual void on_done(JournalEntry& entry, const Status& status) = 0;
  // A file is full or none is left: a checkpoint, then release().
  virtual void on_checkpoint_wanted() = 0;

 protected:
  ~JournalSink() = default;
};

// What load() found.
struct JournalContents {
  std::vector<Frame> frames;  // in sequence order
  uint64_t file_epoch_last = 0;
  uint64_t sequence_last = 0;
  std::string report;
};

class Journal final : public runtime::Deferred {
 public:
  Journal(runtime::Core& core, const StorageOptions& options, bool unsafe_skip_sync, JournalSink& sink);
  ~Journal();

  // First: reads all files. Frames below `sequence_min` are left out.
  void load(uint64_t sequence_min, Callback<void(Result<JournalContents>)> done);
  // Second: new epochs and sequences go on behind these. `is_covered`: what load() found is durable elsewhere and every file is
  // free; else (the disk is too full for a checkpoint) they are freed by the next release().
  void start(uint64_t file_epoch_last, uint64_t sequence_last, bool is_covered);

  void submit(JournalEntry entry);
  // Runs `work` when no round is under way, before the next begins: what was answered then is all that is durable.
  // `covered`: every frame up to this sequence was answered.
  void at_boundary(Callback<void(uint64_t covered)> work);
  // All frames up to `sequence` are durable elsewhere.
  void release(uint64_t sequence);
  // No checkpoint can be made for want of space: what waits for a file is refused.
  void refuse_stalled();
  bool is_idle() const { return !round_is_under_way_ && queue_.empty(); }
  bool has_failed() const { return has_failed_; }
  // A sync failed outside a round.
  void fail();

  uint64_t sequence_next() const { return sequence_next_; }
  uint64_t live_bytes() const;  // in files not released
  JournalMetrics& metrics() { return metrics_; }
  const JournalMetrics& metrics() const { return metrics_; }

  void run_deferred() override;

 private:
  enum class Use : uint8_t { free, current, full };
  struct JournalFile {
    std::string path;
    runtime::FilePtr file;
    Use use = Use::free;
    JournalFileHeader header;
    uint64_t position = 0;
    uint64_t last_sequence = 0;
    bool was_used = false;
  };
  class Loading;
  // What a round holds; lives from its start to its answers.
  struct Round {
    struct Part {
      JournalEntry entry;
      bool is_prepared = false;  // its writes and steps before the frame are done
      Status refused;
    };
    std::vector<Part> parts;
    std::vector<size_t> first_part_of_step;  // of the segment writes; SIZE_MAX for other steps
    size_t steps_before_frames = 0;
    uint64_t frame_bytes = 0;
    uint64_t sequence_next = 0;
    uint64_t position_next = 0;
    Instant began{};
  };

  void start_round();
  bool find_room();  // for the first entry that waits
  bool has_room() const;
  uint64_t room_for(const JournalEntry& entry) const;
  JournalFile* free_file() const;
  void use_file(JournalFile& file);
  void make_file();
  void on_file_made(std::unique_ptr<JournalFile> file, const std::vector<Status>& statuses);
  void refuse_waiting();
  void run_round();
  void add_frames(std::vector<runtime::DiskStep>& steps);
  void on_round_run(const std::vector<Status>& statuses);
  void refuse_owner_of(size_t part);
  std::vector<JournalEntry> take_refused();
  void finish_round();
  void answer(JournalEntry& entry, const Status& status);
  void fail_all();
  void run_boundary_work();

  runtime::Core& core_;
  StorageOptions options_;
  bool unsafe_skip_sync_;
  JournalSink& sink_;
  JournalMetrics metrics_;
  std::vector<std::unique_ptr<JournalFile>> files_;
  std::vector<std::unique_ptr<JournalFile>> unfit_;
  JournalFile* current_ = nullptr;
  std::deque<JournalEntry> queue_;
  Round round_;
  bool round_is_under_way_ = false;
  bool is_started_ = false;
  bool is_making_file_ = false;
  bool header_is_due_ = false;  // of current_
  bool has_failed_ = false;
  uint64_t file_epoch_next_ = 1;
  uint64_t sequence_next_ = 1;
  uint32_t file_number_next_ = 0;
  std::vector<Callback<void(uint64_t)>> boundary_work_;
};

}  // namespace robustmq::storage
