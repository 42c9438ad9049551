// FindCoordinator 0-6: this node coordinates every consumer group and every transaction. Pure.
//
// Coordinators of share partitions (type 2), which brokers ask for, are not there: INVALID_REQUEST. Share groups are of type 0.
#include "protocol/kafka/frames/find_coordinator.h"
#include "protocol/kafka/api/makers.h"

namespace robustmq::kafka {

namespace {

constexpr int8_t kGroup = 0;
constexpr int8_t kTransaction = 1;

class FindCoordinatorExchange final : public ExchangeOf<FindCoordinatorRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override { call(out, broker::DescribeCluster{}); }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    FindCoordinatorResponse response;
    Code code;
    broker::ClusterFacts* cluster = reply_as<broker::ClusterFacts>(replies[0], code);
    KafkaError error = cluster ? KafkaError::none : group_error_of(code);
    std::string_view text;
    if (request_.key_type != kGroup && request_.key_type != kTransaction) {
      error = KafkaError::invalid_request;
      text = "there are no coordinators of this type";
    } else if (cluster && cluster->nodes.empty()) {
      error = KafkaError::coordinator_not_available;
    }
    broker::ClusterFacts::Node node{-1, "", 0};
    if (error == KafkaError::none) node = cluster->nodes.front();
    const int32_t port = error == KafkaError::none ? node.kafka_port : -1;
    if (version() < 4) {
      response.error_code = wire(error);
      response.error_message = text_or_null(text);
      response.node_id = node.id;
      response.host = node.kafka_host;
      response.port = port;
    } else {
      for (std::string_view key : request_.coordinator_keys) {
        response.coordinators.push_back({key, node.id, node.kafka_host, port, wire(error), text_or_null(text)});
      }
    }
    answer(response);
  }
};

}  // namespace

Made make_find_coordinator(Link& link, RequestFacts facts) {
  return std::make_unique<FindCoordinatorExchange>(link, std::move(facts));
}

}  // namespace robustmq::kafka
