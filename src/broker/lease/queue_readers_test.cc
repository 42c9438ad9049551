// Queues followed by connections, through the halls of a simulated node: who gets what, what is done when, and what a crash
// leaves.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "broker/lease/lease_rig.h"

namespace robustmq::broker::test {
namespace {

using Values = std::vector<std::string>;
using Outcome = Settle::Outcome;
using runtime::sim::CrashKind;

// The stream "q" of the rule q/#, 1 partition unless said otherwise.
class QueueReadersTest : public ::testing::Test {
 protected:
  explicit QueueReadersTest(CoreIndex cores = 3) : rig(cores) { rig.broker_options.queues_available = true; }
  void begin(int32_t partitions = 1) {
    TopicRule rule;
    rule.filter = "q/#";
    rule.topic = "q";
    rule.partitions = partitions;
    rig.set_rules({rule});
    rig.start();
  }
  Code follow(Client& client, std::string filter = "q", uint8_t qos = 1) {
    Follow request;
    request.filters.push_back({.filter = std::move(filter), .share = "$queue", .qos_max = qos});
    return rig.ask_for<Followed>(client, std::move(request)).results.at(0).code;
  }
  bool unfollow(Client& client, std::string filter = "q") {
    return rig.ask_for<Unfollowed>(client, Unfollow{{{std::move(filter), "$queue", {}}}}).existed.at(0);
  }
  Client& follower(CoreIndex core, std::string filter = "q", uint8_t qos = 1) {
    Client& client = rig.kafka(core);
    EXPECT_EQ(follow(client, std::move(filter), qos), Code::ok);
    return client;
  }
  void publish(const Values& values, std::string_view topic = "q/a", uint8_t qos = 1) {
    Client& from = rig.kafka();
    for (const std::string& value : values) ASSERT_EQ(rig.publish(from, topic, value, qos), Code::ok);
    rig.settle();
  }
  Code settle(Client& client, uint16_t lease, Outcome outcome = Outcome::done) {
    const auto settled = rig.ask_for<Settled>(client, Settle{{{lease, outcome}}});
    rig.settle();
    return settled.leases.at(0);
  }
  void dispatch(const std::string& value) { set("queue_dispatch", value); }
  uint64_t replaced() {
    uint64_t sum = 0;
    for (const auto& hall : rig.halls) sum += hall->lease_metrics().records_replaced_total;
    return sum;
  }
  void set(const std::string& name, const std::string& value) {
    ConfigureGroups request;
    request.groups.push_back({"$queue/q", false, {{name, value}}});
    EXPECT_EQ(rig.ask_for<ConfiguredGroups>(rig.kafka(), std::move(request)).groups.at(0).code, Code::ok);
    rig.settle();
  }
  void settle_all(Client& client) {
    Settle request;
    for (const Got& got : client.received) request.leases.push_back({got.lease, Outcome::done});
    rig.ask_for<Settled>(client, std::move(request));
    client.received.clear();
    rig.settle();
  }
  BrokerMetrics metrics() {
    BrokerMetrics sum;
    for (const auto& hall : rig.halls) {
      sum.queue_subscriptions += hall->metrics().queue_subscriptions;
      sum.queue_messages_delivered_total += hall->metrics().queue_messages_delivered_total;
      sum.queue_messages_returned_total += hall->metrics().queue_messages_returned_total;
    }
    return sum;
  }

  SessionRig rig;
};

TEST_F(QueueReadersTest, GivesEachMessageToOneFollowerInTurn) {
  begin();
  Client& a = follower(0);
  Client& b = follower(1);
  Values all;
  for (int i = 0; i < 20; ++i) {
    all.push_back(std::to_string(i));
    publish({all.back()});
  }
  EXPECT_EQ(a.received.size(), 10u);
  EXPECT_EQ(b.received.size(), 10u);
  Values seen = a.values();
  const Values of_b = b.values();
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end(), [](auto& x, auto& y) { return std::stoi(x) < std::stoi(y); }));
  seen.insert(seen.end(), of_b.begin(), of_b.end());
  EXPECT_EQ(std::set<std::string>(seen.begin(), seen.end()), std::set<std::string>(all.begin(), all.end()));
  EXPECT_EQ(a.received[0].topic, "q/a");
  EXPECT_GE(a.received[0].lease, kQueueLeaseMin);
  EXPECT_EQ(metrics().queue_subscriptions, 2);
  EXPECT_EQ(metrics().queue_messages_delivered_total, 20u);
}

