// Joined logs against a model: random appends, changes of the class, crashes and full disks. What was acknowledged in a durable
// class is never lost, of hybrid at most the window, and only by a crash; no offset is given twice; readers see every record, and
// no gap but those that a restart leaves.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "base/batch.h"
#include "runtime/sim/disk.h"
#include "runtime/sim/world.h"
#include "storage/conformance/rig.h"
#include "storage/joined_log.h"
#include "storage/memory/memory_log.h"
#include "storage/replay.h"
#include "storage/segment/engine.h"

namespace robustmq::storage::conformance {
namespace {

using runtime::sim::CrashKind;

constexpr Durability kClasses[] = {Durability::memory, Durability::hybrid, Durability::synced};

class JoinedRig {
 public:
  explicit JoinedRig(uint64_t seed, Durability mode)
      : random_(seed), world_({.seed = seed}), node_(world_.add_node({})), mode_(mode) {
    settings_.window_bytes = 4000;
    settings_.window_ms = 20;
    settings_.segment_bytes = 1 << 15;
    start();
  }
  ~JoinedRig() {
    node_.crash(CrashKind::process);
    drop();
  }

  void append(size_t value_bytes) {
    const Offset base = log_->bounds().end;
    EXPECT_EQ(base, end_) << "the log goes on elsewhere";
    Bytes batch = make_batch(base, starts_, 1000 + static_cast<int64_t>(base % 1000), value_bytes, ++serial_,
                             static_cast<int>(random_() % 3) + 1);
    const Offset next = BatchView(batch).next_offset();
    EXPECT_GE(base, given_) << "an offset is given twice";
    const std::string text(batch.span().begin(), batch.span().end());
    if (log_->append_now(batch)) {
      end_ = given_ = next;
      return acknowledge(base, text);
    }
    issued_.insert_or_assign(base, text);
    end_ = next;
    ++under_way_;
    log_->append({std::move(batch)}, [this, base, text, next, life = starts_](const Status& status) {
      if (life != starts_) return;
      --under_way_;
      if (!status.ok()) {
        EXPECT_EQ(status.code(), Code::storage_full);
        end_ = std::min(end_, base);
        return;
      }
      given_ = std::max(given_, next);
      acknowledge(base, text);
    });
  }

  // As a shard does: while appends under way fail, none is begun.
  void append_if_idle(size_t value_bytes) {
    if (under_way_ == 0) append(value_bytes);
  }

  // As the broker does: the stronger class first, then what the next start goes by, then the weaker.
  void change(Durability to) {
    if (is_changing_) return;
    is_changing_ = true;
    if (to <= mode_) {
      // What was still on its way to the disk has the weaker class now.
      for (auto& [base, one] : acknowledged_) {
        if (one.durability == Durability::hybrid) one.durability = to;
      }
      set_mode(to);
      return weaken();
    }
    log_->change(to, [this, to, life = starts_](const Status& status) {
      if (life != starts_) return;
      ++(status.ok() ? changed_ : refused_);
      if (!status.ok()) return weaken();
      for (auto& [base, one] : acknowledged_) one.durability = std::max(one.durability, to);
      set_mode(to);
      is_changing_ = false;
    });
  }

  void seal() {
    log_->seal(Bytes::copy_of("state"), log_->bounds().durable, [](const Status&) {});
  }
  void flush() {
    log_->flush([](const Status&) {});
  }
  void settle() {
    EXPECT_TRUE(world_.run_until([this] { return under_way_ == 0 && !is_changing_; }, Duration::seconds(60)));
  }
  void run(Duration time) { world_.run_for(time); }
  runtime::sim::SimDisk& disk() { return node_.disk(); }
  Log& log() { return *log_; }
  Durability mode() const { return mode_; }
  int changed() const { return changed_; }
  int refused() const { return refused_; }
  uint64_t lost() const { return lost_; }

  // Everything acknowledged is there, in order and as it was.
  void check_read() {
    std::map<Offset, std::string> found;
    Offset next = log_->bounds().start;
    const Offset from = next;
    Status ended = Code::internal;
    replay_batches(
        node_.core(0), *log_, from, [] { return true; },
        [&](ByteSpan bytes) {
          const BatchView batch(bytes);
          EXPECT_EQ(batch.base_offset(), next) << "a gap";
          next = batch.next_offset();
          if (batch.record_count() > 0) found[batch.base_offset()] = std::string(bytes.begin(), bytes.end());
          if (batch.record_count() == 0)
            EXPECT_TRUE(batch.next_offset() % (Offset{1} << 31) == 0 || gaps_.contains(batch.next_offset()))
                << "a gap that no restart left";
          return Status();
        },
        [&](Status status) { ended = std::move(status); });
    EXPECT_TRUE(world_.run_until([&] { return ended.code() != Code::internal; }, Duration::seconds(60)));
    EXPECT_TRUE(ended.ok()) << ended.error().to_string();
    EXPECT_EQ(next, log_->bounds().end);
    for (const auto& [base, one] : acknowledged_) {
      const auto at = found.find(base);
      if (at == found.end()) {
        std::string near;
        for (auto each = found.lower_bound(base - 20); each != found.end() && each->first < base + 20; ++each)
          near += std::to_string(each->first) + " ";
        ADD_FAILURE() << "offset " << base << " is missing, there are " << near << "from " << from << " to " << next;
        break;
      }
      EXPECT_EQ(at->second, one.bytes) << base;
    }
    for (const auto& [base, bytes] : found) {
      const auto issued = issued_.find(base);
      const auto acknowledged = acknowledged_.find(base);
      EXPECT_TRUE((issued != issued_.end() && issued->second == bytes) || acknowledged != acknowledged_.end()) << base;
    }
  }

