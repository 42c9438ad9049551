#include "protocol/mqtt/names.h"

#include <charconv>

#include "base/topic_names.h"
#include "broker/menu/record_qos.h"

namespace robustmq::mqtt {
namespace {

constexpr std::string_view kPrefix = "mqtt.";
constexpr std::string_view kUserPrefix = "mqtt.user.";
constexpr std::string_view kQos = "mqtt.qos";
constexpr std::string_view kRetain = "mqtt.retain";
constexpr std::string_view kTopic = "mqtt.topic";
constexpr std::string_view kPacket = "mqtt.packet";  // the broker's own, as the next one
constexpr std::string_view kDelayedPrefix = "mqtt.delayed";
constexpr std::string_view kPayloadFormat = "mqtt.payload_format";
constexpr std::string_view kExpiry = "mqtt.message_expiry_s";
constexpr std::string_view kContentType = "mqtt.content_type";
constexpr std::string_view kResponseTopic = "mqtt.response_topic";
constexpr std::string_view kCorrelationData = "mqtt.correlation_data";

// Lengths are zigzag varints: 8 is 16, 1 is 2.
constexpr char kPlain[3][12] = {
    "\x10mqtt.qos\x02"
    "0",
    "\x10mqtt.qos\x02"
    "1",
    "\x10mqtt.qos\x02"
    "2"};
constexpr size_t kPlainBytes = 11;

bool read_number(std::string_view text, uint32_t& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size() && !text.empty();
}

bool is_text(std::string_view text) { return text.size() <= 65535 && is_utf8(text); }

enum class Fate : uint8_t { property, nothing, left_out };

// What a header becomes. `seen` has a bit for each property given so far.
Fate property_of(const HeaderView& header, uint64_t& seen, Property& out) {
  const std::string_view value = header.value ? as_text(*header.value) : std::string_view{};
  if (!header.key.starts_with(kPrefix) || header.key.starts_with(kUserPrefix)) {
    std::string_view name = header.key;
    if (name.starts_with(kUserPrefix)) name.remove_prefix(kUserPrefix.size());
    if (!is_text(name) || !is_text(value)) return Fate::left_out;
    out = {.id = PropertyId::user_property, .name = name, .text = value};
    return Fate::property;
  }
  if (header.key == kQos || header.key == kRetain || header.key == kTopic || header.key == kPacket ||
      header.key == kDelayedPrefix)
    return Fate::nothing;
  out = {.text = value};
  bool is_good = false;
  if (header.key == kPayloadFormat) {
    out.id = PropertyId::payload_format;
    is_good = value == "0" || value == "1";
    if (is_good) out.number = static_cast<uint32_t>(value[0] - '0');
  } else if (header.key == kExpiry) {
    out.id = PropertyId::message_expiry;
    is_good = read_number(value, out.number);
  } else if (header.key == kContentType) {
    out.id = PropertyId::content_type;
    is_good = is_text(value);
  } else if (header.key == kResponseTopic) {
    out.id = PropertyId::response_topic;
    is_good = is_valid_topic_name(value);
  } else if (header.key == kCorrelationData) {
    out.id = PropertyId::correlation_data;
    is_good = value.size() <= 65535;
  }
  const uint64_t bit = uint64_t{1} << static_cast<unsigned>(out.id);
  if (!is_good || seen & bit) return Fate::left_out;
  seen |= bit;
  return Fate::property;
}

size_t size_of(const Property& property) {
  switch (property.id) {
    case PropertyId::payload_format:
      return 2;
    case PropertyId::message_expiry:
      return 5;
    case PropertyId::user_property:
      return 5 + property.name.size() + property.text.size();
    default:
      return 3 + property.text.size();
  }
}

uint8_t* write_text(uint8_t* at, std::string_view text) {
  *at++ = static_cast<uint8_t>(text.size() >> 8);
  *at++ = static_cast<uint8_t>(text.size());
  if (!text.empty()) std::memcpy(at, text.data(), text.size());
  return at + text.size();
}

uint8_t* write(const Property& property, uint8_t* at) {
  *at++ = static_cast<uint8_t>(property.id);
  switch (property.id) {
    case PropertyId::payload_format:
      *at++ = static_cast<uint8_t>(property.number);
      return at;
    case PropertyId::message_expiry:
      for (int shift = 24; shift >= 0; shift -= 8) *at++ = static_cast<uint8_t>(property.number >> shift);
      return at;
    case PropertyId::user_property:
      return write_text(write_text(at, property.name), property.text);
    default:
      return write_text(at, property.text);
  }
}

void append_number(Buffer& to, std::string_view name, uint32_t number) {
  char digits[10];
  const auto [end, error] = std::to_chars(digits, digits + sizeof digits, number);
  BatchBuilder::append_header(to, name, as_bytes(std::string_view(digits, static_cast<size_t>(end - digits))));
}

void append_user_property(Buffer& to, const Property& property) {
  if (!property.name.starts_with(kPrefix)) {
    BatchBuilder::append_header(to, property.name, as_bytes(property.text));
    return;
  }
  std::string name(kUserPrefix);
  name += property.name;
  BatchBuilder::append_header(to, name, as_bytes(property.text));
}

}  // namespace

ByteSpan plain_headers(uint8_t qos) { return as_bytes(std::string_view(kPlain[qos < 2 ? qos : 2], kPlainBytes)); }

uint32_t expiry_of(const Properties& properties) {
  const uint32_t expiry_s = properties.number(PropertyId::message_expiry);
  return expiry_s == 0 && properties.has(PropertyId::message_expiry) ? 1 : expiry_s;
}

int32_t append_headers(uint8_t qos, bool retain, const Properties& properties, Buffer& to) {
  int32_t count = 1;
  to.append(plain_headers(qos));
  if (retain) {
    BatchBuilder::append_header(to, kRetain, as_bytes("1"));
    ++count;
  }
  PropertyReader reader(properties.raw);
  for (Property property; reader.next(property);) {
    ++count;
    switch (property.id) {
      case PropertyId::payload_format:
        BatchBuilder::append_header(to, kPayloadFormat, as_bytes(property.number ? "1" : "0"));
        break;
      case PropertyId::message_expiry:
        append_number(to, kExpiry, property.number);
        break;
      case PropertyId::content_type:
        BatchBuilder::append_header(to, kContentType, as_bytes(property.text));
        break;
      case PropertyId::response_topic:
        BatchBuilder::append_header(to, kResponseTopic, as_bytes(property.text));
        break;
      case PropertyId::correlation_data:
        BatchBuilder::append_header(to, kCorrelationData, as_bytes(property.text));
        break;
      case PropertyId::user_property:
        append_user_property(to, property);
        break;
      default:
        --count;
        break;  // topic alias, will delay: the connection's, not the message's
    }
  }
  return count;
}

RecordFacts facts_of(const RecordView& record) {
  RecordFacts facts;
  const ByteSpan raw = record.raw_headers;
  if (record.header_count == 1 && raw.size() == kPlainBytes && std::memcmp(raw.data(), kPlain[0], kPlainBytes - 1) == 0) {
    facts.is_plain = true;
    facts.qos = raw[10] == '0' || raw[10] == '2' ? static_cast<uint8_t>(raw[10] - '0') : 1;
    return facts;
  }
  facts.is_plain = true;
  HeaderReader reader(record);
  for (HeaderView header; reader.next(header);) {
    const std::string_view value = header.value ? as_text(*header.value) : std::string_view{};
    if (header.key == kQos) {
      facts.qos = broker::qos_said(value);
    } else if (header.key == kRetain) {
      facts.retain = value == "1";
    } else if (header.key != kTopic) {
      facts.is_plain = false;
      uint32_t expiry_s = 0;
      if (header.key == kExpiry && !facts.expiry_s && read_number(value, expiry_s)) facts.expiry_s = expiry_s;
    }
  }
  return facts;
}

std::optional<uint32_t> expiry_left(uint32_t expiry_s, int64_t timestamp_ms, int64_t now_ms) {
  const int64_t waited_ms = now_ms > timestamp_ms ? now_ms - timestamp_ms : 0;
  const int64_t waited_s = waited_ms / 1000;
  if (waited_ms > 0 && waited_s >= expiry_s) return std::nullopt;
  return expiry_s - static_cast<uint32_t>(waited_s);
}

size_t properties_size(const RecordView& record, uint64_t& left_out) {
  size_t size = 0;
  uint64_t seen = 0;
  HeaderReader reader(record);
  for (HeaderView header; reader.next(header);) {
    Property property;
    switch (property_of(header, seen, property)) {
      case Fate::property:
        size += size_of(property);
        break;
      case Fate::nothing:
        break;
      case Fate::left_out:
        ++left_out;
        break;
    }
  }
  return size;
}

uint8_t* write_properties(const RecordView& record, uint32_t expiry_left_s, uint8_t* at) {
  uint64_t seen = 0;
  HeaderReader reader(record);
  for (HeaderView header; reader.next(header);) {
    Property property;
    if (property_of(header, seen, property) != Fate::property) continue;
    if (property.id == PropertyId::message_expiry) property.number = expiry_left_s;
    at = write(property, at);
  }
  return at;
}

}  // namespace robustmq::mqtt
