// Connection: a protocol's side of one client link, as a pure machine. What a protocol author sees; the driver
// (protocol/driver) carries bytes, replies, deliveries and time to it and takes its outputs away. Pure.
//
// Rules: replies come in any order and may come inside call() 's own turn (never re-entrantly: the driver queues them until the
// current on_... has returned). Calls of one connection on one shard take effect in call order. Over its output limit the
// driver hands over no bytes and no replies' worth of new work (is_congested() in the outbox turns true; on_drained follows);
// deliveries still come, and the connection decides what to keep, within its own limits.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/pieces.h"
#include "base/rate.h"
#include "base/time.h"
#include "broker/menu/request.h"

namespace robustmq::protocol {

using CallId = uint64_t;

// Why a connection ends; logged and counted by name.
enum class CloseWhy : uint8_t {
  none,
  client_left,  // the protocol's own goodbye
  peer_closed,  // the socket ended without one
  protocol_error,
  not_supported,  // a feature that is not there, refused
  timed_out,      // keep-alive, or no login in time
  taken_over,
  slow_reader,  // its output limit is reached
  over_limit,   // another declared limit
  stopping,
  ended,           // by who looks after the node: a ban, or by hand
  not_authorised,  // its login failed
};
std::string_view close_why_name(CloseWhy why);

// The outputs of one input. The driver owns it, clears it, and carries it out after each input.
class Outbox {
 public:
  struct Call {
    CallId id;
    broker::Request request;
  };

  // ---- for the connection ----
  Instant now() const { return now_; }
  WallTime wall_now() const { return wall_now_; }
  // Bytes to send, in order. Small writes go through out(): append to it directly.
  Buffer& out() { return out_; }
  void send(Pieces pieces);  // after everything in out() so far
  void send(Bytes bytes) { send(Pieces{Piece::of(std::move(bytes))}); }
  CallId call(broker::Request request) {
    calls_.push_back({++*last_call_, std::move(request)});
    return *last_call_;
  }
  // The answer of this call is not wanted any more (a parked fetch).
  void cancel(CallId id) { cancelled_.push_back(id); }
  // The connection's one timer: on_timer comes at `due` (a millisecond's grain); replaces what was armed. Instant::never()
  // disarms.
  void arm(Instant due) {
    timer_ = due;
    has_timer_ = true;
  }
  // Flushes what was sent, then closes. `detail` is logged. Calls issued before it (a will) still take effect.
  void close(CloseWhy why, std::string detail = {}) {
    if (close_ != CloseWhy::none) return;
    close_ = why;
    close_detail_ = std::move(detail);
  }
  bool is_closing() const { return close_ != CloseWhy::none; }
  // Bytes that wait in front of this connection's socket; deliveries of no account are dropped over the limit.
  uint64_t unsent_bytes() const { return unsent_bytes_ + out_.size(); }
  bool is_congested() const { return unsent_bytes() > unsent_limit_; }
  // False: the client is not read now, over this limit or another one, so that its silence means nothing.
  bool is_read() const { return is_read_ && !is_congested(); }

  // ---- for the driver and for tests ----
  void begin(Instant now, WallTime wall_now, CallId* last_call, uint64_t unsent_bytes, uint64_t unsent_limit,
             bool is_read = true) {
    now_ = now;
    wall_now_ = wall_now;
    last_call_ = last_call;
    unsent_bytes_ = unsent_bytes;
    unsent_limit_ = unsent_limit;
    is_read_ = is_read;
  }
  Pieces take_pieces();  // everything sent, in order, out() included
  std::vector<Call>& calls() { return calls_; }
  std::vector<CallId>& cancelled() { return cancelled_; }
  bool has_timer() const { return has_timer_; }
  Instant timer() const { return timer_; }
  CloseWhy close_why() const { return close_; }
  const std::string& close_detail() const { return close_detail_; }
  bool has_sent() const { return !pieces_.empty() || !out_.empty(); }
  bool has_pieces() const { return !pieces_.empty(); }
  void clear();

