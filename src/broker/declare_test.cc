// Queues and streams that subscriptions make, through the halls of a simulated node: what comes to them, what is refused, and
// what a crash leaves.
#include <gtest/gtest.h>

#include "broker/session/session_rig.h"

namespace robustmq::broker::test {
namespace {

using Texts = std::vector<std::string>;
using runtime::sim::CrashKind;

class DeclareTest : public ::testing::Test {
 protected:
  DeclareTest() : rig(3) { rig.broker_options.queues_available = true; }
  static Follow queue(std::string name) {
    Follow request;
    request.filters.push_back({.filter = std::move(name), .share = "$queue", .qos_max = 1, .may_make = true});
    return request;
  }
  FollowResult follow(Client& client, std::string name) {
    return rig.ask_for<Followed>(client, queue(std::move(name))).results.at(0);
  }
  FollowResult read(Client& client, std::string name, std::string filter) {
    Follow request;
    auto stream = std::make_shared<StreamRead>();
    stream->name = std::move(name);
    stream->starts.push_back({.at = StreamRead::Start::At::earliest});
    request.filters.push_back({.filter = std::move(filter), .stream = std::move(stream), .qos_max = 1, .may_make = true});
    return rig.ask_for<Followed>(client, std::move(request)).results.at(0);
  }
  void publish(std::string_view topic, std::string_view value) {
    ASSERT_EQ(rig.publish(rig.kafka(1), topic, value), Code::ok);
    rig.settle();
  }
  DescribedTopics topics() { return rig.ask_for<DescribedTopics>(rig.kafka(), DescribeTopics{.all = true, .with_light = true}); }
  bool has_light(std::string_view name) {
    for (const DescribedTopic& row : topics().topics) {
      if (row.facts.is_light && row.facts.name == name) return true;
    }
    return false;
  }
  DeclareMetrics metrics() {
    DeclareMetrics sum;
    for (const auto& hall : rig.halls) {
      sum.streams += hall->declare_metrics().streams;
      sum.streams_made_total += hall->declare_metrics().streams_made_total;
      sum.streams_refused_total += hall->declare_metrics().streams_refused_total;
    }
    return sum;
  }

