// Links: what they carry between their clients, their connections and the broker.
#include "protocol/driver/driver_rig.h"

namespace robustmq::protocol::driver::test {
namespace {

TEST_F(DriverTest, CarriesBytesCallsAndReplies) {
  start();
  const auto client = connect();
  client->send("echo a\ncall b\necho c\ncall later d\nbye\n");
  ASSERT_TRUE(until([&] { return client->ended; }));
  EXPECT_EQ(client->got, "a\nc\n") << "replies that come after the close are dropped";
  EXPECT_EQ(seat().broker.asked, (std::vector<std::string>{"b", "later d", "close "}));
  seat().broker.answer_all();
  world.run_for(Duration::seconds(1));
  EXPECT_EQ(seat().listener.link_count(), 0u);
  EXPECT_EQ(seat().connections.count, 0);
  EXPECT_EQ(seat().listener.metrics().closed_client_left_total, 1u);
}

TEST_F(DriverTest, AnswersLaterAndInAnyOrder) {
  start();
  const auto client = connect();
  client->send("call later 1\ncall 2\n");
  ASSERT_TRUE(until([&] { return client->got == "reply 2\n"; }));
  seat().broker.answer_all();
  ASSERT_TRUE(until([&] { return client->got == "reply 2\nreply later 1\n"; }));
}

TEST_F(DriverTest, TellsAConnectionWhatItTookOfTheCore) {
  start();
  const auto client = connect();
  const auto spent = [&](std::string_view lines) {
    client->got.clear();
    client->send(std::string(lines) + "spent\n");
    EXPECT_TRUE(until([&] { return client->got.starts_with("spent ") && client->got.ends_with("\n"); }));
    return std::stoi(client->got.substr(6));
  };
  EXPECT_EQ(spent(""), 0) << "it does not want to know";
  const int before = spent("timed\n");
  client->got.clear();
  client->send("call later a\n");
  ASSERT_TRUE(until([&] { return seat().broker.waiting.size() == 1; }));
  const int asked = spent("");
  EXPECT_GE(asked, before + 2) << "an input and its call";
  client->got.clear();
  seat().broker.answer_all();
  ASSERT_TRUE(until([&] { return client->got == "reply later a\n"; }));
  EXPECT_GE(spent(""), asked + 2) << "an input and the reply";
}

TEST_F(DriverTest, HandsOverNothingWhilePaused) {
  start();
  const auto client = connect();
  client->send("call later x\npause\necho behind\n");
  world.run_for(Duration::seconds(1));
  EXPECT_EQ(client->got, "");
  seat().broker.answer_all();
  ASSERT_TRUE(until([&] { return client->got == "reply later x\nbehind\n"; }));
}

TEST_F(DriverTest, ExecutesTheLastCallsBeforeTheBrokerForgetsTheLink) {
  start();
  const auto client = connect();
  client->send("will remember\necho ok\n");
  ASSERT_TRUE(until([&] { return client->got == "ok\n"; }));
  client->leave();
  ASSERT_TRUE(until([&] { return seat().listener.link_count() == 0; }));
  EXPECT_EQ(seat().broker.asked, (std::vector<std::string>{"remember", "close "}));
  EXPECT_EQ(seat().listener.metrics().closed_peer_closed_total, 1u);
}

TEST_F(DriverTest, ArmsTheConnectionsTimer) {
  start();
  const auto client = connect();
  ASSERT_TRUE(until([&] { return client->ended; }));
  EXPECT_EQ(seat().listener.metrics().closed_timed_out_total, 1u);
  EXPECT_NE(seat().lines.lines.find("connection_closed protocol=lines why=timed_out"), std::string::npos) << seat().lines.lines;
  EXPECT_GE(world.now() - Instant{}, Duration::seconds(5));
}

TEST_F(DriverTest, TellsAConnectionThatItsClientIsNotRead) {
  start(1, {.stalled_ms_max = 600'000});
  const auto client = connect();
  ASSERT_TRUE(until([&] { return client->socket != nullptr; }));
  client->stop_reading();
  client->send("flood 3000000\n");
  world.run_for(Duration::seconds(20));
  EXPECT_EQ(seat().listener.link_count(), 1u);
  EXPECT_EQ(seat().listener.metrics().closed_timed_out_total, 0u);
}

TEST_F(DriverTest, ClosesWithinItsLimit) {
  start(1, {.close_ms_max = 2'000});
  const auto client = connect();
  ASSERT_TRUE(until([&] { return client->socket != nullptr; }));
  client->stop_reading();
  client->send("flood 3000000\nbye\n");
  world.run_for(Duration::millis(1'500));
  EXPECT_EQ(seat().listener.link_count(), 1u) << "the client may still take it";
  world.run_for(Duration::seconds(1));
  EXPECT_EQ(seat().listener.link_count(), 0u);
}

TEST_F(DriverTest, GivesNoTwoConnectionsOfACoreTheSameId) {
  start();
  Listener second({seat().core, seat().streams, seat().broker, seat().connections, seat().log, seat().last_link_id}, "lines", {});
  const Result<runtime::Endpoint> at = second.start({"server", 0});
  ASSERT_TRUE(at.ok());
  const auto first_client = connect();
  Client second_client(clients->core(0), {"server", at->port});
  first_client->send("open 0a\n");
  second_client.send("open 0b\n");
  ASSERT_TRUE(until([&] { return first_client->got == "opened\n" && second_client.got == "opened\n"; }));
  ASSERT_EQ(seat().broker.connection_ids.size(), 2u);
  EXPECT_NE(seat().broker.connection_ids[0], seat().broker.connection_ids[1]);
}

TEST_F(DriverTest, SendsWhatOneTurnDeliversInOneWrite) {
  start();
  const auto client = connect();
  client->send("open 0a\n");
  ASSERT_TRUE(until([&] { return client->got == "opened\n"; }));
  const uint64_t writes = seat().streams.counters().writes_total;
  seat().core.post([&] {
    for (int i = 0; i < 100; ++i) seat().broker.deliver("t");
  });
  ASSERT_TRUE(until([&] { return client->got.size() == 7 + 100 * 6; }));
  EXPECT_EQ(seat().streams.counters().writes_total, writes + 1);
}

TEST_F(DriverTest, MovesTheLinkToItsSessionsCore) {
  start(3);
  const auto client = connect();
  client->send("echo before\nopen 2a\ncall behind\necho after\n");
  ASSERT_TRUE(until(
      [&] { return client->got.find("after\n") != std::string::npos && client->got.find("behind\n") != std::string::npos; }));
  EXPECT_TRUE(client->got.starts_with("before\n")) << client->got;
  EXPECT_EQ(seat(0).broker.asked, (std::vector<std::string>{}));
  EXPECT_EQ(seat(2).broker.asked, (std::vector<std::string>{"open 2a", "behind"}));
  EXPECT_EQ(seat(0).connections.count, 0);
  EXPECT_EQ(seat(2).connections.count, 1);
  EXPECT_EQ(seat(2).listener.link_count(), 1u);
  client->send("will w\ncall x\n");
  ASSERT_TRUE(until([&] { return client->got.ends_with("reply x\n"); }));
  seat(2).core.post([&] { seat(2).broker.deliver("t"); });
  ASSERT_TRUE(until([&] { return client->got.ends_with("got t\n"); }));
  client->leave();
  ASSERT_TRUE(until([&] { return seat(2).listener.link_count() == 0; }));
  EXPECT_EQ(seat(2).broker.asked, (std::vector<std::string>{"open 2a", "behind", "x", "w", "close 2a"}));
}

TEST_F(DriverTest, DisconnectsASlowReader) {
  ListenerOptions options;
  options.stalled_ms_max = 2000;
  start(1, options);
  const auto client = connect();
  client->send("calm\necho in\n");
  ASSERT_TRUE(until([&] { return client->got == "in\n"; }));
  client->stop_reading();
  client->send("flood 3000000\necho unread\n");
  ASSERT_TRUE(until([&] { return seat().listener.link_count() == 0; }));
  EXPECT_EQ(seat().listener.metrics().closed_slow_reader_total, 1u);
  EXPECT_EQ(seat().connections.count, 0);
}

TEST_F(DriverTest, ReadsOnWhenASlowReaderHasCaughtUp) {
  ListenerOptions options;
  options.stalled_ms_max = 2000;
  start(1, options);
  const auto client = connect();
  client->send("calm\necho in\n");
  ASSERT_TRUE(until([&] { return client->got == "in\n"; }));
  client->stop_reading();
  client->send("flood 1000000\n");
  world.run_for(Duration::seconds(1));
  client->send("echo read\n");
  client->socket->want_read(true);
  ASSERT_TRUE(until([&] { return client->got.ends_with("read\n"); }));
  world.run_for(Duration::seconds(10));
  EXPECT_FALSE(client->ended);
}

TEST_F(DriverTest, TellsTheBrokerThatAClientItWaitsForIsReady) {
  start();
  const auto client = connect();
  client->send("open 0\nfull\necho a\n");
  ASSERT_TRUE(until([&] { return client->got == "a\nopened\n" || client->got == "opened\na\n"; }));
  broker::Sink& sink = *seat().broker.sinks.at("0");
  EXPECT_FALSE(sink.is_ready());
  seat().broker.contexts.at("0")->is_waited_for = true;
  client->send("echo b\n");
  ASSERT_TRUE(until([&] { return client->got.ends_with("b\n"); }));
  EXPECT_NE(seat().broker.asked.back(), "ready 0") << "it is full still";
  client->send("room\necho c\n");
  ASSERT_TRUE(until([&] { return client->got.ends_with("c\n"); }));
  EXPECT_EQ(seat().broker.asked.back(), "ready 0");
  client->send("echo d\n");
  ASSERT_TRUE(until([&] { return client->got.ends_with("d\n"); }));
  EXPECT_EQ(std::count(seat().broker.asked.begin(), seat().broker.asked.end(), "ready 0"), 1) << "nobody waits any more";
}

TEST_F(DriverTest, BoundsWhatWaitsForOneClient) {
  ListenerOptions options;
  options.unsent_bytes_max = 1 << 20;
  start(1, options);
  const auto client = connect();
  client->send("flood 3000000\n");
  ASSERT_TRUE(until([&] { return client->ended; }));
  EXPECT_EQ(seat().listener.metrics().closed_slow_reader_total, 1u);
}

TEST_F(DriverTest, RefusesConnectionsOverTheLimit) {
  ListenerOptions options;
  options.connections_max = 2;
  start(1, options);
  const auto a = connect(), b = connect();
  a->send("echo a\n");
  b->send("echo b\n");
  ASSERT_TRUE(until([&] { return a->got == "a\n" && b->got == "b\n"; }));
  const auto c = connect();
  ASSERT_TRUE(until([&] { return c->ended; }));
  EXPECT_EQ(seat().listener.metrics().refused_limit_total, 1u);
  a->send("bye\n");
  ASSERT_TRUE(until([&] { return seat().listener.link_count() == 1; }));
  const auto d = connect();
  d->send("echo d\n");
  ASSERT_TRUE(until([&] { return d->got == "d\n"; }));
}

TEST_F(DriverTest, StopsInBoundedTime) {
  start();
  const auto kind = connect(), stubborn = connect(), deaf = connect();
  kind->send("calm\nwill k\necho 1\n");
  stubborn->send("calm\nstubborn\necho 2\n");
  deaf->send("calm\nstubborn\necho 3\n");
  ASSERT_TRUE(until([&] { return kind->got == "1\n" && stubborn->got == "2\n" && deaf->got == "3\n"; }));
  deaf->stop_reading();
  deaf->send("flood 3000000\n");
  world.run_for(Duration::millis(100));
  const Instant from = world.now();
  bool is_stopped = false;
  seat().core.post([&] { seat().listener.stop(Duration::seconds(4), [&] { is_stopped = true; }); });
  ASSERT_TRUE(until([&] { return kind->ended; }));
  EXPECT_EQ(kind->got, "1\nnotice\n");
  EXPECT_LT(world.now() - from, Duration::seconds(1));
  ASSERT_TRUE(until([&] { return stubborn->ended; }));
  ASSERT_TRUE(until([&] { return is_stopped; }));
  EXPECT_LT(world.now() - from, Duration::seconds(5));
  EXPECT_EQ(seat().listener.link_count(), 0u);
  EXPECT_EQ(seat().listener.metrics().closed_stopping_total, 3u);
}

TEST_F(DriverTest, GivesTheSameHoweverTheInputIsCut) {
  start();
  world.network().set_options({.cut_per_million = 1'000'000});
  const auto client = connect();
  std::string sent, wanted;
  for (int i = 0; i < 300; ++i) {
    const std::string number = std::to_string(i);
    sent += "call " + number + "\n";
    wanted += "reply " + number + "\n";
  }
  client->send(sent);
  ASSERT_TRUE(until([&] { return client->got.size() >= wanted.size(); }));
  EXPECT_EQ(client->got, wanted);
}

TEST(Link, IsSmallWhenIdle) { EXPECT_LE(sizeof(Link), 500u) << sizeof(net::ByteStream); }

}  // namespace
}  // namespace robustmq::protocol::driver::test
