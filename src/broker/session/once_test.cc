// Wills and delayed messages reach a stored session once, wherever the power goes, in every kind of topic. MQTT5 3.1.2.5; ADR
// 0013.
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <random>

#include "broker/session/session_rig.h"

namespace robustmq::broker {
namespace {

using runtime::sim::CrashKind;
using test::Client;
using test::Got;
using test::SessionRig;
using Values = std::vector<std::string>;

constexpr const char* kTopics[] = {"light/x", "kept/x", "ram/x", "none/x", "rows/x"};

class OnceTest : public testing::TestWithParam<int>, public SessionRig {
 protected:
  OnceTest() : SessionRig(static_cast<CoreIndex>(GetParam())), seed_(std::random_device{}()), random_(seed_) {
    TopicRule kept;
    kept.filter = "kept/#";
    kept.topic = "kept";
    TopicRule memory_stream = kept;
    memory_stream.filter = "ram/#";
    memory_stream.topic = "ram";
    memory_stream.mode = meta::Mode::memory;
    TopicRule none;
    none.filter = "none/#";
    none.mode = meta::Mode::none;
    TopicRule rows;
    rows.filter = "rows/#";
    set_rules({kept, memory_stream, none, rows});
    start();
    Client& client = connect("watch");
    resume(client, "watch");
    follow(client, "#", 1);
    close(client);
  }
  // Several crashes, close behind each other.
  void crash_soon() {
    for (uint64_t life = 0; life < 1 + random_() % 2; ++life) {
      world.run_for(Duration::micros(static_cast<int64_t>(random_() % 8000)));
      restart(random_() % 2 == 0 ? CrashKind::power : CrashKind::process);
    }
  }
  Values received() {
    Client& client = connect("watch");
    resume(client, "watch", 1000);
    world.run_for(Duration::seconds(1));
    Values values = client.values();
    std::sort(values.begin(), values.end());
    return values;
  }

  // Says what is missing and what came too often.
  void expect_received(const Values& expected) {
    const Values got = received();
    Values missing;
    Values extra;
    std::set_difference(expected.begin(), expected.end(), got.begin(), got.end(), std::back_inserter(missing));
    std::set_difference(got.begin(), got.end(), expected.begin(), expected.end(), std::back_inserter(extra));
    EXPECT_EQ(missing, Values{});
    EXPECT_EQ(extra, Values{});
  }

  // The values that a Kafka client reads.
  Values log_of(const std::string& topic) {
    Client& reader = connect("reader");
    Values found;
    for (Offset at = earliest(reader, topic);;) {
      Fetch fetch;
      fetch.topics.push_back({kafka_name_of_mqtt(topic), {}});
      fetch.partitions.push_back({0, 0, at, -1, 1 << 20});
      const FetchReply reply = ask_for<FetchReply>(reader, std::move(fetch));
      const FetchedPartition& part = reply.partitions.at(0);
      EXPECT_EQ(part.code, Code::ok);
      if (part.code != Code::ok || part.batches.empty()) return found;
      for (const Piece& piece : part.batches) {
        for (ByteSpan rest = piece.bytes.span(); !rest.empty();) {
          const BatchView batch(rest.first(*BatchView::size_at(rest)));
          RecordReader records(batch, batch.records());
          for (RecordView record; records.next(record);) found.emplace_back(as_text(*record.value));
          at = batch.next_offset();
          rest = rest.subspan(batch.total_size());
        }
      }
    }
  }
  Offset earliest(Client& reader, const std::string& topic) {
    ListOffsets list;
    list.topics.push_back({kafka_name_of_mqtt(topic), {}});
    list.partitions.push_back({0, 0, -1, ListOffsetsPartition::What::earliest, 0});
    return ask_for<ListedOffsets>(reader, std::move(list)).partitions.at(0).offset;
  }
  uint64_t found_again() {
    uint64_t count = 0;
    for (CoreIndex core = 0; core < node.core(0).count(); ++core) count += halls[core]->metrics().packets_repeated_total;
    return count;
  }