TEST_F(QueueReadersTest, BeginsWithWhatComesAlsoForTwoWhoAskAtOnce) {
  begin(3);
  publish({"before", "it"});
  Client& a = rig.kafka(0);
  Client& b = rig.kafka(1);
  size_t granted = 0;
  for (Client* client : {&a, &b}) {
    Follow request;
    request.filters.push_back({.filter = "q", .share = "$queue", .qos_max = 1});
    client->hall->execute(client->context, std::move(request),
                          [&](Reply reply) { granted += std::get<Followed>(reply).results.at(0).code == Code::ok; });
  }
  ASSERT_TRUE(rig.world.run_until([&] { return granted == 2; }, Duration::seconds(10)));
  publish({"after"});
  EXPECT_EQ(a.received.size() + b.received.size(), 1u);
}

TEST_F(QueueReadersTest, KeepsWhatComesWhileNobodyFollows) {
  begin();
  rig.close(follower(0));
  publish({"0", "1", "2"});
  EXPECT_EQ(follower(1).received.size(), 0u);
  rig.settle();
  EXPECT_EQ(rig.clients.back().values(), (Values{"0", "1", "2"}));
}

TEST_F(QueueReadersTest, GivesToOthersWhatALostConnectionLeavesBehind) {
  begin();
  Client& a = follower(0);
  publish({"0", "1", "2"});
  EXPECT_EQ(a.received.size(), 3u);
  Client& b = follower(1);
  rig.settle();
  EXPECT_TRUE(b.received.empty());
  EXPECT_EQ(settle(a, a.received[1].lease), Code::ok);
  rig.close(a);
  rig.settle();
  EXPECT_EQ(b.values(), (Values{"0", "2"}));
}

TEST_F(QueueReadersTest, AnAcknowledgementInTheLastTurnCounts) {
  begin();
  Client& a = follower(0);
  publish({"0", "1"});
  a.hall->execute(a.context, Settle{{{a.received[0].lease, Outcome::done}}}, [](const Reply&) {});
  rig.close(a);
  Client& b = follower(1);
  rig.settle();
  EXPECT_EQ(b.values(), (Values{"1"}));
}

TEST_F(QueueReadersTest, WhatIsDoneDoesNotComeAgainAfterACrash) {
  begin(2);
  Client& a = follower(0);
  publish({"0", "1", "2", "3"});
  ASSERT_EQ(a.received.size(), 4u);
  std::set<std::string> open;
  for (size_t i = 0; i < 4; ++i) {
    if (i % 2 == 0)
      EXPECT_EQ(settle(a, a.received[i].lease), Code::ok);
    else
      open.insert(a.received[i].value);
  }
  rig.restart(CrashKind::power);
  publish({"4"});
  open.insert("4");
  Client& b = follower(2);
  rig.settle();
  const Values got = b.values();
  EXPECT_EQ(std::set<std::string>(got.begin(), got.end()), open);
  EXPECT_EQ(got.size(), 3u);
}

TEST_F(QueueReadersTest, AtQos2ItIsDoneWhenTheClientHasReceivedIt) {
  begin();
  Client& a = follower(0, "q", 2);
  publish({"0", "1"}, "q/a", 2);
  ASSERT_EQ(a.received.size(), 2u);
  EXPECT_EQ(a.received[0].qos_max, 2);
  EXPECT_EQ(settle(a, a.received[0].lease, Outcome::received), Code::ok);
  EXPECT_EQ(settle(a, a.received[0].lease, Outcome::received), Code::ok) << "said again";
  rig.restart(CrashKind::power);
  Client& b = follower(1, "q", 2);
  rig.settle();
  EXPECT_EQ(b.values(), (Values{"1"}));
  EXPECT_EQ(settle(b, b.received[0].lease, Outcome::received), Code::ok);
  EXPECT_EQ(settle(b, b.received[0].lease), Code::ok);
  EXPECT_EQ(settle(b, b.received[0].lease), Code::not_found);
}

TEST_F(QueueReadersTest, AtQos0ItIsDoneWhenItIsHandedOver) {
  begin();
  Client& a = follower(0, "q", 0);
  publish({"0"});
  ASSERT_EQ(a.received.size(), 1u);
  EXPECT_EQ(a.received[0].lease, 0);
  rig.close(a);
  Client& b = follower(1);
  rig.settle();
  EXPECT_TRUE(b.received.empty());
}

