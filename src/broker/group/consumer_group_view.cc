// ConsumerGroup: what is shown and what is stored of it.
#include <algorithm>

#include "broker/group/consumer_group.h"

namespace robustmq::broker {
namespace {

std::vector<PartitionRow> rows_of(const Partitions& partitions) {
  std::vector<PartitionRow> rows;
  for (const ShardId& shard : partitions) rows.push_back({shard.topic, shard.partition});
  return rows;
}

}  // namespace

std::vector<AssignedTopic> by_topic(const Partitions& partitions) {
  std::vector<AssignedTopic> out;
  for (const ShardId& shard : partitions) {
    if (out.empty() || out.back().topic != shard.topic) out.push_back({shard.topic, {}});
    out.back().partitions.push_back(shard.partition);
  }
  return out;
}

std::vector<std::string> in_order(std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

Duration ConsumerGroup::session_timeout(const GroupConfig& config) const {
  const int32_t own = config.consumer_session_timeout_ms;
  return Duration::millis(own >= 0 ? own : options_.consumer_session_timeout_ms);
}

// ---- What is shown ----

bool ConsumerGroup::is_all_classic() const {
  return !members_.empty() &&
         std::all_of(members_.begin(), members_.end(), [](const auto& entry) { return entry.second.classic.has_value(); });
}

std::string_view ConsumerGroup::state_name() const {
  if (members_.empty()) return "Empty";
  if (epoch_ != target_epoch_) return "Assigning";
  const bool is_settled = std::all_of(members_.begin(), members_.end(), [&](const auto& entry) {
    return entry.second.state == State::stable && entry.second.epoch == target_epoch_;
  });
  return is_settled ? "Stable" : "Reconciling";
}

std::vector<DescribedConsumers::Topic> ConsumerGroup::named(const Partitions& partitions) const {
  std::vector<DescribedConsumers::Topic> out;
  for (const AssignedTopic& one : by_topic(partitions)) {
    const auto topic = topics_.find(one.topic);
    if (topic) out.push_back({one.topic, topic->name, one.partitions});
  }
  return out;
}

DescribedConsumers::One ConsumerGroup::describe() const {
  DescribedConsumers::One out;
  out.state = state_name();
  out.epoch = epoch_;
  out.assignment_epoch = target_epoch_;
  out.assignor = assignor_name(assignor_);
  const auto given = [](const std::string& text) { return text.empty() ? std::nullopt : std::optional(text); };
  for (const auto& [id, member] : members_) {
    DescribedConsumers::Member& row = out.members.emplace_back();
    row.id = id;
    row.instance_id = given(member.instance_id);
    row.rack_id = given(member.rack_id);
    row.epoch = member.epoch;
    row.client_id = member.client_id;
    row.client_host = member.client_host;
    row.topics = member.topics;
    row.topic_pattern = member.pattern;
    row.assigned = named(member.assigned);
    row.target = named(target_of(id));
    row.is_classic = member.classic.has_value();
  }
  return out;
}

bool ConsumerGroup::is_followed(const std::string& topic) const {
  if (!topics_are_news_) {
    const auto known = topics_.find(topic);
    return known && followed_.topics.contains(known->id);
  }
  for (const auto& [id, member] : members_) {
    if (std::binary_search(member.topics.begin(), member.topics.end(), topic)) return true;
    const auto pattern = patterns_.find(member.pattern);
    if (pattern != patterns_.end() && pattern->second.matches(topic)) return true;
  }
  return false;
}

// ---- What is stored ----

void ConsumerGroup::keep_changes(const Changes& taken) {
  changes_.epoch = true;
  changes_.members.insert(taken.members.begin(), taken.members.end());
  for (const auto& [id, member] : members_) changes_.members.insert(id);
}

std::optional<MemberRow> ConsumerGroup::row_of(const std::string& member_id) const {
  const auto at = members_.find(member_id);
  if (at == members_.end() || at->second.classic) return std::nullopt;
  const Member& member = at->second;
  return MemberRow{member.epoch,
                   member.previous_epoch,
                   member.instance_id,
                   member.rack_id,
                   member.client_id,
                   member.client_host,
                   static_cast<int32_t>(member.rebalance_timeout.to_millis()),
                   member.topics,
                   member.pattern,
                   member.assignor,
                   rows_of(member.assigned),
                   rows_of(member.revoking)};
}

void ConsumerGroup::restore(int32_t epoch, std::vector<std::pair<std::string, MemberRow>> rows, const GroupConfig& config,
                            Instant now) {
  now_ = now;
  epoch_ = epoch;
  target_epoch_ = epoch;
  for (auto& [id, row] : rows) {
    Member& member = add(id, row.instance_id);
    member.rack_id = std::move(row.rack_id);
    member.client_id = std::move(row.client_id);
    member.client_host = std::move(row.client_host);
    member.rebalance_timeout = Duration::millis(row.rebalance_timeout_ms);
    member.topics = in_order(std::move(row.topics));
    member.pattern = std::move(row.pattern);
    member.assignor = std::move(row.assignor);
    member.epoch = row.epoch;
    member.previous_epoch = row.previous_epoch;
    member.deadline = now + session_timeout(config);
    Partitions assigned, revoking;
    for (const PartitionRow& one : row.assigned) {
      if (!owners_.contains({one.topic, one.partition})) assigned.insert({one.topic, one.partition});
    }
    for (const PartitionRow& one : row.revoking) {
      const ShardId shard{one.topic, one.partition};
      if (!owners_.contains(shard) && !assigned.contains(shard)) revoking.insert(shard);
    }
    if (!revoking.empty()) {
      member.state = State::unrevoked;
      member.revoke_due = now + member.rebalance_timeout;
    }
    target_[id] = assigned;
    give(id, member, std::move(assigned), std::move(revoking));
    arm_member(member);
  }
  if (!members_.empty()) aim(true);
  changes_.members.clear();  // they lie there as they are
}

}  // namespace robustmq::broker
