// AddPartitionsToTxn 0-5: one transaction below version 4; several, which may be checked only, from then on (for brokers). Pure.
//
// A partition that is not there has its error, and none of the others is added: OPERATION_NOT_ATTEMPTED.
#include "protocol/kafka/frames/add_partitions_to_txn.h"
#include "protocol/kafka/api/makers.h"

namespace robustmq::kafka {

namespace {

constexpr int kFirstVersionWithFenced = 2;
constexpr int kFirstVersionOfBrokers = 4;

class AddPartitionsToTxnExchange final : public ExchangeOf<AddPartitionsToTxnRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    if (version() < kFirstVersionOfBrokers) {
      // The older form is the newer one with a single transaction.
      auto& only = request_.transactions.emplace_back();
      only.transactional_id = request_.v3_and_below_transactional_id;
      only.producer_id = request_.v3_and_below_producer_id;
      only.producer_epoch = request_.v3_and_below_producer_epoch;
      only.topics = std::move(request_.v3_and_below_topics);
    }
    if (request_.transactions.empty()) return answer(AddPartitionsToTxnResponse{});
    if (request_.transactions.size() > kCallsMax) {
      AddPartitionsToTxnResponse response;
      response.error_code = wire(KafkaError::invalid_request);
      return answer(response);
    }
    for (const auto& transaction : request_.transactions) {
      broker::AddToTransaction add;
      add.producer = {std::string(transaction.transactional_id), transaction.producer_id, transaction.producer_epoch};
      add.verify_only = transaction.verify_only;
      for (const auto& topic : transaction.topics) {
        const auto topic_index = static_cast<int32_t>(add.topics.size());
        add.topics.push_back({std::string(topic.name), {}});
        for (const int32_t partition : topic.partitions) add.partitions.push_back({topic_index, partition});
      }
      call(out, std::move(add));
    }
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    AddPartitionsToTxnResponse response;
    for (size_t i = 0; i < replies.size(); ++i) {
      const auto& asked = request_.transactions[i];
      Code whole;
      const auto* added = reply_as<broker::AddedToTransaction>(replies[i], whole);
      size_t next = 0;
      auto& result = response.results_by_transaction.emplace_back();
      result.transactional_id = asked.transactional_id;
      for (const auto& topic : asked.topics) {
        auto& row = result.topic_results.emplace_back();
        row.name = topic.name;
        for (const int32_t partition : topic.partitions) {
          Code code = whole;
          if (added) code = next < added->partitions.size() ? added->partitions[next++] : Code::internal;
          row.results_by_partition.push_back({partition, wire(error_of(code, asked.verify_only))});
        }
      }
    }
    if (version() < kFirstVersionOfBrokers) {
      response.results_by_topic_v3_and_below = std::move(response.results_by_transaction[0].topic_results);
      response.results_by_transaction.clear();
    }
    answer(response);
  }

 private:
  KafkaError error_of(Code code, bool verify_only) const {
    if (verify_only && code == Code::invalid_transaction_state) return KafkaError::transaction_abortable;
    return transaction_error_of(code, version() >= kFirstVersionWithFenced);
  }
};

}  // namespace

Made make_add_partitions_to_txn(Link& link, RequestFacts facts) {
  return std::make_unique<AddPartitionsToTxnExchange>(link, std::move(facts));
}

}  // namespace robustmq::kafka
