// Shared subscriptions of connected clients, on nodes of one and of three cores: who gets a message, and who gets it when that
// one goes.
#include "broker/shared.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "broker/hall_rig.h"

namespace robustmq::broker {
namespace {

// Keeps what it was given under a lease until told otherwise.
struct Member final : Sink {
  struct Got {
    std::string topic;
    std::string value;
    uint8_t qos = 0;
    uint16_t lease = 0;
    uint32_t id = 0;
  };
  Member(Hall& hall_in, uint64_t connection) : hall(&hall_in) {
    context.sink = this;
    context.connection_id = connection;
  }
  ~Member() { close(); }
  void close() {
    if (hall) hall->close(context);
    hall = nullptr;
  }
  void on_delivery(const Delivery& delivery) override {
    got.push_back({std::string(delivery.topic), std::string(as_text(*delivery.record.value)), delivery.qos_max, delivery.lease,
                   delivery.subscription_ids ? delivery.subscription_ids->at(0) : 0});
  }
  void on_notice(Notice) override {}
  bool is_ready() const override { return is_taking; }
  void settle(size_t index, Settle::Outcome outcome = Settle::Outcome::done) {
    hall->execute(context, Settle{{{got.at(index).lease, outcome}}}, [](const Reply&) {});
  }

  Hall* hall;
  Context context;
  std::vector<Got> got;
  bool is_taking = true;
};

struct TestRecordSink final : Sink {
  void on_delivery(const Delivery& delivery) override { leases.push_back(delivery.lease); }
  void on_notice(Notice) override {}
  std::vector<uint16_t> leases;
};

class SharedTest : public testing::TestWithParam<int> {
 protected:
  SharedTest() : rig_(GetParam()) {}
  ~SharedTest() override { members_.clear(); }
  void start(SharedStrategy strategy = SharedStrategy::round_robin) {
    rig_.options.shared_strategy = strategy;
    rig_.start();
  }
  Member& member(size_t core) { return *members_.emplace_back(std::make_unique<Member>(rig_.hall(core), 100 + members_.size())); }
  FollowResult follow(Member& member, const std::string& filter, const std::string& share = "g", uint8_t qos = 1,
                      uint32_t id = 0) {
    std::optional<Reply> reply;
    member.hall->execute(member.context,
                         Follow{{FollowOne{.filter = filter, .share = share, .qos_max = qos, .subscription_id = id}}},
                         [&](Reply answer) { reply = std::move(answer); });
    EXPECT_TRUE(rig_.world.run_until([&] { return reply.has_value(); }, Duration::seconds(1)));
    return std::get<Followed>(*reply).results.at(0);
  }
  // `count` messages "0", "1", ... at `qos`.
  void publish(const std::string& topic, int count, char qos = '1', size_t core = 0) {
    RigClient& publisher = rig_.client(core);
    Buffer headers;
    BatchBuilder::append_header(headers, "mqtt.qos", as_bytes(std::string_view(&qos, 1)));
    for (int i = 0; i < count; ++i) {
      const std::string value = std::to_string(i);
      ASSERT_EQ(
          rig_.publish(publisher, {.topic = topic, .payload = as_bytes(value), .raw_headers = headers.span(), .header_count = 1}),
          Code::ok);
    }
    run();
  }
  void run() { rig_.world.run_for(Duration::millis(5)); }
  size_t total() const {
    size_t all = 0;
    for (const auto& each : members_) all += each->got.size();
    return all;
  }
  // Each value once, whoever has it.
  std::multiset<std::string> values() const {
    std::multiset<std::string> all;
    for (const auto& each : members_) {
      for (const auto& got : each->got) all.insert(got.value);
    }
    return all;
  }

