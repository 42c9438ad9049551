// The rows against a model: changes, restarts, crashes, snapshots, a full disk.
#include <gtest/gtest.h>

#include <map>

#include "runtime/sim/disk.h"
#include "runtime/sim/world.h"
#include "storage/kv_log.h"
#include "storage/segment/engine.h"

namespace robustmq::storage {
namespace {

using runtime::sim::CrashKind;
using Rows = std::map<std::string, std::string>;

StorageOptions small_options() {
  StorageOptions options;
  options.journal_file_bytes = 64 << 10;
  options.journal_files_max = 3;
  options.checkpoint_ms = 50;
  options.direct_bytes_min = 4000;
  options.open_files_max = 2;
  options.kv_log_bytes_max = 3000;
  return options;
}

void change_rows(Rows& rows, const KvBatch& batch) {
  for (const auto& change : batch.changes) {
    if (const auto* put = std::get_if<KvBatch::Put>(&change)) rows[put->key] = put->value;
    if (const auto* remove = std::get_if<KvBatch::Delete>(&change)) rows.erase(remove->key);
    if (const auto* range = std::get_if<KvBatch::DeleteRange>(&change)) {
      if (range->from < range->to) rows.erase(rows.lower_bound(range->from), rows.lower_bound(range->to));
    }
  }
}

class KvRig {
 public:
  explicit KvRig(uint64_t seed) : random_(seed * 31 + 7) {
    runtime::sim::SimOptions options;
    options.seed = seed;
    world_ = std::make_unique<runtime::sim::SimWorld>(options);
    node_ = &world_->add_node({});
  }
  ~KvRig() {
    node_->crash(CrashKind::process);
    kv_.reset();
    engine_.reset();
  }

  bool start() {
    bool is_done = false;
    SegmentEngine::open(node_->core(0), small_options(), {}, [&](auto opened) {
      EXPECT_TRUE(opened.ok()) << (opened.ok() ? "" : opened.error().to_string());
      if (!opened.ok()) return;
      engine_ = opened.take();
      KvLog::open(node_->core(0), *engine_, small_options(), [&](auto kv) {
        EXPECT_TRUE(kv.ok()) << (kv.ok() ? "" : kv.error().to_string());
        if (kv.ok()) kv_ = kv.take();
        is_done = true;
      });
    });
    world_->run_until([&] { return is_done; }, Duration::seconds(100));
    return kv_ != nullptr;
  }
  void crash(CrashKind kind) {
    node_->crash(kind);
    kv_.reset();
    engine_.reset();
    node_->restart();
  }
  Rows read_all() {
    Rows rows;
    kv_->scan("", "\x7f", SIZE_MAX, [&](Result<KvRows> found) {
      for (auto& [key, value] : *found) rows[key] = value;
    });
    return rows;
  }
  KvBatch random_batch() {
    KvBatch batch;
    const uint64_t changes = random_.between(1, 4);
    for (uint64_t i = 0; i < changes; ++i) {
      const std::string key = "k" + std::to_string(random_.below(30));
      const uint64_t dice = random_.below(10);
      if (dice < 7)
        batch.put(key, std::string(random_.below(120), 'v') + std::to_string(random_.next()));
      else if (dice < 9)
        batch.remove(key);
      else
        batch.remove_range(key, "k" + std::to_string(random_.below(30)));
    }
    return batch;
  }

  runtime::sim::SimRandom random_;
  std::unique_ptr<runtime::sim::SimWorld> world_;
  runtime::sim::SimNode* node_ = nullptr;
  std::unique_ptr<SegmentEngine> engine_;
  std::unique_ptr<KvLog> kv_;
};

TEST(KvLog, KeepsAPrefixOfTheBatchesThatHoldsEveryAcknowledgedOne) {
  uint64_t snapshots = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    KvRig rig(seed);
    ASSERT_TRUE(rig.start());
    // states[i]: the rows after i batches of this life.
    std::vector<Rows> states = {{}};
    for (int life = 0; life < 6; ++life) {
      size_t acked = 0;
      int number = 0;
      const uint64_t count = rig.random_.below(60);
      for (uint64_t i = 0; i < count; ++i) {
        KvBatch batch = rig.random_batch();
        Rows next = states.back();
        change_rows(next, batch);
        states.push_back(std::move(next));
        rig.kv_->write(std::move(batch), [&acked, mine = ++number, life, now = life](Status status) {
          ASSERT_EQ(life, now);
          ASSERT_TRUE(status.ok());
          acked = static_cast<size_t>(mine);
        });
        if (rig.random_.chance(500'000)) rig.world_->run_for(Duration::micros(static_cast<int64_t>(rig.random_.below(2000))));
        if (rig.random_.chance(200'000)) ASSERT_EQ(rig.read_all(), states[acked]) << "seed " << seed;
      }
      snapshots += rig.kv_->snapshot_count();
      rig.crash(rig.random_.chance(800'000) ? CrashKind::power : CrashKind::process);
      ASSERT_TRUE(rig.start()) << "seed " << seed;
      const Rows rows = rig.read_all();
      size_t found = SIZE_MAX;
      for (size_t i = acked; i < states.size() && found == SIZE_MAX; ++i) {
        if (states[i] == rows) found = i;
      }
      ASSERT_NE(found, SIZE_MAX) << "seed " << seed << " life " << life;
      states = {rows};
    }
  }
  EXPECT_GT(snapshots, 50u);
}

TEST(KvLog, ADamagedSnapshotCostsNothingWhileTheOneBeforeIsWhole) {
  KvRig rig(5);
  ASSERT_TRUE(rig.start());
  Rows rows;
  for (int i = 0; i < 400; ++i) {
    KvBatch batch = rig.random_batch();
    change_rows(rows, batch);
    rig.kv_->write(std::move(batch), [](Status status) { ASSERT_TRUE(status.ok()); });
    rig.world_->run_for(Duration::millis(1));
  }
  rig.world_->run_for(Duration::seconds(1));
  ASSERT_GE(rig.kv_->snapshot_count(), 2u);
  rig.crash(CrashKind::power);
  rig.node_->disk().flip_bit("kv/snapshot", 300);
  ASSERT_TRUE(rig.start());
  EXPECT_EQ(rig.read_all(), rows);
  EXPECT_NE(rig.kv_->report(), "");
}

TEST(KvLog, AFullDiskRefusesAndRecovers) {
  KvRig rig(6);
  ASSERT_TRUE(rig.start());
  int refused = 0;
  int taken = 0;
  const auto write = [&] {
    KvBatch batch;
    batch.put("k" + std::to_string(taken + refused), std::string(500, 'v'));
    bool is_done = false;
    rig.kv_->write(std::move(batch), [&](Status status) {
      is_done = true;
      ASSERT_TRUE(status.ok() || status.code() == Code::storage_full);
      ++(status.ok() ? taken : refused);
    });
    rig.world_->run_until([&] { return is_done; }, Duration::seconds(10));
    ASSERT_TRUE(is_done);
  };
  for (int i = 0; i < 5; ++i) write();
  rig.node_->disk().faults().capacity_bytes = rig.node_->disk().used_bytes();
  for (int i = 0; i < 5; ++i) write();
  EXPECT_EQ(refused, 5);
  rig.node_->disk().faults().capacity_bytes = UINT64_MAX;
  for (int i = 0; i < 5; ++i) write();
  EXPECT_EQ(taken, 10);
  EXPECT_EQ(rig.read_all().size(), 10u);
}

}  // namespace
}  // namespace robustmq::storage
