// The APIs of transactions: what goes to the broker and what comes back, version by version.
#include <gtest/gtest.h>

#include "protocol/kafka/api/exchange.h"
#include "protocol/kafka/errors.h"
#include "protocol/kafka/frames/all.h"
#include "protocol/kafka/testing.h"

namespace robustmq::kafka {
namespace {

using K = KafkaError;

// One request, its call, a reply to it, and the answer.
template <class Call, class Response, class Request>
struct TransactionTrip {
  ConnectionHarness link;
  Call asked;
  Answer<Response> answer;
  TransactionTrip(const Request& request, int version, broker::Reply reply) {
    link.feed(request_bytes(request, version, 1));
    asked = link.take_call<Call>();
    link.reply_to_taken(std::move(reply));
    answer = link.take<Response>(version);
    EXPECT_EQ(answer.fault, "") << "version " << version;
    EXPECT_FALSE(link.had_wrong_kind());
  }
};

template <class Request>
Request of_producer() {
  Request request;
  request.transactional_id = "tx";
  request.producer_id = 9;
  request.producer_epoch = 3;
  return request;
}

AddPartitionsToTxnRequest of_transactions(size_t count) {
  AddPartitionsToTxnRequest request;
  for (size_t i = 0; i < count; ++i) {
    auto& one = request.transactions.emplace_back();
    one.transactional_id = "tx";
    one.producer_id = 9;
    one.producer_epoch = 3;
    one.topics = {{"a", {0}}};
  }
  return request;
}

TEST(AddPartitionsToTxn, ManyTransactionsAreAnsweredInWhateverOrderTheirRepliesCome) {
  ConnectionHarness link;
  link.feed(request_bytes(of_transactions(kCallsMax), 4, 1));
  ASSERT_EQ(link.calls().size(), kCallsMax);
  while (!link.calls().empty()) link.reply(link.calls().rbegin()->first, broker::AddedToTransaction{{Code::ok}});
  const auto answer = link.take<AddPartitionsToTxnResponse>(4);
  EXPECT_EQ(answer.fault, "");
  EXPECT_EQ(answer.body.results_by_transaction.size(), kCallsMax);
}

TEST(AddPartitionsToTxn, MoreTransactionsThanTheLimitAreRefused) {
  ConnectionHarness link;
  link.feed(request_bytes(of_transactions(kCallsMax + 1), 4, 1));
  EXPECT_TRUE(link.calls().empty());
  const auto answer = link.take<AddPartitionsToTxnResponse>(4);
  EXPECT_EQ(answer.fault, "");
  EXPECT_EQ(answer.body.error_code, wire(K::invalid_request));
}

TEST(DescribeTransactions, SaysOfEachOnce) {
  DescribeTransactionsRequest request;
  request.transactional_ids = {"b", "a", "b", "b", "a"};
  TransactionTrip<broker::DescribeTransactions, DescribeTransactionsResponse, DescribeTransactionsRequest> trip(
      request, 0, broker::DescribedTransactions{});
  EXPECT_EQ(trip.asked.ids, (std::vector<std::string>{"b", "a"}));
  EXPECT_EQ(trip.answer.body.transaction_states.size(), 2u);
}

TEST(DescribeTransactions, AResponseOverTheLimitEndsTheConnection) {
  ConnectionHarness link({.response_bytes_max = 1024});
  DescribeTransactionsRequest request;
  request.transactional_ids = {"a"};
  broker::DescribedTransactions reply;
  reply.transactions.resize(1);
  for (int32_t i = 0; i < 300; ++i) reply.transactions[0].partitions.emplace_back("t", i);
  link.feed(request_bytes(request, 0, 1));
  link.take_call<broker::DescribeTransactions>();
  link.reply_to_taken(std::move(reply));
  EXPECT_EQ(link.why(), CloseWhy::over_limit);
  EXPECT_NE(link.detail().find("response_bytes_max"), std::string::npos);
  EXPECT_TRUE(link.output().empty());
}

TEST(Case55AddPartitionsToTxn, OldVersionsHaveOneTransaction) {
  for (int version = 0; version <= 3; ++version) {
    AddPartitionsToTxnRequest request;
    request.v3_and_below_transactional_id = "tx";
    request.v3_and_below_producer_id = 9;
    request.v3_and_below_producer_epoch = 3;
    request.v3_and_below_topics = {{"a", {0, 1}}, {"missing", {0}}};
    TransactionTrip<broker::AddToTransaction, AddPartitionsToTxnResponse, AddPartitionsToTxnRequest> trip(
        request, version, broker::AddedToTransaction{{Code::not_attempted, Code::fenced_producer, Code::unknown_topic}});
    EXPECT_EQ(trip.asked.producer.transactional_id, "tx");
    EXPECT_EQ(trip.asked.producer.id, 9);
    EXPECT_EQ(trip.asked.producer.epoch, 3);
    EXPECT_FALSE(trip.asked.verify_only);
    ASSERT_EQ(trip.asked.partitions.size(), 3u);
    EXPECT_EQ(trip.asked.partitions[2].topic_index, 1);
    const auto& topics = trip.answer.body.results_by_topic_v3_and_below;
    ASSERT_EQ(topics.size(), 2u);
    EXPECT_EQ(topics[0].results_by_partition[0].partition_error_code, wire(K::operation_not_attempted));
    EXPECT_EQ(topics[0].results_by_partition[1].partition_error_code,
              wire(version < 2 ? K::invalid_producer_epoch : K::producer_fenced));
    EXPECT_EQ(topics[1].results_by_partition[0].partition_error_code, wire(K::unknown_topic_or_partition));
  }
}

TEST(AddPartitionsToTxn, NewerOnesHaveSeveralAndMayVerify) {
  for (int version = 4; version <= 5; ++version) {
    AddPartitionsToTxnRequest request;
    request.transactions.push_back({"one", 1, 0, false, {{"a", {0}}}});
    request.transactions.push_back({"two", 2, 0, true, {{"a", {0}}}});
    ConnectionHarness link;
    link.feed(request_bytes(request, version, 1));
    ASSERT_EQ(link.calls().size(), 2u);
    EXPECT_EQ(link.take_call<broker::AddToTransaction>().producer.transactional_id, "one");
    link.reply_to_taken(broker::AddedToTransaction{{Code::ok}});
    EXPECT_TRUE(link.take_call<broker::AddToTransaction>().verify_only);
    link.reply_to_taken(broker::AddedToTransaction{{Code::invalid_transaction_state}});
    const auto answer = link.take<AddPartitionsToTxnResponse>(version);
    EXPECT_EQ(answer.fault, "");
    const auto& results = answer.body.results_by_transaction;
    ASSERT_EQ(results.size(), 2u);
    EXPECT_EQ(results[0].topic_results[0].results_by_partition[0].partition_error_code, 0);
    EXPECT_EQ(results[1].topic_results[0].results_by_partition[0].partition_error_code, wire(K::transaction_abortable));
  }
}

TEST(AddOffsetsToTxn, MapsEveryVersion) {
  for (int version = 0; version <= 4; ++version) {
    auto request = of_producer<AddOffsetsToTxnRequest>();
    request.group_id = "g";
    TransactionTrip<broker::AddOffsetsToTransaction, AddOffsetsToTxnResponse, AddOffsetsToTxnRequest> trip(
        request, version, broker::TransactionReply{Code::fenced_producer});
    EXPECT_EQ(trip.asked.group, "g");
    EXPECT_EQ(trip.asked.producer.id, 9);
    EXPECT_EQ(trip.answer.body.error_code, wire(version < 2 ? K::invalid_producer_epoch : K::producer_fenced));
  }
}

TEST(Case56EndTxn, TellsTheNewEpochFromVersion5On) {
  for (int version = 0; version <= 5; ++version) {
    auto request = of_producer<EndTxnRequest>();
    request.committed = version % 2 == 0;
    TransactionTrip<broker::EndTransaction, EndTxnResponse, EndTxnRequest> trip(request, version,
                                                                                broker::EndedTransaction{Code::ok, 9, 4});
    EXPECT_EQ(trip.asked.commits, version % 2 == 0);
    EXPECT_EQ(trip.asked.bumps_epoch, version >= 5);
    EXPECT_EQ(trip.answer.body.error_code, 0);
    EXPECT_EQ(trip.answer.body.producer_id, version >= 5 ? 9 : -1);
    EXPECT_EQ(trip.answer.body.producer_epoch, version >= 5 ? 4 : -1);
  }
}

TEST(Case58EndTxn, NothingIsAnUnknownServerError) {
  for (const Code code : {Code::invalid_producer_mapping, Code::fenced_producer, Code::invalid_transaction_state,
                          Code::concurrent_transactions, Code::coordinator_loading, Code::storage_failed, Code::storage_full,
                          Code::overloaded, Code::shutting_down, Code::timed_out}) {
    TransactionTrip<broker::EndTransaction, EndTxnResponse, EndTxnRequest> trip(of_producer<EndTxnRequest>(), 3,
                                                                                broker::EndedTransaction{code, -1, -1});
    EXPECT_NE(trip.answer.body.error_code, 0);
    EXPECT_NE(trip.answer.body.error_code, wire(K::unknown_server_error)) << code_text(code);
    TransactionTrip<broker::EndTransaction, EndTxnResponse, EndTxnRequest> whole(of_producer<EndTxnRequest>(), 3,
                                                                                 Error{code, ""});
    EXPECT_EQ(whole.answer.body.error_code, trip.answer.body.error_code);
  }
}

TEST(TxnOffsetCommit, MapsEveryVersion) {
  for (int version = 0; version <= 5; ++version) {
    auto request = of_producer<TxnOffsetCommitRequest>();
    request.group_id = "g";
    if (version >= 3) {
      request.generation_id = 7;
      request.member_id = "m";
    }
    request.topics.push_back({"t", {{0, 5, -1, "text"}, {1, 6, -1, std::nullopt}}});
    TransactionTrip<broker::CommitInTransaction, TxnOffsetCommitResponse, TxnOffsetCommitRequest> trip(
        request, version, broker::CommittedOffsets{{Code::ok, Code::illegal_generation}});
    EXPECT_EQ(trip.asked.producer.transactional_id, "tx");
    EXPECT_EQ(trip.asked.adds_group, version >= 5);
    EXPECT_EQ(trip.asked.commit.group, "g");
    EXPECT_EQ(trip.asked.commit.generation, version >= 3 ? 7 : -1);
    ASSERT_EQ(trip.asked.commit.offsets.size(), 2u);
    EXPECT_EQ(trip.asked.commit.offsets[0].metadata, "text");
    const auto& rows = trip.answer.body.topics.at(0).partitions;
    EXPECT_EQ(rows.at(0).error_code, 0);
    EXPECT_EQ(rows.at(1).error_code, wire(K::illegal_generation));
  }
}

TEST(TxnOffsetCommit, TellsOldEpochsAndStatesAsTheGroupCoordinatorDoes) {
  for (int version = 0; version <= 5; ++version) {
    auto request = of_producer<TxnOffsetCommitRequest>();
    request.group_id = "g";
    request.topics.push_back({"t", {{0, 5, -1, ""}, {1, 6, -1, ""}}});
    TransactionTrip<broker::CommitInTransaction, TxnOffsetCommitResponse, TxnOffsetCommitRequest> trip(
        request, version, broker::CommittedOffsets{{Code::fenced_producer, Code::invalid_transaction_state}});
    const auto& rows = trip.answer.body.topics.at(0).partitions;
    EXPECT_EQ(rows.at(0).error_code, wire(K::invalid_producer_epoch));
    EXPECT_EQ(rows.at(1).error_code, wire(version < 4 ? K::invalid_txn_state : K::transaction_abortable));
  }
}

TEST(Case47OffsetFetch, AsksForStableOffsetsAndTellsWhatIsPending) {
  for (int version = 6; version <= 9; ++version) {
    OffsetFetchRequest request;
    request.group_id = "g";
    request.require_stable = version >= 7;
    request.topics.emplace();
    request.topics->push_back({"t", {0}});
    auto& group = request.groups.emplace_back();
    group.group_id = "g";
    group.topics.emplace();
    group.topics->push_back({"t", {}, {0}});
    broker::FetchedOffsets reply;
    reply.offsets.push_back({.topic = "t", .code = Code::unstable_offset});
    TransactionTrip<broker::FetchOffsets, OffsetFetchResponse, OffsetFetchRequest> trip(request, version, std::move(reply));
    EXPECT_EQ(trip.asked.require_stable, version >= 7);
    const int16_t error = version < 8 ? trip.answer.body.topics.at(0).partitions.at(0).error_code
                                      : trip.answer.body.groups.at(0).topics.at(0).partitions.at(0).error_code;
    EXPECT_EQ(error, wire(K::unstable_offset_commit));
  }
}

TEST(WriteTxnMarkers, AnswersEachPartition) {
  for (int version = 1; version <= 2; ++version) {
    WriteTxnMarkersRequest request;
    request.markers.push_back({9, 3, true, {{"a", {0, 1}}}, 0});
    request.markers.push_back({8, 2, false, {{"b", {0}}}, 0});
    TransactionTrip<broker::WriteMarkers, WriteTxnMarkersResponse, WriteTxnMarkersRequest> trip(
        request, version, broker::WrittenMarkers{{{Code::ok, Code::fenced_producer}, {Code::unknown_topic}}});
    ASSERT_EQ(trip.asked.markers.size(), 2u);
    EXPECT_TRUE(trip.asked.markers[0].commits);
    EXPECT_EQ(trip.asked.markers[1].id, 8);
    const auto& markers = trip.answer.body.markers;
    EXPECT_EQ(markers.at(0).topics.at(0).partitions.at(0).error_code, 0);
    EXPECT_EQ(markers.at(0).topics.at(0).partitions.at(1).error_code, wire(K::invalid_producer_epoch));
    EXPECT_EQ(markers.at(1).topics.at(0).partitions.at(0).error_code, wire(K::unknown_topic_or_partition));
  }
}

TEST(DescribeTransactions, GroupsPartitionsByTopic) {
  DescribeTransactionsRequest request;
  request.transactional_ids = {"tx", "nobody"};
  broker::DescribedTransactions reply;
  reply.transactions.push_back({Code::ok, "tx", "Ongoing", 9, 3, 1000, 77, {{"a", 0}, {"a", 1}, {"b", 0}}});
  reply.transactions.push_back({Code::transaction_not_found, "nobody", "", -1, -1, 0, -1, {}});
  TransactionTrip<broker::DescribeTransactions, DescribeTransactionsResponse, DescribeTransactionsRequest> trip(request, 0,
                                                                                                                std::move(reply));
  const auto& rows = trip.answer.body.transaction_states;
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].transaction_state, "Ongoing");
  EXPECT_EQ(rows[0].transaction_start_time_ms, 77);
  ASSERT_EQ(rows[0].topics.size(), 2u);
  EXPECT_EQ(rows[0].topics[0].partitions, (std::vector<int32_t>{0, 1}));
  EXPECT_EQ(rows[1].error_code, wire(K::transactional_id_not_found));
}

