// ConsumerGroup: one consumer group with server-side assignment (KIP-848), as a pure machine: heartbeats and time in, answers,
// changed members and the next timer out. Pure.
//
// The group has an epoch, which rises when its members, what they follow, or the topics change; with each epoch an assignor
// (assignors.h) says which partitions every member is to have: the target. Each member has an epoch of its own and walks to the
// target by itself, one heartbeat after the other:
//
//   stable --(the target takes some of its partitions)--> unrevoked: keeps its epoch until it no longer owns them
//   stable, unrevoked, unreleased --(nothing to give back)--> the target's epoch; it gets what nobody else has. Where others
//          still have partitions of its target it is unreleased until they have given them back, else stable.
//
// A member that does not give back within its rebalance timeout, or is silent for the session timeout, is dropped; it hears of
// it as of an unknown member, and joins again with epoch 0. A static member that leaves with epoch -2 keeps its place, and its
// session runs on.
//
// Members of the classic protocol may be in the group too (KIP-848's migration): consumer_group_classic.cc. Their generation is
// their epoch, their JoinGroup tells what they own, and a heartbeat tells them to join again when there is something to do. Such
// a group is made of a classic one by adopt(), and becomes one again by hand_over() when only classic members are left.
//
// Invariants:
//  1. A partition belongs to one member at most: to whom it was given, until that member no longer claims it.
//  2. Epochs of the group never fall; a member's epoch is never above the group's.
//  3. Everything follows from inputs alone: containers are ordered.
// Limits: GroupOptions::members_max, member_bytes_max.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/time.h"
#include "broker/group/assignors.h"
#include "broker/group/consumer_protocol.h"
#include "broker/group/group.h"
#include "broker/group/member_row.h"
#include "broker/group/options.h"
#include "broker/group/pattern.h"
#include "broker/group/topic_source.h"
#include "broker/menu/request.h"

namespace robustmq::broker {

std::vector<AssignedTopic> by_topic(const Partitions& partitions);
// Sorted, each once.
std::vector<std::string> in_order(std::vector<std::string> names);

class ConsumerGroup {
 public:
  // What changed in the durable part since the last take_changes().
  struct Changes {
    bool epoch = false;
    std::set<std::string> members;  // there with news, or gone
    bool empty() const { return !epoch && members.empty(); }
  };

  // All outlive it.
  ConsumerGroup(const GroupOptions& options, GroupMetrics& metrics, const TopicSource& topics)
      : options_(options), metrics_(metrics), topics_(topics) {}
  ConsumerGroup(const ConsumerGroup&) = delete;
  ~ConsumerGroup();

  struct Refusal {
    Code code = Code::ok;
    std::string detail;
  };
  // Whether a heartbeat is one at all, whoever it is of.
  Refusal check(const HeartbeatConsumer& request) const;

  // Inputs. `now` never falls. `new_member_id`: what a member without an id gets, not used before.
  ConsumerHeartbeatReply heartbeat(const HeartbeatConsumer& request, std::string new_member_id, const GroupConfig& config,
                                   Instant now);
  // Of members of the classic protocol; answered at once.
  JoinedGroup join(const JoinGroup& request, std::string new_member_id, Instant now);
  SyncedGroup sync(const SyncGroup& request, Instant now);
  Code heartbeat(const HeartbeatGroup& request, Instant now);
  LeftGroup leave(const LeaveGroup& request, Instant now);
  // Topics came, went or grew: looked at with the next heartbeat.
  void topics_changed() { topics_are_news_ = true; }
  void tick(Instant now);

  // Whether this member may commit, or read what was committed, as of now.
  Code check_commit(const CommitOffsets& request) const;
  Code check_fetch(const FetchOffsets& request) const;

  // When tick() is wanted; may be earlier than needed.
  Instant next_timer() const { return next_timer_; }
  Changes take_changes() { return std::exchange(changes_, {}); }
  // All of it counts as changed again, also members that are gone: what was taken could not be written.
  void keep_changes(const Changes& taken);

  bool has_members() const { return !members_.empty() || !pending_.empty(); }
  // Members, and all of the classic protocol.
  bool is_all_classic() const;
  int32_t epoch() const { return epoch_; }
  std::string_view state_name() const;  // Kafka's words
  DescribedConsumers::One describe() const;
  bool is_followed(const std::string& topic) const;

  // Whether a classic group of these members can become one with server-side assignment.
  static bool suits(std::string_view protocol_type, const std::vector<Group::Seed>& seeds);
  // Takes over a classic group: each member has what it had.
  void adopt(int32_t generation, const std::vector<Group::Seed>& seeds, Instant now);
  // The classic members as a classic group knows them; they are gone here.
  std::vector<Group::Seed> hand_over();

