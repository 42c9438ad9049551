// Rewritten topics, exclusive and automatic subscriptions, $SYS: by themselves, and in halls of one and of three cores.
#include <gtest/gtest.h>

#include <algorithm>

#include "broker/extensions/rewriter.h"
#include "broker/hall_rig.h"

namespace robustmq::broker {
namespace {

RewriteRule rule(std::string source, std::string expression, std::string destination, RewriteAction action = RewriteAction::all) {
  return {action, std::move(source), std::move(expression), std::move(destination)};
}

// The rules and the topics of EMQX's documentation.
TEST(Rewriter, TheLastRuleWhoseSourceMatchesHolds) {
  ExtensionMetrics metrics;
  Rewriter rewriter({rule("y/+/z/#", "^y/(.+)/z/(.+)$", "y/z/$2"), rule("x/#", "^x/y/(.+)$", "z/y/x/$1"),
                     rule("x/y/+", "^x/y/(\\d+)$", "z/y/$1")},
                    metrics);
  EXPECT_EQ(rewriter.publish("y/a/z/b", "", "").value(), "y/z/b");
  EXPECT_FALSE(rewriter.publish("y/def", "", "").has_value());
  EXPECT_FALSE(rewriter.publish("x/1/2", "", "").has_value());
  EXPECT_EQ(rewriter.publish("x/y/2", "", "").value(), "z/y/2");
  EXPECT_FALSE(rewriter.publish("x/y/z", "", "").has_value()) << "the last source matches, its expression does not";
  EXPECT_EQ(rewriter.publish("x/y/2", "", "").value(), "z/y/2") << "as it is remembered";
  EXPECT_EQ(metrics.topics_rewritten_total, 3u);
}

TEST(Rewriter, KnowsMessagesFromSubscriptions) {
  ExtensionMetrics metrics;
  Rewriter rewriter(
      {rule("a/#", "^a/(.*)$", "p/$1", RewriteAction::publish), rule("b/#", "^b/(.*)$", "s/$1", RewriteAction::subscribe)},
      metrics);
  EXPECT_EQ(rewriter.publish("a/x", "", "").value(), "p/x");
  EXPECT_FALSE(rewriter.subscribe("a/x", "", "").has_value());
  EXPECT_FALSE(rewriter.publish("b/x", "", "").has_value());
  EXPECT_EQ(rewriter.subscribe("b/#", "", "").value(), "s/#");
}

TEST(Rewriter, TakesWhatATopicSaysForNothingElse) {
  ExtensionMetrics metrics;
  Rewriter rewriter({rule("in/#", "^in/(.*)$", "to/%c/${username}/$1")}, metrics);
  EXPECT_EQ(rewriter.publish("in/%u", "$1", "u").value(), "to/$1/u/%u");
  EXPECT_FALSE(rewriter.publish("in/x", "a+b", "u").has_value()) << "no valid topic";
  EXPECT_EQ(metrics.rewrites_invalid_total, 1u);
}

TEST(Rewriter, RefusesRulesThatCannotWork) {
  EXPECT_FALSE(Rewriter::check({rule("a#", ".*", "b")}).ok());
  EXPECT_FALSE(Rewriter::check({rule("a", "(", "b")}).ok());
  EXPECT_FALSE(Rewriter::check({rule("a", "(.)", "b/$2")}).ok());
  EXPECT_FALSE(Rewriter::check({rule("a", ".", "")}).ok());
  EXPECT_TRUE(Rewriter::check({rule("a", "(.)", "b/$1")}).ok());
}

class ExtensionsTest : public testing::TestWithParam<int> {
 protected:
  ExtensionsTest() : rig_(GetParam()) {}
  RigClient& connect(const std::string& id) {
    const CoreIndex home = static_cast<CoreIndex>(slot_of(kDefaultTenant, id) % rig_.node.core_count());
    RigClient& client = rig_.client(home);
    EXPECT_TRUE(std::holds_alternative<SessionOpened>(rig_.ask(client, OpenSession{.client_id = id})));
    run();
    return client;
  }
  Code follow(RigClient& client, const std::string& filter) {
    return rig_.ask_for<Followed>(client, Follow{{FollowOne{.filter = filter, .qos_max = 1}}}).results.at(0).code;
  }
  bool unfollow(RigClient& client, const std::string& filter) {
    return rig_.ask_for<Unfollowed>(client, Unfollow{{{filter, ""}}}).existed.at(0);
  }
  void publish(RigClient& client, const std::string& topic) {
    EXPECT_EQ(rig_.publish(client, {.topic = topic, .payload = as_bytes(std::string_view("m"))}), Code::ok);
    run();
  }
  void run() { rig_.world.run_for(Duration::millis(5)); }
  static size_t count(const RigClient& client, std::string_view topic) {
    return static_cast<size_t>(
        std::count_if(client.got.begin(), client.got.end(), [&](const auto& got) { return got.topic == topic; }));
  }