TEST(ListTransactions, Filters) {
  broker::ListedTransactions all;
  all.transactions.push_back({Code::ok, "open", "Ongoing", 1, 0, 1000, 1'699'999'990'000, {}});
  all.transactions.push_back({Code::ok, "young", "Ongoing", 2, 0, 1000, 1'699'999'999'999, {}});
  all.transactions.push_back({Code::ok, "done", "CompleteCommit", 3, 0, 1000, -1, {}});
  const auto list = [&](const ListTransactionsRequest& request, int version) {
    TransactionTrip<broker::ListTransactions, ListTransactionsResponse, ListTransactionsRequest> trip(request, version, all);
    std::vector<std::string> ids;
    for (const auto& row : trip.answer.body.transaction_states) ids.emplace_back(row.transactional_id);
    return ids;
  };
  using Ids = std::vector<std::string>;
  ListTransactionsRequest request;
  EXPECT_EQ(list(request, 0), (Ids{"open", "young", "done"}));
  request.state_filters = {"Ongoing"};
  EXPECT_EQ(list(request, 0), (Ids{"open", "young"}));
  request.duration_filter = 5000;
  EXPECT_EQ(list(request, 1), Ids{"open"});
  request = {};
  request.producer_id_filters = {3};
  EXPECT_EQ(list(request, 1), Ids{"done"});
  request.state_filters = {"Nonsense"};
  request.transactional_id_pattern = "o.*";
  TransactionTrip<broker::ListTransactions, ListTransactionsResponse, ListTransactionsRequest> trip(request, 2, all);
  EXPECT_EQ(trip.asked.pattern, "o.*");
  EXPECT_EQ(trip.answer.body.unknown_state_filters.size(), 1u);
  EXPECT_TRUE(trip.answer.body.transaction_states.empty());
  broker::ListedTransactions refused;
  refused.code = Code::invalid_pattern;
  TransactionTrip<broker::ListTransactions, ListTransactionsResponse, ListTransactionsRequest> bad(request, 2,
                                                                                                   std::move(refused));
  EXPECT_EQ(bad.answer.body.error_code, wire(K::invalid_regular_expression));
}

}  // namespace
}  // namespace robustmq::kafka
