// The conformance suite's rig: an engine on a simulated disk, and a model of what it owes. Every engine that is registered passes
// the same random operations; durable ones also restarts, crashes and disk faults.
//
// The model keeps for each log the batches issued in order, up to where they were acknowledged, and judges every answer:
// acknowledged batches are there, byte for byte and in order; what was refused never is; what is unknown may be, as a prefix.
// Deterministic: everything follows from the seed.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "runtime/sim/disk.h"
#include "runtime/sim/world.h"
#include "storage/log.h"
#include "storage/memory/memory_log.h"
#include "storage/options.h"
#include "storage/segment/engine.h"

namespace robustmq::storage::conformance {

enum class EngineKind : uint8_t { memory, segment };

struct RigOptions {
  EngineKind kind = EngineKind::segment;
  uint64_t seed = 1;
  StorageOptions storage;  // small_options() unless set otherwise
  SegmentTestSwitches switches;
  LogSettings settings;
  int batch_bytes_max = 3000;
};

StorageOptions small_options();

// One batch of one record.
Bytes make_batch(Offset offset, LeaderEpoch epoch, int64_t timestamp_ms, size_t value_bytes, uint64_t tag, int records = 1);

class Rig {
 public:
  explicit Rig(RigOptions options);
  ~Rig();

  // What was found wrong; empty when all is well.
  const std::vector<std::string>& failures() const { return failures_; }
  std::string first_failure() const { return failures_.empty() ? "" : failures_.front(); }

  runtime::sim::SimWorld& world() { return *world_; }
  runtime::sim::SimDisk& disk() { return node_->disk(); }
  runtime::sim::SimRandom& random() { return random_; }
  SegmentEngine& segment_engine() { return *segment_; }
  bool is_open() const { return engine_ != nullptr; }

  // Starts the engine; false when it refuses to start.
  bool start();
  bool close_and_start();                              // a clean restart, then everything is checked
  bool crash_and_start(runtime::sim::CrashKind kind);  // the same after a crash
  void crash(runtime::sim::CrashKind kind);
  void settle();  // until nothing is under way
  void run_a_little();

  // One random operation.
  void step();
  // Named ones, for tests that need them; logs are numbered.
  void create(int number);
  int create_next();
  void append(int number, size_t value_bytes, int batches = 1);
  void trim(int number, Offset keep_from);
  void retain(int number);
  void truncate(int number, Offset keep_until);
  void seal(int number);
  void remove(int number);
  void reopen(int number);
  void read(int number, Offset from, ReadLimits limits);
  void find_by_time(int number, int64_t timestamp_ms);
  void find_max_time(int number);
  // Two steps: writes other batches for some parts, where there are any; then, asked again, commits them.
  void rewrite(int number);
  void begin_rewrite(int number, size_t first_part, size_t parts);
  void check_all();                                  // reads everything and compares
  void forget_losses() { forgives_losses_ = true; }  // damage was planted: lost is allowed, wrong is not

  struct Issued {
    Offset base = 0;
    Offset next = 0;
    Bytes bytes;
    int64_t timestamp_ms = 0;
    uint64_t serial = 0;
  };
  // Batches that may stand in the place of those within [from, until).
  struct Range {
    Offset from = 0;
    Offset until = 0;
    std::vector<Issued> batches;
    bool empty() const { return batches.empty(); }
  };
  struct Model {
    ShardId id;
    std::unique_ptr<Log> log;
    std::unique_ptr<Rewrite> rewrite;  // before its log goes
    Range rewritten;                   // what `rewrite` brings
    bool is_adding = false;
    bool is_committing = false;
    Range replaced;  // what readers that were under way may still see
    uint64_t rewrites = 0;
    uint64_t rewriting = 0;  // the newest one begun
    bool is_opening = false;
    bool is_created = false;   // acknowledged
    bool is_removing = false;  // asked
    Offset start = 0;          // acknowledged trims
    Offset start_asked = 0;
    std::deque<Issued> issued;
    Offset end = 0;  // of what was issued
    Offset acked_end = 0;
    Offset truncating_to = -1;
    LeaderEpoch epoch = 0;
    int64_t last_timestamp_ms = 1000;
    std::vector<std::pair<Offset, std::string>> seals;  // from the newest acknowledged one on
    bool has_seal = false;                              // the first of them is acknowledged
    int under_way = 0;
  };
  Model* model(int number);
  uint64_t acked_count() const { return acked_; }
  uint64_t refused_count() const { return refused_; }
  uint64_t rewrite_count() const { return rewrites_; }

 private:
  void fail(const std::string& what);
  void open_log(int number, Model& model, bool must_exist);
  void check_opened(Model& model, const OpenedLog& opened);
  void check_read(Model& model, Offset from, const ReadLimits& limits, const ReadResult& result);
  // What is wrong with it; empty: nothing.
  std::string judge(const Model& model, const std::deque<Issued>& issued, Offset from, const ReadLimits& limits, ByteSpan bytes,
                    Offset result_next) const;
  static std::deque<Issued> with(std::deque<Issued> issued, const Range& range);
  static Range range_of(const std::deque<Issued>& issued, Offset from, Offset until);
  Range other_batches(const Model& model, Offset from, Offset until);
  void add_rewritten(int number, size_t from);
  static void close_log(Model& model) {
    model.rewrite.reset();
    model.log.reset();
  }
  void check_after_start();
  Bytes bytes_of(const Piece& piece);
  static std::optional<size_t> index_of(const std::deque<Issued>& issued, Offset offset);
  Model* random_open_model();

  RigOptions options_;
  runtime::sim::SimRandom random_;
  std::unique_ptr<runtime::sim::SimWorld> world_;
  runtime::sim::SimNode* node_ = nullptr;
  std::unique_ptr<MemoryBudget> budget_;
  std::unique_ptr<MemoryEngine> memory_;
  std::unique_ptr<SegmentEngine> segment_;
  Engine* engine_ = nullptr;
  std::map<int, Model> models_;
  std::set<ShardId> gone_;  // removed, acknowledged: never seen again
  std::vector<std::string> failures_;
  int next_number_ = 0;
  int under_way_ = 0;
  uint64_t life_ = 0;
  uint64_t serial_ = 0;
  uint64_t acked_ = 0;
  uint64_t refused_ = 0;
  uint64_t rewrites_ = 0;
  uint64_t rewrite_last_ = 0;
  bool forgives_losses_ = false;
};

}  // namespace robustmq::storage::conformance
