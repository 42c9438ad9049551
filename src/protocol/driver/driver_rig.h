// DriverRig: links in the simulated world: a line protocol over real streams, a broker that the test answers for. For tests of
// the driver.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "protocol/driver/listener.h"
#include "runtime/sim/net.h"
#include "runtime/sim/world.h"

namespace robustmq::protocol::driver::test {

using runtime::sim::SimCore;
using runtime::sim::SimNode;
using runtime::sim::SimWorld;

// Lines: "echo X" answers X; "call X" asks the broker and answers with what it says; "open ID" opens a session; "flood N" sends N
// bytes; "pause" takes no line until the next reply; "full" takes no more deliveries until "room"; "will X" asks X at the end;
// "bye" leaves; "timed" has its time taken from then on, "spent" tells how often a millisecond of it went.
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
  bool takes_deliveries() const override { return !is_full_; }
  bool is_timed() const override { return is_timed_; }
  void on_spent(Duration time) override { spent_ = spent_ + time; }
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
    if (verb == "full") is_full_ = true;
    if (verb == "room") is_full_ = false;
    if (verb == "pause") is_paused_ = true;
    if (verb == "will") will_ = rest;
    if (verb == "stubborn") is_stubborn_ = true;
    if (verb == "bye") out.close(CloseWhy::client_left);
    if (verb == "timed") is_timed_ = true;
    if (verb == "spent") out.out().append("spent " + std::to_string(spent_.to_millis()) + "\n");
    if (verb == "calm") out.arm(Instant::never());
  }

  int64_t* count_;
  LinkFacts facts_;
  bool is_paused_ = false;
  bool is_full_ = false;
  bool is_stubborn_ = false;
  bool is_timed_ = false;
  Duration spent_{};
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
      contexts[open->client_id] = &context;
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
    contexts.erase(context.session);
    asked.push_back("close " + context.session);
  }
  void on_ready(broker::Context& context) override {
    EXPECT_FALSE(is_inside);
    context.is_waited_for = false;
    asked.push_back("ready " + context.session);
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
  std::map<std::string, broker::Context*> contexts;
  std::vector<std::pair<std::string, broker::ReplyTo>> waiting;
  bool is_inside = false;
};

class NoLines final : public observe::LogSink {
 public:
  WallTime now() override { return {}; }
  void write(observe::Level, std::string_view line) override { lines += line; }
  std::string lines;
};

// A clock that goes a millisecond at every look.
inline Instant ticking() {
  static Instant now;
  return now = now + Duration::millis(1);
}

// One core's part of the node.
struct Seat {
  Seat(SimCore& at, ListenerOptions options, net::StreamLimits limits, ListenerRules rules)
      : core(at),
        streams(core, limits),
        listener({core, streams, broker, connections, log, last_link_id, &ticking}, "lines", options, std::move(rules)) {}
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

}  // namespace robustmq::protocol::driver::test
