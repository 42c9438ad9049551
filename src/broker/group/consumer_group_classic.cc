// ConsumerGroup: members of the classic protocol in it (KIP-848, online migration), and the way to and from a classic group.
//
// A classic member's generation is its epoch. JoinGroup and SyncGroup are answered at once: JoinGroup is its heartbeat with what
// it owns, SyncGroup reads what it was given, in the embedded protocol's form. Nobody leads.
#include <algorithm>

#include "broker/group/consumer_group.h"
#include "broker/group/consumer_protocol.h"

namespace robustmq::broker {

JoinedGroup ConsumerGroup::join(const JoinGroup& request, std::string new_member_id, Instant now) {
  tick(now);
  const auto refuse = [](Code code, std::string member_id) {
    JoinedGroup reply;
    reply.code = code;
    reply.member_id = std::move(member_id);
    return reply;
  };
  Refusal refusal = check_join(request);
  if (refusal.code != Code::ok) return refuse(refusal.code, request.member_id);
  const bool is_first = request.member_id.empty();
  if (is_first && !request.instance_id && request.member_id_required) {
    if (!has_room_for(new_member_id)) {
      ++metrics_.members_refused_total;
      return refuse(Code::quota_exceeded, request.member_id);
    }
    const Instant due = now + Duration::millis(request.session_timeout_ms);
    pending_[new_member_id] = due;
    arm(due);
    return refuse(Code::member_id_required, std::move(new_member_id));
  }
  const std::string id = is_first ? std::move(new_member_id) : request.member_id;
  const size_t members_before = members_.size();
  Member* member = find_or_add_classic(request, id, refusal);
  if (member == nullptr) return refuse(refusal.code, request.member_id);

  const std::optional<ConsumerSubscription> subscription = read_subscription(request.protocols.front().metadata);
  const std::vector<std::string> topics = in_order(subscription->topics);
  const bool is_news = member->topics != topics || !member->pattern.empty() || members_.size() != members_before;
  member->topics = topics;
  member->pattern.clear();
  member->assignor.clear();
  member->rack_id = subscription->rack;
  member->client_id = request.client_id;
  member->client_host = request.client_host;
  member->rebalance_timeout =
      Duration::millis(request.rebalance_timeout_ms > 0 ? request.rebalance_timeout_ms : request.session_timeout_ms);
  Classic classic;
  classic.protocols = request.protocols;
  for (GroupProtocol& protocol : classic.protocols) protocol.metadata = protocol.metadata.compact();
  classic.session_timeout = Duration::millis(request.session_timeout_ms);
  classic.sync_due = now + member->rebalance_timeout;
  member->classic = std::move(classic);
  changes_.members.insert(id);
  if (is_news || topics_are_news_) aim(is_news);

  reconcile(id, *member, shards_of(subscription->owned));
  member->deadline = now + member->classic->session_timeout;
  arm_member(*member);
  JoinedGroup reply;
  reply.generation = member->epoch;
  reply.protocol_type = kConsumerProtocol;
  reply.protocol = common_protocol(request.protocols, nullptr);
  reply.member_id = id;
  return reply;
}

ConsumerGroup::Refusal ConsumerGroup::check_join(const JoinGroup& request) const {
  if (request.session_timeout_ms < options_.session_timeout_min_ms ||
      request.session_timeout_ms > options_.session_timeout_max_ms)
    return {Code::invalid_session_timeout, {}};
  size_t bytes = 0;
  for (const GroupProtocol& protocol : request.protocols) bytes += protocol.name.size() + protocol.metadata.size();
  if (bytes > static_cast<size_t>(options_.member_bytes_max)) return {Code::quota_exceeded, {}};
  if (request.protocol_type != kConsumerProtocol || request.protocols.empty()) return {Code::inconsistent_protocol, {}};
  if (!read_subscription(request.protocols.front().metadata)) return {Code::inconsistent_protocol, {}};
  const auto self = members_.find(request.member_id);
  if (common_protocol(request.protocols, self == members_.end() ? nullptr : &self->second).empty())
    return {Code::inconsistent_protocol, {}};
  return {};
}

// The first that all classic members (but `except`) have too; empty: there is none.
std::string ConsumerGroup::common_protocol(const std::vector<GroupProtocol>& of, const Member* except) const {
  for (const GroupProtocol& candidate : of) {
    const bool is_common = std::all_of(members_.begin(), members_.end(), [&](const auto& entry) {
      if (&entry.second == except || !entry.second.classic) return true;
      const std::vector<GroupProtocol>& theirs = entry.second.classic->protocols;
      return std::any_of(theirs.begin(), theirs.end(),
                         [&](const GroupProtocol& protocol) { return protocol.name == candidate.name; });
    });
    if (is_common) return candidate.name;
  }
  return {};
}

ConsumerGroup::Member* ConsumerGroup::find_or_add_classic(const JoinGroup& request, const std::string& member_id,
                                                          Refusal& refusal) {
  const auto refuse = [&](Code code) {
    refusal = {code, {}};
    return nullptr;
  };
  const bool is_first = request.member_id.empty();
  if (request.instance_id) {
    const auto known = instances_.find(*request.instance_id);
    if (known != instances_.end()) {
      if (is_first) return &replace(std::string(known->second), member_id);
      if (known->second != member_id) return refuse(Code::fenced_instance);
      return &members_.find(member_id)->second;
    }
    if (!is_first) return refuse(Code::unknown_member);
  } else if (!is_first && !pending_.contains(member_id)) {
    const auto at = members_.find(member_id);
    return at == members_.end() ? refuse(Code::unknown_member) : &at->second;
  }
  if (!has_room_for(member_id)) {
    ++metrics_.members_refused_total;
    return refuse(Code::quota_exceeded);
  }
  return &add(member_id, request.instance_id.value_or(""));
}

Code ConsumerGroup::check_classic(std::string_view member_id, const std::optional<std::string>& instance_id,
                                  Members::iterator& at) {
  if (instance_id) {
    const auto known = instances_.find(*instance_id);
    if (known == instances_.end()) return Code::unknown_member;
    if (known->second != member_id) return Code::fenced_instance;
  }
  at = members_.find(member_id);
  return at == members_.end() || !at->second.classic ? Code::unknown_member : Code::ok;
}

SyncedGroup ConsumerGroup::sync(const SyncGroup& request, Instant now) {
  tick(now);
  const auto refuse = [](Code code) { return SyncedGroup{.code = code}; };
  Members::iterator at;
  if (const Code code = check_classic(request.member_id, request.instance_id, at); code != Code::ok) return refuse(code);
  Member& member = at->second;
  if (request.generation != member.epoch) return refuse(Code::illegal_generation);
  if (!request.protocol_type.empty() && request.protocol_type != kConsumerProtocol) return refuse(Code::inconsistent_protocol);
  const std::string protocol = common_protocol(member.classic->protocols, nullptr);
  if (!request.protocol.empty() && request.protocol != protocol) return refuse(Code::inconsistent_protocol);
  member.deadline = now + member.classic->session_timeout;
  // In `unrevoked` it has joined and gives back first.
  if (epoch_ > member.epoch && member.state != State::unrevoked) {
    member.classic->join_due = std::min(member.classic->join_due, now + member.rebalance_timeout);
    arm_member(member);
    return refuse(Code::rebalance_in_progress);
  }
  member.classic->sync_due = Instant::never();
  arm_member(member);
  SyncedGroup reply;
  reply.protocol_type = kConsumerProtocol;
  reply.protocol = protocol;
  reply.assignment = write_assignment(names_of(member.assigned));
  return reply;
}

Code ConsumerGroup::heartbeat(const HeartbeatGroup& request, Instant now) {
  tick(now);
  Members::iterator at;
  if (const Code code = check_classic(request.member_id, request.instance_id, at); code != Code::ok) return code;
  Member& member = at->second;
  if (request.generation != member.epoch) return Code::illegal_generation;
  if (topics_are_news_) aim(false);
  member.deadline = now + member.classic->session_timeout;
  const Partitions& target = target_of(at->first);
  const bool is_waiting = std::any_of(target.begin(), target.end(), [&](const ShardId& shard) {
    return !member.assigned.contains(shard) && owners_.contains(shard);
  });
  const bool has_something_to_do =
      member.epoch < epoch_ || member.state == State::unrevoked || (member.state == State::unreleased && !is_waiting);
  if (has_something_to_do) member.classic->join_due = std::min(member.classic->join_due, now + member.rebalance_timeout);
  arm_member(member);
  return has_something_to_do ? Code::rebalance_in_progress : Code::ok;
}

LeftGroup ConsumerGroup::leave(const LeaveGroup& request, Instant now) {
  tick(now);
  LeftGroup reply;
  bool is_any_gone = false;
  for (const LeaveGroup::Member& leaving : request.members) {
    Members::iterator at;
    std::string id = leaving.id;
    if (leaving.instance_id && id.empty()) {
      const auto known = instances_.find(*leaving.instance_id);
      if (known != instances_.end()) id = known->second;
    }
    if (!leaving.instance_id && pending_.erase(id) > 0) {
      reply.members.push_back(Code::ok);
      continue;
    }
    const Code code = check_classic(id, leaving.instance_id, at);
    reply.members.push_back(code);
    if (code != Code::ok) continue;
    remove(at);
    is_any_gone = true;
  }
  if (is_any_gone) aim(true);
  return reply;
}

Partitions ConsumerGroup::shards_of(const NamedPartitions& named) const {
  Partitions out;
  for (const auto& [name, partitions] : named) {
    const auto topic = topics_.find(name);
    if (!topic) continue;
    for (const int32_t partition : partitions) out.insert({topic->id, partition});
  }
  return out;
}

NamedPartitions ConsumerGroup::names_of(const Partitions& partitions) const {
  NamedPartitions out;
  for (AssignedTopic& one : by_topic(partitions)) {
    if (const auto topic = topics_.find(one.topic)) out.emplace_back(topic->name, std::move(one.partitions));
  }
  return out;
}

// ---- From a classic group and back ----

bool ConsumerGroup::suits(std::string_view protocol_type, const std::vector<Group::Seed>& seeds) {
  if (seeds.empty()) return true;
  if (protocol_type != kConsumerProtocol) return false;
  return std::all_of(seeds.begin(), seeds.end(), [](const Group::Seed& seed) {
    if (seed.protocols.empty() || !read_subscription(seed.protocols.front().metadata)) return false;
    return seed.assignment.empty() || read_assignment(seed.assignment);
  });
}

void ConsumerGroup::adopt(int32_t generation, const std::vector<Group::Seed>& seeds, Instant now) {
  now_ = now;
  epoch_ = generation;
  target_epoch_ = generation;
  changes_.epoch = true;
  // What a cooperative member said it owns: it may have it still where it has not heard that it is to give it back.
  std::vector<NamedPartitions> owned;
  for (const Group::Seed& seed : seeds) {
    Member& member = add(seed.member_id, seed.instance_id.value_or(""));
    std::optional<ConsumerSubscription> subscription = read_subscription(seed.protocols.front().metadata);
    owned.emplace_back();
    if (subscription) {
      member.topics = in_order(std::move(subscription->topics));
      member.rack_id = std::move(subscription->rack);
      owned.back() = std::move(subscription->owned);
    }
    member.client_id = seed.client_id;
    member.client_host = seed.client_host;
    member.rebalance_timeout = seed.rebalance_timeout;
    member.epoch = generation;
    member.previous_epoch = generation;
    member.deadline = now + seed.session_timeout;
    member.classic = Classic{seed.protocols, seed.session_timeout};
    Partitions assigned;
    if (const auto named = read_assignment(seed.assignment)) {
      for (const ShardId& shard : shards_of(*named)) {
        if (!owners_.contains(shard)) assigned.insert(shard);
      }
    }
    give(seed.member_id, member, std::move(assigned), {});
    arm_member(member);
  }
  for (size_t i = 0; i < seeds.size(); ++i) {
    Member& member = members_.find(seeds[i].member_id)->second;
    Partitions assigned = member.assigned;
    for (const ShardId& shard : shards_of(owned[i])) {
      if (!owners_.contains(shard)) assigned.insert(shard);
    }
    target_[seeds[i].member_id] = assigned;
    give(seeds[i].member_id, member, std::move(assigned), {});
  }
  followed_ = look_at_topics();
}

std::vector<Group::Seed> ConsumerGroup::hand_over() {
  std::vector<Group::Seed> seeds;
  while (!members_.empty()) {
    const auto at = members_.begin();
    Member& member = at->second;
    if (member.classic) {
      Group::Seed& seed = seeds.emplace_back();
      seed.member_id = at->first;
      if (!member.instance_id.empty()) seed.instance_id = member.instance_id;
      seed.client_id = member.client_id;
      seed.client_host = member.client_host;
      seed.protocols = std::move(member.classic->protocols);
      seed.session_timeout = member.classic->session_timeout;
      seed.rebalance_timeout = member.rebalance_timeout;
      seed.assignment = write_assignment(names_of(member.assigned));
    }
    remove(at);
  }
  return seeds;
}

}  // namespace robustmq::broker
