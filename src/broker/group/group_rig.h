// For tests: a consumer group with its clock and the answers it gave. Pure.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "broker/group/group.h"

namespace robustmq::broker {

using State = Group::State;

struct Lab {
  GroupOptions options;
  GroupMetrics metrics;
  Instant now{};
  Group group{options, metrics};
  Group::Ticket last = 0;
  int ids = 0;
  std::map<Group::Ticket, JoinedGroup> joined;
  std::map<Group::Ticket, SyncedGroup> synced;

  ~Lab() { group.close(Code::shutting_down); }

  void take() {
    for (auto& [ticket, reply] : group.outputs().joined)
      EXPECT_TRUE(joined.emplace(ticket, std::move(reply)).second) << "answered twice";
    for (auto& [ticket, reply] : group.outputs().synced)
      EXPECT_TRUE(synced.emplace(ticket, std::move(reply)).second) << "answered twice";
    group.outputs() = {};
  }
  static JoinGroup request(std::string member_id = {}, std::string metadata = "m") {
    JoinGroup join;
    join.group = "g";
    join.member_id = std::move(member_id);
    join.client_id = "c";
    join.protocol_type = "consumer";
    join.protocols = {{"range", Bytes::copy_of(metadata)}};
    join.session_timeout_ms = 10'000;
    join.rebalance_timeout_ms = 60'000;
    return join;
  }
  Group::Ticket join(const JoinGroup& join) {
    group.join(++last, join, "id" + std::to_string(++ids), now);
    take();
    return last;
  }
  Group::Ticket sync(const std::string& member_id, int32_t generation, std::vector<SyncGroup::Assignment> assignments = {}) {
    SyncGroup sync;
    sync.group = "g";
    sync.member_id = member_id;
    sync.generation = generation;
    sync.assignments = std::move(assignments);
    group.sync(++last, sync, now);
    take();
    return last;
  }
  Code heartbeat(const std::string& member_id, int32_t generation, std::optional<std::string> instance = {}) {
    HeartbeatGroup beat{"g", member_id, std::move(instance), generation};
    const Code code = group.heartbeat(beat, now);
    take();
    return code;
  }
  Code leave(const std::string& member_id, std::optional<std::string> instance = {}) {
    LeaveGroup leave;
    leave.members = {{member_id, std::move(instance)}};
    const Code code = group.leave(leave, now).members.at(0);
    take();
    return code;
  }
  Code commit(const std::string& member_id, int32_t generation, std::optional<std::string> instance = {}) {
    CommitOffsets commit;
    commit.member_id = member_id;
    commit.generation = generation;
    commit.instance_id = std::move(instance);
    const Code code = group.check_commit(commit, now);
    take();
    return code;
  }
  void pass(int64_t ms) {
    const Instant until = now + Duration::millis(ms);
    while (group.next_timer() <= until) {
      now = std::max(now, group.next_timer());
      group.tick(now);
      take();
    }
    now = until;
  }
  bool waits(Group::Ticket ticket) const { return !joined.contains(ticket) && !synced.contains(ticket); }

  // A stable group of `count` members; id1 leads.
  void make_stable(int count, bool are_static = false) {
    std::vector<JoinGroup> joins;
    for (int i = 0; i < count; ++i) {
      JoinGroup first = request();
      if (are_static) first.instance_id = "i" + std::to_string(i + 1);
      join(first);
    }
    // The first member was answered alone; all later ones wait for it to come back.
    if (count > 1) {
      JoinGroup again = request("id1");
      if (are_static) again.instance_id = "i1";
      join(again);
    }
    settle();
  }
  // Everybody who knows the new generation syncs; the leader gives "for <id>".
  void settle() {
    const int32_t generation = group.generation();
    std::vector<SyncGroup::Assignment> assignments;
    std::string leader;
    std::vector<DescribedGroup::Member> members = group.describe().members;
    for (const auto& member : members) assignments.push_back({member.id, Bytes::copy_of("for " + member.id)});
    for (const auto& [ticket, reply] : joined) {
      if (reply.generation == generation) leader = reply.leader;
    }
    for (const auto& member : members) {
      SyncGroup one;
      one.member_id = member.id;
      one.instance_id = member.instance_id;
      one.generation = generation;
      if (member.id == leader) one.assignments = assignments;
      group.sync(++last, one, now);
      take();
    }
    ASSERT_EQ(group.state(), State::stable);
  }
};

}  // namespace robustmq::broker
