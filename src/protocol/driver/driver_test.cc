// Links in the simulated world: a line protocol over real streams, a broker that the test answers for.
#include <gtest/gtest.h>

#include <map>

#include "protocol/driver/listener.h"
#include "runtime/sim/net.h"
#include "runtime/sim/world.h"

namespace robustmq::protocol::driver {
namespace {

using runtime::sim::SimCore;
using runtime::sim::SimNode;
using runtime::sim::SimWorld;

// Lines: "echo X" answers X; "call X" asks the broker and answers with what it says; "open ID" opens a session; "flood N" sends N
// bytes; "pause" takes no line until the next reply; "will X" asks X at the end; "bye" leaves.
class LineConnection final : public Connection {
 public:
  LineConnection(int64_t& count, LinkFacts facts) : count_(&count), facts_(std::move(facts)) { ++*count_; }
  ~LineConnection() override { --*count_; }

  void on_open(Outbox& out) override { out.arm(out.now() + Duration::seconds(5)); }
  size_t on_bytes(const Bytes& bytes, Outbox& out) override {
    size_t at = 0;
    while (!is_paused_ && !out.is_closing()) {
      const std::string_view rest = bytes.text().substr(at);
      const size_t end = rest.find('\n');
      if (end == rest.npos) break;
      at += end + 1;
      on_line(std::string(rest.substr(0, end)), out);
    }
    return at;
  }
  bool is_paused() const override { return is_paused_; }
  void on_reply(CallId, broker::Reply reply, Outbox& out) override {
    is_paused_ = false;
    if (auto* groups = std::get_if<broker::DescribedGroups>(&reply)) out.out().append("reply " + groups->groups[0].group + "\n");
    if (std::holds_alternative<broker::SessionOpened>(reply)) out.out().append("opened\n");
  }
  void on_delivery(const broker::Delivery& delivery, Outbox& out) override {
    if (!out.is_congested()) out.out().append("got " + std::string(delivery.topic) + "\n");
  }
  void on_notice(broker::Notice notice, Outbox& out) override {
    if (is_stubborn_) return;
    out.out().append("notice\n");
    out.close(notice == broker::Notice::stopping ? CloseWhy::stopping : CloseWhy::taken_over);
  }
  void on_timer(Outbox& out) override {
    if (!out.is_read()) return out.arm(out.now() + Duration::seconds(5));
    out.close(CloseWhy::timed_out);
  }
  void on_drained(Outbox&) override {}
  void on_peer_closed(Outbox& out) override {
    if (!will_.empty()) out.call(ask(will_));
  }
  void move_to(int64_t& count) {
    --*std::exchange(count_, &count);
    ++*count_;
  }

 private:
  static broker::DescribeGroups ask(std::string text) { return {{std::move(text)}}; }
  void on_line(const std::string& line, Outbox& out) {
    const size_t space = line.find(' ');
    const std::string verb = line.substr(0, space);
    const std::string rest = space == line.npos ? "" : line.substr(space + 1);
    if (verb == "echo") out.out().append(rest + "\n");
    if (verb == "call") out.call(ask(rest));
    if (verb == "open") {
      out.arm(Instant::never());
      out.call(broker::OpenSession{rest});
    }
    if (verb == "flood") out.send(Bytes::copy_of(std::string(std::stoul(rest), 'x')));
    if (verb == "pause") is_paused_ = true;
    if (verb == "will") will_ = rest;
    if (verb == "stubborn") is_stubborn_ = true;
    if (verb == "bye") out.close(CloseWhy::client_left);
    if (verb == "calm") out.arm(Instant::never());
  }

  int64_t* count_;
  LinkFacts facts_;
  bool is_paused_ = false;
  bool is_stubborn_ = false;
  std::string will_;
};

class LineConnections final : public Connections {
 public:
  std::unique_ptr<Connection> make(const LinkFacts& link) override { return std::make_unique<LineConnection>(count, link); }
  void leave(Connection&) override {}
  void join(Connection& connection) override { static_cast<LineConnection&>(connection).move_to(count); }
  int64_t count = 0;
};

class FakeBroker final : public broker::Broker {
 public:
  void execute(broker::Context& context, broker::Request request, broker::ReplyTo done) override {
    EXPECT_FALSE(is_inside) << "the broker was called from inside itself";
    if (auto* open = std::get_if<broker::OpenSession>(&request)) {
      context.session = open->client_id;
      connection_ids.push_back(context.connection_id);
      sinks[open->client_id] = context.sink;
      asked.push_back("open " + open->client_id);
      return done(broker::SessionOpened{});
    }
    const std::string text = std::get<broker::DescribeGroups>(request).groups[0];
    asked.push_back(text);
    if (text.starts_with("later")) {
      waiting.emplace_back(text, std::move(done));
    } else {
      done(answer(text));
    }
  }
  void close(broker::Context& context) override {
    EXPECT_FALSE(is_inside);
    sinks.erase(context.session);
    asked.push_back("close " + context.session);
  }
  CoreIndex session_home(TenantId, std::string_view client_id) const override {
    return static_cast<CoreIndex>(client_id[0] - '0');
  }

