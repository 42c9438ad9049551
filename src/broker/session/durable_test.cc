// What stored sessions are owed, on halls of one and of three cores with the simulated disk: while they are away, while they are
// slow, over crashes and power cuts, at QoS 1 and 2. MQTT5 3.3.4, 4.1, 4.3, 4.4, 4.6, 4.9; ADR 0007.
#include <gtest/gtest.h>

#include <algorithm>

#include "broker/session/session_rig.h"

namespace robustmq::broker {
namespace {

using runtime::sim::CrashKind;
using test::Client;
using test::Got;
using test::SessionRig;
using Values = std::vector<std::string>;

class DurableTest : public testing::TestWithParam<int>, public SessionRig {
 protected:
  DurableTest() : SessionRig(static_cast<CoreIndex>(GetParam())) {
    TopicRule kept;
    kept.filter = "kept/#";
    kept.topic = "kept";
    kept.partitions = 2;
    TopicRule memory_stream;
    memory_stream.filter = "ram/#";
    memory_stream.topic = "ram";
    memory_stream.mode = meta::Mode::memory;
    TopicRule none;
    none.filter = "none/#";
    none.mode = meta::Mode::none;
    set_rules({kept, memory_stream, none});
    start();
  }
  Code settle_lease(Client& client, uint16_t lease, Settle::Outcome outcome = Settle::Outcome::done) {
    return ask_for<Settled>(client, Settle{{{lease, outcome}}}).leases.at(0);
  }
  void settle_all(Client& client) {
    Settle request;
    for (const Got& got : client.received) {
      if (got.lease) request.leases.push_back({got.lease, Settle::Outcome::done});
    }
    ask(client, std::move(request));
  }
  // A session that follows, and is away.
  void leave(const std::string& id, const std::string& filter, uint8_t qos) {
    Client& client = connect(id);
    resume(client, id);
    follow(client, filter, qos);
    close(client);
  }
};
INSTANTIATE_TEST_SUITE_P(Cores, DurableTest, testing::Values(1, 3), testing::PrintToStringParamName());

TEST_P(DurableTest, OwesWhatWasPublishedWhileTheClientWasAway) {
  leave("away", "t/#", 1);
  Client& publisher = connect("p");
  EXPECT_EQ(publish(publisher, "t/1", "one", 1), Code::ok);
  EXPECT_EQ(publish(publisher, "t/1", "two", 0), Code::ok);  // QoS 0 is not kept
  EXPECT_EQ(publish(publisher, "u/1", "other", 1), Code::ok);
  EXPECT_EQ(publish(publisher, "t/1", "three", 1), Code::ok);
  Client& back = connect("away");
  EXPECT_TRUE(resume(back, "away").is_present);
  settle();
  EXPECT_EQ(back.values(), (Values{"one", "three"}));
  EXPECT_EQ(back.received[0].topic, "t/1");
  EXPECT_NE(back.received[0].lease, 0);
  EXPECT_FALSE(back.received[0].is_again);
}

TEST_P(DurableTest, HasEveryKindOfTopicAfterAPowerCut) {
  leave("away", "#", 1);
  Client& publisher = connect("p");
  for (const char* topic : {"light/a", "kept/a", "ram/a", "none/a", "kept/b", "light/b"})
    EXPECT_EQ(publish(publisher, topic, topic, 1), Code::ok) << topic;
  restart(CrashKind::power);
  Client& back = connect("away");
  EXPECT_TRUE(resume(back, "away").is_present);
  settle();
  Values got = back.values();
  std::sort(got.begin(), got.end());
  EXPECT_EQ(got, (Values{"kept/a", "kept/b", "light/a", "light/b", "none/a", "ram/a"}));
  settle_all(back);
  world.run_for(Duration::seconds(2));
  restart(CrashKind::power);
  Client& again = connect("away");
  resume(again, "away");
  settle();
  EXPECT_TRUE(again.received.empty());
}

TEST_P(DurableTest, KeepsTheOrderOfATopicFromOfflineToOnline) {
  leave("away", "kept/x", 1);
  leave("light", "y", 1);
  Client& publisher = connect("p");
  Values expected;
  for (int n = 0; n < 150; ++n) {
    expected.push_back(std::to_string(n));
    publish(publisher, "kept/x", expected.back(), 1);
    publish(publisher, "y", expected.back(), 1);
  }
  Client& kept = connect("away");
  Client& light = connect("light");
  resume(kept, "away", 10);
  resume(light, "light", 10);
  size_t settled_kept = 0;
  size_t settled_light = 0;
  for (int n = 150; n < 300; ++n) {
    expected.push_back(std::to_string(n));
    publish(publisher, "kept/x", expected.back(), 1);
    publish(publisher, "y", expected.back(), 1);
    for (auto [client, done] : {std::pair{&kept, &settled_kept}, std::pair{&light, &settled_light}}) {
      EXPECT_LE(client->received.size() - *done, 10u);  // Receive Maximum
      while (*done < client->received.size() && *done < static_cast<size_t>(n))
        settle_lease(*client, client->received[(*done)++].lease);
    }
  }
  for (auto [client, done] : {std::pair{&kept, &settled_kept}, std::pair{&light, &settled_light}}) {
    while (*done < client->received.size()) {
      settle_lease(*client, client->received[(*done)++].lease);
      settle();
    }
    EXPECT_EQ(client->values(), expected);
  }
}

TEST_P(DurableTest, SendsWhatWasNotSettledAgainUnderItsIdAndInOrder) {
  Client& first = connect("s");
  resume(first, "s");
  follow(first, "t", 1);
  Client& publisher = connect("p");
  for (const char* value : {"a", "b", "c", "d"}) publish(publisher, "t", value, 1);
  settle();
  ASSERT_EQ(first.values(), (Values{"a", "b", "c", "d"}));
  EXPECT_EQ(settle_lease(first, first.received[1].lease), Code::ok);
  EXPECT_EQ(settle_lease(first, first.received[1].lease), Code::not_found);
  close(first);
  Client& second = connect("s");
  resume(second, "s");
  settle();
  ASSERT_EQ(second.values(), (Values{"a", "c", "d"}));
  EXPECT_EQ(second.received[0].lease, first.received[0].lease);
  EXPECT_EQ(second.received[1].lease, first.received[2].lease);
  EXPECT_TRUE(second.received[0].is_again);
}

TEST_P(DurableTest, GivesOneCopyAtTheHighestQosWithAllIds) {
  Client& first = connect("s");
  resume(first, "s");
  follow(first, "t/#", 1, 7);
  follow(first, "t/+", 2, 8);
  follow(first, "t/a", 0, 9);
  Client& publisher = connect("p");
  publish(publisher, "t/a", "m", 2);
  publish(publisher, "t/a", "zero", 0);
  settle();
  ASSERT_EQ(first.received.size(), 2u);
  const auto at = first.received[0].value == "m" ? 0u : 1u;
  EXPECT_EQ(first.received[at].qos_max, 2);
  EXPECT_EQ(first.received[at].ids, (std::vector<uint32_t>{7, 8, 9}));
  EXPECT_NE(first.received[at].lease, 0);
  EXPECT_EQ(first.received[1 - at].lease, 0);
}

TEST_P(DurableTest, OwesNothingFromBeforeASubscriptionOrAfterItsEnd) {
  leave("other", "t", 1);  // so that the filter is known before
  Client& publisher = connect("p");
  publish(publisher, "t", "before", 1);
  leave("s", "t", 1);
  publish(publisher, "t", "owed", 1);
  restart(CrashKind::process);
  Client& back = connect("s");
  resume(back, "s");
  settle();
  EXPECT_EQ(back.values(), Values{"owed"});
  settle_all(back);
  unfollow(back, "t");
  Client& again = connect("p");
  publish(again, "t", "after", 1);
  settle();
  EXPECT_EQ(back.received.size(), 1u);
}

TEST_P(DurableTest, LeavesOwnMessagesOutOfNoLocalSubscriptions) {
  Client& self = connect("self");
  resume(self, "self");
  Follow request;
  request.filters.push_back({.filter = "t", .qos_max = 1, .no_local = true});
  ask(self, std::move(request));
  publish(self, "t", "own", 1);
  Client& publisher = connect("p");
  publish(publisher, "t", "other", 1);
  settle();
  EXPECT_EQ(self.values(), Values{"other"});
}

TEST_P(DurableTest, PassesOverExpiredMessages) {
  leave("s", "t", 1);
  Client& publisher = connect("p");
  publish(publisher, "t", "short", 1, 0, 5);
  publish(publisher, "t", "long", 1, 0, 500);
  world.run_for(Duration::seconds(10));
  Client& back = connect("s");
  resume(back, "s");
  settle();
  EXPECT_EQ(back.values(), Values{"long"});
}

TEST_P(DurableTest, SaysTwoThatAPacketIdIsStoredBeforeItIsSent) {
  leave("s", "t", 2);
  Client& publisher = connect("p");
  publish(publisher, "t", "a", 2);
  publish(publisher, "t", "b", 2);
  Client& first = connect("s");
  resume(first, "s");
  settle();
  ASSERT_EQ(first.values(), (Values{"a", "b"}));
  // The power goes right after: the same ids again, marked.
  restart(CrashKind::power);
  Client& second = connect("s");
  resume(second, "s");
  settle();
  ASSERT_EQ(second.values(), (Values{"a", "b"}));
  EXPECT_EQ(second.received[0].lease, first.received[0].lease);
  EXPECT_EQ(second.received[1].lease, first.received[1].lease);
  EXPECT_TRUE(second.received[0].is_again);
  // "Received" is durable when answered; the message never comes again, only its release.
  EXPECT_EQ(settle_lease(second, second.received[0].lease, Settle::Outcome::received), Code::ok);
  restart(CrashKind::power);
  Client& third = connect("s");
  resume(third, "s");
  settle();
  ASSERT_EQ(third.received.size(), 2u);
  EXPECT_TRUE(third.received[0].is_received);
  EXPECT_EQ(third.received[0].lease, first.received[0].lease);
  EXPECT_EQ(third.received[1].value, "b");
  EXPECT_EQ(settle_lease(third, third.received[0].lease), Code::ok);
}

TEST_P(DurableTest, RemembersPacketIdsOfTheClientUntilTheyAreReleased) {
  Client& first = connect("s");
  resume(first, "s");
  EXPECT_EQ(publish(first, "light", "1", 2, 11), Code::ok);
  EXPECT_EQ(publish(first, "kept/x", "2", 2, 12), Code::ok);
  EXPECT_EQ(publish(first, "ram/x", "3", 2, 13), Code::ok);
  ask_for<Released>(first, Release{{12}});
  restart(CrashKind::power);
  Client& second = connect("s");
  EXPECT_EQ(resume(second, "s").received, (std::vector<uint16_t>{11, 13}));
  ask_for<Released>(second, Release{{11, 13}});
  EXPECT_EQ(publish(second, "kept/x", "4", 2, 11), Code::ok);
  restart(CrashKind::power);
  Client& third = connect("s");
  EXPECT_EQ(resume(third, "s").received, (std::vector<uint16_t>{11}));
  close(third);
  // A clean start knows of none.
  Client& clean = connect("s");
  open(clean, {.client_id = "s", .clean_start = true, .expiry_s = 100});
  restart(CrashKind::power);
  Client& fourth = connect("s");
  const SessionOpened opened = resume(fourth, "s");
  EXPECT_TRUE(opened.is_present);
  EXPECT_TRUE(opened.received.empty());
}

TEST_P(DurableTest, HoldsTheBoundsByDroppingTheOldest) {
  options.messages_max = 5;
  restart(CrashKind::process);
  leave("s", "t", 1);
  Client& publisher = connect("p");
  for (int n = 0; n < 12; ++n) publish(publisher, "t", std::to_string(n), 1);
  Client& back = connect("s");
  resume(back, "s");
  settle();
  EXPECT_EQ(back.values(), (Values{"7", "8", "9", "10", "11"}));
}

TEST_P(DurableTest, HoldsTheBoundsByDroppingTheNewest) {
  options.messages_max = 5;
  options.over_limit = OverLimit::drop_newest;
  restart(CrashKind::process);
  leave("s", "t", 1);
  Client& publisher = connect("p");
  for (int n = 0; n < 12; ++n) publish(publisher, "t", std::to_string(n), 1);
  Client& back = connect("s");
  resume(back, "s");
  settle();
  EXPECT_EQ(back.values(), (Values{"0", "1", "2", "3", "4"}));
}

TEST_P(DurableTest, DisconnectsASlowClientWhereItIsToldTo) {
  options.messages_max = 5;
  options.over_limit = OverLimit::disconnect;
  restart(CrashKind::process);
  Client& slow = connect("s");
  resume(slow, "s", 1);
  follow(slow, "t", 1);
  Client& publisher = connect("p");
  for (int n = 0; n < 50; ++n) publish(publisher, "t", std::to_string(n), 1);
  world.run_for(Duration::millis(2 * broker_options.retention_check_ms));
  EXPECT_EQ(slow.notices, std::vector<Notice>{Notice::over_limit});
}

TEST_P(DurableTest, KeepsQos0ForSessionsWhereItIsToldTo) {
  options.keep_qos0 = true;
  restart(CrashKind::process);
  leave("s", "t", 0);
  Client& publisher = connect("p");
  publish(publisher, "t", "zero", 0);
  publish(publisher, "t", "one", 1);
  Client& back = connect("s");
  resume(back, "s");
  settle();
  EXPECT_EQ(back.values(), (Values{"zero", "one"}));
  EXPECT_EQ(back.received[0].lease, 0);
  publish(publisher, "t", "live", 0);
  settle();
  EXPECT_EQ(back.received.size(), 3u);
}

TEST_P(DurableTest, GivesUpTheSpoolWhenNobodyWaits) {
  options.spool_segment_bytes = 1 << 16;
  restart(CrashKind::process);
  leave("s", "t", 1);
  Client& publisher = connect("p");
  const std::string payload(4000, 'x');
  for (int n = 0; n < 100; ++n) publish(publisher, "t", payload, 1);
  const auto spool_bytes = [&] {
    uint64_t bytes = 0;
    for (const auto& hall : halls) bytes += hall->spool_bytes();
    return bytes;
  };
  EXPECT_GT(spool_bytes(), 400'000u);
  Client& back = connect("s");
  resume(back, "s", 1000);
  world.run_for(Duration::seconds(2));
  ASSERT_EQ(back.received.size(), 100u);
  settle_all(back);
  world.run_for(Duration::millis(2 * broker_options.retention_check_ms + 3000));
  EXPECT_LT(spool_bytes(), 140'000u);
}

}  // namespace
}  // namespace robustmq::broker
