// Subscriptions through the hall: their limits, replacing one, and what a refused one leaves behind (nothing).
#include <gtest/gtest.h>

#include <algorithm>

#include "broker/hall_rig.h"

namespace robustmq::broker {
namespace {

class SubscriptionsTest : public testing::TestWithParam<int> {
 protected:
  SubscriptionsTest() : rig_(GetParam()) {}
  RigClient& connect(const std::string& id, uint32_t expiry_s = 0) {
    RigClient& client = rig_.client(slot_of(kDefaultTenant, id) % rig_.node.core_count());
    EXPECT_TRUE(std::holds_alternative<SessionOpened>(rig_.ask(client, OpenSession{.client_id = id, .expiry_s = expiry_s})));
    rig_.settle();
    return client;
  }
  Code follow(RigClient& client, FollowOne wanted) {
    return rig_.ask_for<Followed>(client, Follow{{std::move(wanted)}}).results.at(0).code;
  }
  Code follow(RigClient& client, const std::string& filter, uint8_t qos = 0) {
    return follow(client, FollowOne{.filter = filter, .qos_max = qos});
  }
  // What `client` has of one message to `topic`.
  std::vector<RigClient::Got> got_of(RigClient& client, const std::string& topic) {
    client.got.clear();
    EXPECT_EQ(rig_.publish(rig_.client(0), {.topic = topic, .payload = as_bytes(std::string_view("m"))}), Code::ok);
    rig_.settle();
    return client.got;
  }

  HallRig rig_;
};
INSTANTIATE_TEST_SUITE_P(Cores, SubscriptionsTest, testing::Values(1, 3), testing::PrintToStringParamName());

TEST_P(SubscriptionsTest, AreAsManyAsAConnectionMayHave) {
  rig_.options.subscriptions_max = 3;
  rig_.start();
  RigClient& one = connect("one");
  EXPECT_EQ(follow(one, "a"), Code::ok);
  EXPECT_EQ(follow(one, "b"), Code::ok);
  EXPECT_EQ(follow(one, {.filter = "c", .share = "g"}), Code::ok);
  EXPECT_EQ(follow(one, "d"), Code::quota_exceeded);
  EXPECT_EQ(follow(one, {.filter = "d", .share = "g"}), Code::quota_exceeded);
  // MQTT-3.8.4-3: one that is there is replaced.
  EXPECT_EQ(follow(one, "a", 1), Code::ok);
  EXPECT_EQ(follow(one, {.filter = "c", .share = "g", .qos_max = 1}), Code::ok);
  EXPECT_EQ(follow(one, "c"), Code::quota_exceeded) << "a shared one is another";
  const auto got = got_of(one, "a");
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].qos_max, 1u);
  EXPECT_TRUE(rig_.ask_for<Unfollowed>(one, Unfollow{{{"b", ""}}}).existed.at(0));
  EXPECT_EQ(follow(one, "d"), Code::ok);
}

TEST_P(SubscriptionsTest, AreRefusedWithAFilterOverALimit) {
  rig_.options.filter_levels_max = 3;
  rig_.options.topic_bytes_max = 64;
  rig_.start();
  RigClient& one = connect("one");
  EXPECT_EQ(follow(one, "a/b/c"), Code::ok);
  EXPECT_EQ(follow(one, "a/b/c/d"), Code::invalid_topic);
  EXPECT_EQ(follow(one, std::string(64, 'x')), Code::ok);
  EXPECT_EQ(follow(one, std::string(65, 'x')), Code::invalid_topic);
}

TEST_P(SubscriptionsTest, AndMessagesHaveTopicsOfBoundedLength) {
  rig_.options.topic_bytes_max = 64;
  rig_.start();
  RigClient& one = connect("one");
  EXPECT_EQ(follow(one, "#"), Code::ok);
  EXPECT_EQ(got_of(one, std::string(64, 'x')).size(), 1u);
  for (const bool retain : {false, true})
    EXPECT_EQ(rig_.publish(one, {.topic = std::string(65, 'x'), .retain = retain}), Code::invalid_topic);
  EXPECT_NE(rig_.publish(one, {.topic = "$delayed/1/" + std::string(65, 'x')}), Code::ok);
  EXPECT_EQ(one.got.size(), 1u);
}

// A SUBACK that refuses is the truth: nothing is followed that was not before, and the rest as before.
TEST_P(SubscriptionsTest, ThatCannotBeStoredTakeNoEffect) {
  rig_.start();
  RigClient& one = connect("one", 100);
  EXPECT_EQ(follow(one, FollowOne{.filter = "old", .qos_max = 0, .subscription_id = 7}), Code::ok);
  rig_.kv().is_full = true;
  const Followed followed =
      rig_.ask_for<Followed>(one, Follow{{FollowOne{.filter = "old", .qos_max = 0, .subscription_id = 8},
                                          FollowOne{.filter = "new"}, FollowOne{.filter = "theirs", .share = "g"}}});
  for (const FollowResult& result : followed.results) EXPECT_EQ(result.code, Code::storage_full);
  rig_.kv().is_full = false;
  rig_.settle();
  EXPECT_TRUE(got_of(one, "new").empty());
  EXPECT_TRUE(got_of(one, "theirs").empty());
  const auto got = got_of(one, "old");
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].ids, std::vector<uint32_t>{7});
  const auto existed = rig_.ask_for<Unfollowed>(one, Unfollow{{{"old", ""}, {"new", ""}, {"theirs", "g"}}}).existed;
  EXPECT_EQ(existed, (std::vector<bool>{true, false, false}));
}

TEST_P(SubscriptionsTest, NoFetchHasMorePartitionsThanItMay) {
  rig_.options.fetch_partitions_max = 2;
  rig_.start();
  RigClient& one = rig_.client(0);
  Fetch fetch;
  fetch.topics.push_back({.name = "none"});
  fetch.partitions.resize(2);
  EXPECT_TRUE(std::holds_alternative<FetchReply>(rig_.ask(one, fetch)));
  fetch.partitions.resize(3);
  const Reply reply = rig_.ask(one, fetch);
  ASSERT_TRUE(std::holds_alternative<Error>(reply));
  EXPECT_EQ(std::get<Error>(reply).code, Code::too_large);
}

}  // namespace
}  // namespace robustmq::broker
