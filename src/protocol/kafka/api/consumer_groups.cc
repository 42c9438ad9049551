// ConsumerGroupHeartbeat 0-1 and ConsumerGroupDescribe 0-1: consumer groups with server-side assignment (KIP-848). Pure.
#include "protocol/kafka/api/group_makers.h"
#include "protocol/kafka/frames/consumer_group_describe.h"
#include "protocol/kafka/frames/consumer_group_heartbeat.h"

namespace robustmq::kafka {

namespace {

constexpr int8_t kClassicMember = 0;
constexpr int8_t kConsumerMember = 1;

class ConsumerGroupHeartbeatExchange final : public ExchangeOf<ConsumerGroupHeartbeatRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    broker::HeartbeatConsumer beat;
    beat.group = request_.group_id;
    beat.member_id = request_.member_id;
    beat.member_epoch = request_.member_epoch;
    beat.instance_id = copy_of(request_.instance_id);
    beat.rack_id = copy_of(request_.rack_id);
    beat.rebalance_timeout_ms = request_.rebalance_timeout_ms;
    if (request_.subscribed_topic_names)
      beat.topics.emplace(request_.subscribed_topic_names->begin(), request_.subscribed_topic_names->end());
    beat.topic_pattern = copy_of(request_.subscribed_topic_regex);
    beat.assignor = copy_of(request_.server_assignor);
    if (request_.topic_partitions) {
      beat.owned.emplace();
      for (auto& topic : *request_.topic_partitions) beat.owned->push_back({topic.topic_id, std::move(topic.partitions)});
    }
    beat.must_draw_id = version() >= 1;
    beat.client_id = facts_.client_id;
    beat.client_host = member_host(link_.facts.peer);
    call(out, std::move(beat));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    answer(heartbeat_answer<ConsumerGroupHeartbeatResponse>(replies[0]));
  }
};

class ConsumerGroupDescribeExchange final : public ExchangeOf<ConsumerGroupDescribeRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    if (request_.group_ids.empty()) return answer(ConsumerGroupDescribeResponse{});
    request_.group_ids = each_once(std::move(request_.group_ids));
    broker::DescribeConsumers describe;
    for (const std::string_view group : request_.group_ids) describe.groups.emplace_back(group);
    call(out, std::move(describe));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    answer(described_groups<ConsumerGroupDescribeResponse>(request_.group_ids, replies[0], [](auto& to, auto& member) {
      to.instance_id = view_of(member.instance_id);
      to.subscribed_topic_regex = member.topic_pattern;  // "" where it has none, as Kafka says
      to.assignment = assignment_of(member.assigned);
      to.target_assignment = assignment_of(member.target);
      to.member_type = member.is_classic ? kClassicMember : kConsumerMember;
    }));
  }

 private:
  using Assignment = ConsumerGroupDescribeResponse::Assignment;

  static Assignment assignment_of(std::vector<broker::DescribedConsumers::Topic>& topics) {
    Assignment assignment;
    for (auto& topic : topics) assignment.topic_partitions.push_back({topic.id, topic.name, std::move(topic.partitions)});
    return assignment;
  }
};

}  // namespace

Made make_consumer_group_heartbeat(Link& link, RequestFacts facts) {
  return std::make_unique<ConsumerGroupHeartbeatExchange>(link, std::move(facts));
}
Made make_consumer_group_describe(Link& link, RequestFacts facts) {
  return std::make_unique<ConsumerGroupDescribeExchange>(link, std::move(facts));
}

}  // namespace robustmq::kafka
