// SegmentEngine: durable logs in segment files, made durable by one journal (storage/journal.h). Lives on its home core.
//
// Layout of the data directory:
//   journal/<8 digits>.jnl                        recycled files, see storage/journal_frame.h
//   checkpoint                                    which logs there are and up to where their segments are synced (checkpoint.h)
//   logs/<topic id, 32 hex digits>-<partition>/<base offset, 20 digits>.log    batches back to back
//                                             /<base offset, 20 digits>.idx    index of a sealed segment, see index_file.h
//                                             /<base>-<generation>.log, .idx   the same after compaction, see rewriting.h
//
// An append is written to its segment (not synced), then to the journal, which is synced: a full disk refuses the append before
// the journal knows of it. Appends of `direct_bytes_min` and more skip the journal and sync their segment in the same round.
// Creating, trimming, truncating, sealing and removing a log are journal frames too.
//
// Recovery: the checkpoint, then every journal frame behind it in order, then each log that a frame names is walked from its
// checkpointed position: a batch begins where the last ended, its CRC is right, epochs do not fall; the journal's frame for an
// offset goes before what the segment holds. Where neither continues, the log ends; what lay behind is cut and reported. What was
// accepted is written again and synced, and a new checkpoint is made, before anything is served.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/describe.h"
#include "runtime/core.h"
#include "storage/journal.h"
#include "storage/log.h"
#include "storage/options.h"

namespace robustmq::storage {

struct SegmentMetrics {
  uint64_t recovered_batches_total = 0;
  uint64_t cut_bytes_total = 0;
  uint64_t corrupt_batches_total = 0;
  uint64_t retention_segments_total = 0;
  uint64_t retention_bytes_total = 0;
  uint64_t appends_refused_full_total = 0;
  uint64_t read_copied_bytes_total = 0;
  uint64_t read_stored_bytes_total = 0;
  uint64_t scanned_bytes_total = 0;
  uint64_t verified_bytes_total = 0;
  uint64_t index_files_read_total = 0;
  uint64_t index_files_wrong_total = 0;
  uint64_t rewrites_total = 0;
  uint64_t rewrite_read_bytes_total = 0;
  uint64_t rewrite_kept_bytes_total = 0;
  uint64_t checkpoints_total = 0;
  uint64_t checkpoint_failures_total = 0;

  template <class V>
  static void describe(V& v) {
    using S = SegmentMetrics;
    v.field("recovered_batches_total", &S::recovered_batches_total, {.doc = "Batches behind the checkpoint accepted at start."});
    v.field("cut_bytes_total", &S::cut_bytes_total,
            {.doc = "Bytes cut at start because they did not continue their log.", .unit = "bytes"});
    v.field("corrupt_batches_total", &S::corrupt_batches_total, {.doc = "Reads that met a damaged batch."});
    v.field("retention_segments_total", &S::retention_segments_total, {.doc = "Segments dropped by retention."});
    v.field("retention_bytes_total", &S::retention_bytes_total, {.doc = "Bytes dropped by retention.", .unit = "bytes"});
    v.field("appends_refused_full_total", &S::appends_refused_full_total, {.doc = "Appends refused because the disk was full."});
    v.field("read_copied_bytes_total", &S::read_copied_bytes_total,
            {.doc = "Bytes read into user memory for readers.", .unit = "bytes"});
    v.field("read_stored_bytes_total", &S::read_stored_bytes_total,
            {.doc = "Bytes given to readers as ranges of files.", .unit = "bytes"});
    v.field("scanned_bytes_total", &S::scanned_bytes_total,
            {.doc = "Bytes of segments read because they had no index.", .unit = "bytes"});
    v.field("verified_bytes_total", &S::verified_bytes_total,
            {.doc = "Bytes verified at their first read after a start.", .unit = "bytes"});
    v.field("index_files_read_total", &S::index_files_read_total, {.doc = "Indexes of segments taken from their files."});
    v.field("index_files_wrong_total", &S::index_files_wrong_total,
            {.doc = "Index files that were damaged or of another state; the index is made again."});
    v.field("rewrites_total", &S::rewrites_total, {.doc = "Segments that compaction put in the place of others."});
    v.field("rewrite_read_bytes_total", &S::rewrite_read_bytes_total, {.doc = "Bytes of those others.", .unit = "bytes"});
    v.field("rewrite_kept_bytes_total", &S::rewrite_kept_bytes_total,
            {.doc = "Bytes of what came in their place.", .unit = "bytes"});
    v.field("checkpoints_total", &S::checkpoints_total, {.doc = "Checkpoints made."});
    v.field("checkpoint_failures_total", &S::checkpoint_failures_total, {.doc = "Checkpoints that failed, as on a full disk."});
  }
};

// For tests only; not options.
struct SegmentTestSwitches {
  bool unsafe_skip_sync = false;  // acknowledges without syncing: what a power cut must show to be wrong
};

namespace segment {
class EngineCore;
}

// Invariant: whoever destroys it first waits for close(), or the node has crashed (simulation), so no completion comes later.
class SegmentEngine final : public Engine {
 public:
  // Makes or recovers everything under the node's data directory. Errors: storage_full, storage_failed.
  static void open(runtime::Core& core, const StorageOptions& options, SegmentTestSwitches switches,
                   Callback<void(Result<std::unique_ptr<SegmentEngine>>)> done);
  ~SegmentEngine() override;

  EngineTraits traits() const override { return {"segment", true}; }
  void open(ShardId id, const LogSettings& settings, Offset first_offset, Callback<void(Result<OpenedLog>)> done) override;
  std::vector<ShardId> list() const override;
  void remove(ShardId id, Callback<void(Status)> done) override;

  // Ends: finishes what was asked before, makes a last checkpoint. What is asked afterwards is refused with shutting_down.
  void close(Callback<void(Status)> done);
  // Makes a checkpoint now (admin, tests).
  void checkpoint(Callback<void(Status)> done);
  // True after a failed sync: no append succeeds until the next start.
  bool has_failed() const;
  // What recovery cut or found damaged, one line each; empty when nothing.
  const std::string& report() const;
  // The logs that the start found; never changes, so other cores may read it.
  const std::vector<ShardId>& listed_at_start() const { return listed_at_start_; }
  runtime::Core& core() const;  // its home
  const SegmentMetrics& metrics() const;
  const JournalMetrics& journal_metrics() const;

 private:
  explicit SegmentEngine(std::unique_ptr<segment::EngineCore> core);
  std::unique_ptr<segment::EngineCore> core_;
  std::vector<ShardId> listed_at_start_;
};

// The same engine as seen from another core: calls go to the engine's home core and answers come back, those of one turn
// together. Made on `core` and lives there; it and its logs are destroyed before the engine closes, with no call under way. Its
// logs mirror their bounds; its list() knows what was there at the start and what was opened through it.
std::unique_ptr<Engine> make_remote_engine(runtime::Core& core, CoreIndex home, SegmentEngine& engine);

}  // namespace robustmq::storage
