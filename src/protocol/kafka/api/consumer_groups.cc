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
    ConsumerGroupHeartbeatResponse response;
    Code code;
    broker::ConsumerHeartbeatReply* beat = reply_as<broker::ConsumerHeartbeatReply>(replies[0], code);
    if (beat) code = beat->code;
    response.error_code = wire_group_error(code);
    if (code != Code::ok) {
      response.error_message = beat && !beat->detail.empty() ? std::string_view(beat->detail) : code_text(code);
      return answer(response);
    }
    response.member_id = beat->member_id;
    response.member_epoch = beat->member_epoch;
    response.heartbeat_interval_ms = beat->heartbeat_interval_ms;
    if (beat->assignment) {
      auto& assignment = response.assignment.emplace();
      for (auto& topic : *beat->assignment) assignment.topic_partitions.push_back({topic.topic, std::move(topic.partitions)});
    }
    answer(response);
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
    ConsumerGroupDescribeResponse response;
    Code whole;
    broker::DescribedConsumers* described = reply_as<broker::DescribedConsumers>(replies[0], whole);
    for (size_t i = 0; i < request_.group_ids.size(); ++i) {
      auto& row = response.groups.emplace_back();
      row.group_id = request_.group_ids[i];
      row.authorized_operations = kNoOperations;
      broker::DescribedConsumers::One* group = described && i < described->groups.size() ? &described->groups[i] : nullptr;
      const Code code = group ? group->code : described ? Code::internal : whole;
      row.error_code = wire_group_error(code);
      if (code == Code::ok) {
        fill(row, *group);
      } else {
        row.error_message = group && !group->detail.empty() ? std::string_view(group->detail) : code_text(code);
      }
    }
    answer(response);
  }

 private:
  using Row = ConsumerGroupDescribeResponse::DescribedGroup;
  using Assignment = ConsumerGroupDescribeResponse::Assignment;

  static Assignment assignment_of(std::vector<broker::DescribedConsumers::Topic>& topics) {
    Assignment assignment;
    for (auto& topic : topics) assignment.topic_partitions.push_back({topic.id, topic.name, std::move(topic.partitions)});
    return assignment;
  }
  static void fill(Row& row, broker::DescribedConsumers::One& group) {
    row.group_state = group.state;
    row.group_epoch = group.epoch;
    row.assignment_epoch = group.assignment_epoch;
    row.assignor_name = group.assignor;
    for (auto& member : group.members) {
      auto& to = row.members.emplace_back();
      to.member_id = member.id;
      to.instance_id = view_of(member.instance_id);
      to.rack_id = view_of(member.rack_id);
      to.member_epoch = member.epoch;
      to.client_id = member.client_id;
      to.client_host = member.client_host;
      to.subscribed_topic_names.assign(member.topics.begin(), member.topics.end());
      to.subscribed_topic_regex = text_or_null(member.topic_pattern);
      to.assignment = assignment_of(member.assigned);
      to.target_assignment = assignment_of(member.target);
      to.member_type = member.is_classic ? kClassicMember : kConsumerMember;
    }
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
