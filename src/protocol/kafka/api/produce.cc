// Produce 3-13: one record batch a partition, checked here, stored as it came. Pure.
//
// acks 0 has no response; an error then closes the connection, since nothing else tells the client. acks 1 and all wait for the
// topic's durability class. Each partition has its own error; what was good is stored whatever became of the others. From
// version 12 on (KIP-890) a partition is added to the transaction by producing to it; before, it has to be in it.
#include "protocol/kafka/frames/produce.h"
#include "protocol/kafka/api/makers.h"
#include "protocol/kafka/batch_check.h"

namespace robustmq::kafka {

namespace {

constexpr int kFirstProduceWithLeaders = 10;
constexpr int kFirstProduceWithAbortable = 11;
constexpr int kFirstProduceThatAdds = 12;

// Clients take some of the coordinator's answers from the coordinator alone: they are told what leads to the same.
KafkaError error_of(Code code, int version, bool is_in_transaction) {
  switch (code) {
    case Code::quota_exceeded:  // no more partitions may be in the transaction, however often it is tried
      return is_in_transaction && version >= kFirstProduceThatAdds ? KafkaError::transaction_abortable : kafka_error_of(code);
    case Code::concurrent_transactions:
      return version >= kFirstProduceThatAdds ? KafkaError::concurrent_transactions : KafkaError::not_enough_replicas;
    case Code::coordinator_loading:
      return version >= kFirstProduceThatAdds ? KafkaError::coordinator_load_in_progress : KafkaError::not_enough_replicas;
    case Code::invalid_transaction_state:
      return version >= kFirstProduceWithAbortable ? KafkaError::transaction_abortable : KafkaError::invalid_txn_state;
    default:
      return kafka_error_of(code);
  }
}

class ProduceExchange final : public ExchangeOf<ProduceRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    take(QuotaKind::produce, static_cast<double>(facts_.frame.size()));
    KafkaError whole = KafkaError::none;
    if (!request_.transactional_id && has_transactional_batch()) {
      whole = KafkaError::transactional_id_authorization_failed;
    } else if (request_.acks < -1 || request_.acks > 1) {
      whole = KafkaError::invalid_required_acks;
    } else if (request_.transactional_id && request_.transactional_id->empty()) {
      whole = KafkaError::invalid_request;
    }
    broker::Produce produce;
    for (auto& topic : request_.topic_data) {
      auto& row = response_.responses.emplace_back();
      row.name = topic.name;
      row.topic_id = topic.topic_id;
      const int32_t topic_index = static_cast<int32_t>(produce.topics.size());
      produce.topics.push_back({std::string(topic.name), topic.topic_id});
      for (auto& partition : topic.partition_data) {
        auto& answer_row = row.partition_responses.emplace_back();
        answer_row.index = partition.index;
        answer_row.base_offset = -1;
        if (whole != KafkaError::none) {
          refuse(answer_row, whole, {});
        } else if (version() >= 13 && topic.topic_id.is_zero()) {
          refuse(answer_row, KafkaError::unknown_topic_id, {});
        } else {
          check(answer_row, topic_index, partition, produce);
        }
      }
    }
    if (produce.partitions.empty()) return finish(out, nullptr);
    produce.transactional_id = request_.transactional_id.value_or("");
    produce.adds_partitions = version() >= kFirstProduceThatAdds;
    call(out, std::move(produce));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox& out) override {
    Code code;
    if (wants_leader_) return finish(out, reply_as<broker::ClusterFacts>(replies[0], code));
    broker::Produced* produced = reply_as<broker::Produced>(replies[0], code);
    size_t next = 0;
    for (auto& topic : response_.responses) {
      for (auto& row : topic.partition_responses) {
        if (row.error_code != 0) continue;
        if (!produced || next >= produced->partitions.size()) {
          refuse(row, kafka_error_of(produced ? Code::internal : code), {});
          continue;
        }
        broker::ProducedPartition& result = produced->partitions[next++];
        row.log_start_offset = result.log_start;
        if (result.code != Code::ok) {
          refuse(row, error_of(result.code, version(), request_.transactional_id.has_value()), std::move(result.detail));
          name_record(row, result.bad_record);
          if (version() >= kFirstProduceWithLeaders && is_about_leader(row.error_code)) {
            row.current_leader.leader_epoch = result.leader_epoch;
            wants_leader_ = true;
          }
          continue;
        }
        row.base_offset = result.base_offset;
        row.log_append_time_ms = result.append_time_ms;
      }
    }
    if (wants_leader_ && request_.acks != 0) return call(out, broker::DescribeCluster{});
    finish(out, nullptr);
  }

 private:
  using Row = ProduceResponse::PartitionProduceResponse;

  // As the headers say, before anything is known of the batches.
  bool has_transactional_batch() const {
    for (const auto& topic : request_.topic_data) {
      for (const auto& partition : topic.partition_data) {
        if (!partition.records || partition.records->size() < kBatchHeaderBytes) continue;
        if ((*partition.records)[kBatchMagicAt] == 2 && BatchView(*partition.records).is_transactional()) return true;
      }
    }
    return false;
  }

  void check(Row& row, int32_t topic_index, ProduceRequest::PartitionProduceData& partition, broker::Produce& produce) {
    Bytes batch = partition.records ? std::move(*partition.records) : Bytes{};
    partition.records.reset();
    const BatchCheckLimits limits{static_cast<size_t>(link_.options.batch_decompressed_bytes_max)};
    BatchCheckFacts facts;
    if (Status status = check_produced_batch(batch, version(), limits, &facts); !status.ok()) {
      refuse(row, kafka_error_of(status.code()), status.error().detail);
      return name_record(row, facts.bad_record);
    }
    ++link_.metrics.produced_batches_total;
    link_.metrics.produced_bytes_total += batch.size();
    produce.partitions.push_back({topic_index, partition.index, std::move(batch), facts.times, facts.keyless_record});
  }

  // Which record of the batch is to blame; the row's message is then about all of it, as Kafka words it.
  static void name_record(Row& row, int32_t record) {
    if (record < 0) return;
    row.record_errors.push_back({record, row.error_message});
    row.error_message = row.error_code == wire(KafkaError::invalid_timestamp)
                            ? "One or more records have been rejected due to invalid timestamp"
                            : "One or more records have been rejected";
  }

  void refuse(Row& row, KafkaError error, std::string detail) {
    row.error_code = wire(error);
    ++link_.metrics.produce_refused_total;
    last_error_ = error;
    if (detail.empty()) return;
    details_.push_back(std::make_unique<std::string>(std::move(detail)));
    row.error_message = *details_.back();
  }

  // With the cluster where a row names its leader.
  void finish(Outbox& out, const broker::ClusterFacts* cluster) {
    const NodeId leader = wants_leader_ ? add_leader(response_, cluster) : -1;
    for (auto& topic : response_.responses) {
      for (auto& row : topic.partition_responses) {
        if (wants_leader_ && is_about_leader(row.error_code)) row.current_leader.leader_id = leader;
      }
    }
    if (request_.acks != 0) return answer(response_);
    answer_nothing();
    if (last_error_ != KafkaError::none) {
      out.close(CloseWhy::protocol_error, "produce without acks failed: " + std::string(kafka_error_name(last_error_)));
    }
  }

  ProduceResponse response_;
  std::vector<std::unique_ptr<std::string>> details_;  // what error_message points to
  KafkaError last_error_ = KafkaError::none;
  bool wants_leader_ = false;
};

}  // namespace

Made make_produce(Link& link, RequestFacts facts) { return std::make_unique<ProduceExchange>(link, std::move(facts)); }

}  // namespace robustmq::kafka
