// DescribeShareGroupOffsets 0-1, AlterShareGroupOffsets 0, DeleteShareGroupOffsets 0: where the queues of share groups stand.
// Pure.
#include "protocol/kafka/api/share_makers.h"
#include "protocol/kafka/frames/alter_share_group_offsets.h"
#include "protocol/kafka/frames/delete_share_group_offsets.h"
#include "protocol/kafka/frames/describe_share_group_offsets.h"

namespace robustmq::kafka {

namespace {

std::string_view why(const std::string& detail, Code code) { return detail.empty() ? code_text(code) : std::string_view(detail); }

class DescribeShareGroupOffsetsExchange final : public ExchangeOf<DescribeShareGroupOffsetsRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    if (request_.groups.empty()) return answer(DescribeShareGroupOffsetsResponse{});
    broker::DescribeShareOffsets describe;
    for (const auto& group : request_.groups) {
      auto& one = describe.groups.emplace_back();
      one.group = group.group_id;
      one.all = !group.topics.has_value();
      for (size_t i = 0; group.topics && i < group.topics->size(); ++i) {
        const auto& topic = (*group.topics)[i];
        one.topics.emplace_back(topic.topic_name);
        for (const int32_t partition : topic.partitions) one.partitions.push_back({static_cast<int32_t>(i), partition});
      }
    }
    call(out, std::move(describe));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    DescribeShareGroupOffsetsResponse response;
    Code whole;
    broker::DescribedShareOffsets* described = reply_as<broker::DescribedShareOffsets>(replies[0], whole);
    for (size_t i = 0; i < request_.groups.size(); ++i) {
      auto& row = response.groups.emplace_back();
      row.group_id = request_.groups[i].group_id;
      broker::DescribedShareOffsets::One* group = described && i < described->groups.size() ? &described->groups[i] : nullptr;
      const Code code = group ? group->code : described ? Code::internal : whole;
      row.error_code = wire_group_error(code);
      if (code != Code::ok) {
        row.error_message = group ? why(group->detail, code) : code_text(code);
        continue;
      }
      for (const auto& one : group->partitions) {
        if (row.topics.empty() || row.topics.back().topic_name != one.topic) {
          auto& topic = row.topics.emplace_back();
          topic.topic_name = one.topic;
          topic.topic_id = one.topic_id;
        }
        auto& partition = row.topics.back().partitions.emplace_back();
        partition.partition_index = one.partition;
        partition.start_offset = one.start;
        partition.leader_epoch = one.leader_epoch;
        partition.lag = one.lag;
        partition.error_code = wire_error(one.code);
        if (one.code != Code::ok) partition.error_message = code_text(one.code);
      }
    }
    answer(response);
  }
};

class AlterShareGroupOffsetsExchange final : public ExchangeOf<AlterShareGroupOffsetsRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    broker::AlterShareOffsets alter;
    alter.group = request_.group_id;
    for (size_t i = 0; i < request_.topics.size(); ++i) {
      alter.topics.emplace_back(request_.topics[i].topic_name);
      for (const auto& one : request_.topics[i].partitions)
        alter.partitions.push_back({static_cast<int32_t>(i), one.partition_index, one.start_offset});
    }
    call(out, std::move(alter));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    AlterShareGroupOffsetsResponse response;
    Code code;
    broker::AlteredShareOffsets* altered = reply_as<broker::AlteredShareOffsets>(replies[0], code);
    if (altered) code = altered->code;
    response.error_code = wire_group_error(code);
    if (code != Code::ok) {
      response.error_message = altered ? why(altered->detail, code) : code_text(code);
      return answer(response);
    }
    size_t next = 0;
    for (size_t i = 0; i < request_.topics.size(); ++i) {
      auto& topic = response.responses.emplace_back();
      topic.topic_name = request_.topics[i].topic_name;
      if (i < altered->topics.size()) topic.topic_id = altered->topics[i];
      for (const auto& one : request_.topics[i].partitions) {
        const Code result = next < altered->partitions.size() ? altered->partitions[next] : Code::internal;
        ++next;
        auto& row = topic.partitions.emplace_back();
        row.partition_index = one.partition_index;
        row.error_code = wire_error(result);
        if (result != Code::ok) row.error_message = code_text(result);
      }
    }
    answer(response);
  }
};

class DeleteShareGroupOffsetsExchange final : public ExchangeOf<DeleteShareGroupOffsetsRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    broker::DeleteShareOffsets remove;
    remove.group = request_.group_id;
    for (const auto& topic : request_.topics) remove.topics.emplace_back(topic.topic_name);
    call(out, std::move(remove));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    DeleteShareGroupOffsetsResponse response;
    Code code;
    broker::DeletedShareOffsets* deleted = reply_as<broker::DeletedShareOffsets>(replies[0], code);
    if (deleted) code = deleted->code;
    response.error_code = wire_group_error(code);
    if (code != Code::ok) {
      response.error_message = deleted ? why(deleted->detail, code) : code_text(code);
      return answer(response);
    }
    for (size_t i = 0; i < request_.topics.size(); ++i) {
      auto& row = response.responses.emplace_back();
      row.topic_name = request_.topics[i].topic_name;
      const Code result = i < deleted->topics.size() ? deleted->topics[i].second : Code::internal;
      if (result == Code::ok) row.topic_id = deleted->topics[i].first;
      row.error_code = wire_error(result);
      if (result != Code::ok) row.error_message = code_text(result);
    }
    answer(response);
  }
};

}  // namespace

Made make_describe_share_group_offsets(Link& link, RequestFacts facts) {
  return std::make_unique<DescribeShareGroupOffsetsExchange>(link, std::move(facts));
}
Made make_alter_share_group_offsets(Link& link, RequestFacts facts) {
  return std::make_unique<AlterShareGroupOffsetsExchange>(link, std::move(facts));
}
Made make_delete_share_group_offsets(Link& link, RequestFacts facts) {
  return std::make_unique<DeleteShareGroupOffsetsExchange>(link, std::move(facts));
}

}  // namespace robustmq::kafka
