// OffsetFetch 1-10: one group before version 8, several from then on. Pure.
//
// Nothing committed is offset -1 without error. Version 1 has no error of the whole response, so it stands on each partition:
// a client that read nothing there would begin from the start. With require_stable (version 7 on) an offset that is pending
// in a transaction is UNSTABLE_OFFSET_COMMIT.
#include "protocol/kafka/frames/offset_fetch.h"

#include <set>
#include <tuple>

#include "protocol/kafka/api/makers.h"

namespace robustmq::kafka {

namespace {

using Groups = std::vector<OffsetFetchRequest::OffsetFetchRequestGroup>;
using Offset1 = broker::FetchedOffsets::One;

template <class Partition>
Partition row_of(const Offset1& offset) {
  Partition row;
  row.partition_index = offset.partition;
  row.committed_offset = offset.offset;
  row.committed_leader_epoch = offset.leader_epoch;
  row.metadata = offset.metadata;
  row.error_code = wire_group_error(offset.code);
  return row;
}
template <class Partition>
Partition refused_row(int32_t index, int16_t error) {
  Partition row;
  row.partition_index = index;
  row.committed_offset = -1;
  row.metadata = "";
  row.error_code = error;
  return row;
}

class OffsetFetchExchange final : public ExchangeOf<OffsetFetchRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    if (version() < 8) {
      // The older form is the newer one with a single group.
      auto& group = request_.groups.emplace_back();
      group.group_id = request_.group_id;
      group.topics.reset();
      if (request_.topics) {
        group.topics.emplace();
        for (auto& topic : *request_.topics) group.topics->push_back({topic.name, {}, std::move(topic.partition_indexes)});
      }
    }
    if (request_.groups.empty()) return answer(OffsetFetchResponse{});
    if (!is_each_once()) return refuse();
    for (const auto& group : request_.groups) {
      broker::FetchOffsets fetch;
      fetch.group = group.group_id;
      fetch.require_stable = request_.require_stable;
      fetch.all = !group.topics;
      fetch.member_id = copy_of(group.member_id);
      fetch.member_epoch = group.member_epoch;
      if (group.topics) {
        for (const auto& topic : *group.topics) {
          const int32_t topic_index = static_cast<int32_t>(fetch.topics.size());
          fetch.topics.push_back({std::string(topic.name), topic.topic_id});
          // No topic has the zero id; the row says so without asking.
          if (version() >= 10 && topic.topic_id.is_zero()) continue;
          for (int32_t partition : topic.partition_indexes) fetch.partitions.emplace_back(topic_index, partition);
        }
      }
      call(out, std::move(fetch));
    }
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    OffsetFetchResponse response;
    for (size_t i = 0; i < replies.size(); ++i) {
      Code code;
      broker::FetchedOffsets* fetched = reply_as<broker::FetchedOffsets>(replies[i], code);
      if (fetched) code = fetched->code;
      auto& row = response.groups.emplace_back();
      row.group_id = request_.groups[i].group_id;
      row.error_code = wire_group_error(code);
      if (code == Code::ok) {
        fill(row, request_.groups[i], *fetched);
      } else if (version() < 2 && request_.groups[i].topics) {
        for (const auto& topic : *request_.groups[i].topics) {
          auto& refused = row.topics.emplace_back();
          refused.name = topic.name;
          for (int32_t index : topic.partition_indexes)
            refused.partitions.push_back(refused_row<Partition>(index, row.error_code));
        }
      }
    }
    if (version() < 8) lower(response);
    answer(response);
  }

 private:
  using Group = OffsetFetchResponse::OffsetFetchResponseGroup;
  using Partition = OffsetFetchResponse::OffsetFetchResponsePartitions;

  // No group, and no partition of one, is asked for twice: what is committed, with its metadata, would come as often. And not
  // more groups than one request may name.
  bool is_each_once() const {
    if (request_.groups.size() > kCallsMax) return false;
    std::set<std::string_view> groups;
    for (const auto& group : request_.groups) {
      if (!groups.insert(group.group_id).second) return false;
      if (!group.topics) continue;
      std::set<std::tuple<std::string_view, TopicId, int32_t>> partitions;
      for (const auto& topic : *group.topics) {
        if (version() >= 10 && topic.topic_id.is_zero()) continue;
        for (const int32_t partition : topic.partition_indexes) {
          if (!partitions.emplace(topic.name, topic.topic_id, partition).second) return false;
        }
      }
    }
    return true;
  }
  void refuse() {
    OffsetFetchResponse response;
    const int16_t error = wire(KafkaError::invalid_request);
    for (const auto& group : request_.groups) {
      auto& row = response.groups.emplace_back();
      row.group_id = group.group_id;
      row.error_code = error;
      if (version() >= 2 || !group.topics) continue;
      for (const auto& topic : *group.topics) {
        auto& refused = row.topics.emplace_back();
        refused.name = topic.name;
        for (const int32_t index : topic.partition_indexes) refused.partitions.push_back(refused_row<Partition>(index, error));
      }
    }
    if (version() < 8) lower(response);
    answer(response);
  }

  void fill(Group& row, const Groups::value_type& asked, const broker::FetchedOffsets& fetched) const {
    if (!asked.topics) {
      for (const Offset1& offset : fetched.offsets) {
        if (row.topics.empty() || row.topics.back().name != offset.topic) {
          row.topics.emplace_back();
          row.topics.back().name = offset.topic;
          row.topics.back().topic_id = offset.topic_id;
        }
        row.topics.back().partitions.push_back(row_of<Partition>(offset));
      }
      return;
    }
    size_t next = 0;
    for (const auto& topic : *asked.topics) {
      auto& topic_row = row.topics.emplace_back();
      topic_row.name = topic.name;
      topic_row.topic_id = topic.topic_id;
      for (int32_t index : topic.partition_indexes) {
        if (version() >= 10 && topic.topic_id.is_zero()) {
          topic_row.partitions.push_back(refused_row<Partition>(index, wire(KafkaError::unknown_topic_id)));
        } else if (next < fetched.offsets.size()) {
          topic_row.partitions.push_back(row_of<Partition>(fetched.offsets[next++]));
          topic_row.partitions.back().partition_index = index;
        }
      }
    }
  }

  // The first group's row in the form of versions before 8.
  static void lower(OffsetFetchResponse& response) {
    const Group& group = response.groups[0];
    response.error_code = group.error_code;
    for (const auto& topic : group.topics) {
      auto& row = response.topics.emplace_back();
      row.name = topic.name;
      for (const Partition& partition : topic.partitions) {
        row.partitions.push_back({partition.partition_index, partition.committed_offset, partition.committed_leader_epoch,
                                  partition.metadata, partition.error_code});
      }
    }
  }
};

}  // namespace

Made make_offset_fetch(Link& link, RequestFacts facts) { return std::make_unique<OffsetFetchExchange>(link, std::move(facts)); }

}  // namespace robustmq::kafka
