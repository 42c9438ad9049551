// Framing, header, order, limits and closing of a Kafka link.
#include "protocol/kafka/connection.h"

#include <gtest/gtest.h>

#include "protocol/kafka/api/features.h"
#include "protocol/kafka/errors.h"
#include "protocol/kafka/frames/all.h"
#include "protocol/kafka/testing.h"

namespace robustmq::kafka {
namespace {

std::string raw_request(int16_t key, int16_t version, int32_t correlation_id, std::string_view rest) {
  std::string bytes(12, '\0');
  Writer writer(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size());
  writer.i32(static_cast<int32_t>(8 + rest.size()));
  writer.i16(key);
  writer.i16(version);
  writer.i32(correlation_id);
  return bytes + std::string(rest);
}

std::string api_versions(int32_t correlation_id) { return request_bytes(ApiVersionsRequest{}, 0, correlation_id); }

Bytes good_batch(std::string_view value = "value") {
  BatchBuilder builder;
  builder.begin_record(1'700'000'000'000, std::nullopt, as_bytes(value));
  builder.end_record();
  return builder.finish();
}

std::string produce(int32_t correlation_id, int16_t acks = 1) {
  ProduceRequest request;
  request.acks = acks;
  request.topic_data.push_back({"t", {}, {{0, good_batch()}}});
  return request_bytes(request, 7, correlation_id);
}
std::string fetch(int32_t correlation_id) {
  FetchRequest request;
  request.max_wait_ms = 500;
  request.min_bytes = 1;
  request.topics.push_back({"t", {}, {{.partition = 0, .fetch_offset = 0, .partition_max_bytes = 1000}}});
  return request_bytes(request, 11, correlation_id);
}
broker::Produced produced(Offset base) { return {{{.base_offset = base}}}; }

TEST(Connection, AnswersApiVersionsFromTheTable) {
  for (int version = 0; version <= 4; ++version) {
    ConnectionHarness link;
    ApiVersionsRequest request;
    request.client_software_name = "apache-kafka-java";
    request.client_software_version = "4.3.0";
    link.feed(request_bytes(request, version, 77));
    auto answer = link.take<ApiVersionsResponse>(version);
    EXPECT_EQ(answer.fault, "");
    EXPECT_EQ(answer.correlation_id, 77);
    EXPECT_EQ(answer.body.error_code, 0);
    ASSERT_EQ(answer.body.api_keys.size(), std::size(kApis));
    EXPECT_EQ(answer.body.api_keys[0].api_key, 0);
    EXPECT_EQ(answer.body.api_keys[0].min_version, 0);
    EXPECT_EQ(answer.body.api_keys[0].max_version, 13);
    // Tags of version 3 and later; a feature that may be off is not for clients before 4.
    EXPECT_EQ(answer.body.supported_features.empty(), version < 4);
    EXPECT_EQ(answer.body.finalized_features.size(), version >= 3 ? std::size(kFeatures) : 0u);
    EXPECT_EQ(answer.body.finalized_features_epoch, version >= 3 ? kFeaturesEpoch : -1);
  }
}

TEST(Connection, AnswersANewerApiVersionsInTheOldestLayout) {
  ConnectionHarness link;
  link.feed(raw_request(18, 9, 5, "\xff whatever a later version has"));
  // Byte for byte: size, correlation id, error 35, one row: key 18, versions 0 to 4.
  EXPECT_EQ(link.output(), std::string("\0\0\0\x10\0\0\0\x05\0\x23\0\0\0\x01\0\x12\0\0\0\x04", 20));
  EXPECT_EQ(link.why(), CloseWhy::none);
  link.feed(api_versions(6));
  link.clear_output();
  EXPECT_EQ(link.why(), CloseWhy::none);
}

TEST(Connection, AnswersTheGoldenBytesOfApiVersions0) {
  ConnectionHarness link;
  link.feed(std::string("\0\0\0\x0e\0\x12\0\0\0\0\0\x01\0\x04kcat", 18));
  ASSERT_TRUE(link.has_answer());
  // Rows of 6 bytes behind size, correlation id, error and count; the first is Produce 0 to 13.
  constexpr size_t kRows = std::size(kApis);
  constexpr size_t kSize = 4 + 2 + 4 + kRows * 6;
  static_assert(kRows < 256 && kSize < 65'536);
  EXPECT_EQ(link.output().size(), 4 + kSize);
  std::string expected("\0\0..\0\0\0\x01\0\0\0\0\0.\0\0\0\0\0\x0d", 20);
  expected[2] = static_cast<char>(kSize >> 8);
  expected[3] = static_cast<char>(kSize & 0xff);
  expected[13] = static_cast<char>(kRows);
  EXPECT_EQ(link.output().substr(0, 20), expected);
}

TEST(Connection, RefusesASoftwareNameThatIsNone) {
  for (const char* name : {"", "-java", "java-", "ja va", "j\xc3\xa4va"}) {
    ConnectionHarness link;
    ApiVersionsRequest request;
    request.client_software_name = name;
    request.client_software_version = "1.0";
    link.feed(request_bytes(request, 3, 1));
    auto answer = link.take<ApiVersionsResponse>(3);
    EXPECT_EQ(answer.body.error_code, wire(KafkaError::invalid_request)) << name;
  }
}

TEST(Connection, TakesClientIdsThatAreNullOrEmpty) {
  ConnectionHarness link;
  link.feed(raw_request(18, 0, 1, std::string_view("\xff\xff", 2)));
  link.feed(raw_request(18, 0, 2, std::string_view("\0\0", 2)));
  EXPECT_EQ(link.take<ApiVersionsResponse>(0).correlation_id, 1);
  EXPECT_EQ(link.take<ApiVersionsResponse>(0).correlation_id, 2);
}

TEST(Connection, ClosesOnWhatIsNotServed) {
  struct Case {
    int16_t key, version;
  };
  for (const Case& one :
       {Case{17, 1}, Case{4, 0}, Case{-1, 0}, Case{999, 0}, Case{0, 2}, Case{0, 14}, Case{1, 3}, Case{22, 6}, Case{3, -1}}) {
    ConnectionHarness link;
    link.feed(raw_request(one.key, one.version, 1, std::string_view("\0\0", 2)));
    EXPECT_EQ(link.why(), CloseWhy::not_supported) << one.key << " " << one.version;
    EXPECT_EQ(link.detail(), "API key " + std::to_string(one.key) + " version " + std::to_string(one.version) + " is not served");
    EXPECT_EQ(link.metrics().requests_not_supported_total, 1u);
    EXPECT_EQ(link.output(), "");
  }
}

TEST(Connection, ClosesOnGarbageAtOnce) {
  {
    ConnectionHarness link;
    link.feed("GET / HTTP/1.1\r\n");
    EXPECT_EQ(link.why(), CloseWhy::over_limit);
  }
  {
    ConnectionHarness link;
    link.feed(std::string_view("\xff\xff\xff\xff", 4));
    EXPECT_EQ(link.why(), CloseWhy::protocol_error);
  }
  {
    ConnectionHarness link;
    link.feed(std::string_view("\0\0\0\x07", 4));
    EXPECT_EQ(link.why(), CloseWhy::protocol_error);
  }
  {
    // A size that could be, of a request that could not: nothing waits for the rest of it.
    ConnectionHarness link;
    link.feed(std::string_view("\0\x01\0\0\x16\x03\x01\x02", 8));
    EXPECT_EQ(link.why(), CloseWhy::not_supported);
  }
}

TEST(Connection, ClosesOnAMalformedBodyWithItsName) {
  ConnectionHarness link;
  link.feed(raw_request(12, 0, 1, std::string_view("\0\0\0\x05grp", 7)));
  EXPECT_EQ(link.why(), CloseWhy::protocol_error);
  EXPECT_EQ(link.detail(), "Heartbeat version 0: a string is too long");
  EXPECT_EQ(link.metrics().requests_malformed_total, 1u);
}

TEST(Connection, AnswersInTheOrderOfTheRequests) {
  ConnectionHarness link;
  link.feed(produce(1) + produce(2) + produce(3));
  ASSERT_EQ(link.calls().size(), 3u);
  std::vector<CallId> ids;
  for (auto& [id, request] : link.calls()) ids.push_back(id);
  link.reply(ids[2], produced(30));
  link.reply(ids[0], produced(10));
  EXPECT_EQ(link.take<ProduceResponse>(7).correlation_id, 1);
  EXPECT_FALSE(link.has_answer());
  link.reply(ids[1], produced(20));
  auto second = link.take<ProduceResponse>(7);
  EXPECT_EQ(second.correlation_id, 2);
  EXPECT_EQ(second.body.responses[0].partition_responses[0].base_offset, 20);
  EXPECT_EQ(link.take<ProduceResponse>(7).body.responses[0].partition_responses[0].base_offset, 30);
}

TEST(Connection, BeginsOtherRequestsWhenAllBeforeAreAnswered) {
  ConnectionHarness link;
  link.feed(produce(1) + fetch(2) + produce(3) + api_versions(4));
  ASSERT_EQ(link.calls().size(), 1u);
  link.take_call<broker::Produce>();
  link.reply_to_taken(produced(0));
  EXPECT_EQ(link.take<ProduceResponse>(7).correlation_id, 1);
  // The parked fetch holds up what was sent behind it.
  ASSERT_EQ(link.calls().size(), 1u);
  link.take_call<broker::Fetch>();
  EXPECT_FALSE(link.had_wrong_kind());
  EXPECT_FALSE(link.has_answer());
  link.reply_to_taken(broker::FetchReply{{{}}});
  EXPECT_EQ(link.take<FetchResponse>(11).correlation_id, 2);
  link.take_call<broker::Produce>();
  link.reply_to_taken(produced(1));
  EXPECT_EQ(link.take<ProduceResponse>(7).correlation_id, 3);
  EXPECT_EQ(link.take<ApiVersionsResponse>(0).correlation_id, 4);
}

TEST(Connection, PausesAtItsLimitOfRequests) {
  KafkaOptions options;
  options.requests_in_flight_max = 2;
  ConnectionHarness link(options);
  link.feed(produce(1) + produce(2) + produce(3));
  EXPECT_TRUE(link.connection().is_paused());
  EXPECT_EQ(link.calls().size(), 2u);
  link.take_call<broker::Produce>();
  link.reply_to_taken(produced(0));
  EXPECT_EQ(link.calls().size(), 2u);  // the third began
  link.take_call<broker::Produce>();
  link.reply_to_taken(produced(1));
  EXPECT_FALSE(link.connection().is_paused());
}

TEST(Connection, GivesTheSameForAnyCutOfItsInput) {
  std::string input = api_versions(1) + produce(2) + produce(3) + api_versions(4) + fetch(5);
  auto play = [&](size_t step) {
    ConnectionHarness link;
    for (size_t at = 0; at < input.size(); at += step) link.feed(std::string_view(input).substr(at, step));
    std::string calls;
    for (int i = 0; i < 2; ++i) {
      link.take_call<broker::Produce>();
      link.reply_to_taken(produced(i));
    }
    auto fetched = link.take_call<broker::Fetch>();
    link.reply_to_taken(broker::FetchReply{{{.high_watermark = 7, .batches = {Piece::of(good_batch())}}}});
    EXPECT_FALSE(link.had_wrong_kind());
    EXPECT_EQ(link.why(), CloseWhy::none);
    return link.output();
  };
  const std::string whole = play(input.size());
  EXPECT_FALSE(whole.empty());
  for (size_t step : {1, 2, 3, 7, 50}) EXPECT_EQ(play(step), whole) << step;
}

TEST(Connection, SendsStoredBatchesAsTheyAre) {
  struct File : ByteSource {};
  auto file = std::make_shared<File>();
  ConnectionHarness link;
  link.feed(fetch(1));
  link.take_call<broker::Fetch>();
  const uint64_t big = 40 << 20;
  link.reply_to_taken(
      broker::FetchReply{{{.high_watermark = 9, .batches = {Piece::of(StoredRange{file, 0}, big), Piece::of(good_batch())}}}});
  // Header, stored range, memory: what follows the last records of version 11 is nothing.
  EXPECT_EQ(link.pieces_sent(), 3u);
  EXPECT_EQ(link.metrics().fetched_bytes_total, big + good_batch().size());
  auto answer = link.take<FetchResponse>(11);
  EXPECT_EQ(answer.fault, "");
  EXPECT_EQ(answer.body.responses[0].partitions[0].records->size(), big + good_batch().size());
}

TEST(Connection, HasTimeForItsFirstRequest) {
  {
    ConnectionHarness link;
    link.pass(Duration::seconds(9));
    EXPECT_EQ(link.why(), CloseWhy::none);
    link.pass(Duration::seconds(1));
    EXPECT_EQ(link.why(), CloseWhy::timed_out);
  }
  {
    ConnectionHarness link;
    const std::string request = api_versions(1);
    link.feed(request.substr(0, 10));  // half open
    link.pass(Duration::seconds(10));
    EXPECT_EQ(link.why(), CloseWhy::timed_out);
    EXPECT_EQ(link.detail(), "no request in time");
  }
  {
    ConnectionHarness link;
    link.feed(api_versions(1));
    link.pass(Duration::seconds(500));
    EXPECT_EQ(link.why(), CloseWhy::none);
  }
}

TEST(Connection, ClosesWhenARequestStaysHalfSent) {
  ConnectionHarness link;
  link.feed(api_versions(1));
  link.feed(produce(2).substr(0, 20));
  link.pass(Duration::seconds(59));
  EXPECT_EQ(link.why(), CloseWhy::none);
  link.pass(Duration::seconds(2));
  EXPECT_EQ(link.why(), CloseWhy::timed_out);
  EXPECT_EQ(link.detail(), "a request did not arrive whole in time");
}

TEST(Connection, ClosesWhenIdle) {
  ConnectionHarness link;
  link.feed(api_versions(1));
  link.pass(Duration::seconds(300));
  link.feed(api_versions(2));
  link.pass(Duration::seconds(599));
  EXPECT_EQ(link.why(), CloseWhy::none);
  link.pass(Duration::seconds(2));
  EXPECT_EQ(link.why(), CloseWhy::timed_out);
  EXPECT_EQ(link.detail(), "idle");
}

TEST(Connection, IsNotIdleWhileARequestIsAnswered) {
  ConnectionHarness link;
  link.feed(produce(1));
  link.pass(Duration::seconds(2000));
  EXPECT_EQ(link.why(), CloseWhy::none);
}

TEST(Connection, ClosesAReaderThatTakesNothing) {
  ConnectionHarness link;
  link.feed(fetch(1));
  link.take_call<broker::Fetch>();
  link.unsent_bytes = 2 << 20;  // and stays so
  link.reply_to_taken(broker::FetchReply{{{.high_watermark = 1, .batches = {Piece::of(good_batch())}}}});
  link.pass(Duration::seconds(29));
  EXPECT_EQ(link.why(), CloseWhy::none);
  link.unsent_bytes = (2 << 20) - 1;  // it takes a little
  link.pass(Duration::seconds(2));
  EXPECT_EQ(link.why(), CloseWhy::none);
  link.pass(Duration::seconds(60));
  EXPECT_EQ(link.why(), CloseWhy::slow_reader);
}

TEST(Connection, BeginsNothingWhileItsOutputIsFull) {
  ConnectionHarness link;
  link.unsent_bytes = 2 << 20;
  link.feed(produce(1));
  EXPECT_TRUE(link.calls().empty());
  link.unsent_bytes = 0;
  link.run([&](Outbox& out) { link.connection().on_drained(out); });
  EXPECT_EQ(link.calls().size(), 1u);
}

TEST(Connection, CallsOffAParkedFetchWhenTheClientGoes) {
  ConnectionHarness link;
  link.feed(fetch(1));
  ASSERT_EQ(link.calls().size(), 1u);
  const CallId id = link.calls().begin()->first;
  link.run([&](Outbox& out) { link.connection().on_peer_closed(out); });
  EXPECT_EQ(link.cancelled(), std::vector<CallId>{id});
  EXPECT_EQ(link.budget().used(), 0u);
}

TEST(Connection, StoresWhatWasProducedBeforeTheClientWent) {
  ConnectionHarness link;
  link.feed(produce(1, 0) + produce(2, 0));
  link.run([&](Outbox& out) { link.connection().on_peer_closed(out); });
  EXPECT_TRUE(link.cancelled().empty());
  EXPECT_EQ(link.calls().size(), 2u);
}

TEST(Connection, ClosesWhenTheNodeStops) {
  ConnectionHarness link;
  link.run([&](Outbox& out) { link.connection().on_notice(broker::Notice::stopping, out); });
  EXPECT_EQ(link.why(), CloseWhy::stopping);
}

TEST(Budget, CountsWhatWaitsAndGivesItBack) {
  ConnectionHarness link;
  const std::string request = produce(1);
  link.feed(request.substr(0, 30));
  EXPECT_EQ(link.budget().used(), 30u);
  link.feed(request.substr(30));
  EXPECT_EQ(link.budget().used(), request.size() - 4);
  link.take_call<broker::Produce>();
  link.reply_to_taken(produced(0));
  EXPECT_EQ(link.budget().used(), 0u);
}

TEST(Budget, StopsReadingRequestsThatAreNotWhole) {
  KafkaOptions options;
  options.request_memory_bytes = 1 << 16;
  ConnectionHarness link(options);
  const int other = 0;
  link.budget().change(0, 1 << 16);                // others hold all of it
  EXPECT_TRUE(link.budget().may_go_over(&other));  // and one of them goes on
  link.feed(api_versions(1));
  EXPECT_EQ(link.take<ApiVersionsResponse>(0).correlation_id, 1);  // what is there whole is answered
  link.feed(produce(2).substr(0, 30));
  EXPECT_TRUE(link.connection().is_paused());
  EXPECT_EQ(link.metrics().requests_over_memory_total, 1u);
  link.pass(Duration::seconds(100));  // waiting for memory is not the client's fault
  EXPECT_EQ(link.why(), CloseWhy::none);
  EXPECT_TRUE(link.connection().is_paused());
  link.budget().change(1 << 16, 0);
  link.pass(Duration::millis(10));
  EXPECT_FALSE(link.connection().is_paused());
  link.feed(produce(2).substr(30));
  EXPECT_EQ(link.calls().size(), 1u);
}

TEST(Budget, LetsOneGoOverSoThatItEnds) {
  KafkaOptions options;
  options.request_memory_bytes = 1 << 16;
  ConnectionHarness link(options);
  link.budget().change(0, 1 << 16);
  const std::string request = produce(1);
  link.feed(request.substr(0, 30));
  EXPECT_FALSE(link.connection().is_paused());
  const int other = 0;
  EXPECT_FALSE(link.budget().may_go_over(&other));
  link.feed(request.substr(30));
  EXPECT_TRUE(link.budget().may_go_over(&other));
}

}  // namespace
}  // namespace robustmq::kafka
