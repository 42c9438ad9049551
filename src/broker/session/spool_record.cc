#include "broker/session/spool_record.h"

#include <charconv>
#include <cstring>

#include "broker/menu/record_qos.h"
#include "storage/row_key.h"

namespace robustmq::broker {
namespace {

constexpr size_t kRefBytes = 32;

using storage::big_endian;
using storage::put_big_endian;

std::string encode_ref(const SpoolRef& ref) {
  std::string key(as_text(ref.shard.topic.bytes));
  put_big_endian(static_cast<uint32_t>(ref.shard.partition), 4, key);
  put_big_endian(static_cast<uint64_t>(ref.offset), 8, key);
  put_big_endian(static_cast<uint32_t>(ref.epoch), 4, key);
  return key;
}

std::optional<SpoolRef> decode_ref(ByteSpan key) {
  if (key.size() != kRefBytes) return std::nullopt;
  SpoolRef ref;
  std::memcpy(ref.shard.topic.bytes.data(), key.data(), 16);
  ref.shard.partition = static_cast<int32_t>(big_endian(as_text(key.subspan(16, 4))));
  ref.offset = static_cast<Offset>(big_endian(as_text(key.subspan(20, 8))));
  ref.epoch = static_cast<LeaderEpoch>(big_endian(as_text(key.subspan(28, 4))));
  return ref;
}

}  // namespace

std::string encode_packet(const PacketMark& mark) {
  std::string value;
  put_big_endian(mark.sequence, 8, value);
  put_big_endian(mark.packet_id, 2, value);
  return value.append(mark.client_id);
}

std::optional<PacketMark> decode_packet(ByteSpan value) {
  if (value.size() < 10) return std::nullopt;
  return PacketMark{big_endian(as_text(value.first(8))), static_cast<uint16_t>(big_endian(as_text(value.subspan(8, 2)))),
                    as_text(value.subspan(10))};
}

namespace {

// A header that says the same in the spool as in its message.
void note_message_header(std::string_view name, std::string_view value, uint8_t& qos, uint32_t& expiry_s) {
  if (name == "qos") {
    qos = qos_said(value);
  } else if (name == "message_expiry_s") {
    std::from_chars(value.data(), value.data() + value.size(), expiry_s);
  }
}

}  // namespace

SpoolFacts facts_of(const RecordView& record) {
  SpoolFacts facts;
  if (record.key) facts.ref = decode_ref(*record.key);
  HeaderReader headers(record);
  HeaderView header;
  bool is_own = true;  // one of those in front
  for (bool is_first = true; headers.next(header); is_first = false) {
    if (is_first && header.key == kAtHeader && header.value && header.value->size() == 8) {
      facts.at = static_cast<Offset>(big_endian(as_text(*header.value)));
      if (!headers.next(header)) break;
    }
    if (!header.value || !header.key.starts_with("mqtt.")) continue;
    const std::string_view name = header.key.substr(5);
    const std::string_view value = as_text(*header.value);
    if (!is_own) {
      note_message_header(name, value, facts.qos, facts.expiry_s);
    } else if (name == "topic") {
      facts.topic = value;
      is_own = facts.ref.has_value();  // a reference has no headers of its message
    } else if (name == "packet") {
      facts.packet = decode_packet(*header.value);
    } else if (name == "own") {
      facts.own = value;
    } else if (name == "delayed") {
      facts.delayed = value;
    } else if (name == "void") {
      facts.is_void = facts.ref.has_value();
    } else if (name == "batch") {
      facts.is_batch = facts.ref.has_value();
    }
  }
  return facts;
}

MessageFacts message_facts_of(const RecordView& record) {
  MessageFacts facts;
  HeaderReader headers(record);
  HeaderView header;
  while (headers.next(header)) {
    if (!header.value || !header.key.starts_with("mqtt.")) continue;
    const std::string_view value = as_text(*header.value);
    if (header.key == kPacketHeader)
      facts.packet = decode_packet(*header.value);
    else if (header.key == kDelayedHeader && facts.delayed.empty())
      facts.delayed = value;
    else
      note_message_header(header.key.substr(5), value, facts.qos, facts.expiry_s);
  }
  return facts;
}

void append_spooled(BatchBuilder& to, const RecordView& message, const SpooledAs& as) {
  const bool has_payload = !as.ref && !as.topic.empty();
  const std::string key = as.ref ? encode_ref(*as.ref) : std::string();
  to.begin_record(message.timestamp_ms, as.ref ? std::optional(as_bytes(key)) : std::nullopt,
                  has_payload ? message.value : std::nullopt);
  if (!as.delayed.empty()) to.add_header(kDelayedHeader, as_bytes(as.delayed));
  if (as.packet) to.add_header(kPacketHeader, as_bytes(encode_packet(*as.packet)));
  if (!as.own.empty()) to.add_header(kOwnHeader, as_bytes(as.own));
  if (!as.topic.empty()) to.add_header("mqtt.topic", as_bytes(as.topic));
  if (has_payload) to.add_encoded_headers(message.raw_headers, message.header_count);
  to.end_record();
}

void append_about(BatchBuilder& to, std::string_view header, const SpoolRef& from, int64_t now_ms) {
  const std::string key = encode_ref(from);
  to.begin_record(now_ms, as_bytes(key), std::nullopt);
  to.add_header(header, ByteSpan());
  to.end_record();
}

void append_moved(BatchBuilder& to, const RecordView& record, Offset at) {
  to.begin_record(record.timestamp_ms, record.key, record.value);
  std::string place;
  put_big_endian(static_cast<uint64_t>(at), 8, place);
  to.add_header(kAtHeader, as_bytes(place));
  HeaderReader headers(record);
  HeaderView header;
  for (bool is_first = true; headers.next(header); is_first = false) {
    if (!is_first || header.key != kAtHeader) to.add_header(header.key, header.value);
  }
  to.end_record();
}

}  // namespace robustmq::broker
