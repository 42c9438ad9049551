#include "protocol/mqtt/properties.h"

#include <array>

#include "protocol/mqtt/cursor.h"

namespace robustmq::mqtt {
namespace {

enum class Type : uint8_t { unknown, byte, truth, two_bytes, four_bytes, varint, text, binary, pair };

struct Rule {
  Type type = Type::unknown;
  bool never_zero = false;
  bool repeats = false;
  uint16_t carriers = 0;
};

constexpr uint16_t on(std::initializer_list<Carrier> carriers) {
  unsigned bits = 0;
  for (Carrier carrier : carriers) bits |= 1u << static_cast<unsigned>(carrier);
  return static_cast<uint16_t>(bits);
}

// MQTT5 2.2.2.2, table 2-4
constexpr std::array<Rule, 0x2B> make_rules() {
  using C = Carrier;
  std::array<Rule, 0x2B> rules{};
  const auto set = [&](PropertyId id, Type type, uint16_t carriers, bool never_zero = false, bool repeats = false) {
    rules[static_cast<size_t>(id)] = {type, never_zero, repeats, carriers};
  };
  const uint16_t message = on({C::will, C::publish});
  const uint16_t acks = on({C::puback, C::pubrec, C::pubrel, C::pubcomp, C::suback, C::unsuback});
  const uint16_t everywhere =
      static_cast<uint16_t>(message | acks | on({C::connect, C::connack, C::subscribe, C::unsubscribe, C::disconnect, C::auth}));
  set(PropertyId::payload_format, Type::truth, message);
  set(PropertyId::message_expiry, Type::four_bytes, message);
  set(PropertyId::content_type, Type::text, message);
  set(PropertyId::response_topic, Type::text, message);
  set(PropertyId::correlation_data, Type::binary, message);
  set(PropertyId::subscription_id, Type::varint, on({C::publish, C::subscribe}), true);
  set(PropertyId::session_expiry, Type::four_bytes, on({C::connect, C::connack, C::disconnect}));
  set(PropertyId::assigned_client_id, Type::text, on({C::connack}));
  set(PropertyId::server_keep_alive, Type::two_bytes, on({C::connack}));
  set(PropertyId::authentication_method, Type::text, on({C::connect, C::connack, C::auth}));
  set(PropertyId::authentication_data, Type::binary, on({C::connect, C::connack, C::auth}));
  set(PropertyId::request_problem_information, Type::truth, on({C::connect}));
  set(PropertyId::will_delay, Type::four_bytes, on({C::will}));
  set(PropertyId::request_response_information, Type::truth, on({C::connect}));
  set(PropertyId::response_information, Type::text, on({C::connack}));
  set(PropertyId::server_reference, Type::text, on({C::connack, C::disconnect}));
  set(PropertyId::reason_string, Type::text, static_cast<uint16_t>(acks | on({C::connack, C::disconnect, C::auth})));
  set(PropertyId::receive_maximum, Type::two_bytes, on({C::connect, C::connack}), true);
  set(PropertyId::topic_alias_maximum, Type::two_bytes, on({C::connect, C::connack}));
  set(PropertyId::topic_alias, Type::two_bytes, on({C::publish}));  // zero is the connection's to refuse: 0x94, MQTT5 3.3.2.3.4
  set(PropertyId::maximum_qos, Type::truth, on({C::connack}));
  set(PropertyId::retain_available, Type::truth, on({C::connack}));
  set(PropertyId::user_property, Type::pair, everywhere, false, true);
  set(PropertyId::maximum_packet_size, Type::four_bytes, on({C::connect, C::connack}), true);
  set(PropertyId::wildcard_subscription_available, Type::truth, on({C::connack}));
  set(PropertyId::subscription_id_available, Type::truth, on({C::connack}));
  set(PropertyId::shared_subscription_available, Type::truth, on({C::connack}));
  return rules;
}
constexpr std::array<Rule, 0x2B> kRules = make_rules();

bool take_value(Cursor& cursor, Type type, Property& out) {
  uint8_t byte = 0;
  uint16_t two = 0;
  ByteSpan binary;
  switch (type) {
    case Type::byte:
    case Type::truth:
      if (!cursor.take_u8(byte)) return false;
      out.number = byte;
      return true;
    case Type::two_bytes:
      if (!cursor.take_u16(two)) return false;
      out.number = two;
      return true;
    case Type::four_bytes:
      return cursor.take_u32(out.number);
    case Type::varint:
      return cursor.take_varint(out.number);
    case Type::text:
      return cursor.take_raw_text(out.text);
    case Type::binary:
      if (!cursor.take_binary(binary)) return false;
      out.text = as_text(binary);
      return true;
    case Type::pair:
      return cursor.take_raw_text(out.name) && cursor.take_raw_text(out.text);
    case Type::unknown:
      return false;
  }
  return false;
}

uint8_t* put_id(Buffer& to, PropertyId id, size_t value_bytes) {
  uint8_t* at = to.extend(1 + value_bytes);
  *at = static_cast<uint8_t>(id);
  return at + 1;
}

uint8_t* put_text(uint8_t* at, std::string_view text) {
  *at++ = static_cast<uint8_t>(text.size() >> 8);
  *at++ = static_cast<uint8_t>(text.size());
  if (!text.empty()) std::memcpy(at, text.data(), text.size());
  return at + text.size();
}

}  // namespace

Fault take_properties(Cursor& cursor, Carrier carrier, Properties& out) {
  uint32_t length = 0;
  if (!cursor.take_varint(length) || !cursor.take_span(length, out.raw)) return malformed("properties end early");
  out.present = 0;
  Cursor block(out.raw);
  while (!block.is_at_end()) {
    uint8_t id = 0;
    block.take_u8(id);
    if (id >= kRules.size() || kRules[id].type == Type::unknown) return malformed("unknown property");
    const Rule& rule = kRules[id];
    if (!(rule.carriers >> static_cast<unsigned>(carrier) & 1)) return protocol_fault("property not allowed in this packet");
    if ((out.present >> id & 1) && !rule.repeats) {
      // A PUBLISH to a client carries one id for each subscription that matched (MQTT5 3.3.2.3.8).
      const bool may_repeat = static_cast<PropertyId>(id) == PropertyId::subscription_id && carrier == Carrier::publish;
      if (!may_repeat) return protocol_fault("property given twice");
    }
    out.present |= uint64_t{1} << id;
    Property property;
    if (!take_value(block, rule.type, property)) return malformed("property ends early");
    if (rule.type == Type::truth && property.number > 1) return protocol_fault("property is neither 0 nor 1");
    if (rule.never_zero && property.number == 0) return protocol_fault("property may not be zero");
    if (rule.type == Type::text || rule.type == Type::pair) {
      if (!is_utf8(property.name) || !is_utf8(property.text)) return malformed("property is not UTF-8");
    }
  }
  return kFine;
}

bool PropertyReader::next(Property& out) {
  if (rest_.empty()) return false;
  Cursor cursor(rest_);
  uint8_t id = 0;
  cursor.take_u8(id);
  out = {};
  out.id = static_cast<PropertyId>(id);
  if (id >= kRules.size() || !take_value(cursor, kRules[id].type, out)) {
    rest_ = {};
    return false;
  }
  rest_ = cursor.rest();
  return true;
}

uint32_t Properties::number(PropertyId id, uint32_t otherwise) const {
  if (!has(id)) return otherwise;
  PropertyReader reader(raw);
  for (Property property; reader.next(property);) {
    if (property.id == id) return property.number;
  }
  return otherwise;
}

std::string_view Properties::text(PropertyId id) const {
  if (!has(id)) return {};
  PropertyReader reader(raw);
  for (Property property; reader.next(property);) {
    if (property.id == id) return property.text;
  }
  return {};
}

void put_byte(Buffer& to, PropertyId id, uint8_t value) { *put_id(to, id, 1) = value; }

void put_two_bytes(Buffer& to, PropertyId id, uint16_t value) {
  uint8_t* at = put_id(to, id, 2);
  at[0] = static_cast<uint8_t>(value >> 8);
  at[1] = static_cast<uint8_t>(value);
}

void put_four_bytes(Buffer& to, PropertyId id, uint32_t value) {
  uint8_t* at = put_id(to, id, 4);
  for (int i = 0; i < 4; ++i) at[i] = static_cast<uint8_t>(value >> (24 - 8 * i));
}

void put_varint_property(Buffer& to, PropertyId id, uint32_t value) {
  size_t size = 1;
  for (uint32_t rest = value; rest >= 0x80; rest >>= 7) ++size;
  uint8_t* at = put_id(to, id, size);
  for (; value >= 0x80; value >>= 7) *at++ = static_cast<uint8_t>(value | 0x80);
  *at = static_cast<uint8_t>(value);
}

void put_text(Buffer& to, PropertyId id, std::string_view value) { put_text(put_id(to, id, 2 + value.size()), value); }

void put_user_property(Buffer& to, std::string_view name, std::string_view value) {
  uint8_t* at = put_id(to, PropertyId::user_property, 4 + name.size() + value.size());
  put_text(put_text(at, name), value);
}

}  // namespace robustmq::mqtt
