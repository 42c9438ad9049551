// Filter trie against the plain matcher; who gets what from overlapping subscriptions.
#include "broker/follow.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "base/topic_names.h"
#include "broker/topic_rules.h"

namespace robustmq::broker {
namespace {

const char* const kLevels[] = {"a", "b", "", "$x", "c"};

std::string random_name(std::mt19937_64& random, bool is_filter) {
  std::string name;
  const size_t levels = 1 + random() % 4;
  for (size_t i = 0; i < levels; ++i) {
    if (i > 0) name += '/';
    const size_t pick = random() % (is_filter ? 8 : 5);
    if (pick == 5 || pick == 6) {
      name += '+';
    } else if (pick == 7) {
      return name + '#';
    } else {
      name += kLevels[pick];
    }
  }
  return name;
}

TEST(FilterTrie, FindsWhatThePlainMatcherFinds) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  FilterTrie<int> trie;
  std::vector<std::string> filters;
  for (int round = 0; round < 3000; ++round) {
    if (filters.size() < 40 && random() % 3 != 0) {
      const std::string filter = random_name(random, true);
      if (!is_valid_topic_filter(filter) || trie.find(filter) != nullptr) {
        if (auto* node = is_valid_topic_filter(filter) ? trie.find(filter) : nullptr; !node || !node->entries().empty()) continue;
      }
      trie.node(filter).entries().push_back(static_cast<int>(filters.size()));
      EXPECT_EQ(trie.find(filter)->filter(), filter);
      filters.push_back(filter);
    } else if (!filters.empty() && random() % 2 == 0) {
      const std::string filter = filters.back();
      auto* node = trie.find(filter);
      ASSERT_NE(node, nullptr);
      node->entries().clear();
      trie.prune(*node);
      filters.pop_back();
    }
    const std::string topic = random_name(random, false);
    if (!is_valid_topic_name(topic)) continue;
    std::multiset<int> found;
    trie.match(topic, [&](const std::vector<int>& entries) { found.insert(entries.begin(), entries.end()); });
    std::multiset<int> wanted;
    for (size_t i = 0; i < filters.size(); ++i) {
      if (filter_matches(filters[i], topic)) wanted.insert(static_cast<int>(i));
    }
    EXPECT_EQ(found, wanted) << topic;
    // A topic is a filter that matches itself alone.
    EXPECT_EQ(trie.overlaps(topic), !wanted.empty()) << topic;
  }
}

TEST(FilterTrie, OverlapIsFoundWheneverATopicSharesBothFilters) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 20000; ++round) {
    const std::string one = random_name(random, true);
    const std::string other = random_name(random, true);
    const std::string topic = random_name(random, false);
    if (!is_valid_topic_filter(one) || !is_valid_topic_filter(other) || !is_valid_topic_name(topic)) continue;
    FilterTrie<int> trie;
    trie.node(one).entries().push_back(1);
    if (filter_matches(one, topic) && filter_matches(other, topic))
      EXPECT_TRUE(trie.overlaps(other)) << one << " and " << other << " share " << topic;
  }
}

struct FollowGot {
  std::string topic;
  uint8_t qos;
  std::vector<uint32_t> ids;
};

struct FakeSink final : Sink {
  void on_delivery(const Delivery& delivery) override {
    got.push_back({std::string(delivery.topic), delivery.qos_max,
                   delivery.subscription_ids ? *delivery.subscription_ids : std::vector<uint32_t>{}});
  }
  void on_notice(Notice) override {}
  std::vector<FollowGot> got;
};

struct FollowClient {
  explicit FollowClient(uint64_t id) {
    context.sink = &sink;
    context.connection_id = id;
  }
  FakeSink sink;
  Context context;
};

void publish(Follows& follows, std::string_view topic, uint64_t origin) {
  RecordView record;
  if (const auto targets = follows.targets_of(topic)) follows.deliver(*targets, topic, record, Bytes(), origin);
}

TEST(Follows, GivesOneCopyAtTheHighestQosWithAllIds) {
  BrokerMetrics metrics;
  Follows follows(metrics);
  FollowClient client(1);
  follows.add(client.context, {.filter = "a/+", .subscription_id = 11});
  follows.add(client.context, {.filter = "a/b", .qos_max = 1, .subscription_id = 12});
  follows.add(client.context, {.filter = "#"});
  publish(follows, "a/b", 0);
  ASSERT_EQ(client.sink.got.size(), 1u);
  EXPECT_EQ(client.sink.got[0].qos, 1);
  EXPECT_EQ(client.sink.got[0].ids, (std::vector<uint32_t>{11, 12}));
  follows.close(client.context, [](const std::string&) {});
  EXPECT_TRUE(follows.empty());
  EXPECT_EQ(metrics.subscriptions, 0);
}

