// The rows, in every implementation, against a model: changes, restarts, crashes; then what is special to each.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>

#include "runtime/sim/disk.h"
#include "runtime/sim/world.h"
#include "storage/kv_log.h"
#include "storage/remote_kv.h"
#include "storage/rocksdb/rocks_kv.h"
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

enum class KvKind : uint8_t {
  log,     // KvLog
  remote,  // KvLog as another core sees it
  rocks,   // RocksKv; a power cut is to it the end of the process, as its files are the real disk's
};

std::ostream& operator<<(std::ostream& out, KvKind kind) {
  return out << (kind == KvKind::log ? "log" : kind == KvKind::remote ? "remote" : "rocks");
}

// Runs what a thread would, on the core itself: the run stays one of the seed.
class SameThread final : public runtime::Helper {
 public:
  explicit SameThread(runtime::Core& core) : core_(core) {}
  void run(Callback<void()> work, Callback<void()> done) override {
    work();
    core_.post(std::move(done));
  }

 private:
  runtime::Core& core_;
};

class KvRig {
 public:
  KvRig(KvKind kind, uint64_t seed) : random_(seed * 31 + 7), kind_(kind) {
    runtime::sim::SimOptions options;
    options.seed = seed;
    world_ = std::make_unique<runtime::sim::SimWorld>(options);
    node_ = &world_->add_node({.name = "", .cores = 2});
    options_ = small_options();
    if (kind_ != KvKind::rocks) return;
    std::string pattern = ::testing::TempDir() + "robust-rows-XXXXXX";
    folder_ = mkdtemp(pattern.data());
  }
  ~KvRig() {
    end(CrashKind::process);
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
  }

