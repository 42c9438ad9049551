// DescribeCluster 0-2: the brokers; controllers are no endpoints of their own. Pure.
#include "protocol/kafka/frames/describe_cluster.h"
#include "protocol/kafka/api/makers.h"

namespace robustmq::kafka {

namespace {

constexpr int8_t kBrokers = 1;
constexpr int8_t kControllers = 2;

class DescribeClusterExchange final : public ExchangeOf<DescribeClusterRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    if (request_.endpoint_type == kControllers)
      return refuse(KafkaError::mismatched_endpoint_type, "this is a broker's endpoint");
    if (request_.endpoint_type != kBrokers) return refuse(KafkaError::unsupported_endpoint_type, "no such type of endpoint");
    call(out, broker::DescribeCluster{});
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    Code code;
    broker::ClusterFacts* cluster = reply_as<broker::ClusterFacts>(replies[0], code);
    if (!cluster) return refuse(kafka_error_of(code), code_text(code));
    DescribeClusterResponse response;
    response.endpoint_type = kBrokers;
    response.cluster_id = cluster->cluster_id;
    response.controller_id = cluster->controller;
    for (const auto& node : cluster->nodes)
      response.brokers.push_back({node.id, node.kafka_host, node.kafka_port, std::nullopt, false});
    answer(response);
  }

 private:
  void refuse(KafkaError error, std::string_view text) {
    DescribeClusterResponse response;
    response.error_code = wire(error);
    response.error_message = text;
    response.endpoint_type = request_.endpoint_type;
    answer(response);
  }
};

}  // namespace

Made make_describe_cluster(Link& link, RequestFacts facts) {
  return std::make_unique<DescribeClusterExchange>(link, std::move(facts));
}

}  // namespace robustmq::kafka
