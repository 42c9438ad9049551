// MQTT 5.0 properties (MQTT5 2.2.2): checked and read from a packet, written to one. Pure.
//
// A block is: varint length, then for each property its id and a value of the id's type: a byte, two or four bytes big-endian, a
// varint, a length-prefixed UTF-8 string or binary, or a pair of strings. Which ids a packet may carry, which may come twice, and
// which values are refused stand in one table in properties.cc.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"

namespace robustmq::mqtt {

enum class PropertyId : uint8_t {
  payload_format = 0x01,
  message_expiry = 0x02,
  content_type = 0x03,
  response_topic = 0x08,
  correlation_data = 0x09,
  subscription_id = 0x0B,
  session_expiry = 0x11,
  assigned_client_id = 0x12,
  server_keep_alive = 0x13,
  authentication_method = 0x15,
  authentication_data = 0x16,
  request_problem_information = 0x17,
  will_delay = 0x18,
  request_response_information = 0x19,
  response_information = 0x1A,
  server_reference = 0x1C,
  reason_string = 0x1F,
  receive_maximum = 0x21,
  topic_alias_maximum = 0x22,
  topic_alias = 0x23,
  maximum_qos = 0x24,
  retain_available = 0x25,
  user_property = 0x26,
  maximum_packet_size = 0x27,
  wildcard_subscription_available = 0x28,
  subscription_id_available = 0x29,
  shared_subscription_available = 0x2A,
};

// One property as it stands in a block. Of a user property `name` and `text`; of a number `number`; of a string or binary `text`.
struct Property {
  PropertyId id{};
  uint32_t number = 0;
  std::string_view name;
  std::string_view text;
};

// Walks a block that decode() has checked, in the order sent.
class PropertyReader {
 public:
  explicit PropertyReader(ByteSpan raw) : rest_(raw) {}
  bool next(Property& out);

 private:
  ByteSpan rest_;
};

// A packet's properties: the block, and which are there. Views what it was read from.
struct Properties {
  ByteSpan raw;          // the block without its length, as sent and as encode() writes it
  uint64_t present = 0;  // bit n: the property with id n is there

  bool has(PropertyId id) const { return present >> static_cast<unsigned>(id) & 1; }
  // The first one of this id; `otherwise` where there is none.
  uint32_t number(PropertyId id, uint32_t otherwise = 0) const;
  std::string_view text(PropertyId id) const;
};

// Writes properties into a block for Properties::raw. The caller ensures that the id has the type, that texts are valid UTF-8
// where the id asks for it, and that they are at most 65,535 bytes.
void put_byte(Buffer& to, PropertyId id, uint8_t value);
void put_two_bytes(Buffer& to, PropertyId id, uint16_t value);
void put_four_bytes(Buffer& to, PropertyId id, uint32_t value);
void put_varint_property(Buffer& to, PropertyId id, uint32_t value);
void put_text(Buffer& to, PropertyId id, std::string_view value);
void put_user_property(Buffer& to, std::string_view name, std::string_view value);

}  // namespace robustmq::mqtt
