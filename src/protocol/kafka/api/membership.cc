// JoinGroup 0-9, SyncGroup 0-5, Heartbeat 0-4, LeaveGroup 0-5: the classic consumer group protocol. Pure.
#include "protocol/kafka/api/group_makers.h"
#include "protocol/kafka/frames/heartbeat.h"
#include "protocol/kafka/frames/join_group.h"
#include "protocol/kafka/frames/leave_group.h"
#include "protocol/kafka/frames/sync_group.h"

namespace robustmq::kafka {

namespace {

class JoinGroupExchange final : public ExchangeOf<JoinGroupRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    broker::JoinGroup join;
    join.group = request_.group_id;
    join.member_id = request_.member_id;
    join.instance_id = copy_of(request_.group_instance_id);
    join.client_id = facts_.client_id;
    join.client_host = member_host(link_.facts.peer);
    join.protocol_type = request_.protocol_type;
    for (auto& protocol : request_.protocols) join.protocols.push_back({std::string(protocol.name), protocol.metadata.compact()});
    join.session_timeout_ms = request_.session_timeout_ms;
    join.rebalance_timeout_ms = version() >= 1 ? request_.rebalance_timeout_ms : request_.session_timeout_ms;
    // A static member is known by its instance and needs no id to come back with.
    join.member_id_required = version() >= 4 && !request_.group_instance_id;
    join.can_skip_assignment = version() >= 9;
    join.reason = request_.reason.value_or("");
    call(out, std::move(join));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    JoinGroupResponse response;
    Code code;
    broker::JoinedGroup* joined = reply_as<broker::JoinedGroup>(replies[0], code);
    if (joined) code = joined->code;
    response.error_code = wire_group_error(code);
    response.member_id = joined && !joined->member_id.empty() ? std::string_view(joined->member_id) : request_.member_id;
    if (code != Code::ok) {
      if (version() >= 7) response.protocol_name.reset();
      return answer(response);
    }
    response.generation_id = joined->generation;
    response.protocol_type = joined->protocol_type;
    response.protocol_name = joined->protocol;
    response.leader = joined->leader;
    response.skip_assignment = joined->skip_assignment;
    for (const auto& member : joined->members)
      response.members.push_back({member.id, view_of(member.instance_id), member.metadata});
    answer(response);
  }
};

class SyncGroupExchange final : public ExchangeOf<SyncGroupRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    if (version() >= 5 && !(request_.protocol_type && request_.protocol_name)) {
      SyncGroupResponse response;
      response.error_code = wire(KafkaError::inconsistent_group_protocol);
      return answer(response);
    }
    broker::SyncGroup sync;
    sync.group = request_.group_id;
    sync.member_id = request_.member_id;
    sync.instance_id = copy_of(request_.group_instance_id);
    sync.generation = request_.generation_id;
    sync.protocol_type = request_.protocol_type.value_or("");
    sync.protocol = request_.protocol_name.value_or("");
    for (auto& one : request_.assignments) sync.assignments.push_back({std::string(one.member_id), one.assignment.compact()});
    call(out, std::move(sync));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    SyncGroupResponse response;
    Code code;
    broker::SyncedGroup* synced = reply_as<broker::SyncedGroup>(replies[0], code);
    if (synced) code = synced->code;
    response.error_code = wire_group_error(code);
    if (code == Code::ok) {
      response.protocol_type = synced->protocol_type;
      response.protocol_name = synced->protocol;
      response.assignment = synced->assignment;
    }
    answer(response);
  }
};

class HeartbeatExchange final : public ExchangeOf<HeartbeatRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    call(out, broker::HeartbeatGroup{std::string(request_.group_id), std::string(request_.member_id),
                                     copy_of(request_.group_instance_id), request_.generation_id});
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    HeartbeatResponse response;
    Code code;
    if (auto* beat = reply_as<broker::HeartbeatReply>(replies[0], code)) code = beat->code;
    response.error_code = wire_group_error(code);
    answer(response);
  }
};

class LeaveGroupExchange final : public ExchangeOf<LeaveGroupRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    broker::LeaveGroup leave;
    leave.group = request_.group_id;
    if (version() < 3) {
      leave.members.push_back({std::string(request_.member_id), std::nullopt});
    } else {
      for (const auto& member : request_.members) {
        leave.members.push_back({std::string(member.member_id), copy_of(member.group_instance_id)});
      }
    }
    call(out, std::move(leave));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    LeaveGroupResponse response;
    Code code;
    broker::LeftGroup* left = reply_as<broker::LeftGroup>(replies[0], code);
    if (left) code = left->code;
    // Before version 3 the one member's error is the response's.
    if (version() < 3 && code == Code::ok && left && !left->members.empty()) code = left->members[0];
    response.error_code = wire_group_error(code);
    for (size_t i = 0; code == Code::ok && i < request_.members.size(); ++i) {
      const Code member_code = i < left->members.size() ? left->members[i] : Code::internal;
      response.members.push_back(
          {request_.members[i].member_id, request_.members[i].group_instance_id, wire_group_error(member_code)});
    }
    answer(response);
  }
};

}  // namespace

Made make_join_group(Link& link, RequestFacts facts) { return std::make_unique<JoinGroupExchange>(link, std::move(facts)); }
Made make_sync_group(Link& link, RequestFacts facts) { return std::make_unique<SyncGroupExchange>(link, std::move(facts)); }
Made make_heartbeat(Link& link, RequestFacts facts) { return std::make_unique<HeartbeatExchange>(link, std::move(facts)); }
Made make_leave_group(Link& link, RequestFacts facts) { return std::make_unique<LeaveGroupExchange>(link, std::move(facts)); }

}  // namespace robustmq::kafka
