// ListOffsets 1-11: offsets by time and by the special timestamps. Pure.
//
// -1 latest, -2 earliest, -3 the record with the largest timestamp (7), -4 earliest local (8), -5 latest tiered (9), -6
// earliest not uploaded yet (11); one of these below its version is UNSUPPORTED_VERSION. Nothing found is offset -1 without
// error. Under read_committed the last stable offset is the end.
#include <map>
#include <utility>

#include "protocol/kafka/api/makers.h"
#include "protocol/kafka/frames/list_offsets.h"

namespace robustmq::kafka {

namespace {

using Wanted = broker::ListOffsetsPartition::What;

struct SpecialTime {
  int64_t timestamp;
  int version_min;
  Wanted what;
};
constexpr SpecialTime kSpecialTimes[] = {{-1, 0, Wanted::latest},        {-2, 0, Wanted::earliest},
                                         {-3, 7, Wanted::max_timestamp}, {-4, 8, Wanted::earliest_local},
                                         {-5, 9, Wanted::latest_tiered}, {-6, 11, Wanted::earliest_pending_upload}};

class ListOffsetsExchange final : public ExchangeOf<ListOffsetsRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    std::map<std::pair<std::string_view, int32_t>, int> times_asked;
    for (const auto& topic : request_.topics) {
      for (const auto& partition : topic.partitions) ++times_asked[{topic.name, partition.partition_index}];
    }
    broker::ListOffsets list;
    for (const auto& topic : request_.topics) {
      auto& row = response_.topics.emplace_back();
      row.name = topic.name;
      const int32_t topic_index = static_cast<int32_t>(list.topics.size());
      list.topics.push_back({std::string(topic.name), {}});
      for (const auto& partition : topic.partitions) {
        auto& answer_row = row.partitions.emplace_back();
        answer_row.partition_index = partition.partition_index;
        broker::ListOffsetsPartition asked;
        asked.topic_index = topic_index;
        asked.partition = partition.partition_index;
        asked.current_leader_epoch = partition.current_leader_epoch;
        if (times_asked[{topic.name, partition.partition_index}] > 1) {
          answer_row.error_code = wire(KafkaError::invalid_request);
        } else if (!set_what(asked, partition.timestamp)) {
          answer_row.error_code = wire(KafkaError::unsupported_version);
        } else {
          list.partitions.push_back(asked);
        }
      }
    }
    if (list.partitions.empty()) return answer(response_);
    list.read_committed = request_.isolation_level == kReadCommitted;
    call(out, std::move(list));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    Code code;
    broker::ListedOffsets* listed = reply_as<broker::ListedOffsets>(replies[0], code);
    size_t next = 0;
    for (auto& topic : response_.topics) {
      for (auto& row : topic.partitions) {
        if (row.error_code != 0) continue;
        if (!listed || next >= listed->partitions.size()) {
          row.error_code = wire_error(listed ? Code::internal : code);
          continue;
        }
        const broker::ListedOffset& result = listed->partitions[next++];
        row.error_code = wire_error(result.code);
        row.offset = result.offset;
        row.timestamp = result.timestamp_ms;
        row.leader_epoch = result.leader_epoch;
      }
    }
    answer(response_);
  }

 private:
  bool set_what(broker::ListOffsetsPartition& asked, int64_t timestamp) const {
    if (timestamp >= 0) {
      asked.what = Wanted::at_time;
      asked.timestamp_ms = timestamp;
      return true;
    }
    for (const SpecialTime& special : kSpecialTimes) {
      if (special.timestamp != timestamp || version() < special.version_min) continue;
      asked.what = special.what;
      return true;
    }
    return false;
  }

  ListOffsetsResponse response_;
};

}  // namespace

Made make_list_offsets(Link& link, RequestFacts facts) { return std::make_unique<ListOffsetsExchange>(link, std::move(facts)); }

}  // namespace robustmq::kafka
