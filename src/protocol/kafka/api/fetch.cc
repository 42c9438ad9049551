// Fetch 4-18: stored batches, sent as they are stored. Pure.
//
// No fetch sessions: who asks for one (id 0, epoch 0) gets session id 0 and goes on with full fetches; an id that nobody gave is
// FETCH_SESSION_ID_NOT_FOUND, upon which clients begin anew. There are no transactions, so the last stable offset is the high
// watermark and read_committed has an empty list of aborted ones.
#include <algorithm>

#include "protocol/kafka/api/makers.h"
#include "protocol/kafka/frames/fetch.h"

namespace robustmq::kafka {

namespace {

constexpr int32_t kFinalEpoch = -1;  // of a request without a session, or that ends one
constexpr int8_t kReadCommitted = 1;
constexpr int kFirstVersionWithLeaders = 16;

class FetchExchange final : public ExchangeOf<FetchRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    if (request_.session_epoch != kFinalEpoch && (request_.session_id != 0 || request_.session_epoch != 0)) {
      response_.error_code = wire(KafkaError::fetch_session_id_not_found);
      return answer(response_);
    }
    broker::Fetch fetch;
    bool has_refused = false;
    for (const auto& topic : request_.topics) {
      auto& row = response_.responses.emplace_back();
      row.topic = topic.topic;
      row.topic_id = topic.topic_id;
      const int32_t topic_index = static_cast<int32_t>(fetch.topics.size());
      fetch.topics.push_back({std::string(topic.topic), topic.topic_id});
      for (const auto& partition : topic.partitions) {
        auto& data = row.partitions.emplace_back();
        data.partition_index = partition.partition;
        data.high_watermark = -1;
        data.records = Records{};
        data.aborted_transactions.reset();
        if (request_.isolation_level == kReadCommitted) data.aborted_transactions.emplace();
        if (version() >= 13 && topic.topic_id.is_zero()) {
          data.error_code = wire(KafkaError::unknown_topic_id);
          has_refused = true;
          continue;
        }
        fetch.partitions.push_back({topic_index, partition.partition, partition.fetch_offset, partition.current_leader_epoch,
                                    std::max(partition.partition_max_bytes, 0)});
      }
    }
    if (fetch.partitions.empty()) return answer(response_);
    fetch.bytes_max = std::clamp(request_.max_bytes, 0, link_.options.fetch_bytes_max);
    fetch.bytes_min = std::clamp(request_.min_bytes, 0, fetch.bytes_max);
    if (!has_refused) {
      fetch.wait_max_ms = static_cast<int32_t>(std::clamp<int64_t>(request_.max_wait_ms, 0, link_.options.fetch_wait_max_ms));
    }
    call(out, std::move(fetch));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox& out) override {
    Code code;
    if (wants_leader_) return finish(reply_as<broker::ClusterFacts>(replies[0], code));
    broker::FetchReply* reply = reply_as<broker::FetchReply>(replies[0], code);
    size_t next = 0;
    for (auto& topic : response_.responses) {
      for (auto& row : topic.partitions) {
        if (row.error_code != 0) continue;
        if (!reply || next >= reply->partitions.size()) {
          row.error_code = wire_error(reply ? Code::internal : code);
          continue;
        }
        broker::FetchedPartition& result = reply->partitions[next++];
        row.error_code = wire_error(result.code);
        row.high_watermark = result.high_watermark;
        row.last_stable_offset = result.high_watermark;
        row.log_start_offset = result.log_start;
        row.records->pieces = std::move(result.batches);
        records_bytes_ += row.records->size();
        if (version() >= kFirstVersionWithLeaders && is_about_leader(row.error_code)) {
          row.current_leader.leader_epoch = result.leader_epoch;
          wants_leader_ = true;
        }
      }
    }
    if (wants_leader_) return call(out, broker::DescribeCluster{});
    finish(nullptr);
  }

 private:
  // With the cluster where a row names its leader.
  void finish(const broker::ClusterFacts* cluster) {
    const NodeId leader = wants_leader_ ? add_leader(response_, cluster) : -1;
    for (auto& topic : response_.responses) {
      for (auto& row : topic.partitions) {
        if (wants_leader_ && is_about_leader(row.error_code)) row.current_leader.leader_id = leader;
      }
    }
    link_.metrics.fetched_bytes_total += records_bytes_;
    answer(response_, records_bytes_);
  }

  FetchResponse response_;
  uint64_t records_bytes_ = 0;
  bool wants_leader_ = false;
};

}  // namespace

Made make_fetch(Link& link, RequestFacts facts) { return std::make_unique<FetchExchange>(link, std::move(facts)); }

}  // namespace robustmq::kafka
