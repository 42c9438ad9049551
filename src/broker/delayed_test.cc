// Delayed messages through the hall: published once when they are due, whatever crashes; listed and cancelled; limits.
#include "broker/delayed.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "broker/hall_rig.h"

namespace robustmq::broker {
namespace {

using runtime::sim::CrashKind;

TEST(DelayedName, IsAnIntervalOrATimeAndATopic) {
  const WallTime now{1'750'000'000'000};
  const auto due = [&](const std::string& name) {
    const Result<DelayedName> parsed = parse_delayed_name("$delayed/" + name, now);
    return parsed.ok() ? parsed->due_ms - now.ms : -1;
  };
  EXPECT_EQ(due("0/t"), 0);
  EXPECT_EQ(due("15/a/b"), 15'000);
  EXPECT_EQ(due("42949669/t"), 42'949'669'000);
  EXPECT_EQ(due("1750000060/t"), 60'000);
  EXPECT_EQ(due("1792949669/t"), 42'949'669'000);
  for (const char* bad : {"42949670/t", "1749999999/t", "1792949670/t", "-1/t", "1.5/t", "x/t", "/t", "15", "15/", "15/$SYS/x",
                          "15/$delayed/1/t", "99999999999999999999/t"})
    EXPECT_EQ(due(bad), -1) << bad;
  EXPECT_EQ(parse_delayed_name("$delayed/15//a", now)->topic, "/a");
}

TEST(DelayedKey, IsARowsKeyInTheOrderOfTimeAndAnId) {
  const DelayedKey early{1000, 7};
  const DelayedKey late{2000, 3};
  EXPECT_LT(early.row_key(), late.row_key());
  EXPECT_EQ(*DelayedKey::of_row(late.row_key()), late);
  EXPECT_EQ(*DelayedKey::parse(late.to_string()), late);
  for (const char* bad : {"", "-", "7d0", "7d0-", "x-1", "7d0-3 "}) EXPECT_FALSE(DelayedKey::parse(bad).ok()) << bad;
}

class DelayedTest : public testing::TestWithParam<int> {
 protected:
  explicit DelayedTest(uint64_t seed = 11) : rig_(GetParam(), seed) { rig_.start(rules()); }
  static std::vector<TopicRule> rules() {
    TopicRule sensors;
    sensors.filter = "sensors/#";
    sensors.topic = "sensors";
    sensors.partitions = 2;
    TopicRule kept;
    kept.filter = "kept/#";
    kept.mode = meta::Mode::persistent;
    return {sensors, kept};
  }
  Code publish(const std::string& topic, std::string_view payload, size_t on = 0, Message more = {}) {
    more.topic = topic;
    more.payload = as_bytes(payload);
    more.qos = 1;
    return rig_.publish(rig_.client(on), more);
  }
  void crash(CrashKind kind, Duration down = {}) {
    rig_.crash(kind);
    rig_.world.run_for(down);
    rig_.start(rules());
  }
  RigClient& watch(std::string filter) {
    RigClient& client = rig_.client(1);
    rig_.ask(client, Follow{{FollowOne{.filter = std::move(filter), .qos_max = 1}}});
    return client;
  }
  static std::vector<std::string> values_of(const RigClient& client) {
    std::vector<std::string> values;
    for (const RigClient::Got& got : client.got) values.push_back(got.value);
    return values;
  }
  // Everything in the stream, or in a light topic, sorted.
  std::vector<std::string> stored(const std::string& topic = "sensors", int32_t partitions = 2) {
    std::vector<std::string> values;
    RigClient& client = rig_.client(0);
    for (int32_t partition = 0; partition < partitions; ++partition) {
      Offset from = first_offset(client, topic, partition);
      while (true) {
        Fetch fetch;
        fetch.topics.push_back({topic, {}});
        fetch.partitions.push_back({0, partition, from, -1, 1 << 20});
        const FetchReply reply = rig_.ask_for<FetchReply>(client, std::move(fetch));
        Offset next = from;
        for (const Piece& piece : reply.partitions[0].batches) {
          Bytes bytes = piece.bytes;
          if (piece.is_stored()) {
            const auto* file =
                static_cast<const runtime::sim::SimFile*>(static_cast<const runtime::File*>(piece.stored.source.get()));
            bytes = file->read_now(piece.stored.position, piece.size);
          }
          while (!bytes.empty()) {
            const size_t size = *BatchView::size_at(bytes);
            const BatchView batch(bytes.span().first(size));
            RecordReader records(batch, batch.records());
            RecordView record;
            while (records.next(record)) values.emplace_back(as_text(*record.value));
            next = batch.next_offset();
            bytes = bytes.slice(size);
          }
        }
        if (next == from) break;
        from = next;
      }
    }
    std::sort(values.begin(), values.end());
    return values;
  }
  Offset first_offset(RigClient& client, const std::string& topic, int32_t partition) {
    ListOffsets request;
    request.topics.push_back({topic, {}});
    request.partitions.push_back({0, partition, -1, ListOffsetsPartition::What::earliest, 0});
    return std::max<Offset>(0, rig_.ask_for<ListedOffsets>(client, std::move(request)).partitions[0].offset);
  }
  ListedDelayed list(ListDelayed request = {}) { return rig_.ask_for<ListedDelayed>(rig_.client(2), std::move(request)); }
  using Values = std::vector<std::string>;

  HallRig rig_;
};

INSTANTIATE_TEST_SUITE_P(Cores, DelayedTest, testing::Values(1, 3), testing::PrintToStringParamName());

TEST_P(DelayedTest, IsPublishedWhenItIsDueAndNotBefore) {
  RigClient& client = watch("#");
  EXPECT_EQ(publish("$delayed/10/a/b", "ten"), Code::ok);
  EXPECT_EQ(publish("$delayed/5/sensors/1", "five", 1), Code::ok);
  EXPECT_EQ(publish("$delayed/0/now", "zero", 2), Code::ok);
  rig_.settle();
  EXPECT_EQ(values_of(client), Values{"zero"});
  rig_.settle(Duration::millis(4900));
  EXPECT_EQ(values_of(client), Values{"zero"});
  rig_.settle(Duration::millis(200));
  EXPECT_EQ(values_of(client), (Values{"zero", "five"}));
  rig_.settle(Duration::seconds(6));
  EXPECT_EQ(values_of(client), (Values{"zero", "five", "ten"}));
  EXPECT_EQ(client.got[1].topic, "sensors/1");
  EXPECT_EQ(rig_.rows("delayed"), 0u);
}

TEST_P(DelayedTest, KeepsTheOrderOfWhatIsDueTogether) {
  RigClient& client = watch("sensors/#");
  const int64_t at_s = rig_.node.core(0).wall_now().ms / 1000 + 30;
  Values expected;
  for (int i = 0; i < 450; ++i) {
    expected.push_back(std::to_string(i));
    EXPECT_EQ(publish("$delayed/" + std::to_string(at_s) + "/sensors/x", expected.back()), Code::ok);
  }
  rig_.settle(Duration::seconds(31));
  EXPECT_EQ(values_of(client), expected);
}

TEST_P(DelayedTest, WaitsThroughACrash) {
  EXPECT_EQ(publish("$delayed/10/sensors/1", "kept"), Code::ok);
  EXPECT_EQ(publish("$delayed/20/light", "too"), Code::ok);
  crash(CrashKind::power, Duration::seconds(15));
  rig_.settle(Duration::seconds(1));
  EXPECT_EQ(stored(), Values{"kept"});
  EXPECT_EQ(list().messages.size(), 1u);
  RigClient& client = watch("#");
  rig_.settle(Duration::seconds(5));
  EXPECT_EQ(values_of(client), Values{"too"});
}

TEST_P(DelayedTest, IsThereOnceWhateverCrashesWhenItIsDue) {
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    uint64_t state = seed;
    const auto random = [&](uint64_t below) {
      state = state * 6364136223846793005ull + 1442695040888963407ull;
      return (state >> 33) % below;
    };
    const size_t before = stored().size();
    Values expected;
    const int64_t at_s = rig_.node.core(0).wall_now().ms / 1000 + 2;
    for (int i = 0; i < 40; ++i) {
      const std::string value = std::to_string(seed) + "." + std::to_string(i);
      EXPECT_EQ(publish("$delayed/" + std::to_string(at_s) + "/sensors/" + std::to_string(i % 5), value, random(3)), Code::ok);
      expected.push_back(value);
    }
    const int64_t left_ms = at_s * 1000 - rig_.node.core(0).wall_now().ms;
    rig_.world.run_for(Duration::millis(left_ms));
    for (int life = 0; life < 4; ++life) {
      rig_.world.run_for(Duration::micros(static_cast<int64_t>(random(3000))));
      crash(random(2) ? CrashKind::power : CrashKind::process);
    }
    rig_.settle(Duration::seconds(3));
    std::sort(expected.begin(), expected.end());
    Values mine;
    for (const std::string& value : stored()) {
      if (value.starts_with(std::to_string(seed) + ".")) mine.push_back(value);
    }
    EXPECT_EQ(mine, expected);
    EXPECT_EQ(stored().size(), before + expected.size());
    EXPECT_EQ(rig_.rows("delayed"), 0u);
  }
}

// A row that cannot be read now is read later: no empty message takes its place.
TEST_P(DelayedTest, IsThereOnceWhereRowsCannotBeReadAtOnce) {
  rig_.failing_gets = 7;
  Values expected;
  for (int round = 0; round < 12; ++round) {
    const int64_t at_s = rig_.node.core(0).wall_now().ms / 1000 + 2;
    for (int i = 0; i < 10; ++i) {
      expected.push_back(std::to_string(round) + "." + std::to_string(i));
      EXPECT_EQ(publish("$delayed/" + std::to_string(at_s) + "/sensors/t", expected.back()), Code::ok);
    }
    rig_.world.run_for(Duration::millis(at_s * 1000 - rig_.node.core(0).wall_now().ms));
    rig_.world.run_for(Duration::micros(round * 250));
    crash(round % 2 ? CrashKind::power : CrashKind::process);
    rig_.settle(Duration::seconds(5));
  }
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(stored(), expected);
  EXPECT_EQ(rig_.rows("delayed"), 0u);
}

TEST_P(DelayedTest, IsOnceInAPersistentLightTopicToo) {
  Values expected;
  for (int round = 0; round < 8; ++round) {
    const int64_t at_s = rig_.node.core(0).wall_now().ms / 1000 + 2;
    for (int i = 0; i < 10; ++i) {
      expected.push_back(std::to_string(round) + "." + std::to_string(i));
      EXPECT_EQ(publish("$delayed/" + std::to_string(at_s) + "/kept/t", expected.back()), Code::ok);
    }
    rig_.world.run_for(Duration::millis(at_s * 1000 - rig_.node.core(0).wall_now().ms));
    rig_.world.run_for(Duration::micros(round * 400));
    crash(round % 2 ? CrashKind::power : CrashKind::process);
    rig_.settle(Duration::seconds(2));
    EXPECT_EQ(stored("kept.t", 1), expected);
    EXPECT_EQ(rig_.rows("delayed"), 0u);
  }
}

TEST_P(DelayedTest, IsListedByPagesAndCancelled) {
  for (int i = 0; i < 7; ++i)
    EXPECT_EQ(publish("$delayed/" + std::to_string(100 - i) + "/t/" + std::to_string(i), "v"), Code::ok);
  ListedDelayed page = list({.count_max = 5});
  ASSERT_EQ(page.messages.size(), 5u);
  EXPECT_EQ(page.messages[0].topic, "t/6");
  EXPECT_EQ(page.messages[0].qos, 1);
  const std::string cancelled = page.messages[2].id;
  page = list({.after = page.next, .count_max = 5});
  ASSERT_EQ(page.messages.size(), 2u);
  EXPECT_EQ(page.messages[1].topic, "t/0");
  EXPECT_TRUE(page.next.empty());
  EXPECT_EQ(rig_.ask_for<CancelledDelayed>(rig_.client(1), CancelDelayed{cancelled}).code, Code::ok);
  EXPECT_EQ(rig_.ask_for<CancelledDelayed>(rig_.client(1), CancelDelayed{cancelled}).code, Code::not_found);
  EXPECT_EQ(std::get<Error>(rig_.ask(rig_.client(1), CancelDelayed{"x"})).code, Code::invalid_argument);
  RigClient& client = watch("t/#");
  crash(CrashKind::power);
  RigClient& after = watch("t/#");
  (void)client;
  rig_.settle(Duration::seconds(101));
  EXPECT_EQ(after.got.size(), 6u);
}

TEST_P(DelayedTest, RefusesWhatIsOverALimitOrHasNoTime) {
  rig_.delayed_options.payload_bytes_max = 3;
  EXPECT_EQ(publish("$delayed/10/t", "1234"), Code::quota_exceeded);
  EXPECT_EQ(publish("$delayed/10/t", "123"), Code::ok);
  EXPECT_EQ(publish("$delayed/soon/t", "1"), Code::invalid_topic);
  EXPECT_EQ(publish("$delayed/42949670/t", "1"), Code::invalid_topic);
  rig_.delayed_options.messages_max = 0;
  EXPECT_EQ(publish("$delayed/10/t", "1"), Code::quota_exceeded);
  rig_.settle(Duration::seconds(11));
}

TEST_P(DelayedTest, Case44MessageExpiryCountsWhileItWaits) {
  RigClient& client = watch("#");
  Buffer headers;
  BatchBuilder::append_header(headers, "mqtt.message_expiry_s", as_bytes("8"));
  const Message expiring{.raw_headers = headers.span(), .header_count = 1, .expiry_s = 8};
  EXPECT_EQ(publish("$delayed/10/late", "never", 0, expiring), Code::ok);
  EXPECT_EQ(publish("$delayed/5/early", "yes", 0, expiring), Code::ok);
  EXPECT_EQ(publish("$delayed/5/sensors/early", "yes", 0, expiring), Code::ok);
  rig_.settle(Duration::seconds(11));
  EXPECT_EQ(client.got.size(), 2u);
  for (const RigClient::Got& got : client.got) EXPECT_EQ(got.headers.at("mqtt.message_expiry_s"), "3");
  EXPECT_EQ(rig_.rows("delayed"), 0u);
}

TEST_P(DelayedTest, MayBecomeTheRetainedMessage) {
  EXPECT_EQ(publish("$delayed/5/sensors/r", "stream", 0, {.retain = true}), Code::ok);
  EXPECT_EQ(publish("$delayed/5/r", "light", 0, {.retain = true}), Code::ok);
  EXPECT_EQ(rig_.rows("retained/"), 0u);
  rig_.settle(Duration::seconds(6));
  RigClient& client = watch("#");
  rig_.settle();
  EXPECT_EQ(client.got.size(), 2u);
  for (const RigClient::Got& got : client.got) EXPECT_TRUE(got.is_retained);
}

}  // namespace
}  // namespace robustmq::broker
