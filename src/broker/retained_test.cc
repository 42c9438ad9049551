// Retained messages through the hall: stored, replaced, cleared, expiring, sent to new followers in pieces, there after a crash.
#include <gtest/gtest.h>

#include <set>

#include "broker/hall_rig.h"

namespace robustmq::broker {
namespace {

using runtime::sim::CrashKind;

class RetainedTest : public testing::TestWithParam<int> {
 protected:
  RetainedTest() : rig_(GetParam()) { rig_.start(rules()); }
  static std::vector<TopicRule> rules() {
    TopicRule sensors;
    sensors.filter = "sensors/#";
    sensors.topic = "sensors";
    sensors.partitions = 4;
    TopicRule nobody;
    nobody.filter = "live/#";
    nobody.mode = meta::Mode::none;
    return {sensors, nobody};
  }
  Code retain(std::string_view topic, std::string_view payload, uint32_t expiry_s = 0, size_t on = 0) {
    return rig_.publish(rig_.client(on),
                        {.topic = topic, .payload = as_bytes(payload), .qos = 1, .retain = true, .expiry_s = expiry_s});
  }
  FollowResult follow(RigClient& client, FollowOne one) {
    return rig_.ask_for<Followed>(client, Follow{{std::move(one)}}).results[0];
  }
  // What a new follower is sent, by topic.
  std::map<std::string, std::string> retained(std::string filter, size_t on = 1) {
    RigClient& client = rig_.client(on);
    follow(client, {.filter = std::move(filter), .qos_max = 1});
    rig_.settle();
    std::map<std::string, std::string> found;
    for (const RigClient::Got& got : client.got) {
      EXPECT_TRUE(got.is_retained);
      EXPECT_TRUE(found.emplace(got.topic, got.value).second) << got.topic;
    }
    client.close();
    return found;
  }
  using Found = std::map<std::string, std::string>;