  uint64_t seed_;
  std::mt19937_64 random_;
  uint64_t repeated_ = 0;
};
INSTANTIATE_TEST_SUITE_P(Cores, OnceTest, testing::Values(1, 3), testing::PrintToStringParamName());

TEST_P(OnceTest, AWillGoesOutOnceWhateverCrashes) {
  SCOPED_TRACE("seed " + std::to_string(seed_));
  Values expected;
  for (int round = 0; round < 8; ++round) {
    for (const char* topic : kTopics) {
      expected.push_back(topic + std::to_string(round));
      Client& meter = connect("meter");
      OpenSession opening{.client_id = "meter", .clean_start = true, .expiry_s = 0};
      opening.will = Will{.topic = topic, .payload = Bytes::copy_of(expected.back()), .qos = 1};
      open(meter, std::move(opening));
      close(meter);
      crash_soon();
      world.run_for(Duration::seconds(3));
    }
  }
  std::sort(expected.begin(), expected.end());
  expect_received(expected);
}

// A client sends again what it got no PUBREC for; the broker says at CONNECT which packet ids it has.
TEST_P(OnceTest, APacketWithADelayedMessageIsTakenOnceWhateverCrashes) {
  SCOPED_TRACE("seed " + std::to_string(seed_));
  Values expected;
  size_t known = 0;
  for (int round = 0; round < 60; ++round) {
    const std::string topic = std::string("$delayed/1/") + kTopics[random_() % std::size(kTopics)];
    const auto packet_id = static_cast<uint16_t>(1 + round);
    expected.push_back(topic + std::to_string(round));
    Client& client = connect("s");
    resume(client, "s");
    Publish request;
    request.messages.push_back(
        {.topic = topic, .payload = as_bytes(expected.back()), .wants_reply = true, .qos = 2, .packet_id = packet_id});
    client.hall->execute(client.context, std::move(request), [](const Reply&) {});
    world.run_for(Duration::micros(static_cast<int64_t>(random_() % 3000)));
    restart(random_() % 2 == 0 ? CrashKind::power : CrashKind::process);
    // It may be published meanwhile; its packet id is still known.
    if (random_() % 4 == 0) world.run_for(Duration::seconds(2));
    if (random_() % 4 == 0) restart(CrashKind::power);
    Client& again = connect("s");
    const std::vector<uint16_t> received = resume(again, "s").received;
    const bool is_known = std::find(received.begin(), received.end(), packet_id) != received.end();
    known += is_known;
    if (!is_known) EXPECT_EQ(publish(again, topic, expected.back(), 2, packet_id), Code::ok);
    ask_for<Released>(again, Release{{packet_id}});
    EXPECT_TRUE(resume(connect("s"), "s").received.empty());
    close(again);
  }
  EXPECT_GT(known, 0u);
  EXPECT_LT(known, 60u);
  world.run_for(Duration::seconds(3));
  std::sort(expected.begin(), expected.end());
  expect_received(expected);
}

TEST_P(OnceTest, APacketIsInAPersistentLightTopicOnceWhateverCrashes) {
  SCOPED_TRACE("seed " + std::to_string(seed_));
  Values expected;
  for (int round = 0; round < 80; ++round) {
    // Ids come again soon, and with some payloads: what was released says nothing of what comes later.
    const auto packet_id = static_cast<uint16_t>(1 + round % 3);
    expected.push_back("v" + std::to_string(round % 7));
    Client& client = connect("s");
    resume(client, "s");
    const bool is_with_others = random_() % 2 == 0;
    Publish request;
    for (int i = 0; i < (is_with_others ? 3 : 1); ++i) {
      if (i > 0) expected.push_back(expected.back() + "," + std::to_string(i));
    }
    const size_t first = expected.size() - (is_with_others ? 3 : 1);
    const auto message = [&](size_t i, bool is_repeat) {
      const auto id = static_cast<uint16_t>(packet_id + 10 * (i - first));
      return Message{.topic = "rows/x",
                     .payload = as_bytes(expected[i]),
                     .wants_reply = true,
                     .qos = 2,
                     .packet_id = id,
                     .is_repeat = is_repeat};
    };
    for (size_t i = first; i < expected.size(); ++i) request.messages.push_back(message(i, false));
    client.hall->execute(client.context, std::move(request), [](const Reply&) {});
    world.run_for(Duration::micros(static_cast<int64_t>(random_() % 1500)));
    restart(random_() % 2 == 0 ? CrashKind::power : CrashKind::process);
    Client& again = connect("s");
    const std::vector<uint16_t> received = resume(again, "s").received;
    Publish repeats;
    for (size_t i = first; i < expected.size(); ++i) {
      const Message repeat = message(i, true);
      if (std::find(received.begin(), received.end(), repeat.packet_id) == received.end()) repeats.messages.push_back(repeat);
    }
    if (!repeats.messages.empty()) {
      for (const PublishResult& result : ask_for<Published>(again, std::move(repeats)).results) EXPECT_EQ(result.code, Code::ok);
    }
    Release release;
    for (size_t i = first; i < expected.size(); ++i) release.packet_ids.push_back(message(i, true).packet_id);
    ask_for<Released>(again, std::move(release));
    close(again);
    repeated_ += found_again();
  }
  EXPECT_EQ(log_of("rows/x"), expected);
  EXPECT_GT(repeated_, 0u);
  std::sort(expected.begin(), expected.end());
  expect_received(expected);
}

TEST_P(OnceTest, ADelayedMessageComesOnceWhateverCrashesWhenItIsDue) {
  SCOPED_TRACE("seed " + std::to_string(seed_));
  Values expected;
  for (int round = 0; round < 25; ++round) {
    Client& publisher = connect("p");
    const int64_t at_s = node.core(0).wall_now().ms / 1000 + 2;
    for (const char* topic : kTopics) {
      expected.push_back(topic + std::to_string(round));
      EXPECT_EQ(publish(publisher, "$delayed/" + std::to_string(at_s) + "/" + topic, expected.back(), 1), Code::ok);
    }
    world.run_for(Duration::millis(at_s * 1000 - node.core(0).wall_now().ms));
    crash_soon();
    world.run_for(Duration::seconds(3));
  }
  std::sort(expected.begin(), expected.end());
  expect_received(expected);
}

// What the spool keeps of the ledger goes when the ledger has forgotten it.
TEST_P(OnceTest, NothingOfTheLedgerStaysInTheSpool) {
  options.spool_segment_bytes = 1 << 16;
  restart(CrashKind::process);
  const std::string payload(4000, 'x');
  for (int round = 0; round < 50; ++round) publish(connect("p"), "$delayed/1/light/x", payload, 1);
  world.run_for(Duration::seconds(3));
  Client& client = connect("watch");
  resume(client, "watch", 1000);
  world.run_for(Duration::seconds(1));
  ASSERT_EQ(client.received.size(), 50u);
  Settle request;
  for (const Got& got : client.received) request.leases.push_back({got.lease, Settle::Outcome::done});
  ask(client, std::move(request));
  world.run_for(Duration::millis(2 * broker_options.retention_check_ms + 3000));
  uint64_t bytes = 0;
  for (const auto& hall : halls) bytes += hall->spool_bytes();
  EXPECT_LT(bytes, 140'000u);
}

}  // namespace
}  // namespace robustmq::broker
