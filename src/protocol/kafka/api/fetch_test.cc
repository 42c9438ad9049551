// Fetch: what goes to the broker and what comes back, version by version. Sessions: fetch_sessions_test.cc.
#include <gtest/gtest.h>

#include "base/batch.h"
#include "protocol/kafka/errors.h"
#include "protocol/kafka/frames/all.h"
#include "protocol/kafka/testing.h"

namespace robustmq::kafka {
namespace {

using K = KafkaError;

FetchRequest fetch_request() {
  FetchRequest request;
  request.max_wait_ms = 500;
  request.min_bytes = 1;
  request.max_bytes = 1 << 20;
  request.topics.push_back(
      {"t", uuid(5), {{.partition = 2, .current_leader_epoch = 3, .fetch_offset = 100, .partition_max_bytes = 4096}}});
  return request;
}

TEST(Fetch, GivesStoredBatchesInEveryVersion) {
  for (int version = 4; version <= 18; ++version) {
    ConnectionHarness link;
    link.feed(request_bytes(fetch_request(), version, 1));
    auto asked = link.take_call<broker::Fetch>();
    EXPECT_EQ(asked.topics[0].name, version < 13 ? "t" : "");
    EXPECT_EQ(asked.topics[0].id, version < 13 ? Uuid{} : uuid(5));
    ASSERT_EQ(asked.partitions.size(), 1u);
    EXPECT_EQ(asked.partitions[0].partition, 2);
    EXPECT_EQ(asked.partitions[0].from, 100);
    EXPECT_EQ(asked.partitions[0].bytes_max, 4096);
    EXPECT_EQ(asked.partitions[0].current_leader_epoch, version >= 9 ? 3 : -1);
    EXPECT_EQ(asked.wait_max_ms, 500);
    EXPECT_EQ(asked.bytes_min, 1);
    EXPECT_EQ(asked.bytes_max, 1 << 20);
    const Bytes stored = batch();
    link.reply_to_taken(broker::FetchReply{{{.high_watermark = 101,
                                             .log_start = 5,
                                             .last_stable = 99,
                                             .aborted = {{1, 2}},
                                             .batches = {Piece::of(stored), Piece::of(stored)}}}});
    auto answer = link.take<FetchResponse>(version);
    EXPECT_EQ(answer.fault, "") << version;
    EXPECT_EQ(answer.body.session_id, 0);
    const auto& data = answer.body.responses.at(0).partitions.at(0);
    EXPECT_EQ(data.partition_index, 2);
    EXPECT_EQ(data.high_watermark, 101);
    EXPECT_EQ(data.last_stable_offset, 99);
    EXPECT_FALSE(asked.read_committed);
    EXPECT_EQ(data.log_start_offset, version >= 5 ? 5 : -1);
    EXPECT_EQ(data.preferred_read_replica, -1);
    EXPECT_EQ(data.records->size(), 2 * stored.size());
    EXPECT_FALSE(data.aborted_transactions.has_value());
  }
}

TEST(Case29Fetch, NamesWhatWasAbortedToWhoReadsWhatIsCommitted) {
  for (const bool has_batches : {false, true}) {
    ConnectionHarness link;
    FetchRequest request = fetch_request();
    request.isolation_level = 1;
    link.feed(request_bytes(request, 11, 1));
    EXPECT_TRUE(link.take_call<broker::Fetch>().read_committed);
    Pieces batches;
    if (has_batches) batches.push_back(Piece::of(batch()));
    link.reply_to_taken(
        broker::FetchReply{{{.high_watermark = 101, .last_stable = 101, .aborted = {{9, 90}, {8, 95}}, .batches = batches}}});
    const auto answer = link.take<FetchResponse>(11);
    EXPECT_EQ(answer.fault, "");
    const auto& data = answer.body.responses.at(0).partitions.at(0);
    ASSERT_TRUE(data.aborted_transactions.has_value());
    ASSERT_EQ(data.aborted_transactions->size(), has_batches ? 2u : 0u);
    if (!has_batches) continue;
    EXPECT_EQ(data.aborted_transactions->at(0).producer_id, 9);
    EXPECT_EQ(data.aborted_transactions->at(0).first_offset, 90);
    EXPECT_EQ(data.aborted_transactions->at(1).first_offset, 95);
  }
}

TEST(Fetch, AnswersAtOnceWhatItKnowsToBeWrong) {
  ConnectionHarness link;
  FetchRequest request = fetch_request();
  request.topics.push_back({"", Uuid{}, {{.partition = 0}}});
  link.feed(request_bytes(request, 13, 1));
  auto asked = link.take_call<broker::Fetch>();
  EXPECT_EQ(asked.partitions.size(), 1u);
  EXPECT_EQ(asked.wait_max_ms, 0);
  link.reply_to_taken(broker::FetchReply{{{.high_watermark = 7}}});
  auto answer = link.take<FetchResponse>(13);
  EXPECT_EQ(answer.body.responses.at(0).partitions.at(0).error_code, 0);
  EXPECT_EQ(answer.body.responses.at(1).partitions.at(0).error_code, wire(K::unknown_topic_id));
}

TEST(Fetch, AnswersNothingAskedAtOnce) {
  ConnectionHarness link;
  FetchRequest request = fetch_request();
  request.topics.clear();
  link.feed(request_bytes(request, 12, 1));
  EXPECT_TRUE(link.calls().empty());
  EXPECT_EQ(link.take<FetchResponse>(12).fault, "");
}

TEST(Fetch, BoundsWhatIsAskedFor) {
  ConnectionHarness link;
  FetchRequest request = fetch_request();
  request.max_bytes = INT32_MAX;
  request.min_bytes = INT32_MAX;
  request.max_wait_ms = INT32_MAX;
  request.topics[0].partitions[0].partition_max_bytes = -5;
  link.feed(request_bytes(request, 12, 1));
  auto asked = link.take_call<broker::Fetch>();
  EXPECT_EQ(asked.bytes_max, link.options().fetch_bytes_max);
  EXPECT_EQ(asked.bytes_min, asked.bytes_max);
  EXPECT_EQ(asked.wait_max_ms, 300'000);
  EXPECT_EQ(asked.partitions[0].bytes_max, 0);
}

TEST(Fetch, NamesTheLeaderToWhoComesWithAnOldEpoch) {
  for (int version : {15, 16, 18}) {
    for (const Code code : {Code::fenced_leader_epoch, Code::not_leader}) {
      ConnectionHarness link;
      link.feed(request_bytes(fetch_request(), version, 1));
      link.take_call<broker::Fetch>();
      link.reply_to_taken(broker::FetchReply{{{.code = code, .high_watermark = 50, .log_start = 10, .leader_epoch = 6}}});
      if (version >= 16) {
        link.take_call<broker::DescribeCluster>();
        link.reply_to_taken(cluster());
      }
      const auto answer = link.take<FetchResponse>(version);
      EXPECT_EQ(answer.fault, "");
      const auto& data = answer.body.responses.at(0).partitions.at(0);
      EXPECT_EQ(data.current_leader.leader_id, version >= 16 ? 7 : -1);
      EXPECT_EQ(data.current_leader.leader_epoch, version >= 16 ? 6 : -1);
      ASSERT_EQ(answer.body.node_endpoints.size(), version >= 16 ? 1u : 0u);
      if (version >= 16) EXPECT_EQ(answer.body.node_endpoints[0].port, 9092);
    }
  }
}

TEST(Fetch, TellsErrorsWithTheBoundsOfTheLog) {
  struct Case {
    Code code;
    K error;
  };
  for (const Case& one :
       {Case{Code::offset_out_of_range, K::offset_out_of_range}, Case{Code::fenced_leader_epoch, K::fenced_leader_epoch},
        Case{Code::unknown_leader_epoch, K::unknown_leader_epoch}, Case{Code::unknown_topic_id, K::unknown_topic_id}}) {
    ConnectionHarness link;
    link.feed(request_bytes(fetch_request(), 13, 1));
    link.take_call<broker::Fetch>();
    link.reply_to_taken(broker::FetchReply{{{.code = one.code, .high_watermark = 50, .log_start = 10}}});
    const auto answer = link.take<FetchResponse>(13);
    const auto& data = answer.body.responses.at(0).partitions.at(0);
    EXPECT_EQ(data.error_code, wire(one.error));
    EXPECT_EQ(data.high_watermark, 50);
    EXPECT_EQ(data.log_start_offset, 10);
    EXPECT_TRUE(data.records.has_value());
  }
}

}  // namespace
}  // namespace robustmq::kafka
