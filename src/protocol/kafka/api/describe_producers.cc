// DescribeProducers 0: the producers that a partition knows. Pure.
#include "protocol/kafka/frames/describe_producers.h"
#include "protocol/kafka/api/makers.h"

namespace robustmq::kafka {

namespace {

class DescribeProducersExchange final : public ExchangeOf<DescribeProducersRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    broker::DescribeProducers describe;
    for (const auto& topic : request_.topics) {
      auto& row = response_.topics.emplace_back();
      row.name = topic.name;
      const int32_t topic_index = static_cast<int32_t>(describe.topics.size());
      describe.topics.push_back({std::string(topic.name), {}});
      for (int32_t partition : topic.partition_indexes) {
        row.partitions.emplace_back().partition_index = partition;
        describe.partitions.emplace_back(topic_index, partition);
      }
    }
    if (describe.partitions.empty()) return answer(response_);
    call(out, std::move(describe));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    Code code;
    broker::DescribedProducers* described = reply_as<broker::DescribedProducers>(replies[0], code);
    size_t next = 0;
    for (auto& topic : response_.topics) {
      for (auto& row : topic.partitions) {
        if (!described || next >= described->partitions.size()) {
          row.error_code = wire_error(described ? Code::internal : code);
          continue;
        }
        const broker::DescribedProducers::One& result = described->partitions[next++];
        row.error_code = wire_error(result.code);
        if (result.code != Code::ok) row.error_message = code_text(result.code);
        for (const auto& producer : result.producers)
          row.active_producers.push_back({producer.id, producer.epoch, producer.last_sequence, producer.last_ms,
                                          producer.transaction_start >= 0 ? 0 : -1, producer.transaction_start});
      }
    }
    answer(response_);
  }

 private:
  DescribeProducersResponse response_;
};

}  // namespace

Made make_describe_producers(Link& link, RequestFacts facts) {
  return std::make_unique<DescribeProducersExchange>(link, std::move(facts));
}

}  // namespace robustmq::kafka
