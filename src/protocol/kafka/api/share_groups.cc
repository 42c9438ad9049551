// ShareGroupHeartbeat 1 and ShareGroupDescribe 1: who is in a share group, and who reads what (KIP-932). Pure.
#include "protocol/kafka/api/group_makers.h"
#include "protocol/kafka/api/share_makers.h"
#include "protocol/kafka/frames/share_group_describe.h"
#include "protocol/kafka/frames/share_group_heartbeat.h"

namespace robustmq::kafka {

namespace {

class ShareGroupHeartbeatExchange final : public ExchangeOf<ShareGroupHeartbeatRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    broker::HeartbeatShare beat;
    beat.group = request_.group_id;
    beat.member_id = request_.member_id;
    beat.member_epoch = request_.member_epoch;
    beat.rack_id = copy_of(request_.rack_id);
    if (request_.subscribed_topic_names)
      beat.topics.emplace(request_.subscribed_topic_names->begin(), request_.subscribed_topic_names->end());
    beat.client_id = facts_.client_id;
    beat.client_host = member_host(link_.facts.peer);
    call(out, std::move(beat));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    ShareGroupHeartbeatResponse response;
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

class ShareGroupDescribeExchange final : public ExchangeOf<ShareGroupDescribeRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    if (request_.group_ids.empty()) return answer(ShareGroupDescribeResponse{});
    request_.group_ids = each_once(std::move(request_.group_ids));
    broker::DescribeShares describe;
    for (const std::string_view group : request_.group_ids) describe.groups.emplace_back(group);
    call(out, std::move(describe));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    ShareGroupDescribeResponse response;
    Code whole;
    broker::DescribedConsumers* described = reply_as<broker::DescribedConsumers>(replies[0], whole);
    for (size_t i = 0; i < request_.group_ids.size(); ++i) {
      auto& row = response.groups.emplace_back();
      row.group_id = request_.group_ids[i];
      row.authorized_operations = kNoOperations;
      broker::DescribedConsumers::One* group = described && i < described->groups.size() ? &described->groups[i] : nullptr;
      const Code code = group ? group->code : described ? Code::internal : whole;
      row.error_code = wire_group_error(code);
      if (code != Code::ok) {
        row.error_message = group && !group->detail.empty() ? std::string_view(group->detail) : code_text(code);
        continue;
      }
      row.group_state = group->state;
      row.group_epoch = group->epoch;
      row.assignment_epoch = group->assignment_epoch;
      row.assignor_name = group->assignor;
      for (auto& member : group->members) {
        auto& to = row.members.emplace_back();
        to.member_id = member.id;
        to.rack_id = view_of(member.rack_id);
        to.member_epoch = member.epoch;
        to.client_id = member.client_id;
        to.client_host = member.client_host;
        to.subscribed_topic_names.assign(member.topics.begin(), member.topics.end());
        for (auto& topic : member.assigned)
          to.assignment.topic_partitions.push_back({topic.id, topic.name, std::move(topic.partitions)});
      }
    }
    answer(response);
  }
};

}  // namespace

Made make_share_group_heartbeat(Link& link, RequestFacts facts) {
  return std::make_unique<ShareGroupHeartbeatExchange>(link, std::move(facts));
}
Made make_share_group_describe(Link& link, RequestFacts facts) {
  return std::make_unique<ShareGroupDescribeExchange>(link, std::move(facts));
}

}  // namespace robustmq::kafka
