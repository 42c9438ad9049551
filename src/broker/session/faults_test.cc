// What stored sessions get when a disk is full, cannot be read or is damaged, when the power goes inside a QoS 2 handshake, and
// when clients send headers that are the broker's. MQTT5 4.3; ADR 0007.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "broker/session/session_rig.h"
#include "broker/session/spool_record.h"

namespace robustmq::broker {
namespace {

using runtime::sim::CrashKind;
using test::Client;
using test::Got;
using test::SessionRig;
using Values = std::vector<std::string>;

class SessionFaultsTest : public testing::TestWithParam<int>, public SessionRig {
 protected:
  SessionFaultsTest()
      : SessionRig(static_cast<CoreIndex>(GetParam())),
        seed_(std::random_device{}()),
        random_(seed_),
        trace_(__FILE__, __LINE__, "seed " + std::to_string(seed_)) {
    TopicRule kept;
    kept.filter = "kept/#";
    kept.topic = "kept";
    TopicRule rows;
    rows.filter = "rows/#";
    set_rules({kept, rows});
    start();
  }
  void leave(const std::string& id, const std::string& filter, uint8_t qos = 1) {
    Client& client = connect(id);
    resume(client, id);
    follow(client, filter, qos);
    close(client);
  }
  Client& back(const std::string& id) {
    Client& client = connect(id);
    resume(client, id, 1000);
    world.run_for(Duration::seconds(2));
    return client;
  }
  void settle_all(Client& client) {
    Settle request;
    for (const Got& got : client.received) {
      if (got.lease) request.leases.push_back({got.lease, Settle::Outcome::done});
    }
    ask(client, std::move(request));
  }
  struct Header {
    std::string name;
    std::string value;
  };
  static Produce produce(const std::string& topic, std::string_view value, int32_t sequence = -1,
                         const std::vector<Header>& headers = {}) {
    BatchBuilder builder;
    if (sequence >= 0) builder.set_producer(7, 0, sequence);
    builder.begin_record(1'750'000'000'000, std::nullopt, as_bytes(value));
    for (const Header& header : headers) builder.add_header(header.name, as_bytes(header.value));
    builder.end_record();
    Produce request;
    request.topics.push_back({topic, {}});
    request.partitions.push_back({0, 0, builder.finish(), {}});
    return request;
  }
  Code produced(const std::string& topic, std::string_view value, int32_t sequence = -1,
                const std::vector<Header>& headers = {}) {
    return ask_for<Produced>(connect("k"), produce(topic, value, sequence, headers)).partitions.at(0).code;
  }
  runtime::sim::DiskFaults& disk() { return node.disk().faults(); }
  void leave_room(uint64_t bytes) { disk().capacity_bytes = node.disk().used_bytes() + bytes; }
  uint64_t lost() {
    uint64_t lost = 0;
    for (const auto& hall : halls) lost += hall->session_metrics().messages_lost_total;
    return lost;
  }
  uint64_t spool_bytes() {
    uint64_t bytes = 0;
    for (const auto& hall : halls) bytes += hall->spool_bytes();
    return bytes;
  }