TEST_F(QueueReadersTest, AConnectionHoldsNoMoreThanItsClientTakes) {
  begin();
  Client& a = rig.connect("a");
  rig.resume(a, "a", 2);
  ASSERT_EQ(follow(a), Code::ok);
  publish({"0", "1", "2", "3", "4"});
  EXPECT_EQ(a.values(), (Values{"0", "1"}));
  Client& b = follower(1);
  rig.settle();
  EXPECT_EQ(b.values(), (Values{"2", "3", "4"}));
  settle(a, a.received[0].lease);
  publish({"5", "6"});
  EXPECT_EQ(a.received.size() + b.received.size(), 7u);
  EXPECT_EQ(a.received.size(), 3u);
}

TEST_F(QueueReadersTest, WaitsForAConnectionThatTakesNoMore) {
  begin();
  Client& a = follower(0);
  a.is_taking = false;
  publish({"0", "1"});
  EXPECT_TRUE(a.received.empty());
  a.is_taking = true;
  a.hall->on_ready(a.context);
  rig.settle();
  EXPECT_EQ(a.values(), (Values{"0", "1"}));
}

TEST_F(QueueReadersTest, AFilterMakesAQueueOfItsOwn) {
  begin();
  Client& all = follower(0);
  Client& same = follower(1, "q/q/#");
  Client& again = follower(2, "/q/#");
  Client& some = follower(1, "q/q/+/x");
  publish({"0", "1", "2"}, "q/a");
  publish({"3"}, "q/a/x");
  EXPECT_EQ(some.values(), (Values{"3"}));
  EXPECT_EQ(all.received.size() + same.received.size() + again.received.size(), 4u) << "the rule's filter leaves nothing out";
  settle_all(some);
  rig.close(some);
  Client& later = follower(0, "q/q/+/x");
  rig.settle();
  EXPECT_TRUE(later.received.empty()) << "what it left out is passed over for good";
}

TEST_F(QueueReadersTest, WhatAClientCannotHaveGoesToAnotherAndDiesInTheEnd) {
  begin();
  Client& a = follower(0);
  publish({"large"});
  ASSERT_EQ(a.received.size(), 1u);
  settle(a, a.received[0].lease, Outcome::refused);
  for (size_t i = 1; i < 30 && a.received.size() > i; ++i) settle(a, a.received[i].lease, Outcome::refused);
  EXPECT_EQ(a.received.size(), QueueReaders::kRefusalsMax);
  EXPECT_EQ(metrics().queue_messages_returned_total, QueueReaders::kRefusalsMax);
  Client& b = follower(1);
  rig.settle();
  EXPECT_TRUE(b.received.empty());
}

TEST_F(QueueReadersTest, WhoUnfollowsFinishesWhatWasSentAndGivesTheRestBack) {
  begin();
  Client& a = rig.connect("a");
  rig.resume(a, "a", 2);
  ASSERT_EQ(follow(a), Code::ok);
  publish({"0", "1", "2"});
  ASSERT_EQ(a.values(), (Values{"0", "1"}));
  EXPECT_TRUE(unfollow(a));
  EXPECT_FALSE(unfollow(a));
  Client& b = follower(1);
  rig.settle();
  EXPECT_EQ(b.values(), (Values{"2"})) << "at once, not when a request has waited for long";
  EXPECT_EQ(settle(a, a.received[0].lease), Code::ok);
  publish({"3"});
  EXPECT_EQ(a.received.size(), 2u);
  rig.close(a);
  rig.settle();
  EXPECT_EQ(b.values(), (Values{"2", "3", "1"}));
  EXPECT_EQ(metrics().queue_subscriptions, 1);
}

TEST_F(QueueReadersTest, GivesBackWhatAConnectionHadNotTakenWhenItUnfollows) {
  begin();
  Client& a = follower(0);
  a.is_taking = false;
  publish({"0", "1", "2"});
  EXPECT_TRUE(unfollow(a));
  Client& b = follower(1);
  rig.settle();
  EXPECT_EQ(b.values(), (Values{"0", "1", "2"}));
}

