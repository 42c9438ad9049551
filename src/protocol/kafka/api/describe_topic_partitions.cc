// DescribeTopicPartitions 0: topics by name with their partitions, a page at a time. Pure.
//
// A page has at most 2,000 partitions, or fewer when asked; the cursor names where the next one begins. A cursor holds whether
// its topic is still there or not: the names behind it come.
#include <algorithm>

#include "protocol/kafka/api/makers.h"
#include "protocol/kafka/frames/describe_topic_partitions.h"

namespace robustmq::kafka {

namespace {

constexpr int32_t kPartitionsMax = 2000;

class DescribeTopicPartitionsExchange final : public ExchangeOf<DescribeTopicPartitionsRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    broker::DescribeTopics topics;
    topics.all = request_.topics.empty();
    for (const auto& topic : request_.topics) names_.emplace_back(topic.name);
    std::sort(names_.begin(), names_.end());
    names_.erase(std::unique(names_.begin(), names_.end()), names_.end());
    if (request_.cursor) std::erase_if(names_, [&](const std::string& name) { return name < request_.cursor->topic_name; });
    if (!topics.all && names_.empty()) return answer(DescribeTopicPartitionsResponse{});
    for (const std::string& name : names_) topics.topics.push_back({name, {}});
    call(out, broker::DescribeCluster{});
    call(out, std::move(topics));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    Code code;
    const broker::ClusterFacts* cluster = reply_as<broker::ClusterFacts>(replies[0], code);
    broker::DescribedTopics* topics = cluster ? reply_as<broker::DescribedTopics>(replies[1], code) : nullptr;
    DescribeTopicPartitionsResponse response;
    if (!topics) {
      for (const std::string& name : names_) add_refused(response, name, wire_error(code));
      return answer(response);
    }
    const NodeId leader = cluster->nodes.empty() ? -1 : cluster->nodes.front().id;
    auto& rows = topics->topics;
    std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.facts.name < b.facts.name; });
    int32_t left = std::clamp(request_.response_partition_limit, 1, kPartitionsMax);
    for (const broker::DescribedTopic& topic : rows) {
      const std::string_view name = topic.facts.name;
      if (request_.cursor && name < request_.cursor->topic_name) continue;
      if (topic.code != Code::ok) {
        add_refused(response, name, wire_error(topic.code));
        continue;
      }
      const bool is_resumed = request_.cursor && name == request_.cursor->topic_name;
      const int32_t first = is_resumed ? std::max(request_.cursor->partition_index, 0) : 0;
      if (left == 0) {
        set_cursor(response, name, first);
        break;
      }
      auto& row = response.topics.emplace_back();
      row.name = name;
      row.topic_id = topic.facts.id;
      int32_t next = first;
      for (; next < topic.facts.partitions && left > 0; ++next, --left) {
        auto& partition = row.partitions.emplace_back();
        partition.partition_index = next;
        partition.leader_id = leader;
        partition.leader_epoch = topic.facts.leader_epoch;
        partition.replica_nodes = {leader};
        partition.isr_nodes = {leader};
        partition.eligible_leader_replicas.emplace();
        partition.last_known_elr.emplace();
      }
      if (next < topic.facts.partitions) {
        set_cursor(response, name, next);
        break;
      }
    }
    answer(response);
  }

 private:
  static void add_refused(DescribeTopicPartitionsResponse& response, std::string_view name, int16_t error) {
    auto& row = response.topics.emplace_back();
    row.error_code = error;
    row.name = name;
  }
  static void set_cursor(DescribeTopicPartitionsResponse& response, std::string_view name, int32_t partition) {
    auto& cursor = response.next_cursor.emplace();
    cursor.topic_name = name;
    cursor.partition_index = partition;
  }

  std::vector<std::string> names_;  // asked for, in order
};

}  // namespace

Made make_describe_topic_partitions(Link& link, RequestFacts facts) {
  return std::make_unique<DescribeTopicPartitionsExchange>(link, std::move(facts));
}

}  // namespace robustmq::kafka