 private:
  Instant now_{};
  WallTime wall_now_{};
  CallId* last_call_ = nullptr;
  uint64_t unsent_bytes_ = 0;
  uint64_t unsent_limit_ = UINT64_MAX;
  bool is_read_ = true;
  Buffer out_;
  Pieces pieces_;
  std::vector<Call> calls_;
  std::vector<CallId> cancelled_;
  Instant timer_{};
  bool has_timer_ = false;
  CloseWhy close_ = CloseWhy::none;
  std::string close_detail_;
};

class Connection {
 public:
  virtual ~Connection() = default;
  // First call, before any bytes: arms the login timer.
  virtual void on_open(Outbox& out) = 0;
  // All bytes that are there and not consumed yet, from the front. Returns how many were consumed; the rest comes again with
  // more behind it. bytes_wanted() tells the driver how much to have before the next call (0: any more). The slice may be kept.
  virtual size_t on_bytes(const Bytes& bytes, Outbox& out) = 0;
  virtual size_t bytes_wanted() const { return 0; }
  // True: hand over no more bytes until a reply or delivery changes this (pipelining limit, parked fetch).
  virtual bool is_paused() const { return false; }
  virtual void on_reply(CallId id, broker::Reply reply, Outbox& out) = 0;
  virtual void on_delivery(const broker::Delivery& delivery, Outbox& out) = 0;
  virtual void on_notice(broker::Notice notice, Outbox& out) = 0;
  // False: deliveries wait in here already; what the broker can hold back (retained messages) comes later.
  virtual bool takes_deliveries() const { return true; }
  // True: it is told what of its core's time each input took, with the calls that were executed at once.
  virtual bool is_timed() const { return false; }
  virtual void on_spent(Duration) {}
  virtual void on_timer(Outbox& out) = 0;
  virtual void on_drained(Outbox& out) = 0;  // unsent bytes fell below the limit again
  // The link is over: the socket is gone, or this connection closed it. Last call; comes once, always. May still issue calls (a
  // will); what it sends goes nowhere.
  virtual void on_peer_closed(Outbox& out) = 0;
};

// How fast clients may send; over it they are read no further for a while. What is null or 0 has no limit.
struct LinkLimits {
  std::shared_ptr<Rate> messages;  // of a listener's connections together, on all cores
  std::shared_ptr<Rate> bytes;
  uint64_t client_messages_per_s = 0;
  uint64_t client_bytes_per_s = 0;
};

// What a connection is told of its link.
struct LinkFacts {
  uint64_t id = 0;    // unique a node start
  uint64_t seed = 0;  // random, for ids the connection draws
  std::string peer;   // "127.0.0.1:51234"; with the PROXY protocol the client's own address
  // Of the listener: a topic prefix that is put on what the client names and taken off what it is told.
  std::string mountpoint;
  // From the client's certificate, where the listener takes them from there: what the client says of itself does not count then.
  std::string certificate_user;
  std::string certificate_client_id;
  // Of the listener: where its Kafka clients are told that this node is, when not where all others are (port 0: there).
  std::string advertised_host;
  uint16_t advertised_port = 0;
  std::shared_ptr<const LinkLimits> limits;          // null: none
  std::shared_ptr<const broker::QuotaBoard> quotas;  // null: the connection is under none
};

// Makes the connections of one protocol on one core, and hands them over when they move to another: what a connection counts in
// and shares with others of its core (metrics, budgets) is its core's. A connection moves when it names its session
// (OpenSession), with no call unanswered.
class Connections {
 public:
  virtual std::unique_ptr<Connection> make(const LinkFacts& link) = 0;
  // The connection leaves this core: counts itself out. Then join() of the other core's Connections is called, on that core.
  virtual void leave(Connection&) {}
  virtual void join(Connection&) {}

 protected:
  ~Connections() = default;
};

}  // namespace robustmq::protocol