  bool start() {
    bool is_done = false;
    const auto take = [&](auto kv) {
      EXPECT_TRUE(kv.ok()) << (kv.ok() ? "" : kv.error().to_string());
      if (kv.ok()) home_ = kv.take();
      is_done = true;
    };
    runtime::Core& core = node_->core(0);
    SameThread helper(core);
    if (kind_ == KvKind::rocks) {
      open_rocks_rows(helper, folder_ + "/rows", options_, false, [&](Result<RocksRowsPtr> rows) {
        EXPECT_TRUE(rows.ok()) << (rows.ok() ? "" : rows.error().to_string());
        if (rows.ok()) {
          home_ = std::make_unique<RocksKv>(core, rows.take(), std::make_unique<SameThread>(core),
                                            std::make_unique<SameThread>(core), options_);
        }
        is_done = true;
      });
    } else {
      SegmentEngine::open(core, options_, {}, [&](auto opened) {
        EXPECT_TRUE(opened.ok()) << (opened.ok() ? "" : opened.error().to_string());
        if (!opened.ok()) return;
        engine_ = opened.take();
        KvLog::open(core, *engine_, options_, [&](Result<std::unique_ptr<KvLog>> kv) {
          if (kv.ok()) log_ = kv->get();
          take(std::move(kv));
        });
      });
    }
    world_->run_until([&] { return is_done; }, Duration::seconds(100));
    if (!home_) return false;
    if (kind_ == KvKind::remote) remote_ = std::make_unique<RemoteKv>(node_->core(1), 0, core, *home_);
    return true;
  }
  Kv& kv() { return remote_ ? *remote_ : *home_; }
  void end(CrashKind kind) {
    node_->crash(kind);
    remote_.reset();
    home_.reset();
    log_ = nullptr;
    engine_.reset();
  }
  void crash(CrashKind kind) {
    end(kind);
    node_->restart();
  }
  KvRows scan(const std::string& from, const std::string& to, size_t rows_max) {
    std::optional<KvRows> rows;
    kv().scan(from, to, rows_max, [&](Result<KvRows> found) {
      ASSERT_TRUE(found.ok());
      rows = found.take();
    });
    world_->run_until([&] { return rows.has_value(); }, Duration::seconds(10));
    return rows.value_or(KvRows());
  }
  KvRows last(const std::string& from, const std::string& to) {
    std::optional<KvRows> rows;
    kv().last(from, to, [&](Result<KvRows> found) {
      ASSERT_TRUE(found.ok());
      rows = found.take();
    });
    world_->run_until([&] { return rows.has_value(); }, Duration::seconds(10));
    return rows.value_or(KvRows());
  }
  Result<std::string> get(const std::string& key) {
    std::optional<Result<std::string>> row;
    kv().get(key, [&](Result<std::string> found) { row = std::move(found); });
    world_->run_until([&] { return row.has_value(); }, Duration::seconds(10));
    return row.value_or(Code::internal);
  }
  void write(KvBatch batch) {
    bool is_done = false;
    kv().write(std::move(batch), [&](Status status) {
      ASSERT_TRUE(status.ok());
      is_done = true;
    });
    ASSERT_TRUE(world_->run_until([&] { return is_done; }, Duration::seconds(10)));
  }
  Rows read_all() {
    Rows rows;
    for (auto& [key, value] : scan("", "\x7f", SIZE_MAX)) rows[key] = value;
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
  KvKind kind_;
  StorageOptions options_;
  std::string folder_;
  std::unique_ptr<runtime::sim::SimWorld> world_;
  runtime::sim::SimNode* node_ = nullptr;
  std::unique_ptr<SegmentEngine> engine_;
  std::unique_ptr<Kv> home_;
  std::unique_ptr<RemoteKv> remote_;
  KvLog* log_ = nullptr;
};

class KvConformance : public ::testing::TestWithParam<KvKind> {};
INSTANTIATE_TEST_SUITE_P(Every, KvConformance, ::testing::Values(KvKind::log, KvKind::remote, KvKind::rocks));

TEST_P(KvConformance, ReadsRowsInOrderFromOneState) {
  KvRig rig(GetParam(), 3);
  ASSERT_TRUE(rig.start());
  KvBatch batch;
  const std::string zero("k\0x", 3);
  for (const char* key : {"k3", "k1", "k2", "l1"}) batch.put(key, std::string("of ") + key);
  batch.put(zero, "");
  rig.write(std::move(batch));
  EXPECT_EQ(rig.scan("k", "l", 10), (KvRows{{zero, ""}, {"k1", "of k1"}, {"k2", "of k2"}, {"k3", "of k3"}}));
  EXPECT_EQ(rig.scan("k1", "k3", 10).size(), 2u);
  EXPECT_EQ(rig.scan("k1", "k3", 1), (KvRows{{"k1", "of k1"}}));
  EXPECT_EQ(rig.scan("k3", "k1", 10), KvRows{});
  EXPECT_EQ(rig.last("k", "l"), (KvRows{{"k3", "of k3"}}));
  EXPECT_EQ(rig.last("k", "k3"), (KvRows{{"k2", "of k2"}}));
  EXPECT_EQ(rig.last("k4", "l"), KvRows{});
  EXPECT_EQ(rig.last("l", "k"), KvRows{});
  EXPECT_EQ(*rig.get("k2"), "of k2");
  EXPECT_EQ(*rig.get(zero), "");
  EXPECT_EQ(rig.get("k").code(), Code::not_found);
}

TEST_P(KvConformance, ChangesOfABatchTakeEffectInTheirOrder) {
  KvRig rig(GetParam(), 4);
  ASSERT_TRUE(rig.start());
  KvBatch batch;
  batch.put("a", "1");
  batch.put("b", "1");
  batch.remove_range("a", "b");
  batch.put("a", "2");
  batch.remove("b");
  batch.remove_range("z", "a");  // nothing: it ends before it begins
  batch.put("c", "3");
  rig.write(std::move(batch));
  EXPECT_EQ(rig.read_all(), (Rows{{"a", "2"}, {"c", "3"}}));
  KvBatch range;
  range.remove_range("a", "c");
  rig.write(std::move(range));
  EXPECT_EQ(rig.read_all(), (Rows{{"c", "3"}}));
  EXPECT_EQ(rig.last("a", "c"), KvRows{});
}

TEST_P(KvConformance, KeepsAPrefixOfTheBatchesThatHoldsEveryAcknowledgedOne) {
  uint64_t snapshots = 0;
  // RocksDB syncs a real disk.
  const uint64_t seeds = GetParam() == KvKind::rocks ? 5 : 30;
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    KvRig rig(GetParam(), seed);
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
        rig.kv().write(std::move(batch), [&acked, mine = ++number, life, now = life](Status status) {
          ASSERT_EQ(life, now);
          ASSERT_TRUE(status.ok());
          acked = static_cast<size_t>(mine);
        });
        if (rig.random_.chance(500'000)) rig.world_->run_for(Duration::micros(static_cast<int64_t>(rig.random_.below(2000))));
        if (rig.random_.chance(200'000)) {
          const size_t before = acked;
          const Rows rows = rig.read_all();  // time may pass meanwhile
          bool is_one = false;
          for (size_t at = before; at <= acked && !is_one; ++at) is_one = rows == states[at];
          ASSERT_TRUE(is_one) << "seed " << seed;
        }
      }
      if (rig.log_) snapshots += rig.log_->snapshot_count();
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
  if (GetParam() == KvKind::log) EXPECT_GT(snapshots, 50u);
}

TEST(KvLog, ADamagedSnapshotCostsNothingWhileTheOneBeforeIsWhole) {
  KvRig rig(KvKind::log, 5);
  ASSERT_TRUE(rig.start());
  Rows rows;
  for (int i = 0; i < 400; ++i) {
    KvBatch batch = rig.random_batch();
    change_rows(rows, batch);
    rig.kv().write(std::move(batch), [](Status status) { ASSERT_TRUE(status.ok()); });
    rig.world_->run_for(Duration::millis(1));
  }
  rig.world_->run_for(Duration::seconds(1));
  ASSERT_GE(rig.log_->snapshot_count(), 2u);
  rig.crash(CrashKind::power);
  rig.node_->disk().flip_bit("kv/snapshot", 300);
  ASSERT_TRUE(rig.start());
  EXPECT_EQ(rig.read_all(), rows);
  EXPECT_NE(rig.log_->report(), "");
}

TEST(KvLog, AFullDiskRefusesAndRecovers) {
  KvRig rig(KvKind::log, 6);
  ASSERT_TRUE(rig.start());
  int refused = 0;
  int taken = 0;
  const auto write = [&] {
    KvBatch batch;
    batch.put("k" + std::to_string(taken + refused), std::string(500, 'v'));
    bool is_done = false;
    rig.kv().write(std::move(batch), [&](Status status) {
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

TEST(RocksKv, AFullDiskRefusesAndTakesAgain) {
  KvRig rig(KvKind::rocks, 7);
  ASSERT_TRUE(rig.start());
  KvBatch first;
  first.put("a", "1");
  rig.write(std::move(first));
  rig.crash(CrashKind::process);
  rig.options_.rows_free_bytes_min = INT64_MAX;  // no disk has so much
  ASSERT_TRUE(rig.start());
  Code code = Code::ok;
  KvBatch second;
  second.put("a", "2");
  second.put("b", "2");
  rig.kv().write(std::move(second), [&](Status status) { code = status.code(); });
  rig.world_->run_for(Duration::millis(1));
  EXPECT_EQ(code, Code::storage_full);
  EXPECT_EQ(rig.read_all(), (Rows{{"a", "1"}}));
  rig.crash(CrashKind::process);
  rig.options_.rows_free_bytes_min = 0;
  ASSERT_TRUE(rig.start());
  KvBatch third;
  third.put("b", "3");
  rig.write(std::move(third));
  EXPECT_EQ(rig.read_all(), (Rows{{"a", "1"}, {"b", "3"}}));
}

// Or nothing could ever make room.
TEST(RocksKv, AFullDiskTakesWhatOnlyRemoves) {
  KvRig rig(KvKind::rocks, 7);
  ASSERT_TRUE(rig.start());
  KvBatch rows;
  for (const char* key : {"a", "b1", "b2", "c"}) rows.put(key, "1");
  rig.write(std::move(rows));
  rig.crash(CrashKind::process);
  rig.options_.rows_free_bytes_min = INT64_MAX;
  ASSERT_TRUE(rig.start());
  std::vector<Code> codes;
  const auto write = [&](KvBatch batch) {
    rig.kv().write(std::move(batch), [&](const Status& s) { codes.push_back(s.code()); });
  };
  // Of one turn, so of one write.
  KvBatch put;
  put.put("d", "2");
  write(std::move(put));
  KvBatch remove;
  remove.remove("a");
  remove.remove_range("b", "c");
  write(std::move(remove));
  KvBatch both;
  both.remove("c");
  both.put("e", "2");
  write(std::move(both));
  rig.world_->run_for(Duration::millis(1));
  EXPECT_EQ(codes, (std::vector<Code>{Code::storage_full, Code::ok, Code::storage_full}));
  EXPECT_EQ(rig.read_all(), (Rows{{"c", "1"}}));
}

TEST(RocksKv, RefusesWhatWaitsBeyondItsLimit) {
  KvRig rig(KvKind::rocks, 8);
  rig.options_.rows_waiting_bytes_max = 1000;
  ASSERT_TRUE(rig.start());
  int taken = 0;
  int refused = 0;
  std::vector<int> order;
  for (int i = 0; i < 20; ++i) {
    KvBatch batch;
    batch.put("k" + std::to_string(i), std::string(200, 'v'));
    rig.kv().write(std::move(batch), [&, i](Status status) {
      ASSERT_TRUE(status.ok() || status.code() == Code::overloaded);
      ++(status.ok() ? taken : refused);
      order.push_back(i);
    });
  }
  EXPECT_TRUE(order.empty());
  rig.world_->run_for(Duration::millis(1));
  EXPECT_EQ(taken + refused, 20);
  EXPECT_EQ(static_cast<size_t>(taken), rig.read_all().size());
  EXPECT_GE(taken, 4);
  EXPECT_LE(taken, 5);
  const auto& metrics = static_cast<RocksKv&>(rig.kv()).metrics();
  EXPECT_EQ(metrics.waiting_bytes, 0);
  EXPECT_EQ(metrics.syncs_total, 1u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));  // a refusal does not overtake
  EXPECT_EQ(metrics.refused_total, static_cast<uint64_t>(refused));
}

TEST(RocksKv, BatchesOfATurnShareASync) {
  KvRig rig(KvKind::rocks, 9);
  ASSERT_TRUE(rig.start());
  std::vector<int> order;
  for (int i = 0; i < 100; ++i) {
    KvBatch batch;
    batch.put("k" + std::to_string(i), "v");
    rig.kv().write(std::move(batch), [&order, i](Status status) {
      ASSERT_TRUE(status.ok());
      order.push_back(i);
    });
  }
  rig.world_->run_for(Duration::millis(1));
  ASSERT_EQ(order.size(), 100u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
  EXPECT_EQ(static_cast<RocksKv&>(rig.kv()).metrics().syncs_total, 1u);
}

}  // namespace
}  // namespace robustmq::storage
