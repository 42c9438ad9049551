#include "broker/group/consumer_group.h"

#include <algorithm>

namespace robustmq::broker {
namespace {

constexpr int32_t kJoin = 0;
constexpr int32_t kLeave = -1;
constexpr int32_t kStaticLeave = -2;

Partitions partitions_of(const std::vector<AssignedTopic>& topics) {
  Partitions out;
  for (const AssignedTopic& one : topics) {
    for (const int32_t partition : one.partitions) out.insert({one.topic, partition});
  }
  return out;
}
bool has_any(const Partitions& of, const Partitions& in) {
  return std::any_of(of.begin(), of.end(), [&](const ShardId& shard) { return in.contains(shard); });
}

}  // namespace

ConsumerGroup::~ConsumerGroup() {
  metrics_.members -= static_cast<int64_t>(members_.size());
  metrics_.patterns -= static_cast<int64_t>(patterns_.size());
}

// ---- Heartbeats ----

ConsumerHeartbeatReply ConsumerGroup::heartbeat(const HeartbeatConsumer& request, std::string new_member_id,
                                                const GroupConfig& config, Instant now) {
  tick(now);
  ConsumerHeartbeatReply reply;
  Refusal refusal = check(request);
  if (refusal.code == Code::ok && request.member_epoch < kJoin) return leave(request);
  const std::string id = request.member_id.empty() ? std::move(new_member_id) : request.member_id;
  const size_t members_before = members_.size();
  Member* member = refusal.code == Code::ok ? find_or_add(request, id, refusal) : nullptr;
  if (member == nullptr) {
    reply.code = refusal.code;
    reply.detail = std::move(refusal.detail);
    reply.member_id = request.member_id;
    return reply;
  }
  const std::vector<std::string> topics = member->topics;
  const std::string pattern = member->pattern;
  const std::string assignor = member->assignor;
  update(*member, request);
  const bool is_news = member->topics != topics || member->pattern != pattern || member->assignor != assignor;
  if (is_news || members_.size() != members_before) {
    changes_.members.insert(id);
    aim(true);
  } else if (topics_are_news_) {
    aim(false);
  }

  const Partitions before = member->assigned;
  reconcile(id, *member, request.owned ? std::optional(partitions_of(*request.owned)) : std::nullopt);
  member->deadline = now + session_timeout(config);
  arm_member(*member);

  reply.member_id = id;
  reply.member_epoch = member->epoch;
  const int32_t interval = config.consumer_heartbeat_interval_ms;
  reply.heartbeat_interval_ms = interval >= 0 ? interval : options_.consumer_heartbeat_interval_ms;
  const bool is_full = request.rebalance_timeout_ms != -1 && (request.topics || request.topic_pattern) && request.owned;
  if (request.member_epoch == kJoin || is_full || member->assigned != before) reply.assignment = by_topic(member->assigned);
  return reply;
}

ConsumerGroup::Refusal ConsumerGroup::check(const HeartbeatConsumer& request) const {
  const auto invalid = [](std::string why) { return Refusal{Code::invalid_argument, std::move(why)}; };
  if (request.instance_id && request.instance_id->empty()) return invalid("InstanceId can't be empty.");
  if (request.rack_id && request.rack_id->empty()) return invalid("RackId can't be empty.");
  const bool needs_id = request.must_draw_id || request.member_epoch != kJoin;
  if (needs_id && request.member_id.empty()) return invalid("MemberId can't be empty.");
  if (request.member_epoch < kStaticLeave) return invalid("MemberEpoch is invalid.");
  if (request.member_epoch == kStaticLeave && !request.instance_id) return invalid("InstanceId can't be null.");
  if (request.rebalance_timeout_ms < -1) return invalid("RebalanceTimeoutMs is invalid.");
  if (request.member_epoch == kJoin) {
    if (request.rebalance_timeout_ms == -1) return invalid("RebalanceTimeoutMs must be provided in first request.");
    if (!request.owned || !request.owned->empty()) return invalid("TopicPartitions must be empty when (re-)joining.");
    if (!request.topics && !request.topic_pattern) {
      return invalid("Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.");
    }
  }
  if (request.assignor) {
    const auto& served = options_.consumer_assignors;
    if (!assignor_of(*request.assignor) || std::find(served.begin(), served.end(), *request.assignor) == served.end()) {
      std::string names;
      for (const std::string& name : served) names += (names.empty() ? "" : ", ") + name;
      return {Code::unsupported_assignor,
              "ServerAssignor " + *request.assignor + " is not supported. Supported assignors: " + names + "."};
    }
  }
  size_t bytes = request.topic_pattern ? request.topic_pattern->size() : 0;
  if (request.topics) {
    for (const std::string& topic : *request.topics) bytes += topic.size();
  }
  if (bytes > static_cast<size_t>(options_.member_bytes_max)) return {Code::quota_exceeded, "too many topics are followed"};
  if (request.topic_pattern && !request.topic_pattern->empty() && !patterns_.contains(*request.topic_pattern)) {
    if (metrics_.patterns >= options_.consumer_patterns_max)
      return {Code::quota_exceeded, "The number of regular expressions over topics is at its limit."};
    const Result<Pattern> compiled = Pattern::compile(*request.topic_pattern);
    if (!compiled.ok()) return {compiled.code(), "SubscribedTopicRegex is not valid: " + compiled.error().detail};
  }
  return {};
}

// KIP-848: the answer with the new epoch may have been lost; then the member has a part of what it was given before.
ConsumerGroup::Refusal ConsumerGroup::check_epoch(const Member& member, const HeartbeatConsumer& request) const {
  if (request.member_epoch == member.epoch) return {};
  if (request.member_epoch < member.epoch && request.member_epoch == member.previous_epoch && request.owned) {
    const Partitions owned = partitions_of(*request.owned);
    if (std::includes(member.assigned.begin(), member.assigned.end(), owned.begin(), owned.end())) return {};
  }
  return {Code::fenced_member_epoch, "The consumer group member has another member epoch (" + std::to_string(member.epoch) +
                                         ") than the one in the request. The member must abandon all its partitions and rejoin."};
}

ConsumerGroup::Member* ConsumerGroup::find_or_add(const HeartbeatConsumer& request, const std::string& member_id,
                                                  Refusal& refusal) {
  const auto refuse = [&](Code code, std::string why) {
    refusal = {code, std::move(why)};
    return nullptr;
  };
  if (request.instance_id) return find_or_add_static(request, member_id, refusal);
  const auto at = members_.find(member_id);
  if (at == members_.end()) {
    if (request.member_epoch != kJoin)
      return refuse(Code::unknown_member, "Member " + member_id + " is not a member of the group.");
    if (!has_room_for(member_id)) {
      ++metrics_.members_refused_total;
      return refuse(Code::quota_exceeded, "The consumer group has reached its maximum capacity.");
    }
    return &add(member_id, {});
  }
  Member& member = at->second;
  if (request.member_epoch != kJoin) {
    refusal = check_epoch(member, request);
    return refusal.code == Code::ok ? &member : nullptr;
  }
  // It comes back with nothing: what it had is its own still, and is given to it anew.
  replace(member_id, member_id);
  return &member;
}

ConsumerGroup::Member* ConsumerGroup::find_or_add_static(const HeartbeatConsumer& request, const std::string& member_id,
                                                         Refusal& refusal) {
  const auto refuse = [&](Code code, std::string why) {
    refusal = {code, std::move(why)};
    return nullptr;
  };
  const auto known = instances_.find(*request.instance_id);
  if (request.member_epoch != kJoin) {
    if (known == instances_.end()) return refuse(Code::unknown_member, "Instance id " + *request.instance_id + " is unknown.");
    if (known->second != member_id) {
      return refuse(Code::fenced_instance,
                    "Static member " + member_id + " with instance id " + *request.instance_id + " was fenced by another one.");
    }
    Member& member = members_.find(member_id)->second;
    refusal = check_epoch(member, request);
    return refusal.code == Code::ok ? &member : nullptr;
  }
  if (known == instances_.end()) {
    if (members_.contains(member_id)) {
      return refuse(Code::invalid_argument, "Member " + member_id + " is there without this instance id.");
    }
    if (!has_room_for(member_id)) {
      ++metrics_.members_refused_total;
      return refuse(Code::quota_exceeded, "The consumer group has reached its maximum capacity.");
    }
    return &add(member_id, *request.instance_id);
  }
  const Member& holder = members_.find(known->second)->second;
  if (known->second != member_id) {
    if (!holder.classic && holder.epoch != kStaticLeave) {
      return refuse(Code::unreleased_instance,
                    "Static member with instance id " + *request.instance_id + " is in use by another member.");
    }
    if (members_.contains(member_id)) return refuse(Code::invalid_argument, "Member " + member_id + " has another instance id.");
  }
  return &replace(std::string(known->second), member_id);
}

ConsumerGroup::Member& ConsumerGroup::add(const std::string& member_id, std::string instance_id) {
  pending_.erase(member_id);
  if (!instance_id.empty()) instances_[instance_id] = member_id;
  Member& member = members_[member_id];
  member.instance_id = std::move(instance_id);
  ++metrics_.members;
  changes_.members.insert(member_id);
  return member;
}

ConsumerGroup::Member& ConsumerGroup::replace(const std::string& old_id, const std::string& new_id) {
  auto node = members_.extract(old_id);
  Member& member = node.mapped();
  give(old_id, member, member.assigned, {});
  member.epoch = kJoin;
  member.previous_epoch = kJoin;
  member.state = State::stable;
  member.revoke_due = Instant::never();
  member.classic.reset();
  changes_.members.insert(old_id);
  changes_.members.insert(new_id);
  if (old_id != new_id) {
    for (const ShardId& shard : member.assigned) owners_[shard] = new_id;
    instances_[member.instance_id] = new_id;
    if (auto target = target_.extract(old_id)) {
      target.key() = new_id;
      target_.insert(std::move(target));
    }
    if (auto followed = followed_.members.extract(old_id)) {
      followed.key() = new_id;
      followed_.members.insert(std::move(followed));
    }
    node.key() = new_id;
  }
  return members_.insert(std::move(node)).position->second;
}

ConsumerHeartbeatReply ConsumerGroup::leave(const HeartbeatConsumer& request) {
  ConsumerHeartbeatReply reply;
  reply.member_id = request.member_id;
  reply.member_epoch = request.member_epoch;
  const auto refuse = [&](Code code) {
    reply.code = code;
    reply.member_epoch = 0;
    return reply;
  };
  const auto at = members_.find(request.member_id);
  if (request.instance_id) {
    const auto known = instances_.find(*request.instance_id);
    if (known == instances_.end()) return refuse(Code::unknown_member);
    if (known->second != request.member_id) return refuse(Code::fenced_instance);
  }
  if (at == members_.end()) return refuse(Code::unknown_member);
  if (request.member_epoch == kLeave) {
    remove(at);
    aim(true);
    return reply;
  }
  Member& member = at->second;
  give(at->first, member, member.assigned, {});
  member.epoch = kStaticLeave;
  member.state = State::stable;
  member.revoke_due = Instant::never();
  changes_.members.insert(at->first);
  return reply;
}

void ConsumerGroup::update(Member& member, const HeartbeatConsumer& request) {
  // Whoever speaks this protocol is no classic member any more.
  member.classic.reset();
  member.client_id = request.client_id;
  member.client_host = request.client_host;
  if (request.rack_id) member.rack_id = *request.rack_id;
  if (request.rebalance_timeout_ms != -1) member.rebalance_timeout = Duration::millis(request.rebalance_timeout_ms);
  if (request.topics) member.topics = in_order(*request.topics);
  if (request.assignor) member.assignor = *request.assignor;
  if (request.topic_pattern) member.pattern = *request.topic_pattern;
}

void ConsumerGroup::remove(Members::iterator at) {
  give(at->first, at->second, {}, {});
  if (!at->second.instance_id.empty()) instances_.erase(at->second.instance_id);
  target_.erase(at->first);
  changes_.members.insert(at->first);
  --metrics_.members;
  members_.erase(at);
}

bool ConsumerGroup::has_room_for(const std::string& member_id) const {
  if (members_.contains(member_id)) return true;
  return members_.size() + pending_.size() - pending_.count(member_id) < static_cast<size_t>(options_.members_max);
}

// ---- The target ----

ConsumerGroup::Followed ConsumerGroup::look_at_topics() const {
  Followed out;
  std::map<std::string, std::vector<FollowableTopic>, std::less<>> matched;  // by pattern
  std::optional<std::vector<FollowableTopic>> all;
  for (const auto& [id, member] : members_) {
    std::set<TopicId> ids;
    const auto follow = [&](const FollowableTopic& topic) {
      out.topics[topic.id] = topic.partitions;
      ids.insert(topic.id);
    };
    for (const std::string& name : member.topics) {
      if (const auto topic = topics_.find(name)) follow(*topic);
    }
    if (const auto pattern = patterns_.find(member.pattern); pattern != patterns_.end()) {
      auto [at, is_new] = matched.try_emplace(member.pattern);
      if (is_new) {
        if (!all) all = topics_.list();
        for (const FollowableTopic& topic : *all) {
          if (pattern->second.matches(topic.name)) at->second.push_back(topic);
        }
      }
      for (const FollowableTopic& topic : at->second) follow(topic);
    }
    out.members[id].assign(ids.begin(), ids.end());
  }
  return out;
}

void ConsumerGroup::aim(bool anyway) {
  topics_are_news_ = false;
  std::map<std::string, Pattern, std::less<>> patterns;
  for (const auto& [id, member] : members_) {
    if (member.pattern.empty() || patterns.contains(member.pattern)) continue;
    if (const auto known = patterns_.find(member.pattern); known != patterns_.end()) {
      patterns.emplace(member.pattern, known->second);
    } else if (Result<Pattern> compiled = Pattern::compile(member.pattern); compiled.ok()) {
      patterns.emplace(member.pattern, compiled.take());
    }
  }
  metrics_.patterns += static_cast<int64_t>(patterns.size()) - static_cast<int64_t>(patterns_.size());
  patterns_ = std::move(patterns);
  Followed now = look_at_topics();
  if (!anyway && now == followed_) return;
  followed_ = std::move(now);
  epoch_ = epoch_ == INT32_MAX ? 1 : epoch_ + 1;
  changes_.epoch = true;
  ++metrics_.rebalances_total;
  AssignmentInput input;
  input.topics = followed_.topics;
  for (const auto& [id, member] : members_) {
    input.members.push_back({id, member.instance_id, followed_.members.at(id), target_of(id)});
  }
  assignor_ = wanted_assignor();
  target_ = assign(assignor_, input);
  target_epoch_ = epoch_;
}

// What most members want; the first of the node's where nobody says.
Assignor ConsumerGroup::wanted_assignor() const {
  std::map<std::string_view, size_t> votes;
  for (const auto& [id, member] : members_) {
    if (!member.assignor.empty()) ++votes[member.assignor];
  }
  std::string_view best = options_.consumer_assignors.empty() ? std::string_view() : options_.consumer_assignors.front();
  size_t most = 0;
  for (const auto& [name, count] : votes) {
    if (count <= most || !assignor_of(name)) continue;
    best = name;
    most = count;
  }
  return assignor_of(best).value_or(Assignor::uniform);
}

const Partitions& ConsumerGroup::target_of(const std::string& member_id) const {
  static const Partitions kNone;
  const auto at = target_.find(member_id);
  return at == target_.end() ? kNone : at->second;
}

// ---- A member's way to it ----

// `owned`: what the member says it has; nullopt: it does not say.
void ConsumerGroup::reconcile(const std::string& id, Member& member, const std::optional<Partitions>& owned) {
  switch (member.state) {
    case State::stable:
      if (member.epoch != target_epoch_) walk(id, member, member.epoch, owned);
      return;
    case State::unrevoked:
      if (!owned || has_any(member.revoking, *owned)) return;
      return walk(id, member, member.epoch + 1, owned);
    case State::unreleased:
      return walk(id, member, member.epoch, owned);
  }
}

void ConsumerGroup::walk(const std::string& id, Member& member, int32_t epoch, const std::optional<Partitions>& owned) {
  const Partitions& target = target_of(id);
  Partitions assigned, revoking;
  for (const ShardId& shard : member.assigned) (target.contains(shard) ? assigned : revoking).insert(shard);
  const State before = member.state;
  if (!revoking.empty() && (!owned || has_any(revoking, *owned))) {
    member.state = State::unrevoked;
    if (before != State::unrevoked || epoch != member.epoch) member.revoke_due = now_ + member.rebalance_timeout;
  } else {
    revoking.clear();
    epoch = target_epoch_;
    member.state = State::stable;
    member.revoke_due = Instant::never();
    for (const ShardId& shard : target) {
      const auto owner = owners_.find(shard);
      if (owner == owners_.end() || owner->second == id) {
        assigned.insert(shard);
      } else {
        member.state = State::unreleased;
      }
    }
  }
  if (epoch != member.epoch) {
    member.previous_epoch = std::exchange(member.epoch, epoch);
    changes_.members.insert(id);
  }
  give(id, member, std::move(assigned), std::move(revoking));
}

void ConsumerGroup::give(const std::string& id, Member& member, Partitions assigned, Partitions revoking) {
  if (member.assigned == assigned && member.revoking == revoking) return;
  for (const Partitions* had : {&member.assigned, &member.revoking}) {
    for (const ShardId& shard : *had) owners_.erase(shard);
  }
  member.assigned = std::move(assigned);
  member.revoking = std::move(revoking);
  for (const Partitions* has : {&member.assigned, &member.revoking}) {
    for (const ShardId& shard : *has) owners_[shard] = id;
  }
  changes_.members.insert(id);
}

// ---- Time ----

void ConsumerGroup::arm_member(const Member& member) {
  arm(member.deadline);
  arm(member.revoke_due);
  if (!member.classic) return;
  arm(member.classic->join_due);
  arm(member.classic->sync_due);
}

void ConsumerGroup::tick(Instant now) {
  now_ = now;
  if (now < next_timer_) return;
  std::erase_if(pending_, [&](const auto& entry) { return entry.second <= now; });
  bool is_any_gone = false;
  for (auto at = members_.begin(); at != members_.end();) {
    const auto next = std::next(at);
    const Member& member = at->second;
    const bool is_late_classic = member.classic && std::min(member.classic->join_due, member.classic->sync_due) <= now;
    if (member.deadline <= now || member.revoke_due <= now || is_late_classic) {
      ++metrics_.members_expired_total;
      remove(at);
      is_any_gone = true;
    }
    at = next;
  }
  if (is_any_gone) aim(true);
  next_timer_ = Instant::never();
  for (const auto& [id, due] : pending_) arm(due);
  for (const auto& [id, member] : members_) arm_member(member);
}

// ---- Offsets ----

Code ConsumerGroup::check_commit(const CommitOffsets& request) const {
  // Who uses the group to keep offsets only may do so while nobody else has it.
  if (request.generation < 0 && members_.empty()) return Code::ok;
  const auto at = members_.find(request.member_id);
  if (at == members_.end()) return Code::unknown_member;
  const Member& member = at->second;
  if (request.instance_id && *request.instance_id != member.instance_id) return Code::fenced_instance;
  if (!member.classic && !request.knows_epochs) return Code::not_supported;
  if (request.generation == member.epoch) return Code::ok;
  return member.classic ? Code::illegal_generation : Code::stale_member_epoch;
}

Code ConsumerGroup::check_fetch(const FetchOffsets& request) const {
  const std::string id = request.member_id.value_or("");
  if (id.empty() && request.member_epoch < 0) return Code::ok;
  const auto at = members_.find(id);
  if (at == members_.end()) return Code::unknown_member;
  if (request.member_epoch == at->second.epoch) return Code::ok;
  return at->second.classic ? Code::illegal_generation : Code::stale_member_epoch;
}

}  // namespace robustmq::broker
