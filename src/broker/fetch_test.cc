// What a fetch waits for and what bounds its answer (KIP-74), over one core and three; topics made when a client asks for them.
#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "broker/hall_rig.h"

namespace robustmq::broker {
namespace {

constexpr int32_t kPartitions = 4;

Bytes batch_of(char letter) {
  BatchBuilder builder;
  builder.begin_record(1000, std::nullopt, as_bytes(std::string(1000, letter)));
  builder.end_record();
  return builder.finish();
}

class FetchTest : public testing::TestWithParam<int> {
 protected:
  FetchTest() : rig(GetParam()) {}
  void start() {
    TopicRule rule;
    rule.filter = "t/#";
    rule.topic = "t";
    rule.partitions = kPartitions;
    rule.mode = meta::Mode::memory;
    rig.start({rule});
  }
  void produce(int32_t partition, char letter = 'x') {
    Produce request;
    request.topics.push_back({"t", {}});
    request.partitions.push_back({0, partition, batch_of(letter), {}});
    const auto done = rig.ask_for<Produced>(rig.client(1), std::move(request));
    ASSERT_EQ(done.partitions.at(0).code, Code::ok);
  }
  // All partitions from their beginnings.
  Fetch fetch_all(int32_t partition_bytes_max = 1 << 20) {
    const Offset first = static_cast<Offset>(rig.catalog.starts) << 32;  // of a log in memory, by this start of the node
    Fetch request;
    request.topics.push_back({"t", {}});
    for (int32_t p = 0; p < kPartitions; ++p) request.partitions.push_back({0, p, first, -1, partition_bytes_max});
    return request;
  }
  uint64_t bytes_of(Fetch request) {
    const auto reply = rig.ask_for<FetchReply>(rig.client(0), std::move(request));
    uint64_t bytes = 0;
    for (const FetchedPartition& each : reply.partitions) {
      EXPECT_EQ(each.code, Code::ok);
      bytes += size_of(each.batches);
    }
    return bytes;
  }

  const uint64_t batch_bytes = batch_of('x').size();
  HallRig rig;
};
INSTANTIATE_TEST_SUITE_P(Cores, FetchTest, testing::Values(1, 3), testing::PrintToStringParamName());

TEST_P(FetchTest, WaitsForAsManyBytesAsItAsksFor) {
  start();
  RigClient& reader = rig.client(0);
  Fetch request = fetch_all();
  request.bytes_min = static_cast<int32_t>(3 * batch_bytes);
  request.wait_max_ms = 60'000;
  std::optional<Reply> reply;
  reader.hall->execute(reader.context, std::move(request), [&](Reply answer) { reply = std::move(answer); });
  for (int32_t p : {0, 1}) {
    produce(p);
    rig.settle(Duration::seconds(1));
    EXPECT_FALSE(reply.has_value()) << "after " << p + 1 << " batches";
  }
  produce(2);
  ASSERT_TRUE(rig.world.run_until([&] { return reply.has_value(); }, Duration::millis(100)));
  uint64_t bytes = 0;
  for (const FetchedPartition& each : std::get<FetchReply>(*reply).partitions) bytes += size_of(each.batches);
  EXPECT_EQ(bytes, 3 * batch_bytes);
}

TEST_P(FetchTest, SharesItsLimitAmongPartitionsOfAllCores) {
  start();
  for (int32_t p = 0; p < kPartitions; ++p) produce(p);
  EXPECT_EQ(bytes_of(fetch_all()), kPartitions * batch_bytes);
  Fetch request = fetch_all();
  request.bytes_max = static_cast<int32_t>(batch_bytes * 5 / 2);
  EXPECT_EQ(bytes_of(std::move(request)), 2 * batch_bytes);
}

TEST_P(FetchTest, HoldsToALimitAPartition) {
  start();
  for (int32_t p = 0; p < kPartitions; ++p) {
    for (int i = 0; i < 3; ++i) produce(p);
  }
  EXPECT_EQ(bytes_of(fetch_all(static_cast<int32_t>(batch_bytes * 5 / 2))), kPartitions * 2 * batch_bytes);
}

TEST_P(FetchTest, Case26GivesTheFirstBatchThoughItIsOverEveryLimit) {
  start();
  for (int32_t p = 0; p < kPartitions; ++p) {
    for (int i = 0; i < 2; ++i) produce(p);
  }
  Fetch request = fetch_all(1);
  request.bytes_max = 1;
  EXPECT_EQ(bytes_of(std::move(request)), batch_bytes) << "one batch of one partition, so that a reader gets on";
}

TEST_P(FetchTest, MakesTopicsThatAreAskedForAsTheOptionsSay) {
  for (const bool is_allowed : {false, true}) {
    rig.options.auto_create_topics = is_allowed;
    rig.options.default_partitions = 7;
    start();
    for (const bool is_asked : {false, true}) {
      DescribeTopics request;
      request.topics.push_back({"made.by.asking", {}});
      request.auto_create = is_asked;
      const auto described = rig.ask_for<DescribedTopics>(rig.client(1), std::move(request));
      ASSERT_EQ(described.topics.size(), 1u);
      if (!is_allowed || !is_asked) {
        EXPECT_EQ(described.topics[0].code, Code::unknown_topic) << is_allowed << is_asked;
        continue;
      }
      EXPECT_EQ(described.topics[0].code, Code::ok);
      EXPECT_EQ(described.topics[0].facts.partitions, 7);
    }
    rig.crash(runtime::sim::CrashKind::process);
  }
}

}  // namespace
}  // namespace robustmq::broker
