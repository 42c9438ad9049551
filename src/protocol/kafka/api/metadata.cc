// Metadata 0-13: the brokers, and the topics asked for with their ids, partitions and leaders. Pure.
//
// Version 0 asks for all topics by an empty list, later ones by null. From version 12 on a topic may be asked by id; the ids
// of versions 10 and 11 are not looked at. Every topic asked for has its row, with an error where it cannot be described.
#include "protocol/kafka/frames/metadata.h"
#include "protocol/kafka/api/makers.h"

namespace robustmq::kafka {

namespace {

class MetadataExchange final : public ExchangeOf<MetadataRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    call(out, broker::DescribeCluster{});
    const bool all = !request_.topics || (version() == 0 && request_.topics->empty());
    if (!all && request_.topics->empty()) return;
    broker::DescribeTopics topics;
    topics.all = is_all_ = all;
    topics.with_light = all && link_.options.list_light_topics;
    topics.auto_create = request_.allow_auto_topic_creation;
    if (!all) {
      for (const auto& topic : *request_.topics) {
        broker::TopicRef asked;
        if (is_by_id(topic)) {
          asked.id = topic.topic_id;
        } else {
          asked.name = topic.name.value_or(std::string_view{});
        }
        topics.topics.push_back(std::move(asked));
      }
    }
    call(out, std::move(topics));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    MetadataResponse response;
    Code code;
    broker::ClusterFacts* cluster = reply_as<broker::ClusterFacts>(replies[0], code);
    if (!cluster) return refuse(code);
    broker::DescribedTopics* topics = nullptr;
    if (replies.size() > 1 && !(topics = reply_as<broker::DescribedTopics>(replies[1], code))) return refuse(code);
    const NodeId leader = cluster->nodes.empty() ? -1 : cluster->nodes.front().id;
    for (const auto& node : cluster->nodes) response.brokers.push_back({node.id, node.kafka_host, node.kafka_port, std::nullopt});
    response.cluster_id = cluster->cluster_id;
    response.controller_id = cluster->controller;
    for (size_t i = 0; topics && i < topics->topics.size(); ++i) {
      broker::DescribedTopic& topic = topics->topics[i];
      if (topic.code == Code::ok) {
        add(response, topic.facts, leader);
      } else if (!is_all_ && i < request_.topics->size()) {
        add_refused(response, (*request_.topics)[i], wire_error(topic.code));
      }
    }
    answer(response);
  }

 private:
  static void add(MetadataResponse& response, const broker::TopicFacts& facts, NodeId leader) {
    auto& row = response.topics.emplace_back();
    row.name = facts.name;
    row.topic_id = facts.id;
    for (int32_t i = 0; i < facts.partitions; ++i) {
      auto& partition = row.partitions.emplace_back();
      partition.partition_index = i;
      partition.leader_id = leader;
      partition.leader_epoch = facts.leader_epoch;
      partition.replica_nodes = {leader};
      partition.isr_nodes = {leader};
    }
  }
  // An id has the last word over a name: the Java client sends an empty one with it.
  bool is_by_id(const MetadataRequest::MetadataRequestTopic& asked) const {
    return version() >= 12 && (!asked.name || !asked.topic_id.is_zero());
  }
  void add_refused(MetadataResponse& response, const MetadataRequest::MetadataRequestTopic& asked, int16_t error) const {
    auto& row = response.topics.emplace_back();
    row.error_code = error;
    if (is_by_id(asked)) {
      row.name.reset();
      row.topic_id = asked.topic_id;
    } else {
      row.name = asked.name;
    }
  }
  void refuse(Code code) {
    MetadataResponse response;
    response.error_code = wire_error(code);
    if (request_.topics) {
      for (const auto& topic : *request_.topics) add_refused(response, topic, wire_error(code));
    }
    answer(response);
  }

  bool is_all_ = false;
};

}  // namespace

Made make_metadata(Link& link, RequestFacts facts) { return std::make_unique<MetadataExchange>(link, std::move(facts)); }

}  // namespace robustmq::kafka
