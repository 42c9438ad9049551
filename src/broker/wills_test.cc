// Wills through the hall: published once when a connection ends without a goodbye, after their delay, cancelled by a return,
// there after a crash.
#include "broker/wills.h"

#include <gtest/gtest.h>

#include "broker/hall_rig.h"

namespace robustmq::broker {
namespace {

using runtime::sim::CrashKind;

class WillsTest : public testing::TestWithParam<int> {
 protected:
  WillsTest() : rig_(GetParam()) {
    rig_.start();
    watcher_ = &watch();
  }
  RigClient& watch() {
    RigClient& client = rig_.client(0);
    rig_.ask(client, Follow{{FollowOne{.filter = "will/#", .qos_max = 2}}});
    return client;
  }
  struct Opts {
    bool clean_start = true;
    uint32_t expiry_s = 0;
    uint32_t delay_s = 0;
    bool has_will = true;
    bool retain = false;
    std::string payload = "gone";
  };
  RigClient& connect(const Opts& opts) {
    RigClient& client = rig_.client(rig_.hall(0).session_home(0, "meter"));
    OpenSession open{.client_id = "meter", .clean_start = opts.clean_start, .expiry_s = opts.expiry_s};
    if (opts.has_will) {
      open.will = Will{.topic = "will/meter",
                       .payload = Bytes::copy_of(opts.payload),
                       .qos = 1,
                       .retain = opts.retain,
                       .delay_s = opts.delay_s};
    }
    rig_.ask_for<SessionOpened>(client, std::move(open));
    return client;
  }
  void goodbye(RigClient& client, EndSession end = {}) {
    rig_.ask(client, end);
    client.close();
  }
  std::vector<std::string> published() {
    rig_.settle();
    std::vector<std::string> values;
    for (const RigClient::Got& got : watcher_->got) values.push_back(got.value);
    watcher_->got.clear();
    return values;
  }
  void crash(CrashKind kind, Duration down = {}) {
    rig_.crash(kind);
    rig_.world.run_for(down);
    rig_.start();
    watcher_ = &watch();
  }
  using Values = std::vector<std::string>;

