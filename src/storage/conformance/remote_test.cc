// The segment engine from another core: order, answers, refusals, and what list() says.
#include <gtest/gtest.h>

#include "runtime/sim/disk.h"
#include "runtime/sim/world.h"
#include "storage/conformance/rig.h"
#include "storage/segment/engine.h"

namespace robustmq::storage::conformance {
namespace {

using runtime::sim::CrashKind;

class RemoteRig {
 public:
  RemoteRig() : world_({}), node_(world_.add_node({.name = "", .cores = 2})) {}
  ~RemoteRig() {
    node_.crash(CrashKind::process);
    log_.reset();
    remote_.reset();
    engine_.reset();
  }
  void start() {
    SegmentEngine::open(node_.core(0), small_options(), {}, [this](auto opened) {
      ASSERT_TRUE(opened.ok());
      engine_ = opened.take();
      node_.core(0).send(1, [this] { remote_ = make_remote_engine(node_.core(1), 0, *engine_); });
    });
    ASSERT_TRUE(world_.run_until([this] { return remote_ != nullptr; }, Duration::seconds(10)));
  }
  void open() {
    on_far_core([this] {
      remote_->open(id_, {}, 0, [this](Result<OpenedLog> opened) {
        ASSERT_TRUE(opened.ok());
        log_ = std::move(opened->log);
      });
    });
    ASSERT_TRUE(world_.run_until([this] { return log_ != nullptr; }, Duration::seconds(10)));
  }
  void on_far_core(Callback<void()> work) {
    node_.core(1).post(std::move(work));
    world_.run_for(Duration::millis(50));
  }

  runtime::sim::SimWorld world_;
  runtime::sim::SimNode& node_;
  std::unique_ptr<SegmentEngine> engine_;
  std::unique_ptr<Engine> remote_;
  std::unique_ptr<Log> log_;
  ShardId id_{Uuid::random(1, 2), 3};
};

TEST(RemoteEngine, AppendsAndReadsThroughTheHomeCore) {
  RemoteRig rig;
  rig.start();
  rig.open();
  EXPECT_EQ(rig.remote_->list(), std::vector<ShardId>{rig.id_});
  std::vector<int> order;
  rig.on_far_core([&] {
    for (int i = 0; i < 10; ++i) {
      const Offset end = rig.log_->bounds().end;
      ASSERT_EQ(end, i);
      rig.log_->append({make_batch(end, 0, 1000 + i, 100, 1)}, [&order, i](Status status) {
        ASSERT_TRUE(status.ok());
        order.push_back(i);
      });
    }
  });
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
  EXPECT_EQ(rig.log_->bounds().durable, 10);
  bool is_read = false;
  rig.on_far_core([&] {
    rig.log_->read(3, {}, [&](Result<ReadResult> result) {
      ASSERT_TRUE(result.ok());
      EXPECT_EQ(result->next, 10);
      is_read = true;
    });
  });
  EXPECT_TRUE(is_read);
}

TEST(RemoteEngine, AppendsBehindARefusedOneAreRefusedAndTheNextGoOnAtTheEnd) {
  RemoteRig rig;
  rig.start();
  rig.open();
  const auto append = [&rig](Callback<void(Status)> done) {
    const Offset end = rig.log_->bounds().end;
    rig.log_->append({make_batch(end, 0, 1000, 100, 1)}, std::move(done));
  };
  int taken = 0;
  int refused = 0;
  const auto count = [&](Status status) { status.ok() ? ++taken : ++refused; };
  rig.on_far_core([&] {
    for (int i = 0; i < 3; ++i) append(count);
  });
  rig.node_.disk().faults().capacity_bytes = rig.node_.disk().used_bytes();
  rig.on_far_core([&] {
    for (int i = 0; i < 5; ++i) append(count);
  });
  EXPECT_EQ(taken, 3);
  EXPECT_EQ(refused, 5);
  EXPECT_EQ(rig.log_->bounds().end, 3);
  rig.node_.disk().faults().capacity_bytes = UINT64_MAX;
  rig.on_far_core([&] {
    for (int i = 0; i < 2; ++i) append(count);
  });
  EXPECT_EQ(taken, 5);
  EXPECT_EQ(rig.log_->bounds().end, 5);
}

TEST(RemoteEngine, RemovesALogThatWasClosed) {
  RemoteRig rig;
  rig.start();
  rig.open();
  bool is_removed = false;
  rig.on_far_core([&] {
    rig.log_.reset();
    rig.remote_->remove(rig.id_, [&](Status status) { is_removed = status.ok(); });
  });
  EXPECT_TRUE(is_removed);
  EXPECT_TRUE(rig.remote_->list().empty());
  EXPECT_TRUE(rig.engine_->list().empty());
}

}  // namespace
}  // namespace robustmq::storage::conformance
