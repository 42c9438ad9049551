// ElectLeaders 0-2, AlterPartitionReassignments 0-1, ListPartitionReassignments 0: what is true of one node. Pure.
//
// Each partition has one replica, which leads it: an election is not needed, a reassignment to this node changes nothing and one
// to another node is refused, none is ever under way.
#include "protocol/kafka/api/makers.h"
#include "protocol/kafka/frames/alter_partition_reassignments.h"
#include "protocol/kafka/frames/elect_leaders.h"
#include "protocol/kafka/frames/list_partition_reassignments.h"

namespace robustmq::kafka {

namespace {

bool has_partition(const broker::DescribedTopic& topic, int32_t partition) {
  return topic.code == Code::ok && partition >= 0 && partition < topic.facts.partitions;
}

class ElectLeadersExchange final : public ExchangeOf<ElectLeadersRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    // All partitions: those that need an election would be named, and none does.
    if (!request_.topic_partitions || request_.topic_partitions->empty()) return answer(ElectLeadersResponse{});
    broker::DescribeTopics topics;
    for (const auto& topic : *request_.topic_partitions) topics.topics.push_back({std::string(topic.topic), {}});
    call(out, std::move(topics));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    ElectLeadersResponse response;
    Code code;
    const broker::DescribedTopics* topics = reply_as<broker::DescribedTopics>(replies[0], code);
    if (!topics) response.error_code = wire_error(code);
    for (size_t i = 0; topics && i < request_.topic_partitions->size(); ++i) {
      const auto& asked = (*request_.topic_partitions)[i];
      auto& row = response.replica_election_results.emplace_back();
      row.topic = asked.topic;
      for (int32_t partition : asked.partitions) {
        auto& result = row.partition_result.emplace_back();
        result.partition_id = partition;
        const bool is_there = i < topics->topics.size() && has_partition(topics->topics[i], partition);
        result.error_code = wire(is_there ? KafkaError::election_not_needed : KafkaError::unknown_topic_or_partition);
        result.error_message = is_there ? "the only replica leads" : "no such topic or partition";
      }
    }
    answer(response);
  }
};

class AlterPartitionReassignmentsExchange final : public ExchangeOf<AlterPartitionReassignmentsRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    if (request_.topics.empty()) return answer(AlterPartitionReassignmentsResponse{});
    broker::DescribeTopics topics;
    for (const auto& topic : request_.topics) topics.topics.push_back({std::string(topic.name), {}});
    call(out, broker::DescribeCluster{});
    call(out, std::move(topics));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    AlterPartitionReassignmentsResponse response;
    response.allow_replication_factor_change = request_.allow_replication_factor_change;
    Code code;
    const broker::ClusterFacts* cluster = reply_as<broker::ClusterFacts>(replies[0], code);
    const broker::DescribedTopics* topics = cluster ? reply_as<broker::DescribedTopics>(replies[1], code) : nullptr;
    if (!topics) {
      response.error_code = wire_error(code);
      response.error_message = code_text(code);
      return answer(response);
    }
    const NodeId node = cluster->nodes.empty() ? -1 : cluster->nodes.front().id;
    for (size_t i = 0; i < request_.topics.size(); ++i) {
      auto& row = response.responses.emplace_back();
      row.name = request_.topics[i].name;
      for (const auto& asked : request_.topics[i].partitions) {
        auto& result = row.partitions.emplace_back();
        result.partition_index = asked.partition_index;
        result.error_message.reset();
        if (i >= topics->topics.size() || !has_partition(topics->topics[i], asked.partition_index)) {
          refuse(result, KafkaError::unknown_topic_or_partition, "no such topic or partition");
        } else if (!asked.replicas) {
          refuse(result, KafkaError::no_reassignment_in_progress, "no reassignment of this partition is under way");
        } else if (*asked.replicas != std::vector<int32_t>{node}) {
          refuse(result, KafkaError::invalid_replica_assignment, "a partition has one replica, on this node");
        }
      }
    }
    answer(response);
  }

 private:
  template <class Row>
  static void refuse(Row& row, KafkaError error, std::string_view text) {
    row.error_code = wire(error);
    row.error_message = text;
  }
};

class ListPartitionReassignmentsExchange final : public ExchangeOf<ListPartitionReassignmentsRequest> {
 public:
  using ExchangeOf::ExchangeOf;
  void start(Outbox&) override {
    ListPartitionReassignmentsResponse response;
    response.error_message.reset();
    answer(response);
  }

 protected:
  void on_replies(std::vector<broker::Reply>&, Outbox&) override {}
};

}  // namespace

Made make_elect_leaders(Link& link, RequestFacts facts) { return std::make_unique<ElectLeadersExchange>(link, std::move(facts)); }
Made make_alter_partition_reassignments(Link& link, RequestFacts facts) {
  return std::make_unique<AlterPartitionReassignmentsExchange>(link, std::move(facts));
}
Made make_list_partition_reassignments(Link& link, RequestFacts facts) {
  return std::make_unique<ListPartitionReassignmentsExchange>(link, std::move(facts));
}

}  // namespace robustmq::kafka
