#include "protocol/mqtt/codec.h"

#include "protocol/mqtt/cursor.h"

namespace robustmq::mqtt {
namespace {

constexpr Fault kCut = malformed("the packet ends early");
constexpr Fault kLonger = malformed("the packet is longer than its fields");
constexpr Fault kText = malformed("a string is cut or not UTF-8");
constexpr Fault kZeroPacketId = protocol_fault("packet id 0");

// Which reason codes a packet may carry (MQTT5 2.4, and the sections of the packets).
bool is_reason_of(PacketType type, uint8_t code) {
  switch (type) {
    case PacketType::puback:
    case PacketType::pubrec:
      return code == 0x00 || code == 0x10 || code == 0x80 || code == 0x83 || code == 0x87 || code == 0x90 || code == 0x91 ||
             code == 0x97 || code == 0x99;
    case PacketType::pubrel:
    case PacketType::pubcomp:
      return code == 0x00 || code == 0x92;
    case PacketType::suback:
      return code <= 0x02 || code == 0x80 || code == 0x83 || code == 0x87 || code == 0x8F || code == 0x91 || code == 0x97 ||
             code == 0x9E || code == 0xA1 || code == 0xA2;
    case PacketType::unsuback:
      return code == 0x00 || code == 0x11 || code == 0x80 || code == 0x83 || code == 0x87 || code == 0x8F || code == 0x91;
    case PacketType::connack:
      return code == 0x00 || (code >= 0x80 && code <= 0x8A) || code == 0x8C || code == 0x90 || code == 0x95 || code == 0x97 ||
             (code >= 0x99 && code <= 0x9D) || code == 0x9F;
    case PacketType::disconnect:
      return code == 0x00 || code == 0x04 || (code >= 0x80 && code <= 0x83) || code == 0x87 || code == 0x89 || code == 0x8B ||
             (code >= 0x8C && code <= 0x90) || (code >= 0x93 && code <= 0xA2);
    case PacketType::auth:
      return code == 0x00 || code == 0x18 || code == 0x19;
    default:
      return false;
  }
}

// MQTT5 2.1.3. A PUBLISH has flags of its own; 3.1 allowed DUP on three others, which it retransmitted.
Fault check_flags(const Frame& frame, Version version) {
  const bool needs_two =
      frame.type == PacketType::pubrel || frame.type == PacketType::subscribe || frame.type == PacketType::unsubscribe;
  const uint8_t wanted = needs_two ? 2 : 0;
  const uint8_t got = version == Version::v3_1 && needs_two ? frame.flags & 0x07 : frame.flags;
  return got == wanted ? kFine : malformed("reserved flags in the fixed header");
}

Fault take_packet_id(Cursor& cursor, uint16_t& out) {
  if (!cursor.take_u16(out)) return kCut;
  return out == 0 ? kZeroPacketId : kFine;
}

Fault take_will(Cursor& cursor, uint8_t flags, Version version, Connect& out) {
  Will& will = out.will.emplace();
  will.qos = flags >> 3 & 3;
  will.retain = flags & 0x20;
  if (version == Version::v5) {
    if (Fault fault = take_properties(cursor, Carrier::will, will.properties)) return fault;
  }
  if (!cursor.take_text(will.topic)) return kText;
  return cursor.take_binary(will.payload) ? kFine : kCut;
}

// User name and password. 3.1 allows a flag without its field where the packet ends.
Fault take_credentials(Cursor& cursor, uint8_t flags, Version version, Connect& out) {
  const bool may_miss = version == Version::v3_1;
  if (flags & 0x80 && !(may_miss && cursor.is_at_end())) {
    if (!cursor.take_text(out.user_name.emplace())) return kText;
  }
  if (flags & 0x40 && !(may_miss && cursor.is_at_end())) {
    if (!cursor.take_binary(out.password.emplace())) return kCut;
  }
  return kFine;
}

Fault check_connect_flags(uint8_t flags, Version version) {
  if (flags & 0x01 && version != Version::v3_1) return malformed("reserved flag in CONNECT");  // MQTT5 3.1.2.3
  if (!(flags & 0x04) && flags & 0x38) return malformed("will flags without a will");          // MQTT5 3.1.2.6, 3.1.2.7
  if ((flags >> 3 & 3) == 3) return malformed("will QoS 3");
  if (version != Version::v5 && flags & 0x40 && !(flags & 0x80))
    return malformed("a password without a user name");  // MQTT3 3.1.2.9
  return kFine;
}

}  // namespace

std::string_view packet_type_name(PacketType type) {
  switch (type) {
    case PacketType::connect:
      return "CONNECT";
    case PacketType::connack:
      return "CONNACK";
    case PacketType::publish:
      return "PUBLISH";
    case PacketType::puback:
      return "PUBACK";
    case PacketType::pubrec:
      return "PUBREC";
    case PacketType::pubrel:
      return "PUBREL";
    case PacketType::pubcomp:
      return "PUBCOMP";
    case PacketType::subscribe:
      return "SUBSCRIBE";
    case PacketType::suback:
      return "SUBACK";
    case PacketType::unsubscribe:
      return "UNSUBSCRIBE";
    case PacketType::unsuback:
      return "UNSUBACK";
    case PacketType::pingreq:
      return "PINGREQ";
    case PacketType::pingresp:
      return "PINGRESP";
    case PacketType::disconnect:
      return "DISCONNECT";
    case PacketType::auth:
      return "AUTH";
  }
  return "?";
}

FrameState frame_at(ByteSpan input, Frame& out) {
  out.size = 0;
  if (input.empty()) return FrameState::needs_more;
  const uint8_t first = input[0];
  if (first < 0x10) return FrameState::bad;  // type 0 is reserved
  uint32_t length = 0;
  size_t header = 1;
  for (unsigned i = 0;; ++i) {
    if (header == input.size()) return FrameState::needs_more;
    const uint8_t byte = input[header++];
    length |= static_cast<uint32_t>(byte & 0x7F) << (7 * i);
    if (byte < 0x80) {
      if (i > 0 && byte == 0) return FrameState::bad;  // not minimal
      break;
    }
    if (i == 3) return FrameState::bad;
  }
  out.type = static_cast<PacketType>(first >> 4);
  out.flags = first & 0x0F;
  out.size = header + length;
  if (input.size() < out.size) return FrameState::needs_more;
  out.body = input.subspan(header, length);
  return FrameState::whole;
}

Fault decode_connect(const Frame& frame, Connect& out, uint8_t& level) {
  level = 0;
  out = {};
  if (frame.flags != 0) return malformed("reserved flags in the fixed header");
  Cursor cursor(frame.body);
  std::string_view name;
  uint8_t asked = 0;
  if (!cursor.take_raw_text(name) || !cursor.take_u8(asked)) return kCut;
  if (name != "MQTT" && name != "MQIsdp") return {ReasonCode::unsupported_protocol_version, "unknown protocol name"};
  level = asked;
  const bool is_known = name == "MQTT" ? asked == 4 || asked == 5 : asked == 3;
  if (!is_known) return {ReasonCode::unsupported_protocol_version, "unknown protocol level"};
  out.version = static_cast<Version>(asked);
  uint8_t flags = 0;
  if (!cursor.take_u8(flags) || !cursor.take_u16(out.keep_alive_s)) return kCut;
  if (Fault fault = check_connect_flags(flags, out.version)) return fault;
  out.clean_start = flags & 0x02;
  if (out.version == Version::v5) {
    if (Fault fault = take_properties(cursor, Carrier::connect, out.properties)) return fault;
    if (out.properties.has(PropertyId::authentication_data) && !out.properties.has(PropertyId::authentication_method)) {
      return protocol_fault("authentication data without a method");  // MQTT5 3.1.2.11.10
    }
  }
  if (!cursor.take_text(out.client_id)) return kText;
  if (flags & 0x04) {
    if (Fault fault = take_will(cursor, flags, out.version, out)) return fault;
  }
  if (Fault fault = take_credentials(cursor, flags, out.version, out)) return fault;
  return cursor.is_at_end() ? kFine : kLonger;
}

Fault decode_connack(const Frame& frame, Version version, Connack& out) {
  out = {};
  if (Fault fault = check_flags(frame, version)) return fault;
  Cursor cursor(frame.body);
  uint8_t flags = 0;
  if (!cursor.take_u8(flags) || !cursor.take_u8(out.code)) return kCut;
  if (flags > 1 && version != Version::v3_1) return malformed("reserved flags in CONNACK");
  out.session_present = flags & 1;
  if (version != Version::v5) {
    if (out.code > 5) return protocol_fault("reserved return code in CONNACK");
  } else {
    if (!is_reason_of(PacketType::connack, out.code)) return protocol_fault("reason code not allowed in CONNACK");
    if (Fault fault = take_properties(cursor, Carrier::connack, out.properties)) return fault;
  }
  return cursor.is_at_end() ? kFine : kLonger;
}

Fault decode_publish(const Frame& frame, Version version, Side from, Publish& out) {
  out.dup = frame.flags & 0x08;
  out.qos = frame.flags >> 1 & 3;
  out.retain = frame.flags & 0x01;
  out.packet_id = 0;
  out.properties = {};
  if (out.qos == 3) return malformed("QoS 3");                      // MQTT5 3.3.1.2
  if (out.dup && out.qos == 0) return malformed("DUP with QoS 0");  // MQTT5 3.3.1.1
  Cursor cursor(frame.body);
  if (!cursor.take_text(out.topic)) return kText;
  if (out.qos > 0) {
    if (Fault fault = take_packet_id(cursor, out.packet_id)) return fault;
  }
  if (version == Version::v5) {
    if (Fault fault = take_properties(cursor, Carrier::publish, out.properties)) return fault;
    if (from == Side::client && out.properties.has(PropertyId::subscription_id)) {
      return protocol_fault("a subscription id from a client");  // MQTT5 3.3.4
    }
  }
  out.payload = cursor.rest();
  return kFine;
}

Fault decode_ack(const Frame& frame, Version version, Ack& out) {
  out = {};
  out.type = frame.type;
  if (Fault fault = check_flags(frame, version)) return fault;
  Cursor cursor(frame.body);
  if (Fault fault = take_packet_id(cursor, out.packet_id)) return fault;
  if (version == Version::v5 && !cursor.is_at_end()) {
    uint8_t reason = 0;
    cursor.take_u8(reason);
    if (!is_reason_of(frame.type, reason)) return protocol_fault("reason code not allowed in this packet");
    out.reason = static_cast<ReasonCode>(reason);
    if (!cursor.is_at_end()) {
      if (Fault fault = take_properties(cursor, static_cast<Carrier>(frame.type), out.properties)) return fault;
    }
  }
  return cursor.is_at_end() ? kFine : kLonger;
}

Fault decode_subscribe(const Frame& frame, Version version, Subscribe& out) {
  out = {};
  if (Fault fault = check_flags(frame, version)) return fault;
  Cursor cursor(frame.body);
  if (Fault fault = take_packet_id(cursor, out.packet_id)) return fault;
  if (version == Version::v5) {
    if (Fault fault = take_properties(cursor, Carrier::subscribe, out.properties)) return fault;
  }
  out.subscriptions = cursor.rest();
  if (cursor.is_at_end()) return protocol_fault("SUBSCRIBE without a filter");  // MQTT5 3.8.3
  while (!cursor.is_at_end()) {
    std::string_view filter;
    uint8_t options = 0;
    if (!cursor.take_text(filter)) return kText;
    if (!cursor.take_u8(options)) return kCut;
    if ((options & 3) == 3) return malformed("subscription with QoS 3");
    if (options & (version == Version::v5 ? 0xC0 : 0xFC)) return malformed("reserved bits in subscription options");
    if ((options >> 4 & 3) == 3) return protocol_fault("retain handling 3");  // MQTT5 3.8.3.1
  }
  return kFine;
}

Fault decode_subscribe_ack(const Frame& frame, Version version, SubscribeAck& out) {
  out = {};
  out.type = frame.type;
  if (Fault fault = check_flags(frame, version)) return fault;
  Cursor cursor(frame.body);
  if (Fault fault = take_packet_id(cursor, out.packet_id)) return fault;
  const bool is_suback = frame.type == PacketType::suback;
  if (version == Version::v5) {
    if (Fault fault = take_properties(cursor, static_cast<Carrier>(frame.type), out.properties)) return fault;
  } else if (!is_suback) {
    return cursor.is_at_end() ? kFine : kLonger;
  }
  out.codes = cursor.rest();
  if (out.codes.empty()) return protocol_fault("no reason codes");
  for (uint8_t code : out.codes) {
    const bool is_allowed = version == Version::v5 ? is_reason_of(frame.type, code) : code <= 2 || code == 0x80;
    if (!is_allowed) return protocol_fault("reason code not allowed in this packet");
  }
  return kFine;
}

Fault decode_unsubscribe(const Frame& frame, Version version, Unsubscribe& out) {
  out = {};
  if (Fault fault = check_flags(frame, version)) return fault;
  Cursor cursor(frame.body);
  if (Fault fault = take_packet_id(cursor, out.packet_id)) return fault;
  if (version == Version::v5) {
    if (Fault fault = take_properties(cursor, Carrier::unsubscribe, out.properties)) return fault;
  }
  out.filters = cursor.rest();
  if (cursor.is_at_end()) return protocol_fault("UNSUBSCRIBE without a filter");  // MQTT5 3.10.3
  while (!cursor.is_at_end()) {
    std::string_view filter;
    if (!cursor.take_text(filter)) return kText;
  }
  return kFine;
}

Fault decode_disconnect(const Frame& frame, Version version, Side from, Disconnect& out) {
  out = {};
  if (Fault fault = check_flags(frame, version)) return fault;
  Cursor cursor(frame.body);
  if (version == Version::v5 && !cursor.is_at_end()) {
    uint8_t reason = 0;
    cursor.take_u8(reason);
    if (!is_reason_of(PacketType::disconnect, reason)) return protocol_fault("reason code not allowed in DISCONNECT");
    out.reason = static_cast<ReasonCode>(reason);
    if (!cursor.is_at_end()) {
      if (Fault fault = take_properties(cursor, Carrier::disconnect, out.properties)) return fault;
    }
    // MQTT5 3.14.2.2.2, 3.14.2.2.5
    const PropertyId others = from == Side::client ? PropertyId::server_reference : PropertyId::session_expiry;
    if (out.properties.has(others)) return protocol_fault("property not allowed from this side");
  }
  return cursor.is_at_end() ? kFine : kLonger;
}

Fault decode_auth(const Frame& frame, Version version, Auth& out) {
  out = {};
  if (version != Version::v5) return malformed("packet type 15 is reserved");
  if (Fault fault = check_flags(frame, version)) return fault;
  Cursor cursor(frame.body);
  if (cursor.is_at_end()) return kFine;
  uint8_t reason = 0;
  cursor.take_u8(reason);
  if (!is_reason_of(PacketType::auth, reason)) return protocol_fault("reason code not allowed in AUTH");
  out.reason = static_cast<ReasonCode>(reason);
  if (!cursor.is_at_end()) {
    if (Fault fault = take_properties(cursor, Carrier::auth, out.properties)) return fault;
  }
  return cursor.is_at_end() ? kFine : kLonger;
}

Fault decode(const Frame& frame, Version version, Side from, Packet& out) {
  constexpr Fault kWrongSide = protocol_fault("this side never sends this packet");
  const bool is_client = from == Side::client;
  uint8_t level = 0;
  switch (frame.type) {
    case PacketType::connect:
      return is_client ? decode_connect(frame, out.emplace<Connect>(), level) : kWrongSide;
    case PacketType::connack:
      return is_client ? kWrongSide : decode_connack(frame, version, out.emplace<Connack>());
    case PacketType::publish:
      return decode_publish(frame, version, from, out.emplace<Publish>());
    case PacketType::puback:
    case PacketType::pubrec:
    case PacketType::pubrel:
    case PacketType::pubcomp:
      return decode_ack(frame, version, out.emplace<Ack>());
    case PacketType::subscribe:
      return is_client ? decode_subscribe(frame, version, out.emplace<Subscribe>()) : kWrongSide;
    case PacketType::unsubscribe:
      return is_client ? decode_unsubscribe(frame, version, out.emplace<Unsubscribe>()) : kWrongSide;
    case PacketType::suback:
    case PacketType::unsuback:
      return is_client ? kWrongSide : decode_subscribe_ack(frame, version, out.emplace<SubscribeAck>());
    case PacketType::pingreq:
    case PacketType::pingresp: {
      if (is_client != (frame.type == PacketType::pingreq)) return kWrongSide;
      if (is_client) {
        out.emplace<Pingreq>();
      } else {
        out.emplace<Pingresp>();
      }
      if (Fault fault = check_flags(frame, version)) return fault;
      return frame.body.empty() ? kFine : kLonger;
    }
    case PacketType::disconnect:
      if (!is_client && version != Version::v5) return kWrongSide;
      return decode_disconnect(frame, version, from, out.emplace<Disconnect>());
    case PacketType::auth:
      return decode_auth(frame, version, out.emplace<Auth>());
  }
  return malformed("packet type 0 is reserved");
}

bool SubscriptionReader::next(Subscription& out) {
  if (rest_.empty()) return false;
  Cursor cursor(rest_);
  uint8_t options = 0;
  if (!cursor.take_raw_text(out.filter) || !cursor.take_u8(options)) {
    rest_ = {};
    return false;
  }
  out.qos = options & 3;
  out.no_local = version_ == Version::v5 && options & 0x04;
  out.retain_as_published = version_ == Version::v5 && options & 0x08;
  out.retain_handling = version_ == Version::v5 ? options >> 4 & 3 : 0;
  rest_ = cursor.rest();
  return true;
}

bool FilterReader::next(std::string_view& out) {
  if (rest_.empty()) return false;
  Cursor cursor(rest_);
  const bool is_there = cursor.take_raw_text(out);
  rest_ = is_there ? cursor.rest() : ByteSpan{};
  return is_there;
}

}  // namespace robustmq::mqtt