TEST(Follows, LeavesOwnMessagesOutOfNoLocalSubscriptionsOnly) {
  BrokerMetrics metrics;
  Follows follows(metrics);
  FollowClient client(1);
  follows.add(client.context, {.filter = "a", .qos_max = 1, .no_local = true, .subscription_id = 5});
  publish(follows, "a", 1);
  EXPECT_TRUE(client.sink.got.empty());
  publish(follows, "a", 2);
  EXPECT_EQ(client.sink.got.size(), 1u);
  follows.add(client.context, {.filter = "+", .subscription_id = 6});
  publish(follows, "a", 1);
  ASSERT_EQ(client.sink.got.size(), 2u);
  EXPECT_EQ(client.sink.got[1].ids, std::vector<uint32_t>{6});
  EXPECT_EQ(client.sink.got[1].qos, 0);
  follows.close(client.context, [](const std::string&) {});
}

TEST(Follows, ReplacesASubscriptionOfTheSameFilter) {
  BrokerMetrics metrics;
  Follows follows(metrics);
  FollowClient client(1);
  EXPECT_TRUE(follows.add(client.context, {.filter = "a"}).is_new);
  EXPECT_FALSE(follows.add(client.context, {.filter = "a", .qos_max = 1, .subscription_id = 9}).is_new);
  publish(follows, "a", 0);
  ASSERT_EQ(client.sink.got.size(), 1u);
  EXPECT_EQ(client.sink.got[0].qos, 1);
  EXPECT_TRUE(follows.remove(client.context, "a")->is_last);
  EXPECT_FALSE(follows.remove(client.context, "a").has_value());
}

TEST(FilterTrie, LooksAtAsManyNodesHoweverManyTopicsThereAre) {
  FilterTrie<int> trie;
  int id = 0;
  for (const char* filter : {"#", "bench/+/7", "bench/3/7", "bench/#", "other/#"}) trie.node(filter).entries().push_back(++id);
  for (int n = 0; n < 1000; ++n) trie.node("bench/" + std::to_string(n) + "/exact").entries().push_back(++id);
  // A level has at most the node of its name and the one of `+`: with n levels no more than 2^n, here far fewer.
  size_t most = 0;
  size_t matches = 0;
  for (int n = 0; n < 100'000; ++n) {
    const std::string topic = "bench/" + std::to_string(n / 100) + "/" + std::to_string(n % 100);
    most = std::max(most, trie.match(topic, [&](const std::vector<int>& entries) { matches += entries.size(); }));
  }
  EXPECT_LE(most, 6u);
  EXPECT_EQ(matches, 2u * 100'000 + 1000 + 1);
}

TEST(TopicRules, RefusesWhatIsNotBuiltByName) {
  TopicRule rule;
  rule.filter = "a/#";
  rule.topic = "a";
  rule.mode = meta::Mode::hybrid;
  EXPECT_TRUE(TopicRules::check({rule}).ok());
  rule.topic.clear();
  EXPECT_EQ(TopicRules::check({rule}).code(), Code::not_supported);
  EXPECT_NE(TopicRules::check({rule}).error().detail.find("hybrid"), std::string::npos) << "for streams alone";
  rule.topic = "a";
  rule.mode = meta::Mode::tiered;
  EXPECT_NE(TopicRules::check({rule}).error().detail.find("tiered"), std::string::npos);
  rule.mode = meta::Mode::persistent;
  EXPECT_TRUE(TopicRules::check({rule}).ok());
  rule.topic.clear();
  EXPECT_TRUE(TopicRules::check({rule}).ok());  // persistent light topics
  rule.filter = "a#";
  EXPECT_EQ(TopicRules::check({rule}).code(), Code::invalid_argument);
}

TEST(TopicRules, TheFirstThatMatchesWins) {
  TopicRule first;
  first.filter = "a/b";
  first.topic = "one";
  TopicRule second;
  second.filter = "a/#";
  second.topic = "two";
  const TopicRules rules({first, second});
  EXPECT_EQ(rules.find("a/b")->topic, "one");
  EXPECT_EQ(rules.find("a/c")->topic, "two");
  EXPECT_EQ(rules.find("b"), nullptr);
}

}  // namespace
}  // namespace robustmq::broker