  HallRig rig_;
};
INSTANTIATE_TEST_SUITE_P(Cores, ExtensionsTest, testing::Values(1, 3), testing::PrintToStringParamName());

TEST_P(ExtensionsTest, RewritesTopicsOfMessagesAndSubscriptions) {
  rig_.topic_rewrite = {rule("old/#", "^old/(.*)$", "new/$1")};
  rig_.start();
  RigClient& one = connect("one");
  EXPECT_EQ(follow(one, "old/+"), Code::ok);
  RigClient& two = connect("two");
  publish(two, "old/a");
  publish(two, "new/b");
  EXPECT_EQ(count(one, "new/a"), 1u);
  EXPECT_EQ(count(one, "new/b"), 1u);
  EXPECT_TRUE(unfollow(one, "old/+"));
}

TEST_P(ExtensionsTest, AnExclusiveTopicIsOneClientsUntilItGoes) {
  rig_.start();
  RigClient& one = connect("one");
  RigClient& two = connect("two");
  RigClient& three = connect("three");
  EXPECT_EQ(follow(one, "$exclusive/a/b"), Code::ok);
  EXPECT_EQ(follow(one, "$exclusive/a/b"), Code::ok) << "its own already";
  EXPECT_EQ(follow(two, "$exclusive/a/b"), Code::quota_exceeded);
  EXPECT_EQ(follow(two, "a/b"), Code::ok) << "others may follow as everyone";
  EXPECT_EQ(follow(three, "$exclusive/a/c"), Code::ok);
  publish(three, "a/b");
  EXPECT_EQ(count(one, "a/b"), 1u);
  EXPECT_EQ(count(two, "a/b"), 1u);
  EXPECT_TRUE(unfollow(one, "$exclusive/a/b"));
  run();
  EXPECT_EQ(follow(three, "$exclusive/a/b"), Code::ok);
  three.close();
  run();
  EXPECT_EQ(follow(one, "$exclusive/a/b"), Code::ok);
  int64_t kept = 0;
  for (int i = 0; i < GetParam(); ++i) kept += rig_.hall(static_cast<size_t>(i)).extension_metrics().exclusive_subscriptions;
  EXPECT_EQ(kept, 1);
}

// A client need not wait for its SUBACK before it goes on.
TEST_P(ExtensionsTest, AnExclusiveTopicMayBeGivenBackBeforeItIsHad) {
  rig_.start();
  RigClient& one = connect("one");
  RigClient& two = connect("two");
  for (const char* topic : {"a", "b", "c", "d", "e"}) {  // some home is another core's
    const std::string filter = std::string("$exclusive/") + topic;
    const Follow wanted{{FollowOne{.filter = filter, .qos_max = 1}}};
    int answers = 0;
    const auto note = [&](const Reply&) { ++answers; };
    one.hall->execute(one.context, wanted, note);
    one.hall->execute(one.context, Unfollow{{{filter, ""}}}, note);
    run();
    EXPECT_EQ(answers, 2) << topic;
    publish(two, topic);
    EXPECT_EQ(count(one, topic), 0u) << topic;
    EXPECT_EQ(follow(two, filter), Code::ok) << topic;
    EXPECT_TRUE(unfollow(two, filter));
    run();
    // And claimed anew.
    one.hall->execute(one.context, wanted, note);
    one.hall->execute(one.context, Unfollow{{{filter, ""}}}, note);
    one.hall->execute(one.context, wanted, note);
    run();
    EXPECT_EQ(answers, 5) << topic;
    EXPECT_EQ(follow(two, filter), Code::quota_exceeded) << topic;
    publish(two, topic);
    EXPECT_EQ(count(one, topic), 1u) << topic;
  }
}

TEST_P(ExtensionsTest, NobodyHasAnExclusiveTopicWhoDoesNotFollowIt) {
  rig_.options.filter_levels_max = 2;
  rig_.options.subscriptions_max = 1;
  rig_.start();
  RigClient& one = connect("one");
  RigClient& two = connect("two");
  EXPECT_EQ(follow(one, "mine"), Code::ok);
  EXPECT_EQ(follow(one, "$exclusive/a"), Code::quota_exceeded);
  EXPECT_EQ(follow(one, "$exclusive/a/b/c"), Code::invalid_topic);
  run();
  EXPECT_EQ(follow(two, "$exclusive/a"), Code::ok);
}

TEST_P(ExtensionsTest, ThereAreAsManyExclusiveTopicsAsMayBe) {
  rig_.extensions.exclusive_max = 2;  // a core
  rig_.start();
  RigClient& one = connect("one");
  int had = 0;
  for (int i = 0; i < 20; ++i) had += follow(one, "$exclusive/t" + std::to_string(i)) == Code::ok;
  EXPECT_EQ(had, 2 * GetParam());
  uint64_t refused = 0;
  for (int i = 0; i < GetParam(); ++i) refused += rig_.hall(static_cast<size_t>(i)).extension_metrics().exclusive_refused_total;
  EXPECT_EQ(refused, static_cast<uint64_t>(20 - had));
}

TEST_P(ExtensionsTest, SubscribesClientsUnderTheirMountpoint) {
  rig_.auto_subscribe = {{.filter = "to/%c", .qos = 1}};
  rig_.start();
  RigClient& one = rig_.client(slot_of(kDefaultTenant, "one") % rig_.node.core_count());
  rig_.ask(one, OpenSession{.client_id = "one", .prefix = "floor1/"});
  run();
  publish(one, "to/one");
  publish(one, "floor1/to/one");
  ASSERT_EQ(one.got.size(), 1u);
  EXPECT_EQ(one.got[0].topic, "floor1/to/one");
}

TEST_P(ExtensionsTest, SubscribesClientsAsConfigured) {
  rig_.auto_subscribe = {{.filter = "to/%c/#", .qos = 1}, {.filter = "all"}};
  rig_.start();
  RigClient& one = connect("one");
  RigClient& odd = connect("o+d");
  publish(one, "to/one/x");
  publish(one, "to/od/x");
  publish(one, "all");
  EXPECT_EQ(one.got.size(), 2u);
  EXPECT_EQ(count(odd, "all"), 1u);
  EXPECT_EQ(odd.got.size(), 1u) << "an id with a wildcard follows nobody else's";
}

TEST_P(ExtensionsTest, SubscribesClientsToStreamsAndGroups) {
  TopicRule rule;
  rule.filter = "s/#";
  rule.topic = "s";
  rig_.auto_subscribe = {{.filter = "$stream/s/s/%c", .qos = 1, .from_start = true},
                         {.filter = "$stream/s", .qos = 1},
                         {.filter = "$stream/none/#"},
                         {.filter = "$queue/g/%c"}};  // a group: there are no queues
  rig_.start({rule});
  publish(rig_.client(0), "s/one");
  RigClient& one = connect("one");
  publish(one, "s/other");
  publish(one, "g/one");
  EXPECT_EQ(count(one, "s/one"), 1u) << "from its start";
  EXPECT_EQ(count(one, "s/other"), 1u);
  EXPECT_EQ(count(one, "g/one"), 1u);
}

TEST_P(ExtensionsTest, SubscribesClientsToStreamsUnderTheirMountpoint) {
  TopicRule rule;
  rule.filter = "floor1/#";
  rule.topic = "s";
  rig_.auto_subscribe = {{.filter = "$stream/s"}, {.filter = "$stream/s/%c"}};
  rig_.start({rule});
  RigClient& one = rig_.client(slot_of(kDefaultTenant, "one") % rig_.node.core_count());
  rig_.ask(one, OpenSession{.client_id = "one", .prefix = "floor1/x/"});
  run();
  publish(one, "floor1/x/one");
  publish(one, "floor1/y");
  EXPECT_EQ(count(one, "floor1/x/one"), 2u);
  EXPECT_EQ(count(one, "floor1/y"), 0u);
}

TEST_P(ExtensionsTest, TellsOfClientsThatComeAndGo) {
  rig_.start();
  RigClient& watcher = connect("watcher");
  EXPECT_EQ(follow(watcher, "$SYS/brokers/+/clients/#"), Code::ok);
  RigClient& one = connect("one");
  EXPECT_EQ(follow(one, "a"), Code::ok);
  EXPECT_TRUE(unfollow(one, "a"));
  one.close();
  run();
  for (const char* event : {"connected", "disconnected", "subscribed", "unsubscribed"})
    EXPECT_EQ(count(watcher, std::string("$SYS/brokers/1/clients/one/") + event), 1u) << event;
}

TEST_P(ExtensionsTest, PublishesItsNumbersAtIntervals) {
  rig_.extensions.sys_interval_ms = 1000;
  rig_.start();
  RigClient& watcher = connect("watcher");
  EXPECT_EQ(follow(watcher, "$SYS/#"), Code::ok);
  RigClient& one = connect("one");
  EXPECT_EQ(follow(one, "#"), Code::ok) << "a wildcard alone does not match $SYS";
  watcher.got.clear();
  rig_.world.run_for(Duration::millis(2'500));
  EXPECT_EQ(count(watcher, "$SYS/broker/uptime"), 2u);
  const auto clients = std::find_if(watcher.got.begin(), watcher.got.end(),
                                    [](const auto& got) { return got.topic == "$SYS/broker/clients/connected"; });
  ASSERT_NE(clients, watcher.got.end());
  EXPECT_EQ(clients->value, "2");
  EXPECT_TRUE(one.got.empty());
  EXPECT_EQ(rig_.publish(one, {.topic = "$SYS/broker/uptime"}), Code::not_authorised);
}

}  // namespace
}  // namespace robustmq::broker
