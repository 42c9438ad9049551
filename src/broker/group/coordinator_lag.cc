// GroupCoordinator: the lag of consumer groups, which is the end of a partition without what was committed of it, and of share
// groups: the records of a partition that are not done.
#include <algorithm>

#include "broker/group/coordinator_entry.h"

namespace robustmq::broker {
namespace {

// A label's value: backslash, quote and line feed are escaped.
std::string label_quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out + '"';
}

}  // namespace

void GroupCoordinator::look_at_lag(Callback<void(ListOffsets, Callback<void(Reply)>)> ask_ends,
                                   Callback<void(DescribeShareOffsets, Callback<void(Reply)>)> ask_shares) {
  ask_ends_ = std::move(ask_ends);
  ask_shares_ = std::move(ask_shares);
  if (options_.lag_check_ms > 0) core_.arm(lag_timer_, core_.now() + Duration::millis(options_.lag_check_ms));
}

// The first lag_series_max of all committed offsets; the rest is not looked at.
template <class Use>
void GroupCoordinator::for_each_shown(Use&& use) const {
  int64_t left = options_.lag_series_max;
  for (const auto& [key, rows] : offsets_.groups()) {
    for (const auto& [shard, row] : rows) {
      if (left-- <= 0) return;
      use(key, shard, row);
    }
  }
}

void GroupCoordinator::on_lag_timer() {
  core_.arm(lag_timer_, core_.now() + Duration::millis(options_.lag_check_ms));
  look_at_ends();
  look_at_shares();
}

void GroupCoordinator::look_at_ends() {
  ListOffsets question;
  std::map<ShardId, const CommittedOffset*> wanted;
  int64_t shown = 0;
  for_each_shown([&](const Key&, const ShardId& shard, const CommittedOffset& row) {
    ++shown;
    wanted.emplace(shard, &row);
  });
  metrics_.lag_left_out = metrics_.offsets - shown;
  std::vector<ShardId> asked;
  for (const auto& [shard, row] : wanted) {
    const bool is_new = asked.empty() || asked.back().topic != shard.topic;
    if (is_new) question.topics.push_back(row->is_light ? TopicRef{row->topic, {}} : TopicRef{{}, shard.topic});
    ListOffsetsPartition& one = question.partitions.emplace_back();
    one.topic_index = static_cast<int32_t>(question.topics.size()) - 1;
    one.partition = shard.partition;
    asked.push_back(shard);
  }
  if (asked.empty()) {
    ends_.clear();
    return;
  }
  ask_ends_(std::move(question), [this, alive = std::weak_ptr<bool>(alive_), asked = std::move(asked)](Reply reply) {
    const auto* listed = std::get_if<ListedOffsets>(&reply);
    if (alive.expired() || listed == nullptr) return;
    ends_.clear();
    for (size_t i = 0; i < asked.size() && i < listed->partitions.size(); ++i) {
      if (listed->partitions[i].code == Code::ok) ends_[asked[i]] = listed->partitions[i].offset;
    }
  });
}

// Whole groups, as many as have not more than lag_series_max partitions together; the rest is not looked at.
void GroupCoordinator::look_at_shares() {
  if (!ask_shares_ || is_asking_shares_) return;
  DescribeShareOffsets question;
  int64_t shown = 0;
  int64_t left_out = 0;
  for (const auto& [key, entry] : groups_) {
    if (!entry->shares || key.first != kDefaultTenant) continue;
    int64_t partitions = 0;
    for (const TopicId& id : entry->shares->topics()) {
      const auto topic = meta_.find(id);
      partitions += topic ? topic->partitions : 0;
    }
    if (shown + partitions > options_.lag_series_max) {
      left_out += partitions;
      continue;
    }
    shown += partitions;
    question.groups.push_back({.group = key.second, .all = true, .topics = {}, .partitions = {}});
  }
  metrics_.share_lag_left_out = left_out;
  if (question.groups.empty()) return share_lag_.clear();
  std::vector<std::string> names;
  for (const DescribeShareOffsets::One& one : question.groups) names.push_back(one.group);
  is_asking_shares_ = true;
  ask_shares_(std::move(question), [this, alive = std::weak_ptr<bool>(alive_), names = std::move(names)](Reply reply) {
    if (alive.expired()) return;
    is_asking_shares_ = false;
    auto* described = std::get_if<DescribedShareOffsets>(&reply);
    if (described == nullptr) return;
    share_lag_.clear();
    for (size_t i = 0; i < names.size() && i < described->groups.size(); ++i)
      share_lag_.emplace_back(names[i], std::move(described->groups[i]));
  });
}

void GroupCoordinator::add_share_lag(observe::MetricsSnapshot& to) const {
  for (const auto& [group, described] : share_lag_) {
    for (const DescribedShareOffsets::Partition& one : described.partitions) {
      if (one.code != Code::ok || one.lag < 0) continue;
      observe::MetricSample sample;
      sample.name = "robustmq_share_group_lag";
      sample.labels = "group=" + label_quoted(group) + ",topic=" + label_quoted(one.topic) + ",partition=\"" +
                      std::to_string(one.partition) + "\"";
      sample.doc = "Records of a partition that the share group is not done with.";
      sample.kind = observe::MetricKind::gauge;
      sample.value = static_cast<double>(one.lag);
      to.add(std::move(sample));
    }
  }
}

void GroupCoordinator::add_lag(observe::MetricsSnapshot& to) const {
  add_share_lag(to);
  for_each_shown([&](const Key& key, const ShardId& shard, const CommittedOffset& row) {
    const auto end = ends_.find(shard);
    if (end == ends_.end() || row.offset < 0) return;
    observe::MetricSample sample;
    sample.name = "robustmq_consumer_group_lag";
    sample.labels = "group=" + label_quoted(key.second) + ",topic=" + label_quoted(row.topic) + ",partition=\"" +
                    std::to_string(shard.partition) + "\"";
    sample.doc = "Records of a partition behind the offset that the consumer group has committed.";
    sample.kind = observe::MetricKind::gauge;
    sample.value = static_cast<double>(std::max<Offset>(end->second - row.offset, 0));
    to.add(std::move(sample));
  });
}

}  // namespace robustmq::broker
