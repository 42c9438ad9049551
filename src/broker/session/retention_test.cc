// What streams keep for stored sessions: nothing that one is owed goes by retention, by size or by DeleteRecords; nothing that
// none is owed stays; and no message that a producer was told of lacks its reference, wherever the power goes. ADR 0007.
#include <gtest/gtest.h>

#include <random>

#include "broker/session/session_rig.h"

namespace robustmq::broker {
namespace {

using runtime::sim::CrashKind;
using test::Client;
using test::Got;
using test::SessionRig;
using Values = std::vector<std::string>;

class SessionRetentionTest : public testing::TestWithParam<int>, public SessionRig {
 protected:
  explicit SessionRetentionTest(uint64_t seed = 11) : SessionRig(static_cast<CoreIndex>(GetParam()), seed) {
    TopicRule kept;
    kept.filter = "kept/#";
    kept.topic = "kept";
    TopicRule other = kept;
    other.filter = "other/#";
    other.topic = "other";
    TopicRule memory_stream = kept;
    memory_stream.filter = "ram/#";
    memory_stream.topic = "ram";
    memory_stream.mode = meta::Mode::memory;
    set_rules({kept, other, memory_stream});
    start();
    for (const char* name : {"kept", "other", "ram"}) {
      metas[0]->configure_topic(metas[0]->find(kDefaultTenant, name)->id, {{"segment_bytes", "65536"}, {"retention_ms", "1000"}},
                                false, [](const auto& changed) { EXPECT_TRUE(changed.ok()); });
    }
  }
  void leave(const std::string& id, const std::string& filter) {
    Client& client = connect(id);
    resume(client, id);
    follow(client, filter, 1);
    close(client);
  }
  // Numbered messages of 4,000 bytes.
  Values fill(const std::string& topic, int count) {
    Client& publisher = connect("p");
    Values values;
    for (int n = 0; n < count; ++n) {
      values.push_back(std::to_string(n) + std::string(4000, 'x'));
      EXPECT_EQ(publish(publisher, topic, values.back(), 1), Code::ok);
    }
    return values;
  }
  void settle_all(Client& client) {
    Settle request;
    for (const Got& got : client.received) request.leases.push_back({got.lease, Settle::Outcome::done});
    ask(client, std::move(request));
  }
  // Long enough for the retention to look twice, and for sessions to be flushed before.
  void let_retention_look() { world.run_for(Duration::millis(3 * broker_options.retention_check_ms + 5000)); }
  Offset first_offset(const std::string& stream) {
    ListOffsets request;
    request.topics.push_back({stream, {}});
    request.partitions.push_back({0, 0, -1, ListOffsetsPartition::What::earliest, 0});
    return ask_for<ListedOffsets>(connect("asks"), std::move(request)).partitions.at(0).offset;
  }
  uint64_t bytes_of(const std::string& stream) {
    DescribeLogs request;
    request.topics.push_back({stream, {}});
    request.partitions.push_back({0, 0});
    return ask_for<DescribedLogs>(connect("asks"), std::move(request)).partitions.at(0).size_bytes;
  }
  uint64_t lost() {
    uint64_t lost = 0;
    for (const auto& hall : halls) lost += hall->session_metrics().messages_lost_total;
    return lost;
  }
  int64_t held() {
    int64_t held = 0;
    for (const auto& hall : halls) held += hall->session_metrics().partitions_held;
    return held;
  }
};
INSTANTIATE_TEST_SUITE_P(Cores, SessionRetentionTest, testing::Values(1, 3), testing::PrintToStringParamName());

TEST_P(SessionRetentionTest, KeepsWhatIsOwedHoweverOldAndDropsItOnceItIsAcknowledged) {
  leave("away", "kept/x");
  const Values all = fill("kept/x", 60);
  let_retention_look();
  restart(CrashKind::power);
  let_retention_look();
  EXPECT_EQ(first_offset("kept"), 0);
  EXPECT_EQ(held(), 1);
  Client& back = connect("away");
  resume(back, "away", 100);
  let_retention_look();
  ASSERT_EQ(back.values(), all);
  EXPECT_EQ(first_offset("kept"), 0);  // handed out, not acknowledged
  settle_all(back);
  let_retention_look();
  EXPECT_GT(first_offset("kept"), 40);
  EXPECT_LT(bytes_of("kept"), 140'000u);
  EXPECT_EQ(lost(), 0u);
  EXPECT_EQ(held(), 0);
}

TEST_P(SessionRetentionTest, DropsWhatNobodyIsOwedAsEver) {
  leave("away", "other/x");
  const Values owed = fill("other/x", 30);
  fill("kept/x", 60);
  leave("late", "kept/x");  // is owed none of it
  let_retention_look();
  EXPECT_GT(first_offset("kept"), 40);
  EXPECT_EQ(first_offset("other"), 0);
  Client& back = connect("away");
  resume(back, "away", 100);
  settle();
  EXPECT_EQ(back.values(), owed);
}

TEST_P(SessionRetentionTest, KeepsFromTheOldestThatIsOwedOn) {
  fill("kept/x", 40);
  leave("away", "kept/x");
  const Values owed = fill("kept/x", 40);
  let_retention_look();
  EXPECT_GT(first_offset("kept"), 20);
  EXPECT_LE(first_offset("kept"), 40);
  Client& back = connect("away");
  resume(back, "away", 100);
  settle();
  EXPECT_EQ(back.values(), owed);
}

TEST_P(SessionRetentionTest, EndsWithTheBoundOfTheSession) {
  options.messages_max = 10;
  restart(CrashKind::process);
  leave("away", "kept/x");
  const Values all = fill("kept/x", 160);
  let_retention_look();
  EXPECT_GT(first_offset("kept"), 60);
  Client& back = connect("away");
  resume(back, "away", 100);
  settle();
  EXPECT_EQ(back.values(), Values(all.end() - 10, all.end()));
}

TEST_P(SessionRetentionTest, DeletedRecordsAreGoneForReadersAndStayForSessions) {
  leave("away", "kept/x");
  const Values all = fill("kept/x", 60);
  DeleteRecords request;
  request.topics.push_back({"kept", {}});
  request.partitions.push_back({0, 0, -1});
  const DeletedRecords deleted = ask_for<DeletedRecords>(connect("admin"), std::move(request));
  EXPECT_EQ(deleted.partitions.at(0).code, Code::ok);
  EXPECT_EQ(deleted.partitions.at(0).log_start, 60);
  EXPECT_EQ(first_offset("kept"), 60);
  restart(CrashKind::power);
  let_retention_look();
  EXPECT_EQ(first_offset("kept"), 60);
  Fetch fetch;
  fetch.topics.push_back({"kept", {}});
  fetch.partitions.push_back({0, 0, 10, -1, 1 << 20});
  EXPECT_EQ(ask_for<FetchReply>(connect("reader"), std::move(fetch)).partitions.at(0).code, Code::offset_out_of_range);
  Client& back = connect("away");
  resume(back, "away", 100);
  settle();
  ASSERT_EQ(back.values(), all);
  EXPECT_GT(bytes_of("kept"), 200'000u);
  settle_all(back);
  let_retention_look();
  EXPECT_LT(bytes_of("kept"), 140'000u);
  EXPECT_EQ(first_offset("kept"), 60);
}

TEST_P(SessionRetentionTest, AStreamInMemoryDropsAsItIsToldAndItsSessionsMissNothing) {
  leave("away", "ram/x");
  const Values all = fill("ram/x", 60);
  let_retention_look();
  EXPECT_GE(first_offset("ram") & 0xffffffff, 59);
  Client& back = connect("away");
  resume(back, "away", 100);
  settle();
  EXPECT_EQ(back.values(), all);
}

// A producer that was not told sends its batch again under the same sequence: the shard has it or not, the session is owed it
// once in both cases.
TEST_P(SessionRetentionTest, OwesWhatAnIdempotentProducerSentWhereverThePowerGoes) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  options.spool_segment_bytes = 1 << 16;  // so that the spool begins files
  restart(CrashKind::process);
  leave("away", "kept/#");
  Values sent;
  for (int round = 0; round < 40; ++round) {
    const size_t bytes = random() % 2 == 0 ? 40'000 : 500;
    sent.push_back(std::to_string(round) + std::string(bytes, 'x'));
    const auto produce = [&] {
      BatchBuilder builder;
      builder.set_producer(7, 0, round);
      builder.begin_record(node.core(0).wall_now().ms, std::nullopt, as_bytes(sent.back()));
      builder.end_record();
      Produce request;
      request.topics.push_back({"kept", {}});
      request.partitions.push_back({0, 0, builder.finish(), {}});
      return request;
    };
    Client& first = connect("k");
    first.hall->execute(first.context, produce(), [](const Reply&) {});
    world.run_for(Duration::micros(static_cast<int64_t>(random() % 3000)));
    restart(CrashKind::power);
    const Produced produced = ask_for<Produced>(connect("k"), produce());
    ASSERT_EQ(produced.partitions.at(0).code, Code::ok) << "round " << round << " " << produced.partitions[0].detail;
  }
  Client& back = connect("away");
  resume(back, "away", 100);
  settle();
  ASSERT_EQ(back.received.size(), sent.size());
  EXPECT_EQ(back.values(), sent);
}

}  // namespace
}  // namespace robustmq::broker
