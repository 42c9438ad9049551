// ShareFetch 1-2: records leased to a member of a share group, and what became of earlier ones (KIP-932, KIP-1206, KIP-1222).
// Pure.
//
// The session (share_sessions.h) says which partitions are read. Acknowledgements in the request take effect first and are
// answered when they are durable, each partition's with an error of its own. A request that only renews, or ends its session,
// fetches nothing.
#include <algorithm>
#include <map>

#include "protocol/kafka/api/share_makers.h"
#include "protocol/kafka/frames/share_fetch.h"

namespace robustmq::kafka {

KafkaError share_error_of(Code code) {
  return code == Code::group_not_found ? KafkaError::unknown_topic_or_partition : kafka_error_of(code);
}

KafkaError acknowledge_error_of(Code code) {
  return code == Code::not_found || code == Code::group_not_found ? KafkaError::invalid_record_state : kafka_error_of(code);
}

namespace {

constexpr int8_t kBatchOptimized = 0;
constexpr int8_t kRecordLimit = 1;

class ShareFetchExchange final : public ExchangeOf<ShareFetchRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    if (const char* problem = problem_of()) return refuse(KafkaError::invalid_request, problem);
    const ShareSessions::Found found =
        link_.share_sessions.take(*request_.group_id, *request_.member_id, request_.share_session_epoch);
    if (found.error != KafkaError::none) {
      if (found.error == KafkaError::share_session_limit_reached) ++link_.metrics.share_sessions_refused_total;
      return refuse(found.error, {});
    }
    if (request_.share_session_epoch == ShareSessions::kOpenEpoch) ++link_.metrics.share_sessions_opened_total;
    update(*found.session);
    if (found.session->partitions().size() > static_cast<size_t>(link_.options.fetch_session_partitions_max)) {
      link_.share_sessions.end(*request_.group_id, *request_.member_id);
      return refuse(KafkaError::invalid_request, "the session has too many partitions");
    }
    broker::LeaseRecords lease;
    lease.queue = *request_.group_id;
    lease.consumer = *request_.member_id;
    take_acknowledgements(lease);
    if (fetches()) {
      lease.messages_max = request_.max_records;
      lease.whole_batches = request_.share_acquire_mode == kBatchOptimized;
      lease.bytes_max = std::clamp(request_.max_bytes, 0, link_.options.fetch_bytes_max);
      lease.bytes_min = std::clamp<int64_t>(request_.min_bytes, 0, lease.bytes_max);
      if (!has_refused_)
        lease.wait_max_ms = static_cast<int32_t>(std::clamp<int64_t>(request_.max_wait_ms, 0, link_.options.fetch_wait_max_ms));
      for (const ShardId& one : found.session->in_turn()) {
        lease.partitions.push_back({topic_of(lease.topics, one.topic), one.partition});
        rows_.push_back({one, {}, {}});
      }
    }
    leased_ = lease.partitions.size();
    call(out, std::move(lease));
    if (request_.share_session_epoch != ShareSessions::kFinalEpoch) return;
    link_.share_sessions.end(*request_.group_id, *request_.member_id);
    call(out, broker::LeaveQueue{std::string(*request_.group_id), std::string(*request_.member_id)});
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    Code code;
    broker::LeasedRecords* leased = reply_as<broker::LeasedRecords>(replies[0], code);
    if (!leased) return refuse(kafka_error_of(code), code_text(code));
    ShareFetchResponse response;
    response.acquisition_lock_timeout_ms = static_cast<int32_t>(std::min<int64_t>(leased->lease_ms, INT32_MAX));
    for (size_t i = 0; i < settled_.size(); ++i) {
      const Code settled = i < leased->settled.size() ? leased->settled[i] : Code::internal;
      acknowledged_[settled_[i]] = acknowledge_error_of(settled);
    }
    for (size_t i = 0; i < leased_; ++i) {
      Row& row = rows_[i];
      if (i < leased->partitions.size())
        row.result = std::move(leased->partitions[i]);
      else
        row.result.code = Code::internal;
    }
    // What was only acknowledged has a row too.
    for (const auto& [partition, error] : acknowledged_) {
      const auto known = std::find_if(rows_.begin(), rows_.end(), [&](const Row& row) { return row.partition == partition; });
      if (known == rows_.end())
        rows_.push_back({partition, error, {}});
      else
        known->acknowledged = error;
    }
    uint64_t bytes = 0;
    for (Row& row : rows_) bytes += add(response, row);
    link_.metrics.fetched_bytes_total += bytes;
    take(QuotaKind::fetch, static_cast<double>(bytes));
    answer(response, bytes);
  }

 private:
  struct Row {
    ShardId partition;
    std::optional<KafkaError> acknowledged;
    broker::LeasedPartition result;
  };

