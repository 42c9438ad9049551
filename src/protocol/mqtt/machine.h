// Machine: one MQTT connection on the server's side, 3.1, 3.1.1 and 5.0. Private to this room. Pure.
//
//   waiting --CONNECT--> [authenticating --AUTHs-->] opening --SessionOpened--> open --> closed
//
// Owned by the driver, used on one core. Invariants:
// 1. Nothing but AUTH is sent before CONNACK, and one CONNACK at most; a connection refused by it is closed.
// 2. While a login is looked at or the session opens nothing more is read; what came behind the CONNECT is read afterwards, in
// order.
// 3. PUBLISHes are handed on before any later call, so the broker sees a client's packets in their order.
// 4. PUBACKs and PUBRECs leave in the order of the PUBLISHes; a PUBLISH that failed is never acknowledged to a client older
// than 5.0.
// 5. QoS 1 and 2 messages to the client leave in the order of their deliveries; at most the client's Receive Maximum are under
// way.
// 6. A QoS 2 PUBLISH is handed on once until its PUBREL came, and answered however often it comes. Its packet id is free again
// when
//    PUBCOMP left. In a durable session both facts are the broker's first (Message::packet_id, Release).
// 7. A leased delivery is settled when the client has it, or when it can never have it (expired, too large). PUBREL leaves when
// the
//    broker knows that the client owns the message.
// 8. The will is the broker's from CONNECT on; it publishes it unless EndSession says not to, which only the client's goodbye
// does
//    and a CONNECT that is refused after all.
// 9. What is kept is bounded by MqttOptions; what few connections need is allocated when it is needed.
#pragma once

#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "protocol/mqtt/ack_order.h"
#include "protocol/mqtt/aliases.h"
#include "protocol/mqtt/codec.h"
#include "protocol/mqtt/connection.h"
#include "protocol/mqtt/delivery.h"
#include "protocol/mqtt/mount.h"
#include "protocol/mqtt/packet_ids.h"
#include "protocol/mqtt/waiting.h"

namespace robustmq::mqtt {

using protocol::CallId;
using protocol::CloseWhy;
using protocol::Outbox;

class Machine final : public protocol::Connection {
 public:
  Machine(const MqttOptions& options, MqttMetrics& metrics, const protocol::LinkFacts& link);
  Machine(const Machine&) = delete;
  ~Machine() override;

  void on_open(Outbox& out) override;
  size_t on_bytes(const Bytes& bytes, Outbox& out) override;
  size_t bytes_wanted() const override { return wanted_; }
  bool is_paused() const override;
  void on_reply(CallId id, broker::Reply reply, Outbox& out) override;
  void on_delivery(const broker::Delivery& delivery, Outbox& out) override;
  void on_notice(broker::Notice notice, Outbox& out) override;
  bool takes_deliveries() const override { return !outbound_ || outbound_->waiting.empty(); }
  void on_timer(Outbox& out) override;
  void on_drained(Outbox& out) override;
  void on_peer_closed(Outbox& out) override;

  // The connection moves to another core, while its session opens: it counts itself out of one core's metrics and into another's.
  void leave() {
    --metrics_->connections;
    metrics_ = nullptr;
  }
  void join(const MqttOptions& options, MqttMetrics& metrics);

 private:
  enum class State : uint8_t { waiting, authenticating, opening, open, closed };

  // What a client needs that publishes at QoS 2.
  struct InboundQos2 {
    PacketIds<Received> ids;
    std::vector<uint16_t> restored;  // of an earlier connection, not released yet: they do not count against our Receive Maximum
    std::vector<uint16_t> released;  // in this turn; the call is still to be made
    struct Releasing {
      CallId call = 0;
      std::vector<uint16_t> packet_ids;
    };
    std::vector<Releasing> releasing;
  };
  // What a client needs that publishes.
  struct Inbound {
    AckOrder acks;
    uint32_t under_way = 0;   // PUBLISHes that count against our Receive Maximum
    Buffer headers;           // encoded headers, of the request being made or, until the turn is over, of the one made last
    size_t header_bytes = 0;  // of the request being made
    std::vector<Bytes> held;  // headers and topics of requests made earlier in this turn
    std::unique_ptr<InboundQos2> qos2;
    std::unique_ptr<AliasesIn> aliases;
  };
  // What a client needs that gets QoS 1 or 2.
  struct Outbound {
    explicit Outbound(bool is_durable)
        : own(is_durable ? broker::kLeaseMax + 1 : 1, broker::kSharedLeaseMin - 1),
          leases(1, broker::kLeaseMax),
          shared(broker::kSharedLeaseMin, 65535) {}
    PacketIds<Sent> own;     // of deliveries without a lease
    PacketIds<Sent> leases;  // used in durable sessions only
    PacketIds<Sent> shared;  // of shared subscriptions
    Waiting waiting;
    std::vector<broker::Settle::One> to_settle;  // the call is still to be made
    struct Settling {
      CallId call = 0;
      std::vector<uint16_t> received;  // PUBREL is sent when the broker answered
      bool is_answered = false;
    };
    std::vector<Settling> settling;            // in order; only those that a PUBREL waits for
    std::unordered_set<uint16_t> unconfirmed;  // PUBREC came, and the broker has not answered: the PUBREL is still to come
    int64_t since_ms = 0;                      // wall time; what came before does not count as waiting
    Instant slow_told_at{};
    uint32_t in_flight() const { return own.in_use() + leases.in_use() + shared.in_use(); }
  };
  // A SUBSCRIBE or UNSUBSCRIBE that waits for the broker.
  struct Pending {
    CallId call = 0;
    uint16_t packet_id = 0;
    bool is_subscribe = false;
    std::string codes;  // one each; kAsked where the broker's answer goes, with the QoS to grant in `granted`
    std::string granted;
    std::string reason;  // why one was refused, where the broker says it
  };
  static constexpr char kAsked = static_cast<char>(0xFF);

