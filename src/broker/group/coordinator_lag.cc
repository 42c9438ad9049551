// GroupCoordinator: the lag of consumer groups, which is the end of a partition without what was committed of it.
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

void GroupCoordinator::look_at_lag(Callback<void(ListOffsets, Callback<void(Reply)>)> ask) {
  ask_ends_ = std::move(ask);
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

void GroupCoordinator::add_lag(observe::MetricsSnapshot& to) const {
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