  SessionRig rig;
};

TEST_F(DeclareTest, ASubscriptionMakesItsQueueOverTheFilter) {
  rig.start();
  publish("plant/1/temp", "before");
  Client& a = rig.kafka(0);
  EXPECT_EQ(follow(a, "temps/plant/+/temp").code, Code::ok);
  const auto stream = rig.metas[0]->find(kDefaultTenant, "temps");
  ASSERT_TRUE(stream);
  EXPECT_TRUE(stream->is_rule);
  EXPECT_EQ(stream->mqtt_filter, "plant/+/temp");
  EXPECT_EQ(stream->config.mode, meta::Mode::persistent);
  publish("plant/1/temp", "one");
  publish("plant/2/rpm", "other");
  publish("plant/2/temp", "two");
  EXPECT_EQ(a.values(), (Texts{"one", "two"}));
  EXPECT_EQ(a.received.at(1).topic, "plant/2/temp");
  EXPECT_TRUE(has_light("plant.1.temp")) << "what came before is where it was";
  EXPECT_FALSE(has_light("plant.2.temp"));
  Client& b = rig.kafka(1);
  EXPECT_EQ(follow(b, "temps").code, Code::ok) << "by its name alone";
  Client& live = rig.connect("live");
  rig.resume(live, "live");
  rig.follow(live, "plant/#", 1);
  publish("plant/3/temp", "three");
  EXPECT_EQ(live.values(), (Texts{"three"})) << "who follows the topics gets them as before";
  EXPECT_EQ(metrics().streams, 1);
  EXPECT_EQ(metrics().streams_made_total, 1u);
}

TEST_F(DeclareTest, ItIsThereAfterACrash) {
  rig.start();
  EXPECT_EQ(follow(rig.kafka(0), "temps/plant/+/temp").code, Code::ok);
  rig.restart(CrashKind::power);
  publish("plant/1/temp", "one");
  rig.restart(CrashKind::process);
  Client& a = rig.kafka(2);
  EXPECT_EQ(follow(a, "temps").code, Code::ok);
  rig.settle();
  EXPECT_EQ(a.values(), (Texts{"one"}));
  EXPECT_EQ(metrics().streams, 1);
}

TEST_F(DeclareTest, AStreamIsMadeAndRead) {
  rig.start();
  Client& a = rig.kafka(0);
  EXPECT_EQ(read(a, "temps", "plant/+/temp").code, Code::ok);
  publish("plant/1/temp", "one");
  Client& b = rig.kafka(1);
  EXPECT_EQ(read(b, "temps", "plant/+/temp").code, Code::ok);
  rig.settle();
  EXPECT_EQ(a.values(), (Texts{"one"}));
  EXPECT_EQ(b.values(), (Texts{"one"}));
  EXPECT_EQ(metrics().streams_made_total, 1u);
}

TEST_F(DeclareTest, TheDeprecatedSpellingIsNamedByItsFilter) {
  rig.start();
  publish("jobs/a", "before");
  Client& a = rig.kafka(0);
  EXPECT_EQ(follow(a, "/jobs/a").code, Code::ok);
  publish("jobs/a", "one");
  EXPECT_EQ(a.values(), (Texts{"one"}));
  EXPECT_TRUE(rig.metas[0]->find(kDefaultTenant, "jobs.a"));
  EXPECT_EQ(follow(rig.kafka(0), "/jobs/+/x").code, Code::ok);
  EXPECT_EQ(metrics().streams, 2);
}

TEST_F(DeclareTest, WhatCannotBeMadeIsRefusedWithTheReason) {
  TopicRule rule;
  rule.filter = "plant/#";
  rule.topic = "plant";
  TopicRule light;
  light.filter = "light/#";
  rig.set_rules({rule, light});
  rig.start();
  Client& a = rig.kafka(0);
  FollowResult refused = follow(a, "temps/plant/+/temp");
  EXPECT_EQ(refused.code, Code::not_supported);
  EXPECT_EQ(
      refused.detail,
      "messages of plant/+/temp go elsewhere already, by plant/# to the stream plant, of which plant/plant/+/temp is a part");
  EXPECT_EQ(follow(a, "l/+/x").code, Code::not_supported) << "a rule without a stream claims too";
  EXPECT_EQ(follow(a, "bad name/a/+").code, Code::invalid_topic);
  EXPECT_EQ(follow(a, "sys/$SYS/#").code, Code::invalid_topic);
  EXPECT_EQ(metrics().streams_refused_total, 3u);
  EXPECT_EQ(follow(a, "jobs/jobs/#").code, Code::ok);
  refused = follow(a, "jobs/other/#");
  EXPECT_EQ(refused.code, Code::invalid_topic);
  EXPECT_EQ(refused.detail, "jobs has messages of jobs/# alone");
  EXPECT_EQ(follow(a, "jobs/jobs/urgent/#").code, Code::ok) << "a queue of its own over that stream";
  Follow plain = queue("more/more/#");
  plain.filters[0].may_make = false;
  EXPECT_EQ(rig.ask_for<Followed>(a, std::move(plain)).results.at(0).code, Code::invalid_topic);
  EXPECT_EQ(metrics().streams, 1);
}

TEST_F(DeclareTest, ANameThatAnotherLightTopicHasIsTaken) {
  rig.start();
  publish("jobs", "light");
  const FollowResult refused = follow(rig.kafka(0), "jobs/work/#");
  EXPECT_EQ(refused.code, Code::topic_exists);
  EXPECT_EQ(refused.detail, "the light topic jobs has this name");
  EXPECT_EQ(follow(rig.kafka(0), "jobs/jobs/#").code, Code::ok) << "its messages go on under the name";
  publish("jobs", "streamed");
  EXPECT_FALSE(has_light("jobs")) << "named once";
}

TEST_F(DeclareTest, ItsRuleEndsWithTheStream) {
  rig.start();
  Client& a = rig.kafka(0);
  EXPECT_EQ(follow(a, "temps/plant/+/temp").code, Code::ok);
  publish("plant/1/temp", "one");
  EXPECT_EQ(rig.ask_for<DeletedTopics>(rig.kafka(), DeleteTopics{{{"temps", {}}}}).topics.at(0).code, Code::ok);
  rig.settle();
  publish("plant/1/temp", "light again");
  EXPECT_EQ(a.values(), (Texts{"one"}));
  EXPECT_TRUE(has_light("plant.1.temp"));
  EXPECT_EQ(metrics().streams, 0);
}

TEST_F(DeclareTest, TwoWhoAskAtOnceShareIt) {
  rig.start();
  size_t granted = 0;
  Client& a = rig.kafka(0);
  Client& b = rig.kafka(1);
  for (Client* each : {&a, &b}) {
    each->hall->execute(each->context, queue("temps/plant/+/temp"),
                        [&](Reply reply) { granted += std::get<Followed>(reply).results.at(0).code == Code::ok; });
  }
  ASSERT_TRUE(rig.world.run_until([&] { return granted == 2; }, Duration::seconds(10)));
  publish("plant/1/temp", "one");
  EXPECT_EQ(a.received.size() + b.received.size(), 1u);
}

// It was published before the rule that its light topic's core knows already.
TEST_F(DeclareTest, AMessageOnItsWayWhenTheRuleComesIsTaken) {
  rig.start();
  std::string topic;
  for (int i = 0; topic.empty() || slot_of(kDefaultTenant, kafka_name_of_mqtt(topic)) % 3 == 0; ++i)
    topic = "plant/" + std::to_string(i) + "/temp";
  Client& from = rig.kafka(0);
  std::optional<Reply> published;
  Publish request;
  request.messages.push_back({.topic = topic, .payload = as_bytes(std::string_view("one")), .wants_reply = true, .qos = 1});
  from.hall->execute(from.context, std::move(request), [&](Reply reply) { published = std::move(reply); });
  ASSERT_FALSE(published);
  meta::Topic rule;
  rule.name = "temps";
  rule.id = Uuid::random(1, 2);
  rule.mqtt_filter = "plant/+/temp";
  rule.is_rule = true;
  rig.metas[0]->create_topic(std::move(rule), [](auto made) { EXPECT_TRUE(made.ok()); });
  ASSERT_TRUE(rig.world.run_until([&] { return published.has_value(); }, Duration::seconds(10)));
  EXPECT_EQ(std::get<Published>(*published).results.at(0).code, Code::ok);
  EXPECT_TRUE(has_light(kafka_name_of_mqtt(topic)));
  publish(topic, "two");
  Client& a = rig.kafka(0);
  EXPECT_EQ(read(a, "temps", "plant/+/temp").code, Code::ok);
  rig.settle();
  EXPECT_EQ(a.values(), (Texts{"two"}));
}

TEST_F(DeclareTest, GivenUpBeforeItIsThereItIsNotFollowed) {
  rig.start();
  Client& a = rig.kafka(0);
  std::optional<Reply> followed;
  a.hall->execute(a.context, queue("temps/plant/+/temp"), [&](Reply reply) { followed = std::move(reply); });
  EXPECT_TRUE(rig.ask_for<Unfollowed>(a, Unfollow{{{"temps/plant/+/temp", "$queue", {}}}}).existed.at(0));
  ASSERT_TRUE(rig.world.run_until([&] { return followed.has_value(); }, Duration::seconds(10)));
  publish("plant/1/temp", "one");
  EXPECT_TRUE(a.received.empty());
  Client& gone = rig.kafka(0);
  gone.hall->execute(gone.context, queue("rpm/plant/+/rpm"), [](const Reply&) { FAIL() << "it went"; });
  rig.close(gone);
  rig.settle();
  EXPECT_EQ(metrics().streams, 2) << "what was made stays";
}

TEST_F(DeclareTest, AQueueIsOpenedWithoutASubscription) {
  rig.start();
  EXPECT_EQ(rig.ask_for<QueueOpened>(rig.kafka(), OpenQueue{"jobs"}).code, Code::invalid_topic);
  CreateTopics create;
  create.topics.push_back({.name = "jobs", .settings = {}, .mqtt_filter = "jobs/#"});
  EXPECT_EQ(rig.ask_for<CreatedTopics>(rig.kafka(), std::move(create)).topics.at(0).code, Code::ok);
  const QueueOpened opened = rig.ask_for<QueueOpened>(rig.kafka(2), OpenQueue{"jobs"});
  EXPECT_EQ(opened.code, Code::ok);
  EXPECT_EQ(opened.group, "$queue/jobs");
  publish("jobs/a", "one");
  Client& a = rig.kafka(0);
  EXPECT_EQ(follow(a, "jobs").code, Code::ok);
  rig.settle();
  EXPECT_EQ(a.values(), (Texts{"one"}));
}

}  // namespace
}  // namespace robustmq::broker::test
