// Listeners: who comes in, how fast, and how many.
#include "protocol/driver/driver_rig.h"

namespace robustmq::protocol::driver::test {
namespace {

const std::string kOpening =
    "GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

// A client's frame, masked with zeros.
std::string frame(std::string_view payload) {
  return std::string("\x82") + static_cast<char>(0x80 | payload.size()) + std::string(4, '\0') + std::string(payload);
}

size_t count_of(std::string_view text, std::string_view what) {
  size_t count = 0;
  for (size_t at = text.find(what); at != text.npos; at = text.find(what, at + 1)) ++count;
  return count;
}

ListenerRules websocket_rules() {
  ListenerRules rules;
  rules.name = "lines_websocket";
  rules.entrance.is_websocket = true;
  return rules;
}

TEST_F(DriverTest, OpensWebSocketBeforeTheProtocolBegins) {
  start(2, {}, {}, websocket_rules());
  const auto client = connect();
  world.run_for(Duration::millis(10));
  EXPECT_EQ(seat().connections.count, 0) << "no connection before the opening";
  EXPECT_EQ(seat().listener.metrics().entering, 1);
  client->send(kOpening);
  ASSERT_TRUE(until([&] { return client->got.find("\r\n\r\n") != std::string::npos; }));
  EXPECT_TRUE(client->got.starts_with("HTTP/1.1 101 "));
  EXPECT_EQ(seat().listener.metrics().entering, 0);
  client->got.clear();
  client->send(frame("echo a\nec") + frame("ho b\n"));
  ASSERT_TRUE(until([&] { return client->got.size() >= 6; }));
  EXPECT_TRUE(client->got == std::string("\x82\x04"
                                         "a\nb\n") ||
              client->got == std::string("\x82\x02"
                                         "a\n\x82\x02"
                                         "b\n"));
  // To another core and back in frames.
  client->got.clear();
  client->send(frame("open 1x\n") + frame("echo c\n"));
  ASSERT_TRUE(until([&] { return client->got.find("c\n") != std::string::npos; }));
  EXPECT_EQ(seat(1).listener.link_count(), 1u);
  client->send(frame("bye\n"));
  ASSERT_TRUE(until([&] { return client->ended; }));
  EXPECT_EQ(client->got.substr(client->got.size() - 4), "\x88\x02\x03\xe8");
}

TEST_F(DriverTest, RefusesWhoDoesNotComeInInTime) {
  ListenerRules rules = websocket_rules();
  rules.entrance.time_max = Duration::seconds(10);
  start(1, {}, {}, rules);
  std::vector<std::unique_ptr<Client>> silent;
  for (int i = 0; i < 20; ++i) silent.push_back(connect());
  const auto slow = connect();
  slow->send("GET /mqtt HTT");
  world.run_for(Duration::seconds(9));
  EXPECT_EQ(seat().listener.metrics().entering, 21);
  world.run_for(Duration::seconds(3));
  EXPECT_EQ(seat().listener.metrics().entering, 0);
  EXPECT_EQ(seat().listener.metrics().refused_websocket_total, 21u);
  EXPECT_TRUE(slow->ended);
  EXPECT_EQ(seat().connections.count, 0);
  EXPECT_LE(count_of(seat().lines.lines, "connection_refused"), 2u) << seat().lines.lines;
}

TEST_F(DriverTest, RefusesGarbageAtTheDoor) {
  start(1, {}, {}, websocket_rules());
  const auto garbage = connect();
  garbage->send("\x10\x0c\x00\x04MQTT\x04\x02\n\n");
  ASSERT_TRUE(until([&] { return garbage->ended; }));
  EXPECT_TRUE(garbage->got.starts_with("HTTP/1.1 400 ")) << garbage->got;
  const auto large = connect();
  large->send("GET /mqtt HTTP/1.1\r\nCookie: " + std::string(8000, 'c') + "\r\n\r\n");
  ASSERT_TRUE(until([&] { return large->ended; }));
  const auto eager = connect();
  eager->send(kOpening + frame("echo a\n"));
  ASSERT_TRUE(until([&] { return eager->ended; }));
  EXPECT_EQ(seat().listener.metrics().refused_websocket_total, 3u);
  EXPECT_EQ(seat().connections.count, 0);
}

TEST_F(DriverTest, CountsPlacesOnAllCoresTogether) {
  ListenerRules rules;
  rules.name = "few";
  rules.places = std::make_shared<ConnectionPlaces>(3);
  rules.node_places = std::make_shared<ConnectionPlaces>(100);
  accepts_on_all = true;
  start(2, {}, {}, rules);
  auto accepted = [&] { return seat(0).listener.metrics().accepted_total + seat(1).listener.metrics().accepted_total; };
  auto refused = [&] { return seat(0).listener.metrics().refused_limit_total + seat(1).listener.metrics().refused_limit_total; };
  std::vector<std::unique_ptr<Client>> some;
  for (int i = 0; i < 10; ++i) {
    some.push_back(connect());
    some.back()->send("calm\nopen " + std::to_string(i % 2) + "x\n");
  }
  ASSERT_TRUE(until([&] { return accepted() + refused() == 10; }));
  EXPECT_EQ(accepted(), 3u);
  world.run_for(Duration::seconds(1));
  EXPECT_EQ(seat(0).listener.link_count() + seat(1).listener.link_count(), 3u) << "moves keep their place";
  some.clear();
  ASSERT_TRUE(until([&] { return seat(0).listener.link_count() + seat(1).listener.link_count() == 0; }));
  for (int i = 0; i < 3; ++i) some.push_back(connect());
  ASSERT_TRUE(until([&] { return accepted() + refused() == 13; }));
  EXPECT_EQ(accepted(), 6u) << "places come free, on whatever core the links end";
}

TEST_F(DriverTest, ConnectionsOverTheRateWaitForTheirTurn) {
  ListenerRules rules;
  rules.connections_rate = std::make_shared<Rate>(2);
  start(1, {.connections_waiting_max = 3}, {}, rules);
  std::vector<std::unique_ptr<Client>> some;
  for (int i = 0; i < 6; ++i) {
    some.push_back(connect());
    some.back()->send("calm\n");
  }
  const ListenerMetrics& metrics = seat().listener.metrics();
  ASSERT_TRUE(until([&] { return metrics.refused_rate_total == 1; }));
  EXPECT_EQ(metrics.accepted_total, 2u) << "a second's worth at once";
  EXPECT_EQ(metrics.delayed_rate_total, 3u);
  world.run_for(Duration::millis(600));
  EXPECT_EQ(metrics.accepted_total, 3u);
  world.run_for(Duration::millis(1'100));
  EXPECT_EQ(metrics.accepted_total, 5u);
  EXPECT_EQ(seat().listener.link_count(), 5u);
}

TEST_F(DriverTest, SaysOnceASecondHowManyWereRefused) {
  start(1, {.connections_max = 1});
  const auto first = connect();
  first->send("calm\n");
  world.run_for(Duration::millis(100));
  std::vector<std::unique_ptr<Client>> more;
  for (int i = 0; i < 50; ++i) more.push_back(connect());
  world.run_for(Duration::seconds(5));
  const std::string& lines = seat().lines.lines;
  EXPECT_EQ(seat().listener.metrics().refused_limit_total, 50u);
  EXPECT_EQ(count_of(lines, "connection_refused"), 2u) << lines;
  EXPECT_NE(lines.find("count=1"), std::string::npos) << lines;
  EXPECT_NE(lines.find("count=49"), std::string::npos) << lines;
}

}  // namespace
}  // namespace robustmq::protocol::driver::test
