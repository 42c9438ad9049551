// Group: one consumer group of the classic protocol, as a pure machine: requests and time in, answers and the next timer out.
// Pure.
//
// States: empty (no members) -> preparing_rebalance (members are asked to join again; joins wait) -> completing_rebalance (a new
// generation; all know it, syncs wait for the leader's assignments) -> stable. A member that joins, leaves, falls silent or
// changes its protocols brings the group back to preparing_rebalance; without members it is empty again.
//
// Invariants:
//  1. A generation has one leader and one protocol, and every member was told the same of it.
//  2. In stable every member has the assignment that this generation's leader gave it (empty bytes where it gave none).
//  3. Every ticket handed in is answered exactly once.
//  4. Outputs follow from inputs alone: containers are ordered.
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
#include "broker/group/options.h"
#include "broker/menu/request.h"

namespace robustmq::broker {

// What consumers call their protocol type.
constexpr std::string_view kConsumerProtocol = "consumer";

class Group {
 public:
  enum class State : uint8_t { empty, preparing_rebalance, completing_rebalance, stable, dead };
  using Ticket = uint64_t;

  // What the inputs so far have decided; the caller takes it and clears it.
  struct Outputs {
    std::vector<std::pair<Ticket, JoinedGroup>> joined;
    std::vector<std::pair<Ticket, SyncedGroup>> synced;
    bool empty() const { return joined.empty() && synced.empty(); }
  };

  // Both outlive it.
  Group(const GroupOptions& options, GroupMetrics& metrics) : options_(options), metrics_(metrics) {}
  Group(const Group&) = delete;
  ~Group();  // nobody waits any more (close() came first)

  // Inputs. `now` never falls. `new_member_id`: the id a new member gets, not used before.
  void join(Ticket ticket, const JoinGroup& request, std::string new_member_id, Instant now);
  void sync(Ticket ticket, const SyncGroup& request, Instant now);
  Code heartbeat(const HeartbeatGroup& request, Instant now);
  LeftGroup leave(const LeaveGroup& request, Instant now);
  // Whether this member may commit now; counts as a heartbeat. In a transaction it may while a generation waits for its leader,
  // too.
  Code check_commit(const CommitOffsets& request, Instant now, bool in_transaction = false);
  void tick(Instant now);
  // The group is deleted or its coordinator stops: everybody who waits gets `code`. Final.
  void close(Code code);

  Outputs& outputs() { return outputs_; }
  // When tick() is wanted next; a heartbeat may have moved it later since.
  Instant next_timer() const;

  State state() const { return state_; }
  static std::string_view state_name(State state);  // Kafka's words: "PreparingRebalance"
  int32_t generation() const { return generation_; }
  const std::string& protocol_type() const { return protocol_type_; }
  bool has_members() const { return !members_.empty() || !pending_.empty(); }
  size_t member_count() const { return members_.size(); }
  // A member as it goes from one protocol to the other.
  struct Seed {
    std::string member_id;
    std::optional<std::string> instance_id;
    std::string client_id;
    std::string client_host;
    std::vector<GroupProtocol> protocols;
    Duration session_timeout{};
    Duration rebalance_timeout{};
    Bytes assignment;  // the last one that it was given
  };
  // In the order of joining.
  std::vector<Seed> seeds() const;
  // The group goes over to the other protocol: it is empty, and everybody who waits gets `code`.
  void hand_over(Code code);
  // Members that come from the other protocol, into an empty group: asked at once to join again.
  void adopt(int32_t generation, std::string protocol_type, std::vector<Seed> seeds, Instant now);
  // Without code and name.
  DescribedGroup describe() const;
  // What the members say they follow, where they are consumers (Kafka's ConsumerProtocolSubscription) and say it; nullopt where
  // it cannot be told.
  std::optional<std::set<std::string>> subscribed_topics() const;

 private:
  struct Member {
    uint64_t order = 0;  // of joining; the leader is the first
    std::optional<std::string> instance_id;
    std::string client_id;
    std::string client_host;
    std::vector<GroupProtocol> protocols;
    Duration session_timeout{};
    Duration rebalance_timeout{};
    Bytes assignment;  // the last one: while a generation is being made, of one before
    std::optional<Ticket> join_ticket;
    std::optional<Ticket> sync_ticket;
    bool owes_sync = false;  // was told of this generation and has not asked for its assignment
    bool is_new = true;      // has not been answered a join yet
    Instant deadline{};      // of the session; does not count while a join or sync waits, but for a new member's join
  };
  using Members = std::map<std::string, Member, std::less<>>;

  Code check_member(std::string_view member_id, const std::optional<std::string>& instance_id) const;
  Code check_join(const JoinGroup& request) const;
  bool has_room_for(std::string_view member_id) const;
  bool suits(const JoinGroup& request) const;
  void join_new(Ticket ticket, const JoinGroup& request, std::string new_member_id, Instant now);
  void join_static_again(Ticket ticket, const JoinGroup& request, std::string new_member_id, Instant now);
  void join_known(Ticket ticket, const JoinGroup& request, Instant now);
  void add_member(Ticket ticket, const JoinGroup& request, std::string member_id, Instant now);
  void update_member(Ticket ticket, const JoinGroup& request, Member& member);
  void remove_member(Members::iterator at, Code code, Instant now);
  void drop_silent(Instant now);
  void drop(const std::vector<std::string>& member_ids, Instant now);
  // Whether its session can end: nobody who waits for an answer can send heartbeats.
  static bool is_on_clock(const Member& member) { return !member.sync_ticket && (!member.join_ticket || member.is_new); }

  void prepare_rebalance(Instant now);
  void complete_join_if_all_are_there(Instant now);
  void complete_join(Instant now);
  void begin_generation(Instant now);
  void propagate(const std::vector<SyncGroup::Assignment>& assignments, Instant now);

  bool elect_joined_leader();
  std::string choose_protocol() const;
  Duration rebalance_timeout() const;
  void heard(Member& member, Instant now) { member.deadline = now + member.session_timeout; }
  JoinedGroup joined(const std::string& member_id) const;
  SyncedGroup synced(const Member& member) const;
  void answer_join(Member& member, JoinedGroup reply);
  void answer_sync(Member& member, SyncedGroup reply);
  void refuse_join(Ticket ticket, Code code, std::string member_id = {});

  const GroupOptions& options_;
  GroupMetrics& metrics_;
  State state_ = State::empty;
  int32_t generation_ = 0;
  std::string protocol_type_;
  std::string protocol_;
  std::string leader_;
  Members members_;
  std::map<std::string, std::string, std::less<>> instances_;  // instance id -> member id
  std::map<std::string, Instant, std::less<>> pending_;        // ids given with member_id_required -> when they expire
  uint64_t next_order_ = 0;
  Instant rebalance_due_ = Instant::never();  // preparing: end of the wait for joins; completing and stable: for syncs
  bool is_initial_delay_ = false;             // preparing the first generation: waits for more members
  bool member_added_in_delay_ = false;
  Duration initial_delay_left_{};
  Outputs outputs_;
};

}  // namespace robustmq::broker