  HallRig rig_;
  std::vector<std::unique_ptr<Member>> members_;
};
INSTANTIATE_TEST_SUITE_P(Cores, SharedTest, testing::Values(1, 3), testing::PrintToStringParamName());

TEST_P(SharedTest, EachMessageGoesToOneMemberOfEachGroup) {
  start();
  for (size_t i = 0; i < 6; ++i) EXPECT_TRUE(follow(member(i), "a/+", i < 4 ? "g" : "h").is_new);
  publish("a/b", 8);
  EXPECT_EQ(total(), 16u);
  for (const auto& each : members_) EXPECT_EQ(each->got.size(), each->context.connection_id < 104 ? 2u : 4u) << "in turn";
}

TEST_P(SharedTest, EveryStrategyGivesEachMessageToOne) {
  for (const auto& [strategy, name] : EnumNames<SharedStrategy>::values) {
    SCOPED_TRACE(name);
    if (members_.empty()) start(strategy);
    rig_.options.shared_strategy = strategy;
    for (auto& each : members_) each->got.clear();
    if (members_.empty()) {
      for (size_t i = 0; i < 5; ++i) follow(member(i), "a/#");
    }
    for (int topic = 0; topic < 10; ++topic) publish("a/" + std::to_string(topic), 3, '0', static_cast<size_t>(topic));
    EXPECT_EQ(total(), 30u);
  }
}

TEST_P(SharedTest, StickyStaysUntilItsMemberGoes) {
  start(SharedStrategy::sticky);
  for (size_t i = 0; i < 4; ++i) follow(member(i), "a");
  publish("a", 5, '0');
  const auto stuck = std::find_if(members_.begin(), members_.end(), [](const auto& each) { return !each->got.empty(); });
  ASSERT_NE(stuck, members_.end());
  EXPECT_EQ((*stuck)->got.size(), 5u);
  (*stuck)->close();
  (*stuck)->got.clear();
  run();
  publish("a", 5, '0');
  EXPECT_EQ(total(), 5u);
  EXPECT_TRUE((*stuck)->got.empty());
}

TEST_P(SharedTest, ATopicStaysWithOneMemberByItsHash) {
  start(SharedStrategy::hash_topic);
  for (size_t i = 0; i < 4; ++i) follow(member(i), "#");
  for (int round = 0; round < 3; ++round) {
    for (int topic = 0; topic < 20; ++topic) publish("t" + std::to_string(topic), 1, '0');
  }
  std::map<std::string, std::set<uint64_t>> holders;
  std::set<uint64_t> all;
  for (const auto& each : members_) {
    for (const auto& got : each->got)
      holders[got.topic].insert(each->context.connection_id), all.insert(each->context.connection_id);
  }
  EXPECT_EQ(holders.size(), 20u);
  for (const auto& [topic, who] : holders) EXPECT_EQ(who.size(), 1u) << topic;
  EXPECT_GT(all.size(), 1u);
}

TEST_P(SharedTest, TheLeastBusyMemberIsNext) {
  start(SharedStrategy::least_inflight);
  for (size_t i = 0; i < 3; ++i) follow(member(i), "a");
  publish("a", 9);
  for (const auto& each : members_) EXPECT_EQ(each->got.size(), 3u);
  // One acknowledges, and has all the next ones.
  for (size_t i = 0; i < 3; ++i) members_[1]->settle(i);
  run();
  publish("a", 3);
  EXPECT_EQ(members_[1]->got.size(), 6u);
}

TEST_P(SharedTest, KeepsNoLoadOfWhoIsGone) {
  std::vector<std::unique_ptr<Shared>> parts;
  BrokerOptions options;
  options.shared_strategy = SharedStrategy::least_inflight;
  BrokerMetrics metrics;
  runtime::sim::SimWorld world({.seed = 3});
  auto& node = world.add_node({.cores = static_cast<CoreIndex>(GetParam())});
  std::vector<Shared*> all;
  for (CoreIndex i = 0; i < node.core_count(); ++i)
    all.push_back(parts.emplace_back(std::make_unique<Shared>(node.core(i), options, metrics)).get());
  for (Shared* part : all) part->set_peers(all);
  const auto run = [&] { world.run_for(Duration::millis(5)); };
  TestRecordSink sink;
  Context context;
  context.sink = &sink;
  context.connection_id = 9;
  all[0]->add(context, {.filter = "a", .share = "g", .qos_max = 1}, [] {});
  run();
  const RecordView record;
  all[0]->give("a", record, {}, 0);
  all[0]->flush();
  run();
  ASSERT_EQ(sink.leases.size(), 1u);
  for (Shared* part : all) EXPECT_EQ(part->load_count(), 1u);
  // PUBACK and DISCONNECT in one turn.
  all[0]->settle(context, {sink.leases[0], Settle::Outcome::done});
  all[0]->close(context);
  run();
  for (Shared* part : all) EXPECT_EQ(part->load_count(), 0u);
  // One that leaves its shares first, and what it holds later.
  context.connection_id = 10;
  all[0]->add(context, {.filter = "a", .share = "g", .qos_max = 1}, [] {});
  run();
  for (int i = 0; i < 2; ++i) all[0]->give("a", record, {}, 0);
  run();
  all[0]->remove(context, "a", "g");
  run();
  all[0]->settle(context, {sink.leases[1], Settle::Outcome::done});
  run();
  all[0]->close(context);
  run();
  for (Shared* part : all) EXPECT_EQ(part->load_count(), 0u);
}

// MQTT-4.8.2-4, -5: what a member that goes has not acknowledged goes to others at QoS 1, and ends at QoS 2.
TEST_P(SharedTest, WhatAMemberLeavesBehindGoesToOthersInOrder) {
  start(SharedStrategy::sticky);
  follow(member(0), "a", "g", 2);
  publish("a", 4);
  publish("a", 1, '2');
  Member& first = *members_[0];
  ASSERT_EQ(first.got.size(), 5u);
  EXPECT_GE(first.got[0].lease, kSharedLeaseMin);
  first.settle(1);
  run();
  follow(member(1), "a", "g", 2);
  first.close();
  run();
  const Member& second = *members_[1];
  ASSERT_EQ(second.got.size(), 3u);
  EXPECT_EQ(second.got[0].value, "0");
  EXPECT_EQ(second.got[1].value, "2");
  EXPECT_EQ(second.got[2].value, "3");
  EXPECT_EQ(rig_.hall(0).metrics().shared_messages_ended_total, 1u);
}

TEST_P(SharedTest, WhatIsTooLargeForOneGoesToTheNext) {
  start();
  for (size_t i = 0; i < 3; ++i) follow(member(i), "a");
  publish("a", 1);
  Member* holder = nullptr;
  for (const auto& each : members_) holder = each->got.empty() ? holder : each.get();
  ASSERT_NE(holder, nullptr);
  holder->settle(0, Settle::Outcome::refused);
  run();
  EXPECT_EQ(total(), 2u);
  EXPECT_EQ(holder->got.size(), 1u);
}

TEST_P(SharedTest, AMemberThatIsFullOrSlowIsPassedOver) {
  rig_.options.shared_inflight_max = 2;
  start();
  for (size_t i = 0; i < 3; ++i) follow(member(i), "a");
  publish("a", 8);
  EXPECT_EQ(total(), 6u) << "two each; nobody can take the rest";
  uint64_t dropped = 0;
  for (int i = 0; i < GetParam(); ++i) dropped += rig_.hall(static_cast<size_t>(i)).metrics().shared_messages_dropped_total;
  EXPECT_EQ(dropped, 2u);
  members_[0]->is_taking = false;
  for (const auto& each : members_) each->got.clear();
  publish("a", 6, '0');
  EXPECT_EQ(total(), 6u);
  EXPECT_TRUE(members_[0]->got.empty());
}

TEST_P(SharedTest, AClientsOwnSubscriptionIsBesideItsShare) {
  start();
  Member& one = member(0);
  follow(one, "a", "g", 1, 7);
  follow(one, "a", "", 1, 8);
  publish("a", 1);
  ASSERT_EQ(one.got.size(), 2u);
  EXPECT_EQ(std::set<uint32_t>({one.got[0].id, one.got[1].id}), std::set<uint32_t>({7, 8}));
}

TEST_P(SharedTest, LeavingAShareLeavesTheFilterAlone) {
  start();
  Member& one = member(0);
  follow(one, "a");
  EXPECT_FALSE(follow(one, "a").is_new);
  std::optional<Reply> reply;
  one.hall->execute(one.context, Unfollow{{{"a", "h"}, {"a", ""}, {"a", "g"}}}, [&](Reply answer) { reply = std::move(answer); });
  ASSERT_TRUE(rig_.world.run_until([&] { return reply.has_value(); }, Duration::seconds(1)));
  EXPECT_EQ(std::get<Unfollowed>(*reply).existed, (std::vector<bool>{false, false, true}));
  run();
  publish("a", 2);
  EXPECT_EQ(total(), 0u);
}

// Members come and go while messages flow: each QoS 1 message is acknowledged by exactly one.
TEST_P(SharedTest, NoMessageIsLostOrDoubledWhileMembersComeAndGo) {
  start(SharedStrategy::random);
  std::multiset<std::string> done;
  int sent = 0;
  follow(member(0), "a/#");  // stays to the end
  for (int round = 0; round < 60; ++round) {
    if (round % 3 == 0) follow(member(static_cast<size_t>(round)), "a/#");
    RigClient& publisher = rig_.client(static_cast<size_t>(round));
    Buffer headers;
    BatchBuilder::append_header(headers, "mqtt.qos", as_bytes("1"));
    for (int i = 0; i < 5; ++i) {
      const std::string value = std::to_string(sent++);
      const std::string topic = "a/" + std::to_string(i);
      rig_.publish(publisher, {.topic = topic, .payload = as_bytes(value), .raw_headers = headers.span(), .header_count = 1});
    }
    // Without a pause: a member may go while a message is on its way to it.
    for (size_t i = 1; i < members_.size(); ++i) {
      Member& each = *members_[i];
      if (!each.hall) continue;
      for (size_t k = 0; k < each.got.size(); k += 2) done.insert(each.got[k].value), each.settle(k);
      std::vector<Member::Got> left;
      for (size_t k = 1; k < each.got.size(); k += 2) left.push_back(each.got[k]);
      each.got = left;
      if ((static_cast<size_t>(round) + i) % 5 == 0) each.close();
    }
  }
  run();
  for (size_t i = 1; i < members_.size(); ++i) members_[i]->close();
  run();
  for (const auto& got : members_[0]->got) done.insert(got.value);
  EXPECT_EQ(done.size(), static_cast<size_t>(sent));
  EXPECT_EQ(std::set<std::string>(done.begin(), done.end()).size(), static_cast<size_t>(sent));
}

}  // namespace
}  // namespace robustmq::broker
