// Fetch sessions (KIP-227): the table of sessions, and whole conversations over a connection.
#include "protocol/kafka/fetch_sessions.h"

#include "protocol/kafka/core_share.h"

#include <gtest/gtest.h>

#include "base/batch.h"
#include "protocol/kafka/frames/all.h"
#include "protocol/kafka/testing.h"

namespace robustmq::kafka {
namespace {

using K = KafkaError;

Uuid uuid(uint8_t byte) {
  Uuid id;
  id.bytes.fill(byte);
  return id;
}
Bytes stored_batch() {
  BatchBuilder builder;
  builder.begin_record(1'700'000'000'000, std::nullopt, as_bytes(std::string_view("value")));
  builder.end_record();
  return builder.finish();
}

// A consumer with a session: what it asks, what the broker gives, what comes back.
struct Consumer {
  explicit Consumer(int version_in, KafkaOptions options = {}) : link(options), version(version_in) {}

  static FetchRequest request(int32_t session, int32_t epoch, std::vector<std::pair<int32_t, Offset>> partitions = {}) {
    FetchRequest fetch;
    fetch.max_wait_ms = 500;
    fetch.min_bytes = 1;
    fetch.max_bytes = 1 << 20;
    fetch.session_id = session;
    fetch.session_epoch = epoch;
    if (!partitions.empty()) {
      auto& topic = fetch.topics.emplace_back();
      topic.topic = "t";
      topic.topic_id = uuid(5);
      for (const auto& [partition, from] : partitions)
        topic.partitions.push_back({.partition = partition, .fetch_offset = from, .partition_max_bytes = 4096});
    }
    return fetch;
  }
  struct Given {
    Offset high_watermark = 10;
    bool has_records = false;
    Code code = Code::ok;
    Offset log_start = 0;
  };
  // Partition -> what the broker gives; asked for all that the session follows.
  FetchResponse ask(const FetchRequest& fetch, std::map<int32_t, Given> given) {
    link.feed(request_bytes(fetch, version, 1));
    last_asked.clear();
    if (!link.calls().empty()) {
      const broker::Fetch asked = link.take_call<broker::Fetch>();
      broker::FetchReply reply;
      for (const auto& one : asked.partitions) {
        last_asked.push_back({one.partition, one.from});
        const Given& what = given[one.partition];
        auto& row = reply.partitions.emplace_back();
        row.code = what.code;
        row.high_watermark = what.high_watermark;
        row.log_start = what.log_start;
        if (what.has_records) row.batches = {Piece::of(stored_batch())};
      }
      link.reply_to_taken(std::move(reply));
    }
    answers.push_back(link.take<FetchResponse>(version));
    EXPECT_EQ(answers.back().fault, "");
    return answers.back().body;
  }
  static std::vector<int32_t> partitions_of(const FetchResponse& response) {
    std::vector<int32_t> partitions;
    for (const auto& topic : response.responses) {
      for (const auto& row : topic.partitions) partitions.push_back(row.partition_index);
    }
    return partitions;
  }

