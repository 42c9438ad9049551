// For tests: a consumer group with server-side assignment, with its clock, its topics, its rows, and clients as they are written
// everywhere: what they own, and what they tell. Pure.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "broker/group/consumer_group.h"

namespace robustmq::broker {

class FakeTopics final : public TopicSource {
 public:
  TopicId make(const std::string& name, int32_t partitions) {
    ++made_;
    FollowableTopic topic{Uuid::random(made_ * 0x9E3779B97F4A7C15u, made_), name, partitions};
    topics_[name] = topic;
    return topic.id;
  }
  void grow(const std::string& name, int32_t partitions) { topics_.at(name).partitions = partitions; }
  void drop(const std::string& name) { topics_.erase(name); }
  bool has(const std::string& name) const { return topics_.contains(name); }

  std::optional<FollowableTopic> find(std::string_view name) const override {
    const auto at = topics_.find(name);
    return at == topics_.end() ? std::nullopt : std::optional(at->second);
  }
  std::optional<FollowableTopic> find(const TopicId& id) const override {
    for (const auto& [name, topic] : topics_) {
      if (topic.id == id) return topic;
    }
    return std::nullopt;
  }
  std::vector<FollowableTopic> list() const override {
    std::vector<FollowableTopic> out;
    for (const auto& [name, topic] : topics_) out.push_back(topic);
    return out;
  }

 private:
  uint64_t made_ = 0;
  std::map<std::string, FollowableTopic, std::less<>> topics_;
};

struct ConsumerLab {
  GroupOptions options;
  GroupMetrics metrics;
  GroupConfig config;
  FakeTopics topics;
  Instant now{};
  std::unique_ptr<ConsumerGroup> group = std::make_unique<ConsumerGroup>(options, metrics, topics);
  int ids = 0;
  // As stored.
  int32_t epoch_row = 0;
  std::map<std::string, MemberRow> rows;

  void store() {
    const ConsumerGroup::Changes changes = group->take_changes();
    if (changes.epoch) epoch_row = group->epoch();
    for (const std::string& id : changes.members) {
      if (auto row = group->row_of(id)) {
        rows[id] = *row;
      } else {
        rows.erase(id);
      }
    }
  }
  void restart() {
    group = std::make_unique<ConsumerGroup>(options, metrics, topics);
    group->restore(epoch_row, {rows.begin(), rows.end()}, config, now);
    store();
  }
  ConsumerHeartbeatReply beat(const HeartbeatConsumer& request) {
    ConsumerHeartbeatReply reply = group->heartbeat(request, "drawn" + std::to_string(++ids), config, now);
    store();
    return reply;
  }
  void pass(int64_t ms) {
    const Instant until = now + Duration::millis(ms);
    while (group->next_timer() <= until) {
      now = std::max(now, group->next_timer());
      group->tick(now);
      store();
    }
    now = until;
  }
  static HeartbeatConsumer join(std::string member_id, std::vector<std::string> topics = {"t"}) {
    HeartbeatConsumer request;
    request.group = "g";
    request.member_id = std::move(member_id);
    request.rebalance_timeout_ms = 60'000;
    request.topics = std::move(topics);
    request.owned.emplace();
    return request;
  }
  static HeartbeatConsumer idle(std::string member_id, int32_t epoch) {
    HeartbeatConsumer request;
    request.group = "g";
    request.member_id = std::move(member_id);
    request.member_epoch = epoch;
    return request;
  }
  DescribedConsumers::Member member(const std::string& id) const {
    for (const auto& member : group->describe().members) {
      if (member.id == id) return member;
    }
    ADD_FAILURE() << "no member " << id;
    return {};
  }
};

// A client of the consumer protocol.
struct FakeConsumer {
  ConsumerLab& lab;
  std::string id;
  std::vector<std::string> topics = {"t"};
  std::optional<std::string> instance = {};
  std::optional<std::string> pattern = {};
  std::optional<std::string> assignor = {};
  int32_t epoch = 0;
  Partitions given = {};  // told last
  Partitions owned = {};
  bool is_told = false;  // something that it has not acknowledged by telling what it owns
  bool has_news = true;  // tells everything with the next heartbeat
  bool is_slow = false;  // does not give back what it should
  Code last = Code::ok;

  std::vector<AssignedTopic> owned_topics() const { return by_topic(owned); }
  HeartbeatConsumer request() const {
    HeartbeatConsumer request = ConsumerLab::idle(id, epoch);
    request.instance_id = instance;
    if (!has_news && epoch != 0) return request;
    request.rebalance_timeout_ms = 60'000;
    request.topics = topics;
    request.topic_pattern = pattern;
    request.assignor = assignor;
    request.owned = owned_topics();
    return request;
  }
  void lose_all() {
    given.clear();
    owned.clear();
    is_told = false;
    epoch = 0;
    has_news = true;
  }
  // Works on what it was told, and no longer on the rest, unless it is slow.
  void follow_orders() {
    if (is_slow || !is_told) return;
    owned = given;
    is_told = false;
    has_news = true;
  }
  // One heartbeat. `is_answer_lost`: the member does not hear of it.
  Code beat(bool is_answer_lost = false) {
    follow_orders();
    const ConsumerHeartbeatReply reply = lab.beat(request());
    if (is_answer_lost) {
      has_news = true;
      return last = Code::timed_out;
    }
    last = reply.code;
    if (reply.code != Code::ok) {
      lose_all();
      return last;
    }
    epoch = reply.member_epoch;
    has_news = false;
    if (!reply.assignment) return last;
    Partitions told;
    for (const AssignedTopic& topic : *reply.assignment) {
      for (const int32_t partition : topic.partitions) told.insert({topic.topic, partition});
    }
    is_told = is_told || told != given;
    given = std::move(told);
    follow_orders();
    return last;
  }
  Code leave(int32_t with_epoch = -1) {
    HeartbeatConsumer request = ConsumerLab::idle(id, with_epoch);
    request.instance_id = instance;
    last = lab.beat(request).code;
    lose_all();
    return last;
  }
};

}  // namespace robustmq::broker
