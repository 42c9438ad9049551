// Modes of streams as clients meet them: changes while messages come, with crashes in between. What was acknowledged is owed to
// stored sessions whatever the mode, and in mode persistent it is in the stream.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "broker/session/session_rig.h"

namespace robustmq::broker::test {
namespace {

using runtime::sim::CrashKind;

class Modes : public SessionRig, public ::testing::TestWithParam<int> {
 protected:
  Modes() : SessionRig(static_cast<CoreIndex>(1 + GetParam() % 2), static_cast<uint64_t>(GetParam())) {}

  Code set_mode(const std::string& topic, const std::string& mode) {
    ConfigureTopics::One one{topic, false, {{"mode", mode, {}}}};
    return ask_for<ConfiguredTopics>(connect("admin"), ConfigureTopics{{one}, false}).topics.at(0).code;
  }
  Bytes batch_of(const std::string& value) {
    BatchBuilder builder;
    builder.begin_record(node.core(0).wall_now().ms, std::nullopt, as_bytes(value));
    builder.end_record();
    return builder.finish();
  }
  ProducedPartition produce(const std::string& topic, int32_t partition, const std::string& value) {
    Produce request;
    request.topics.push_back({topic, {}});
    ProducePartition& one = request.partitions.emplace_back();
    one.partition = partition;
    one.batch = batch_of(value);
    return ask_for<Produced>(kafka(), std::move(request)).partitions.at(0);
  }
  Offset earliest(const std::string& topic) {
    ListOffsets request;
    request.topics.push_back({topic, {}});
    request.partitions.push_back({0, 0, -1, ListOffsetsPartition::What::earliest, 0});
    return ask_for<ListedOffsets>(kafka(), std::move(request)).partitions.at(0).offset;
  }
  // Values of a partition from `from` on, as a consumer comes by them, and where it ends.
  std::vector<std::string> consume(const std::string& topic, int32_t partition, Offset& from) {
    std::vector<std::string> values;
    for (int fetches = 0; fetches < 10'000; ++fetches) {
      Fetch fetch;
      fetch.topics.push_back({topic, {}});
      FetchPartition& one = fetch.partitions.emplace_back();
      one.partition = partition;
      one.from = from;
      one.bytes_max = 1 << 20;
      const FetchReply reply = ask_for<FetchReply>(kafka(), std::move(fetch));
      EXPECT_EQ(reply.partitions.at(0).code, Code::ok);
      if (reply.partitions.at(0).code != Code::ok || from >= reply.partitions[0].high_watermark) break;
      const Offset before = from;
      Buffer bytes;
      for (const Piece& piece : reply.partitions[0].batches) {
        if (!piece.is_stored()) {
          bytes.append(piece.bytes.span());
          continue;
        }
        auto file = std::static_pointer_cast<runtime::File>(std::const_pointer_cast<ByteSource>(piece.stored.source));
        std::optional<Result<Bytes>> read;
        node.core(0).disk().read(file, piece.stored.position, piece.size, [&](Result<Bytes> got) { read = std::move(got); });
        EXPECT_TRUE(world.run_until([&] { return read.has_value(); }, Duration::seconds(10)));
        bytes.append((*read)->span());
      }
      for (ByteSpan rest = bytes.span(); !rest.empty();) {
        const size_t size = *BatchView::size_at(rest);
        const BatchView batch(rest.first(size));
        EXPECT_TRUE(batch.base_offset() <= from || batch.base_offset() % (Offset{1} << 32) == 0) << "a gap that no restart left";
        from = batch.next_offset();
        RecordReader records(batch, batch.records());
        RecordView record;
        while (batch.record_count() > 0 && records.next(record)) values.emplace_back(as_text(*record.value));
        rest = rest.subspan(size);
      }
      EXPECT_GT(from, before) << "a consumer that gets nowhere";
      if (from <= before) break;
    }
    return values;
  }
};

TEST_P(Modes, AStoredSessionGetsEveryAcknowledgedMessage) {
  std::mt19937_64 random(static_cast<uint64_t>(GetParam()));
  start();
  add_topic("orders", 1);
  Client& reader = connect("s");
  resume(reader, "s");
  follow(reader, "orders", 1);
  close(reader);
  const char* modes[] = {"none", "memory", "hybrid", "persistent"};
  std::set<std::string> acknowledged;
  int number = 0;
  for (int round = 0; round < 4; ++round) {
    Client* publisher = &connect("p");
    for (int step = 0; step < 40; ++step) {
      // A change while messages are on their way.
      if (random() % 6 == 0) {
        ConfigureTopics request{{{"orders", false, {{"mode", modes[random() % 4], {}}}}}, false};
        Client& admin = connect("admin");
        admin.hall->execute(admin.context, std::move(request), [](const Reply&) {});
      }
      const std::string value = std::to_string(++number);
      if (publish(*publisher, "orders", value) == Code::ok) acknowledged.insert(value);
      if (random() % 8 == 0) world.run_for(Duration::micros(static_cast<int64_t>(random() % 40'000)));
      if (random() % 3 != 0) continue;
      world.run_for(Duration::millis(1));
    }
    world.run_for(Duration::millis(static_cast<int64_t>(random() % 3)));
    if (random() % 3 != 0) restart(random() % 2 == 0 ? CrashKind::power : CrashKind::process);
  }
  Client& back = connect("s");
  resume(back, "s", 1000);
  world.run_for(Duration::seconds(2));
  const auto values = back.values();
  const std::set<std::string> got(values.begin(), values.end());
  for (const std::string& value : acknowledged) EXPECT_TRUE(got.contains(value)) << value;
}

TEST_P(Modes, ConsumersReadThroughChangesAndCrashes) {
  std::mt19937_64 random(static_cast<uint64_t>(GetParam()) * 31);
  start();
  add_topic("orders", 1);
  const char* modes[] = {"memory", "hybrid", "persistent"};
  std::vector<std::string> durable;  // acknowledged while the topic was persistent, or there when it became so
  std::vector<std::string> all;
  std::set<Offset> offsets;
  int number = 0;
  for (int round = 0; round < 5; ++round) {
    for (int step = 0; step < 12; ++step) {
      const std::string mode = modes[random() % 3];
      ASSERT_EQ(set_mode("orders", mode), Code::ok);
      if (mode == "persistent") durable = all;
      for (int i = 0; i < 4; ++i) {
        const std::string value = std::to_string(++number);
        const ProducedPartition produced = produce("orders", 0, value);
        ASSERT_EQ(produced.code, Code::ok);
        EXPECT_TRUE(offsets.insert(produced.base_offset).second) << "given twice";
        EXPECT_EQ(*offsets.rbegin(), produced.base_offset);
        all.push_back(value);
        if (mode == "persistent") durable = all;
      }
    }
    Offset from = earliest("orders");
    EXPECT_EQ(consume("orders", 0, from), all);
    restart(random() % 2 == 0 ? CrashKind::power : CrashKind::process);
    Offset start_at = earliest("orders");
    all = consume("orders", 0, start_at);
    ASSERT_GE(all.size(), durable.size());
    EXPECT_TRUE(std::equal(durable.begin(), durable.end(), all.begin()));
  }
}

TEST_P(Modes, ATopicOfModeNoneIsUnknownToReadersAndComesBackBehind) {
  start();
  add_topic("orders", 1);
  EXPECT_EQ(produce("orders", 0, "a").base_offset, 0);
  ASSERT_EQ(set_mode("orders", "none"), Code::ok);
  EXPECT_EQ(produce("orders", 0, "b").code, Code::unknown_topic);
  EXPECT_EQ(ask_for<DescribedTopics>(kafka(), DescribeTopics{.topics = {{"orders", {}}}}).topics.at(0).code, Code::unknown_topic);
  EXPECT_EQ(
      ask_for<DescribedTopics>(kafka(), DescribeTopics{.with_unstored = true, .topics = {{"orders", {}}}}).topics.at(0).code,
      Code::ok);
  restart(CrashKind::power);
  ASSERT_EQ(set_mode("orders", "hybrid"), Code::ok);
  EXPECT_GE(produce("orders", 0, "c").base_offset, catalog.starts << 32);
  Offset from = 0;
  EXPECT_EQ(consume("orders", 0, from), (std::vector<std::string>{"a", "c"}));
}

TEST_P(Modes, AFullDiskLeavesTheModeAsItWas) {
  start();
  add_topic("orders", 2, meta::Mode::memory);
  for (int i = 0; i < 20; ++i) ASSERT_EQ(produce("orders", i % 2, std::string(100, 'x')).code, Code::ok);
  append_faults.fate = [](const ShardId& id, const BatchView&) {
    return id.partition == 1 ? AppendFaults::Fate::fails : AppendFaults::Fate::goes;
  };
  EXPECT_EQ(set_mode("orders", "persistent"), Code::storage_full);
  append_faults.fate = [](const ShardId&, const BatchView&) { return AppendFaults::Fate::goes; };
  EXPECT_EQ(catalog.topics.at("orders")->config.mode, meta::Mode::memory);
  EXPECT_EQ(produce("orders", 1, "more").code, Code::ok);
  EXPECT_EQ(set_mode("orders", "persistent"), Code::ok);
  restart(CrashKind::power);
  Offset from = catalog.starts << 32;
  from = Offset{catalog.starts - 1} << 32;
  EXPECT_EQ(consume("orders", 1, from).size(), 11u);
}

INSTANTIATE_TEST_SUITE_P(Seeds, Modes, ::testing::Range(1, 9));

}  // namespace
}  // namespace robustmq::broker::test