TEST_F(QueueReadersTest, ASessionThatComesBackFollowsAgain) {
  begin();
  Client& a = rig.connect("a");
  rig.resume(a, "a");
  ASSERT_EQ(follow(a), Code::ok);
  rig.close(a);
  publish({"0"});
  for (const bool crashes : {false, true}) {
    if (crashes) rig.restart(CrashKind::power);
    Client& back = rig.connect("a");
    EXPECT_TRUE(rig.resume(back, "a").is_present);
    rig.settle();
    EXPECT_EQ(back.values(), (Values{"0"}));
    publish({"1"});
    EXPECT_EQ(back.values(), (Values{"0", "1"}));
    if (crashes) {
      EXPECT_TRUE(unfollow(back));
    } else {
      settle(back, back.received[1].lease);
    }
    rig.close(back);
  }
  Client& gone = rig.connect("a");
  rig.resume(gone, "a");
  publish({"2"});
  EXPECT_TRUE(gone.received.empty()) << "it unfollowed";
}

TEST_F(QueueReadersTest, ATakeoverGivesTheNewConnectionWhatTheOldOneHeld) {
  begin();
  Client& old = rig.connect("a");
  rig.resume(old, "a");
  ASSERT_EQ(follow(old), Code::ok);
  publish({"0", "1"});
  ASSERT_EQ(old.received.size(), 2u);
  Client& next = rig.connect("a");
  rig.resume(next, "a");
  rig.settle();
  EXPECT_EQ(next.values(), (Values{"0", "1"}));
}

TEST_F(QueueReadersTest, PartitionsThatComeLaterAreReadFromTheirBeginning) {
  begin();
  Client& a = follower(0);
  rig.settle();
  Client& kafka = rig.kafka(1);
  GrowTopics grow;
  grow.topics.push_back({.name = "q", .partitions = 3});
  EXPECT_EQ(rig.ask_for<GrownTopics>(kafka, std::move(grow)).topics.at(0).code, Code::ok);
  Produce request;
  request.topics = {{"q", {}}};
  request.partitions.push_back({0, 2, batch_of({"new"}), {}});
  EXPECT_EQ(rig.ask_for<Produced>(kafka, std::move(request)).partitions.at(0).code, Code::ok);
  rig.world.run_for(Duration::seconds(40));
  EXPECT_EQ(a.values(), (Values{"new"}));
  EXPECT_EQ(a.received[0].topic, "q") << "it names none";
}

TEST_F(QueueReadersTest, IsAShareGroupWithoutMembersToKafka) {
  begin();
  Client& a = follower(0);
  publish({"0", "1", "2"});
  settle(a, a.received[0].lease);
  Client& kafka = rig.kafka(1);
  const auto groups = rig.ask_for<ListedGroups>(kafka, ListGroups{}).groups;
  ASSERT_EQ(groups.size(), 1u);
  EXPECT_EQ(groups[0].group, "$queue/q");
  EXPECT_EQ(groups[0].type, "share");
  DescribeShareOffsets describe;
  describe.groups.push_back({"$queue/q", true, {}, {}});
  const auto partition = rig.ask_for<DescribedShareOffsets>(kafka, std::move(describe)).groups.at(0).partitions.at(0);
  EXPECT_EQ(partition.start, 1);
  EXPECT_EQ(partition.lag, 2);
  HeartbeatShare beat;
  beat.group = "$queue/q";
  beat.member_id = "m";
  beat.topics = {"q"};
  EXPECT_EQ(rig.ask_for<ConsumerHeartbeatReply>(kafka, std::move(beat)).code, Code::invalid_argument);
  EXPECT_EQ(rig.ask_for<DeletedGroups>(kafka, DeleteGroups{{"$queue/q"}}).groups.at(0), Code::ok);
  rig.world.run_for(Duration::seconds(40));
  EXPECT_EQ(a.notices, (std::vector<Notice>{Notice::topic_deleted}));
  EXPECT_EQ(metrics().queue_subscriptions, 0);
}

TEST_F(QueueReadersTest, WhatAClientStillHasOfAQueueThatIsGoneMakesRoomForAnother) {
  begin();
  rig.add_topic("other", 1);
  Client& a = rig.connect("a");
  rig.resume(a, "a", 1);
  ASSERT_EQ(follow(a, "q"), Code::ok);
  ASSERT_EQ(follow(a, "other"), Code::ok);
  publish({"held"});
  ASSERT_EQ(a.values(), (Values{"held"}));
  Client& kafka = rig.kafka(1);
  EXPECT_EQ(rig.ask_for<DeletedTopics>(kafka, DeleteTopics{{{"q", {}}}}).topics.at(0).code, Code::ok);
  Produce request;
  request.topics = {{"other", {}}};
  request.partitions.push_back({0, 0, batch_of({"next"}), {}});
  EXPECT_EQ(rig.ask_for<Produced>(kafka, std::move(request)).partitions.at(0).code, Code::ok);
  rig.world.run_for(Duration::seconds(40));
  EXPECT_EQ(a.received.size(), 1u);
  settle(a, a.received[0].lease);
  EXPECT_EQ(a.values(), (Values{"held", "next"}));
}

