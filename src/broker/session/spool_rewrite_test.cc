// A spool in which little is still owed is written again: what is owed keeps its place and its order, over any crash. ADR 0007.
#include <gtest/gtest.h>

#include <random>

#include "broker/session/session_rig.h"

namespace robustmq::broker {
namespace {

using runtime::sim::CrashKind;
using test::Client;
using test::Got;
using test::SessionRig;
using Values = std::vector<std::string>;

class SpoolRewriteTest : public testing::TestWithParam<int>, public SessionRig {
 protected:
  SpoolRewriteTest() : SessionRig(static_cast<CoreIndex>(GetParam())) {
    TopicRule kept;
    kept.filter = "kept/#";
    kept.topic = "kept";
    set_rules({kept});
    options.spool_segment_bytes = 1 << 16;
    options.flush_ms = 20;
    broker_options.retention_check_ms = 100;
    start();
  }
  void leave(const std::string& id, const std::string& filter) {
    Client& client = connect(id);
    resume(client, id);
    follow(client, filter, 1);
    close(client);
  }
  // The session gets what it is owed, acknowledges it, and leaves.
  Values drain(const std::string& id) {
    Client& client = connect(id);
    resume(client, id, 1000);
    settle();
    Settle request;
    for (const Got& got : client.received) request.leases.push_back({got.lease, Settle::Outcome::done});
    ask(client, std::move(request));
    world.run_for(Duration::millis(100));
    close(client);
    return client.values();
  }
  uint64_t spool_bytes() {
    uint64_t bytes = 0;
    for (const auto& hall : halls) bytes += hall->spool_bytes();
    return bytes;
  }
  uint64_t rewritten() {
    uint64_t count = 0;
    for (const auto& hall : halls) count += hall->session_metrics().messages_rewritten_total;
    return count;
  }
};
INSTANTIATE_TEST_SUITE_P(Cores, SpoolRewriteTest, testing::Values(1, 3), testing::PrintToStringParamName());

TEST_P(SpoolRewriteTest, OneSlowSessionDoesNotKeepWhatTheOthersHad) {
  leave("slow", "s/#");
  leave("fast", "f/#");
  Values owed;
  const std::string payload(4000, 'x');
  for (int round = 0; round < 8; ++round) {
    Client& publisher = connect("p");
    for (int n = 0; n < 50; ++n) {
      publish(publisher, "f/x", payload, 1);
      if (n % 10 != 0) continue;
      owed.push_back(std::to_string(round) + "." + std::to_string(n));
      publish(publisher, "s/x", owed.back(), 1);
    }
    EXPECT_EQ(drain("fast").size(), 50u);
  }
  world.run_for(Duration::seconds(3));
  if (GetParam() == 1) EXPECT_GT(rewritten(), 0u);  // else the two topics may lie in different spools
  EXPECT_LT(spool_bytes(), 400'000u * static_cast<uint64_t>(GetParam()));
  EXPECT_EQ(drain("slow"), owed);
}

TEST_P(SpoolRewriteTest, KeepsEverythingOwedInOrderWhereverThePowerGoes) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  leave("light", "s/#");
  leave("kept", "kept/#");
  leave("fast", "f/#");
  Client& pending = connect("pending");
  resume(pending, "pending");
  EXPECT_EQ(publish(pending, "f/x", "received, not released", 2, 7), Code::ok);
  Values light;
  Values kept;
  const std::string payload(4000, 'x');
  for (int round = 0; round < 15; ++round) {
    Client& publisher = connect("p");
    for (int n = 0; n < 30; ++n) {
      publish(publisher, "f/x", payload, 1);
      if (random() % 8 == 0) {
        light.push_back(std::to_string(round) + "." + std::to_string(n));
        publish(publisher, "s/x", light.back(), 1);
      }
      if (random() % 8 == 0) {
        kept.push_back(std::to_string(round) + "." + std::to_string(n));
        publish(publisher, "kept/x", kept.back(), 1);
      }
    }
    drain("fast");
    world.run_for(Duration::micros(static_cast<int64_t>(random() % 250'000)));
    restart(random() % 2 == 0 ? CrashKind::power : CrashKind::process);
  }
  world.run_for(Duration::seconds(3));
  EXPECT_LT(spool_bytes(), 500'000u * static_cast<uint64_t>(GetParam()));
  EXPECT_EQ(resume(connect("pending"), "pending").received, std::vector<uint16_t>{7});
  EXPECT_EQ(drain("light"), light);
  EXPECT_EQ(drain("kept"), kept);
}

TEST_P(SpoolRewriteTest, LeavesOutWhatHasExpired) {
  leave("slow", "s/#");
  leave("fast", "f/#");
  Client& publisher = connect("p");
  publish(publisher, "s/x", "short", 1, 0, 1);
  publish(publisher, "s/x", "long", 1, 0, 1000);
  const std::string payload(4000, 'x');
  for (int n = 0; n < 100; ++n) publish(publisher, "f/x", payload, 1);
  world.run_for(Duration::seconds(2));
  drain("fast");
  world.run_for(Duration::seconds(2));
  if (GetParam() == 1) EXPECT_GT(rewritten(), 0u);  // else the two topics may lie in different spools
  restart(CrashKind::power);
  EXPECT_EQ(drain("slow"), Values{"long"});
}

}  // namespace
}  // namespace robustmq::broker
