#include <gtest/gtest.h>

#include <random>

#include "broker/group/consumer_group_rig.h"

namespace robustmq::broker {
namespace {

// ---- Clients that come, work, lose answers, fall silent and leave at random, over restarts of the coordinator ----

class RandomConsumers {
 public:
  explicit RandomConsumers(uint64_t seed) : random_(seed) {
    lab_.options.members_max = 7;
    lab_.options.consumer_session_timeout_ms = 10'000;
    for (int i = 0; i < 9; ++i) {
      FakeConsumer& client = clients_.emplace_back(FakeConsumer{lab_, "m" + std::to_string(i)});
      if (i % 3 == 0) client.instance = "i" + std::to_string(i % 2);
      subscribe(client);
    }
    for (int i = 0; i < 3; ++i) lab_.topics.make("t" + std::to_string(i), static_cast<int32_t>(random_() % 5));
  }

  void run(int steps) {
    for (int i = 0; i < steps; ++i) {
      if (random_() % 5 == 0) lab_.pass(static_cast<int64_t>(random_() % 1'500));
      if (random_() % 60 == 0) change_topics();
      if (random_() % 150 == 0) {
        lab_.restart();
        ++restarts_;
      }
      act(clients_[random_() % clients_.size()]);
      check();
      if (testing::Test::HasFailure()) return;
    }
    settle();
  }
  int restarts() const { return restarts_; }

 private:
  void subscribe(FakeConsumer& client) {
    client.topics.clear();
    for (int i = 0; i < 4; ++i) {
      if (random_() % 2) client.topics.push_back("t" + std::to_string(i));
    }
    client.pattern = random_() % 4 == 0 ? "t[0-1]" : "";
    client.assignor.reset();
    if (random_() % 3 == 0) client.assignor = random_() % 2 ? "range" : "uniform";
    client.has_news = true;
  }
  void change_topics() {
    const std::string name = "t" + std::to_string(random_() % 4);
    if (!lab_.topics.has(name)) {
      lab_.topics.make(name, static_cast<int32_t>(1 + random_() % 4));
    } else if (random_() % 3 == 0) {
      lab_.topics.drop(name);
    } else {
      lab_.topics.grow(name, lab_.topics.find(name)->partitions + 1);
    }
    lab_.group->topics_changed();
  }
  void act(FakeConsumer& client) {
    const uint64_t what = random_() % 100;
    if (what == 0) return client.lose_all();  // its process died, and began anew
    if (what == 1) {
      client.leave(client.instance && random_() % 2 ? -2 : -1);
      return;
    }
    if (what == 2) return subscribe(client);
    if (what == 3) {
      client.has_news = true;
      return;
    }
    if (what == 4) {
      client.is_slow = !client.is_slow;
      return;
    }
    client.beat(random_() % 10 == 0);
    EXPECT_TRUE(client.last == Code::ok || client.last == Code::timed_out || client.last == Code::unknown_member ||
                client.last == Code::fenced_member_epoch || client.last == Code::fenced_instance ||
                client.last == Code::unreleased_instance || client.last == Code::quota_exceeded)
        << code_name(client.last);
  }
  void check() {
    const DescribedConsumers::One now = lab_.group->describe();
    EXPECT_GE(now.epoch, epoch_) << "the group's epoch fell";
    epoch_ = now.epoch;
    EXPECT_EQ(static_cast<size_t>(lab_.metrics.members), now.members.size());
    EXPECT_EQ(lab_.rows.size(), now.members.size());
    std::map<ShardId, std::string> assigned, owned;
    for (const auto& member : now.members) {
      EXPECT_LE(member.epoch, now.epoch);
      for (const auto& topic : member.assigned) {
        for (const int32_t partition : topic.partitions)
          EXPECT_TRUE(assigned.emplace(ShardId{topic.id, partition}, member.id).second) << "given to two members";
      }
      // What the member works on, as far as the coordinator counts it as a member: nobody else does.
      for (const FakeConsumer& client : clients_) {
        if (client.id != member.id || client.epoch <= 0) continue;
        for (const ShardId& shard : client.owned)
          EXPECT_TRUE(owned.emplace(shard, member.id).second) << "two members work on a partition";
      }
    }
  }

  // When nothing happens any more but heartbeats, everybody comes to the target, and it is complete.
  void settle() {
    for (int round = 0; round < 40; ++round) {
      lab_.pass(500);
      for (FakeConsumer& client : clients_) {
        client.is_slow = false;
        client.beat();
      }
      check();
    }
    const DescribedConsumers::One now = lab_.group->describe();
    EXPECT_TRUE(now.state == "Stable" || now.state == "Empty") << now.state;
    std::map<std::string, int32_t> given;
    for (const auto& member : now.members) {
      EXPECT_EQ(member.epoch, now.epoch);
      for (const auto& topic : member.assigned) given[topic.name] += static_cast<int32_t>(topic.partitions.size());
    }
    for (const FollowableTopic& topic : lab_.topics.list()) {
      EXPECT_EQ(given[topic.name], lab_.group->is_followed(topic.name) ? topic.partitions : 0) << topic.name;
    }
  }

  std::mt19937_64 random_;
  ConsumerLab lab_;
  std::vector<FakeConsumer> clients_;
  int32_t epoch_ = 0;
  int restarts_ = 0;
};

TEST(ConsumerGroup, KeepsItsInvariantsUnderRandomClientsAndRestarts) {
  const uint64_t seed = std::random_device{}();
  int restarts = 0;
  for (uint64_t i = 0; i < 12; ++i) {
    SCOPED_TRACE(seed + i);
    RandomConsumers consumers(seed + i);
    consumers.run(700);
    restarts += consumers.restarts();
    if (HasFailure()) return;
  }
  EXPECT_GT(restarts, 12);
}

}  // namespace
}  // namespace robustmq::broker
