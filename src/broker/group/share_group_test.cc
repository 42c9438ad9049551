// Share groups: the machine, its assignor, and the values of where a group begins.
#include "broker/group/share_group.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "broker/group/share_start.h"

namespace robustmq::broker {
namespace {

struct Topics final : TopicSource {
  std::optional<FollowableTopic> find(std::string_view name) const override {
    const auto at = std::find_if(all.begin(), all.end(), [&](const FollowableTopic& topic) { return topic.name == name; });
    return at == all.end() ? std::nullopt : std::optional(*at);
  }
  std::optional<FollowableTopic> find(const TopicId& id) const override {
    const auto at = std::find_if(all.begin(), all.end(), [&](const FollowableTopic& topic) { return topic.id == id; });
    return at == all.end() ? std::nullopt : std::optional(*at);
  }
  std::vector<FollowableTopic> list() const override { return all; }
  void add(std::string name, int32_t partitions) {
    all.push_back({Uuid::random(1, all.size() + 1), std::move(name), partitions});
  }
  std::vector<FollowableTopic> all;
};

struct Lab {
  GroupOptions options;
  GroupMetrics metrics;
  Topics topics;
  GroupConfig config;
  Instant now{};
  std::unique_ptr<ShareGroup> made;

  ShareGroup& group() {
    if (!made) made = std::make_unique<ShareGroup>(options, metrics, topics);
    return *made;
  }
  ConsumerHeartbeatReply beat(const std::string& member, int32_t epoch, std::optional<std::vector<std::string>> follows = {}) {
    HeartbeatShare request;
    request.group = "g";
    request.member_id = member;
    request.member_epoch = epoch;
    if (epoch == 0 && !follows) follows = {"t"};
    request.topics = std::move(follows);
    return group().heartbeat(request, config, now);
  }
  static size_t count(const ConsumerHeartbeatReply& reply) {
    size_t count = 0;
    for (const AssignedTopic& topic : reply.assignment.value_or(std::vector<AssignedTopic>{})) count += topic.partitions.size();
    return count;
  }
  void pass(int64_t ms) {
    now = now + Duration::millis(ms);
    group().tick(now);
  }
};

TEST(ShareGroup, EveryMemberHasAPartitionAndEveryPartitionAMember) {
  Lab lab;
  lab.topics.add("t", 4);
  EXPECT_EQ(lab.count(lab.beat("a", 0)), 4u);
  EXPECT_EQ(lab.group().epoch(), 1);
  const auto b = lab.beat("b", 0);
  EXPECT_EQ(b.member_epoch, 2);
  EXPECT_EQ(lab.count(b), 2u);
  const auto a = lab.beat("a", 1);
  EXPECT_EQ(a.member_epoch, 2);
  EXPECT_EQ(lab.count(a), 2u);
  EXPECT_FALSE(lab.beat("a", 2).assignment.has_value()) << "as it was";
  for (int i = 0; i < 8; ++i) EXPECT_EQ(lab.count(lab.beat("m" + std::to_string(i), 0)), 1u);
  const auto described = lab.group().describe();
  EXPECT_EQ(described.state, "Stable");
  EXPECT_EQ(described.assignor, "simple");
  EXPECT_EQ(described.members.size(), 10u);
}

TEST(ShareGroup, FencesEpochsThatAreNotItsOwn) {
  Lab lab;
  lab.topics.add("t", 1);
  EXPECT_EQ(lab.beat("a", 0).member_epoch, 1);
  EXPECT_EQ(lab.beat("b", 0).member_epoch, 2);
  EXPECT_EQ(lab.beat("a", 1).member_epoch, 2);
  EXPECT_EQ(lab.count(lab.beat("a", 1)), 1u) << "the answer with the new epoch was lost: it is told all again";
  EXPECT_EQ(lab.beat("a", 3).code, Code::fenced_member_epoch);
  EXPECT_EQ(lab.beat("stranger", 1).code, Code::unknown_member);
  EXPECT_EQ(lab.beat("a", -2).code, Code::invalid_argument);
  EXPECT_EQ(lab.beat("", 0).code, Code::invalid_argument);
  EXPECT_EQ(lab.beat("c", 0, std::vector<std::string>{}).code, Code::invalid_argument);
  EXPECT_EQ(lab.beat("a", 0).member_epoch, 2) << "joins again in its place";
}

TEST(ShareGroup, LosesWhoLeavesAndWhoIsSilent) {
  Lab lab;
  lab.topics.add("t", 2);
  lab.beat("a", 0);
  lab.beat("b", 0);
  EXPECT_EQ(lab.count(lab.beat("a", 1)), 1u);
  EXPECT_EQ(lab.beat("b", -1).member_epoch, -1);
  EXPECT_EQ(lab.count(lab.beat("a", 2)), 2u);
  EXPECT_EQ(lab.beat("b", -1).code, Code::unknown_member);
  lab.pass(44'000);
  EXPECT_TRUE(lab.group().has_members());
  lab.pass(2'000);
  EXPECT_FALSE(lab.group().has_members());
  EXPECT_EQ(lab.group().state_name(), "Empty");
  EXPECT_EQ(lab.metrics.members_expired_total, 1u);
  EXPECT_EQ(lab.metrics.members, 0);
}

TEST(ShareGroup, BoundsItsMembers) {
  Lab lab;
  lab.options.share_members_max = 2;
  lab.topics.add("t", 1);
  EXPECT_EQ(lab.beat("a", 0).code, Code::ok);
  EXPECT_EQ(lab.beat("b", 0).code, Code::ok);
  EXPECT_EQ(lab.beat("c", 0).code, Code::quota_exceeded);
  EXPECT_EQ(lab.beat("b", 0).code, Code::ok);
  EXPECT_EQ(lab.metrics.members_refused_total, 1u);
}

TEST(ShareGroup, KnowsWhatItHasQueuesOverAndSaysSoOnce) {
  Lab lab;
  lab.topics.add("t", 1);
  lab.beat("a", 0, std::vector<std::string>{"t", "later"});
  EXPECT_EQ(lab.group().topics().size(), 1u);
  EXPECT_TRUE(lab.group().take_news());
  EXPECT_FALSE(lab.group().take_news());
  lab.topics.add("later", 3);
  EXPECT_FALSE(lab.beat("a", 1).assignment.has_value());
  lab.group().topics_changed();
  EXPECT_EQ(lab.count(lab.beat("a", 1)), 4u);
  EXPECT_TRUE(lab.group().take_news());
  EXPECT_EQ(lab.group().row().topics.size(), 2u);
  // What was read stays known when nobody reads it any more.
  lab.beat("a", 2, std::vector<std::string>{"t"});
  EXPECT_EQ(lab.group().topics().size(), 2u);
  EXPECT_FALSE(lab.group().take_news());
}

TEST(ShareGroup, TakesTenThousandMembers) {
  Lab lab;
  lab.options.share_members_max = 10'000;
  lab.topics.add("t", 16);
  AssignmentInput input;
  input.topics = {{lab.topics.all[0].id, 16}};
  for (int i = 0; i < 10'000; ++i) input.members.push_back({"m" + std::to_string(10'000 + i), {}, {lab.topics.all[0].id}, {}});
  const Assignment assignment = assign_shared(input);
  std::map<ShardId, int> readers;
  for (const auto& [id, part] : assignment) {
    ASSERT_EQ(part.size(), 1u);
    ++readers[*part.begin()];
  }
  ASSERT_EQ(readers.size(), 16u);
  for (const auto& [shard, count] : readers) EXPECT_EQ(count, 625);
}

TEST(ShareGroup, MakesOneTargetForManyMembersThatComeTogether) {
  Lab lab;
  lab.options.share_members_max = 10'000;
  lab.topics.add("t", 16);
  std::map<std::string, int32_t> epochs;
  std::map<std::string, int32_t> had;  // the partition that it was given first
  for (int i = 0; i < 5'000; ++i) {
    const std::string id = "m" + std::to_string(10'000 + i);
    const auto reply = lab.beat(id, 0);
    ASSERT_EQ(reply.code, Code::ok);
    ASSERT_GT(reply.member_epoch, 0);
    epochs[id] = reply.member_epoch;
    if (Lab::count(reply) > 0) had[id] = reply.assignment->at(0).partitions.at(0);
  }
  EXPECT_LT(lab.metrics.rebalances_total, ShareGroup::kEagerMembers + 5);
  lab.pass(ShareGroup::kAimPause.ns / 1'000'000);
  std::map<int32_t, int> readers;
  for (const auto& [id, epoch] : epochs) {
    const auto reply = lab.beat(id, epoch);
    if (!reply.assignment) {  // as it was
      ASSERT_TRUE(had.contains(id)) << id;
      ++readers[had[id]];
      continue;
    }
    ASSERT_EQ(Lab::count(reply), 1u) << id;
    ++readers[reply.assignment->at(0).partitions.at(0)];
  }
  EXPECT_EQ(readers.size(), 16u);
  EXPECT_EQ(lab.group().epoch(), static_cast<int32_t>(lab.metrics.rebalances_total));
}

TEST(ShareAssignor, IsFairAndKeepsWhatItCan) {
  std::mt19937 random(5);
  const TopicId one = Uuid::random(1, 1), two = Uuid::random(1, 2);
  AssignmentInput input;
  input.topics = {{one, 5}, {two, 3}};
  Assignment before;
  for (int round = 0; round < 200; ++round) {
    if (random() % 3 != 0 || input.members.empty()) {
      Assignee member;
      member.id = "m" + std::to_string(round + 1000);
      member.topics =
          random() % 4 == 0 ? std::vector<TopicId>{one} : std::vector<TopicId>{std::min(one, two), std::max(one, two)};
      input.members.push_back(std::move(member));
    } else {
      input.members.erase(input.members.begin() + static_cast<std::ptrdiff_t>(random() % input.members.size()));
    }
    for (Assignee& member : input.members) {
      const auto had = before.find(member.id);
      member.before = had == before.end() ? Partitions{} : had->second;
    }
    const Assignment now = assign_shared(input);
    std::map<ShardId, int> readers;
    for (const Assignee& member : input.members) {
      const Partitions& part = now.at(member.id);
      ASSERT_FALSE(part.empty());
      for (const ShardId& shard : part) {
        ++readers[shard];
        ASSERT_TRUE(std::binary_search(member.topics.begin(), member.topics.end(), shard.topic));
      }
    }
    const bool has_two =
        std::any_of(input.members.begin(), input.members.end(), [&](const Assignee& m) { return m.topics.size() > 1; });
    if (!input.members.empty()) ASSERT_EQ(readers.size(), has_two ? 8u : 5u);
    EXPECT_EQ(assign_shared(input), now) << "the same input, the same output";
    before = now;
  }
}

TEST(ShareStart, ReadsKafkasValues) {
  using At = QueueSettings::StartAt;
  EXPECT_EQ(start_of("latest")->at, At::latest);
  EXPECT_EQ(start_of("earliest")->at, At::earliest);
  EXPECT_EQ(start_of("by_duration:PT1H")->at, At::before_now);
  EXPECT_EQ(start_of("by_duration:PT1H")->before_ms, 3'600'000);
  EXPECT_EQ(start_of("by_duration:P2DT3H4M5.5S")->before_ms, 2 * 86'400'000 + 3 * 3'600'000 + 4 * 60'000 + 5'500);
  EXPECT_EQ(start_of("by_duration:P1D")->before_ms, 86'400'000);
  for (const char* wrong : {"", "none", "by_duration:", "by_duration:P", "by_duration:PT", "by_duration:1H", "by_duration:P1H",
                            "by_duration:PT1", "by_duration:PT1M1H", "by_duration:PT1.5H", "by_duration:PT.5S",
                            "by_duration:-PT1H", "by_duration:PT99999999999S", "by_duration:PT1.S"})
    EXPECT_FALSE(start_of(wrong).has_value()) << wrong;
}

}  // namespace
}  // namespace robustmq::broker