  uint64_t seed_;
  std::mt19937_64 random_;
  testing::ScopedTrace trace_;
};
INSTANTIATE_TEST_SUITE_P(Cores, SessionFaultsTest, testing::Values(1, 3), testing::PrintToStringParamName());

// A client sends again what it got no PUBREC for; the broker says at CONNECT which packet ids it has.
TEST_P(SessionFaultsTest, APacketIsTakenOnceWhereverThePowerGoes) {
  for (const char* topic : {"kept/x", "light/x"}) {
    leave("watch", "#", 2);
    Values sent;
    for (int round = 0; round < 60; ++round) {
      sent.push_back(std::string(topic) + std::to_string(round) + std::string(random_() % 3 == 0 ? 40'000 : 10, 'x'));
      const auto packet_id = static_cast<uint16_t>(1 + round);
      Client& client = connect("s");
      resume(client, "s");
      Publish request;
      request.messages.push_back(
          {.topic = topic, .payload = as_bytes(sent.back()), .wants_reply = true, .qos = 2, .packet_id = packet_id});
      client.hall->execute(client.context, std::move(request), [](const Reply&) {});
      world.run_for(Duration::micros(static_cast<int64_t>(random_() % 2500)));
      restart(random_() % 2 == 0 ? CrashKind::power : CrashKind::process);
      Client& again = connect("s");
      const std::vector<uint16_t> received = resume(again, "s").received;
      if (std::find(received.begin(), received.end(), packet_id) == received.end())
        EXPECT_EQ(publish(again, topic, sent.back(), 2, packet_id), Code::ok);
      ask_for<Released>(again, Release{{packet_id}});
      close(again);
    }
    Client& watch = back("watch");
    EXPECT_EQ(watch.values(), sent) << topic;
    settle_all(watch);
    close(watch);
  }
}

TEST_P(SessionFaultsTest, WhatCannotBeReadNowIsReadLater) {
  leave("away", "#");
  Values sent;
  for (int n = 0; n < 20; ++n) {
    for (const char* topic : {"kept/x", "light/x"}) {
      sent.push_back(topic + std::to_string(n));
      publish(connect("p"), topic, sent.back());
    }
  }
  restart(CrashKind::power);
  disk().read_errors = -1;
  Client& client = connect("away");
  resume(client, "away", 15);
  world.run_for(Duration::seconds(3));
  EXPECT_TRUE(client.received.empty());
  disk().read_errors = 0;
  world.run_for(Duration::seconds(3));
  EXPECT_EQ(client.received.size(), 15u);
  close(client);
  restart(CrashKind::power);
  // What was leased is read again, too.
  disk().read_errors = 5;
  Client& again = back("away");
  Values got = again.values();
  std::sort(got.begin(), got.end());
  std::sort(sent.begin(), sent.end());
  EXPECT_EQ(got, sent);
  EXPECT_EQ(lost(), 0u);
}

TEST_P(SessionFaultsTest, ASmallCacheLosesNothing) {
  options.cache_bytes = 1;
  restart(CrashKind::process);
  leave("away", "#");
  Values sent;
  for (int n = 0; n < 40; ++n) {
    for (const char* topic : {"kept/x", "light/x"}) {
      sent.push_back(topic + std::to_string(n) + std::string(n % 7 == 0 ? 50'000 : 3000, 'x'));
      publish(connect("p"), topic, sent.back());
    }
  }
  restart(CrashKind::power);
  Values got = back("away").values();
  std::sort(got.begin(), got.end());
  std::sort(sent.begin(), sent.end());
  EXPECT_EQ(got, sent);
  EXPECT_EQ(lost(), 0u);
}

// The reference has room, the stream's batch has not; then its offset goes to another message.
TEST_P(SessionFaultsTest, AReferenceWhoseBatchWasRefusedNamesNoOtherMessage) {
  leave("away", "#");
  EXPECT_EQ(publish(connect("p"), "kept/a", "first"), Code::ok);
  leave_room(6000);
  EXPECT_EQ(publish(connect("p"), "kept/a", std::string(60'000, 'x')), Code::storage_full);
  disk().capacity_bytes = UINT64_MAX;
  EXPECT_EQ(publish(connect("p"), "kept/b", "second"), Code::ok);
  restart(CrashKind::power);
  Client& client = back("away");
  ASSERT_EQ(client.values(), (Values{"first", "second"}));
  EXPECT_EQ(client.received[1].topic, "kept/b");
}

TEST_P(SessionFaultsTest, AReferenceWhoseBatchWasRefusedNamesNoMessageThatNobodyWaitsFor) {
  leave("away", "kept/a");
  EXPECT_EQ(publish(connect("p"), "kept/a", "first"), Code::ok);
  leave_room(6000);
  EXPECT_EQ(publish(connect("p"), "kept/a", std::string(60'000, 'x')), Code::storage_full);
  disk().capacity_bytes = UINT64_MAX;
  EXPECT_EQ(publish(connect("p"), "kept/b", "not followed"), Code::ok);
  restart(CrashKind::power);
  EXPECT_EQ(back("away").values(), Values{"first"});
}

// The message is stored, what is owed of it is not: the producer is told, and its second try is owed.
TEST_P(SessionFaultsTest, ARepeatIsOwedThatTheSpoolRefusedTheFirstTime) {
  leave("away", "#");
  publish(connect("p"), "light/x", "made");
  EXPECT_EQ(produced("light.x", "0", 0), Code::ok);
  leave_room(0);
  const std::string large(60'000, 'x');
  EXPECT_EQ(produced("light.x", large, 1), Code::storage_full);
  disk().capacity_bytes = UINT64_MAX;
  EXPECT_EQ(produced("light.x", large, 1), Code::ok);
  EXPECT_EQ(produced("light.x", large, 1), Code::ok);  // owed already
  EXPECT_EQ(produced("light.x", "2", 2), Code::ok);
  EXPECT_EQ(back("away").values(), (Values{"made", "0", large, "2"}));
}

TEST_P(SessionFaultsTest, OwesWhatAnIdempotentProducerSentToRowsWhereverThePowerGoes) {
  leave("away", "#");
  publish(connect("p"), "rows/x", "made");
  Values sent{"made"};
  for (int round = 0; round < 60; ++round) {
    sent.push_back(std::to_string(round) + std::string(random_() % 2 == 0 ? 40'000 : 10, 'x'));
    Client& first = connect("k");
    first.hall->execute(first.context, produce("rows.x", sent.back(), round), [](const Reply&) {});
    world.run_for(Duration::micros(static_cast<int64_t>(random_() % 2500)));
    restart(random_() % 2 == 0 ? CrashKind::power : CrashKind::process);
    ASSERT_EQ(produced("rows.x", sent.back(), round), Code::ok) << round;
  }
  EXPECT_EQ(back("away").values(), sent);
}

TEST_P(SessionFaultsTest, ASubscriptionMadeWhileTheDiskIsFullMissesNothingAfterwards) {
  leave("other", "t");
  leave_room(20'000);
  Client& publisher = connect("p");
  Publish request;
  const std::string large(60'000, 'x');
  request.messages.push_back({.topic = "t", .payload = as_bytes(large), .wants_reply = true, .qos = 1});
  std::optional<Code> code;
  Client& client = connect("late");
  resume(client, "late");
  publisher.hall->execute(publisher.context, std::move(request),
                          [&](const Reply& reply) { code = std::get<Published>(reply).results.at(0).code; });
  follow(client, "t", 1);
  ASSERT_TRUE(world.run_until([&] { return code.has_value(); }, Duration::seconds(10)));
  EXPECT_EQ(*code, Code::storage_full);
  close(client);
  disk().capacity_bytes = UINT64_MAX;
  EXPECT_EQ(publish(connect("p"), "t", "owed"), Code::ok);
  restart(CrashKind::power);
  EXPECT_EQ(back("late").values(), Values{"owed"});
}

TEST_P(SessionFaultsTest, HeadersOfAClientAreNoPacketMarksAndMakeNoMessageItsOwn) {
  leave("s", "nothing");
  Client& self = connect("self");
  resume(self, "self");
  Follow request;
  request.filters.push_back({.filter = "#", .qos_max = 1, .no_local = true});
  ask(self, std::move(request));
  publish(connect("p"), "light/x", "made");
  publish(connect("p"), "rows/x", "made");
  const uint64_t late = uint64_t{1} << 60;
  const std::vector<Header> forged{{"mqtt.packet", encode_packet({late, 77, "s"})},
                                   {"mqtt.own", "self"},
                                   {"mqtt.delayed", "17d0-3"},
                                   {"mqtt.void", "x"},
                                   {"mqtt.batch", "x"}};
  for (const char* topic : {"kept", "light.x", "rows.x"}) EXPECT_EQ(produced(topic, topic, -1, forged), Code::ok);
  settle();
  EXPECT_EQ(self.received.size(), 5u);
  close(self);
  restart(CrashKind::power);
  EXPECT_TRUE(resume(connect("s"), "s").received.empty());
  EXPECT_EQ(back("self").received.size(), 5u);
}

TEST_P(SessionFaultsTest, AStreamDeletedWithAppendsUnderWayHoldsNobodyUp) {
  leave("away", "#");
  disk().stall = Duration::millis(5);
  Client& publisher = connect("p");
  Publish request;
  request.messages.push_back({.topic = "kept/x", .payload = as_bytes("gone"), .wants_reply = true, .qos = 1});
  bool is_answered = false;
  publisher.hall->execute(publisher.context, std::move(request), [&](const Reply&) { is_answered = true; });
  world.run_for(Duration::millis(2));
  ASSERT_FALSE(is_answered);
  metas[0]->delete_topic(metas[0]->find(kDefaultTenant, "kept")->id, [](const Status&) {});
  disk().stall = {};
  ASSERT_TRUE(world.run_until([&] { return is_answered; }, Duration::seconds(10)));
  for (int n = 0; n < 8; ++n) publish(connect("p"), "light/" + std::to_string(n), std::to_string(n));
  Values got = back("away").values();
  std::sort(got.begin(), got.end());
  EXPECT_EQ(got, (Values{"0", "1", "2", "3", "4", "5", "6", "7"}));
}

TEST_P(SessionFaultsTest, PacketMarksOfASessionThatIsOverKeepNothing) {
  options.spool_segment_bytes = 1 << 16;
  restart(CrashKind::process);
  leave("away", "t/#");
  Client& client = connect("s");
  resume(client, "s");
  for (int n = 0; n < 16; ++n)
    EXPECT_EQ(publish(client, "t/" + std::to_string(n), "m", 2, static_cast<uint16_t>(n + 1)), Code::ok);
  // Ended while a publish is under way.
  Publish request;
  request.messages.push_back({.topic = "t/0", .payload = as_bytes("last"), .wants_reply = true, .qos = 2, .packet_id = 99});
  client.hall->execute(client.context, std::move(request), [](const Reply&) {});
  client.hall->execute(client.context, EndSession{.expiry_s = 0}, [](const Reply&) {});
  close(client);
  settle();
  restart(CrashKind::power);
  const std::string payload(4000, 'x');
  for (int n = 0; n < 100; ++n) publish(connect("p"), "t/" + std::to_string(n % 16), payload);
  Client& away = back("away");
  settle_all(away);
  world.run_for(Duration::millis(2 * broker_options.retention_check_ms + 3000));
  EXPECT_LT(spool_bytes(), 140'000u * static_cast<uint64_t>(GetParam()));
}

// Bits rot in the middle of a spool: what lies around them is owed, and the node starts.
TEST_P(SessionFaultsTest, ADamagedSpoolOwesTheRest) {
  leave("away", "t/#");
  Values sent;
  for (int n = 0; n < 9; ++n) {
    sent.push_back("<" + std::to_string(n) + ">" + std::string(4000, 'x'));
    EXPECT_EQ(publish(connect("p"), "t/x", sent.back()), Code::ok);
  }
  world.run_for(Duration::seconds(130));  // past a checkpoint: the start does not read it
  restart(CrashKind::power);
  bool is_flipped = false;
  for (const std::string& path : node.disk().file_paths()) {
    const Result<Bytes> contents = node.disk().contents(path);
    const size_t at = contents.ok() ? contents->text().find("<4>") : std::string_view::npos;
    if (path.find("journal") != std::string::npos || at == std::string_view::npos) continue;
    node.disk().flip_bit(path, 8 * at);
    is_flipped = true;
  }
  ASSERT_TRUE(is_flipped);
  restart(CrashKind::power);
  sent.erase(sent.begin() + 4);
  EXPECT_EQ(back("away").values(), sent);
  uint64_t damaged = 0;
  for (const auto& hall : halls) damaged += hall->session_metrics().spool_damaged_total;
  EXPECT_EQ(damaged, 1u);
}

TEST_P(SessionFaultsTest, ADamagedPartitionKeepsNobodyElseDown) {
  leave("away", "#");
  for (int n = 0; n < 9; ++n)
    EXPECT_EQ(publish(connect("p"), "kept/x", "<" + std::to_string(n) + ">" + std::string(4000, 'x')), Code::ok);
  publish(connect("p"), "light/x", "first");
  world.run_for(Duration::seconds(130));
  restart(CrashKind::power);
  for (const std::string& path : node.disk().file_paths()) {
    const Result<Bytes> contents = node.disk().contents(path);
    const size_t at = contents.ok() ? contents->text().find("<4>") : std::string_view::npos;
    if (path.find("journal") == std::string::npos && at != std::string_view::npos) node.disk().flip_bit(path, 8 * at);
  }
  restart(CrashKind::power);
  int64_t damaged = 0;
  for (const auto& hall : halls) damaged += hall->metrics().partitions_damaged;
  EXPECT_EQ(damaged, 1);
  EXPECT_EQ(publish(connect("p"), "kept/x", "more"), Code::corrupt_storage);
  EXPECT_EQ(publish(connect("p"), "light/x", "second"), Code::ok);
  EXPECT_EQ(back("away").values(), (Values{"first", "second"}));
}

}  // namespace
}  // namespace robustmq::broker