  // The durable part: of an empty object, before its first input. Every session begins anew.
  void restore(int32_t epoch, std::vector<std::pair<std::string, MemberRow>> rows, const GroupConfig& config, Instant now);
  // nullopt: no such member, or it is not kept.
  std::optional<MemberRow> row_of(const std::string& member_id) const;

 private:
  enum class State : uint8_t { stable, unrevoked, unreleased };
  // Of a member of the classic protocol.
  struct Classic {
    std::vector<GroupProtocol> protocols;
    Duration session_timeout{};
    Instant join_due = Instant::never();  // was told to join again
    Instant sync_due = Instant::never();  // has joined and not asked for its assignment
  };
  struct Member {
    std::string instance_id;  // empty: none
    std::string rack_id;
    std::string client_id;
    std::string client_host;
    Duration rebalance_timeout{};
    std::vector<std::string> topics;  // ascending
    std::string pattern;
    std::string assignor;
    int32_t epoch = 0;  // kStaticLeave: a static member that has left and may come back
    int32_t previous_epoch = 0;
    State state = State::stable;
    Partitions assigned;
    Partitions revoking;
    Instant deadline{};                     // of the session
    Instant revoke_due = Instant::never();  // unrevoked: when it must have given back
    std::optional<Classic> classic;
  };
  using Members = std::map<std::string, Member, std::less<>>;
  // What the members follow of what there is.
  struct Followed {
    std::map<TopicId, int32_t> topics;
    std::map<std::string, std::vector<TopicId>> members;
    bool operator==(const Followed&) const = default;
  };

  Refusal check_epoch(const Member& member, const HeartbeatConsumer& request) const;
  // The member that a heartbeat is of, made where it joins; nullptr with the reason in `refusal`.
  Member* find_or_add(const HeartbeatConsumer& request, const std::string& member_id, Refusal& refusal);
  Member* find_or_add_static(const HeartbeatConsumer& request, const std::string& member_id, Refusal& refusal);
  Member& add(const std::string& member_id, std::string instance_id);
  // The same instance under another member id: the place, its partitions and its target pass over.
  Member& replace(const std::string& old_id, const std::string& new_id);
  ConsumerHeartbeatReply leave(const HeartbeatConsumer& request);
  void update(Member& member, const HeartbeatConsumer& request);
  void remove(Members::iterator at);

  Followed look_at_topics() const;
  // A new epoch with a new target where what is followed differs, or `anyway`.
  void aim(bool anyway);
  Assignor wanted_assignor() const;
  const Partitions& target_of(const std::string& member_id) const;
  void reconcile(const std::string& id, Member& member, const std::optional<Partitions>& owned);
  void walk(const std::string& id, Member& member, int32_t epoch, const std::optional<Partitions>& owned);
  void give(const std::string& id, Member& member, Partitions assigned, Partitions revoking);
  Duration session_timeout(const GroupConfig& config) const;
  void arm(Instant due) { next_timer_ = std::min(next_timer_, due); }
  void arm_member(const Member& member);
  std::vector<DescribedConsumers::Topic> named(const Partitions& partitions) const;

  // Classic members.
  bool has_room_for(const std::string& member_id) const;
  Refusal check_join(const JoinGroup& request) const;
  Member* find_or_add_classic(const JoinGroup& request, const std::string& member_id, Refusal& refusal);
  std::string common_protocol(const std::vector<GroupProtocol>& of, const Member* except) const;
  Partitions shards_of(const NamedPartitions& named) const;
  NamedPartitions names_of(const Partitions& partitions) const;
  Code check_classic(std::string_view member_id, const std::optional<std::string>& instance_id, Members::iterator& at);

  const GroupOptions& options_;
  GroupMetrics& metrics_;
  const TopicSource& topics_;
  int32_t epoch_ = 0;
  int32_t target_epoch_ = 0;
  Assignor assignor_ = Assignor::uniform;
  Members members_;
  std::map<std::string, std::string, std::less<>> instances_;  // instance id -> member id
  std::map<std::string, Instant, std::less<>> pending_;        // ids given to classic members to come back with
  std::map<std::string, Pattern, std::less<>> patterns_;       // of the members
  Assignment target_;
  Followed followed_;
  std::map<ShardId, std::string> owners_;  // whose each partition is
  bool topics_are_news_ = false;
  Instant now_{};  // of the input at hand
  Instant next_timer_ = Instant::never();
  Changes changes_;
};

}  // namespace robustmq::broker