  void restart(std::optional<CrashKind> crash) {
    const bool is_clean = !crash;
    if (is_clean) {
      settle();
      Status flushed = Code::internal;
      log_->flush([&](Status status) { flushed = std::move(status); });
      EXPECT_TRUE(world_.run_until([&] { return flushed.code() != Code::internal; }, Duration::seconds(60)));
      crash = CrashKind::process;
    }
    const Durability mode_before = mode_;
    node_.crash(*crash);
    drop();
    node_.restart();
    disk().faults() = {};
    start();
    // What is gone, and whether it may be.
    std::set<Offset> there;
    Status ended = Code::internal;
    replay_batches(
        node_.core(0), *log_, log_->bounds().start, [] { return true; },
        [&](ByteSpan bytes) {
          const BatchView batch(bytes);
          if (batch.record_count() > 0) there.insert(batch.base_offset());
          return Status();
        },
        [&](Status status) { ended = std::move(status); });
    ASSERT_TRUE(world_.run_until([&] { return ended.code() != Code::internal; }, Duration::seconds(60)));
    EXPECT_TRUE(ended.ok()) << ended.error().to_string();
    uint64_t lost_hybrid = 0;
    for (auto at = acknowledged_.begin(); at != acknowledged_.end();) {
      if (there.contains(at->first)) {
        EXPECT_EQ(lost_hybrid, 0u) << "something behind what was lost is there: " << at->first;
        ++at;
        continue;
      }
      EXPECT_NE(at->second.durability, Durability::synced) << "acknowledged and lost: " << at->first << " of " << given_;
      if (at->second.durability == Durability::hybrid) lost_hybrid += at->second.bytes.size();
      ++lost_;
      at = acknowledged_.erase(at);
    }
    EXPECT_LE(lost_hybrid, static_cast<uint64_t>(settings_.window_bytes));
    if (is_clean) EXPECT_EQ(lost_hybrid, 0u);
    if (mode_before != Durability::synced) EXPECT_GE(log_->bounds().end, given_);
    // What was not acknowledged and is there counts from now on.
    for (const Offset base : there) {
      const auto issued = issued_.find(base);
      if (issued != issued_.end()) acknowledged_.try_emplace(base, Kept{issued->second, Durability::synced});
    }
    issued_.clear();
    for (auto& [base, one] : acknowledged_) one.durability = Durability::synced;
    end_ = log_->bounds().end;
    given_ = std::max(given_, end_);
    check_read();
  }

 private:
  struct Kept {
    std::string bytes;
    Durability durability;
  };
  void acknowledge(Offset base, const std::string& bytes) {
    // An append that waited for a change has the class before it at the least.
    acknowledged_.insert_or_assign(base, Kept{bytes, mode_});
  }
  void set_mode(Durability to) {
    if (mode_ != Durability::synced && to != mode_) floor_ = std::max(floor_, Offset{starts_} << 32);
    mode_ = to;
  }
  void weaken() {
    log_->change(mode_, [this, life = starts_](const Status& status) {
      if (life != starts_) return;
      EXPECT_TRUE(status.ok()) << status.error().to_string();
      is_changing_ = false;
    });
  }
  void drop() {
    log_.reset();
    joined_.reset();
    segment_.reset();
    memory_.reset();
    budget_.reset();
  }
  void start() {
    ++starts_;
    under_way_ = 0;
    is_changing_ = false;
    gaps_.insert(Offset{starts_} << 32);
    budget_ = std::make_unique<MemoryBudget>(1 << 30);
    memory_ = std::make_unique<MemoryEngine>(*budget_);
    StorageOptions options = small_options();
    options.journal_file_bytes = 256 << 10;
    SegmentEngine::open(node_.core(0), options, {}, [this](Result<std::unique_ptr<SegmentEngine>> opened) {
      ASSERT_TRUE(opened.ok()) << opened.error().to_string();
      segment_ = opened.take();
    });
    ASSERT_TRUE(world_.run_until([this] { return segment_ != nullptr; }, Duration::seconds(60)));
    joined_ = std::make_unique<JoinedEngine>(node_.core(0), *memory_, *segment_, Offset{starts_} << 32);
    settings_.durability = mode_;
    joined_->open({Uuid::random(1, 2), 0}, settings_, floor_, [this](Result<OpenedLog> opened) {
      ASSERT_TRUE(opened.ok()) << opened.error().to_string();
      log_ = std::move(opened->log);
    });
    ASSERT_TRUE(world_.run_until([this] { return log_ != nullptr; }, Duration::seconds(60)));
    end_ = log_->bounds().end;
    EXPECT_GE(end_, given_) << "offsets are given again";
    given_ = end_;
  }

