// A connection under quotas: what its client is told, and for how long it is read no further (KIP-219, KIP-599, KIP-612).
#include "protocol/kafka/client_quotas.h"

#include <gtest/gtest.h>

#include "protocol/kafka/errors.h"
#include "protocol/kafka/frames/all.h"
#include "protocol/kafka/testing.h"

namespace robustmq::kafka {
namespace {

using K = KafkaError;

// A link whose client has the buckets that were given.
struct Limited {
  std::shared_ptr<broker::QuotaBoard> board = std::make_shared<broker::QuotaBoard>();
  std::shared_ptr<QuotaBucket> buckets[broker::kQuotaKinds];
  std::unique_ptr<ConnectionHarness> link;

  // `worth_s`: seconds' worth that a full bucket has.
  Limited(QuotaKind kind, double per_second, int64_t worth_s = 10) {
    buckets[static_cast<size_t>(kind)] = std::make_shared<QuotaBucket>(per_second, Duration::seconds(worth_s));
    board->limits_clients = true;
    board->changes = 1;
    link = open();
  }
  std::unique_ptr<ConnectionHarness> open() { return std::make_unique<ConnectionHarness>(KafkaOptions{}, board); }
  broker::FoundQuotas found() const {
    broker::FoundQuotas all;
    all.changes = board->changes;
    for (size_t i = 0; i < broker::kQuotaKinds; ++i) all.buckets[i] = buckets[i];
    return all;
  }
  QuotaBucket& bucket(QuotaKind kind) { return *buckets[static_cast<size_t>(kind)]; }
  // Feeds it, and says which quotas there are where that is asked.
  void feed(const std::string& bytes) {
    link->feed(bytes);
    tell();
  }
  void tell() {
    while (!link->calls().empty() && std::holds_alternative<broker::FindQuotas>(link->calls().begin()->second)) {
      link->take_call<broker::FindQuotas>();
      link->reply_to_taken(found());
    }
  }
};

std::string produce_bytes(int32_t correlation_id, size_t value_bytes, int16_t acks = 1) {
  ProduceRequest request;
  request.acks = acks;
  request.topic_data.push_back({"t", {}, {{0, batch(std::string(value_bytes, 'x'))}}});
  return request_bytes(request, 7, correlation_id);
}
std::string fetch_bytes(int version, int32_t correlation_id, int32_t session_id = 0, int32_t session_epoch = -1) {
  FetchRequest request;
  request.max_wait_ms = 500;
  request.min_bytes = 1;
  request.max_bytes = 1 << 20;
  request.session_id = session_id;
  request.session_epoch = session_epoch;
  request.topics.push_back({"t", uuid(5), {{.partition = 0, .fetch_offset = 100, .partition_max_bytes = 4096}}});
  return request_bytes(request, version, correlation_id);
}
broker::Produced produced() { return {{{.base_offset = 1}}}; }
broker::FetchReply fetched(size_t bytes) {
  return {{{.high_watermark = 101, .batches = {Piece::of(Bytes::copy_of(std::string(bytes, 'x')))}}}};
}

TEST(Case34Quotas, AreAskedForOnceAndAgainWhenTheyChange) {
  Limited client(QuotaKind::fetch, 1000);
  client.link->feed(request_bytes(ApiVersionsRequest{}, 0, 1, "one"));
  EXPECT_EQ(client.link->take_call<broker::FindQuotas>().client_id, "one");
  EXPECT_FALSE(client.link->has_answer()) << "first it is known what holds";
  client.link->reply_to_taken(client.found());
  EXPECT_TRUE(client.link->has_answer());
  client.link->clear_output();
  client.link->feed(request_bytes(ApiVersionsRequest{}, 0, 2, "one"));
  EXPECT_TRUE(client.link->has_answer());
  client.link->clear_output();
  client.link->feed(request_bytes(ApiVersionsRequest{}, 0, 3, "two"));
  EXPECT_EQ(client.link->take_call<broker::FindQuotas>().client_id, "two");
  client.link->reply_to_taken(client.found());
  client.link->clear_output();
  client.board->changes = 2;
  client.link->feed(request_bytes(ApiVersionsRequest{}, 0, 4, "two"));
  EXPECT_EQ(client.link->take_call<broker::FindQuotas>().client_id, "two");
  client.link->reply_to_taken(client.found());
  client.link->clear_output();
  client.board->limits_clients = false;
  client.board->changes = 3;
  client.link->feed(request_bytes(ApiVersionsRequest{}, 0, 5, "three"));
  EXPECT_TRUE(client.link->has_answer()) << "there are none any more";
  EXPECT_TRUE(client.link->calls().empty());
  EXPECT_FALSE(client.link->connection().is_timed());
}

TEST(Case34Quotas, EndTheConnectionWhereItCannotBeCounted) {
  Limited client(QuotaKind::fetch, 1000);
  client.link->feed(request_bytes(ApiVersionsRequest{}, 0, 1));
  client.link->take_call<broker::FindQuotas>();
  client.link->reply_to_taken(Error{Code::quota_exceeded, {}});
  EXPECT_EQ(client.link->why(), CloseWhy::over_limit);
}

TEST(Case34Produce, IsAnsweredAtOnceAndThenTheConnectionIsMute) {
  Limited client(QuotaKind::produce, 1000, 1);
  client.feed(produce_bytes(1, 2'900));  // some 3,000 bytes: a second's worth and two more
  client.link->take_call<broker::Produce>();
  client.feed(produce_bytes(2, 10));
  EXPECT_TRUE(client.link->calls().empty()) << "nothing begins meanwhile";
  client.link->reply_to_taken(produced());
  const auto answer = client.link->take<ProduceResponse>(7);
  EXPECT_EQ(answer.correlation_id, 1);
  EXPECT_EQ(answer.body.throttle_time_ms, 1'000) << "told is not more than what is saved up";
  EXPECT_TRUE(client.link->connection().is_paused());
  const Duration owed = client.bucket(QuotaKind::produce).owed(client.link->now());
  EXPECT_NEAR(static_cast<double>(owed.to_millis()), 2'000, 100);
  client.link->pass(owed - Duration::millis(1));
  EXPECT_TRUE(client.link->connection().is_paused());
  client.link->pass(Duration::millis(2));
  EXPECT_EQ(client.link->calls().size(), 1u) << "it went on, and is mute again for what the second owes";
  client.link->take_call<broker::Produce>();
  client.link->reply_to_taken(produced());
  EXPECT_GT(client.link->take<ProduceResponse>(7).body.throttle_time_ms, 0);
  EXPECT_EQ(client.link->metrics().throttled_produce_total, 2u);
  EXPECT_GE(client.link->metrics().throttled_produce_ms_total, 2'000u);
  EXPECT_EQ(client.link->why(), CloseWhy::none);
}

TEST(Case34Produce, TheRateHoldsWithAndWithoutAcks) {
  for (const int16_t acks : {int16_t{0}, int16_t{1}}) {
    Limited client(QuotaKind::produce, 10'000, 1);
    const Instant from = client.link->now();
    const size_t size = produce_bytes(1, 700, acks).size();
    uint64_t sent = 0;
    while (client.link->now() - from < Duration::seconds(60)) {
      if (client.link->connection().is_paused()) {
        client.link->pass(Duration::millis(1));
        continue;
      }
      client.feed(produce_bytes(1, 700, acks));
      if (client.link->calls().empty()) continue;
      client.link->take_call<broker::Produce>();
      client.link->reply_to_taken(produced());
      sent += size;
      client.link->clear_output();
    }
    EXPECT_NEAR(static_cast<double>(sent), 10'000 * 61, 10'000 * 61 * 0.02) << acks;
  }
}

TEST(Case34Quotas, AMuteConnectionIsNeitherIdleNorLate) {
  Limited client(QuotaKind::produce, 10, 1);
  client.feed(produce_bytes(1, 20'000));
  client.link->take_call<broker::Produce>();
  client.link->feed(produce_bytes(2, 100).substr(0, 50));  // a request begins to arrive
  client.link->reply_to_taken(produced());
  EXPECT_TRUE(client.link->connection().is_paused());
  client.link->pass(Duration::millis(client.link->options().idle_timeout_ms + client.link->options().frame_timeout_ms));
  EXPECT_EQ(client.link->why(), CloseWhy::none);
  client.link->pass(Duration::seconds(3'600));
  EXPECT_EQ(client.link->why(), CloseWhy::timed_out) << "the rest did not come when it was read again";
}

TEST(Case34Fetch, GivesWhatItHasAndIsMuteThen) {
  for (int version = 4; version <= 18; ++version) {
    Limited client(QuotaKind::fetch, 1000, 1);
    client.feed(fetch_bytes(version, 1));
    EXPECT_EQ(client.link->take_call<broker::Fetch>().bytes_max, 1'000) << "not more at once than what is saved up";
    client.link->reply_to_taken(fetched(1'500));
    const auto answer = client.link->take<FetchResponse>(version);
    EXPECT_EQ(answer.body.throttle_time_ms, 500) << version;
    EXPECT_EQ(answer.body.responses.at(0).partitions.at(0).records->size(), 1'500u);
    EXPECT_TRUE(client.link->connection().is_paused());
    client.link->pass(Duration::millis(501));
    EXPECT_FALSE(client.link->connection().is_paused());
    EXPECT_EQ(client.link->metrics().throttled_fetch_total, 1u);
  }
}

TEST(Case34Fetch, IsEmptyWhileTheQuotaIsOverdrawn) {
  Limited client(QuotaKind::fetch, 1000, 1);
  client.bucket(QuotaKind::fetch).take(client.link->now(), 1'700);  // by another connection of the client
  client.feed(fetch_bytes(12, 1, 0, 0));
  auto answer = client.link->take<FetchResponse>(12);
  EXPECT_EQ(answer.body.throttle_time_ms, 700);
  EXPECT_TRUE(answer.body.responses.empty());
  EXPECT_EQ(answer.body.session_id, 0) << "no session is opened by it";
  EXPECT_TRUE(client.link->calls().empty());
  client.link->pass(Duration::millis(701));
  client.feed(fetch_bytes(12, 2, 0, 0));
  client.link->take_call<broker::Fetch>();
  client.link->reply_to_taken(fetched(0));
  answer = client.link->take<FetchResponse>(12);
  const int32_t session = answer.body.session_id;
  EXPECT_NE(session, 0);
  client.bucket(QuotaKind::fetch).take(client.link->now(), 2'000);
  client.feed(fetch_bytes(12, 3, session, 1));
  answer = client.link->take<FetchResponse>(12);
  EXPECT_GT(answer.body.throttle_time_ms, 0);
  EXPECT_EQ(answer.body.error_code, 0);
  EXPECT_EQ(answer.body.session_id, session);
  client.link->pass(Duration::seconds(5));
  client.feed(fetch_bytes(12, 4, session, 2));
  client.link->take_call<broker::Fetch>();
  client.link->reply_to_taken(fetched(10));
  EXPECT_EQ(client.link->take<FetchResponse>(12).body.error_code, 0) << "the session went on";
}

TEST(Case34Request, TheTimeOfTheCoreIsTakenAndToldWithTheNextAnswer) {
  Limited client(QuotaKind::request, 50, 1);  // half a core
  client.feed(request_bytes(ApiVersionsRequest{}, 3, 1));
  EXPECT_EQ(client.link->take<ApiVersionsResponse>(3).body.throttle_time_ms, 0);
  EXPECT_TRUE(client.link->connection().is_timed());
  client.link->connection().on_spent(Duration::millis(800));
  EXPECT_FALSE(client.link->connection().is_paused());
  client.feed(request_bytes(ApiVersionsRequest{}, 3, 2));
  EXPECT_EQ(client.link->take<ApiVersionsResponse>(3).body.throttle_time_ms, 600) << "0.8 s at a half, and a second was saved";
  EXPECT_TRUE(client.link->connection().is_paused());
  client.link->pass(Duration::millis(601));
  EXPECT_FALSE(client.link->connection().is_paused());
  EXPECT_EQ(client.link->metrics().throttled_request_total, 1u);
}

std::string create_bytes(int version, int32_t correlation_id, bool validate_only = false) {
  CreateTopicsRequest request;
  request.validate_only = validate_only;
  request.topics.push_back({"a", 4, 1, {}, {}});
  request.topics.push_back({"b", -1, 1, {}, {}});
  request.topics.push_back({"c", 1, 1, {}, {}});
  return request_bytes(request, version, correlation_id);
}
broker::CreatedTopics created(size_t count, int32_t partitions) {
  broker::CreatedTopics topics;
  topics.topics.resize(count);
  for (auto& topic : topics.topics) topic.facts.partitions = partitions;
  return topics;
}

TEST(Case67CreateTopics, OverTheQuotaIsRefusedForVersionsThatKnowAndDelaysTheOthers) {
  for (int version = 2; version <= 7; ++version) {
    Limited client(QuotaKind::mutation, 1, 3);
    client.feed(create_bytes(version, 1));  // 4 of 3: overdrawn by the first
    const auto asked = client.link->take_call<broker::CreateTopics>();
    const bool is_strict = version >= 6;
    ASSERT_EQ(asked.topics.size(), is_strict ? 1u : 3u) << version;
    client.link->reply_to_taken(created(asked.topics.size(), 4));
    const auto answer = client.link->take<CreateTopicsResponse>(version);
    ASSERT_EQ(answer.body.topics.size(), 3u);
    EXPECT_EQ(answer.body.topics[0].error_code, 0);
    for (size_t i = 1; i < 3; ++i)
      EXPECT_EQ(answer.body.topics[i].error_code, wire(is_strict ? K::throttling_quota_exceeded : K::none)) << version;
    EXPECT_EQ(answer.body.throttle_time_ms, 3'000 * !is_strict + 1'000 * is_strict);
    EXPECT_TRUE(client.link->connection().is_paused());
    const Duration owed = client.bucket(QuotaKind::mutation).owed(client.link->now());
    EXPECT_EQ(owed, Duration::seconds(is_strict ? 1 : 1 + 4 + 1 + 3)) << "the default's 4 partitions were counted when known, "
                                                                         "and 3 of \"c\" that the answer has";
    EXPECT_GE(client.link->metrics().throttled_mutation_total, 1u);
  }
}

TEST(Case67CreateTopics, WhatIsOnlyCheckedTakesNothing) {
  Limited client(QuotaKind::mutation, 1, 3);
  for (int i = 0; i < 5; ++i) {
    client.feed(create_bytes(7, i, true));
    client.link->take_call<broker::CreateTopics>();
    client.link->reply_to_taken(created(3, 4));
    EXPECT_EQ(client.link->take<CreateTopicsResponse>(7).body.throttle_time_ms, 0);
  }
}

TEST(Case67DeleteTopics, CountsThePartitionsThatTheyHave) {
  for (int version = 1; version <= 6; ++version) {
    Limited client(QuotaKind::mutation, 1, 3);
    DeleteTopicsRequest request;
    if (version < 6) request.topic_names = {"gone", "a", "b"};
    if (version == 6) request.topics = {{"gone", {}}, {"a", {}}, {"b", {}}};
    client.feed(request_bytes(request, version, 1));
    EXPECT_EQ(client.link->take_call<broker::DescribeTopics>().topics.size(), 3u);
    broker::DescribedTopics described;
    described.topics.resize(3);
    described.topics[0].code = Code::unknown_topic;
    for (size_t i : {1u, 2u}) described.topics[i].facts.partitions = 5;
    client.link->reply_to_taken(std::move(described));
    const bool is_strict = version >= 5;
    const auto asked = client.link->take_call<broker::DeleteTopics>();
    ASSERT_EQ(asked.topics.size(), is_strict ? 2u : 3u);
    broker::DeletedTopics deleted;
    deleted.topics.resize(asked.topics.size());
    deleted.topics[0].code = Code::unknown_topic;
    client.link->reply_to_taken(std::move(deleted));
    const auto answer = client.link->take<DeleteTopicsResponse>(version);
    ASSERT_EQ(answer.body.responses.size(), 3u);
    EXPECT_EQ(answer.body.responses[0].error_code, wire(K::unknown_topic_or_partition));
    EXPECT_EQ(answer.body.responses[1].error_code, 0);
    EXPECT_EQ(answer.body.responses[2].error_code, wire(is_strict ? K::throttling_quota_exceeded : K::none));
    EXPECT_EQ(answer.body.throttle_time_ms, is_strict ? 2'000 : 3'000);
  }
}

TEST(Case67CreatePartitions, CountsThoseThatAreAdded) {
  for (int version = 0; version <= 3; ++version) {
    Limited client(QuotaKind::mutation, 1, 3);
    CreatePartitionsRequest request;
    request.topics.push_back({"a", 9, std::nullopt});
    request.topics.push_back({"b", 9, std::nullopt});
    client.feed(request_bytes(request, version, 1));
    client.link->take_call<broker::DescribeCluster>();
    client.link->reply_to_taken(cluster());
    client.link->take_call<broker::DescribeTopics>();
    broker::DescribedTopics described;
    described.topics.resize(2);
    for (auto& topic : described.topics) topic.facts.partitions = 5;
    client.link->reply_to_taken(std::move(described));
    const bool is_strict = version >= 3;
    const auto asked = client.link->take_call<broker::GrowTopics>();
    ASSERT_EQ(asked.topics.size(), is_strict ? 1u : 2u);
    client.link->reply_to_taken(broker::GrownTopics{std::vector<broker::GrownTopics::One>(asked.topics.size())});
    const auto answer = client.link->take<CreatePartitionsResponse>(version);
    EXPECT_EQ(answer.body.results[1].error_code, wire(is_strict ? K::throttling_quota_exceeded : K::none));
    EXPECT_GT(answer.body.throttle_time_ms, 0);
  }
}

TEST(Case67Connections, OfAHostThatIsOverItsQuotaAreEndedAfterAWhile) {
  auto board = std::make_shared<broker::QuotaBoard>();
  board->limits_hosts = true;
  board->changes = 1;
  ConnectionHarness welcome(KafkaOptions{}, board);
  EXPECT_TRUE(welcome.connection().is_paused());
  welcome.take_call<broker::CountConnection>();
  welcome.reply_to_taken(broker::CountedConnection{});
  EXPECT_FALSE(welcome.connection().is_paused());
  welcome.feed(request_bytes(ApiVersionsRequest{}, 0, 1));
  EXPECT_TRUE(welcome.has_answer());

  ConnectionHarness refused(KafkaOptions{}, board);
  refused.take_call<broker::CountConnection>();
  refused.reply_to_taken(broker::CountedConnection{Duration::millis(700)});
  refused.feed(request_bytes(ApiVersionsRequest{}, 0, 1));
  refused.pass(Duration::millis(699));
  EXPECT_EQ(refused.why(), CloseWhy::none);
  refused.pass(Duration::millis(2));
  EXPECT_EQ(refused.why(), CloseWhy::over_limit);
  EXPECT_FALSE(refused.has_answer());
  EXPECT_EQ(refused.metrics().throttled_connections_total, 1u);
}

}  // namespace
}  // namespace robustmq::kafka
