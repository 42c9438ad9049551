// Packets as lines of text and back, for transcripts and failure messages. Used by tests only.
//
//   CONNECT v5 id=a clean=1 ka=60 will=topic:payload will_qos=1 will_retain user=u pass=p session_expiry=5 will.content_type=x
//   CONNACK code=0x00 present receive_maximum=1024
//   PUBLISH topic=a/b qos=1 id=7 dup retain payload=text user:name=value
//   PUBACK id=7 reason=0x97            SUBSCRIBE id=1 filter=a/#:1:nl:rap:rh2        SUBACK id=1 codes=00,80
//   UNSUBSCRIBE id=2 filter=a          DISCONNECT reason=0x8e                        PINGREQ
//
// Fields that have their default are left out when printed. Bytes outside '!'..'~', and '%', are written %xx.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

#include "protocol/mqtt/codec.h"

namespace robustmq::mqtt::packet_text {

inline std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c >= '!' && c <= '~' && c != '%') {
      out += c;
      continue;
    }
    char code[4];
    std::snprintf(code, sizeof code, "%%%02x", static_cast<unsigned>(static_cast<uint8_t>(c)));
    out += code;
  }
  return out;
}

inline std::string unescaped(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      out += static_cast<char>(std::strtoul(std::string(text.substr(i + 1, 2)).c_str(), nullptr, 16));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

struct PropertyName {
  PropertyId id;
  const char* name;
  char type;
};  // type: 1, 2, 4 bytes, v varint, t text
inline constexpr PropertyName kProperties[] = {
    {PropertyId::payload_format, "payload_format", '1'},
    {PropertyId::message_expiry, "message_expiry", '4'},
    {PropertyId::content_type, "content_type", 't'},
    {PropertyId::response_topic, "response_topic", 't'},
    {PropertyId::correlation_data, "correlation_data", 't'},
    {PropertyId::subscription_id, "subscription_id", 'v'},
    {PropertyId::session_expiry, "session_expiry", '4'},
    {PropertyId::assigned_client_id, "assigned_client_id", 't'},
    {PropertyId::server_keep_alive, "server_keep_alive", '2'},
    {PropertyId::authentication_method, "authentication_method", 't'},
    {PropertyId::authentication_data, "authentication_data", 't'},
    {PropertyId::request_problem_information, "request_problem_information", '1'},
    {PropertyId::will_delay, "will_delay", '4'},
    {PropertyId::request_response_information, "request_response_information", '1'},
    {PropertyId::response_information, "response_information", 't'},
    {PropertyId::server_reference, "server_reference", 't'},
    {PropertyId::reason_string, "reason_string", 't'},
    {PropertyId::receive_maximum, "receive_maximum", '2'},
    {PropertyId::topic_alias_maximum, "topic_alias_maximum", '2'},
    {PropertyId::topic_alias, "topic_alias", '2'},
    {PropertyId::maximum_qos, "maximum_qos", '1'},
    {PropertyId::retain_available, "retain_available", '1'},
    {PropertyId::maximum_packet_size, "maximum_packet_size", '4'},
    {PropertyId::wildcard_subscription_available, "wildcard_subscription_available", '1'},
    {PropertyId::subscription_id_available, "subscription_id_available", '1'},
    {PropertyId::shared_subscription_available, "shared_subscription_available", '1'},
};

inline std::string hex2(unsigned value) {
  char text[8];
  std::snprintf(text, sizeof text, "0x%02x", value);
  return text;
}

inline std::string of(const Properties& properties, const std::string& prefix = "") {
  std::string out;
  PropertyReader reader(properties.raw);
  for (Property property; reader.next(property);) {
    out += " " + prefix;
    if (property.id == PropertyId::user_property) {
      out += "user:" + escaped(property.name) + "=" + escaped(property.text);
      continue;
    }
    for (const PropertyName& known : kProperties) {
      if (known.id != property.id) continue;
      out += std::string(known.name) + "=" + (known.type == 't' ? escaped(property.text) : std::to_string(property.number));
    }
  }
  return out;
}

inline std::string of(const Packet& packet, Version version) {
  struct Printer {
    Version version;
    std::string operator()(const Connect& p) const {
      std::string out = "CONNECT ";
      out += p.version == Version::v5 ? "v5" : p.version == Version::v3_1 ? "v3.1" : "v3.1.1";
      out += " id=" + escaped(p.client_id);
      if (!p.clean_start) out += " clean=0";
      if (p.keep_alive_s) out += " ka=" + std::to_string(p.keep_alive_s);
      if (p.will) {
        out += " will=" + escaped(p.will->topic) + ":" + escaped(as_text(p.will->payload));
        if (p.will->qos) out += " will_qos=" + std::to_string(p.will->qos);
        if (p.will->retain) out += " will_retain";
        out += of(p.will->properties, "will.");
      }
      if (p.user_name) out += " user=" + escaped(*p.user_name);
      if (p.password) out += " pass=" + escaped(as_text(*p.password));
      return out + of(p.properties);
    }
    std::string operator()(const Connack& p) const {
      return "CONNACK code=" + hex2(p.code) + (p.session_present ? " present" : "") + of(p.properties);
    }
    std::string operator()(const Publish& p) const {
      std::string out = "PUBLISH topic=" + escaped(p.topic);
      if (p.qos) out += " qos=" + std::to_string(p.qos) + " id=" + std::to_string(p.packet_id);
      if (p.dup) out += " dup";
      if (p.retain) out += " retain";
      if (!p.payload.empty()) out += " payload=" + escaped(as_text(p.payload));
      return out + of(p.properties);
    }
    std::string operator()(const Ack& p) const {
      std::string out(packet_type_name(p.type));
      out += " id=" + std::to_string(p.packet_id);
      if (p.reason != ReasonCode::success) out += " reason=" + hex2(static_cast<unsigned>(p.reason));
      return out + of(p.properties);
    }
    std::string operator()(const Subscribe& p) const {
      std::string out = "SUBSCRIBE id=" + std::to_string(p.packet_id);
      SubscriptionReader reader(p, version);
      for (Subscription s; reader.next(s);) {
        out += " filter=" + escaped(s.filter) + ":" + std::to_string(s.qos) + (s.no_local ? ":nl" : "") +
               (s.retain_as_published ? ":rap" : "");
        if (s.retain_handling) out += ":rh" + std::to_string(s.retain_handling);
      }
      return out + of(p.properties);
    }
    std::string operator()(const SubscribeAck& p) const {
      std::string out(packet_type_name(p.type));
      out += " id=" + std::to_string(p.packet_id);
      if (!p.codes.empty()) out += " codes=";
      for (size_t i = 0; i < p.codes.size(); ++i) out += (i ? "," : "") + hex2(p.codes[i]).substr(2);
      return out + of(p.properties);
    }
    std::string operator()(const Unsubscribe& p) const {
      std::string out = "UNSUBSCRIBE id=" + std::to_string(p.packet_id);
      FilterReader reader(p);
      for (std::string_view filter; reader.next(filter);) out += " filter=" + escaped(filter);
      return out + of(p.properties);
    }
    std::string operator()(const Pingreq&) const { return "PINGREQ"; }
    std::string operator()(const Pingresp&) const { return "PINGRESP"; }
    std::string operator()(const Disconnect& p) const {
      return "DISCONNECT" + (p.reason == ReasonCode::success ? "" : " reason=" + hex2(static_cast<unsigned>(p.reason))) +
             of(p.properties);
    }
    std::string operator()(const Auth& p) const {
      return "AUTH" + (p.reason == ReasonCode::success ? "" : " reason=" + hex2(static_cast<unsigned>(p.reason))) +
             of(p.properties);
    }
  };
  return std::visit(Printer{version}, packet);
}

// All packets in `bytes`, a line each.
inline std::vector<std::string> lines_of(ByteSpan bytes, Version version, Side from) {
  std::vector<std::string> lines;
  while (!bytes.empty()) {
    Frame frame;
    if (frame_at(bytes, frame) != FrameState::whole) {
      lines.push_back("?? cut packet");
      break;
    }
    Packet packet;
    const Fault fault = decode(frame, version, from, packet);
    lines.push_back(fault ? std::string("?? ") + fault.why : of(packet, version));
    bytes = bytes.subspan(frame.size);
  }
  return lines;
}

// The words of a line: `key=value`, or a bare key. Values are unescaped.
struct Word {
  std::string key;
  std::string value;
  unsigned number() const { return static_cast<unsigned>(std::strtoul(value.c_str(), nullptr, 0)); }
};
inline std::vector<Word> words_of(std::string_view line) {
  std::vector<Word> words;
  std::istringstream in{std::string(line)};
  for (std::string text; in >> text;) {
    const size_t equals = text.find('=');
    words.push_back(equals == std::string::npos ? Word{text, ""}
                                                : Word{unescaped(text.substr(0, equals)), unescaped(text.substr(equals + 1))});
  }
  return words;
}

inline bool put_property(Buffer& to, const Word& word) {
  if (word.key.starts_with("user:")) {
    put_user_property(to, word.key.substr(5), word.value);
    return true;
  }
  for (const PropertyName& known : kProperties) {
    if (word.key != known.name) continue;
    switch (known.type) {
      case '1':
        put_byte(to, known.id, static_cast<uint8_t>(word.number()));
        break;
      case '2':
        put_two_bytes(to, known.id, static_cast<uint16_t>(word.number()));
        break;
      case '4':
        put_four_bytes(to, known.id, word.number());
        break;
      case 'v':
        put_varint_property(to, known.id, word.number());
        break;
      default:
        put_text(to, known.id, word.value);
        break;
    }
    return true;
  }
  return false;
}

inline std::vector<std::string> split(std::string_view text, char by) {
  std::vector<std::string> parts;
  std::istringstream in{std::string(text)};
  for (std::string part; std::getline(in, part, by);) parts.push_back(part);
  return parts;
}

// Encodes the packet that a line describes; false where it describes none. Nothing is checked: a line may describe a wrong
// packet.
inline bool encode_line(std::string_view line, Version version, Buffer& to) {
  const std::vector<Word> words = words_of(line);
  if (words.empty()) return false;
  const std::string& type = words[0].key;
  Buffer properties, will_properties, list;
  std::string codes;
  Connect connect;
  Connack connack;
  Publish publish;
  Will will;
  bool has_will = false;
  uint16_t id = 0;
  uint8_t reason = 0;
  for (size_t i = 1; i < words.size(); ++i) {
    const Word& word = words[i];
    if (word.key == "v5") {
      connect.version = Version::v5;
    } else if (word.key == "v3.1.1") {
      connect.version = Version::v3_1_1;
    } else if (word.key == "v3.1") {
      connect.version = Version::v3_1;
    } else if (word.key == "id") {
      id = static_cast<uint16_t>(word.number());
      connect.client_id = word.value;
    } else if (word.key == "clean") {
      connect.clean_start = word.value == "1";
    } else if (word.key == "ka") {
      connect.keep_alive_s = static_cast<uint16_t>(word.number());
    } else if (word.key == "will") {
      has_will = true;
      const size_t colon = word.value.find(':');
      will.topic = std::string_view(word.value).substr(0, colon);
      if (colon != std::string::npos) will.payload = as_bytes(std::string_view(word.value).substr(colon + 1));
    } else if (word.key == "will_qos") {
      will.qos = static_cast<uint8_t>(word.number());
    } else if (word.key == "will_retain") {
      will.retain = true;
    } else if (word.key == "user") {
      connect.user_name = word.value;
    } else if (word.key == "pass") {
      connect.password = as_bytes(word.value);
    } else if (word.key == "code") {
      connack.code = static_cast<uint8_t>(word.number());
    } else if (word.key == "present") {
      connack.session_present = true;
    } else if (word.key == "topic") {
      publish.topic = word.value;
    } else if (word.key == "qos") {
      publish.qos = static_cast<uint8_t>(word.number());
    } else if (word.key == "dup") {
      publish.dup = true;
    } else if (word.key == "retain") {
      publish.retain = true;
    } else if (word.key == "payload") {
      publish.payload = as_bytes(word.value);
    } else if (word.key == "reason") {
      reason = static_cast<uint8_t>(word.number());
    } else if (word.key == "codes") {
      for (const std::string& code : split(word.value, ',')) codes += static_cast<char>(std::strtoul(code.c_str(), nullptr, 16));
    } else if (word.key == "filter" && type == "UNSUBSCRIBE") {
      put_filter(list, word.value);
    } else if (word.key == "filter") {
      const std::vector<std::string> parts = split(word.value, ':');
      Subscription s{.filter = parts[0]};
      for (size_t k = 1; k < parts.size(); ++k) {
        if (parts[k] == "nl")
          s.no_local = true;
        else if (parts[k] == "rap")
          s.retain_as_published = true;
        else if (parts[k].starts_with("rh"))
          s.retain_handling = static_cast<uint8_t>(parts[k][2] - '0');
        else
          s.qos = static_cast<uint8_t>(parts[k][0] - '0');
      }
      put_subscription(list, s, version);
    } else if (word.key.starts_with("will.")) {
      if (!put_property(will_properties, {word.key.substr(5), word.value})) return false;
    } else if (!put_property(properties, word)) {
      return false;
    }
  }
  const Properties props{.raw = properties.span()};
  if (type == "CONNECT") {
    connect.properties = props;
    if (has_will) {
      will.properties.raw = will_properties.span();
      connect.will = will;
    }
    encode(connect, to);
  } else if (type == "CONNACK") {
    connack.properties = props;
    encode(connack, version, to);
  } else if (type == "PUBLISH") {
    publish.packet_id = id;
    publish.properties = props;
    encode(publish, version, to);
  } else if (type == "SUBSCRIBE") {
    encode(Subscribe{id, props, list.span()}, version, to);
  } else if (type == "UNSUBSCRIBE") {
    encode(Unsubscribe{id, props, list.span()}, version, to);
  } else if (type == "SUBACK" || type == "UNSUBACK") {
    encode(SubscribeAck{type == "SUBACK" ? PacketType::suback : PacketType::unsuback, id, props, as_bytes(codes)}, version, to);
  } else if (type == "PINGREQ") {
    encode_pingreq(to);
  } else if (type == "PINGRESP") {
    encode_pingresp(to);
  } else if (type == "DISCONNECT") {
    encode(Disconnect{static_cast<ReasonCode>(reason), props}, version, to);
  } else if (type == "AUTH") {
    encode(Auth{static_cast<ReasonCode>(reason), props}, version, to);
  } else {
    for (PacketType ack : {PacketType::puback, PacketType::pubrec, PacketType::pubrel, PacketType::pubcomp}) {
      if (type != packet_type_name(ack)) continue;
      encode(Ack{ack, id, static_cast<ReasonCode>(reason), props}, version, to);
      return true;
    }
    return false;
  }
  return true;
}

// "10 0c 00 04", with or without spaces; false where something else stands in it.
inline bool bytes_of_hex(std::string_view text, Buffer& to) {
  int high = -1;
  for (const char c : text) {
    if (c == ' ') continue;
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) return false;
    if (high < 0) {
      high = digit;
    } else {
      to.append_u8(static_cast<uint8_t>(high << 4 | digit));
      high = -1;
    }
  }
  return high < 0;
}

}  // namespace robustmq::mqtt::packet_text
