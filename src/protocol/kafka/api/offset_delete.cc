// OffsetDelete 0: drops committed offsets of topics that nobody of the group follows. Pure.
#include "protocol/kafka/frames/offset_delete.h"
#include "protocol/kafka/api/makers.h"

namespace robustmq::kafka {

namespace {

class OffsetDeleteExchange final : public ExchangeOf<OffsetDeleteRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    if (request_.group_id.empty()) {
      OffsetDeleteResponse response;
      response.error_code = wire(KafkaError::invalid_group_id);
      return answer(response);
    }
    broker::DeleteOffsets remove;
    remove.group = request_.group_id;
    for (const auto& topic : request_.topics) {
      const int32_t topic_index = static_cast<int32_t>(remove.topics.size());
      remove.topics.push_back({std::string(topic.name), {}});
      for (const auto& partition : topic.partitions) remove.partitions.emplace_back(topic_index, partition.partition_index);
    }
    call(out, std::move(remove));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    OffsetDeleteResponse response;
    Code code;
    broker::DeletedOffsets* deleted = reply_as<broker::DeletedOffsets>(replies[0], code);
    if (deleted) code = deleted->code;
    response.error_code = wire_group_error(code);
    if (code != Code::ok) return answer(response);
    size_t next = 0;
    for (const auto& topic : request_.topics) {
      auto& row = response.topics.emplace_back();
      row.name = topic.name;
      for (const auto& partition : topic.partitions) {
        const Code one = next < deleted->partitions.size() ? deleted->partitions[next] : Code::internal;
        ++next;
        const int16_t error = one == Code::group_not_empty ? wire(KafkaError::group_subscribed_to_topic) : wire_group_error(one);
        row.partitions.push_back({partition.partition_index, error});
      }
    }
    answer(response);
  }
};

}  // namespace

Made make_offset_delete(Link& link, RequestFacts facts) { return std::make_unique<OffsetDeleteExchange>(link, std::move(facts)); }

}  // namespace robustmq::kafka