  HallRig rig_;
};

INSTANTIATE_TEST_SUITE_P(Cores, RetainedTest, testing::Values(1, 3), testing::PrintToStringParamName());

TEST_P(RetainedTest, SendsANewFollowerTheNewestOfEachTopicWhateverItsMode) {
  for (const char* topic : {"a/1/c", "a/2/c", "a/2/d", "sensors/9", "live/x"}) {
    EXPECT_EQ(retain(topic, "old"), Code::ok);
    EXPECT_EQ(retain(topic, std::string("new ") + topic, 0, 2), Code::ok);
  }
  EXPECT_EQ(retained("a/+/c"), (Found{{"a/1/c", "new a/1/c"}, {"a/2/c", "new a/2/c"}}));
  EXPECT_EQ(retained("a/2/d"), (Found{{"a/2/d", "new a/2/d"}}));
  EXPECT_EQ(retained("#").size(), 5u);
  EXPECT_EQ(rig_.rows("retained/"), 5u);
}

TEST_P(RetainedTest, AcksARetainedMessageWhenItsRowIsDurable) {
  EXPECT_EQ(retain("a/b", "1"), Code::ok);
  rig_.crash(CrashKind::power);
  rig_.start(rules());
  EXPECT_EQ(retained("a/b"), (Found{{"a/b", "1"}}));
}

TEST_P(RetainedTest, KeepsEverythingThroughCrashes) {
  Found expected;
  for (int life = 0; life < 4; ++life) {
    for (int i = 0; i < 40; ++i) {
      const std::string topic = "t/" + std::to_string(i * 7 % 23) + "/" + std::to_string(i % 3);
      const std::string value = (life + i) % 5 == 0 ? "" : std::to_string(life) + "." + std::to_string(i);
      EXPECT_EQ(retain(topic, value, 0, static_cast<size_t>(i)), Code::ok);
      expected.erase(topic);
      if (!value.empty()) expected[topic] = value;
    }
    rig_.crash(life % 2 ? CrashKind::process : CrashKind::power);
    rig_.start(rules());
    EXPECT_EQ(retained("t/#"), expected);
    EXPECT_EQ(rig_.rows("retained/"), expected.size());
  }
}

TEST_P(RetainedTest, Case47AnEmptyPayloadClearsAndIsForwardedButNotStored) {
  EXPECT_EQ(retain("a/b", "1"), Code::ok);
  RigClient& live = rig_.client(2);
  follow(live, {.filter = "a/b", .retain_handling = RetainHandling::never});
  EXPECT_EQ(retain("a/b", ""), Code::ok);
  rig_.settle();
  ASSERT_EQ(live.got.size(), 1u);
  EXPECT_EQ(live.got[0].value, "");
  EXPECT_FALSE(live.got[0].is_retained);
  EXPECT_TRUE(retained("a/b").empty());
  EXPECT_EQ(rig_.rows("retained/"), 0u);
  // Clearing what is not there is no error.
  EXPECT_EQ(retain("a/b", ""), Code::ok);
}

TEST_P(RetainedTest, Case49RetainHandling) {
  EXPECT_EQ(retain("a", "1"), Code::ok);
  RigClient& client = rig_.client(1);
  const auto count_after = [&](RetainHandling handling) {
    client.got.clear();
    follow(client, {.filter = "a", .retain_handling = handling});
    rig_.settle();
    return client.got.size();
  };
  EXPECT_EQ(count_after(RetainHandling::never), 0u);
  EXPECT_EQ(count_after(RetainHandling::if_new), 0u);
  EXPECT_EQ(count_after(RetainHandling::always), 1u);
  EXPECT_EQ(count_after(RetainHandling::always), 1u);
  rig_.ask(client, Unfollow{{{"a", ""}}});
  EXPECT_EQ(count_after(RetainHandling::if_new), 1u);
}

TEST_P(RetainedTest, Case51NothingRetainedForASharedSubscription) {
  EXPECT_EQ(retain("a", "1"), Code::ok);
  RigClient& client = rig_.client(0);
  follow(client, {.filter = "a", .share = "group"});
  rig_.settle();
  EXPECT_TRUE(client.got.empty());
}

TEST_P(RetainedTest, Case52ABurstWaitsForItsConnection) {
  for (int i = 0; i < 300; ++i) EXPECT_EQ(retain("t/" + std::to_string(i), "v"), Code::ok);
  RigClient& client = rig_.client(1);
  client.is_taking = false;
  follow(client, {.filter = "t/+", .qos_max = 2, .subscription_id = 7});
  rig_.settle();
  EXPECT_TRUE(client.got.empty());
  client.is_taking = true;
  rig_.settle();
  EXPECT_EQ(client.got.size(), 300u);
  EXPECT_EQ(client.got[0].qos_max, 2);
  EXPECT_EQ(client.got[0].ids, std::vector<uint32_t>{7});
}

TEST_P(RetainedTest, ABurstThatWaitsIsSeldomLookedAt) {
  for (int i = 0; i < 5; ++i) EXPECT_EQ(retain("a/" + std::to_string(i), "x"), Code::ok);
  std::vector<RigClient*> stuck;
  for (int i = 0; i < 20; ++i) {
    RigClient& client = rig_.client(1);
    client.is_taking = false;
    follow(client, {.filter = "a/#", .qos_max = 1});
    stuck.push_back(&client);
  }
  rig_.settle();
  const uint64_t before = rig_.hall(1).retained_metrics().bursts_paused_total;
  rig_.world.run_for(Duration::seconds(10));
  const uint64_t looks = rig_.hall(1).retained_metrics().bursts_paused_total - before;
  EXPECT_LE(looks, 20u * 100) << "20 that wait for 10 s";
  for (RigClient* client : stuck) client->is_taking = true;
  RigClient& first = *stuck[0];
  EXPECT_TRUE(first.context.is_waited_for);
  first.hall->on_ready(first.context);
  EXPECT_FALSE(first.got.empty()) << "who says that it is ready does not wait";
  EXPECT_FALSE(first.context.is_waited_for);
  rig_.world.run_for(Duration::millis(400));
  for (RigClient* client : stuck) EXPECT_EQ(client->got.size(), 5u);
}

TEST_P(RetainedTest, APageEndsWhenItHasManyBytes) {
  const std::string large(1'000'000, 'x');
  for (int i = 0; i < 12; ++i) EXPECT_EQ(retain("live/" + std::to_string(i), large), Code::ok);
  RigClient& admin = rig_.client(0);
  std::set<std::string> seen;
  std::string after;
  int pages = 0;
  do {
    const auto page = rig_.ask_for<ListedRetained>(admin, ListRetained{.filter = "live/#", .after = after, .count_max = 100});
    EXPECT_LE(page.messages.size(), 5u);
    for (const auto& one : page.messages) EXPECT_TRUE(seen.insert(one.topic).second);
    after = page.next;
  } while (!after.empty() && ++pages < 10);
  EXPECT_EQ(seen.size(), 12u);
}

TEST_P(RetainedTest, ABurstEndsWithItsConnectionAndItsSubscription) {
  for (int i = 0; i < 200; ++i) EXPECT_EQ(retain("t/" + std::to_string(i), "v"), Code::ok);
  RigClient& leaving = rig_.client(1);
  leaving.is_taking = false;
  follow(leaving, {.filter = "t/+"});
  RigClient& staying = rig_.client(2);
  staying.is_taking = false;
  follow(staying, {.filter = "t/+"});
  rig_.settle();
  leaving.close();
  rig_.ask(staying, Unfollow{{{"t/+", ""}}});
  staying.is_taking = true;
  rig_.settle();
  EXPECT_TRUE(leaving.got.empty());
  EXPECT_TRUE(staying.got.empty());
  // A subscription made again sends everything once.
  staying.is_taking = false;
  follow(staying, {.filter = "t/+"});
  follow(staying, {.filter = "t/+"});
  staying.is_taking = true;
  rig_.settle();
  EXPECT_EQ(staying.got.size(), 200u);
}

TEST_P(RetainedTest, TheNewestStaysTheLastWhatAFollowerSees) {
  Buffer headers;
  BatchBuilder::append_header(headers, "mqtt.retain", as_bytes("1"));
  for (int i = 0; i < 100; ++i) EXPECT_EQ(retain("sensors/" + std::to_string(i), "old"), Code::ok);
  RigClient& client = rig_.client(1);
  client.is_taking = false;
  follow(client, {.filter = "sensors/#", .qos_max = 1});
  rig_.settle();
  RigClient& publisher = rig_.client(2);
  for (int i = 0; i < 100; i += 3) {
    const std::string topic = "sensors/" + std::to_string(i);
    EXPECT_EQ(rig_.publish(publisher, {.topic = topic,
                                       .payload = as_bytes("new"),
                                       .raw_headers = headers.span(),
                                       .header_count = 1,
                                       .qos = 1,
                                       .retain = true}),
              Code::ok);
  }
  client.is_taking = true;
  rig_.settle(Duration::millis(200));  // a connection that took nothing is looked at every 128 ms
  Found last;
  for (const RigClient::Got& got : client.got) last[got.topic] = got.value;
  ASSERT_EQ(last.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(last["sensors/" + std::to_string(i)], i % 3 == 0 ? "new" : "old");
}

TEST_P(RetainedTest, Case44ExpiredMessagesAreNotSentAndTheirRowsGo) {
  EXPECT_EQ(retain("a", "1", 10), Code::ok);
  EXPECT_EQ(retain("b", "1", 100), Code::ok);
  rig_.settle(Duration::seconds(8));
  EXPECT_EQ(retained("#").size(), 2u);
  rig_.crash(CrashKind::process);
  rig_.start(rules());
  rig_.settle(Duration::seconds(3));
  EXPECT_EQ(retained("#"), (Found{{"b", "1"}}));
  EXPECT_EQ(rig_.rows("retained/"), 1u);
}

TEST_P(RetainedTest, WhatExpiresOnAFullDiskIsGoneAndItsRowIsTriedNowAndThen) {
  EXPECT_EQ(retain("a", "1", 10), Code::ok);
  EXPECT_EQ(retain("b", "1", 10), Code::ok);
  rig_.kv().is_full = true;
  rig_.settle(Duration::seconds(11));
  const uint64_t writes = rig_.kv().writes;
  rig_.settle(Duration::seconds(60));
  EXPECT_EQ(retained("#"), Found{});
  EXPECT_LE(rig_.kv().writes, writes + 12 * static_cast<uint64_t>(GetParam()));
  EXPECT_EQ(rig_.rows("retained/"), 2u);
  rig_.kv().is_full = false;
  EXPECT_EQ(retain("b", "2"), Code::ok);
  rig_.settle(Duration::seconds(12));
  EXPECT_EQ(rig_.rows("retained/"), 1u);
  EXPECT_EQ(retained("#"), (Found{{"b", "2"}}));
}

TEST_P(RetainedTest, RefusesWhatIsOverALimit) {
  rig_.retained_options.payload_bytes_max = 10;
  rig_.retained_options.levels_max = 3;
  EXPECT_EQ(retain("a", "12345678901"), Code::quota_exceeded);
  EXPECT_EQ(retain("a/b/c/d", "1"), Code::quota_exceeded);
  EXPECT_EQ(retain("a/b/c", "1"), Code::ok);
  rig_.crash(CrashKind::process);
  rig_.retained_options.messages_max = 0;
  rig_.start(rules());
  EXPECT_EQ(retain("b", "1"), Code::quota_exceeded);
  EXPECT_EQ(retain("a/b/c", "2"), Code::ok);
  EXPECT_EQ(retained("#"), (Found{{"a/b/c", "2"}}));
}

TEST_P(RetainedTest, IsListedByPagesAndClearedByAFilter) {
  for (int i = 0; i < 25; ++i) EXPECT_EQ(retain("t/" + std::to_string(i) + "/v", std::to_string(i)), Code::ok);
  EXPECT_EQ(retain("other", "1"), Code::ok);
  std::set<std::string> topics;
  ListRetained request{.filter = "t/+/v", .count_max = 4};
  int pages = 0;
  do {
    const ListedRetained page = rig_.ask_for<ListedRetained>(rig_.client(1), request);
    EXPECT_LE(page.messages.size(), 4u);
    for (const ListedRetained::One& one : page.messages) EXPECT_TRUE(topics.insert(one.topic).second);
    request.after = page.next;
    ++pages;
  } while (!request.after.empty() && pages < 20);
  EXPECT_EQ(topics.size(), 25u);
  EXPECT_EQ(std::get<Error>(rig_.ask(rig_.client(0), ListRetained{.filter = "a#"})).code, Code::invalid_argument);
  EXPECT_EQ(std::get<Error>(rig_.ask(rig_.client(0), ListRetained{.after = "x"})).code, Code::invalid_argument);
  EXPECT_EQ(rig_.ask_for<ClearedRetained>(rig_.client(2), ClearRetained{"t/#"}).count, 25);
  EXPECT_EQ(rig_.ask_for<ClearedRetained>(rig_.client(2), ClearRetained{"t/#"}).count, 0);
  rig_.crash(CrashKind::power);
  rig_.start(rules());
  EXPECT_EQ(retained("#"), (Found{{"other", "1"}}));
}

TEST_P(RetainedTest, DollarTopicsAndKafkasRecordsAreNotRetained) {
  EXPECT_EQ(retain("$SYS/x", "1"), Code::not_authorised);
  RigClient& producer = rig_.client(0);
  Buffer headers;
  BatchBuilder::append_header(headers, "mqtt.retain", as_bytes("1"));
  BatchBuilder builder;
  builder.begin_record(1000, std::nullopt, as_bytes("v"));
  builder.add_encoded_headers(headers.span(), 1);
  builder.end_record();
  Produce produce;
  produce.topics.push_back({"sensors", {}});
  produce.partitions.push_back({0, 0, builder.finish()});
  EXPECT_EQ(rig_.ask_for<Produced>(producer, std::move(produce)).partitions[0].code, Code::ok);
  EXPECT_TRUE(retained("#").empty());
}

TEST_P(RetainedTest, Case54NoLocalHoldsForTheSameClientId) {
  RigClient& own = rig_.client(rig_.hall(0).session_home(0, "meter"));
  rig_.ask(own, OpenSession{.client_id = "meter"});
  EXPECT_EQ(rig_.publish(own, {.topic = "a", .payload = as_bytes("mine"), .retain = true}), Code::ok);
  EXPECT_EQ(retain("b", "theirs"), Code::ok);
  follow(own, {.filter = "+", .no_local = true});
  rig_.settle();
  ASSERT_EQ(own.got.size(), 1u);
  EXPECT_EQ(own.got[0].topic, "b");
}

}  // namespace
}  // namespace robustmq::broker
