// OffsetForLeaderEpoch 2-4: where the largest epoch at or below the one asked for ends. Pure.
#include "protocol/kafka/frames/offset_for_leader_epoch.h"
#include "protocol/kafka/api/makers.h"

namespace robustmq::kafka {

namespace {

class OffsetForLeaderEpochExchange final : public ExchangeOf<OffsetForLeaderEpochRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    broker::ListOffsets list;
    for (const auto& topic : request_.topics) {
      auto& row = response_.topics.emplace_back();
      row.topic = topic.topic;
      const int32_t topic_index = static_cast<int32_t>(list.topics.size());
      list.topics.push_back({std::string(topic.topic), {}});
      for (const auto& partition : topic.partitions) {
        row.partitions.emplace_back().partition = partition.partition;
        broker::ListOffsetsPartition asked;
        asked.topic_index = topic_index;
        asked.partition = partition.partition;
        asked.current_leader_epoch = partition.current_leader_epoch;
        asked.what = broker::ListOffsetsPartition::What::end_of_epoch;
        asked.epoch = partition.leader_epoch;
        list.partitions.push_back(asked);
      }
    }
    if (list.partitions.empty()) return answer(response_);
    call(out, std::move(list));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    Code code;
    broker::ListedOffsets* listed = reply_as<broker::ListedOffsets>(replies[0], code);
    size_t next = 0;
    for (auto& topic : response_.topics) {
      for (auto& row : topic.partitions) {
        if (!listed || next >= listed->partitions.size()) {
          row.error_code = wire_error(listed ? Code::internal : code);
          continue;
        }
        const broker::ListedOffset& result = listed->partitions[next++];
        row.error_code = wire_error(result.code);
        row.leader_epoch = result.leader_epoch;
        row.end_offset = result.offset;
      }
    }
    answer(response_);
  }

 private:
  OffsetForLeaderEpochResponse response_;
};

}  // namespace

Made make_offset_for_leader_epoch(Link& link, RequestFacts facts) {
  return std::make_unique<OffsetForLeaderEpochExchange>(link, std::move(facts));
}

}  // namespace robustmq::kafka
