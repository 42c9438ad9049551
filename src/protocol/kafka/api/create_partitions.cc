// CreatePartitions 0-3. A topic only grows; a manual assignment must name this node for each new partition. Pure.
#include <map>

#include "protocol/kafka/api/makers.h"
#include "protocol/kafka/frames/create_partitions.h"

namespace robustmq::kafka {

namespace {

constexpr int kFirstStrictGrow = 3;  // refuses what is over controller_mutation_rate (KIP-599)

class CreatePartitionsExchange final : public ExchangeOf<CreatePartitionsRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    broker::DescribeTopics topics;
    for (const auto& topic : request_.topics) topics.topics.push_back({std::string(topic.name), {}});
    if (topics.topics.empty()) return answer(CreatePartitionsResponse{});
    call(out, broker::DescribeCluster{});
    call(out, std::move(topics));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox& out) override {
    if (rows_.empty()) return grow(replies, out);
    Code code;
    broker::GrownTopics* grown = reply_as<broker::GrownTopics>(replies[0], code);
    for (size_t i = 0; i < sent_.size(); ++i) {
      Row& row = rows_[sent_[i]];
      if (!grown || i >= grown->topics.size()) {
        row = {kafka_error_of(grown ? Code::internal : code), {}};
      } else if (grown->topics[i].code != Code::ok) {
        row = {kafka_error_of(grown->topics[i].code), grown->topics[i].detail};
      }
    }
    finish();
  }

 private:
  struct Row {
    KafkaError error = KafkaError::none;
    std::string text;
  };

  void grow(std::vector<broker::Reply>& replies, Outbox& out) {
    Code code;
    const broker::ClusterFacts* cluster = reply_as<broker::ClusterFacts>(replies[0], code);
    const NodeId node = cluster && !cluster->nodes.empty() ? cluster->nodes.front().id : -1;
    const broker::DescribedTopics* topics = reply_as<broker::DescribedTopics>(replies[1], code);
    std::map<std::string_view, int> names;
    for (const auto& topic : request_.topics) ++names[topic.name];
    broker::GrowTopics grow;
    grow.validate_only = request_.validate_only;
    for (size_t i = 0; i < request_.topics.size(); ++i) {
      const auto& asked = request_.topics[i];
      Row& row = rows_.emplace_back();
      const Code known = !topics ? code : i < topics->topics.size() ? topics->topics[i].code : Code::internal;
      if (names[asked.name] > 1) {
        row = {KafkaError::invalid_request, "the request names the topic twice"};
      } else if (known != Code::ok) {
        row = {kafka_error_of(known), std::string(code_text(known))};
      } else {
        const int32_t partitions = topics->topics[i].facts.partitions;
        row = check(asked, partitions, node);
        if (row.error == KafkaError::none && !request_.validate_only &&
            !may_mutate(version() >= kFirstStrictGrow, asked.count - partitions))
          row = {KafkaError::throttling_quota_exceeded, std::string(kOverMutationRate)};
      }
      if (row.error != KafkaError::none) continue;
      sent_.push_back(i);
      grow.topics.push_back({std::string(asked.name), asked.count});
    }
    if (sent_.empty()) return finish();
    call(out, std::move(grow));
  }

  static Row check(const CreatePartitionsRequest::CreatePartitionsTopic& asked, int32_t partitions, NodeId node) {
    if (asked.count == partitions)
      return {KafkaError::invalid_partitions, "the topic has " + std::to_string(partitions) + " partitions already"};
    if (asked.count < partitions)
      return {KafkaError::invalid_partitions,
              "the topic has " + std::to_string(partitions) + " partitions: it cannot have fewer"};
    if (!asked.assignments || asked.assignments->empty()) return {};  // some clients have no null
    if (asked.assignments->size() != static_cast<size_t>(asked.count - partitions))
      return {KafkaError::invalid_replica_assignment, "an assignment for each new partition, and for no other"};
    for (const auto& assignment : *asked.assignments) {
      if (assignment.broker_ids != std::vector<int32_t>{node})
        return {KafkaError::invalid_replica_assignment, "a partition has one replica, on broker " + std::to_string(node)};
    }
    return {};
  }

  void finish() {
    CreatePartitionsResponse response;
    std::map<std::string_view, bool> answered;
    for (size_t i = 0; i < request_.topics.size(); ++i) {
      if (std::exchange(answered[request_.topics[i].name], true)) continue;  // one row a name
      auto& row = response.results.emplace_back();
      row.name = request_.topics[i].name;
      row.error_code = wire(rows_[i].error);
      if (rows_[i].error != KafkaError::none) row.error_message = rows_[i].text;
    }
    answer(response);
  }

  std::vector<Row> rows_;     // by topic of the request
  std::vector<size_t> sent_;  // which of them the broker was asked for
};

}  // namespace

Made make_create_partitions(Link& link, RequestFacts facts) {
  return std::make_unique<CreatePartitionsExchange>(link, std::move(facts));
}

}  // namespace robustmq::kafka
