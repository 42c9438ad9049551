#include "base/topic_names.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

#include "base/hash.h"

namespace robustmq {
namespace {

constexpr size_t kHashDigits = 16;

bool is_plain_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '/' || c == '-';
}

bool is_hex_digit(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

// `-` and at least 16 lower-case hex digits at the end.
bool ends_like_made(std::string_view name) {
  size_t digits = 0;
  while (digits < name.size() && is_hex_digit(name[name.size() - 1 - digits])) ++digits;
  return digits >= kHashDigits && digits < name.size() && name[name.size() - 1 - digits] == '-';
}

void append_hash(std::string& to, std::string_view name, int round) {
  uint64_t hash = 0;
  if (round == 0) {
    hash = hash64(as_bytes(name));
  } else {
    std::string salted(1, static_cast<char>(round));
    salted += name;
    hash = hash64(as_bytes(salted));
  }
  for (int shift = 60; shift >= 0; shift -= 4) to += "0123456789abcdef"[hash >> shift & 15];
}

// Reads one code point. Returns its length, 0 where it is not well-formed.
size_t code_point_at(std::string_view text, size_t at, uint32_t& out) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[at + i]); };
  const size_t left = text.size() - at;
  const auto continues = [&](size_t i) { return i < left && (byte(i) & 0xC0) == 0x80; };
  const uint8_t first = byte(0);
  if (first < 0x80) {
    out = first;
    return 1;
  }
  if (first >= 0xC2 && first <= 0xDF && continues(1)) {
    out = (first & 0x1Fu) << 6 | (byte(1) & 0x3Fu);
    return 2;
  }
  if ((first & 0xF0) == 0xE0 && continues(1) && continues(2)) {
    out = (first & 0x0Fu) << 12 | (byte(1) & 0x3Fu) << 6 | (byte(2) & 0x3Fu);
    return out >= 0x800 && (out < 0xD800 || out > 0xDFFF) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4 && continues(1) && continues(2) && continues(3)) {
    out = (first & 0x07u) << 18 | (byte(1) & 0x3Fu) << 12 | (byte(2) & 0x3Fu) << 6 | (byte(3) & 0x3Fu);
    return out >= 0x10000 && out <= 0x10FFFF ? 4 : 0;
  }
  return 0;
}

bool is_non_character(uint32_t point) { return (point & 0xFFFE) == 0xFFFE || (point >= 0xFDD0 && point <= 0xFDEF); }

enum ByteKind : uint8_t { kPlain, kWildcard, kCareful };  // kCareful: a control character or a part of a longer code point

constexpr std::array<ByteKind, 256> make_byte_kinds() {
  std::array<ByteKind, 256> kinds{};
  for (size_t byte = 0; byte < kinds.size(); ++byte) kinds[byte] = byte < 0x20 || byte >= 0x7F ? kCareful : kPlain;
  kinds['+'] = kinds['#'] = kWildcard;
  return kinds;
}
constexpr std::array<ByteKind, 256> kByteKinds = make_byte_kinds();

// Well-formed, no control characters or non-characters; wildcards only where `allows_wildcards`. One pass: every PUBLISH comes
// here.
bool is_topic_text(std::string_view text, bool allows_wildcards) {
  for (size_t at = 0; at < text.size();) {
    const ByteKind kind = kByteKinds[static_cast<uint8_t>(text[at])];
    if (kind == kPlain || (kind == kWildcard && allows_wildcards)) {
      ++at;
      continue;
    }
    if (kind == kWildcard) return false;
    uint32_t point = 0;
    const size_t length = code_point_at(text, at, point);
    if (length == 0 || point < 0x20 || (point >= 0x7F && point <= 0x9F) || is_non_character(point)) return false;
    at += length;
  }
  return true;
}

// Eight bytes of which each is 0x01 to 0x7F.
bool are_plain(const char* at) {
  uint64_t word = 0;
  std::memcpy(&word, at, 8);
  return ((word | ((word - 0x0101'0101'0101'0101) & ~word)) & 0x8080'8080'8080'8080) == 0;
}

}  // namespace

bool is_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    if (text.size() - at >= 8 && are_plain(text.data() + at)) {
      at += 8;
      continue;
    }
    const auto byte = static_cast<uint8_t>(text[at]);
    if (byte >= 0x01 && byte < 0x80) {
      ++at;
      continue;
    }
    uint32_t point = 0;
    const size_t length = code_point_at(text, at, point);
    if (length == 0 || point == 0) return false;
    at += length;
  }
  return true;
}

bool is_plain_mqtt_name(std::string_view name) {
  if (name.empty() || name.size() > kMadeNameBytes) return false;
  if (name == "/" || name == "//" || name.starts_with("__") || ends_like_made(name)) return false;
  return std::ranges::all_of(name, is_plain_byte);
}

std::string kafka_name_of_mqtt(std::string_view name, int collisions) {
  std::string made(name.substr(0, kMadeNameBytes));
  const bool is_plain = is_plain_mqtt_name(name);
  for (char& c : made) {
    if (c == '/') {
      c = '.';
    } else if (!is_plain_byte(c)) {
      c = '_';
    }
  }
  if (is_plain && collisions == 0) return made;
  // Names that begin with `__` are the cluster's own.
  if (made.starts_with("__")) made[1] = '-';
  made += '-';
  for (int round = 0; round <= std::clamp(collisions, 0, 2); ++round) append_hash(made, name, round);
  return made;
}

std::string mqtt_name_of_kafka(std::string_view name) {
  std::string spelled(name);
  std::ranges::replace(spelled, '.', '/');
  return spelled;
}

bool is_valid_topic_name(std::string_view name) {
  if (name.empty() || name.size() > kTopicNameBytes) return false;
  return is_topic_text(name, false);
}

bool is_valid_topic_filter(std::string_view filter) {
  if (filter.empty() || filter.size() > kTopicNameBytes) return false;
  for (size_t at = filter.find_first_of("+#"); at != std::string_view::npos; at = filter.find_first_of("+#", at + 1)) {
    const bool begins_level = at == 0 || filter[at - 1] == '/';
    const bool is_last = at + 1 == filter.size();
    const bool ends_level = is_last || filter[at + 1] == '/';
    if (!begins_level || !ends_level || (filter[at] == '#' && !is_last)) return false;
  }
  return is_topic_text(filter, true);
}

bool filter_matches(std::string_view filter, std::string_view topic) {
  if (filter.empty() || topic.empty()) return false;
  if (topic[0] == '$' && filter[0] != '$') {
    if (filter[0] == '+' || filter[0] == '#') return false;
  }
  size_t f = 0;
  size_t t = 0;
  while (true) {
    // Both stand at the beginning of a level.
    if (f < filter.size() && filter[f] == '#') return true;
    if (f < filter.size() && filter[f] == '+') {
      ++f;
      while (t < topic.size() && topic[t] != '/') ++t;
    } else {
      while (f < filter.size() && filter[f] != '/') {
        if (t == topic.size() || filter[f] != topic[t]) return false;
        ++f;
        ++t;
      }
    }
    const bool filter_ends = f == filter.size();
    const bool topic_ends = t == topic.size();
    if (topic_ends) return filter_ends || filter.substr(f) == "/#";
    if (filter_ends || topic[t] != '/') return false;
    ++f;
    ++t;
  }
}

size_t topic_levels(std::string_view name) { return static_cast<size_t>(std::ranges::count(name, '/')) + 1; }

}  // namespace robustmq
