// Who is listed, ended, banned, found to flap or to be slow: by themselves, and in halls of one and of three cores.
#include <gtest/gtest.h>

#include "broker/extensions/flapping.h"
#include "broker/extensions/slow.h"
#include "broker/hall_rig.h"

namespace robustmq::broker {
namespace {

TEST(Flapping, FindsWhoseConnectionEndsTooOftenInAWindow) {
  BanOptions options{.flapping_detected = true, .flapping_ends_max = 3, .flapping_window_ms = 1'000};
  BanMetrics metrics;
  Flapping flapping(options, metrics);
  const Instant start{1'000'000'000};
  EXPECT_FALSE(flapping.note_end("a", start));
  EXPECT_FALSE(flapping.note_end("a", start + Duration::millis(500)));
  EXPECT_FALSE(flapping.note_end("b", start + Duration::millis(500)));
  EXPECT_FALSE(flapping.note_end("a", start + Duration::millis(1'000))) << "a window of its own";
  EXPECT_FALSE(flapping.note_end("a", start + Duration::millis(1'500)));
  EXPECT_TRUE(flapping.note_end("a", start + Duration::millis(1'999)));
  EXPECT_FALSE(flapping.note_end("a", start + Duration::millis(1'999))) << "it begins anew";
  EXPECT_EQ(metrics.flapping_total, 1u);
}

TEST(Flapping, WatchesABoundedNumber) {
  BanOptions options{.flapping_detected = true, .flapping_ends_max = 2, .flapping_window_ms = 1'000, .flapping_clients_max = 2};
  BanMetrics metrics;
  Flapping flapping(options, metrics);
  const Instant start{10'000'000'000};
  for (const char* id : {"a", "b", "c"}) EXPECT_FALSE(flapping.note_end(id, start));
  EXPECT_FALSE(flapping.note_end("c", start));
  EXPECT_EQ(metrics.flapping_unwatched_total, 2u);
  EXPECT_TRUE(flapping.note_end("a", start)) << "those that are watched are";
  const Instant later = start + Duration::millis(1'500);
  EXPECT_FALSE(flapping.note_end("c", later));
  EXPECT_TRUE(flapping.note_end("c", later)) << "the others' window is over";
  options.flapping_detected = false;
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(flapping.note_end("d", later));
}

TEST(Slow, KeepsTheSlowestOfLate) {
  ExtensionOptions options{.slow_subscriptions_max = 2, .slow_keep_ms = 1'000};
  ExtensionMetrics metrics;
  SlowSubscriptions slow(options, metrics);
  slow.report("a", "t", 600, 0);
  slow.report("b", "t", 900, 100);
  slow.report("c", "t", 500, 100);  // faster than both
  slow.report("c", "u", 700, 200);  // in a's place
  auto rows = slow.rows(300);
  SlowSubscriptions::rank(rows, 10);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].client_id, "b");
  EXPECT_EQ(rows[1].topic, "u");
  slow.report("b", "t", 650, 400);  // the last word holds
  rows = slow.rows(1'250);
  ASSERT_EQ(rows.size(), 1u) << "c's is over";
  EXPECT_EQ(rows[0].waited_ms, 650);
  slow.clear();
  EXPECT_TRUE(slow.rows(1'250).empty());
  EXPECT_EQ(metrics.slow_reports_total, 5u);
}

class ClientsTest : public testing::TestWithParam<int> {
 protected:
  ClientsTest() : rig_(GetParam()) {}
  RigClient& at_home_of(const std::string& id, const std::string& host = "192.0.2.1") {
    RigClient& client = rig_.client(slot_of(kDefaultTenant, id) % rig_.node.core_count());
    client.context.host = host;
    return client;
  }
  Code open(RigClient& client, const std::string& id, uint32_t expiry_s = 0) {
    const Reply reply = rig_.ask(client, OpenSession{.client_id = id, .clean_start = false, .expiry_s = expiry_s});
    rig_.settle();
    if (std::holds_alternative<ClientBanned>(reply)) return Code::not_authorised;
    const auto* error = std::get_if<Error>(&reply);
    return error ? error->code : Code::ok;
  }
  RigClient& connect(const std::string& id, const std::string& host = "192.0.2.1") {
    RigClient& client = at_home_of(id, host);
    EXPECT_EQ(open(client, id), Code::ok);
    return client;
  }
  Code ban(RigClient& operator_, BanBy by, const std::string& who, int64_t until_ms = 0) {
    return rig_.ask_for<ChangedBans>(operator_, AddBan{{.by = by, .who = who, .until_ms = until_ms}}).code;
  }
  size_t bans(RigClient& operator_) { return rig_.ask_for<ListedBans>(operator_, ListBans{}).bans.size(); }
  int64_t now_ms() { return rig_.node.core(0).wall_now().ms; }

  HallRig rig_;
};
INSTANTIATE_TEST_SUITE_P(Cores, ClientsTest, testing::Values(1, 3), testing::PrintToStringParamName());

TEST_P(ClientsTest, ListsClientsByPages) {
  rig_.start();
  RigClient& admin = rig_.client(0);
  for (const char* id : {"d", "a", "c"}) connect(id);
  RigClient& away = at_home_of("b");
  EXPECT_EQ(open(away, "b", 60), Code::ok);
  rig_.ask(away, Follow{{FollowOne{.filter = "x/#", .qos_max = 1}}});
  away.close();
  rig_.settle();
  auto page = rig_.ask_for<ListedClients>(admin, ListClients{.count_max = 3});
  ASSERT_EQ(page.clients.size(), 3u);
  EXPECT_EQ(page.clients[0].id, "a");
  EXPECT_TRUE(page.clients[0].is_connected);
  EXPECT_EQ(page.clients[0].host, "192.0.2.1");
  EXPECT_EQ(page.clients[1].id, "b");
  EXPECT_FALSE(page.clients[1].is_connected);
  EXPECT_TRUE(page.clients[1].is_stored);
  EXPECT_EQ(page.clients[1].subscriptions, 1);
  EXPECT_EQ(page.next, "c");
  page = rig_.ask_for<ListedClients>(admin, ListClients{.after = page.next, .count_max = 3});
  ASSERT_EQ(page.clients.size(), 1u);
  EXPECT_EQ(page.clients[0].id, "d");
  EXPECT_EQ(page.next, "");
}

TEST_P(ClientsTest, DescribesAClientsSubscriptions) {
  rig_.start();
  RigClient& admin = rig_.client(0);
  RigClient& one = connect("one");
  rig_.ask(one, Follow{{FollowOne{.filter = "x/#", .qos_max = 1}, FollowOne{.filter = "y", .share = "g", .qos_max = 2}}});
  const auto client = rig_.ask_for<DescribedClient>(admin, DescribeClient{"one"});
  EXPECT_EQ(client.code, Code::ok);
  ASSERT_EQ(client.subscriptions.size(), 2u);
  EXPECT_EQ(client.subscriptions[0].filter, "x/#");
  EXPECT_EQ(client.subscriptions[1].share, "g");
  EXPECT_EQ(client.subscriptions[1].qos_max, 2);
  EXPECT_EQ(rig_.ask_for<DescribedClient>(admin, DescribeClient{"two"}).code, Code::not_found);
}

TEST_P(ClientsTest, EndsAConnectionAndASession) {
  rig_.start();
  RigClient& admin = rig_.client(0);
  RigClient& one = at_home_of("one");
  EXPECT_EQ(open(one, "one", 600), Code::ok);
  EXPECT_EQ(rig_.ask_for<EndedClient>(admin, EndClient{"one"}).code, Code::ok);
  EXPECT_EQ(one.notices, std::vector<Notice>{Notice::ended});
  one.close();
  rig_.settle();
  EXPECT_EQ(rig_.ask_for<EndedClient>(admin, EndClient{"one"}).code, Code::not_found) << "it is not connected";
  EXPECT_EQ(rig_.ask_for<DescribedClient>(admin, DescribeClient{"one"}).code, Code::ok);
  EXPECT_EQ(rig_.ask_for<EndedClient>(admin, EndClient{"one", true}).code, Code::ok);
  EXPECT_EQ(rig_.ask_for<DescribedClient>(admin, DescribeClient{"one"}).code, Code::not_found);
  EXPECT_EQ(rig_.rows("session/"), 0u);
  RigClient& again = at_home_of("one");
  EXPECT_FALSE(std::get<SessionOpened>(rig_.ask(again, OpenSession{.client_id = "one", .clean_start = false})).is_present);
}

TEST_P(ClientsTest, RefusesAndEndsWhoIsBanned) {
  rig_.start();
  RigClient& admin = rig_.client(0);
  RigClient& one = connect("one");
  RigClient& two = connect("two", "::ffff:192.0.2.7");
  EXPECT_EQ(ban(admin, BanBy::client_id, "one"), Code::ok);
  EXPECT_EQ(one.notices, std::vector<Notice>{Notice::ended});
  EXPECT_TRUE(two.notices.empty());
  EXPECT_EQ(open(at_home_of("one"), "one"), Code::not_authorised);
  EXPECT_EQ(ban(admin, BanBy::host, "192.0.2.7"), Code::ok);
  EXPECT_EQ(two.notices, std::vector<Notice>{Notice::ended});
  EXPECT_EQ(open(at_home_of("three", "192.0.2.7"), "three"), Code::not_authorised);
  EXPECT_EQ(open(at_home_of("three", "192.0.2.8"), "three"), Code::ok);
  EXPECT_EQ(rig_.ask_for<ChangedBans>(admin, RemoveBan{BanBy::client_id, "one"}).code, Code::ok);
  EXPECT_EQ(rig_.ask_for<ChangedBans>(admin, RemoveBan{BanBy::client_id, "one"}).code, Code::not_found);
  EXPECT_EQ(open(at_home_of("one"), "one"), Code::ok);
}

TEST_P(ClientsTest, KeepsBansOverACrashUntilTheirTimeIsOver) {
  rig_.start();
  {
    RigClient& admin = rig_.client(0);
    EXPECT_EQ(ban(admin, BanBy::client_id, "one"), Code::ok);
    EXPECT_EQ(ban(admin, BanBy::client_id, "two", now_ms() + 3'600'000), Code::ok);
    EXPECT_TRUE(std::holds_alternative<Error>(rig_.ask(admin, AddBan{{.who = "x", .until_ms = 1}}))) << "a time gone by";
  }
  rig_.crash(runtime::sim::CrashKind::power);
  rig_.start();
  RigClient& admin = rig_.client(0);
  EXPECT_EQ(bans(admin), 2u);
  EXPECT_EQ(open(at_home_of("one"), "one"), Code::not_authorised);
  EXPECT_EQ(open(at_home_of("two"), "two"), Code::not_authorised);
  rig_.world.run_for(Duration::seconds(3'601));
  EXPECT_EQ(open(at_home_of("one"), "one"), Code::not_authorised);
  EXPECT_EQ(open(at_home_of("two"), "two"), Code::ok);
  EXPECT_EQ(bans(admin), 1u);
  rig_.world.run_for(Duration::millis(rig_.options.retention_check_ms + 100));
  EXPECT_EQ(rig_.rows("ban/"), 1u) << "what is over is forgotten";
}

// The old one is being forgotten while the new one is being written.
TEST_P(ClientsTest, KeepsABanThatIsMadeAgainWhenItsTimeIsOver) {
  rig_.options.retention_check_ms = 10;
  rig_.start();
  RigClient& admin = rig_.client(0);
  for (int64_t over_ms = 0; over_ms < 20; ++over_ms) {
    const std::string who = "one" + std::to_string(over_ms);
    EXPECT_EQ(ban(admin, BanBy::client_id, who, now_ms() + 5), Code::ok);
    rig_.world.run_for(Duration::millis(over_ms));
    EXPECT_EQ(ban(admin, BanBy::client_id, who), Code::ok);
  }
  rig_.settle();
  EXPECT_EQ(bans(admin), 20u);
  EXPECT_EQ(rig_.rows("ban/"), 20u);
}

TEST_P(ClientsTest, KeepsNoMoreBansThanItMay) {
  rig_.bans.bans_max = 2;
  rig_.start();
  RigClient& admin = rig_.client(0);
  EXPECT_EQ(ban(admin, BanBy::client_id, "one"), Code::ok);
  EXPECT_EQ(ban(admin, BanBy::host, "192.0.2.200"), Code::ok);
  EXPECT_EQ(ban(admin, BanBy::client_id, "two"), Code::quota_exceeded);
  EXPECT_EQ(ban(admin, BanBy::client_id, "one", now_ms() + 1'000), Code::ok) << "in the place of the same";
}

TEST_P(ClientsTest, BansWhoFlapsForAWhile) {
  rig_.bans = {.flapping_detected = true, .flapping_ends_max = 3, .flapping_ban_ms = 10'000};
  rig_.start();
  RigClient& admin = rig_.client(0);
  for (int i = 0; i < 3; ++i) connect("one").close();
  connect("two").close();
  rig_.settle();
  EXPECT_EQ(open(at_home_of("one"), "one"), Code::not_authorised);
  EXPECT_EQ(open(at_home_of("two"), "two"), Code::ok);
  const auto listed = rig_.ask_for<ListedBans>(admin, ListBans{});
  ASSERT_EQ(listed.bans.size(), 1u);
  EXPECT_EQ(listed.bans[0].author, "flapping");
  rig_.world.run_for(Duration::seconds(11));
  EXPECT_EQ(open(at_home_of("one"), "one"), Code::ok);
}

TEST_P(ClientsTest, CountsTakeoversAsFlapping) {
  rig_.bans = {.flapping_detected = true, .flapping_ends_max = 3};
  rig_.start();
  for (int i = 0; i < 4; ++i) connect("one");
  EXPECT_EQ(open(at_home_of("one"), "one"), Code::not_authorised) << "two clients that fight for an id";
}

TEST_P(ClientsTest, GathersSlowSubscriptionsOfAllCores) {
  rig_.start();
  RigClient& admin = rig_.client(0);
  for (const char* id : {"a", "b", "c", "d"}) {
    RigClient& client = connect(id);
    rig_.ask(client, ReportSlow{.topic = "t", .waited_ms = 500 + id[0]});
  }
  const auto listed = rig_.ask_for<ListedSlow>(admin, ListSlow{});
  ASSERT_EQ(listed.subscriptions.size(), 4u);
  EXPECT_EQ(listed.subscriptions[0].client_id, "d");
  EXPECT_EQ(listed.subscriptions[3].client_id, "a");
  rig_.ask(admin, ClearSlow{});
  rig_.settle();
  EXPECT_TRUE(rig_.ask_for<ListedSlow>(admin, ListSlow{}).subscriptions.empty());
}

TEST_P(ClientsTest, CountsWhatATopicCarriesOnDemand) {
  rig_.extensions.watched_topics_max = 2;
  rig_.start();
  RigClient& admin = rig_.client(1);
  const auto watch = [&](const std::string& topic, bool is_on) {
    return rig_.ask_for<WatchedTopic>(admin, WatchTopic{topic, is_on}).code;
  };
  EXPECT_EQ(watch("a/b", true), Code::ok);
  EXPECT_EQ(watch("a/b", true), Code::already_exists);
  EXPECT_EQ(watch("a/+", true), Code::invalid_topic);
  EXPECT_EQ(watch("c", true), Code::ok);
  EXPECT_EQ(watch("d", true), Code::quota_exceeded);
  EXPECT_EQ(watch("c", false), Code::ok);
  EXPECT_EQ(watch("c", false), Code::not_found);
  rig_.settle();
  RigClient& plain = connect("plain");
  RigClient& durable = at_home_of("durable");
  EXPECT_EQ(open(durable, "durable", 600), Code::ok);
  for (RigClient* each : {&plain, &durable}) rig_.ask(*each, Follow{{FollowOne{.filter = "a/#", .qos_max = 1}}});
  rig_.ask(plain, Follow{{FollowOne{.filter = "a/b", .share = "g", .qos_max = 1}}});
  for (const uint8_t qos : {0, 1, 1})
    EXPECT_EQ(rig_.publish(plain, {.topic = "a/b", .payload = as_bytes(std::string_view("four")), .qos = qos}), Code::ok);
  EXPECT_EQ(rig_.publish(plain, {.topic = "a/c", .payload = as_bytes(std::string_view("four"))}), Code::ok);
  rig_.settle();
  const auto listed = rig_.ask_for<ListedWatched>(admin, ListWatched{});
  ASSERT_EQ(listed.topics.size(), 1u);
  const TopicCounts& counts = listed.topics[0];
  EXPECT_EQ(counts.topic, "a/b");
  EXPECT_EQ(counts.messages_in, 3u);
  EXPECT_EQ(counts.bytes_in, 12u);
  EXPECT_EQ(counts.messages_in_by_qos[0], 1u);
  EXPECT_EQ(counts.messages_in_by_qos[1], 2u);
  EXPECT_EQ(counts.messages_out, 9u) << "three subscriptions";
}

}  // namespace
}  // namespace robustmq::broker
