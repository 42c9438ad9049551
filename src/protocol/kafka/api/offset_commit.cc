// OffsetCommit 2-10. The retention asked for (versions 2 to 4) is the broker's own. Pure.
#include "protocol/kafka/frames/offset_commit.h"
#include "protocol/kafka/api/makers.h"

namespace robustmq::kafka {

namespace {

class OffsetCommitExchange final : public ExchangeOf<OffsetCommitRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    broker::CommitOffsets commit;
    commit.group = request_.group_id;
    commit.member_id = request_.member_id;
    commit.instance_id = copy_of(request_.group_instance_id);
    commit.generation = request_.generation_id_or_member_epoch;
    commit.knows_epochs = version() >= 9;
    if (version() >= 2 && version() <= 4) commit.retention_ms = request_.retention_time_ms;
    for (const auto& topic : request_.topics) {
      auto& row = response_.topics.emplace_back();
      row.name = topic.name;
      row.topic_id = topic.topic_id;
      const int32_t topic_index = static_cast<int32_t>(commit.topics.size());
      commit.topics.push_back({std::string(topic.name), topic.topic_id});
      for (const auto& partition : topic.partitions) {
        auto& answer_row = row.partitions.emplace_back();
        answer_row.partition_index = partition.partition_index;
        if (version() >= 10 && topic.topic_id.is_zero()) {
          answer_row.error_code = wire(KafkaError::unknown_topic_id);
          continue;
        }
        commit.offsets.push_back({topic_index, partition.partition_index, partition.committed_offset,
                                  partition.committed_leader_epoch, std::string(partition.committed_metadata.value_or(""))});
      }
    }
    if (commit.offsets.empty()) return answer(response_);
    call(out, std::move(commit));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    Code code;
    broker::CommittedOffsets* committed = reply_as<broker::CommittedOffsets>(replies[0], code);
    size_t next = 0;
    for (auto& topic : response_.topics) {
      for (auto& row : topic.partitions) {
        if (row.error_code != 0) continue;
        if (committed) code = next < committed->offsets.size() ? committed->offsets[next++] : Code::internal;
        row.error_code = wire_group_error(code);
      }
    }
    answer(response_);
  }

 private:
  OffsetCommitResponse response_;
};

}  // namespace

Made make_offset_commit(Link& link, RequestFacts facts) { return std::make_unique<OffsetCommitExchange>(link, std::move(facts)); }

}  // namespace robustmq::kafka
