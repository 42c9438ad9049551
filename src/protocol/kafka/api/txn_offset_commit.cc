// TxnOffsetCommit 0-5: offsets that show when the transaction commits. Pure.
//
// From version 5 on (KIP-890) the group joins the transaction by it; before, by AddOffsetsToTxn.
#include "protocol/kafka/frames/txn_offset_commit.h"
#include "protocol/kafka/api/makers.h"

namespace robustmq::kafka {

namespace {

constexpr int kFirstCommitWithAbortable = 4;
constexpr int kFirstCommitThatAdds = 5;

// Kafka's group coordinator says INVALID_PRODUCER_EPOCH in every version here, where that of transactions says PRODUCER_FENCED.
int16_t error_of_commit(Code code, int version) {
  if (code == Code::invalid_transaction_state && version >= kFirstCommitWithAbortable)
    return wire(KafkaError::transaction_abortable);
  return wire(transaction_error_of(code, false));
}

class TxnOffsetCommitExchange final : public ExchangeOf<TxnOffsetCommitRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    broker::CommitInTransaction request;
    request.producer = {std::string(request_.transactional_id), request_.producer_id, request_.producer_epoch};
    request.adds_group = version() >= kFirstCommitThatAdds;
    broker::CommitOffsets& commit = request.commit;
    commit.group = request_.group_id;
    commit.member_id = request_.member_id;
    commit.instance_id = copy_of(request_.group_instance_id);
    commit.generation = request_.generation_id;
    commit.knows_epochs = true;
    for (const auto& topic : request_.topics) {
      auto& row = response_.topics.emplace_back();
      row.name = topic.name;
      const auto topic_index = static_cast<int32_t>(commit.topics.size());
      commit.topics.push_back({std::string(topic.name), {}});
      for (const auto& partition : topic.partitions) {
        row.partitions.emplace_back().partition_index = partition.partition_index;
        commit.offsets.push_back({topic_index, partition.partition_index, partition.committed_offset,
                                  partition.committed_leader_epoch, std::string(partition.committed_metadata.value_or(""))});
      }
    }
    if (commit.offsets.empty()) return answer(response_);
    call(out, std::move(request));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    Code code;
    const auto* committed = reply_as<broker::CommittedOffsets>(replies[0], code);
    size_t next = 0;
    for (auto& topic : response_.topics) {
      for (auto& row : topic.partitions) {
        if (committed) code = next < committed->offsets.size() ? committed->offsets[next++] : Code::internal;
        row.error_code = error_of_commit(code, version());
      }
    }
    answer(response_);
  }

 private:
  TxnOffsetCommitResponse response_;
};

}  // namespace

Made make_txn_offset_commit(Link& link, RequestFacts facts) {
  return std::make_unique<TxnOffsetCommitExchange>(link, std::move(facts));
}

}  // namespace robustmq::kafka