  // Why the request as a whole is none; nullptr: it is one.
  const char* problem_of() const {
    if (!request_.group_id || request_.group_id->empty()) return "GroupId is empty.";
    if (!request_.member_id || request_.member_id->empty()) return "MemberId is empty.";
    if (request_.share_session_epoch < ShareSessions::kFinalEpoch) return "ShareSessionEpoch is invalid.";
    if (request_.max_records < 0) return "MaxRecords is negative.";
    if (request_.share_acquire_mode != kBatchOptimized && request_.share_acquire_mode != kRecordLimit)
      return "ShareAcquireMode is unknown.";
    if (request_.is_renew_ack &&
        (request_.max_records > 0 || request_.max_bytes > 0 || request_.min_bytes > 0 || request_.max_wait_ms > 0))
      return "A request that renews fetches nothing: MaxRecords, MaxBytes, MinBytes and MaxWaitMs must be 0.";
    if (request_.share_session_epoch != ShareSessions::kOpenEpoch) return nullptr;
    for (const auto& topic : request_.topics) {
      for (const auto& partition : topic.partitions) {
        if (!partition.acknowledgement_batches.empty()) return "A new session has nothing to acknowledge.";
      }
    }
    return nullptr;
  }

  bool fetches() const { return request_.share_session_epoch != ShareSessions::kFinalEpoch && !request_.is_renew_ack; }

  // Partitions that are only acknowledged are in the request too; they stay until they are forgotten.
  void update(ShareSession& session) const {
    if (request_.share_session_epoch == ShareSessions::kFinalEpoch) return;
    for (const auto& topic : request_.topics) {
      for (const auto& partition : topic.partitions) session.add({topic.topic_id, partition.partition_index});
    }
    for (const auto& topic : request_.forgotten_topics_data) {
      for (const int32_t partition : topic.partitions) session.forget({topic.topic_id, partition});
    }
  }

  void take_acknowledgements(broker::LeaseRecords& lease) {
    for (const auto& topic : request_.topics) {
      for (const auto& partition : topic.partitions) {
        if (partition.acknowledgement_batches.empty()) continue;
        const ShardId id{topic.topic_id, partition.partition_index};
        auto ranges = read_acknowledgements(partition.acknowledgement_batches, request_.is_renew_ack);
        // A partition that is named twice is acknowledged once.
        if (!acknowledged_.try_emplace(id, ranges ? KafkaError::none : KafkaError::invalid_request).second) continue;
        has_refused_ |= !ranges.has_value();
        if (!ranges) continue;
        lease.settled.push_back({topic_of(lease.topics, id.topic), id.partition, std::move(*ranges)});
        settled_.push_back(id);
      }
    }
  }

  int32_t topic_of(std::vector<broker::TopicRef>& topics, const TopicId& id) {
    const auto [at, is_new] = topics_.try_emplace(id, static_cast<int32_t>(topics.size()));
    if (is_new) topics.push_back({{}, id});
    return at->second;
  }

  // Returns the bytes of its records.
  uint64_t add(ShareFetchResponse& response, Row& row) const {
    const KafkaError error = share_error_of(row.result.code);
    const bool is_first = request_.share_session_epoch == ShareSessions::kOpenEpoch;
    if (!is_first && error == KafkaError::none && !row.acknowledged && row.result.ranges.empty()) return 0;
    auto topic = std::find_if(response.responses.begin(), response.responses.end(),
                              [&](const auto& each) { return each.topic_id == row.partition.topic; });
    if (topic == response.responses.end()) {
      topic = response.responses.emplace(topic);
      topic->topic_id = row.partition.topic;
    }
    auto& to = topic->partitions.emplace_back();
    to.partition_index = row.partition.partition;
    to.error_code = wire(error);
    if (error != KafkaError::none) to.error_message = code_text(row.result.code);
    to.acknowledge_error_code = wire(row.acknowledged.value_or(KafkaError::none));
    for (const broker::LeasedRange& range : row.result.ranges)
      to.acquired_records.push_back({range.first, range.last, static_cast<int16_t>(std::min<int>(range.deliveries, INT16_MAX))});
    to.records = Records{std::move(row.result.batches)};
    return to.records.size();
  }

  void refuse(KafkaError error, std::string_view why) {
    ShareFetchResponse response;
    response.error_code = wire(error);
    response.error_message = text_or_null(why);
    answer(response);
  }

  std::map<TopicId, int32_t> topics_;
  std::vector<Row> rows_;
  size_t leased_ = 0;                           // rows that were asked for
  std::vector<ShardId> settled_;                // those whose acknowledgements went to the broker
  std::map<ShardId, KafkaError> acknowledged_;  // of every partition with acknowledgements
  bool has_refused_ = false;
};

}  // namespace

Made make_share_fetch(Link& link, RequestFacts facts) { return std::make_unique<ShareFetchExchange>(link, std::move(facts)); }

}  // namespace robustmq::kafka
