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
    answer(heartbeat_answer<ShareGroupHeartbeatResponse>(replies[0]));
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
    answer(described_groups<ShareGroupDescribeResponse>(request_.group_ids, replies[0], [](auto& to, auto& member) {
      for (auto& topic : member.assigned)
        to.assignment.topic_partitions.push_back({topic.id, topic.name, std::move(topic.partitions)});
    }));
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
