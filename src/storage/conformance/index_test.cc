// Index files: the first read after a start verifies only what it reads; a file that is missing, damaged or of another state of
// its segment costs a longer read and nothing else.
#include <gtest/gtest.h>

#include "storage/conformance/rig.h"

namespace robustmq::storage::conformance {
namespace {

constexpr uint64_t kSegmentBytes = 1 << 20;
constexpr int kBatches = 2500;  // of about 1,000 bytes: two sealed segments and an active one

class ColdRig {
 public:
  ColdRig() : world_({.seed = 7}), node_(world_.add_node({.cores = 1})) {
    options_.journal_file_bytes = 1 << 20;
    options_.journal_files_max = 16;
    options_.index_interval_bytes = 1024;
    start();
    LogSettings settings;
    settings.segment_bytes = kSegmentBytes;
    open(settings);
    for (int i = 0; i < kBatches; ++i) {
      log_->append({make_batch(i, 0, 1000 + i, 900, 1)}, [&](Status status) { acked_ += status.ok() ? 1 : 0; });
      if (i % 50 == 0) world_.run_for(Duration::millis(2));
    }
    world_.run_until([&] { return acked_ == kBatches; }, Duration::seconds(10));
    EXPECT_EQ(acked_, kBatches);
  }
  ~ColdRig() { node_.crash(runtime::sim::CrashKind::process); }

  void start() {
    bool is_there = false;
    SegmentEngine::open(node_.core(0), options_, {}, [&](Result<std::unique_ptr<SegmentEngine>> made) {
      ASSERT_TRUE(made.ok());
      engine_ = made.take();
      is_there = true;
    });
    ASSERT_TRUE(world_.run_until([&] { return is_there; }, Duration::seconds(10)));
  }
  void open(const LogSettings& settings = {}) {
    bool is_there = false;
    engine_->open(id_, settings, 0, [&](Result<OpenedLog> opened) {
      ASSERT_TRUE(opened.ok());
      log_ = std::move(opened->log);
      is_there = true;
    });
    ASSERT_TRUE(world_.run_until([&] { return is_there; }, Duration::seconds(10)));
  }
  void restart() {
    log_.reset();
    bool is_closed = false;
    engine_->close([&](Status status) {
      EXPECT_TRUE(status.ok());
      is_closed = true;
    });
    ASSERT_TRUE(world_.run_until([&] { return is_closed; }, Duration::seconds(10)));
    engine_.reset();
    start();
    open();
  }
  Result<ReadResult> read(Offset from, uint64_t bytes_max = 8192) {
    std::optional<Result<ReadResult>> answer;
    log_->read(from, {.bytes_max = bytes_max}, [&](Result<ReadResult> result) { answer = std::move(result); });
    EXPECT_TRUE(world_.run_until([&] { return answer.has_value(); }, Duration::seconds(10)));
    return answer ? std::move(*answer) : Result<ReadResult>(Code::internal);
  }
  // Reads all from here on; how many batches came, in order.
  int read_all(Offset from) {
    int count = 0;
    while (from < kBatches) {
      Result<ReadResult> result = read(from, 100'000);
      if (!result.ok() || result->next <= from) break;
      count += static_cast<int>(result->next - from);
      from = result->next;
    }
    return count;
  }
  std::string index_path(int number) {
    std::vector<std::string> paths;
    for (const std::string& path : node_.disk().file_paths()) {
      if (path.ends_with(".idx")) paths.push_back(path);
    }
    EXPECT_GT(paths.size(), static_cast<size_t>(number));
    return paths.size() > static_cast<size_t>(number) ? paths[static_cast<size_t>(number)] : "";
  }
  std::string segment_path(int number) {
    std::string path = index_path(number);
    return path.substr(0, path.size() - 4) + ".log";
  }
  const SegmentMetrics& metrics() { return engine_->metrics(); }

  StorageOptions options_;
  runtime::sim::SimWorld world_;
  runtime::sim::SimNode& node_;
  std::unique_ptr<SegmentEngine> engine_;
  std::unique_ptr<Log> log_;
  ShardId id_{Uuid::random(1, 2), 3};
  int acked_ = 0;
};

TEST(IndexFile, AColdFirstReadOfALargeSealedSegmentVerifiesOnlyWhatItReads) {
  ColdRig rig;
  rig.restart();
  const Result<ReadResult> read = rig.read(500);
  ASSERT_TRUE(read.ok());
  EXPECT_GT(read->next, 500);
  EXPECT_EQ(rig.metrics().scanned_bytes_total, 0u);
  EXPECT_GT(rig.metrics().verified_bytes_total, 0u);
  EXPECT_LE(rig.metrics().verified_bytes_total, 3 * 8192u);
  EXPECT_EQ(rig.metrics().index_files_read_total, 1u);
  // The second time nothing is verified again.
  const uint64_t verified = rig.metrics().verified_bytes_total;
  EXPECT_TRUE(rig.read(500).ok());
  EXPECT_EQ(rig.metrics().verified_bytes_total, verified);
}

TEST(IndexFile, EverythingIsReadAndVerifiedOnce) {
  ColdRig rig;
  rig.restart();
  EXPECT_EQ(rig.read_all(0), kBatches);
  EXPECT_EQ(rig.metrics().scanned_bytes_total, 0u);
  EXPECT_EQ(rig.metrics().corrupt_batches_total, 0u);
  const uint64_t verified = rig.metrics().verified_bytes_total;
  EXPECT_EQ(verified, rig.log_->bounds().size_bytes);
  EXPECT_EQ(rig.read_all(0), kBatches);
  EXPECT_EQ(rig.metrics().verified_bytes_total, verified);
}

TEST(IndexFile, AMissingOrDamagedOneIsMadeAgain) {
  for (const bool is_missing : {true, false}) {
    ColdRig rig;
    rig.restart();
    if (is_missing)
      rig.node_.disk().erase(rig.index_path(0));
    else
      rig.node_.disk().flip_bit(rig.index_path(0), 1003);
    EXPECT_EQ(rig.read_all(0), kBatches);
    EXPECT_GT(rig.metrics().scanned_bytes_total, 0u);
    EXPECT_EQ(rig.metrics().index_files_wrong_total, is_missing ? 0u : 1u);
    EXPECT_EQ(rig.metrics().corrupt_batches_total, 0u);
    rig.restart();
    EXPECT_EQ(rig.read_all(0), kBatches);
    EXPECT_EQ(rig.metrics().scanned_bytes_total, 0u);
  }
}

TEST(IndexFile, ADamagedBatchBehindARightIndexIsNotServed) {
  ColdRig rig;
  rig.restart();
  rig.node_.disk().flip_bit(rig.segment_path(0), 8 * (kSegmentBytes / 2));
  const Offset stopped = rig.read_all(0);
  EXPECT_GT(stopped, 400);
  EXPECT_LT(stopped, 700);
  EXPECT_EQ(rig.read(stopped).code(), Code::corrupt_storage);
  EXPECT_GT(rig.metrics().corrupt_batches_total, 0u);
  EXPECT_GT(rig.read_all(stopped + 1), 1000);
}

TEST(IndexFile, GoesWithItsSegment) {
  ColdRig rig;
  rig.restart();
  const std::string path = rig.index_path(0);
  bool is_done = false;
  rig.log_->trim(1500, [&](Status status) { is_done = status.ok(); });
  rig.world_.run_for(Duration::seconds(1));
  EXPECT_TRUE(is_done);
  EXPECT_FALSE(rig.node_.disk().contents(path).ok());
}

}  // namespace
}  // namespace robustmq::storage::conformance
