// Metadata, Produce, ListOffsets, InitProducerId: what goes to the broker and what comes back, version by version.
#include <gtest/gtest.h>

#include "base/batch.h"
#include "protocol/kafka/errors.h"
#include "protocol/kafka/frames/all.h"
#include "protocol/kafka/testing.h"

namespace robustmq::kafka {
namespace {

using K = KafkaError;

broker::TopicFacts topic_facts(std::string name, int32_t partitions = 1) {
  broker::TopicFacts facts;
  facts.name = std::move(name);
  facts.id = uuid(5);
  facts.partitions = partitions;
  facts.leader_epoch = 3;
  return facts;
}

// ---- Metadata ----

struct MetadataTrip {
  ConnectionHarness link;
  broker::DescribeTopics asked;
  bool has_asked = false;
  Answer<MetadataResponse> answer;

  MetadataTrip(const MetadataRequest& request, int version, std::vector<broker::DescribedTopic> topics, KafkaOptions options = {})
      : link(options) {
    link.feed(request_bytes(request, version, 1));
    CallId cluster_call, topics_call = 0;
    link.take_call<broker::DescribeCluster>(&cluster_call);
    if (!link.calls().empty()) {
      has_asked = true;
      asked = link.take_call<broker::DescribeTopics>(&topics_call);
      link.reply(topics_call, broker::DescribedTopics{std::move(topics)});
    }
    link.reply(cluster_call, cluster());
    answer = link.take<MetadataResponse>(version);
    EXPECT_EQ(answer.fault, "");
    EXPECT_FALSE(link.had_wrong_kind());
  }
};

TEST(Metadata, AsksForAllByEmptyInVersion0AndByNullLater) {
  MetadataRequest empty;
  EXPECT_TRUE(MetadataTrip(empty, 0, {}).asked.all);
  for (int version : {1, 4, 9, 12, 13}) {
    MetadataTrip none(empty, version, {});
    EXPECT_FALSE(none.has_asked) << version;
    EXPECT_EQ(none.answer.body.brokers.size(), 1u);
    EXPECT_TRUE(none.answer.body.topics.empty());
    MetadataRequest all;
    all.topics.reset();
    EXPECT_TRUE(MetadataTrip(all, version, {}).asked.all) << version;
  }
}

TEST(Metadata, DescribesTopicsWithIdsAndLeaders) {
  for (int version = 0; version <= 13; ++version) {
    MetadataRequest request;
    request.topics.emplace().push_back({{}, "t"});
    MetadataTrip trip(request, version, {{Code::ok, topic_facts("t", 2)}});
    const auto& body = trip.answer.body;
    ASSERT_EQ(body.brokers.size(), 1u);
    EXPECT_EQ(body.brokers[0].host, "broker.example");
    EXPECT_EQ(body.brokers[0].rack, std::nullopt);
    EXPECT_EQ(body.cluster_id, version >= 2 ? std::optional<std::string_view>("cluster-1") : std::nullopt);
    EXPECT_EQ(body.controller_id, version >= 1 ? 7 : -1);
    ASSERT_EQ(body.topics.size(), 1u);
    EXPECT_EQ(body.topics[0].name, "t");
    EXPECT_EQ(body.topics[0].topic_id, version >= 10 ? uuid(5) : Uuid{});
    EXPECT_EQ(body.topics[0].topic_authorized_operations, INT32_MIN);
    ASSERT_EQ(body.topics[0].partitions.size(), 2u);
    EXPECT_EQ(body.topics[0].partitions[1].partition_index, 1);
    EXPECT_EQ(body.topics[0].partitions[1].leader_id, 7);
    EXPECT_EQ(body.topics[0].partitions[1].leader_epoch, version >= 7 ? 3 : -1);
    EXPECT_EQ(body.topics[0].partitions[1].replica_nodes, std::vector<int32_t>{7});
  }
}

TEST(Metadata, KeepsTheRowOfATopicThatIsNotThere) {
  MetadataRequest request;
  request.topics.emplace();
  request.topics->push_back({{}, "no"});
  request.topics->push_back({{}, "yes"});
  request.topics->push_back({{}, "b@d"});
  MetadataTrip trip(request, 5, {{Code::unknown_topic, {}}, {Code::ok, topic_facts("yes")}, {Code::invalid_topic, {}}});
  ASSERT_EQ(trip.answer.body.topics.size(), 3u);
  EXPECT_EQ(trip.answer.body.topics[0].error_code, wire(K::unknown_topic_or_partition));
  EXPECT_EQ(trip.answer.body.topics[0].name, "no");
  EXPECT_EQ(trip.answer.body.topics[1].error_code, 0);
  EXPECT_EQ(trip.answer.body.topics[2].error_code, 17);
}

TEST(Metadata, LooksUpIdsFromVersion12On) {
  MetadataRequest request;
  request.topics.emplace().push_back({uuid(9), std::nullopt});
  MetadataTrip by_id(request, 12, {{Code::unknown_topic_id, {}}});
  EXPECT_EQ(by_id.asked.topics[0].id, uuid(9));
  EXPECT_EQ(by_id.answer.body.topics[0].error_code, wire(K::unknown_topic_id));
  EXPECT_EQ(by_id.answer.body.topics[0].name, std::nullopt);
  EXPECT_EQ(by_id.answer.body.topics[0].topic_id, uuid(9));
  // As the Java client writes it.
  request.topics->at(0) = {uuid(9), ""};
  MetadataTrip with_empty_name(request, 13, {{Code::unknown_topic_id, {}}});
  EXPECT_EQ(with_empty_name.asked.topics[0].id, uuid(9));
  EXPECT_EQ(with_empty_name.answer.body.topics[0].name, std::nullopt);
  EXPECT_EQ(with_empty_name.answer.body.topics[0].topic_id, uuid(9));
  request.topics->at(0) = {uuid(9), "t"};
  MetadataTrip by_name(request, 10, {{Code::ok, topic_facts("t")}});
  EXPECT_TRUE(by_name.asked.topics[0].id.is_zero());
  EXPECT_EQ(by_name.asked.topics[0].name, "t");
}

TEST(Metadata, PassesOnWhetherTopicsMayBeMade) {
  MetadataRequest request;
  request.topics.emplace().push_back({{}, "t"});
  request.allow_auto_topic_creation = false;
  EXPECT_FALSE(MetadataTrip(request, 4, {{Code::unknown_topic, {}}}).asked.auto_create);
  EXPECT_TRUE(MetadataTrip(request, 3, {{Code::ok, topic_facts("t")}}).asked.auto_create);  // it could not say so then
}

TEST(Metadata, ListsLightTopicsOnlyWhenToldTo) {
  MetadataRequest all;
  all.topics.reset();
  broker::TopicFacts light = topic_facts("light");
  light.is_light = true;
  EXPECT_FALSE(MetadataTrip(all, 9, {{Code::ok, topic_facts("s")}}).asked.with_light);
  KafkaOptions options;
  options.list_light_topics = true;
  MetadataTrip listed(all, 9, {{Code::ok, light}, {Code::ok, topic_facts("s")}}, options);
  EXPECT_TRUE(listed.asked.with_light);
  EXPECT_EQ(listed.answer.body.topics.size(), 2u);
  MetadataRequest one;
  one.topics.emplace().push_back({{}, "light"});
  EXPECT_EQ(MetadataTrip(one, 9, {{Code::ok, light}}).answer.body.topics.size(), 1u);
}

// ---- Produce ----

ProduceRequest produce_request(std::optional<Bytes> records, int16_t acks = -1) {
  ProduceRequest request;
  request.acks = acks;
  request.timeout_ms = 1000;
  request.topic_data.push_back({"t", uuid(5), {{0, std::move(records)}}});
  return request;
}
const ProduceResponse::PartitionProduceResponse& row(const Answer<ProduceResponse>& answer, size_t topic_index = 0,
                                                     size_t partition = 0) {
  return answer.body.responses.at(topic_index).partition_responses.at(partition);
}

TEST(Produce, StoresABatchInEveryVersion) {
  for (int version = 3; version <= 13; ++version) {
    ConnectionHarness link;
    const Bytes sent = batch();
    link.feed(request_bytes(produce_request(sent), version, 1));
    auto asked = link.take_call<broker::Produce>();
    ASSERT_EQ(asked.partitions.size(), 1u) << version;
    EXPECT_EQ(asked.topics[0].name, version < 13 ? "t" : "");
    EXPECT_EQ(asked.topics[0].id, version < 13 ? Uuid{} : uuid(5));
    EXPECT_EQ(asked.partitions[0].batch.text(), sent.text());
    link.reply_to_taken(broker::Produced{{{.base_offset = 42, .append_time_ms = -1, .log_start = 3}}});
    auto answer = link.take<ProduceResponse>(version);
    EXPECT_EQ(answer.fault, "");
    EXPECT_EQ(row(answer).error_code, 0);
    EXPECT_EQ(row(answer).base_offset, 42);
    EXPECT_EQ(row(answer).log_append_time_ms, -1);
    EXPECT_EQ(row(answer).log_start_offset, version >= 5 ? 3 : -1);
  }
}

TEST(Produce, RefusesOtherAcks) {
  for (int16_t acks : {2, -2, 100}) {
    ConnectionHarness link;
    link.feed(request_bytes(produce_request(batch(), acks), 9, 1));
    EXPECT_TRUE(link.calls().empty());
    EXPECT_EQ(row(link.take<ProduceResponse>(9)).error_code, wire(K::invalid_required_acks));
  }
}

TEST(Produce, TakesNoTransactionsWithoutTheirIdWhateverElseIsWrong) {
  Bytes transactional = batch();
  transactional.patchable()[22] |= 0x10;  // and neither producer nor CRC are right any more
  for (int16_t acks : {-1, 5}) {
    ConnectionHarness link;
    link.feed(request_bytes(produce_request(transactional, acks), 9, 1));
    EXPECT_TRUE(link.calls().empty());
    EXPECT_EQ(row(link.take<ProduceResponse>(9)).error_code, wire(K::transactional_id_authorization_failed));
  }
}

TEST(Produce, HasNoResponseWithoutAcks) {
  ConnectionHarness link;
  link.feed(request_bytes(produce_request(batch(), 0), 9, 1) + request_bytes(ApiVersionsRequest{}, 0, 2));
  link.take_call<broker::Produce>();
  link.reply_to_taken(broker::Produced{{{.base_offset = 1}}});
  EXPECT_EQ(link.take<ApiVersionsResponse>(0).correlation_id, 2);
  EXPECT_EQ(link.why(), CloseWhy::none);
}

TEST(Produce, ClosesWhenOneWithoutAcksFails) {
  ConnectionHarness link;
  link.feed(request_bytes(produce_request(batch(), 0), 9, 1));
  link.take_call<broker::Produce>();
  link.reply_to_taken(broker::Produced{{{.code = Code::unknown_topic}}});
  EXPECT_EQ(link.why(), CloseWhy::protocol_error);
  EXPECT_EQ(link.detail(), "produce without acks failed: unknown_topic_or_partition");
  EXPECT_EQ(link.output(), "");
}

TEST(Produce, RefusesBatchesThatAreNone) {
  Bytes wrong_crc = batch();
  wrong_crc.patchable()[wrong_crc.size() - 1] ^= 1;
  Bytes old_magic = batch();
  old_magic.patchable()[16] = 1;
  const Bytes two = Bytes::copy_of(std::string(batch().text()) + std::string(batch().text()));
  struct Case {
    std::optional<Bytes> records;
    K error;
  };
  for (const Case& one : {Case{std::nullopt, K::invalid_record}, Case{Bytes{}, K::invalid_record}, Case{two, K::invalid_record},
                          Case{wrong_crc, K::corrupt_message}, Case{old_magic, K::invalid_record}}) {
    ConnectionHarness link;
    link.feed(request_bytes(produce_request(one.records), 8, 1));
    EXPECT_TRUE(link.calls().empty());
    auto answer = link.take<ProduceResponse>(8);
    EXPECT_EQ(row(answer).error_code, wire(one.error)) << kafka_error_name(one.error);
    EXPECT_EQ(row(answer).base_offset, -1);
    EXPECT_EQ(link.metrics().produce_refused_total, 1u);
  }
}

// The broker knows which topics are compacted; the record without a key is named (KIP-467).
TEST(Case16Produce, NamesTheRecordWithoutAKey) {
  for (int version : {7, 8, 13}) {
    BatchBuilder builder;
    for (int i = 0; i < 3; ++i) {
      builder.begin_record(1, i < 1 ? std::optional(as_bytes("k")) : std::nullopt, as_bytes("v"));
      builder.end_record();
    }
    ConnectionHarness link;
    link.feed(request_bytes(produce_request(builder.finish()), version, 1));
    EXPECT_EQ(link.take_call<broker::Produce>().partitions.at(0).keyless_record, 1);
    broker::Produced produced;
    produced.partitions.push_back({.code = Code::invalid_record, .detail = "no key", .bad_record = 1});
    link.reply_to_taken(std::move(produced));
    const auto answer = link.take<ProduceResponse>(version);
    EXPECT_EQ(answer.fault, "");
    EXPECT_EQ(row(answer).error_code, wire(K::invalid_record));
    ASSERT_EQ(row(answer).record_errors.size(), version >= 8 ? 1u : 0u);
    if (version >= 8) EXPECT_EQ(row(answer).record_errors[0].batch_index, 1);
  }
}

// A producer may not set LogAppendTime, and the record at fault is named (KIP-467).
TEST(Case17Produce, NamesTheRecordThatIsAtFault) {
  Bytes append_time = batch();
  append_time.patchable()[22] |= 8;
  renew_batch_crc(append_time.patchable(), append_time.size());
  BatchBuilder builder;
  for (int i = 0; i < 3; ++i) {
    builder.begin_record(1, std::nullopt, as_bytes("v"));
    builder.end_record();
  }
  Bytes gap = builder.finish();
  gap.patchable()[kBatchHeaderBytes + 2 * 8 + 3] = 6;  // the third record's offset delta: 3 for 2
  renew_batch_crc(gap.patchable(), gap.size());
  struct Case {
    Bytes records;
    K error;
    int32_t index;
  };
  for (const Case& one : {Case{append_time, K::invalid_timestamp, 0}, Case{gap, K::invalid_record, 2}}) {
    for (int version : {7, 8, 13}) {
      ConnectionHarness link;
      link.feed(request_bytes(produce_request(Bytes::copy_of(one.records)), version, 1));
      EXPECT_TRUE(link.calls().empty());
      const auto answer = link.take<ProduceResponse>(version);
      EXPECT_EQ(answer.fault, "");
      EXPECT_EQ(row(answer).error_code, wire(one.error));
      ASSERT_EQ(row(answer).record_errors.size(), version >= 8 ? 1u : 0u);
      if (version < 8) continue;
      EXPECT_EQ(row(answer).record_errors[0].batch_index, one.index);
      EXPECT_TRUE(row(answer).record_errors[0].batch_index_error_message.has_value());
      EXPECT_TRUE(row(answer).error_message->starts_with("One or more records have been rejected"));
    }
  }
}

// KIP-951: who asked the wrong one, or with an old epoch, is told whom to ask.
TEST(Produce, NamesTheLeaderToWhoAskedAnother) {
  for (int version : {9, 10, 13}) {
    ConnectionHarness link;
    link.feed(request_bytes(produce_request(batch()), version, 1));
    link.take_call<broker::Produce>();
    link.reply_to_taken(broker::Produced{{{.code = Code::not_leader, .leader_epoch = 4}}});
    if (version >= 10) {
      link.take_call<broker::DescribeCluster>();
      link.reply_to_taken(cluster());
    }
    const auto answer = link.take<ProduceResponse>(version);
    EXPECT_EQ(answer.fault, "");
    EXPECT_EQ(row(answer).error_code, wire(K::not_leader_or_follower));
    EXPECT_EQ(row(answer).current_leader.leader_id, version >= 10 ? 7 : -1);
    EXPECT_EQ(row(answer).current_leader.leader_epoch, version >= 10 ? 4 : -1);
    ASSERT_EQ(answer.body.node_endpoints.size(), version >= 10 ? 1u : 0u);
    if (version >= 10) EXPECT_EQ(answer.body.node_endpoints[0].host, "broker.example");
  }
}

TEST(Produce, AnswersEachPartitionForItself) {
  ConnectionHarness link;
  Bytes bad = batch();
  bad.patchable()[70] ^= 1;
  ProduceRequest request;
  request.acks = 1;
  request.topic_data.push_back({"a", {}, {{0, batch("1")}, {1, bad}, {2, batch("2")}}});
  request.topic_data.push_back({"b", {}, {{4, batch("3")}}});
  link.feed(request_bytes(request, 8, 1));
  auto asked = link.take_call<broker::Produce>();
  ASSERT_EQ(asked.partitions.size(), 3u);
  EXPECT_EQ(asked.partitions[1].partition, 2);
  EXPECT_EQ(asked.partitions[2].topic_index, 1);
  link.reply_to_taken(broker::Produced{{{.base_offset = 10},
                                        {.code = Code::too_large, .detail = "1 MB is the limit"},
                                        {.base_offset = 12, .append_time_ms = 99}}});
  auto answer = link.take<ProduceResponse>(8);
  EXPECT_EQ(row(answer, 0, 0).base_offset, 10);
  EXPECT_EQ(row(answer, 0, 1).error_code, wire(K::corrupt_message));
  EXPECT_EQ(row(answer, 0, 2).error_code, wire(K::message_too_large));
  EXPECT_EQ(row(answer, 0, 2).error_message, "1 MB is the limit");
  EXPECT_EQ(row(answer, 1, 0).base_offset, 12);
  EXPECT_EQ(row(answer, 1, 0).log_append_time_ms, 99);
}

TEST(Produce, KnowsNoTopicOfTheZeroId) {
  ConnectionHarness link;
  ProduceRequest request = produce_request(batch());
  request.topic_data[0].topic_id = {};
  link.feed(request_bytes(request, 13, 1));
  EXPECT_TRUE(link.calls().empty());
  EXPECT_EQ(row(link.take<ProduceResponse>(13)).error_code, wire(K::unknown_topic_id));
}

TEST(Produce, ABatchOfATransactionNeedsItsId) {
  Bytes transactional = batch();
  transactional.patchable()[22] |= 0x10;
  renew_batch_crc(transactional.patchable(), transactional.size());
  ConnectionHarness link;
  ProduceRequest named = produce_request(Bytes::copy_of(transactional.text()));
  named.transactional_id = "tx";
  link.feed(request_bytes(named, 9, 1));
  EXPECT_EQ(row(link.take<ProduceResponse>(9)).error_code, wire(K::invalid_record)) << "and a producer id";
  transactional.patchable()[50] = 1;  // the producer id was -1
  for (int i = 43; i < 50; ++i) transactional.patchable()[i] = 0;
  for (int i = 51; i < 57; ++i) transactional.patchable()[i] = 0;  // epoch and sequence
  renew_batch_crc(transactional.patchable(), transactional.size());
  link.feed(request_bytes(produce_request(Bytes::copy_of(transactional.text())), 9, 2));
  EXPECT_TRUE(link.calls().empty());
  EXPECT_EQ(row(link.take<ProduceResponse>(9)).error_code, wire(K::transactional_id_authorization_failed));
  for (const int version : {9, 11, 12, 13}) {
    ProduceRequest request = produce_request(Bytes::copy_of(transactional.text()));
    request.transactional_id = "tx";
    ConnectionHarness other;
    other.feed(request_bytes(request, version, 1));
    const auto asked = other.take_call<broker::Produce>();
    EXPECT_EQ(asked.transactional_id, "tx");
    EXPECT_EQ(asked.adds_partitions, version >= 12);
    other.reply_to_taken(broker::Produced{{{.code = Code::invalid_transaction_state}}});
    EXPECT_EQ(row(other.take<ProduceResponse>(version)).error_code,
              wire(version >= 11 ? K::transaction_abortable : K::invalid_txn_state));
    other.feed(request_bytes(request, version, 2));
    other.take_call<broker::Produce>();
    other.reply_to_taken(broker::Produced{{{.code = Code::concurrent_transactions}}});
    EXPECT_EQ(row(other.take<ProduceResponse>(version)).error_code,
              wire(version >= 12 ? K::concurrent_transactions : K::not_enough_replicas));
    other.feed(request_bytes(request, version, 3));
    other.take_call<broker::Produce>();
    other.reply_to_taken(broker::Produced{{{.code = Code::quota_exceeded}}});
    EXPECT_EQ(row(other.take<ProduceResponse>(version)).error_code,
              wire(version >= 12 ? K::transaction_abortable : K::throttling_quota_exceeded))
        << "trying again does not help";
  }
}

TEST(Produce, SaysWhatTheBrokerCouldNotDo) {
  struct Case {
    Code code;
    K error;
  };
  for (const Case& one :
       {Case{Code::storage_full, K::kafka_storage_error}, Case{Code::out_of_order_sequence, K::out_of_order_sequence_number},
        Case{Code::fenced_producer, K::invalid_producer_epoch}, Case{Code::timed_out, K::request_timed_out},
        Case{Code::invalid_timestamp, K::invalid_timestamp}, Case{Code::inconsistent_topic_id, K::inconsistent_topic_id}}) {
    ConnectionHarness link;
    link.feed(request_bytes(produce_request(batch()), 9, 1));
    link.take_call<broker::Produce>();
    link.reply_to_taken(broker::Produced{{{.code = one.code}}});
    EXPECT_EQ(row(link.take<ProduceResponse>(9)).error_code, wire(one.error));
    // The same for the call as a whole.
    link.feed(request_bytes(produce_request(batch()), 9, 2));
    link.take_call<broker::Produce>();
    link.reply_to_taken(Error{one.code, ""});
    EXPECT_EQ(row(link.take<ProduceResponse>(9)).error_code, wire(one.error));
  }
}

// ---- ListOffsets ----

TEST(ListOffsets, KnowsTheSpecialTimesOfEachVersion) {
  using What = broker::ListOffsetsPartition::What;
  struct Case {
    int64_t timestamp;
    int version;
    std::optional<What> what;
  };
  for (const Case& one :
       {Case{-1, 1, What::latest}, Case{-2, 1, What::earliest}, Case{-3, 7, What::max_timestamp}, Case{-3, 6, std::nullopt},
        Case{-4, 8, What::earliest_local}, Case{-4, 7, std::nullopt}, Case{-5, 9, What::latest_tiered}, Case{-5, 8, std::nullopt},
        Case{-6, 11, What::earliest_pending_upload}, Case{-6, 10, std::nullopt}, Case{-7, 11, std::nullopt},
        Case{0, 1, What::at_time}, Case{1'700'000'000'000, 11, What::at_time}}) {
    ConnectionHarness link;
    ListOffsetsRequest request;
    request.replica_id = -1;
    request.topics.push_back({"t", {{1, 4, one.timestamp}}});
    link.feed(request_bytes(request, one.version, 1));
    if (!one.what) {
      EXPECT_TRUE(link.calls().empty()) << one.timestamp << " " << one.version;
      EXPECT_EQ(link.take<ListOffsetsResponse>(one.version).body.topics.at(0).partitions.at(0).error_code,
                wire(K::unsupported_version));
      continue;
    }
    auto asked = link.take_call<broker::ListOffsets>();
    ASSERT_EQ(asked.partitions.size(), 1u);
    EXPECT_EQ(asked.partitions[0].what, *one.what) << one.timestamp;
    EXPECT_EQ(asked.partitions[0].current_leader_epoch, one.version >= 4 ? 4 : -1);
    if (one.timestamp >= 0) {
      EXPECT_EQ(asked.partitions[0].timestamp_ms, one.timestamp);
    }
    link.reply_to_taken(broker::ListedOffsets{{{.offset = 9, .timestamp_ms = 8, .leader_epoch = 4}}});
    auto answer = link.take<ListOffsetsResponse>(one.version);
    EXPECT_EQ(answer.fault, "");
    const auto& partition = answer.body.topics.at(0).partitions.at(0);
    EXPECT_EQ(partition.offset, 9);
    EXPECT_EQ(partition.timestamp, 8);
    EXPECT_EQ(partition.leader_epoch, one.version >= 4 ? 4 : -1);
  }
}

TEST(ListOffsets, RefusesAPartitionAskedTwice) {
  ConnectionHarness link;
  ListOffsetsRequest request;
  request.topics.push_back({"t", {{0, -1, -1}, {1, -1, -1}, {0, -1, -2}}});
  link.feed(request_bytes(request, 5, 1));
  auto asked = link.take_call<broker::ListOffsets>();
  ASSERT_EQ(asked.partitions.size(), 1u);
  EXPECT_EQ(asked.partitions[0].partition, 1);
  link.reply_to_taken(broker::ListedOffsets{{{.offset = -1}}});
  const auto answer = link.take<ListOffsetsResponse>(5);
  const auto& partitions = answer.body.topics.at(0).partitions;
  EXPECT_EQ(partitions.at(0).error_code, wire(K::invalid_request));
  EXPECT_EQ(partitions.at(1).error_code, 0);  // nothing found is no error
  EXPECT_EQ(partitions.at(1).offset, -1);
  EXPECT_EQ(partitions.at(1).timestamp, -1);
  EXPECT_EQ(partitions.at(2).error_code, wire(K::invalid_request));
}

// ---- InitProducerId ----

TEST(InitProducerId, GivesIdsToIdempotentProducers) {
  for (int version = 0; version <= 5; ++version) {
    ConnectionHarness link;
    InitProducerIdRequest request;
    request.transactional_id.reset();
    link.feed(request_bytes(request, version, 1));
    link.take_call<broker::AllocateProducerId>();
    link.reply_to_taken(broker::AllocatedProducerId{4000, 0});
    auto answer = link.take<InitProducerIdResponse>(version);
    EXPECT_EQ(answer.fault, "");
    EXPECT_EQ(answer.body.producer_id, 4000);
    EXPECT_EQ(answer.body.producer_epoch, 0);
  }
}

TEST(Case54InitProducerId, MapsTheCoordinatorsAnswersInEveryVersion) {
  struct Case {
    Code code;
    K old_error;
    K error;
  };
  for (int version = 0; version <= 5; ++version) {
    InitProducerIdRequest request;
    request.transactional_id = "tx";
    request.transaction_timeout_ms = 7000;
    if (version >= 3) {
      request.producer_id = 9;
      request.producer_epoch = 3;
    }
    for (const Case& one :
         {Case{Code::ok, K::none, K::none}, Case{Code::fenced_producer, K::invalid_producer_epoch, K::producer_fenced},
          Case{Code::invalid_transaction_timeout, K::invalid_transaction_timeout, K::invalid_transaction_timeout},
          Case{Code::concurrent_transactions, K::concurrent_transactions, K::concurrent_transactions},
          Case{Code::coordinator_loading, K::coordinator_load_in_progress, K::coordinator_load_in_progress},
          Case{Code::storage_failed, K::coordinator_not_available, K::coordinator_not_available}}) {
      ConnectionHarness link;
      link.feed(request_bytes(request, version, 1));
      const auto asked = link.take_call<broker::InitProducer>();
      EXPECT_EQ(asked.transactional_id, "tx");
      EXPECT_EQ(asked.timeout_ms, 7000);
      EXPECT_EQ(asked.id, version >= 3 ? 9 : -1);
      EXPECT_EQ(asked.epoch, version >= 3 ? 3 : -1);
      link.reply_to_taken(broker::InitedProducer{one.code, 9, 4});
      const auto answer = link.take<InitProducerIdResponse>(version);
      EXPECT_EQ(answer.fault, "");
      EXPECT_EQ(answer.body.error_code, wire(version >= 4 ? one.error : one.old_error));
      EXPECT_EQ(answer.body.producer_id, one.code == Code::ok ? 9 : -1);
      EXPECT_EQ(answer.body.producer_epoch, one.code == Code::ok ? 4 : -1);
    }
  }
}

TEST(InitProducerId, RefusesAnEmptyTransactionalId) {
  ConnectionHarness link;
  InitProducerIdRequest request;
  request.transactional_id = "";
  link.feed(request_bytes(request, 4, 2));
  EXPECT_EQ(link.take<InitProducerIdResponse>(4).body.error_code, wire(K::invalid_request));
}

TEST(InitProducerId, RefusesHalfAnId) {
  ConnectionHarness link;
  InitProducerIdRequest request;
  request.transactional_id.reset();
  request.producer_id = 5;
  link.feed(request_bytes(request, 4, 1));
  EXPECT_EQ(link.take<InitProducerIdResponse>(4).body.error_code, wire(K::invalid_request));
}

}  // namespace
}  // namespace robustmq::kafka
