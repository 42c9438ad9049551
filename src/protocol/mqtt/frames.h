// The packets of MQTT 3.1, 3.1.1 and 5.0 as plain structs of views. Pure.
//
// A decoded packet points into the bytes it was read from and owns nothing; a packet to encode points at what its maker holds.
// Clause numbers (MQTT5 x.y.z) are those of the OASIS standard of 5.0; 3.1.1 has the same where it has the packet.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>

#include "base/bytes.h"
#include "protocol/mqtt/properties.h"

namespace robustmq::mqtt {

enum class Version : uint8_t { v3_1 = 3, v3_1_1 = 4, v5 = 5 };

// MQTT5 2.1.2
enum class PacketType : uint8_t {
  connect = 1,
  connack = 2,
  publish = 3,
  puback = 4,
  pubrec = 5,
  pubrel = 6,
  pubcomp = 7,
  subscribe = 8,
  suback = 9,
  unsubscribe = 10,
  unsuback = 11,
  pingreq = 12,
  pingresp = 13,
  disconnect = 14,
  auth = 15,
};
std::string_view packet_type_name(PacketType type);

// MQTT5 2.4
enum class ReasonCode : uint8_t {
  success = 0x00,  // normal disconnection; granted QoS 0
  granted_qos_1 = 0x01,
  granted_qos_2 = 0x02,
  disconnect_with_will = 0x04,
  no_matching_subscribers = 0x10,
  no_subscription_existed = 0x11,
  continue_authentication = 0x18,
  re_authenticate = 0x19,
  unspecified_error = 0x80,
  malformed_packet = 0x81,
  protocol_error = 0x82,
  implementation_specific_error = 0x83,
  unsupported_protocol_version = 0x84,
  client_identifier_not_valid = 0x85,
  bad_user_name_or_password = 0x86,
  not_authorized = 0x87,
  server_unavailable = 0x88,
  server_busy = 0x89,
  banned = 0x8A,
  server_shutting_down = 0x8B,
  bad_authentication_method = 0x8C,
  keep_alive_timeout = 0x8D,
  session_taken_over = 0x8E,
  topic_filter_invalid = 0x8F,
  topic_name_invalid = 0x90,
  packet_identifier_in_use = 0x91,
  packet_identifier_not_found = 0x92,
  receive_maximum_exceeded = 0x93,
  topic_alias_invalid = 0x94,
  packet_too_large = 0x95,
  message_rate_too_high = 0x96,
  quota_exceeded = 0x97,
  administrative_action = 0x98,
  payload_format_invalid = 0x99,
  retain_not_supported = 0x9A,
  qos_not_supported = 0x9B,
  use_another_server = 0x9C,
  server_moved = 0x9D,
  shared_subscriptions_not_supported = 0x9E,
  connection_rate_exceeded = 0x9F,
  maximum_connect_time = 0xA0,
  subscription_identifiers_not_supported = 0xA1,
  wildcard_subscriptions_not_supported = 0xA2,
};
inline bool is_failure(ReasonCode code) { return static_cast<uint8_t>(code) >= 0x80; }

// CONNACK return codes of 3.1 and 3.1.1 (MQTT3 3.2.2.3)
enum class ReturnCode : uint8_t {
  accepted = 0,
  unacceptable_protocol_version = 1,
  identifier_rejected = 2,
  server_unavailable = 3,
  bad_user_name_or_password = 4,
  not_authorized = 5,
};

struct Will {
  uint8_t qos = 0;
  bool retain = false;
  Properties properties;
  std::string_view topic;
  ByteSpan payload;
};

struct Connect {
  Version version = Version::v5;
  bool clean_start = true;  // clean session in 3.1 and 3.1.1
  uint16_t keep_alive_s = 0;
  Properties properties;
  std::string_view client_id;
  std::optional<Will> will;
  std::optional<std::string_view> user_name;
  std::optional<ByteSpan> password;
};

struct Connack {
  bool session_present = false;
  uint8_t code = 0;  // a ReasonCode in 5.0, a ReturnCode before
  Properties properties;
};

struct Publish {
  bool dup = false;
  uint8_t qos = 0;
  bool retain = false;
  uint16_t packet_id = 0;  // QoS 1 and 2 only
  std::string_view topic;
  Properties properties;
  ByteSpan payload;
};

// PUBACK, PUBREC, PUBREL and PUBCOMP
struct Ack {
  PacketType type = PacketType::puback;
  uint16_t packet_id = 0;
  ReasonCode reason = ReasonCode::success;
  Properties properties;
};

struct Subscription {
  std::string_view filter;  // UTF-8; whether it is a valid filter is the reader's to check
  uint8_t qos = 0;
  bool no_local = false;
  bool retain_as_published = false;
  uint8_t retain_handling = 0;
};

// `subscriptions` are encoded as in the packet, checked by decode(), at least one; walked by SubscriptionReader.
struct Subscribe {
  uint16_t packet_id = 0;
  Properties properties;
  ByteSpan subscriptions;
};

// `filters` are encoded as in the packet (length, text), checked by decode(), at least one; walked by FilterReader.
struct Unsubscribe {
  uint16_t packet_id = 0;
  Properties properties;
  ByteSpan filters;
};

// SUBACK and UNSUBACK. An UNSUBACK has codes only in 5.0.
struct SubscribeAck {
  PacketType type = PacketType::suback;
  uint16_t packet_id = 0;
  Properties properties;
  ByteSpan codes;  // one byte each
};

struct Pingreq {};
struct Pingresp {};

struct Disconnect {
  ReasonCode reason = ReasonCode::success;
  Properties properties;
};

struct Auth {
  ReasonCode reason = ReasonCode::success;
  Properties properties;
};

using Packet =
    std::variant<Connect, Connack, Publish, Ack, Subscribe, SubscribeAck, Unsubscribe, Pingreq, Pingresp, Disconnect, Auth>;

}  // namespace robustmq::mqtt