  ConnectionHarness link;
  int version;
  std::vector<std::pair<int32_t, Offset>> last_asked;
  std::vector<Answer<FetchResponse>> answers;  // what views point into
};

using Asked = std::vector<std::pair<int32_t, Offset>>;
using Rows = std::vector<int32_t>;

TEST(Case31FetchSession, IsOpenedByAFullFetchAndThenTellsNewsOnly) {
  for (int version : {7, 11, 12, 13, 18}) {
    Consumer consumer(version);
    const FetchResponse first = consumer.ask(Consumer::request(0, 0, {{0, 5}, {1, 6}, {2, 7}}), {});
    ASSERT_GT(first.session_id, 0) << version;
    EXPECT_EQ(Consumer::partitions_of(first), (Rows{0, 1, 2}));
    const int32_t id = first.session_id;
    // Nothing new: nothing is told.
    const FetchResponse quiet = consumer.ask(Consumer::request(id, 1), {});
    EXPECT_EQ(quiet.session_id, id);
    EXPECT_EQ(consumer.last_asked, (Asked{{0, 5}, {1, 6}, {2, 7}}));
    EXPECT_TRUE(quiet.responses.empty());
    // Records, another high watermark, another log start, an error: each is news.
    const FetchResponse news = consumer.ask(Consumer::request(id, 2), {{0, {.has_records = true}}, {1, {.high_watermark = 11}}});
    EXPECT_EQ(Consumer::partitions_of(news), (Rows{0, 1}));
    EXPECT_EQ(
        Consumer::partitions_of(consumer.ask(Consumer::request(id, 3), {{1, {.high_watermark = 11}}, {2, {.log_start = 3}}})),
        (Rows{2}));
    EXPECT_EQ(
        Consumer::partitions_of(consumer.ask(
            Consumer::request(id, 4), {{1, {.high_watermark = 11}}, {2, {.code = Code::offset_out_of_range, .log_start = 3}}})),
        (Rows{2}));
    // After an error the bounds are told again.
    EXPECT_EQ(
        Consumer::partitions_of(consumer.ask(Consumer::request(id, 5), {{1, {.high_watermark = 11}}, {2, {.log_start = 3}}})),
        (Rows{2}));
  }
}

TEST(Case31FetchSession, TakesChangesAndForgetsPartitions) {
  Consumer consumer(12);
  const int32_t id = consumer.ask(Consumer::request(0, 0, {{0, 5}, {1, 6}}), {}).session_id;
  FetchRequest change = Consumer::request(id, 1, {{1, 60}, {3, 9}});
  auto& forgotten = change.forgotten_topics_data.emplace_back();
  forgotten.topic = "t";
  forgotten.partitions = {0};
  EXPECT_EQ(Consumer::partitions_of(consumer.ask(change, {})), (Rows{3}));
  EXPECT_EQ(consumer.last_asked, (Asked{{1, 60}, {3, 9}}));
  FetchRequest rest = Consumer::request(id, 2);
  rest.forgotten_topics_data.emplace_back();
  rest.forgotten_topics_data[0].topic = "t";
  rest.forgotten_topics_data[0].partitions = {1, 3};
  EXPECT_EQ(consumer.ask(rest, {}).session_id, 0);  // nothing is left to follow
  EXPECT_EQ(consumer.link.core().fetch_sessions.size(), 0u);
}

TEST(Case31FetchSession, RefusesAnUnknownIdAndAWrongEpoch) {
  Consumer consumer(12);
  EXPECT_EQ(consumer.ask(Consumer::request(77, 1), {}).error_code, wire(K::fetch_session_id_not_found));
  const int32_t id = consumer.ask(Consumer::request(0, 0, {{0, 5}}), {}).session_id;
  const FetchResponse wrong = consumer.ask(Consumer::request(id, 3), {});
  EXPECT_EQ(wrong.error_code, wire(K::invalid_fetch_session_epoch));
  EXPECT_TRUE(wrong.responses.empty());
  EXPECT_EQ(consumer.ask(Consumer::request(id, 1), {}).error_code, 0);
  EXPECT_EQ(consumer.ask(Consumer::request(id, 1), {}).error_code, wire(K::invalid_fetch_session_epoch));  // twice the same
}

TEST(Case31FetchSession, RefusesAChangeBetweenNamesAndIds) {
  Consumer consumer(12);
  const int32_t id = consumer.ask(Consumer::request(0, 0, {{0, 5}}), {}).session_id;
  consumer.version = 13;
  EXPECT_EQ(consumer.ask(Consumer::request(id, 1), {}).error_code, wire(K::fetch_session_topic_id_error));
}

TEST(Case31FetchSession, EndsWithEpochMinusOneAndWithANewFullFetch) {
  Consumer consumer(12);
  const int32_t first = consumer.ask(Consumer::request(0, 0, {{0, 5}}), {}).session_id;
  const int32_t second = consumer.ask(Consumer::request(first, 0, {{0, 5}}), {}).session_id;
  EXPECT_NE(first, second);
  EXPECT_EQ(consumer.link.core().fetch_sessions.size(), 1u);
  EXPECT_EQ(consumer.ask(Consumer::request(first, 1), {}).error_code, wire(K::fetch_session_id_not_found));
  const FetchResponse last = consumer.ask(Consumer::request(second, -1, {{0, 5}}), {});
  EXPECT_EQ(last.session_id, 0);
  EXPECT_EQ(Consumer::partitions_of(last), (Rows{0}));
  EXPECT_EQ(consumer.link.core().fetch_sessions.size(), 0u);
}

TEST(Case26FetchSession, WhatWasGivenComesLastTheNextTime) {
  Consumer consumer(12);
  const int32_t id = consumer.ask(Consumer::request(0, 0, {{0, 5}, {1, 6}, {2, 7}}), {}).session_id;
  consumer.ask(Consumer::request(id, 1), {{0, {.has_records = true}}});
  consumer.ask(Consumer::request(id, 2), {{1, {.has_records = true}}});
  EXPECT_EQ(consumer.last_asked, (Asked{{1, 6}, {2, 7}, {0, 5}}));
  consumer.ask(Consumer::request(id, 3), {});
  EXPECT_EQ(consumer.last_asked, (Asked{{2, 7}, {0, 5}, {1, 6}}));
}

TEST(Case31FetchSession, WithoutRoomAFetchHasNone) {
  KafkaOptions options;
  options.fetch_sessions_max = 0;
  Consumer consumer(12, options);
  const FetchResponse answer = consumer.ask(Consumer::request(0, 0, {{0, 5}}), {});
  EXPECT_EQ(answer.session_id, 0);
  EXPECT_EQ(Consumer::partitions_of(answer), (Rows{0}));
  EXPECT_EQ(consumer.link.metrics().fetch_sessions_refused_total, 1u);
}

// ---- The table ----

std::shared_ptr<FetchSession> session_of(int partitions) {
  auto session = std::make_shared<FetchSession>();
  for (int i = 0; i < partitions; ++i) {
    FetchSessionPartition one;
    one.topic = "t";
    one.partition = i;
    session->put(std::move(one));
  }
  return session;
}

TEST(FetchSessions, MakeRoomFromIdleOnesThenFromSmallerOnes) {
  FetchSessions sessions({.sessions_max = 2, .partitions_max = 100, .idle = Duration::seconds(120)});
  const Instant start{Duration::seconds(1000).ns};
  const auto small = session_of(1), large = session_of(10);
  ASSERT_TRUE(sessions.open(large, false, start));
  ASSERT_TRUE(sessions.open(small, false, start + Duration::seconds(1)));
  EXPECT_FALSE(sessions.open(session_of(1), false, start + Duration::seconds(2)));  // none is idle, none smaller
  EXPECT_TRUE(sessions.open(session_of(2), false, start + Duration::seconds(2)));   // in the place of the small one
  EXPECT_EQ(sessions.find(small->id(), 1, false, start).error, K::fetch_session_id_not_found);
  EXPECT_TRUE(sessions.open(session_of(1), false, start + Duration::seconds(121)));  // in the place of the idle one
  EXPECT_EQ(sessions.find(large->id(), 1, false, start).error, K::fetch_session_id_not_found);
  EXPECT_EQ(sessions.size(), 2u);
  EXPECT_EQ(sessions.evicted(), 2u);
}

TEST(FetchSessions, BoundThePartitionsOfAllTogether) {
  FetchSessions sessions({.sessions_max = 10, .partitions_max = 10, .idle = Duration::seconds(120)});
  EXPECT_FALSE(sessions.open(session_of(11), false, {}));
  const auto grows = session_of(6);
  ASSERT_TRUE(sessions.open(grows, false, {}));
  ASSERT_TRUE(sessions.open(session_of(4), false, {}));
  FetchSessionPartition more;
  more.partition = 99;
  grows->put(more);
  sessions.recount(*grows);  // over the limit by what the client added: its session ends
  EXPECT_EQ(sessions.partitions(), 4u);
  EXPECT_EQ(sessions.find(grows->id(), 1, false, {}).error, K::fetch_session_id_not_found);
}

TEST(FetchSessions, EpochsComeRoundToOne) {
  FetchSessions sessions({});
  const auto session = session_of(1);
  ASSERT_TRUE(sessions.open(session, false, {}));
  for (int32_t epoch = 1; epoch <= 1000; ++epoch) ASSERT_TRUE(sessions.find(session->id(), epoch, false, {}).session);
  EXPECT_EQ(sessions.find(session->id(), 0, false, {}).error, K::invalid_fetch_session_epoch);
}

TEST(CoreShare, IsAPartOfTheNodesLimits) {
  KafkaOptions options;
  options.request_memory_bytes = 100 << 20;
  CoreShare share(options, 4, 1);
  share.budget.change(0, 25 << 20);
  EXPECT_FALSE(share.budget.is_over());
  share.budget.change(0, 1);
  EXPECT_TRUE(share.budget.is_over()) << "a quarter of the node's";
}

}  // namespace
}  // namespace robustmq::kafka
