// A link under any bytes, replies, cuts, times and full outputs: whole responses in order, and the same for any cut.
//
// The input is a script: a byte names a step, what follows is the step's.
#include <cstdint>
#include <string>

#include "protocol/kafka/frames/all.h"
#include "protocol/kafka/testing.h"

namespace robustmq::kafka {
namespace {

class Script {
 public:
  Script(const uint8_t* data, size_t size) : at_(data), end_(data + size) {}
  bool is_over() const { return at_ == end_; }
  uint8_t byte() { return at_ < end_ ? *at_++ : 0; }
  std::string_view bytes(size_t count) {
    count = std::min(count, static_cast<size_t>(end_ - at_));
    const std::string_view taken(reinterpret_cast<const char*>(at_), count);
    at_ += count;
    return taken;
  }

 private:
  const uint8_t* at_;
  const uint8_t* end_;
};

Code code_of(uint8_t choice) { return choice < 200 ? Code::ok : static_cast<Code>(choice % static_cast<int>(Code::internal)); }

// A reply of the right kind; its lists may be shorter or longer than what was asked.
broker::Reply reply_to(const broker::Request& request, uint8_t choice) {
  const Code code = code_of(choice);
  auto several = [&](size_t asked) { return choice % 5 == 4 ? asked / 2 : choice % 5 == 3 ? asked + 1 : asked; };
  auto visit = [&](const auto& asked) -> broker::Reply {
    using T = std::remove_cvref_t<decltype(asked)>;
    if constexpr (std::is_same_v<T, broker::Produce>) {
      broker::Produced reply;
      reply.partitions.resize(several(asked.partitions.size()), {.code = code, .detail = "why", .base_offset = 5});
      return reply;
    } else if constexpr (std::is_same_v<T, broker::Fetch>) {
      broker::FetchReply reply;
      reply.partitions.resize(several(asked.partitions.size()));
      for (auto& partition : reply.partitions) {
        partition.code = code;
        partition.batches = {Piece::of(Bytes::copy_of("batch")), Piece::of(Bytes::copy_of("batch"))};
      }
      return reply;
    } else if constexpr (std::is_same_v<T, broker::ListOffsets>) {
      return broker::ListedOffsets{std::vector<broker::ListedOffset>(several(asked.partitions.size()), {.code = code})};
    } else if constexpr (std::is_same_v<T, broker::DescribeTopics>) {
      broker::DescribedTopics reply;
      reply.topics.resize(several(asked.all ? 2 : asked.topics.size()));
      for (auto& topic : reply.topics) {
        topic.code = code;
        topic.facts.name = "t";
        topic.facts.settings = {{"retention_ms", "1", true}};
      }
      return reply;
    } else if constexpr (std::is_same_v<T, broker::CreateTopics>) {
      return broker::CreatedTopics{std::vector<broker::CreatedTopic>(several(asked.topics.size()), {code, "why", {}})};
    } else if constexpr (std::is_same_v<T, broker::DeleteTopics>) {
      return broker::DeletedTopics{std::vector<broker::DeletedTopic>(several(asked.topics.size()), {code, "why", "t", {}})};
    } else if constexpr (std::is_same_v<T, broker::DescribeCluster>) {
      broker::ClusterFacts facts;
      if (choice % 7 != 6) facts.nodes = {{1, "host", 9092}};
      facts.controller = 1;
      facts.options = {{"a", "b", true}};
      return facts;
    } else if constexpr (std::is_same_v<T, broker::AllocateProducerId>) {
      return broker::AllocatedProducerId{1, 0};
    } else if constexpr (std::is_same_v<T, broker::JoinGroup>) {
      return broker::JoinedGroup{code, 1, "consumer", "range", "m", "m", false, {{"m", std::nullopt, Bytes::copy_of("x")}}};
    } else if constexpr (std::is_same_v<T, broker::SyncGroup>) {
      return broker::SyncedGroup{code, "consumer", "range", Bytes::copy_of("x")};
    } else if constexpr (std::is_same_v<T, broker::HeartbeatGroup>) {
      return broker::HeartbeatReply{code};
    } else if constexpr (std::is_same_v<T, broker::LeaveGroup>) {
      return broker::LeftGroup{code, std::vector<Code>(several(asked.members.size()), code)};
    } else if constexpr (std::is_same_v<T, broker::CommitOffsets>) {
      return broker::CommittedOffsets{std::vector<Code>(several(asked.offsets.size()), code)};
    } else if constexpr (std::is_same_v<T, broker::FetchOffsets>) {
      broker::FetchedOffsets reply;
      reply.code = code;
      reply.offsets.resize(several(asked.all ? 3 : asked.partitions.size()));
      return reply;
    } else if constexpr (std::is_same_v<T, broker::DescribeGroups>) {
      broker::DescribedGroups reply;
      reply.groups.resize(several(asked.groups.size()));
      for (auto& group : reply.groups) group.code = code;
      return reply;
    } else if constexpr (std::is_same_v<T, broker::ListGroups>) {
      return broker::ListedGroups{{{"g", "consumer", "Stable", "classic"}}};
    } else if constexpr (std::is_same_v<T, broker::HeartbeatConsumer>) {
      broker::ConsumerHeartbeatReply reply;
      reply.code = code;
      reply.member_id = asked.member_id;
      if (choice % 2) reply.assignment = asked.owned;
      return reply;
    } else if constexpr (std::is_same_v<T, broker::DescribeConsumers>) {
      broker::DescribedConsumers reply;
      reply.groups.resize(several(asked.groups.size()));
      for (auto& group : reply.groups) {
        group.code = code;
        group.members.resize(1);
        group.members[0].assigned = {{{}, "t", {0}}};
      }
      return reply;
    } else if constexpr (std::is_same_v<T, broker::ConfigureGroups>) {
      return broker::ConfiguredGroups{std::vector<broker::ConfiguredTopics::One>(several(asked.groups.size()), {code, "why"})};
    } else if constexpr (std::is_same_v<T, broker::DescribeGroupConfigs>) {
      broker::DescribedGroupConfigs reply;
      reply.groups.resize(several(asked.groups.size()));
      for (auto& group : reply.groups) group.settings = {{"consumer_session_timeout_ms", "45000", true}};
      return reply;
    } else if constexpr (std::is_same_v<T, broker::HeartbeatShare>) {
      broker::ConsumerHeartbeatReply reply;
      reply.code = code;
      reply.assignment = std::vector<broker::AssignedTopic>(1);
      return reply;
    } else if constexpr (std::is_same_v<T, broker::DescribeShares>) {
      broker::DescribedConsumers reply;
      reply.groups.resize(several(asked.groups.size()));
      for (auto& group : reply.groups) group.code = code;
      return reply;
    } else if constexpr (std::is_same_v<T, broker::LeaseRecords>) {
      broker::LeasedRecords reply;
      reply.settled.resize(several(asked.settled.size()), code);
      reply.partitions.resize(several(asked.partitions.size()));
      for (auto& partition : reply.partitions) {
        partition.code = code;
        partition.ranges = {{0, 5, 1}};
        partition.batches = {Piece::of(Bytes::copy_of("batch"))};
      }
      return reply;
    } else if constexpr (std::is_same_v<T, broker::SettleLeases>) {
      return broker::LeasesSettled{30'000, std::vector<Code>(several(asked.settled.size()), code)};
    } else if constexpr (std::is_same_v<T, broker::LeaveQueue>) {
      return broker::LeftQueue{};
    } else if constexpr (std::is_same_v<T, broker::DescribeShareOffsets>) {
      broker::DescribedShareOffsets reply;
      reply.groups.resize(several(asked.groups.size()));
      for (auto& group : reply.groups) group = {code, "why", {{"t", {}, 0, code, 1, 1, 1}}};
      return reply;
    } else if constexpr (std::is_same_v<T, broker::AlterShareOffsets>) {
      return broker::AlteredShareOffsets{code, "why", {}, std::vector<Code>(several(asked.partitions.size()), code)};
    } else if constexpr (std::is_same_v<T, broker::DeleteShareOffsets>) {
      return broker::DeletedShareOffsets{code, "why", {}};
    } else if constexpr (std::is_same_v<T, broker::DeleteGroups>) {
      return broker::DeletedGroups{std::vector<Code>(several(asked.groups.size()), code)};
    } else if constexpr (std::is_same_v<T, broker::InitProducer>) {
      return broker::InitedProducer{code, 1, 0};
    } else if constexpr (std::is_same_v<T, broker::AddToTransaction>) {
      return broker::AddedToTransaction{std::vector<Code>(several(asked.partitions.size()), code)};
    } else if constexpr (std::is_same_v<T, broker::AddOffsetsToTransaction>) {
      return broker::TransactionReply{code};
    } else if constexpr (std::is_same_v<T, broker::EndTransaction>) {
      return broker::EndedTransaction{code, 1, 1};
    } else if constexpr (std::is_same_v<T, broker::CommitInTransaction>) {
      return broker::CommittedOffsets{std::vector<Code>(several(asked.commit.offsets.size()), code)};
    } else if constexpr (std::is_same_v<T, broker::WriteMarkers>) {
      broker::WrittenMarkers reply;
      for (const auto& marker : asked.markers) reply.markers.emplace_back(several(marker.partitions.size()), code);
      return reply;
    } else if constexpr (std::is_same_v<T, broker::DescribeTransactions>) {
      broker::DescribedTransactions reply;
      for (size_t i = 0; i < several(asked.ids.size()); ++i)
        reply.transactions.push_back({code, "t", "Ongoing", 1, 0, 1000, 5, {{"a", 0}, {"b", 1}}});
      return reply;
    } else if constexpr (std::is_same_v<T, broker::ListTransactions>) {
      broker::ListedTransactions reply;
      reply.code = code;
      reply.transactions.push_back({Code::ok, "t", "Ongoing", 1, 0, 1000, 5, {}});
      return reply;
    } else {
      return Error{Code::not_supported, ""};
    }
  };
  if (choice == 255) return Error{Code::overloaded, "busy"};
  return std::visit(visit, request);
}

// The outcome of a script: what was sent, and why it ended.
std::string play(const uint8_t* data, size_t size, bool by_byte) {
  KafkaOptions options;
  options.requests_in_flight_max = 4;
  options.request_bytes_max = 1 << 16;
  ConnectionHarness link(options);
  Script script(data, size);
  auto feed = [&](std::string_view bytes) {
    if (!by_byte) return link.feed(bytes);
    for (size_t i = 0; i < bytes.size(); ++i) link.feed(bytes.substr(i, 1));
  };
  for (int32_t correlation = 0; !script.is_over() && link.why() == CloseWhy::none; ++correlation) {
    switch (script.byte() % 6) {
      case 0:
        feed(script.bytes(script.byte()));
        break;
      case 1: {  // a request with a right header and any body
        const int16_t key = script.byte() % 96;
        const ApiFacts* api = api_of(key);
        const int16_t version = script.byte() % 20;
        const std::string_view body = script.bytes(script.byte());
        const bool is_flexible = api && version >= api->flexible_from;
        std::string bytes(4 + 8 + 2 + (is_flexible ? 1 : 0), '\0');
        Writer writer(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size());
        writer.i32(static_cast<int32_t>(bytes.size() - 4 + body.size()));
        writer.i16(key);
        writer.i16(version);
        writer.i32(correlation);
        writer.i16(-1);
        if (is_flexible) writer.uvarint(0);
        feed(bytes + std::string(body));
        break;
      }
      case 2: {  // a request of defaults
        const int16_t key = script.byte() % 96;
        const int version = script.byte() % 20;
        with_api(key, [&]<class Request, class Response>() {
          if (version < Request::kVersionMin || version > Request::kVersionMax) return;
          feed(request_bytes(Request{}, version, correlation));
        });
        break;
      }
      case 3: {
        const uint8_t choice = script.byte();
        if (link.calls().empty()) break;
        auto call = choice & 1 ? link.calls().begin() : std::prev(link.calls().end());
        const CallId id = call->first;
        link.reply(id, reply_to(call->second, choice));
        break;
      }
      case 4:
        link.pass(Duration::millis(script.byte() * 100));
        break;
      case 5:
        link.unsent_bytes = link.unsent_bytes ? 0 : 2 << 20;
        // What is unsent grows only while the connection runs, which looks at it then.
        if (link.unsent_bytes > 0) link.run([&](Outbox& out) { link.connection().on_timer(out); });
        if (link.unsent_bytes == 0) {
          link.run([&](Outbox& out) { link.connection().on_drained(out); });
          link.feed_again();  // as the driver hands over again what was not taken
        }
        break;
    }
  }
  std::string outcome = link.output() + "|" + std::string(protocol::close_why_name(link.why())) + "|" + link.detail();
  while (link.has_answer()) link.take<HeartbeatResponse>(0);
  ROBUSTMQ_CHECK(link.output().empty(), "half a response was sent");
  link.run([&](Outbox& out) { link.connection().on_peer_closed(out); });
  ROBUSTMQ_CHECK(link.budget().used() == 0, "memory stayed counted");
  return outcome;
}

}  // namespace
}  // namespace robustmq::kafka

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace robustmq::kafka;
  const std::string whole = play(data, size, false);
  ROBUSTMQ_CHECK(play(data, size, true) == whole, "the cut of the input made a difference");
  return 0;
}