  // connecting: machine_connect.cc
  size_t on_first_bytes(const Bytes& bytes, Outbox& out);
  void on_connect_fault(const Fault& fault, const Connect& connect, uint8_t level, Outbox& out);
  bool check_connect(const Connect& connect, Outbox& out);
  bool check_connect_v3(const Connect& connect, Outbox& out);
  bool check_connect_v5(const Connect& connect, Outbox& out);
  void take_connect(const Connect& connect, Outbox& out);
  void refuse(ReasonCode reason, ReturnCode code, CloseWhy why, const char* detail, Outbox& out);
  void on_session(broker::Reply& reply, Outbox& out);
  void send_connack(bool session_present, bool is_expiry_capped, Outbox& out);
  std::string client_id_of(const Connect& connect) const;
  std::string assigned_client_id() const;
  Pace* pace() const { return facts_ && facts_->pace ? &*facts_->pace : nullptr; }
  Login* login() const { return facts_ ? facts_->login.get() : nullptr; }
  bool is_mounted() const { return facts_ && !facts_->mountpoint.empty(); }

  // AUTH: machine_login.cc
  void begin_login(const Connect& connect, ByteSpan packet, Outbox& out);
  size_t on_login_bytes(const Bytes& bytes, Outbox& out);
  Fault take_auth(const Frame& frame, Outbox& out);
  void ask_login(std::string_view data, bool is_first, Outbox& out);
  void on_login(broker::Reply& reply, Outbox& out);
  void end_login(const broker::Reply& reply, Outbox& out);
  void send_auth(ReasonCode reason, std::string_view data, Outbox& out);

  // what clients send: machine_inbound.cc, machine_publish.cc, machine_subscribe.cc
  void on_packet(const Frame& frame, Outbox& out);
  void on_publish(const Frame& frame, Outbox& out);
  bool check_publish(Publish& publish, bool is_same_topic, Outbox& out);
  Fault resolve_alias(Publish& publish);
  bool take_inbound_id(const Publish& publish, Outbox& out);
  void refuse_publish(const Publish& publish, Code code);
  void hand_on(const Publish& publish, Outbox& out);
  void flush_publishes(Outbox& out);
  void on_pubrel(const Ack& ack, Outbox& out);
  void flush_releases(Outbox& out);
  bool on_released(CallId id, const broker::Reply& reply, Outbox& out);
  void on_subscribe(const Frame& frame, Outbox& out);
  Fault unavailable(bool is_shared, std::string_view filter) const;
  std::string filter_under_mount(std::string_view filter, bool is_queue) const;
  void on_unsubscribe(const Frame& frame, Outbox& out);
  void on_disconnect(const Frame& frame, Outbox& out);
  bool on_published(CallId id, const broker::Reply& reply, Outbox& out);
  void on_pending_reply(Pending pending, broker::Reply& reply, Outbox& out);
  void send_publish_acks(Outbox& out);
  void send_publish_ack(const AckOrder::Entry& entry, Outbox& out);
  void free_inbound_id(uint16_t packet_id, AckOrder::Kind kind);
  void free_released_id(uint16_t packet_id);
  void send_suback(const Pending& pending, Outbox& out);
  Inbound& inbound();
  InboundQos2& inbound_qos2();

