#include "broker/group/group.h"

#include <algorithm>

#include "base/check.h"

namespace robustmq::broker {

Group::~Group() {
  for (const auto& [id, member] : members_)
    ROBUSTMQ_CHECK(!member.join_ticket && !member.sync_ticket, "a group ended before its answers");
}

std::string_view Group::state_name(State state) {
  switch (state) {
    case State::empty:
      return "Empty";
    case State::preparing_rebalance:
      return "PreparingRebalance";
    case State::completing_rebalance:
      return "CompletingRebalance";
    case State::stable:
      return "Stable";
    case State::dead:
      return "Dead";
  }
  return "Dead";
}

// ---- Join ----

void Group::join(Ticket ticket, const JoinGroup& request, std::string new_member_id, Instant now) {
  drop_silent(now);
  if (const Code code = check_join(request); code != Code::ok) return refuse_join(ticket, code, request.member_id);
  if (!has_room_for(request.member_id)) {
    ++metrics_.members_refused_total;
    pending_.erase(request.member_id);
    if (const auto at = members_.find(request.member_id); at != members_.end()) remove_member(at, Code::quota_exceeded, now);
    return refuse_join(ticket, Code::quota_exceeded, request.member_id);
  }
  if (!suits(request)) return refuse_join(ticket, Code::inconsistent_protocol, request.member_id);
  if (request.member_id.empty()) {
    join_new(ticket, request, std::move(new_member_id), now);
  } else {
    join_known(ticket, request, now);
  }
}

Code Group::check_join(const JoinGroup& request) const {
  if (state_ == State::dead) return Code::shutting_down;
  if (request.session_timeout_ms < options_.session_timeout_min_ms ||
      request.session_timeout_ms > options_.session_timeout_max_ms) {
    return Code::invalid_session_timeout;
  }
  size_t bytes = 0;
  for (const GroupProtocol& protocol : request.protocols) bytes += protocol.name.size() + protocol.metadata.size();
  if (bytes > static_cast<size_t>(options_.member_bytes_max)) return Code::quota_exceeded;
  return Code::ok;
}

// Members that are there (while joins are collected: that have joined again) keep their place.
bool Group::has_room_for(std::string_view member_id) const {
  const auto limit = static_cast<size_t>(options_.members_max);
  const auto at = members_.find(member_id);
  if (state_ == State::preparing_rebalance) {
    if (at != members_.end() && at->second.join_ticket) return true;
    const auto waiting =
        std::count_if(members_.begin(), members_.end(), [](const auto& entry) { return entry.second.join_ticket.has_value(); });
    return static_cast<size_t>(waiting) < limit && (at != members_.end() || members_.size() + pending_.size() < 2 * limit);
  }
  if (at != members_.end()) return true;
  const size_t others = members_.size() + pending_.size() - pending_.count(member_id);
  return others < limit;
}

bool Group::suits(const JoinGroup& request) const {
  if (request.protocol_type.empty() || request.protocols.empty()) return false;
  if (members_.empty()) return true;
  if (request.protocol_type != protocol_type_) return false;
  return std::any_of(request.protocols.begin(), request.protocols.end(), [&](const GroupProtocol& candidate) {
    return std::all_of(members_.begin(), members_.end(), [&](const auto& entry) {
      const std::vector<GroupProtocol>& theirs = entry.second.protocols;
      return std::any_of(theirs.begin(), theirs.end(),
                         [&](const GroupProtocol& protocol) { return protocol.name == candidate.name; });
    });
  });
}

void Group::join_new(Ticket ticket, const JoinGroup& request, std::string new_member_id, Instant now) {
  if (request.instance_id) {
    if (instances_.contains(*request.instance_id)) return join_static_again(ticket, request, std::move(new_member_id), now);
    return add_member(ticket, request, std::move(new_member_id), now);
  }
  if (!request.member_id_required) return add_member(ticket, request, std::move(new_member_id), now);
  pending_[new_member_id] = now + Duration::millis(request.session_timeout_ms);
  refuse_join(ticket, Code::member_id_required, std::move(new_member_id));
}

void Group::join_known(Ticket ticket, const JoinGroup& request, Instant now) {
  if (!request.instance_id && pending_.contains(request.member_id)) return add_member(ticket, request, request.member_id, now);
  if (const Code code = check_member(request.member_id, request.instance_id); code != Code::ok) {
    return refuse_join(ticket, code, request.member_id);
  }
  Member& member = members_.find(request.member_id)->second;
  const auto same_protocol = [](const GroupProtocol& a, const GroupProtocol& b) {
    return a.name == b.name && a.metadata == b.metadata;
  };
  const bool is_unchanged = std::equal(member.protocols.begin(), member.protocols.end(), request.protocols.begin(),
                                       request.protocols.end(), same_protocol);
  // A member that missed its answer asks again; only news, or the leader of a stable group, begin another generation.
  const bool asks_again = state_ == State::completing_rebalance || (state_ == State::stable && request.member_id != leader_);
  if (is_unchanged && asks_again) {
    heard(member, now);
    outputs_.joined.emplace_back(ticket, joined(request.member_id));
    return;
  }
  update_member(ticket, request, member);
  if (state_ == State::preparing_rebalance) return complete_join_if_all_are_there(now);
  prepare_rebalance(now);
}

// The same instance came back without its member id: it gets a new one, and the old one is fenced. Where its metadata is what the
// generation knows of it, the group goes on as it is (KIP-345, KIP-814).
void Group::join_static_again(Ticket ticket, const JoinGroup& request, std::string new_member_id, Instant now) {
  std::string& member_id = instances_.find(*request.instance_id)->second;
  const std::string old_member_id = std::exchange(member_id, new_member_id);
  const std::string old_leader = leader_;
  auto node = members_.extract(old_member_id);
  Member& member = node.mapped();
  if (member.join_ticket) refuse_join(*std::exchange(member.join_ticket, std::nullopt), Code::fenced_instance, old_member_id);
  if (member.sync_ticket) answer_sync(member, SyncedGroup{.code = Code::fenced_instance});
  node.key() = new_member_id;
  if (leader_ == old_member_id) leader_ = new_member_id;
  members_.insert(std::move(node));

  const auto metadata_of = [&](const std::vector<GroupProtocol>& protocols) {
    const auto at = std::find_if(protocols.begin(), protocols.end(),
                                 [&](const GroupProtocol& protocol) { return protocol.name == protocol_; });
    return at == protocols.end() ? std::optional<Bytes>() : at->metadata;
  };
  const std::optional<Bytes> known = metadata_of(member.protocols);
  update_member(ticket, request, member);
  heard(member, now);
  if (state_ == State::stable && choose_protocol() == protocol_ && metadata_of(member.protocols) == known) {
    JoinedGroup reply = joined(new_member_id);
    const bool is_leader = leader_ == new_member_id;
    if (is_leader && request.can_skip_assignment) {
      reply.skip_assignment = true;
    } else {
      // Told of the old leader, it takes itself for a follower and fetches the assignment that is there.
      reply.leader = old_leader;
      reply.members.clear();
    }
    return answer_join(member, std::move(reply));
  }
  if (state_ == State::preparing_rebalance) return complete_join_if_all_are_there(now);
  prepare_rebalance(now);
}

void Group::add_member(Ticket ticket, const JoinGroup& request, std::string member_id, Instant now) {
  pending_.erase(member_id);
  if (members_.empty()) protocol_type_ = request.protocol_type;
  Member member;
  member.order = next_order_++;
  member.instance_id = request.instance_id;
  if (request.instance_id) instances_[*request.instance_id] = member_id;
  member.deadline = now + Duration::millis(options_.new_member_join_max_ms);
  if (members_.empty()) leader_ = member_id;
  Member& added = members_.emplace(std::move(member_id), std::move(member)).first->second;
  ++metrics_.members;
  update_member(ticket, request, added);
  if (state_ == State::preparing_rebalance) {
    member_added_in_delay_ = true;
    return complete_join_if_all_are_there(now);
  }
  prepare_rebalance(now);
}

void Group::update_member(Ticket ticket, const JoinGroup& request, Member& member) {
  // Whoever asked before on another connection has gone; its answer must not stay out.
  if (member.join_ticket) refuse_join(*member.join_ticket, Code::rebalance_in_progress);
  member.join_ticket = ticket;
  member.client_id = request.client_id;
  member.client_host = request.client_host;
  member.protocols = request.protocols;
  for (GroupProtocol& protocol : member.protocols) protocol.metadata = protocol.metadata.compact();
  member.session_timeout = Duration::millis(request.session_timeout_ms);
  member.rebalance_timeout =
      Duration::millis(request.rebalance_timeout_ms > 0 ? request.rebalance_timeout_ms : request.session_timeout_ms);
}

// ---- Sync, heartbeat, leave, commit ----

void Group::sync(Ticket ticket, const SyncGroup& request, Instant now) {
  drop_silent(now);
  const auto refuse = [&](Code code) { outputs_.synced.emplace_back(ticket, SyncedGroup{.code = code}); };
  if (state_ == State::dead) return refuse(Code::shutting_down);
  if (const Code code = check_member(request.member_id, request.instance_id); code != Code::ok) return refuse(code);
  if (request.generation != generation_) return refuse(Code::illegal_generation);
  if (!request.protocol_type.empty() && request.protocol_type != protocol_type_) return refuse(Code::inconsistent_protocol);
  if (!request.protocol.empty() && request.protocol != protocol_) return refuse(Code::inconsistent_protocol);
  Member& member = members_.find(request.member_id)->second;
  if (state_ == State::preparing_rebalance) return refuse(Code::rebalance_in_progress);
  if (request.member_id == leader_ && state_ == State::completing_rebalance) {
    for (const SyncGroup::Assignment& one : request.assignments) {
      if (one.assignment.size() > static_cast<size_t>(options_.member_bytes_max)) return refuse(Code::quota_exceeded);
    }
  }
  heard(member, now);
  member.owes_sync = false;
  if (state_ == State::stable) {
    outputs_.synced.emplace_back(ticket, synced(member));
    return;
  }
  if (member.sync_ticket) answer_sync(member, SyncedGroup{.code = Code::rebalance_in_progress});
  member.sync_ticket = ticket;
  if (request.member_id == leader_) propagate(request.assignments, now);
}

void Group::propagate(const std::vector<SyncGroup::Assignment>& assignments, Instant now) {
  for (auto& [id, member] : members_) member.assignment = {};
  for (const SyncGroup::Assignment& one : assignments) {
    if (const auto at = members_.find(one.member_id); at != members_.end()) at->second.assignment = one.assignment.compact();
  }
  state_ = State::stable;
  for (auto& [id, member] : members_) {
    if (!member.sync_ticket) continue;
    answer_sync(member, synced(member));
    heard(member, now);
  }
}

Code Group::heartbeat(const HeartbeatGroup& request, Instant now) {
  drop_silent(now);
  if (state_ == State::dead) return Code::shutting_down;
  if (const Code code = check_member(request.member_id, request.instance_id); code != Code::ok) return code;
  if (request.generation != generation_) return Code::illegal_generation;
  heard(members_.find(request.member_id)->second, now);
  return state_ == State::preparing_rebalance ? Code::rebalance_in_progress : Code::ok;
}

LeftGroup Group::leave(const LeaveGroup& request, Instant now) {
  drop_silent(now);
  LeftGroup reply;
  for (const LeaveGroup::Member& leaving : request.members) {
    std::string id = leaving.id;
    Code code = Code::ok;
    if (id.empty() && leaving.instance_id) {
      const auto at = instances_.find(*leaving.instance_id);
      if (at == instances_.end()) {
        code = Code::unknown_member;
      } else {
        id = at->second;
      }
    } else if (!leaving.instance_id && pending_.erase(id) > 0) {
      complete_join_if_all_are_there(now);
      reply.members.push_back(Code::ok);
      continue;
    } else {
      code = check_member(id, leaving.instance_id);
    }
    if (code == Code::ok) remove_member(members_.find(id), Code::unknown_member, now);
    reply.members.push_back(code);
  }
  return reply;
}

Code Group::check_commit(const CommitOffsets& request, Instant now, bool in_transaction) {
  drop_silent(now);
  if (state_ == State::dead) return Code::shutting_down;
  const bool names_a_member = request.generation >= 0 || !request.member_id.empty() || request.instance_id;
  // Consumers without a group's protocol keep their offsets here too, as long as nobody else does.
  if (!names_a_member || (request.generation < 0 && state_ == State::empty)) {
    return state_ == State::empty ? Code::ok : Code::unknown_member;
  }
  if (const Code code = check_member(request.member_id, request.instance_id); code != Code::ok) return code;
  if (request.generation != generation_) return Code::illegal_generation;
  if (state_ == State::completing_rebalance && !in_transaction) return Code::rebalance_in_progress;
  heard(members_.find(request.member_id)->second, now);
  return Code::ok;
}

// ---- Time ----

void Group::tick(Instant now) {
  drop_silent(now);
  if (now < rebalance_due_) return;
  if (state_ == State::preparing_rebalance) {
    if (is_initial_delay_ && member_added_in_delay_ && initial_delay_left_.ns > 0) {
      // More came: wait for still more, within the rebalance timeout.
      const Duration delay = std::min(Duration::millis(options_.initial_rebalance_delay_ms), initial_delay_left_);
      initial_delay_left_ = initial_delay_left_ - delay;
      member_added_in_delay_ = false;
      rebalance_due_ = now + delay;
      return;
    }
    return complete_join(now);
  }
  rebalance_due_ = Instant::never();
  if (state_ != State::completing_rebalance && state_ != State::stable) return;
  // Who has not asked for its assignment by now is gone.
  std::vector<std::string> silent;
  for (const auto& [id, member] : members_) {
    if (member.owes_sync) silent.push_back(id);
  }
  drop(silent, now);
}

void Group::drop_silent(Instant now) {
  const size_t pending_before = pending_.size();
  std::erase_if(pending_, [&](const auto& entry) { return entry.second <= now; });
  if (pending_.size() != pending_before) complete_join_if_all_are_there(now);
  std::vector<std::string> silent;
  for (const auto& [id, member] : members_) {
    if (is_on_clock(member) && member.deadline <= now) silent.push_back(id);
  }
  drop(silent, now);
}

void Group::drop(const std::vector<std::string>& member_ids, Instant now) {
  for (const std::string& id : member_ids) {
    const auto at = members_.find(id);
    if (at == members_.end()) continue;  // went with the rebalance that another one's leaving completed
    ++metrics_.members_expired_total;
    remove_member(at, Code::unknown_member, now);
  }
}

Instant Group::next_timer() const {
  if (state_ == State::dead) return Instant::never();
  Instant next = rebalance_due_;
  for (const auto& [id, due] : pending_) next = std::min(next, due);
  for (const auto& [id, member] : members_) {
    if (is_on_clock(member)) next = std::min(next, member.deadline);
  }
  return next;
}

void Group::close(Code code) {
  state_ = State::dead;
  for (auto& [id, member] : members_) {
    if (member.join_ticket) answer_join(member, JoinedGroup{.code = code, .member_id = id});
    if (member.sync_ticket) answer_sync(member, SyncedGroup{.code = code});
  }
  metrics_.members -= static_cast<int64_t>(members_.size());
  members_.clear();
  instances_.clear();
  pending_.clear();
  rebalance_due_ = Instant::never();
}

// ---- Rebalance ----

void Group::prepare_rebalance(Instant now) {
  if (state_ == State::completing_rebalance) {
    for (auto& [id, member] : members_) {
      if (!member.sync_ticket) continue;
      answer_sync(member, SyncedGroup{.code = Code::rebalance_in_progress});
      heard(member, now);
    }
  }
  is_initial_delay_ = state_ == State::empty && options_.initial_rebalance_delay_ms > 0;
  member_added_in_delay_ = false;
  state_ = State::preparing_rebalance;
  const Duration timeout = rebalance_timeout();
  if (is_initial_delay_) {
    const Duration delay = Duration::millis(options_.initial_rebalance_delay_ms);
    initial_delay_left_ = timeout > delay ? timeout - delay : Duration{};
    rebalance_due_ = now + delay;
    return;
  }
  rebalance_due_ = now + timeout;
  complete_join_if_all_are_there(now);
}

void Group::complete_join_if_all_are_there(Instant now) {
  if (state_ != State::preparing_rebalance || (is_initial_delay_ && !members_.empty())) return;
  if (!pending_.empty()) return;
  for (const auto& [id, member] : members_) {
    if (!member.join_ticket) return;
  }
  complete_join(now);
}

void Group::complete_join(Instant now) {
  for (auto at = members_.begin(); at != members_.end();) {
    const Member& member = at->second;
    if (member.join_ticket || member.instance_id) {
      ++at;
      continue;
    }
    ++metrics_.members_expired_total;
    --metrics_.members;
    at = members_.erase(at);
  }
  if (!members_.empty() && !elect_joined_leader()) {
    // Only static members that have not come back: they keep their places until their sessions end.
    rebalance_due_ = now + rebalance_timeout();
    return;
  }
  begin_generation(now);
}

void Group::begin_generation(Instant now) {
  generation_ = generation_ == INT32_MAX ? 1 : generation_ + 1;
  is_initial_delay_ = false;
  if (members_.empty()) {
    state_ = State::empty;
    protocol_.clear();
    leader_.clear();
    rebalance_due_ = Instant::never();
    return;
  }
  ++metrics_.rebalances_total;
  protocol_ = choose_protocol();
  state_ = State::completing_rebalance;
  rebalance_due_ = now + rebalance_timeout();
  for (auto& [id, member] : members_) {
    member.owes_sync = member.join_ticket.has_value();
    if (!member.join_ticket) continue;
    answer_join(member, joined(id));
    heard(member, now);
  }
}

void Group::remove_member(Members::iterator at, Code code, Instant now) {
  auto node = members_.extract(at);
  --metrics_.members;
  Member& member = node.mapped();
  if (member.join_ticket) answer_join(member, JoinedGroup{.code = code});
  if (member.sync_ticket) answer_sync(member, SyncedGroup{.code = code});
  if (member.instance_id) instances_.erase(*member.instance_id);
  if (leader_ == node.key()) {
    leader_.clear();
    uint64_t first = UINT64_MAX;
    for (const auto& [id, other] : members_) {
      if (other.order < first) {
        first = other.order;
        leader_ = id;
      }
    }
  }
  if (state_ == State::stable || state_ == State::completing_rebalance) return prepare_rebalance(now);
  complete_join_if_all_are_there(now);
}

bool Group::elect_joined_leader() {
  const auto leader = members_.find(leader_);
  if (leader != members_.end() && leader->second.join_ticket) return true;
  uint64_t first = UINT64_MAX;
  for (const auto& [id, member] : members_) {
    if (!member.join_ticket || member.order >= first) continue;
    first = member.order;
    leader_ = id;
  }
  return first != UINT64_MAX;
}

// Every member votes for the first of its protocols that all have; the most votes win, then the leader's order decides.
std::string Group::choose_protocol() const {
  std::map<std::string_view, size_t> supporters;
  for (const auto& [id, member] : members_) {
    std::map<std::string_view, bool> own;  // a name given twice counts once
    for (const GroupProtocol& protocol : member.protocols) own[protocol.name] = true;
    for (const auto& [name, there] : own) ++supporters[name];
  }
  std::map<std::string_view, size_t> votes;
  for (const auto& [id, member] : members_) {
    for (const GroupProtocol& protocol : member.protocols) {
      if (supporters[protocol.name] != members_.size()) continue;
      ++votes[protocol.name];
      break;
    }
  }
  std::string_view best;
  size_t most = 0;
  for (const GroupProtocol& protocol : members_.find(leader_)->second.protocols) {
    const auto at = votes.find(protocol.name);
    if (at == votes.end() || at->second <= most) continue;
    best = protocol.name;
    most = at->second;
  }
  return std::string(best);
}

Duration Group::rebalance_timeout() const {
  Duration longest{};
  for (const auto& [id, member] : members_) longest = std::max(longest, member.rebalance_timeout);
  return longest;
}

// ---- Answers ----

Code Group::check_member(std::string_view member_id, const std::optional<std::string>& instance_id) const {
  if (instance_id) {
    const auto at = instances_.find(*instance_id);
    if (at == instances_.end()) return Code::unknown_member;
    return at->second == member_id ? Code::ok : Code::fenced_instance;
  }
  return members_.contains(member_id) ? Code::ok : Code::unknown_member;
}

JoinedGroup Group::joined(const std::string& member_id) const {
  JoinedGroup reply;
  reply.generation = generation_;
  reply.protocol_type = protocol_type_;
  reply.protocol = protocol_;
  reply.leader = leader_;
  reply.member_id = member_id;
  if (member_id != leader_) return reply;
  for (const auto& [id, member] : members_) {
    for (const GroupProtocol& protocol : member.protocols) {
      if (protocol.name != protocol_) continue;
      reply.members.push_back({id, member.instance_id, protocol.metadata});
      break;
    }
  }
  return reply;
}

SyncedGroup Group::synced(const Member& member) const {
  SyncedGroup reply;
  reply.protocol_type = protocol_type_;
  reply.protocol = protocol_;
  reply.assignment = member.assignment;
  return reply;
}

void Group::answer_join(Member& member, JoinedGroup reply) {
  outputs_.joined.emplace_back(*std::exchange(member.join_ticket, std::nullopt), std::move(reply));
  member.is_new = false;
}

void Group::answer_sync(Member& member, SyncedGroup reply) {
  outputs_.synced.emplace_back(*std::exchange(member.sync_ticket, std::nullopt), std::move(reply));
}

void Group::refuse_join(Ticket ticket, Code code, std::string member_id) {
  JoinedGroup reply;
  reply.code = code;
  reply.member_id = std::move(member_id);
  outputs_.joined.emplace_back(ticket, std::move(reply));
}

DescribedGroup Group::describe() const {
  DescribedGroup reply;
  reply.state = state_name(state_);
  reply.protocol_type = protocol_type_;
  if (state_ == State::stable) reply.protocol = protocol_;
  for (const auto& [id, member] : members_) {
    DescribedGroup::Member& row = reply.members.emplace_back();
    row.id = id;
    row.instance_id = member.instance_id;
    row.client_id = member.client_id;
    row.client_host = member.client_host;
    if (state_ != State::stable) continue;
    row.assignment = member.assignment;
    for (const GroupProtocol& protocol : member.protocols) {
      if (protocol.name == protocol_) row.metadata = protocol.metadata;
    }
  }
  return reply;
}

}  // namespace robustmq::broker
