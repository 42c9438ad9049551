// The makers of the exchanges of groups with server-side assignment, and what they share with the classic ones. Pure.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol/kafka/api/makers.h"

namespace robustmq::kafka {

Made make_consumer_group_heartbeat(Link& link, RequestFacts facts);
Made make_consumer_group_describe(Link& link, RequestFacts facts);

// "/127.0.0.1" of "127.0.0.1:51234", as Kafka shows a member's host.
inline std::string member_host(const std::string& peer) { return "/" + peer.substr(0, peer.rfind(':')); }

// What a member hears of its heartbeat, in a consumer group or a share group. Views into the reply.
template <class Response>
Response heartbeat_answer(broker::Reply& reply) {
  Response response;
  Code code;
  broker::ConsumerHeartbeatReply* beat = reply_as<broker::ConsumerHeartbeatReply>(reply, code);
  if (beat) code = beat->code;
  response.error_code = wire_group_error(code);
  if (code != Code::ok) {
    response.error_message = beat && !beat->detail.empty() ? std::string_view(beat->detail) : code_text(code);
    return response;
  }
  response.member_id = beat->member_id;
  response.member_epoch = beat->member_epoch;
  response.heartbeat_interval_ms = beat->heartbeat_interval_ms;
  if (beat->assignment) {
    auto& assignment = response.assignment.emplace();
    for (auto& topic : *beat->assignment) assignment.topic_partitions.push_back({topic.topic, std::move(topic.partitions)});
  }
  return response;
}

// Descriptions of groups, a row each; `fill(to, member)` adds what members of this kind have besides. Views into the reply.
template <class Response, class Fill>
Response described_groups(const std::vector<std::string_view>& ids, broker::Reply& reply, Fill fill) {
  Response response;
  Code whole;
  broker::DescribedConsumers* described = reply_as<broker::DescribedConsumers>(reply, whole);
  for (size_t i = 0; i < ids.size(); ++i) {
    auto& row = response.groups.emplace_back();
    row.group_id = ids[i];
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
      fill(to, member);
    }
  }
  return response;
}

}  // namespace robustmq::kafka
