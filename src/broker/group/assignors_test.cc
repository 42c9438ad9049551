#include "broker/group/assignors.h"

#include <gtest/gtest.h>

#include <random>

namespace robustmq::broker {
namespace {

TopicId topic(uint8_t number) {
  TopicId id;
  id.bytes.fill(number);
  return id;
}
Partitions run(uint8_t number, int32_t from, int32_t to) {
  Partitions out;
  for (int32_t i = from; i < to; ++i) out.insert({topic(number), i});
  return out;
}
Partitions operator+(Partitions a, const Partitions& b) {
  a.insert(b.begin(), b.end());
  return a;
}

TEST(Assignors, AreKnownByName) {
  EXPECT_EQ(assignor_of("uniform"), Assignor::uniform);
  EXPECT_EQ(assignor_of("range"), Assignor::range);
  EXPECT_EQ(assignor_of("cooperative-sticky"), std::nullopt);
  EXPECT_EQ(assignor_name(Assignor::range), "range");
}

TEST(RangeAssignor, CutsEveryTopicAtTheSamePlaces) {
  AssignmentInput input;
  input.topics = {{topic(1), 5}, {topic(2), 5}};
  const std::vector<TopicId> both = {topic(1), topic(2)};
  input.members = {{"a", "", both, {}}, {"b", "i2", both, {}}, {"c", "i1", both, {}}};
  const Assignment given = assign(Assignor::range, input);
  // Those with instance ids first, by these.
  EXPECT_EQ(given.at("c"), run(1, 0, 2) + run(2, 0, 2));
  EXPECT_EQ(given.at("b"), run(1, 2, 4) + run(2, 2, 4));
  EXPECT_EQ(given.at("a"), run(1, 4, 5) + run(2, 4, 5));
}

TEST(RangeAssignor, GivesNothingToWhoComesTooLate) {
  AssignmentInput input;
  input.topics = {{topic(1), 1}};
  input.members = {{"a", "", {topic(1)}, {}}, {"b", "", {topic(1)}, {}}};
  const Assignment given = assign(Assignor::range, input);
  EXPECT_EQ(given.at("a").size(), 1u);
  EXPECT_TRUE(given.at("b").empty());
}

TEST(UniformAssignor, KeepsWhatMembersHadAsFarAsTheBalanceAllows) {
  AssignmentInput input;
  input.topics = {{topic(1), 6}};
  input.members = {{"a", "", {topic(1)}, run(1, 0, 6)}, {"b", "", {topic(1)}, {}}, {"c", "", {topic(1)}, {}}};
  Assignment given = assign(Assignor::uniform, input);
  EXPECT_EQ(given.at("a"), run(1, 0, 2));
  EXPECT_EQ(given.at("b").size(), 2u);
  EXPECT_EQ(given.at("c").size(), 2u);
  // Who leaves moves nothing of the others.
  input.members = {{"b", "", {topic(1)}, given.at("b")}, {"c", "", {topic(1)}, given.at("c")}};
  const Assignment then = assign(Assignor::uniform, input);
  for (const char* id : {"b", "c"}) {
    for (const ShardId& shard : given.at(id)) EXPECT_TRUE(then.at(id).contains(shard));
    EXPECT_EQ(then.at(id).size(), 3u);
  }
}

TEST(UniformAssignor, BalancesMembersThatFollowDifferentTopics) {
  AssignmentInput input;
  input.topics = {{topic(1), 4}, {topic(2), 4}};
  input.members = {{"a", "", {topic(1), topic(2)}, run(1, 0, 4) + run(2, 0, 4)}, {"b", "", {topic(1)}, {}}};
  const Assignment given = assign(Assignor::uniform, input);
  EXPECT_EQ(given.at("a"), run(2, 0, 4));
  EXPECT_EQ(given.at("b"), run(1, 0, 4));
}

// Each partition of a followed topic has one owner who follows it; no move of one partition would make things more equal.
TEST(UniformAssignor, IsCompleteAndBalancedForRandomGroups) {
  const uint64_t seed = std::random_device{}();
  for (uint64_t round = 0; round < 300; ++round) {
    SCOPED_TRACE(seed + round);
    std::mt19937_64 random(seed + round);
    AssignmentInput input;
    const uint8_t topics = static_cast<uint8_t>(1 + random() % 6);
    for (uint8_t i = 1; i <= topics; ++i) input.topics[topic(i)] = static_cast<int32_t>(random() % 9);
    const bool are_alike = random() % 3 == 0;
    const size_t members = 1 + random() % 7;
    for (size_t i = 0; i < members; ++i) {
      Assignee member;
      member.id = "m" + std::to_string(i);
      for (uint8_t t = 1; t <= topics; ++t) {
        if (are_alike || random() % 2) member.topics.push_back(topic(t));
        for (int32_t p = 0; p < 9; ++p) {
          if (random() % 5 == 0) member.before.insert({topic(t), p});
        }
      }
      input.members.push_back(std::move(member));
    }
    const Assignment given = assign(random() % 4 ? Assignor::uniform : Assignor::range, input);
    const Assignment uniform = assign(Assignor::uniform, input);
    for (const Assignment* one : {&given, &uniform}) {
      std::map<ShardId, int> owners;
      for (const Assignee& member : input.members) {
        for (const ShardId& shard : one->at(member.id)) {
          ++owners[shard];
          EXPECT_TRUE(std::binary_search(member.topics.begin(), member.topics.end(), shard.topic));
          EXPECT_LT(shard.partition, input.topics.at(shard.topic));
        }
      }
      for (const auto& [id, count] : input.topics) {
        const bool is_followed = std::any_of(input.members.begin(), input.members.end(), [&](const Assignee& member) {
          return std::binary_search(member.topics.begin(), member.topics.end(), id);
        });
        for (int32_t p = 0; p < count; ++p) EXPECT_EQ((owners[{id, p}]), is_followed ? 1 : 0);
      }
    }
    for (const Assignee& from : input.members) {
      for (const Assignee& to : input.members) {
        if (uniform.at(from.id).size() < uniform.at(to.id).size() + 2) continue;
        for (const ShardId& shard : uniform.at(from.id))
          EXPECT_FALSE(std::binary_search(to.topics.begin(), to.topics.end(), shard.topic)) << "could be more equal";
      }
    }
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace robustmq::broker
