// Compaction of streams in the hall: who waits for a record gets it, the rest goes; what a compacted topic refuses.
#include <gtest/gtest.h>

#include "broker/session/session_rig.h"

namespace robustmq::broker {
namespace {

using runtime::sim::CrashKind;
using test::Client;
using test::Got;
using test::SessionRig;
using Values = std::vector<std::string>;

class CompactorTest : public testing::TestWithParam<int>, public SessionRig {
 protected:
  CompactorTest() : SessionRig(static_cast<CoreIndex>(GetParam()), 11) {
    TopicRule rule;
    rule.filter = "kept/#";
    rule.topic = "kept";
    set_rules({rule});
    start();
    configure({{"segment_bytes", "65536"}, {"cleanup_policy", "compact"}, {"dirty_ratio_min", "0.1"}});
  }
  void configure(const std::vector<meta::SettingChange>& changes) {
    metas[0]->configure_topic(metas[0]->find(kDefaultTenant, "kept")->id, changes, false,
                              [](const auto& changed) { EXPECT_TRUE(changed.ok()); });
  }
  // Numbered messages of 4,000 bytes; the key is the topic.
  Values fill(const std::string& topic, int count) {
    Client& publisher = connect("p");
    Values values;
    for (int n = 0; n < count; ++n) {
      values.push_back(std::to_string(n) + std::string(4000, 'x'));
      EXPECT_EQ(publish(publisher, topic, values.back(), 1), Code::ok);
    }
    return values;
  }
  // Long enough for a checkpoint and several looks.
  void let_compaction_look() { world.run_for(Duration::seconds(200)); }
  uint64_t bytes_of() {
    DescribeLogs request;
    request.topics.push_back({"kept", {}});
    request.partitions.push_back({0, 0});
    return ask_for<DescribedLogs>(connect("asks"), std::move(request)).partitions.at(0).size_bytes;
  }
  uint64_t total(uint64_t CompactionMetrics::* member) {
    uint64_t sum = 0;
    for (const auto& hall : halls) sum += hall->compaction_metrics().*member;
    return sum;
  }
};
INSTANTIATE_TEST_SUITE_P(Cores, CompactorTest, testing::Values(1, 3), testing::PrintToStringParamName());

TEST_P(CompactorTest, KeepsOfEachKeyTheNewestThroughCrashesAndSettingsThatChange) {
  const Values values = fill("kept/x", 60);
  const uint64_t before = bytes_of();
  let_compaction_look();
  EXPECT_LT(bytes_of(), before / 2);
  EXPECT_GE(total(&CompactionMetrics::runs_total), 1u);
  EXPECT_GT(total(&CompactionMetrics::records_removed_total), 30u);
  restart(CrashKind::power);
  const uint64_t after = bytes_of();
  EXPECT_LT(after, before / 2);
  configure({{"cleanup_policy", "delete"}, {"retention_ms", "-1"}});
  fill("kept/y", 60);
  let_compaction_look();
  EXPECT_GT(bytes_of(), after + 60 * 4000) << "no longer compacted";
  configure({{"cleanup_policy", "compact,delete"}});
  let_compaction_look();
  EXPECT_LT(bytes_of(), after + 30 * 4000);
}

TEST_P(CompactorTest, LeavesWhatAStoredSessionWaitsFor) {
  Client& leaving = connect("away");
  resume(leaving, "away");
  follow(leaving, "kept/x", 1);
  close(leaving);
  const Values values = fill("kept/x", 60);
  const uint64_t before = bytes_of();
  let_compaction_look();
  EXPECT_EQ(bytes_of(), before);
  restart(CrashKind::power);
  let_compaction_look();
  Client& back = connect("away");
  resume(back, "away", 100);
  let_compaction_look();
  ASSERT_EQ(back.values(), values);
  Settle request;
  for (const Got& got : back.received) request.leases.push_back({got.lease, Settle::Outcome::done});
  ask(back, std::move(request));
  let_compaction_look();
  EXPECT_LT(bytes_of(), before / 2);
  for (const auto& hall : halls) EXPECT_EQ(hall->session_metrics().messages_lost_total, 0u);
}

TEST_P(CompactorTest, Case16And39RefusesRecordsWithoutAKeyAndDeletions) {
  Produce produce;
  produce.topics.push_back({"kept", {}});
  BatchBuilder builder;
  builder.begin_record(node.core(0).wall_now().ms, std::nullopt, as_bytes("v"));
  builder.end_record();
  produce.partitions.push_back({.topic_index = 0, .partition = 0, .batch = builder.finish(), .times = {}, .keyless_record = 0});
  const Produced produced = ask_for<Produced>(connect("k"), std::move(produce));
  EXPECT_EQ(produced.partitions.at(0).code, Code::invalid_record);
  EXPECT_EQ(produced.partitions[0].bad_record, 0);
  fill("kept/x", 3);
  DeleteRecords remove;
  remove.topics.push_back({"kept", {}});
  remove.partitions.push_back({0, 0, -1});
  EXPECT_EQ(ask_for<DeletedRecords>(connect("k"), remove).partitions.at(0).code, Code::not_supported);
  configure({{"cleanup_policy", "compact,delete"}});
  EXPECT_EQ(ask_for<DeletedRecords>(connect("k"), remove).partitions.at(0).code, Code::ok);
}

}  // namespace
}  // namespace robustmq::broker
