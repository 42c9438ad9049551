// WriteTxnMarkers 1-2: ends what a producer has open in partitions; for operators whose transaction hangs. Pure.
#include "protocol/kafka/frames/write_txn_markers.h"
#include "protocol/kafka/api/makers.h"

namespace robustmq::kafka {

namespace {

class WriteTxnMarkersExchange final : public ExchangeOf<WriteTxnMarkersRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    if (request_.markers.empty()) return answer(WriteTxnMarkersResponse{});
    broker::WriteMarkers write;
    for (const auto& marker : request_.markers) {
      auto& one = write.markers.emplace_back();
      one.id = marker.producer_id;
      one.epoch = marker.producer_epoch;
      one.commits = marker.transaction_result;
      for (const auto& topic : marker.topics) {
        const auto topic_index = static_cast<int32_t>(one.topics.size());
        one.topics.push_back({std::string(topic.name), {}});
        for (const int32_t partition : topic.partition_indexes) one.partitions.push_back({topic_index, partition});
      }
    }
    call(out, std::move(write));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    Code whole;
    const auto* written = reply_as<broker::WrittenMarkers>(replies[0], whole);
    WriteTxnMarkersResponse response;
    for (size_t i = 0; i < request_.markers.size(); ++i) {
      auto& row = response.markers.emplace_back();
      row.producer_id = request_.markers[i].producer_id;
      const std::vector<Code>* codes = written && i < written->markers.size() ? &written->markers[i] : nullptr;
      size_t next = 0;
      for (const auto& topic : request_.markers[i].topics) {
        auto& topic_row = row.topics.emplace_back();
        topic_row.name = topic.name;
        for (const int32_t partition : topic.partition_indexes) {
          Code code = written ? Code::internal : whole;
          if (codes && next < codes->size()) code = (*codes)[next++];
          topic_row.partitions.push_back({partition, wire_error(code)});
        }
      }
    }
    answer(response);
  }
};

}  // namespace

Made make_write_txn_markers(Link& link, RequestFacts facts) {
  return std::make_unique<WriteTxnMarkersExchange>(link, std::move(facts));
}

}  // namespace robustmq::kafka
