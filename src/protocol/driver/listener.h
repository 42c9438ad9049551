// Listener: one protocol's links on one core: accepts them, carries bytes, calls, replies, deliveries and time between streams,
// connections and broker, and ends them. Not pure: the only asynchronous part of the protocols.
//
// One input of a connection at a time: its outputs lie in one Outbox that all links of the listener share, and are carried out
// when the connection has returned. Its bytes go to the stream at once (which writes once a turn); its calls wait in one line
// and are executed in order, those of an input from a stream or timer in the same frame, those of a reply or a delivery at the
// end of the turn, so that the broker is never called from inside itself.
//
// A socket that was accepted becomes a link at once, or goes through an entrance first (net/entrance.h): PROXY header, TLS,
// WebSocket. Both hold one of the listener's places. A listener that speaks QUIC has sockets from its QuicDoor instead, through
// their handshake already; they hold a place from their first datagram on.
//
// Reading stops while the connection is paused, the stream is congested, or the core has too many unsent messages.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/anchor.h"
#include "base/intrusive.h"
#include "broker/broker.h"
#include "net/entrance.h"
#include "net/stream.h"
#include "observe/log.h"
#include "protocol/connection.h"
#include "protocol/driver/link.h"
#include "protocol/driver/metrics.h"
#include "protocol/driver/places.h"
#include "protocol/driver/quic_door.h"
#include "protocol/driver/refusals.h"
#include "runtime/core.h"
#include "runtime/net.h"

namespace robustmq::protocol::driver {

// What a listener works with. All outlive it; answers that come after it are dropped.
struct ListenerSeat {
  runtime::Core& core;
  net::Streams& streams;
  broker::Broker& broker;
  Connections& connections;
  observe::Log& log;
  uint64_t& last_link_id;        // of this core: all its listeners draw from it, so that no two of its connections share an id
  Instant (*clock)() = nullptr;  // that goes on within a turn; null: nothing is timed
};

// What makes one listener of a protocol differ from another; the same on every core.
struct ListenerRules {
  std::string name;  // for the log; empty: the protocol's
  net::EntranceRules entrance;
  std::shared_ptr<const QuicRules> quic;             // null: TCP. Otherwise of `entrance` hold identity and time_max alone
  runtime::Endpoint advertised;                      // see LinkFacts
  std::string mountpoint;                            // see LinkFacts
  std::shared_ptr<ConnectionPlaces> places;          // of this listener on all cores; null: without a limit of its own
  std::shared_ptr<Rate> connections_rate;            // of this listener on all cores; null: no limit
  std::shared_ptr<const LinkLimits> limits;          // see LinkFacts
  std::shared_ptr<const broker::QuotaBoard> quotas;  // see LinkFacts
  std::shared_ptr<ConnectionPlaces> node_places;     // of all listeners; null: this core's links count against connections_max
};

class Listener final : private runtime::Deferred, private net::EntranceEvents, private net::QuicEvents {
 public:
  // `protocol`: "mqtt", for the log.
  Listener(ListenerSeat seat, std::string protocol, ListenerOptions options, ListenerRules rules = {});
  ~Listener();  // ends every link at once

  // The same protocol's listeners by core, this one among them: where links move to. Set once on every core before start().
  void set_peers(std::vector<Listener*> peers) { peers_ = std::move(peers); }
  // Accepts from now on. The endpoint has the port that was taken when `at` asks for 0.
  Result<runtime::Endpoint> start(const runtime::Endpoint& at);
  // Accepts no more, tells every connection, and ends those that do not end by themselves: half of `limit` is theirs. `done`
  // comes when no link is left, at `limit` at the latest.
  void stop(Duration limit, Callback<void()> done);

  // The certificate of connections from now on. The listener's rules asked for TLS.
  void set_advertised(runtime::Endpoint at) { rules_.advertised = std::move(at); }
  void set_tls(std::shared_ptr<const net::TlsContext> tls) { rules_.entrance.tls = std::move(tls); }
  void set_quic(std::shared_ptr<const net::QuicContext> context) { quic_->set_context(std::move(context)); }

  size_t link_count() const { return link_count_; }
  const ListenerMetrics& metrics() const { return metrics_; }
  const net::QuicMetrics* quic_metrics() const { return quic_ ? &quic_->metrics() : nullptr; }

 private:
  friend class Link;
  struct Waiting {
    Instant due;
    std::unique_ptr<runtime::Socket> socket;
    std::string common_name;
  };
  struct Slot {
    Link* link = nullptr;
    uint32_t generation = 0;
  };

