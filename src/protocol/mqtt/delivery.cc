#include "protocol/mqtt/delivery.h"

#include "base/varint.h"
#include "protocol/mqtt/codec.h"
#include "protocol/mqtt/names.h"

namespace robustmq::mqtt {
namespace {

// Scratch kinds of this protocol; the top bit marks a spelling that one client has needed and nobody has kept yet.
constexpr uint32_t kKind = 0x4D51'0000;
constexpr uint32_t kNeededOnce = 0x8000'0000;

struct Sizes {
  size_t properties = 0;
  size_t head = 0;  // topic, packet id, properties with their length
  size_t body = 0;
  size_t packet() const { return 1 + varint_size(body) + body; }
};

ByteSpan payload_of(const Outgoing& m) { return m.record.value ? *m.record.value : ByteSpan{}; }

Sizes sizes_of(const Outgoing& m, Version version, uint64_t& left_out) {
  Sizes sizes;
  sizes.head = 2 + m.topic.size() + (m.qos > 0 ? 2 : 0);
  if (version == Version::v5) {
    if (!m.is_plain) sizes.properties = properties_size(m.record, left_out);
    if (m.subscription_ids) {
      for (uint32_t id : *m.subscription_ids) sizes.properties += 1 + varint_size(id);
    }
    if (m.alias) sizes.properties += 3;
    sizes.head += varint_size(sizes.properties) + sizes.properties;
  }
  sizes.body = sizes.head + payload_of(m).size();
  return sizes;
}

uint8_t first_byte(const Outgoing& m) { return static_cast<uint8_t>(0x30 | (m.dup ? 8 : 0) | m.qos << 1 | (m.retain ? 1 : 0)); }

uint8_t* put_u16(uint8_t* at, size_t value) {
  at[0] = static_cast<uint8_t>(value >> 8);
  at[1] = static_cast<uint8_t>(value);
  return at + 2;
}

// Writes everything but the payload.
uint8_t* write_head(const Outgoing& m, Version version, const Sizes& sizes, uint16_t packet_id, uint8_t* at) {
  *at++ = first_byte(m);
  at = put_varint(at, sizes.body);
  at = put_u16(at, m.topic.size());
  std::memcpy(at, m.topic.data(), m.topic.size());
  at += m.topic.size();
  if (m.qos > 0) at = put_u16(at, packet_id);
  if (version != Version::v5) return at;
  at = put_varint(at, sizes.properties);
  if (m.alias) {
    *at++ = static_cast<uint8_t>(PropertyId::topic_alias);
    at = put_u16(at, m.alias);
  }
  if (m.subscription_ids) {
    for (uint32_t id : *m.subscription_ids) {
      *at++ = static_cast<uint8_t>(PropertyId::subscription_id);
      at = put_varint(at, id);
    }
  }
  return m.is_plain ? at : write_properties(m.record, m.expiry_left_s, at);
}

void write_whole(const Outgoing& m, Version version, const Sizes& sizes, uint16_t packet_id, Buffer& to) {
  const ByteSpan payload = payload_of(m);
  uint8_t* at = write_head(m, version, sizes, packet_id, to.extend(sizes.packet()));
  if (!payload.empty()) std::memcpy(at, payload.data(), payload.size());
}

broker::DeliveryScratch::Entry* entry_of(broker::DeliveryScratch& scratch, uint32_t kind) {
  for (broker::DeliveryScratch::Entry& entry : scratch.entries) {
    if ((entry.kind & ~kNeededOnce) == kind) return &entry;
    if (entry.kind == 0) {
      entry.kind = kind | kNeededOnce;
      return &entry;
    }
  }
  return nullptr;
}

void copy_spelling(const Bytes& spelling, const Outgoing& m, uint16_t packet_id, Buffer& to) {
  uint8_t* at = to.extend(spelling.size());
  std::memcpy(at, spelling.data(), spelling.size());
  at[0] = first_byte(m);
  if (m.qos > 0) put_u16(at + packet_id_at(spelling), packet_id);
}

// Large payloads: the head is written, the payload sent as it lies in the record's memory. False: not worth it or not possible.
bool send_shared_payload(const Outgoing& m, Version version, const Sizes& sizes, uint16_t packet_id, protocol::Outbox& out) {
  const ByteSpan payload = payload_of(m);
  if (payload.size() < kPayloadBytesShared || m.owner.pinned() > 4 * payload.size()) return false;
  if (payload.data() < m.owner.begin() || payload.data() + payload.size() > m.owner.end()) return false;
  write_head(m, version, sizes, packet_id, out.out().extend(sizes.packet() - payload.size()));
  out.send(m.owner.slice(static_cast<size_t>(payload.data() - m.owner.begin()), payload.size()));
  return true;
}

}  // namespace

bool send_publish(const Outgoing& m, Version version, uint16_t packet_id, uint32_t packet_bytes_max, uint64_t& left_out,
                  protocol::Outbox& out) {
  broker::DeliveryScratch::Entry* entry = nullptr;
  if (m.scratch && !m.subscription_ids && m.alias == 0) {
    entry = entry_of(*m.scratch, kKind | (version == Version::v5 ? 4u : 0u) | m.qos);
    if (entry && !entry->bytes.empty()) {
      if (entry->bytes.size() > packet_bytes_max) return false;
      copy_spelling(entry->bytes, m, packet_id, out.out());
      return true;
    }
  }
  const Sizes sizes = sizes_of(m, version, left_out);
  if (sizes.body > kRemainingLengthMax || sizes.packet() > packet_bytes_max) return false;
  if (send_shared_payload(m, version, sizes, packet_id, out)) return true;
  if (entry && !(entry->kind & kNeededOnce)) {
    Buffer spelling(sizes.packet());
    write_whole(m, version, sizes, packet_id, spelling);
    entry->bytes = spelling.take();
    copy_spelling(entry->bytes, m, packet_id, out.out());
    return true;
  }
  if (entry) entry->kind &= ~kNeededOnce;
  write_whole(m, version, sizes, packet_id, out.out());
  return true;
}

}  // namespace robustmq::mqtt