  std::mt19937_64 random_;
  runtime::sim::SimWorld world_;
  runtime::sim::SimNode& node_;
  LogSettings settings_;
  std::unique_ptr<MemoryBudget> budget_;
  std::unique_ptr<MemoryEngine> memory_;
  std::unique_ptr<SegmentEngine> segment_;
  std::unique_ptr<JoinedEngine> joined_;
  std::unique_ptr<Log> log_;
  Durability mode_;  // as the catalog has it: survives
  Offset floor_ = 0;
  LeaderEpoch starts_ = 0;
  std::map<Offset, Kept> acknowledged_;
  std::map<Offset, std::string> issued_;
  std::set<Offset> gaps_;
  Offset end_ = 0;
  Offset given_ = 0;  // behind every offset acknowledged so far
  uint64_t serial_ = 0;
  uint64_t lost_ = 0;
  int under_way_ = 0;
  int changed_ = 0;
  int refused_ = 0;
  bool is_changing_ = false;
};

TEST(Joined, KeepsWhatEachClassPromisesThroughChangesAndCrashes) {
  uint64_t lost = 0;
  int changed = 0;
  for (uint64_t seed = 1; seed <= 120 && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    JoinedRig rig(seed, kClasses[seed % 3]);
    for (int round = 0; round < 6 && !::testing::Test::HasFailure(); ++round) {
      for (int step = 0; step < 60; ++step) {
        const uint64_t what = random() % 100;
        if (what < 70)
          rig.append(random() % 10 == 0 ? 3000 : 100);
        else if (what < 82)
          rig.change(kClasses[random() % 3]);
        else if (what < 85)
          rig.seal();
        else if (what < 88)
          rig.flush();
        else
          rig.run(Duration::micros(static_cast<int64_t>(random() % 8000)));
      }
      const uint64_t end = random() % 4;
      if (end == 0) {
        rig.settle();
        rig.check_read();
      } else if (end == 1) {
        rig.restart(std::nullopt);
      } else {
        rig.restart(end == 2 ? CrashKind::power : CrashKind::process);
      }
    }
    lost += rig.lost();
    changed += rig.changed();
  }
  EXPECT_GT(lost, 100u);
  EXPECT_GT(changed, 300);
}

TEST(Joined, AFullDiskRefusesAndLosesNothingAcknowledged) {
  int refused = 0;
  for (uint64_t seed = 1; seed <= 60 && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    JoinedRig rig(seed, kClasses[seed % 3]);
    for (int round = 0; round < 4; ++round) {
      for (int step = 0; step < 20; ++step) rig.append(500);
      rig.disk().faults().capacity_bytes = rig.disk().used_bytes() + random() % 8000;
      for (int step = 0; step < 30; ++step) {
        rig.append_if_idle(400);
        if (step % 10 == 9) rig.change(kClasses[random() % 3]);
        rig.run(Duration::micros(static_cast<int64_t>(random() % 3000)));
      }
      rig.disk().faults().capacity_bytes = UINT64_MAX;
      rig.run(Duration::millis(500));
      rig.settle();
      rig.check_read();
    }
    rig.restart(CrashKind::power);
    refused += rig.refused();
  }
  EXPECT_GT(refused, 5);
}

TEST(Joined, AHybridLogAcknowledgesAtOnceAndSyncsWithinTheWindow) {
  JoinedRig rig(1, Durability::hybrid);
  const uint64_t syncs = rig.disk().sync_count();
  rig.append(100);
  EXPECT_EQ(rig.disk().sync_count(), syncs) << "acknowledged without a sync";
  rig.run(Duration::millis(9));
  EXPECT_EQ(rig.disk().sync_count(), syncs);
  rig.run(Duration::millis(11));
  EXPECT_GT(rig.disk().sync_count(), syncs) << "within window_ms";
  rig.restart(CrashKind::power);
  EXPECT_EQ(rig.lost(), 0u);
}

TEST(Joined, ASlowDiskMakesAHybridLogWaitForTheWindow) {
  JoinedRig rig(2, Durability::hybrid);
  rig.disk().faults().stall = Duration::millis(200);
  for (int i = 0; i < 20; ++i) rig.append(1000);
  rig.restart(CrashKind::power);
  EXPECT_GT(rig.lost(), 0u);
  EXPECT_LE(rig.lost(), 4u) << "the window has 4,000 bytes";
}

}  // namespace
}  // namespace robustmq::storage::conformance
