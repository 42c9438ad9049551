// Transactions on disks that are full for a while: nothing is lost, nothing is handed out twice, nothing waits for ever.
#include <gtest/gtest.h>

#include <algorithm>

#include "broker/transactions_rig.h"

namespace robustmq::broker::test {
namespace {

using Fate = AppendFaults::Fate;

class TransactionFaults : public TransactionsTest {
 protected:
  Client& follow_live(const std::string& filter) {
    Client& follower = rig.connect("live-" + filter);
    rig.open(follower, {.client_id = "live-" + filter});
    rig.follow(follower, filter, 1);
    return follower;
  }
  void follow_away(const std::string& filter) {
    Client& away = rig.connect("away");
    rig.resume(away, "away", 1000);
    rig.follow(away, filter, 1);
    rig.close(away);
  }
  Values come_back() {
    Client& back = rig.connect("away");
    rig.resume(back, "away", 1000);
    rig.world.run_for(Duration::seconds(1));
    return back.values();
  }
  bool is_told() const { return rig.halls[0]->transaction_metrics().open == 0; }
  void end_later(Client& client, const Producer& producer) {
    client.hall->execute(client.context, EndTransaction{producer.of(), true, true}, [](const Reply&) {});
  }
};

TEST_F(TransactionFaults, AMarkerThatIsTriedAgainBringsNothingTwice) {
  begin(1);
  Client& follower = follow_live("t");
  follow_away("t");
  Client& client = kafka(1);
  Producer a{.tid = "a", .sequences = {}};
  ASSERT_EQ(init(client, a), Code::ok);
  ASSERT_EQ(produce(client, a, "t", 0, {"one"}), Code::ok);
  ASSERT_EQ(produce(client, a, "t", 0, {"two"}), Code::ok);
  rig.append_faults.fate = [](const ShardId&, const BatchView& batch) { return batch.is_control() ? Fate::fails : Fate::goes; };
  ASSERT_EQ(end(client, a, true), Code::ok) << "it is decided";
  rig.world.run_for(Duration::seconds(5));
  EXPECT_GE(rig.append_faults.failed, 3);
  EXPECT_FALSE(is_told());
  EXPECT_EQ(follower.values(), (Values{"one", "two"}));
  rig.append_faults.fate = [](const ShardId&, const BatchView&) { return Fate::goes; };
  rig.world.run_for(Duration::seconds(2));
  EXPECT_TRUE(is_told());
  EXPECT_EQ(read(client, "t", 0), (Values{"one", "two"}));
  EXPECT_EQ(follower.values(), (Values{"one", "two"}));
  EXPECT_EQ(come_back(), (Values{"one", "two"}));
  // The next one is another transaction.
  ASSERT_EQ(produce(client, a, "t", 0, {"three"}), Code::ok);
  ASSERT_EQ(end(client, a, true), Code::ok);
  rig.settle();
  EXPECT_EQ(follower.values().back(), "three");
}

TEST_F(TransactionFaults, ATransactionEndsWhenWhatSessionsAreOwedIsStored) {
  begin(1, meta::Mode::memory);
  add_topic("kept", 1);
  Client& follower = follow_live("+");
  follow_away("#");
  ASSERT_EQ(rig.publish(follower, "light", "made"), Code::ok);
  rig.settle();
  Client& client = kafka(1);
  Values expected{"made"};
  for (const std::string topic : {"t", "kept", "light"}) {
    SCOPED_TRACE(topic);
    Producer a{.tid = topic, .sequences = {}};
    ASSERT_EQ(init(client, a), Code::ok);
    ASSERT_EQ(produce(client, a, topic, 0, {topic + "-one"}), Code::ok);
    ASSERT_EQ(produce(client, a, topic, 0, {topic + "-two"}), Code::ok);
    expected.push_back(topic + "-one");
    expected.push_back(topic + "-two");
    rig.append_faults.failed = 0;
    rig.append_faults.fate = [](const ShardId& id, const BatchView&) { return is_spool_log(id) ? Fate::fails : Fate::goes; };
    ASSERT_EQ(end(client, a, true), Code::ok);
    rig.world.run_for(Duration::seconds(3));
    EXPECT_GE(rig.append_faults.failed, 2);
    EXPECT_FALSE(is_told()) << "sessions are owed what the spool does not have";
    if (topic == "kept") EXPECT_TRUE(read(client, topic, 0).empty());
    rig.append_faults.fate = [](const ShardId&, const BatchView&) { return Fate::goes; };
    rig.world.run_for(Duration::seconds(2));
    EXPECT_TRUE(is_told());
    EXPECT_EQ(follower.values(), expected) << "who is there gets it once";
  }
  Values owed = come_back();  // of several spools
  std::sort(owed.begin(), owed.end());
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(owed, expected);
}

TEST_F(TransactionFaults, AnEndDoesNotWaitForWhatCouldNotBeStored) {
  begin(1);
  Client& follower = follow_live("t");
  Client& client = kafka(1);
  Producer a{.tid = "a", .sequences = {}};
  ASSERT_EQ(init(client, a), Code::ok);
  ASSERT_EQ(produce(client, a, "t", 0, {"stored"}), Code::ok);
  // The next batch is under way when the end comes, and then there is no room for it.
  rig.append_faults.fate = [](const ShardId&, const BatchView&) { return Fate::waits; };
  std::optional<Reply> produced;
  client.hall->execute(client.context, produce_request(a, "t", 0, {"lost"}), [&](Reply reply) { produced = std::move(reply); });
  rig.settle();
  ASSERT_EQ(rig.append_faults.waiting.size(), 1u);
  std::optional<Reply> ended;
  client.hall->execute(client.context, EndTransaction{a.of(), true, true}, [&](Reply reply) { ended = std::move(reply); });
  rig.settle();
  EXPECT_FALSE(ended.has_value());
  rig.append_faults.fate = [](const ShardId&, const BatchView&) { return Fate::goes; };
  rig.append_faults.fail_waiting();
  ASSERT_TRUE(rig.world.run_until([&] { return ended.has_value(); }, Duration::seconds(5)));
  EXPECT_EQ(std::get<Produced>(*produced).partitions[0].code, Code::storage_full);
  rig.world.run_for(Duration::seconds(1));
  EXPECT_TRUE(is_told());
  EXPECT_EQ(read(client, "t", 0), Values{"stored"});
  EXPECT_EQ(follower.values(), Values{"stored"});
}

// ---- What handing out costs ----

TEST_F(TransactionFaults, ALongTransactionWaitsForItsFollowers) {
  begin(1);
  Client& follower = kafka(2);
  rig.follow(follower, "t", 0);
  Client& client = kafka(1);
  Producer a{.tid = "a", .sequences = {}};
  ASSERT_EQ(init(client, a), Code::ok);
  Values all;
  for (int i = 0; i < 30; ++i) {
    const Values values(100, "v" + std::to_string(i));
    ASSERT_EQ(produce(client, a, "t", 0, values), Code::ok);
    all.insert(all.end(), values.begin(), values.end());
  }
  follower.is_taking = false;
  std::optional<Reply> ended;
  client.hall->execute(client.context, EndTransaction{a.of(), true, true}, [&](Reply reply) { ended = std::move(reply); });
  rig.world.run_for(Duration::millis(Markers::kPauseMs * Markers::kPausesMax / 2));
  EXPECT_EQ(follower.received.size(), Markers::kTurnRecordsMax);
  EXPECT_FALSE(ended.has_value());
  follower.is_taking = true;
  rig.world.run_for(Duration::millis(100));
  EXPECT_EQ(follower.values(), all);
  ASSERT_TRUE(ended.has_value());
  EXPECT_EQ(read(client, "t", 0).size(), all.size());
}

TEST_F(TransactionFaults, AFollowerThatTakesNothingHoldsUpATransactionForAWhileOnly) {
  begin(1);
  Client& follower = kafka(0);
  rig.follow(follower, "t", 0);
  follower.is_taking = false;
  Client& client = kafka(1);
  Producer a{.tid = "a", .sequences = {}};
  ASSERT_EQ(init(client, a), Code::ok);
  for (int i = 0; i < 50; ++i) ASSERT_EQ(produce(client, a, "t", 0, Values(100, "v")), Code::ok);
  std::optional<Reply> ended;
  client.hall->execute(client.context, EndTransaction{a.of(), true, true}, [&](Reply reply) { ended = std::move(reply); });
  ASSERT_TRUE(
      rig.world.run_until([&] { return ended.has_value(); }, Duration::millis(2 * Markers::kPauseMs * Markers::kPausesMax)));
  EXPECT_EQ(follower.received.size(), 5'000u);
}

TEST_F(TransactionFaults, WhatNobodyFollowsIsNotReadAgain) {
  begin(1);
  follow_away("something/else");
  Client& client = kafka(1);
  Producer a{.tid = "a", .sequences = {}};
  ASSERT_EQ(init(client, a), Code::ok);
  ASSERT_EQ(produce(client, a, "t", 0, {"one"}), Code::ok);
  rig.append_faults.reads = 0;
  ASSERT_EQ(end(client, a, true), Code::ok);
  EXPECT_EQ(rig.append_faults.reads, 0);
  follow_away("+");
  ASSERT_EQ(produce(client, a, "t", 0, {"two"}), Code::ok);
  ASSERT_EQ(end(client, a, true), Code::ok);
  EXPECT_GT(rig.append_faults.reads, 0);
  EXPECT_EQ(come_back(), Values{"two"});
}

TEST_F(TransactionFaults, ADeletedTopicsLogDoesNotComeBack) {
  begin(1);
  Client& client = kafka(1);
  Producer a{.tid = "a", .sequences = {}};
  ASSERT_EQ(init(client, a), Code::ok);
  const TopicId id = rig.metas[0]->find(kDefaultTenant, "t")->id;
  std::optional<Reply> produced;
  client.hall->execute(client.context, produce_request(a, "t", 0, {"late"}), [&](Reply reply) { produced = std::move(reply); });
  rig.metas[0]->delete_topic(id, [](const Status& status) { EXPECT_TRUE(status.ok()); });
  ASSERT_TRUE(rig.world.run_until([&] { return produced.has_value(); }, Duration::seconds(5)));
  EXPECT_EQ(std::get<Produced>(*produced).partitions[0].code, Code::unknown_topic);
  rig.settle();
  for (const ShardId& each : rig.segment->list()) EXPECT_NE(each.topic, id);
}

}  // namespace
}  // namespace robustmq::broker::test
