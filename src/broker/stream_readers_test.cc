// Streams read through the hall by connections that follow: from every place, through compression, transactions, retention, a
// connection that takes no more, and the topic's end.
#include <gtest/gtest.h>

#include <algorithm>

#include "broker/hall_rig.h"

namespace robustmq::broker {
namespace {

using At = StreamRead::Start::At;
using Values = std::vector<std::string>;

class StreamReadersTest : public testing::TestWithParam<int> {
 protected:
  StreamReadersTest() : rig_(GetParam()) { rig_.start(rules()); }
  static std::vector<TopicRule> rules() {
    TopicRule one;
    one.filter = "one/#";
    one.topic = "one";
    TopicRule four;
    four.filter = "four/#";
    four.topic = "four";
    four.partitions = 4;
    return {one, four};
  }
  void publish(const std::string& topic, const std::string& value) {
    ASSERT_EQ(rig_.publish(rig_.client(2), {.topic = topic, .payload = as_bytes(value), .qos = 1}), Code::ok);
  }
  Offset produce(std::string_view key, std::string_view value, int64_t timestamp_ms, int32_t partition = 0,
                 const std::string& topic = "one") {
    BatchBuilder builder;
    builder.begin_record(timestamp_ms, as_bytes(key), as_bytes(value));
    builder.end_record();
    Produce request;
    request.topics.push_back({topic, {}});
    request.partitions.push_back({0, partition, builder.finish(), {}});
    const auto row = rig_.ask_for<Produced>(rig_.client(0), std::move(request)).partitions.at(0);
    EXPECT_EQ(row.code, Code::ok);
    return row.base_offset;
  }
  static FollowOne read(std::string name, std::vector<StreamRead::Start> starts, std::string filter = {}) {
    return {.filter = std::move(filter),
            .share = {},
            .stream = std::make_shared<StreamRead>(StreamRead{std::move(name), std::move(starts)}),
            .qos_max = 1};
  }
  FollowResult follow(RigClient& client, FollowOne one) {
    return rig_.ask_for<Followed>(client, Follow{{std::move(one)}}).results[0];
  }
  static Values values(const RigClient& client) {
    Values all;
    for (const RigClient::Got& got : client.got) all.push_back(got.value);
    return all;
  }
  Values values_from(StreamRead::Start start) {
    RigClient& client = rig_.client(1);
    EXPECT_EQ(follow(client, read("one", {start})).code, Code::ok);
    rig_.settle();
    return values(client);
  }