  void run_deferred() override;
  void on_accept(std::unique_ptr<runtime::Socket> socket);
  bool on_knock(const runtime::Endpoint& peer) override;
  void on_entered(std::unique_ptr<runtime::Socket> socket, std::string common_name) override;
  void on_refused(std::string_view why, std::string peer) override;
  void admit(std::unique_ptr<runtime::Socket> socket, std::string common_name);
  void enter(std::unique_ptr<runtime::Socket> socket, std::string common_name);
  static void on_turn(void* self);
  void drop_waiting();
  void on_entered(net::Entrance& entrance, std::unique_ptr<runtime::Socket> socket) override;
  void on_refused(net::Entrance& entrance, net::EntranceStep step, std::string_view why, std::string peer) override;
  void drop(net::Entrance& entrance);
  bool take_place();
  void give_back_place();
  void welcome(std::unique_ptr<runtime::Socket> socket, std::string common_name);
  void add(std::unique_ptr<Link> link);
  void remove(Link& link);
  void let_go(Link& link);  // remove(), and its place is free
  Link* find(LinkHandle handle) const {
    const Slot& slot = slots_[handle.slot];
    return slot.generation == handle.generation ? slot.link : nullptr;
  }

  // Gives one input to the link's connection and collects its outputs.
  template <class Give>
  void input(Link& link, Give&& give) {
    const bool is_timed = begins_timing(link);
    const Instant from = is_timed ? clock_() : Instant{};
    outbox_.begin(core_.now(), core_.wall_now(), &link.last_call_, link.stream_.unsent_bytes(), unsent_limit_,
                  !link.stream_.is_paused() && !core_.is_congested());
    give(*link.connection_, outbox_);
    collect(link);
    if (is_timed) end_timing(link.handle_, from);
  }
  // What happens within what is timed is not timed again.
  bool begins_timing(const Link& link) {
    if (!clock_ || is_timing_ || !link.connection_ || !link.connection_->is_timed()) return false;
    is_timing_ = true;
    return true;
  }
  void end_timing(LinkHandle handle, Instant from);
  void collect(Link& link);
  void end(Link& link, CloseWhy why, std::string detail);
  // Executes what waits and ends what is to end. Only where no frame of the broker is below.
  void pump();
  // The same at the end of this turn.
  void pump_later() {
    if (!is_pumping_ && (!work_.empty() || !ending_.empty())) core_.defer(*this);
  }
  void execute(Work work);
  void on_reply(LinkHandle handle, CallId id, broker::Reply reply);
  void go_on_ending(Link& link);
  void tell_closed(const Link& link, std::string_view detail);
  bool must_move(const Link& link, const Work& work) const;
  void begin_move(Link& link, Work open_session);
  void move(Link& link);
  void arrive(MovingLink moving);

  void look_at(Link& link);
  static void on_look(void* self);
  void look_after_stalled();
  static void on_stop_timer(void* self);
  void on_stop_time();
  void tell_if_stopped();

  runtime::Core& core_;
  net::Streams& streams_;
  broker::Broker& broker_;
  Connections& connections_;
  observe::Log& log_;
  uint64_t& last_id_;
  std::string protocol_;
  ListenerOptions options_;
  ListenerRules rules_;
  Refusals refusals_;
  uint64_t unsent_limit_;
  Instant (*clock_)();
  bool is_timing_ = false;
  ListenerMetrics metrics_;
  std::vector<Listener*> peers_;
  std::unique_ptr<runtime::Listener> socket_;

  List<net::Entrance, net::EntranceTag> entrances_;  // owned
  std::unique_ptr<QuicDoor> quic_;
  size_t knocking_ = 0;          // handshakes of QUIC
  std::deque<Waiting> waiting_;  // accepted, and over the rate: in order
  runtime::Timer turn_timer_{&Listener::on_turn, this};
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_slots_;
  size_t link_count_ = 0;

  Outbox outbox_;
  std::vector<Work> work_;
  size_t next_work_ = 0;
  std::vector<LinkHandle> ending_;
  std::vector<LinkHandle> moving_;
  bool is_pumping_ = false;
  // Null once this listener is gone. Shared with the answers under way, which may be dropped on any core.
  const Bytes* input_ = nullptr;  // what views in the calls of this frame may point into

  List<Link, StalledTag> stalled_;  // links whose output waits, or that wait for the core
  runtime::Timer look_timer_{&Listener::on_look, this};
  runtime::Timer stop_timer_{&Listener::on_stop_timer, this};
  bool is_stopping_ = false;
  bool is_ending_all_ = false;
  Duration stop_limit_{};
  Callback<void()> stopped_;
  AnchorOwner<Listener> anchor_;
};

}  // namespace robustmq::protocol::driver
