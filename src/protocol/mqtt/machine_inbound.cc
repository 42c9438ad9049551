// Machine: what an open connection's client sends (MQTT5 3). Pure.
#include "protocol/mqtt/machine.h"

namespace robustmq::mqtt {

void Machine::on_packet(const Frame& frame, Outbox& out) {
  switch (frame.type) {
    case PacketType::publish:
      on_publish(frame, out);
      return;
    case PacketType::puback:
    case PacketType::pubrec:
    case PacketType::pubrel:
    case PacketType::pubcomp:
      on_ack(frame, out);
      return;
    case PacketType::subscribe:
      on_subscribe(frame, out);
      return;
    case PacketType::unsubscribe:
      on_unsubscribe(frame, out);
      return;
    case PacketType::disconnect:
      on_disconnect(frame, out);
      return;
    case PacketType::pingreq:
      if (frame.flags != 0 || !frame.body.empty()) {
        fail({ReasonCode::malformed_packet, "a PINGREQ with flags or a body"}, out);
      } else {
        encode_pingresp(out.out());
      }
      return;
    case PacketType::connect:
      fail({ReasonCode::protocol_error, "a second CONNECT"}, out);
      return;
    case PacketType::auth:
      if (const Fault fault = take_auth(frame, out)) fail(fault, out);
      return;
    case PacketType::connack:
    case PacketType::suback:
    case PacketType::unsuback:
    case PacketType::pingresp:
      fail({ReasonCode::protocol_error, "a packet that only a server sends"}, out);
      return;
  }
}

// ---- DISCONNECT ----

void Machine::on_disconnect(const Frame& frame, Outbox& out) {
  Disconnect packet;
  if (const Fault fault = decode_disconnect(frame, version_, Side::client, packet)) {
    fail(fault, out);
    return;
  }
  // A session that was to end with its connection cannot be made to last at the end (MQTT5 3.14.2.2.2).
  if (!asked_expiry_ && packet.properties.number(PropertyId::session_expiry) > 0) {
    fail({ReasonCode::protocol_error, "a session expiry raised from 0 in DISCONNECT"}, out);
    return;
  }
  if (is_durable_ || has_will_) {  // nothing else outlives the connection (MQTT5 3.14.4-3)
    broker::EndSession goodbye{.without_will = packet.reason == ReasonCode::success};
    if (packet.properties.has(PropertyId::session_expiry))
      goodbye.expiry_s = packet.properties.number(PropertyId::session_expiry);
    flush_calls(out);
    out.call(goodbye);
  }
  end(CloseWhy::client_left, "", out);
}

}  // namespace robustmq::mqtt
