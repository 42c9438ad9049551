// Encoding: every packet's body is written down once, for a sink that counts and for one that writes. Pure.
#include "base/check.h"
#include "base/varint.h"
#include "protocol/mqtt/codec.h"

namespace robustmq::mqtt {
namespace {

struct Counter {
  size_t size = 0;
  void u8(uint8_t) { size += 1; }
  void u16(uint16_t) { size += 2; }
  void varint(uint32_t value) { size += varint_size(value); }
  void bytes(ByteSpan bytes) { size += bytes.size(); }
};

struct Writer {
  uint8_t* at;
  void u8(uint8_t value) { *at++ = value; }
  void u16(uint16_t value) {
    at[0] = static_cast<uint8_t>(value >> 8);
    at[1] = static_cast<uint8_t>(value);
    at += 2;
  }
  void varint(uint32_t value) { at = put_varint(at, value); }
  void bytes(ByteSpan bytes) {
    if (!bytes.empty()) std::memcpy(at, bytes.data(), bytes.size());
    at += bytes.size();
  }
};

template <class Sink>
void put(Sink& sink, std::string_view text) {
  sink.u16(static_cast<uint16_t>(text.size()));
  sink.bytes(as_bytes(text));
}
template <class Sink>
void put(Sink& sink, ByteSpan binary) {
  put(sink, as_text(binary));
}
template <class Sink>
void put(Sink& sink, const Properties& properties) {
  sink.varint(static_cast<uint32_t>(properties.raw.size()));
  sink.bytes(properties.raw);
}

template <class Sink>
void body(Sink& sink, const Connect& p, Version) {
  const Version version = p.version;
  put(sink, version == Version::v3_1 ? std::string_view("MQIsdp") : std::string_view("MQTT"));
  sink.u8(static_cast<uint8_t>(version));
  uint8_t flags = p.clean_start ? 0x02 : 0;
  if (p.will) flags |= 0x04 | p.will->qos << 3 | (p.will->retain ? 0x20 : 0);
  if (p.password) flags |= 0x40;
  if (p.user_name) flags |= 0x80;
  sink.u8(flags);
  sink.u16(p.keep_alive_s);
  if (version == Version::v5) put(sink, p.properties);
  put(sink, p.client_id);
  if (p.will) {
    if (version == Version::v5) put(sink, p.will->properties);
    put(sink, p.will->topic);
    put(sink, p.will->payload);
  }
  if (p.user_name) put(sink, *p.user_name);
  if (p.password) put(sink, *p.password);
}

template <class Sink>
void body(Sink& sink, const Connack& p, Version version) {
  sink.u8(p.session_present ? 1 : 0);
  sink.u8(p.code);
  if (version == Version::v5) put(sink, p.properties);
}

template <class Sink>
void publish_head(Sink& sink, const Publish& p, Version version) {
  put(sink, p.topic);
  if (p.qos > 0) sink.u16(p.packet_id);
  if (version == Version::v5) put(sink, p.properties);
}

template <class Sink>
void body(Sink& sink, const Publish& p, Version version) {
  publish_head(sink, p, version);
  sink.bytes(p.payload);
}

// Reason and properties that say nothing are left out (MQTT5 3.4.2.1, 3.14.2.1, 3.15.2.1).
template <class Sink>
void reason_and_properties(Sink& sink, ReasonCode reason, const Properties& properties) {
  if (reason == ReasonCode::success && properties.raw.empty()) return;
  sink.u8(static_cast<uint8_t>(reason));
  if (!properties.raw.empty()) put(sink, properties);
}

template <class Sink>
void body(Sink& sink, const Ack& p, Version version) {
  sink.u16(p.packet_id);
  if (version == Version::v5) reason_and_properties(sink, p.reason, p.properties);
}

template <class Sink>
void body(Sink& sink, const Subscribe& p, Version version) {
  sink.u16(p.packet_id);
  if (version == Version::v5) put(sink, p.properties);
  sink.bytes(p.subscriptions);
}

template <class Sink>
void body(Sink& sink, const SubscribeAck& p, Version version) {
  sink.u16(p.packet_id);
  if (version == Version::v5) put(sink, p.properties);
  if (version == Version::v5 || p.type == PacketType::suback) sink.bytes(p.codes);
}

template <class Sink>
void body(Sink& sink, const Unsubscribe& p, Version version) {
  sink.u16(p.packet_id);
  if (version == Version::v5) put(sink, p.properties);
  sink.bytes(p.filters);
}

template <class Sink>
void body(Sink& sink, const Disconnect& p, Version version) {
  if (version == Version::v5) reason_and_properties(sink, p.reason, p.properties);
}

template <class Sink>
void body(Sink& sink, const Auth& p, Version) {
  reason_and_properties(sink, p.reason, p.properties);
}

template <class Sink>
void body(Sink&, const Pingreq&, Version) {}
template <class Sink>
void body(Sink&, const Pingresp&, Version) {}

uint8_t first_byte(PacketType type, uint8_t flags = 0) { return static_cast<uint8_t>(static_cast<uint8_t>(type) << 4 | flags); }
uint8_t first_byte(const Publish& p) {
  return first_byte(PacketType::publish, static_cast<uint8_t>((p.dup ? 8 : 0) | p.qos << 1 | (p.retain ? 1 : 0)));
}
uint8_t first_byte(const Connect&) { return first_byte(PacketType::connect); }
uint8_t first_byte(const Connack&) { return first_byte(PacketType::connack); }
uint8_t first_byte(const Ack& p) { return first_byte(p.type, p.type == PacketType::pubrel ? 2 : 0); }
uint8_t first_byte(const Subscribe&) { return first_byte(PacketType::subscribe, 2); }
uint8_t first_byte(const SubscribeAck& p) { return first_byte(p.type); }
uint8_t first_byte(const Unsubscribe&) { return first_byte(PacketType::unsubscribe, 2); }
uint8_t first_byte(const Disconnect&) { return first_byte(PacketType::disconnect); }
uint8_t first_byte(const Auth&) { return first_byte(PacketType::auth); }
uint8_t first_byte(const Pingreq&) { return first_byte(PacketType::pingreq); }
uint8_t first_byte(const Pingresp&) { return first_byte(PacketType::pingresp); }

template <class P>
size_t body_size(const P& packet, Version version) {
  Counter counter;
  body(counter, packet, version);
  return counter.size;
}

template <class P>
void write(const P& packet, Version version, Buffer& to) {
  const size_t size = body_size(packet, version);
  ROBUSTMQ_CHECK(size <= kRemainingLengthMax, "a packet to send is over the format's limit");
  Writer writer{to.extend(1 + varint_size(size) + size)};
  writer.u8(first_byte(packet));
  writer.varint(static_cast<uint32_t>(size));
  body(writer, packet, version);
}

}  // namespace

void put_subscription(Buffer& to, const Subscription& s, Version version) {
  put_filter(to, s.filter);
  uint8_t options = s.qos;
  if (version == Version::v5) options |= (s.no_local ? 0x04 : 0) | (s.retain_as_published ? 0x08 : 0) | s.retain_handling << 4;
  to.append_u8(options);
}

void put_filter(Buffer& to, std::string_view filter) {
  Writer writer{to.extend(2 + filter.size())};
  put(writer, filter);
}

size_t encoded_size(const Packet& packet, Version version) {
  const size_t size = std::visit([&](const auto& p) { return body_size(p, version); }, packet);
  return size > kRemainingLengthMax ? 0 : 1 + varint_size(size) + size;
}

void encode(const Connect& packet, Buffer& to) { write(packet, packet.version, to); }
void encode(const Connack& packet, Version version, Buffer& to) { write(packet, version, to); }
void encode(const Publish& packet, Version version, Buffer& to) { write(packet, version, to); }
void encode(const Ack& packet, Version version, Buffer& to) { write(packet, version, to); }
void encode(const Subscribe& packet, Version version, Buffer& to) { write(packet, version, to); }
void encode(const SubscribeAck& packet, Version version, Buffer& to) { write(packet, version, to); }
void encode(const Unsubscribe& packet, Version version, Buffer& to) { write(packet, version, to); }
void encode(const Disconnect& packet, Version version, Buffer& to) { write(packet, version, to); }
void encode(const Auth& packet, Version version, Buffer& to) { write(packet, version, to); }
void encode_pingreq(Buffer& to) { write(Pingreq{}, Version::v5, to); }
void encode_pingresp(Buffer& to) { write(Pingresp{}, Version::v5, to); }
void encode(const Packet& packet, Version version, Buffer& to) {
  std::visit([&](const auto& p) { write(p, version, to); }, packet);
}

void encode_publish_head(const Publish& packet, Version version, Buffer& to) {
  Counter head;
  publish_head(head, packet, version);
  const size_t size = head.size + packet.payload.size();
  ROBUSTMQ_CHECK(size <= kRemainingLengthMax, "a packet to send is over the format's limit");
  Writer writer{to.extend(1 + varint_size(size) + head.size)};
  writer.u8(first_byte(packet));
  writer.varint(static_cast<uint32_t>(size));
  publish_head(writer, packet, version);
}

size_t packet_id_at(ByteSpan encoded_publish) {
  size_t at = 1;
  while (encoded_publish[at] >= 0x80) ++at;
  ++at;
  const size_t topic = static_cast<size_t>(encoded_publish[at]) << 8 | encoded_publish[at + 1];
  return at + 2 + topic;
}

}  // namespace robustmq::mqtt
