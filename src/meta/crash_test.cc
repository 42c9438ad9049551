// The catalog of a node on the simulated disk, with power cuts: what was answered is there after each start.
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "meta/open.h"
#include "runtime/sim/disk.h"
#include "runtime/sim/world.h"
#include "storage/kv_log.h"
#include "storage/segment/engine.h"

namespace robustmq::meta {
namespace {

using runtime::sim::CrashKind;
using runtime::sim::SimNode;
using runtime::sim::SimWorld;

// What one life of the node has.
struct Life {
  std::unique_ptr<storage::SegmentEngine> engine;
  std::unique_ptr<storage::KvLog> kv;
  std::unique_ptr<CatalogHome> home;
  bool is_open = false;
  Status failed;
};

class CatalogCrash : public ::testing::TestWithParam<int> {
 protected:
  void start() {
    life = std::make_unique<Life>();
    storage::StorageOptions storage_options;
    storage_options.journal_file_bytes = 1 << 16;
    storage_options.kv_log_bytes_max = 1 << 14;
    storage::SegmentEngine::open(node.core(0), storage_options, {}, [this, storage_options](auto engine) {
      if (!engine.ok()) return fail(engine.error());
      life->engine = engine.take();
      storage::KvLog::open(node.core(0), *life->engine, storage_options, [this](auto kv) {
        if (!kv.ok()) return fail(kv.error());
        life->kv = kv.take();
        MetaOptions options;
        options.snapshot_bytes = 8192;
        life->home = std::make_unique<CatalogHome>(std::vector<runtime::Core*>{&node.core(0)}, options);
        life->home->open(*life->engine, *life->kv, [this](Status status) {
          if (!status.ok()) return fail(status.error());
          life->is_open = true;
        });
      });
    });
    world.run_until([this] { return life->is_open || !life->failed.ok(); }, Duration::seconds(60));
    ASSERT_TRUE(life->failed.ok()) << life->failed.error().to_string();
    ASSERT_TRUE(life->is_open);
  }
  void fail(Error error) { life->failed = std::move(error); }
  void crash(CrashKind kind) {
    node.crash(kind);
    life->home.reset();
    life->kv.reset();
    life->engine.reset();
    node.restart();
  }

  SimWorld world{{.seed = static_cast<uint64_t>(GetParam())}};
  SimNode& node = world.add_node();
  std::unique_ptr<Life> life;
};

TEST_P(CatalogCrash, KeepsWhatItAnswered) {
  std::mt19937 random(static_cast<uint32_t>(GetParam()));
  std::map<std::string, bool> known;  // there or not; names whose outcome is unknown are not listed
  std::map<std::string, int> under_way;
  ProducerId last_block = -1;
  int64_t starts = 0;
  Uuid cluster;
  int answered = 0;
  for (int round = 0; round < 8; ++round) {
    start();
    if (HasFatalFailure()) return;
    Meta& meta = life->home->on(0);
    EXPECT_GT(meta.starts(), starts);
    starts = meta.starts();
    if (round > 0) EXPECT_EQ(meta.cluster_id(), cluster);
    cluster = meta.cluster_id();
    for (const auto& [name, is_there] : known) {
      if (under_way[name] == 0) EXPECT_EQ(meta.find(0, name) != nullptr, is_there) << name << " in round " << round;
    }
    known.clear();
    under_way.clear();
    for (const auto& topic : meta.list(0)) known[topic->name] = true;
    for (int step = 0; step < 120; ++step) {
      const std::string name = "t" + std::to_string(random() % 20);
      const auto topic = meta.find(0, name);
      if (random() % 8 == 0) {
        meta.allocate_producer_ids([&](Result<ProducerId> first) {
          if (!first.ok()) return;
          EXPECT_GT(*first, last_block);
          last_block = *first;
        });
      } else if (topic && under_way[name] == 0) {
        ++under_way[name];
        meta.delete_topic(topic->id, [&, name](Status status) {
          --under_way[name];
          if (status.ok()) known[name] = false;
          answered += status.ok();
        });
      } else if (under_way[name] == 0) {
        ++under_way[name];
        Topic wanted;
        wanted.name = name;
        meta.create_topic(std::move(wanted), [&, name](auto made) {
          --under_way[name];
          if (made.ok()) known[name] = true;
          answered += made.ok();
        });
      }
      world.run_for(Duration::micros(static_cast<int64_t>(random() % 400)));
    }
    // What is under way at the crash may or may not have happened.
    crash(random() % 3 == 0 ? CrashKind::process : CrashKind::power);
  }
  EXPECT_GT(answered, 50);
}

INSTANTIATE_TEST_SUITE_P(Seeds, CatalogCrash, ::testing::Range(1, 9));

}  // namespace
}  // namespace robustmq::meta