TEST_F(QueueReadersTest, IsToldWhenTheStreamGoes) {
  begin();
  Client& a = follower(0);
  EXPECT_EQ(rig.ask_for<DeletedTopics>(rig.kafka(), DeleteTopics{{{"q", {}}}}).topics.at(0).code, Code::ok);
  rig.world.run_for(Duration::seconds(40));
  EXPECT_EQ(a.notices, (std::vector<Notice>{Notice::topic_deleted}));
}

// Followers that wait are given one message at a time.
TEST_F(QueueReadersTest, LeastInFlightGoesToWhoHoldsTheFewest) {
  begin();
  Client& a = follower(0);
  publish({"0", "1", "2"});
  dispatch("least_inflight");
  Client& b = follower(1);
  Client& c = follower(2);
  rig.settle();
  for (const char* value : {"3", "4", "5", "6"}) publish({value});
  EXPECT_EQ(a.received.size(), 3u);
  EXPECT_EQ(b.received.size(), 2u);
  EXPECT_EQ(c.received.size(), 2u);
  settle_all(a);
  publish({"7"});
  publish({"8"});
  EXPECT_EQ(a.values(), (Values{"7", "8"}));
}

TEST_F(QueueReadersTest, RandomFollowsNoTurns) {
  begin();
  Client& a = follower(0);
  dispatch("random");
  Client& b = follower(1);
  rig.settle();
  size_t repeats = 0;
  size_t before = 2;
  for (int i = 0; i < 60; ++i) {
    const size_t had = a.received.size();
    publish({std::to_string(i)});
    const size_t now = a.received.size() > had;
    repeats += now == before;
    before = now;
  }
  EXPECT_EQ(a.received.size() + b.received.size(), 60u);
  EXPECT_GT(a.received.size(), 15u);
  EXPECT_GT(b.received.size(), 15u);
  EXPECT_GT(repeats, 10u) << "turns would have none";
}

TEST_F(QueueReadersTest, TheDispatchOfAQueueWithoutItsOwnIsTheOption) {
  rig.group_options.queue_dispatch = QueueSettings::Dispatch::least_inflight;
  begin();
  Client& a = follower(0);
  publish({"0", "1"});
  Client& b = follower(1);
  rig.settle();
  publish({"2"});
  publish({"3"});
  EXPECT_EQ(b.values(), (Values{"2", "3"}));
  dispatch("round_robin");
  publish({"4"});
  publish({"5"});
  EXPECT_EQ(a.received.size(), 3u);
  ConfigureGroups wrong;
  wrong.groups.push_back({"$queue/q", false, {{"queue_dispatch", "fair"}}});
  EXPECT_EQ(rig.ask_for<ConfiguredGroups>(a, std::move(wrong)).groups.at(0).code, Code::invalid_config);
}

// The key of what MQTT publishes is its topic.
TEST_F(QueueReadersTest, OfLastValuesWhatIsReplacedGoesToNobody) {
  begin();
  rig.close(follower(0));  // it has begun
  set("queue_last_value", "true");
  publish({"a0", "a1"}, "q/a");
  publish({"b0"}, "q/b");
  publish({"a2"}, "q/a");
  Client& a = follower(1);
  rig.settle();
  EXPECT_EQ(a.values(), (Values{"b0", "a2"}));
  publish({"a3"}, "q/a");
  EXPECT_EQ(a.values(), (Values{"b0", "a2", "a3"})) << "what somebody has stays his";
  settle_all(a);
  EXPECT_EQ(replaced(), 2u);
  rig.restart(CrashKind::power);
  Client& b = follower(0);
  rig.settle();
  EXPECT_TRUE(b.received.empty()) << "what was passed over is done";
  publish({"a4"}, "q/a");
  EXPECT_EQ(b.values(), (Values{"a4"}));
  rig.close(b);
  publish({"a5"}, "q/a");
  set("queue_last_value", "false");
  publish({"b1", "b2"}, "q/b");
  Client& c = follower(2);
  rig.settle();
  EXPECT_EQ(c.values(), (Values{"a4", "a5", "b1", "b2"})) << "all of them again";
  ConfigureGroups wrong;
  wrong.groups.push_back({"$queue/q/q/a", false, {{"queue_last_value", "true"}}});
  wrong.groups.push_back({"g", false, {{"queue_last_value", "true"}}});
  wrong.groups.push_back({"$queue/q", false, {{"queue_last_value", "yes"}}});
  for (const auto& row : rig.ask_for<ConfiguredGroups>(c, std::move(wrong)).groups) EXPECT_EQ(row.code, Code::invalid_config);
}