  HallRig rig_;
  RigClient* watcher_;
};

INSTANTIATE_TEST_SUITE_P(Cores, WillsTest, testing::Values(1, 3), testing::PrintToStringParamName());

TEST_P(WillsTest, Case37SentWhenTheConnectionEndsWithoutAGoodbye) {
  connect({}).close();
  EXPECT_EQ(published(), Values{"gone"});
  goodbye(connect({}));
  EXPECT_EQ(published(), Values{});
  goodbye(connect({}), {.without_will = false});  // DISCONNECT 0x04
  EXPECT_EQ(published(), Values{"gone"});
  EXPECT_EQ(rig_.rows("will/"), 0u);
}

TEST_P(WillsTest, Case37SentWhenTheSessionIsTakenOver) {
  connect({.payload = "first"});
  connect({.payload = "second"}).close();
  EXPECT_EQ(published(), (Values{"first", "second"}));
  // One with a delay, whose session the newcomer resumes, is cancelled.
  connect({.clean_start = false, .expiry_s = 100, .delay_s = 10, .payload = "third"});
  RigClient& resumed = connect({.clean_start = false, .expiry_s = 100, .has_will = false});
  EXPECT_EQ(published(), Values{});
  goodbye(resumed);
  rig_.settle(Duration::seconds(200));
  EXPECT_EQ(published(), Values{});
}

TEST_P(WillsTest, Case38TheDelayIsAtMostTheSessionsExpiry) {
  connect({.expiry_s = 100, .delay_s = 10}).close();
  rig_.settle(Duration::seconds(9));
  EXPECT_EQ(published(), Values{});
  rig_.settle(Duration::seconds(1));
  EXPECT_EQ(published(), Values{"gone"});
  connect({.expiry_s = 5, .delay_s = 10}).close();
  rig_.settle(Duration::seconds(4));
  EXPECT_EQ(published(), Values{});
  rig_.settle(Duration::seconds(1));
  EXPECT_EQ(published(), Values{"gone"});
  connect({.expiry_s = 0, .delay_s = 10}).close();
  EXPECT_EQ(published(), Values{"gone"});
}

TEST_P(WillsTest, Case39AReturnInTimeCancelsAndACleanStartSends) {
  connect({.expiry_s = 100, .delay_s = 10}).close();
  rig_.settle(Duration::seconds(5));
  goodbye(connect({.clean_start = false, .expiry_s = 100, .has_will = false}));
  rig_.settle(Duration::seconds(100));
  EXPECT_EQ(published(), Values{});
  EXPECT_EQ(rig_.rows("will/"), 0u);
  connect({.expiry_s = 100, .delay_s = 10, .payload = "old"}).close();
  RigClient& fresh = connect({.clean_start = true, .payload = "new"});
  EXPECT_EQ(published(), Values{"old"});
  goodbye(fresh);
  EXPECT_EQ(published(), Values{});
}

TEST_P(WillsTest, FiresAfterACrashAlsoForACleanSession) {
  connect({});
  crash(CrashKind::power);
  EXPECT_EQ(published(), Values{"gone"});
  EXPECT_EQ(rig_.rows("will/"), 0u);
  crash(CrashKind::power);
  EXPECT_EQ(published(), Values{});
}

TEST_P(WillsTest, Case40ADelayRunsOnOverARestartAndFiresOnce) {
  connect({.expiry_s = 1000, .delay_s = 100}).close();
  rig_.settle(Duration::seconds(10));
  crash(CrashKind::process, Duration::seconds(60));
  rig_.settle(Duration::seconds(28));
  EXPECT_EQ(published(), Values{});
  rig_.settle(Duration::seconds(3));
  EXPECT_EQ(published(), Values{"gone"});
  crash(CrashKind::power);
  rig_.settle(Duration::seconds(200));
  EXPECT_EQ(published(), Values{});
  // Due while the node was down.
  connect({.expiry_s = 1000, .delay_s = 100}).close();
  rig_.settle();
  crash(CrashKind::process, Duration::seconds(101));
  EXPECT_EQ(published(), Values{"gone"});
}

TEST_P(WillsTest, AReturnAfterARestartCancelsToo) {
  connect({.expiry_s = 1000, .delay_s = 100}).close();
  rig_.settle();
  crash(CrashKind::process);
  goodbye(connect({.clean_start = false, .expiry_s = 1000, .has_will = false}));
  rig_.settle(Duration::seconds(200));
  EXPECT_EQ(published(), Values{});
}

TEST_P(WillsTest, AWillMayBeRetained) {
  connect({.retain = true}).close();
  EXPECT_EQ(published(), Values{"gone"});
  RigClient& late = watch();
  rig_.settle();
  ASSERT_EQ(late.got.size(), 1u);
  EXPECT_TRUE(late.got[0].is_retained);
}

TEST_P(WillsTest, Case41AWillThatMayNotBePublishedIsDroppedAndCounted) {
  RigClient& client = rig_.client(rig_.hall(0).session_home(0, "meter"));
  rig_.ask(client, OpenSession{.client_id = "meter", .will = Will{.topic = "$SYS/x", .payload = {}}});
  client.close();
  rig_.settle();
  EXPECT_EQ(rig_.hall(rig_.hall(0).session_home(0, "meter")).will_metrics().refused_total, 1u);
  EXPECT_EQ(rig_.rows("will/"), 0u);
}

TEST_P(WillsTest, ManyWillsOfATurnCostOneWrite) {
  const size_t home = rig_.hall(0).session_home(0, "c0");
  std::vector<RigClient*> clients;
  size_t answered = 0;
  const uint64_t writes = rig_.kv().writes;
  for (int i = 0; clients.size() < 50; ++i) {
    const std::string id = "c" + std::to_string(i);
    if (rig_.hall(0).session_home(0, id) != home) continue;
    clients.push_back(&rig_.client(home));
    clients.back()->hall->execute(clients.back()->context, OpenSession{.client_id = id, .will = Will{.topic = "will/x"}},
                                  [&](const Reply&) { ++answered; });
  }
  EXPECT_TRUE(rig_.world.run_until([&] { return answered == 50; }, Duration::seconds(1)));
  EXPECT_EQ(rig_.kv().writes - writes, 1u);
}

}  // namespace
}  // namespace robustmq::broker
