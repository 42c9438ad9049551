// ShareAcknowledge 1-2: what became of records that a member of a share group was leased (KIP-932, renewals KIP-1222). Durable
// when it is answered, each partition with an error of its own. Pure.
#include <algorithm>
#include <map>

#include "protocol/kafka/api/share_makers.h"
#include "protocol/kafka/frames/share_acknowledge.h"

namespace robustmq::kafka {

namespace {

class ShareAcknowledgeExchange final : public ExchangeOf<ShareAcknowledgeRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    if (!request_.group_id || request_.group_id->empty()) return refuse(KafkaError::invalid_request, "GroupId is empty.");
    if (!request_.member_id || request_.member_id->empty()) return refuse(KafkaError::invalid_request, "MemberId is empty.");
    // Only a fetch opens a session.
    const int32_t epoch = request_.share_session_epoch;
    if (epoch == ShareSessions::kOpenEpoch) return refuse(KafkaError::invalid_share_session_epoch, {});
    const ShareSessions::Found found = link_.share_sessions.take(*request_.group_id, *request_.member_id, epoch);
    if (found.error != KafkaError::none) return refuse(found.error, {});
    broker::SettleLeases settle;
    settle.queue = *request_.group_id;
    settle.consumer = *request_.member_id;
    std::map<TopicId, int32_t> topics;
    for (const auto& topic : request_.topics) {
      for (const auto& partition : topic.partitions) {
        const ShardId id{topic.topic_id, partition.partition_index};
        auto ranges = read_acknowledgements(partition.acknowledgement_batches, request_.is_renew_ack);
        if (!results_.try_emplace(id, ranges ? KafkaError::none : KafkaError::invalid_request).second || !ranges) continue;
        const auto [at, is_new] = topics.try_emplace(id.topic, static_cast<int32_t>(settle.topics.size()));
        if (is_new) settle.topics.push_back({{}, id.topic});
        settle.settled.push_back({at->second, id.partition, std::move(*ranges)});
        settled_.push_back(id);
      }
    }
    call(out, std::move(settle));
    if (epoch != ShareSessions::kFinalEpoch) return;
    link_.share_sessions.end(*request_.group_id, *request_.member_id);
    call(out, broker::LeaveQueue{std::string(*request_.group_id), std::string(*request_.member_id)});
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    Code code;
    broker::LeasesSettled* settled = reply_as<broker::LeasesSettled>(replies[0], code);
    if (!settled) return refuse(kafka_error_of(code), code_text(code));
    for (size_t i = 0; i < settled_.size(); ++i)
      results_[settled_[i]] = acknowledge_error_of(i < settled->settled.size() ? settled->settled[i] : Code::internal);
    ShareAcknowledgeResponse response;
    response.acquisition_lock_timeout_ms = static_cast<int32_t>(std::min<int64_t>(settled->lease_ms, INT32_MAX));
    for (const auto& [id, error] : results_) {
      auto& topics = response.responses;
      if (topics.empty() || topics.back().topic_id != id.topic) topics.emplace_back().topic_id = id.topic;
      auto& row = topics.back().partitions.emplace_back();
      row.partition_index = id.partition;
      row.error_code = wire(error);
    }
    answer(response);
  }

 private:
  void refuse(KafkaError error, std::string_view why) {
    ShareAcknowledgeResponse response;
    response.error_code = wire(error);
    response.error_message = text_or_null(why);
    answer(response);
  }

  std::map<ShardId, KafkaError> results_;
  std::vector<ShardId> settled_;
};

}  // namespace

Made make_share_acknowledge(Link& link, RequestFacts facts) {
  return std::make_unique<ShareAcknowledgeExchange>(link, std::move(facts));
}

}  // namespace robustmq::kafka