// Whatever is published and taken: each key's newest value reaches somebody, values of a key come in their order, and none twice.
TEST_F(QueueReadersTest, LosesNoLastValue) {
  begin(2);
  rig.close(follower(0));
  set("queue_last_value", "true");
  std::mt19937 random(11);
  std::map<std::string, int> newest, got;
  size_t published = 0, came = 0;
  for (int round = 0; round < 30; ++round) {
    if (round % 10 == 9) rig.restart(CrashKind::process);
    for (int i = 0; i < 20; ++i) {
      const std::string topic = "q/" + std::to_string(random() % 7);
      publish({std::to_string(++newest[topic])}, topic);
      ++published;
    }
    Client& one = follower(static_cast<CoreIndex>(random() % 3));
    rig.settle();
    for (int again = 0; again < 3; ++again) {
      for (const Got& each : one.received) {
        EXPECT_GT(std::stoi(each.value), got[each.topic]) << each.topic;
        got[each.topic] = std::stoi(each.value);
        ++came;
      }
      settle_all(one);
    }
    EXPECT_EQ(got, newest) << "round " << round;
    rig.close(one);
  }
  EXPECT_LT(came, published);
}

TEST_F(QueueReadersTest, WhatNamesNoStreamIsRefused) {
  begin();
  for (const char* name : {"none", "none/q/#", "/none/#", "+", "q+/q/#"})
    EXPECT_EQ(follow(rig.kafka(), name), Code::invalid_topic);
  rig.broker_options.fetch_partitions_max = 0;
  EXPECT_EQ(follow(rig.kafka(), "q"), Code::quota_exceeded);
}

TEST_F(QueueReadersTest, WhileQueuesAreOffItIsAGroup) {
  rig.broker_options.queues_available = false;
  begin();
  Client& a = rig.kafka(0);
  EXPECT_EQ(follow(a, "q/a"), Code::ok);
  publish({"0"});
  EXPECT_EQ(a.values(), (Values{"0"}));
  EXPECT_LT(a.received[0].lease, kQueueLeaseMin);
  EXPECT_TRUE(unfollow(a, "q/a"));
}

// Many followers that come, go and crash: everything reaches somebody until it is acknowledged, and nothing comes again then.
TEST_F(QueueReadersTest, LosesNothingOverCrashesAndLosses) {
  begin(4);
  std::set<std::string> published, done;
  std::mt19937 random(7);
  int next = 0;
  rig.close(follower(0));  // it has begun
  for (int round = 0; round < 6; ++round) {
    std::vector<Client*> followers;
    for (CoreIndex i = 0; i < 4; ++i) followers.push_back(&follower(i));
    for (int i = 0; i < 30; ++i) {
      const std::string value = std::to_string(next++);
      publish({value}, "q/" + std::to_string(random() % 9));
      published.insert(value);
      Client& one = *followers[random() % followers.size()];
      if (!one.is_open) continue;
      if (random() % 10 == 0) {
        rig.close(one);
        continue;
      }
      Settle request;
      for (const Got& got : one.received) {
        if (random() % 3 == 0) continue;
        request.leases.push_back({got.lease, Outcome::done});
      }
      const auto settled = rig.ask_for<Settled>(one, Settle(request));
      std::vector<Got> left;
      for (const Got& got : one.received) {
        const auto at =
            std::find_if(request.leases.begin(), request.leases.end(), [&](auto& each) { return each.lease == got.lease; });
        if (at == request.leases.end()) {
          left.push_back(got);
        } else {
          EXPECT_TRUE(done.insert(got.value).second) << got.value << " came again";
        }
      }
      one.received = std::move(left);
      rig.settle();  // durable
    }
    rig.restart(round % 2 ? CrashKind::power : CrashKind::process);
  }
  Client& last = follower(1);
  for (int i = 0; i < 200 && done.size() < published.size(); ++i) {
    rig.settle();
    for (const Got& got : last.received) EXPECT_TRUE(done.insert(got.value).second) << got.value << " came again";
    settle_all(last);
  }
  EXPECT_EQ(done, published);
}

}  // namespace
}  // namespace robustmq::broker::test
