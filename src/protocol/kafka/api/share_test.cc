// Share groups on the wire: sessions, leases and acknowledgements version by version, and who looks after them.
#include <gtest/gtest.h>

#include "base/batch.h"
#include "protocol/kafka/errors.h"
#include "protocol/kafka/frames/all.h"
#include "protocol/kafka/testing.h"

namespace robustmq::kafka {
namespace {

using K = KafkaError;
using Settling = broker::SettleRange::What;

ShareFetchRequest share_fetch(int32_t epoch, std::vector<int32_t> partitions = {}) {
  ShareFetchRequest request;
  request.group_id = "g";
  request.member_id = "m";
  request.share_session_epoch = epoch;
  request.max_wait_ms = 500;
  request.min_bytes = 1;
  request.max_bytes = 1 << 20;
  request.max_records = 500;
  request.batch_size = 500;
  if (!partitions.empty()) request.topics.emplace_back().topic_id = uuid(5);
  for (const int32_t partition : partitions) request.topics[0].partitions.emplace_back().partition_index = partition;
  return request;
}
ShareAcknowledgeRequest acknowledge(int32_t epoch, Offset first, Offset last, std::vector<int8_t> types) {
  ShareAcknowledgeRequest request;
  request.group_id = "g";
  request.member_id = "m";
  request.share_session_epoch = epoch;
  auto& topic = request.topics.emplace_back();
  topic.topic_id = uuid(5);
  auto& partition = topic.partitions.emplace_back();
  partition.partition_index = 2;
  partition.acknowledgement_batches.push_back({first, last, std::move(types)});
  return request;
}
// Opens a session with one empty partition.
void open(ConnectionHarness& link, std::vector<int32_t> partitions = {2}) {
  const size_t count = partitions.size();
  link.feed(request_bytes(share_fetch(0, std::move(partitions)), 1, 1));
  link.take_call<broker::LeaseRecords>();
  link.reply_to_taken(broker::LeasedRecords{30'000, {}, std::vector<broker::LeasedPartition>(count)});
  EXPECT_EQ(link.take<ShareFetchResponse>(1).body.error_code, 0);
}

TEST(ShareFetch, LeasesInEveryVersion) {
  for (int version = 1; version <= 2; ++version) {
    ConnectionHarness link;
    ShareFetchRequest request = share_fetch(0, {2});
    if (version >= 2) request.share_acquire_mode = 1;
    link.feed(request_bytes(request, version, 1));
    const auto asked = link.take_call<broker::LeaseRecords>();
    EXPECT_EQ(asked.queue, "g");
    EXPECT_EQ(asked.consumer, "m");
    ASSERT_EQ(asked.partitions.size(), 1u);
    EXPECT_EQ(asked.topics.at(0).id, uuid(5));
    EXPECT_EQ(asked.partitions[0].partition, 2);
    EXPECT_EQ(asked.messages_max, 500);
    EXPECT_EQ(asked.bytes_max, 1 << 20);
    EXPECT_EQ(asked.bytes_min, 1);
    EXPECT_EQ(asked.wait_max_ms, 500);
    EXPECT_EQ(asked.whole_batches, version < 2) << "KIP-1206: a strict limit when it is asked for";
    const Bytes stored = batch();
    broker::LeasedPartition row;
    row.ranges = {{10, 10, 1}, {12, 14, 3}};
    row.batches = {Piece::of(stored), Piece::of(stored)};
    link.reply_to_taken(broker::LeasedRecords{30'000, {}, {row}});
    const auto answer = link.take<ShareFetchResponse>(version);
    EXPECT_EQ(answer.fault, "");
    EXPECT_EQ(answer.body.acquisition_lock_timeout_ms, 30'000);
    const auto& data = answer.body.responses.at(0).partitions.at(0);
    EXPECT_EQ(answer.body.responses.at(0).topic_id, uuid(5));
    EXPECT_EQ(data.partition_index, 2);
    EXPECT_EQ(data.records.size(), 2 * stored.size());
    ASSERT_EQ(data.acquired_records.size(), 2u);
    EXPECT_EQ(data.acquired_records[1].first_offset, 12);
    EXPECT_EQ(data.acquired_records[1].last_offset, 14);
    EXPECT_EQ(data.acquired_records[1].delivery_count, 3);
  }
}

TEST(Case59ShareSession, OpensGoesOnAndEnds) {
  ConnectionHarness link;
  link.feed(request_bytes(share_fetch(1), 1, 1));
  EXPECT_EQ(link.take<ShareFetchResponse>(1).body.error_code, wire(K::share_session_not_found));
  open(link, {2, 3});
  EXPECT_EQ(link.core().share_sessions.sessions, 1u);
  // What it has is fetched without being named.
  link.feed(request_bytes(share_fetch(1), 1, 2));
  EXPECT_EQ(link.take_call<broker::LeaseRecords>().partitions.size(), 2u);
  link.reply_to_taken(broker::LeasedRecords{30'000, {}, std::vector<broker::LeasedPartition>(2)});
  EXPECT_TRUE(link.take<ShareFetchResponse>(1).body.responses.empty()) << "no news";
  link.feed(request_bytes(share_fetch(1), 1, 3));
  EXPECT_EQ(link.take<ShareFetchResponse>(1).body.error_code, wire(K::invalid_share_session_epoch));
  // Forgotten and added.
  ShareFetchRequest request = share_fetch(2, {4});
  request.forgotten_topics_data.push_back({uuid(5), {2, 3}});
  link.feed(request_bytes(request, 1, 4));
  const auto asked = link.take_call<broker::LeaseRecords>();
  ASSERT_EQ(asked.partitions.size(), 1u);
  EXPECT_EQ(asked.partitions[0].partition, 4);
  link.reply_to_taken(broker::LeasedRecords{30'000, {}, std::vector<broker::LeasedPartition>(1)});
  link.take<ShareFetchResponse>(1);
  // The end: nothing is fetched, and what it had goes back.
  request = share_fetch(-1);
  link.feed(request_bytes(request, 1, 5));
  EXPECT_TRUE(link.take_call<broker::LeaseRecords>().partitions.empty());
  link.reply_to_taken(broker::LeasedRecords{});
  const auto left = link.take_call<broker::LeaveQueue>();
  EXPECT_EQ(left.consumer, "m");
  link.reply_to_taken(broker::LeftQueue{});
  EXPECT_EQ(link.take<ShareFetchResponse>(1).body.error_code, 0);
  EXPECT_EQ(link.core().share_sessions.sessions, 0u);
  link.feed(request_bytes(share_fetch(-1), 1, 6));
  EXPECT_EQ(link.take<ShareFetchResponse>(1).body.error_code, wire(K::share_session_not_found));
}

TEST(Case59ShareSession, ANewOneHasNothingToAcknowledge) {
  ConnectionHarness link;
  ShareFetchRequest request = share_fetch(0, {2});
  request.topics[0].partitions[0].acknowledgement_batches.push_back({0, 1, {1}});
  link.feed(request_bytes(request, 1, 1));
  EXPECT_EQ(link.take<ShareFetchResponse>(1).body.error_code, wire(K::invalid_request));
  EXPECT_TRUE(link.calls().empty());
  link.feed(request_bytes(acknowledge(0, 0, 1, {1}), 1, 2));
  EXPECT_EQ(link.take<ShareAcknowledgeResponse>(1).body.error_code, wire(K::invalid_share_session_epoch));
}

TEST(Case59ShareSession, AcknowledgementsHaveErrorsOfTheirOwn) {
  ConnectionHarness link;
  open(link);
  ShareFetchRequest request = share_fetch(1, {2, 3});
  request.topics[0].partitions[0].acknowledgement_batches.push_back({0, 3, {1}});
  request.topics[0].partitions[1].acknowledgement_batches.push_back({0, 1, {1, 9}});
  request.forgotten_topics_data.push_back({uuid(5), {3}});
  link.feed(request_bytes(request, 1, 2));
  const auto asked = link.take_call<broker::LeaseRecords>();
  ASSERT_EQ(asked.settled.size(), 1u);
  EXPECT_EQ(asked.settled[0].partition, 2);
  EXPECT_EQ(asked.partitions.size(), 1u) << "the other one is forgotten";
  EXPECT_EQ(asked.wait_max_ms, 0) << "what is wrong is told at once";
  link.reply_to_taken(broker::LeasedRecords{30'000, {Code::not_found}, {{.code = Code::storage_failed}}});
  const auto answer = link.take<ShareFetchResponse>(1);
  ASSERT_EQ(answer.body.responses.size(), 1u);
  const auto& rows = answer.body.responses[0].partitions;
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].error_code, wire(K::kafka_storage_error));
  EXPECT_EQ(rows[0].acknowledge_error_code, wire(K::invalid_record_state));
  EXPECT_EQ(rows[1].partition_index, 3);
  EXPECT_EQ(rows[1].error_code, 0);
  EXPECT_EQ(rows[1].acknowledge_error_code, wire(K::invalid_request));
}

TEST(Case59ShareSession, ThereIsALimitOfThem) {
  ConnectionHarness link;
  link.core().share_sessions.sessions_max = 1;
  open(link);
  ShareFetchRequest request = share_fetch(0, {2});
  request.member_id = "other";
  link.feed(request_bytes(request, 1, 2));
  EXPECT_EQ(link.take<ShareFetchResponse>(1).body.error_code, wire(K::share_session_limit_reached));
  EXPECT_EQ(link.metrics().share_sessions_refused_total, 1u);
  open(link);  // the same member's anew
}

TEST(Case60ShareAcknowledge, ReadsTypesByOffset) {
  for (int version = 1; version <= 2; ++version) {
    ConnectionHarness link;
    open(link);
    ShareAcknowledgeRequest request = acknowledge(1, 10, 14, {1, 1, 2, 3, 0});
    request.topics[0].partitions[0].acknowledgement_batches.push_back({15, 20, {1}});
    link.feed(request_bytes(request, version, 2));
    const auto asked = link.take_call<broker::SettleLeases>();
    EXPECT_EQ(asked.consumer, "m");
    ASSERT_EQ(asked.settled.size(), 1u);
    const auto& ranges = asked.settled[0].ranges;
    ASSERT_EQ(ranges.size(), 4u);
    EXPECT_EQ(ranges[0].first, 10);
    EXPECT_EQ(ranges[0].last, 11);
    EXPECT_EQ(ranges[1].what, Settling::release);
    EXPECT_EQ(ranges[2].what, Settling::reject);
    EXPECT_EQ(ranges[3].what, Settling::accept) << "a gap is done";
    EXPECT_EQ(ranges[3].first, 14);
    EXPECT_EQ(ranges[3].last, 20);
    link.reply_to_taken(broker::LeasesSettled{15'000, {Code::ok}});
    const auto answer = link.take<ShareAcknowledgeResponse>(version);
    EXPECT_EQ(answer.fault, "");
    EXPECT_EQ(answer.body.acquisition_lock_timeout_ms, version >= 2 ? 15'000 : 0);
    EXPECT_EQ(answer.body.responses.at(0).partitions.at(0).error_code, 0);
  }
}

TEST(Case60ShareAcknowledge, RefusesWhatIsMalformed) {
  struct Wrong {
    Offset first, last;
    std::vector<int8_t> types;
  };
  for (const Wrong& wrong :
       {Wrong{5, 4, {1}}, Wrong{5, 9, {}}, Wrong{5, 9, {1, 1}}, Wrong{5, 5, {4}}, Wrong{5, 5, {-1}}, Wrong{-3, 5, {1}}}) {
    ConnectionHarness link;
    open(link);
    link.feed(request_bytes(acknowledge(1, wrong.first, wrong.last, wrong.types), 2, 2));
    EXPECT_TRUE(link.take_call<broker::SettleLeases>().settled.empty());
    link.reply_to_taken(broker::LeasesSettled{});
    EXPECT_EQ(link.take<ShareAcknowledgeResponse>(2).body.responses.at(0).partitions.at(0).error_code, wire(K::invalid_request));
  }
}

TEST(ShareAcknowledge, RenewsWhenTheRequestSaysSo) {
  ConnectionHarness link;
  open(link);
  ShareAcknowledgeRequest request = acknowledge(1, 5, 6, {4, 1});
  request.is_renew_ack = true;
  link.feed(request_bytes(request, 2, 2));
  const auto asked = link.take_call<broker::SettleLeases>();
  ASSERT_EQ(asked.settled.at(0).ranges.size(), 2u);
  EXPECT_EQ(asked.settled[0].ranges[0].what, Settling::renew);
  link.reply_to_taken(broker::LeasesSettled{30'000, {Code::ok}});
  link.take<ShareAcknowledgeResponse>(2);
  // A share_fetch that renews fetches nothing, and may not ask for anything.
  ShareFetchRequest fetching = share_fetch(2, {2});
  fetching.is_renew_ack = true;
  link.feed(request_bytes(fetching, 2, 3));
  EXPECT_EQ(link.take<ShareFetchResponse>(2).body.error_code, wire(K::invalid_request));
  fetching.max_records = fetching.max_bytes = fetching.min_bytes = fetching.max_wait_ms = 0;
  fetching.topics[0].partitions[0].acknowledgement_batches.push_back({7, 7, {4}});
  link.feed(request_bytes(fetching, 2, 4));
  const auto renewed = link.take_call<broker::LeaseRecords>();
  EXPECT_TRUE(renewed.partitions.empty());
  EXPECT_EQ(renewed.settled.at(0).ranges.at(0).what, Settling::renew);
}

TEST(ShareFetch, RefusesWhatIsNone) {
  const auto refused = [](const ShareFetchRequest& request, int version) {
    ConnectionHarness link;
    link.feed(request_bytes(request, version, 1));
    return link.take<ShareFetchResponse>(version).body.error_code;
  };
  ShareFetchRequest request = share_fetch(0, {2});
  request.group_id.reset();
  EXPECT_EQ(refused(request, 1), wire(K::invalid_request));
  request = share_fetch(0, {2});
  request.member_id = "";
  EXPECT_EQ(refused(request, 1), wire(K::invalid_request));
  request = share_fetch(-2, {2});
  EXPECT_EQ(refused(request, 1), wire(K::invalid_request));
  request = share_fetch(0, {2});
  request.share_acquire_mode = 7;
  EXPECT_EQ(refused(request, 2), wire(K::invalid_request));
}

TEST(ShareFetch, AParkedOneIsCalledOffWithItsConnection) {
  ConnectionHarness link;
  link.feed(request_bytes(share_fetch(0, {2}), 1, 1));
  EXPECT_EQ(link.calls().size(), 1u);
  link.run([&](Outbox& out) { link.connection().on_peer_closed(out); });
  EXPECT_EQ(link.cancelled().size(), 1u);
}

TEST(ShareGroupHeartbeat, MapsBothWays) {
  ConnectionHarness link;
  ShareGroupHeartbeatRequest request;
  request.group_id = "g";
  request.member_id = "m";
  request.member_epoch = 0;
  request.subscribed_topic_names = std::vector<std::string_view>{"t", "u"};
  link.feed(request_bytes(request, 1, 1));
  const auto asked = link.take_call<broker::HeartbeatShare>();
  EXPECT_EQ(asked.topics->size(), 2u);
  EXPECT_FALSE(asked.rack_id.has_value());
  EXPECT_EQ(asked.client_host, "/127.0.0.1");
  broker::ConsumerHeartbeatReply reply;
  reply.member_id = "m";
  reply.member_epoch = 3;
  reply.heartbeat_interval_ms = 5000;
  reply.assignment = {{uuid(5), {0, 1}}};
  link.reply_to_taken(reply);
  const auto answer = link.take<ShareGroupHeartbeatResponse>(1);
  EXPECT_EQ(answer.fault, "");
  EXPECT_EQ(answer.body.member_epoch, 3);
  EXPECT_EQ(answer.body.assignment->topic_partitions.at(0).partitions.size(), 2u);
  request.subscribed_topic_names.reset();
  link.feed(request_bytes(request, 1, 2));
  EXPECT_FALSE(link.take_call<broker::HeartbeatShare>().topics.has_value()) << "unchanged";
  reply = {};
  reply.code = Code::fenced_member_epoch;
  reply.detail = "why";
  link.reply_to_taken(reply);
  const auto refused = link.take<ShareGroupHeartbeatResponse>(1);
  EXPECT_EQ(refused.body.error_code, wire(K::fenced_member_epoch));
  EXPECT_EQ(refused.body.error_message, "why");
}

TEST(ShareGroupDescribe, TellsMembersAndTheirPartitions) {
  ConnectionHarness link;
  ShareGroupDescribeRequest request;
  request.group_ids = {"g", "none"};
  link.feed(request_bytes(request, 1, 1));
  EXPECT_EQ(link.take_call<broker::DescribeShares>().groups.size(), 2u);
  broker::DescribedConsumers reply;
  reply.groups.resize(2);
  reply.groups[0].state = "Stable";
  reply.groups[0].assignor = "simple";
  auto& member = reply.groups[0].members.emplace_back();
  member.id = "m";
  member.topics = {"t"};
  member.assigned = {{uuid(5), "t", {0}}};
  reply.groups[1].code = Code::group_not_found;
  link.reply_to_taken(reply);
  const auto answer = link.take<ShareGroupDescribeResponse>(1);
  EXPECT_EQ(answer.fault, "");
  EXPECT_EQ(answer.body.groups.at(0).members.at(0).assignment.topic_partitions.at(0).topic_name, "t");
  EXPECT_EQ(answer.body.groups.at(1).error_code, wire(K::group_id_not_found));
}

TEST(ShareGroupOffsets, MapEveryVersion) {
  for (int version = 0; version <= 1; ++version) {
    ConnectionHarness link;
    DescribeShareGroupOffsetsRequest request;
    auto& named = request.groups.emplace_back();
    named.group_id = "g";
    named.topics.emplace().push_back({"t", {0, 1}});
    auto& all = request.groups.emplace_back();
    all.group_id = "h";
    all.topics.reset();
    link.feed(request_bytes(request, version, 1));
    const auto asked = link.take_call<broker::DescribeShareOffsets>();
    EXPECT_EQ(asked.groups.at(0).partitions.size(), 2u);
    EXPECT_TRUE(asked.groups.at(1).all);
    broker::DescribedShareOffsets reply;
    reply.groups.resize(2);
    reply.groups[0].partitions = {{"t", uuid(5), 0, Code::ok, 7, 2, 9}, {"t", uuid(5), 1, Code::unknown_topic}};
    reply.groups[1].code = Code::group_not_found;
    link.reply_to_taken(reply);
    const auto answer = link.take<DescribeShareGroupOffsetsResponse>(version);
    EXPECT_EQ(answer.fault, "");
    const auto& topic = answer.body.groups.at(0).topics.at(0);
    EXPECT_EQ(topic.partitions.at(0).start_offset, 7);
    EXPECT_EQ(topic.partitions.at(0).lag, version >= 1 ? 9 : -1);
    EXPECT_EQ(topic.partitions.at(1).error_code, wire(K::unknown_topic_or_partition));
    EXPECT_EQ(answer.body.groups.at(1).error_code, wire(K::group_id_not_found));
  }
  {
    ConnectionHarness link;
    AlterShareGroupOffsetsRequest request;
    request.group_id = "g";
    auto& topic = request.topics.emplace_back();
    topic.topic_name = "t";
    topic.partitions = {{0, 5}, {9, 5}};
    link.feed(request_bytes(request, 0, 1));
    EXPECT_EQ(link.take_call<broker::AlterShareOffsets>().partitions.at(0).start, 5);
    link.reply_to_taken(broker::AlteredShareOffsets{Code::ok, {}, {uuid(5)}, {Code::ok, Code::unknown_topic}});
    const auto answer = link.take<AlterShareGroupOffsetsResponse>(0);
    EXPECT_EQ(answer.fault, "");
    EXPECT_EQ(answer.body.responses.at(0).topic_id, uuid(5));
    EXPECT_EQ(answer.body.responses.at(0).partitions.at(1).error_code, wire(K::unknown_topic_or_partition));
  }
  {
    ConnectionHarness link;
    DeleteShareGroupOffsetsRequest request;
    request.group_id = "g";
    request.topics.push_back({"t"});
    link.feed(request_bytes(request, 0, 1));
    link.take_call<broker::DeleteShareOffsets>();
    link.reply_to_taken(broker::DeletedShareOffsets{Code::group_not_empty, {}, {}});
    EXPECT_EQ(link.take<DeleteShareGroupOffsetsResponse>(0).body.error_code, wire(K::non_empty_group));
  }
  {
    ConnectionHarness link;
    DeleteShareGroupOffsetsRequest request;
    request.group_id = "g";
    request.topics = {{"t"}, {"without"}};
    link.feed(request_bytes(request, 0, 1));
    link.take_call<broker::DeleteShareOffsets>();
    link.reply_to_taken(broker::DeletedShareOffsets{Code::ok, {}, {{uuid(5), Code::ok}, {uuid(6), Code::unknown_topic}}});
    const auto answer = link.take<DeleteShareGroupOffsetsResponse>(0);
    EXPECT_EQ(answer.body.responses.at(0).topic_id, uuid(5));
    EXPECT_EQ(answer.body.responses.at(1).topic_id, Uuid{}) << "an id beside an error says nothing";
    EXPECT_EQ(answer.body.responses.at(1).error_code, wire(K::unknown_topic_or_partition));
  }
}

}  // namespace
}  // namespace robustmq::kafka
