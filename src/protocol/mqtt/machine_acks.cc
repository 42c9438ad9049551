// Machine: acknowledgements of messages to the client, and what the broker is told of them (MQTT5 3.4 to 3.7, 4.3.3). Pure.
#include <utility>

#include "protocol/mqtt/machine.h"

namespace robustmq::mqtt {

void Machine::on_ack(const Frame& frame, Outbox& out) {
  if (frame.type == PacketType::puback && frame.flags == 0 && frame.body.size() == 2) {  // most of them, by far
    const auto id = static_cast<uint16_t>(frame.body[0] << 8 | frame.body[1]);
    if (id != 0) {
      on_puback(id, out);
      return;
    }
  }
  Ack ack;
  if (const Fault fault = decode_ack(frame, version_, ack)) {
    fail(fault, out);
    return;
  }
  if (ack.type == PacketType::pubrel) {
    on_pubrel(ack, out);
    return;
  }
  if (ack.type == PacketType::puback) {
    on_puback(ack.packet_id, out);
    return;
  }
  const Sent state = outbound_ ? ids_of(ack.packet_id).get(ack.packet_id) : Sent::none;
  if (ack.type == PacketType::pubrec) {
    on_pubrec(ack, state, out);
  } else {
    on_pubcomp(ack, state, out);
  }
}

void Machine::on_puback(uint16_t packet_id, Outbox& out) {
  switch (outbound_ ? ids_of(packet_id).free(packet_id) : Sent::none) {
    case Sent::none:
      ++metrics_->pubacks_stray_total;
      return;
    case Sent::qos1:
      // Whatever its reason, the message is the client's now (MQTT5 4.4).
      ++metrics_->pubacks_received_total;
      if (is_settled(packet_id)) settle(packet_id, broker::Settle::Outcome::done);
      return;
    case Sent::qos2:
    case Sent::released:
      fail({ReasonCode::protocol_error, "an acknowledgement of QoS 1 for a message of QoS 2"}, out);
      return;
  }
}

void Machine::on_pubrec(const Ack& ack, Sent state, Outbox& out) {
  const bool is_refused = is_failure(ack.reason);
  switch (state) {
    case Sent::none:
      ++metrics_->pubacks_stray_total;
      if (!is_refused) send_ack(PacketType::pubrel, ack.packet_id, ReasonCode::packet_identifier_not_found, out);
      return;
    case Sent::qos1:
      fail({ReasonCode::protocol_error, "an acknowledgement of QoS 2 for a message of QoS 1"}, out);
      return;
    case Sent::qos2:
      break;
    case Sent::released:
      // It comes again: where the PUBREL still waits for the broker, that one is the answer.
      if (!outbound_->unconfirmed.contains(ack.packet_id)) send_ack(PacketType::pubrel, ack.packet_id, ReasonCode::success, out);
      return;
  }
  ++metrics_->pubrecs_received_total;
  if (is_refused) {  // the message ends here, and its id is free (MQTT5 4.3.3)
    free_id(ack.packet_id);
    return;
  }
  ids_of(ack.packet_id).set(ack.packet_id, Sent::released);
  if (is_settled(ack.packet_id)) {
    settle(ack.packet_id, broker::Settle::Outcome::received);
    outbound_->unconfirmed.insert(ack.packet_id);
  } else {
    send_ack(PacketType::pubrel, ack.packet_id, ReasonCode::success, out);
  }
}

void Machine::on_pubcomp(const Ack& ack, Sent state, Outbox& out) {
  switch (state) {
    case Sent::none:
      ++metrics_->pubacks_stray_total;
      return;
    case Sent::qos1:
      fail({ReasonCode::protocol_error, "an acknowledgement of QoS 2 for a message of QoS 1"}, out);
      return;
    case Sent::qos2:
      fail({ReasonCode::protocol_error, "a PUBCOMP before the PUBREL"}, out);
      return;
    case Sent::released:
      ++metrics_->pubcomps_received_total;
      free_id(ack.packet_id);
      return;
  }
}

void Machine::send_ack(PacketType type, uint16_t packet_id, ReasonCode reason, Outbox& out) {
  if (reason == ReasonCode::success || !is_v5()) {
    uint8_t* at = out.out().extend(4);
    at[0] = static_cast<uint8_t>(static_cast<uint8_t>(type) << 4 | (type == PacketType::pubrel ? 2 : 0));
    at[1] = 2;
    at[2] = static_cast<uint8_t>(packet_id >> 8);
    at[3] = static_cast<uint8_t>(packet_id);
    return;
  }
  send_if_fits(Ack{.type = type, .packet_id = packet_id, .reason = reason}, out);
}

// ---- telling the broker ----

void Machine::settle(uint16_t lease, broker::Settle::Outcome outcome) { outbound_->to_settle.push_back({lease, outcome}); }

void Machine::flush_settles(Outbox& out) {
  Outbound::Settling waits;
  for (const broker::Settle::One& one : outbound_->to_settle) {
    if (one.outcome == broker::Settle::Outcome::received) waits.received.push_back(one.lease);
  }
  waits.call = out.call(broker::Settle{std::exchange(outbound_->to_settle, {})});
  if (!waits.received.empty()) outbound_->settling.push_back(std::move(waits));
}

bool Machine::on_settled(CallId id, const broker::Reply& reply, Outbox& out) {
  if (!outbound_) return false;
  for (Outbound::Settling& waits : outbound_->settling) {
    if (waits.call != id) continue;
    if (const auto* error = std::get_if<Error>(&reply)) {
      // The client may own the message, but nobody would know after a restart: it asks again on its next connection.
      end(CloseWhy::over_limit, code_text(error->code), out, ReasonCode::unspecified_error);
      return true;
    }
    if (const auto* settled = std::get_if<broker::Settled>(&reply)) {
      for (const Code code : settled->leases) {
        if (code == Code::ok || code == Code::not_found) continue;
        end(CloseWhy::over_limit, code_text(code), out, ReasonCode::unspecified_error);
        return true;
      }
    }
    waits.is_answered = true;
    send_pubrels(out);
    return true;
  }
  return false;
}

// In the order of the PUBRECs (MQTT5 4.6.0-4).
void Machine::send_pubrels(Outbox& out) {
  std::vector<Outbound::Settling>& settling = outbound_->settling;
  size_t done = 0;
  for (; done < settling.size() && settling[done].is_answered; ++done) {
    for (const uint16_t id : settling[done].received) {
      outbound_->unconfirmed.erase(id);
      if (ids_of(id).get(id) == Sent::released) send_ack(PacketType::pubrel, id, ReasonCode::success, out);
    }
  }
  settling.erase(settling.begin(), settling.begin() + static_cast<ptrdiff_t>(done));
}

}  // namespace robustmq::mqtt
