// DeleteRecords 0-2: drops what lies before an offset; -1 is the high watermark. Durable when answered. Pure.
#include "protocol/kafka/frames/delete_records.h"
#include "protocol/kafka/api/makers.h"

namespace robustmq::kafka {

namespace {

class DeleteRecordsExchange final : public ExchangeOf<DeleteRecordsRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    broker::DeleteRecords remove;
    for (const auto& topic : request_.topics) {
      auto& row = response_.topics.emplace_back();
      row.name = topic.name;
      const int32_t topic_index = static_cast<int32_t>(remove.topics.size());
      remove.topics.push_back({std::string(topic.name), {}});
      for (const auto& partition : topic.partitions) {
        auto& answer_row = row.partitions.emplace_back();
        answer_row.partition_index = partition.partition_index;
        answer_row.low_watermark = -1;
        remove.partitions.push_back({topic_index, partition.partition_index, partition.offset});
      }
    }
    if (remove.partitions.empty()) return answer(response_);
    call(out, std::move(remove));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    Code code;
    broker::DeletedRecords* deleted = reply_as<broker::DeletedRecords>(replies[0], code);
    size_t next = 0;
    for (auto& topic : response_.topics) {
      for (auto& row : topic.partitions) {
        if (!deleted || next >= deleted->partitions.size()) {
          row.error_code = wire_error(deleted ? Code::internal : code);
          continue;
        }
        const broker::DeletedRecords::One& result = deleted->partitions[next++];
        // Its records go by compaction alone.
        row.error_code = result.code == Code::not_supported ? wire(KafkaError::policy_violation) : wire_error(result.code);
        if (result.code == Code::ok) row.low_watermark = result.log_start;
      }
    }
    answer(response_);
  }

 private:
  DeleteRecordsResponse response_;
};

}  // namespace

Made make_delete_records(Link& link, RequestFacts facts) {
  return std::make_unique<DeleteRecordsExchange>(link, std::move(facts));
}

}  // namespace robustmq::kafka