  // what clients get: machine_outbound.cc
  void pass_over_foreign(const broker::Delivery& delivery, Outbox& out);
  void on_delivery_as_told(const broker::Delivery& delivery, Outbox& out);
  // Under a mountpoint the packet is not as others get it.
  broker::DeliveryScratch* scratch_of(const broker::Delivery& delivery) const {
    return is_mounted() ? nullptr : &delivery.scratch;
  }
  uint32_t inflight_max() const {
    return client_receive_max_ < options_->inflight_max ? client_receive_max_ : options_->inflight_max;
  }
  bool can_take(const Outbox& out) const { return outbound_->in_flight() < inflight_max() && !out.is_congested(); }
  // Takes the packet id of a message to the client; 0: the message has to wait.
  uint16_t take_id(uint16_t lease, uint8_t qos);
  void free_id(uint16_t id, broker::Settle::Outcome outcome = broker::Settle::Outcome::done);
  bool is_lease(uint16_t id) const { return is_durable_ && id <= broker::kLeaseMax; }
  bool is_settled(uint16_t id) const { return is_lease(id) || id >= broker::kSharedLeaseMin; }
  PacketIds<Sent>& ids_of(uint16_t id) {
    if (id >= broker::kSharedLeaseMin) return outbound_->shared;
    return is_lease(id) ? outbound_->leases : outbound_->own;
  }
  static bool is_sent_retained(const broker::Delivery& delivery, const RecordFacts& facts) {
    return delivery.is_retained || (delivery.retain_as_published && facts.retain);
  }
  void deliver(const broker::Delivery& delivery, const RecordFacts& facts, uint8_t qos, uint32_t expiry_left_s, Outbox& out);
  void queue(const broker::Delivery& delivery, const RecordFacts& facts, uint8_t qos, Outbox& out);
  void give_up(uint16_t lease);
  void send_waiting(Outbox& out);
  bool send_message(Outgoing& message, uint16_t packet_id, Outbox& out) {
    if (aliases_) return send_aliased(message, packet_id, out);
    return send_publish(message, version_, packet_id, client_packet_max_, metrics_->headers_left_out_total, out);
  }
  bool send_aliased(Outgoing& message, uint16_t packet_id, Outbox& out);
  void send_first_waiting(uint16_t id, uint32_t expiry_left_s, Outbox& out);
  void note_wait(std::string_view topic, int64_t timestamp_ms, Outbox& out);
  void drop_waiting();
  // acknowledgements of messages to the client: machine_acks.cc
  void on_ack(const Frame& frame, Outbox& out);
  void on_puback(uint16_t packet_id, Outbox& out);
  void on_pubrec(const Ack& ack, Sent state, Outbox& out);
  void on_pubcomp(const Ack& ack, Sent state, Outbox& out);
  void send_ack(PacketType type, uint16_t packet_id, ReasonCode reason, Outbox& out);
  void settle(uint16_t lease, broker::Settle::Outcome outcome);
  void flush_settles(Outbox& out);
  bool on_settled(CallId id, const broker::Reply& reply, Outbox& out);
  void send_pubrels(Outbox& out);
  Outbound& outbound();

  // ending: machine.cc
  void flush_calls(Outbox& out);
  void end(CloseWhy why, std::string_view detail, Outbox& out, ReasonCode reason = ReasonCode::success);
  void fail(const Fault& fault, Outbox& out);
  template <class P>
  bool send_if_fits(const P& packet, Outbox& out);
  bool is_v5() const { return version_ == Version::v5; }
  Duration keep_alive_limit() const { return Duration::millis(keep_alive_s_ * int64_t{1500}); }

  const MqttOptions* options_;
  MqttMetrics* metrics_;
  const uint64_t link_id_;
  const uint64_t seed_;
  Instant last_packet_{};
  CallId open_call_ = 0;
  broker::Publish building_;
  std::unique_ptr<Inbound> inbound_;
  std::unique_ptr<Outbound> outbound_;
  std::unique_ptr<std::vector<Pending>> pending_;
  std::unique_ptr<AliasesOut> aliases_;  // where the client allows them
  std::unique_ptr<ClientFacts> facts_;   // where there are any
  uint32_t building_bytes_ = 0;
  uint32_t building_replies_ = 0;
  uint32_t wanted_ = 0;
  uint32_t turn_bytes_left_ = 0;
  uint32_t client_packet_max_ = UINT32_MAX;
  uint32_t session_expiry_s_ = 0;  // as asked for, then as granted
  uint16_t client_receive_max_ = UINT16_MAX;
  uint16_t keep_alive_s_ = 0;
  State state_ = State::waiting;
  Version version_ = Version::v3_1_1;
  bool was_assigned_ : 1 = false;  // the client id is ours
  bool is_keep_alive_capped_ : 1 = false;
  bool asked_expiry_ : 1 = false;  // a Session Expiry Interval above 0 in CONNECT
  bool has_will_ : 1 = false;
  bool is_durable_ : 1 = false;     // the session outlives, or has outlived, a connection
  bool wants_problems_ : 1 = true;  // Request Problem Information
  bool wants_response_information_ : 1 = false;
};

template <class P>
bool Machine::send_if_fits(const P& packet, Outbox& out) {
  if (client_packet_max_ != UINT32_MAX && encoded_size(packet, version_) > client_packet_max_) return false;
  encode(packet, version_, out.out());
  return true;
}

}  // namespace robustmq::mqtt