  HallRig rig_;
};

INSTANTIATE_TEST_SUITE_P(Cores, StreamReadersTest, testing::Values(1, 3), testing::PrintToStringParamName());

TEST_P(StreamReadersTest, BeginsWhereItIsAskedToAndGoesOn) {
  publish("one/a", "0");
  publish("one/b", "1");
  rig_.settle(Duration::seconds(2));
  const int64_t now_ms = rig_.node.core(0).wall_now().ms;
  publish("one/a", "2");
  EXPECT_EQ(values_from({At::earliest}), (Values{"0", "1", "2"}));
  EXPECT_EQ(values_from({At::offset, 1}), (Values{"1", "2"}));
  EXPECT_EQ(values_from({At::time, now_ms}), (Values{"2"}));
  EXPECT_EQ(values_from({At::offset, 3}), (Values{}));
  RigClient& late = rig_.client(1);
  RigClient& never = rig_.client(0);
  follow(late, read("one", {}));
  follow(never, read("one", {{At::time, now_ms + 3'600'000}}));
  rig_.settle();
  publish("one/c", "3");
  publish("other", "4");
  rig_.settle();
  EXPECT_EQ(values(late), (Values{"3"}));
  EXPECT_EQ(values(never), (Values{"3"})) << "nothing was that late: it begins with what comes";
}

TEST_P(StreamReadersTest, SaysWhereEachMessageWas) {
  publish("one/a", "first");
  publish("one/a", "second");
  RigClient& client = rig_.client(1);
  FollowOne wanted = read("one", {{At::earliest}});
  wanted.subscription_id = 9;
  follow(client, wanted);
  rig_.settle();
  ASSERT_EQ(client.got.size(), 2u);
  const RigClient::Got& got = client.got[1];
  EXPECT_EQ(got.topic, "one/a");
  EXPECT_EQ(got.value, "second");
  EXPECT_EQ(got.qos_max, 1);
  EXPECT_EQ(got.ids, (std::vector<uint32_t>{9}));
  EXPECT_FALSE(got.is_retained);
  EXPECT_EQ(got.headers.at("stream-offset"), "1");
  EXPECT_EQ(got.headers.at("stream-partition"), "0");
  EXPECT_FALSE(got.headers.contains("key")) << "it is the topic";
  EXPECT_EQ(got.headers.at("ts"), std::to_string(got.timestamp_ms * 1000));
  EXPECT_EQ(got.headers.at("mqtt.topic"), "one/a") << "its own headers are there too";
}

TEST_P(StreamReadersTest, TellsTheKeyAndTheTimeThatAProducerChose) {
  constexpr int64_t kTime = INT64_MAX / 2;
  produce("k", "v", kTime);
  produce("", "w", 0);
  RigClient& client = rig_.client(1);
  follow(client, read("one", {{At::earliest}}));
  rig_.settle();
  ASSERT_EQ(client.got.size(), 2u);
  EXPECT_EQ(client.got[0].headers.at("key"), "k");
  EXPECT_EQ(client.got[0].headers.at("ts"), std::to_string(kTime) + "000");
  EXPECT_EQ(client.got[1].headers.at("key"), "");
  EXPECT_EQ(client.got[1].headers.at("ts"), "0");
}

TEST_P(StreamReadersTest, GoesOnInEachPartitionFromItsOwnPlace) {
  for (int i = 0; i < 60; ++i) publish("four/" + std::to_string(i % 15), std::to_string(i));
  RigClient& first = rig_.client(1);
  follow(first, read("four", {{At::earliest}}));
  rig_.settle();
  ASSERT_EQ(first.got.size(), 60u);
  std::map<std::string, int> last;
  std::map<int32_t, int64_t> next;
  std::set<std::string> seen;
  for (size_t i = 0; i < first.got.size(); ++i) {
    const RigClient::Got& got = first.got[i];
    const int value = std::stoi(got.value);
    EXPECT_TRUE(!last.contains(got.topic) || last[got.topic] < value) << "a topic is in order";
    last[got.topic] = value;
    if (i >= 25) continue;
    next[std::stoi(got.headers.at("stream-partition"))] = std::stoll(got.headers.at("stream-offset")) + 1;
    seen.insert(got.value);
  }
  std::vector<StreamRead::Start> starts{{At::earliest}};
  for (const auto& [partition, offset] : next) starts.push_back({At::offset, offset, partition});
  RigClient& second = rig_.client(0);
  follow(second, read("four", starts));
  rig_.settle();
  for (const RigClient::Got& got : second.got) EXPECT_TRUE(seen.insert(got.value).second) << got.value;
  EXPECT_EQ(seen.size(), 60u);
}

TEST_P(StreamReadersTest, ChoosesByAFilterAndFindsAStreamByItsRule) {
  publish("one/a", "0");
  publish("one/b/c", "1");
  RigClient& client = rig_.client(1);
  EXPECT_TRUE(follow(client, read("one", {{At::earliest}}, "one/+")).is_new);
  EXPECT_TRUE(follow(client, read("/one/#", {{At::earliest}}, "one/b/#")).is_new);
  rig_.settle();
  EXPECT_EQ(client.got.size(), 2u);
  client.got.clear();
  EXPECT_FALSE(follow(client, read("one", {{At::earliest}}, "one/+")).is_new) << "it begins anew";
  rig_.settle();
  EXPECT_EQ(values(client), (Values{"0"}));
  EXPECT_EQ(follow(client, read("two", {})).code, Code::invalid_topic);
  EXPECT_EQ(follow(client, read("/two/#", {})).code, Code::invalid_topic);
}

TEST_P(StreamReadersTest, WaitsForItsConnectionAndHoldsLittle) {
  const std::string large(100'000, 'x');
  for (int i = 0; i < 20; ++i) publish("one/a", std::to_string(i) + large);
  RigClient& client = rig_.client(1);
  client.is_taking = false;
  follow(client, read("one", {{At::earliest}}));
  rig_.settle(Duration::seconds(5));
  EXPECT_TRUE(client.got.empty());
  client.is_taking = true;
  client.hall->on_ready(client.context);
  EXPECT_FALSE(client.got.empty()) << "it does not wait for a look";
  rig_.settle(Duration::seconds(1));
  ASSERT_EQ(client.got.size(), 20u);
  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(client.got[static_cast<size_t>(i)].value.substr(0, 3), (std::to_string(i) + large).substr(0, 3));
}

TEST_P(StreamReadersTest, EndsWithUnfollowAndWithItsConnection) {
  RigClient& client = rig_.client(1);
  follow(client, read("one", {}));
  const Unfollow end{{{"", "", "one"}}};
  EXPECT_EQ(rig_.hall(1).metrics().stream_subscriptions, 1);
  EXPECT_TRUE(rig_.ask_for<Unfollowed>(client, Unfollow(end)).existed.at(0));
  EXPECT_FALSE(rig_.ask_for<Unfollowed>(client, Unfollow(end)).existed.at(0));
  publish("one/a", "0");
  rig_.settle();
  EXPECT_TRUE(client.got.empty());
  RigClient& gone = rig_.client(1);
  follow(gone, read("one", {{At::earliest}}));
  rig_.settle();
  EXPECT_EQ(gone.got.size(), 1u);
  gone.close();
  publish("one/a", "1");
  rig_.settle();
  EXPECT_EQ(gone.got.size(), 1u);
  EXPECT_EQ(rig_.hall(1).metrics().stream_subscriptions, 0);
}

TEST_P(StreamReadersTest, CountsAgainstTheLimitOfSubscriptions) {
  rig_.options.subscriptions_max = 2;
  RigClient& client = rig_.client(1);
  EXPECT_EQ(follow(client, {.filter = "a"}).code, Code::ok);
  EXPECT_EQ(follow(client, read("one", {})).code, Code::ok);
  EXPECT_EQ(follow(client, read("four", {})).code, Code::quota_exceeded);
  EXPECT_EQ(follow(client, read("one", {{At::earliest}})).code, Code::ok) << "in place of the one that is there";
}

TEST_P(StreamReadersTest, CountsPartitionsAgainstTheLimitOfAFetch) {
  rig_.options.fetch_partitions_max = 4;
  RigClient& client = rig_.client(1);
  EXPECT_EQ(follow(client, read("four", {})).code, Code::ok);
  EXPECT_EQ(follow(client, read("one", {})).code, Code::quota_exceeded);
  EXPECT_EQ(follow(client, read("four", {{At::earliest}})).code, Code::ok);
  EXPECT_EQ(follow(rig_.client(1), read("one", {})).code, Code::ok) << "a connection for itself";
}

TEST_P(StreamReadersTest, KeepsWhatItReadsWhenAnotherPlaceIsRefused) {
  RigClient& client = rig_.client(1);
  EXPECT_EQ(follow(client, read("four", {})).code, Code::ok);
  rig_.options.fetch_partitions_max = 3;
  EXPECT_EQ(follow(client, read("four", {{At::earliest}})).code, Code::quota_exceeded);
  rig_.options.fetch_partitions_max = 4;
  publish("four/a", "0");
  rig_.settle();
  EXPECT_EQ(values(client), (Values{"0"}));
}

TEST_P(StreamReadersTest, ReadsPartitionsThatCameLater) {
  RigClient& client = rig_.client(1);
  EXPECT_EQ(follow(client, read("one", {})).code, Code::ok);
  rig_.settle();
  GrowTopics grow;
  grow.topics.push_back({.name = "one", .partitions = 3});
  EXPECT_EQ(rig_.ask_for<GrownTopics>(rig_.client(0), std::move(grow)).topics.at(0).code, Code::ok);
  produce("k", "in the new one", 1000, 2);
  rig_.settle(Duration::seconds(40));
  EXPECT_EQ(values(client), (Values{"in the new one"}));
}

TEST_P(StreamReadersTest, GoesOnBehindWhatRetentionDropped) {
  for (int i = 0; i < 5; ++i) publish("one/a", std::to_string(i));
  RigClient& kafka = rig_.client(0);
  DeleteRecords request{.topics = {{"one", {}}}, .partitions = {{.topic_index = 0, .partition = 0, .before = 3}}};
  EXPECT_EQ(rig_.ask_for<DeletedRecords>(kafka, std::move(request)).partitions.at(0).code, Code::ok);
  EXPECT_EQ(values_from({At::offset, 1}), (Values{"3", "4"}));
  EXPECT_EQ(rig_.hall(1).metrics().stream_gaps_total, 1u);
  EXPECT_EQ(values_from({At::offset, 1000}), (Values{})) << "past the end: it begins with what comes";
}

TEST_P(StreamReadersTest, IsToldWhenTheTopicGoes) {
  RigClient& client = rig_.client(1);
  publish("one/a", "0");
  follow(client, read("one", {{At::earliest}}));
  rig_.settle();
  const auto deleted = rig_.ask_for<DeletedTopics>(rig_.client(0), DeleteTopics{{{"one", {}}}});
  EXPECT_EQ(deleted.topics.at(0).code, Code::ok);
  rig_.settle(Duration::seconds(40));
  EXPECT_EQ(client.notices, (std::vector<Notice>{Notice::topic_deleted}));
  EXPECT_EQ(rig_.hall(1).metrics().stream_subscriptions, 0);
}

TEST_P(StreamReadersTest, ReadsOnAfterACrashOfTheNode) {
  for (int i = 0; i < 5; ++i) publish("one/a", std::to_string(i));
  rig_.crash(runtime::sim::CrashKind::power);
  rig_.start(rules());
  EXPECT_EQ(values_from({At::offset, 2}), (Values{"2", "3", "4"}));
}

}  // namespace
}  // namespace robustmq::broker
