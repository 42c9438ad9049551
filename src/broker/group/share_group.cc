#include "broker/group/share_group.h"

#include <algorithm>
#include <optional>

#include "broker/group/consumer_group.h"

namespace robustmq::broker {
namespace {

constexpr int32_t kShareJoin = 0;
constexpr int32_t kShareLeave = -1;

}  // namespace

ShareGroup::~ShareGroup() { metrics_.members -= static_cast<int64_t>(members_.size()); }

void ShareGroup::restore(const ShareGroupRow& row) {
  epoch_ = row.epoch;
  queued_ = {row.topics.begin(), row.topics.end()};
  has_news_ = false;
}

ShareGroup::Refusal ShareGroup::check(const HeartbeatShare& request) const {
  const auto invalid = [](std::string why) { return Refusal{Code::invalid_argument, std::move(why)}; };
  if (request.member_id.empty()) return invalid("MemberId can't be empty.");
  if (request.rack_id && request.rack_id->empty()) return invalid("RackId can't be empty.");
  if (request.member_epoch < kShareLeave) return invalid("MemberEpoch is invalid.");
  if (request.member_epoch == kShareJoin && (!request.topics || request.topics->empty()))
    return invalid("SubscribedTopicNames must be set in first request.");
  size_t bytes = 0;
  if (request.topics) {
    for (const std::string& topic : *request.topics) bytes += topic.size();
  }
  if (bytes > static_cast<size_t>(options_.member_bytes_max)) return {Code::quota_exceeded, "too many topics are followed"};
  return {};
}

ConsumerHeartbeatReply ShareGroup::heartbeat(const HeartbeatShare& request, const GroupConfig& config, Instant now) {
  tick(now);
  ConsumerHeartbeatReply reply;
  reply.member_id = request.member_id;
  const auto refuse = [&](Code code, std::string detail) {
    reply.code = code;
    reply.detail = std::move(detail);
    return reply;
  };
  if (Refusal refusal = check(request); refusal.code != Code::ok) return refuse(refusal.code, std::move(refusal.detail));
  auto at = members_.find(request.member_id);
  const bool is_new = at == members_.end();
  if (is_new && request.member_epoch != kShareJoin)
    return refuse(Code::unknown_member, "Member " + request.member_id + " is not a member of the group.");
  if (request.member_epoch == kShareLeave) {
    members_.erase(at);
    target_.erase(request.member_id);
    --metrics_.members;
    aim_soon(now);
    reply.member_epoch = kShareLeave;
    return reply;
  }
  if (is_new) {
    if (members_.size() >= static_cast<size_t>(options_.share_members_max)) {
      ++metrics_.members_refused_total;
      return refuse(Code::quota_exceeded, "The share group has reached its maximum capacity.");
    }
    at = members_.try_emplace(request.member_id).first;
    ++metrics_.members;
  }
  Member& member = at->second;
  // KIP-932: the answer with the new epoch may have been lost.
  if (request.member_epoch > kShareJoin && request.member_epoch != member.epoch &&
      request.member_epoch != member.previous_epoch) {
    return refuse(Code::fenced_member_epoch, "The share group member has another member epoch (" + std::to_string(member.epoch) +
                                                 ") than the one in the request. The member must rejoin.");
  }
  const bool is_behind = request.member_epoch != member.epoch;
  member.client_id = request.client_id;
  member.client_host = request.client_host;
  if (request.rack_id) member.rack_id = *request.rack_id;
  std::vector<std::string> topics = request.topics ? in_order(*request.topics) : member.topics;
  if (is_new || topics != member.topics) {
    member.topics = std::move(topics);
    aim_soon(now);
  } else if (topics_are_news_) {
    aim(false);
  }

  const auto target = target_.find(request.member_id);
  const bool is_other = target != target_.end() && target->second != member.assigned;
  if (is_other) member.assigned = target->second;
  if (member.epoch != epoch_) member.previous_epoch = std::exchange(member.epoch, epoch_);
  const int32_t timeout =
      config.share_session_timeout_ms >= 0 ? config.share_session_timeout_ms : options_.share_session_timeout_ms;
  member.deadline = now + Duration::millis(timeout);
  next_timer_ = std::min(next_timer_, member.deadline);

  const int32_t interval = config.share_heartbeat_interval_ms;
  reply.member_epoch = member.epoch;
  reply.heartbeat_interval_ms = interval >= 0 ? interval : options_.share_heartbeat_interval_ms;
  if (is_behind || is_other || request.topics) reply.assignment = by_topic(member.assigned);
  return reply;
}

void ShareGroup::tick(Instant now) {
  if (now < next_timer_) return;
  next_timer_ = Instant::never();
  const size_t before = members_.size();
  for (auto at = members_.begin(); at != members_.end();) {
    if (at->second.deadline > now) {
      next_timer_ = std::min(next_timer_, at->second.deadline);
      ++at;
      continue;
    }
    target_.erase(at->first);
    ++metrics_.members_expired_total;
    --metrics_.members;
    at = members_.erase(at);
  }
  if (members_.size() != before) aim_soon(now);
  if (aim_at_ <= now) {
    next_aim_ = now + kAimPause;
    aim(true);
  }
  next_timer_ = std::min(next_timer_, aim_at_);
}

void ShareGroup::aim_soon(Instant now) {
  if (members_.size() > kEagerMembers && now < next_aim_) {
    aim_at_ = next_aim_;
    next_timer_ = std::min(next_timer_, aim_at_);
    return;
  }
  next_aim_ = now + kAimPause;
  aim(true);
}

// A new epoch with a new target where what is followed differs, or `anyway`.
void ShareGroup::aim(bool anyway) {
  topics_are_news_ = false;
  aim_at_ = Instant::never();
  AssignmentInput input;
  std::map<std::string, std::optional<FollowableTopic>, std::less<>> looked_up;
  for (const auto& [id, member] : members_) {
    Assignee& one = input.members.emplace_back();
    one.id = id;
    for (const std::string& name : member.topics) {
      const auto [at, is_new] = looked_up.try_emplace(name);
      if (is_new) at->second = topics_.find(name);
      if (!at->second) continue;
      one.topics.push_back(at->second->id);
      input.topics[at->second->id] = at->second->partitions;
    }
    std::sort(one.topics.begin(), one.topics.end());
    if (const auto had = target_.find(id); had != target_.end()) one.before = had->second;
  }
  if (!anyway && input.topics == followed_) return;
  followed_ = input.topics;
  for (const auto& [topic, partitions] : followed_) add_topic(topic);
  ++epoch_;
  target_ = assign_shared(input);
  ++metrics_.rebalances_total;
}

DescribedConsumers::One ShareGroup::describe() const {
  DescribedConsumers::One one;
  one.state = state_name();
  one.epoch = epoch_;
  one.assignment_epoch = epoch_;
  one.assignor = "simple";
  for (const auto& [id, member] : members_) {
    DescribedConsumers::Member& row = one.members.emplace_back();
    row.id = id;
    if (!member.rack_id.empty()) row.rack_id = member.rack_id;
    row.epoch = member.epoch;
    row.client_id = member.client_id;
    row.client_host = member.client_host;
    row.topics = member.topics;
    for (AssignedTopic& topic : by_topic(member.assigned)) {
      const auto known = topics_.find(topic.topic);
      row.assigned.push_back({topic.topic, known ? known->name : std::string(), std::move(topic.partitions)});
    }
  }
  return one;
}

}  // namespace robustmq::broker