  static broker::Reply answer(const std::string& text) {
    broker::DescribedGroups reply;
    reply.groups.push_back({.group = text});
    return reply;
  }
  void answer_all() {
    is_inside = true;
    for (auto& [text, done] : std::exchange(waiting, {})) done(answer(text));
    is_inside = false;
  }
  void deliver(std::string_view topic) {
    is_inside = true;
    const RecordView record;
    const Bytes owner;
    for (auto& [id, sink] : std::map(sinks)) {
      broker::DeliveryScratch scratch;
      sink->on_delivery({.topic = topic, .record = record, .owner = owner, .scratch = scratch});
    }
    is_inside = false;
  }

  std::vector<std::string> asked;
  std::vector<uint64_t> connection_ids;  // of the sessions that were opened
  std::map<std::string, broker::Sink*> sinks;
  std::vector<std::pair<std::string, broker::ReplyTo>> waiting;
  bool is_inside = false;
};

class NoLines final : public observe::LogSink {
 public:
  WallTime now() override { return {}; }
  void write(observe::Level, std::string_view line) override { lines += line; }
  std::string lines;
};

// One core's part of the node.
struct Seat {
  Seat(SimCore& at, ListenerOptions options, net::StreamLimits limits, ListenerRules rules)
      : core(at),
        streams(core, limits),
        listener({core, streams, broker, connections, log, last_link_id}, "lines", options, std::move(rules)) {}
  SimCore& core;
  NoLines lines;
  observe::Log log{lines, observe::Level::debug};
  FakeBroker broker;
  LineConnections connections;
  net::Streams streams;
  uint64_t last_link_id = 0;
  Listener listener;
};

// A client: sends text, collects what comes.
class Client final : private runtime::SocketEvents {
 public:
  Client(SimCore& core, const runtime::Endpoint& at) {
    core.net().connect(at, [this](Result<std::unique_ptr<runtime::Socket>> result) {
      ASSERT_TRUE(result.ok());
      socket = result.take();
      socket->start(*this);
      on_writable();
    });
  }
  void send(std::string_view text) {
    unsent += text;
    if (socket) on_writable();
  }
  void stop_reading() { socket->want_read(false); }
  void leave() { socket.reset(); }

  std::string got;
  bool ended = false;
  std::unique_ptr<runtime::Socket> socket;

 private:
  void on_readable() override {
    uint8_t bytes[4096];
    for (;;) {
      const runtime::IoResult result = socket->read(bytes);
      if (result.kind == runtime::IoResult::Kind::would_block) return;
      if (result.kind != runtime::IoResult::Kind::moved) {
        ended = true;
        socket.reset();
        return;
      }
      got.append(reinterpret_cast<char*>(bytes), result.bytes);
    }
  }
  void on_writable() override {
    while (!unsent.empty()) {
      const Pieces pieces{Piece::of(Bytes::copy_of(unsent))};
      const runtime::IoResult result = socket->write(pieces, 0);
      if (result.kind != runtime::IoResult::Kind::moved) break;
      unsent.erase(0, result.bytes);
    }
    socket->want_write(!unsent.empty());
  }
  std::string unsent;
};

class DriverTest : public ::testing::Test {
 protected:
  void start(CoreIndex cores = 1, ListenerOptions options = {}, net::StreamLimits limits = {}, ListenerRules rules = {}) {
    SimNode& node = world.add_node({.name = "server", .cores = cores});
    clients = &world.add_node({.name = "clients"});
    std::vector<Listener*> peers;
    for (CoreIndex i = 0; i < cores; ++i) {
      seats.push_back(std::make_unique<Seat>(node.core(i), options, limits, rules));
      peers.push_back(&seats.back()->listener);
    }
    for (auto& seat : seats) seat->listener.set_peers(peers);
    const Result<runtime::Endpoint> at = seats[0]->listener.start({"server", 0});
    ASSERT_TRUE(at.ok());
    for (CoreIndex i = 1; i < cores && accepts_on_all; ++i) ASSERT_TRUE(seats[i]->listener.start({"server", at->port}).ok());
    address = {"server", at->port};
  }
  ~DriverTest() override { seats.clear(); }
  bool until(Callback<bool()> holds) { return world.run_until(std::move(holds), Duration::seconds(100)); }
  std::unique_ptr<Client> connect() { return std::make_unique<Client>(clients->core(0), address); }
  Seat& seat(int i = 0) { return *seats[i]; }

  SimWorld world{{.seed = 7}};
  SimNode* clients = nullptr;
  bool accepts_on_all = false;
  runtime::Endpoint address;
  std::vector<std::unique_ptr<Seat>> seats;
};

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

// ---- The way in ----

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
}  // namespace robustmq::protocol::driver
