// Reads and writes MQTT packets, all of them, in every version and both directions. Pure.
//
// A packet is: type and flags (1 byte), remaining length (varint of 1 to 4 bytes, minimal), and so many bytes. frame_at() finds
// the packet at the front of what has arrived; decode() reads and checks it to the last byte. What is decoded views the input.
// Nothing is allocated and nothing is read past the input. Encoding computes the size first and then writes once into the buffer.
//
// Strict: flags, UTF-8, reserved bits, property rules (known, allowed in this packet from this side, once, in range), lengths
// that end exactly where the packet does. Not checked here, because the answer depends on the connection: topic names and filters
// beyond UTF-8, topic aliases, packet ids in use, limits.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "protocol/mqtt/frames.h"

namespace robustmq::mqtt {

constexpr uint32_t kRemainingLengthMax = 268'435'455;  // MQTT5 1.5.5

// Who sent a packet.
enum class Side : uint8_t { client, server };

// Why a packet is refused; `why` is a literal. False in a condition: nothing is wrong.
struct [[nodiscard]] Fault {
  ReasonCode reason = ReasonCode::success;
  const char* why = nullptr;
  explicit operator bool() const { return why != nullptr; }
};

struct Frame {
  PacketType type{};
  uint8_t flags = 0;
  ByteSpan body;
  size_t size = 0;  // of the whole packet
};

enum class FrameState : uint8_t {
  whole,       // the frame is filled in
  needs_more,  // `size` is the whole packet's size where it is known yet, else 0
  bad,         // no packet begins like this
};
// The packet at the front of `input`. Checks type, flags (QoS 3 and the like are decode()'s) and remaining length only.
FrameState frame_at(ByteSpan input, Frame& out);

// Reads a CONNECT. With the fault unsupported_protocol_version, `level` says what was asked; other faults come before the level
// is known to be served or after. `level` is 0 while it is not known.
Fault decode_connect(const Frame& frame, Connect& out, uint8_t& level);
Fault decode_connack(const Frame& frame, Version version, Connack& out);
Fault decode_publish(const Frame& frame, Version version, Side from, Publish& out);
Fault decode_ack(const Frame& frame, Version version, Ack& out);
Fault decode_subscribe(const Frame& frame, Version version, Subscribe& out);
Fault decode_subscribe_ack(const Frame& frame, Version version, SubscribeAck& out);
Fault decode_unsubscribe(const Frame& frame, Version version, Unsubscribe& out);
Fault decode_disconnect(const Frame& frame, Version version, Side from, Disconnect& out);
Fault decode_auth(const Frame& frame, Version version, Auth& out);
// Any packet that this side may send. A CONNECT brings its own version.
Fault decode(const Frame& frame, Version version, Side from, Packet& out);

// Walk the payload of a checked SUBSCRIBE or UNSUBSCRIBE.
class SubscriptionReader {
 public:
  SubscriptionReader(const Subscribe& packet, Version version) : rest_(packet.subscriptions), version_(version) {}
  bool next(Subscription& out);

 private:
  ByteSpan rest_;
  Version version_;
};
class FilterReader {
 public:
  explicit FilterReader(const Unsubscribe& packet) : rest_(packet.filters) {}
  bool next(std::string_view& out);

 private:
  ByteSpan rest_;
};
// Append one entry for Subscribe::subscriptions or Unsubscribe::filters.
void put_subscription(Buffer& to, const Subscription& subscription, Version version);
void put_filter(Buffer& to, std::string_view filter);

// The size of the packet on the wire; 0 when it is over what a remaining length can say.
size_t encoded_size(const Packet& packet, Version version);
// Appends the packet. The caller ensures that it is within the limits that encoded_size() and the standard name. A CONNECT is
// written in its own version.
void encode(const Connect& packet, Buffer& to);
void encode(const Connack& packet, Version version, Buffer& to);
void encode(const Publish& packet, Version version, Buffer& to);
void encode(const Ack& packet, Version version, Buffer& to);
void encode(const Subscribe& packet, Version version, Buffer& to);
void encode(const SubscribeAck& packet, Version version, Buffer& to);
void encode(const Unsubscribe& packet, Version version, Buffer& to);
void encode(const Disconnect& packet, Version version, Buffer& to);
void encode(const Auth& packet, Version version, Buffer& to);
void encode_pingreq(Buffer& to);
void encode_pingresp(Buffer& to);
void encode(const Packet& packet, Version version, Buffer& to);

// Writes everything of a PUBLISH but its payload, which the caller sends behind it.
void encode_publish_head(const Publish& packet, Version version, Buffer& to);
// Where the packet id stands in an encoded PUBLISH of QoS 1 or 2.
size_t packet_id_at(ByteSpan encoded_publish);

}  // namespace robustmq::mqtt
