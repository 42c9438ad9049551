// A log that leads: wherever the power goes, what was appended to another log behind an append to it is there only if that is,
// large appends and new files included.
#include <gtest/gtest.h>

#include <random>

#include "storage/conformance/rig.h"

namespace robustmq::storage::conformance {
namespace {

class LeadsRig {
 public:
  explicit LeadsRig(uint64_t seed) : random_(seed), world_({.seed = seed}), node_(world_.add_node({.cores = 1})) {
    options_.journal_file_bytes = 1 << 20;
    options_.journal_files_max = 16;
    start();
  }
  ~LeadsRig() { node_.crash(runtime::sim::CrashKind::process); }

  // Appends pairs until the power goes at some time; then compares what is there.
  void run_and_cut() {
    for (int step = 0; step < 30; ++step) {
      const size_t leading = random_() % 4 == 0 ? 40'000 : 300;
      const size_t following = random_() % 2 == 0 ? 40'000 : 300;
      leader_->append({make_batch(next_, epoch_, 1, leading, 1)}, [](Status) {});
      follower_->append_behind({make_batch(next_, epoch_, 1, following, 2)}, [this, at = next_](Status status) {
        if (status.ok()) acked_ = at + 1;
      });
      ++next_;
      if (random_() % 2 == 0) world_.run_for(Duration::micros(static_cast<int64_t>(random_() % 700)));
    }
    world_.run_for(Duration::micros(static_cast<int64_t>(random_() % 3000)));
    node_.crash(runtime::sim::CrashKind::power);
    leader_.reset();
    follower_.reset();
    engine_.reset();
    node_.restart();
    start();
    const Offset leads = leader_->bounds().end;
    const Offset follows = follower_->bounds().end;
    EXPECT_LE(follows, leads);
    EXPECT_LE(acked_, follows);
    // Both go on at one offset.
    bool is_cut = false;
    leader_->truncate(follows, [&](const Status& status) { is_cut = status.ok(); });
    ASSERT_TRUE(world_.run_until([&] { return is_cut; }, Duration::seconds(10)));
    next_ = acked_ = follows;
  }

  // The leader's append finds no room, the follower's would.
  void refuse_the_leader() {
    for (const size_t following : {300, 40'000}) {
      node_.disk().faults().capacity_bytes = node_.disk().used_bytes() + 60'000;
      Code leading = Code::internal;
      std::vector<Code> behind;
      leader_->append({make_batch(next_, epoch_, 1, 100'000, 1)}, [&](const Status& status) { leading = status.code(); });
      for (Offset at = next_; at < next_ + 2; ++at) {
        follower_->append_behind({make_batch(at, epoch_, 1, following, 2)},
                                 [&](const Status& status) { behind.push_back(status.code()); });
      }
      world_.run_for(Duration::millis(50));
      node_.disk().faults().capacity_bytes = UINT64_MAX;
      EXPECT_EQ(leading, Code::storage_full);
      EXPECT_EQ(behind, (std::vector<Code>{Code::storage_full, Code::storage_full}));
      EXPECT_EQ(follower_->bounds().end, next_);
      // Both take more.
      behind.clear();
      leader_->append({make_batch(next_, epoch_, 1, 100, 1)}, [&](const Status& status) { leading = status.code(); });
      follower_->append_behind({make_batch(next_, epoch_, 1, 100, 2)},
                               [&](const Status& status) { behind.push_back(status.code()); });
      world_.run_for(Duration::millis(50));
      EXPECT_EQ(leading, Code::ok);
      EXPECT_EQ(behind, std::vector<Code>{Code::ok});
      ++next_;
    }
  }

 private:
  void start() {
    ++epoch_;
    bool is_there = false;
    SegmentEngine::open(node_.core(0), options_, {}, [&](Result<std::unique_ptr<SegmentEngine>> made) {
      ASSERT_TRUE(made.ok());
      engine_ = made.take();
      is_there = true;
    });
    ASSERT_TRUE(world_.run_until([&] { return is_there; }, Duration::seconds(10)));
    open(1, true, leader_);
    open(2, false, follower_);
  }
  void open(int32_t number, bool leads, std::unique_ptr<Log>& log) {
    LogSettings settings;
    settings.segment_bytes = 150'000;
    settings.leads = leads;
    engine_->open(ShardId{TopicId{}, number}, settings, 0, [&](Result<OpenedLog> opened) {
      ASSERT_TRUE(opened.ok());
      log = std::move(opened->log);
    });
    ASSERT_TRUE(world_.run_until([&] { return log != nullptr; }, Duration::seconds(10)));
  }

  std::mt19937_64 random_;
  runtime::sim::SimWorld world_;
  runtime::sim::SimNode& node_;
  StorageOptions options_;
  std::unique_ptr<SegmentEngine> engine_;
  std::unique_ptr<Log> leader_;
  std::unique_ptr<Log> follower_;
  Offset next_ = 0;
  Offset acked_ = 0;
  LeaderEpoch epoch_ = 0;
};

TEST(Leads, NothingBehindIsThereWithoutIt) {
  const uint64_t seed = std::random_device{}();
  for (uint64_t i = 0; i < 20; ++i) {
    SCOPED_TRACE("seed " + std::to_string(seed + i));
    LeadsRig rig(seed + i);
    for (int cut = 0; cut < 8; ++cut) rig.run_and_cut();
  }
}

TEST(Leads, NothingBehindIsStoredWhereItIsRefused) {
  for (uint64_t seed = 1; seed < 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    LeadsRig rig(seed);
    rig.refuse_the_leader();
  }
}

}  // namespace
}  // namespace robustmq::storage::conformance
