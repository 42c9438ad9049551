// See proxy_header.h. Pure.
#include "net/proxy_header.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string>

namespace robustmq::net {

namespace {

using State = ProxyHeader::State;

constexpr std::string_view kSignature = std::string_view("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr std::string_view kLead = "PROXY ";
constexpr size_t kLineMin = 15;  // "PROXY UNKNOWN\r\n"
constexpr size_t kFixedBytes = 16;

ProxyHeader more(size_t wanted) { return {.state = State::more, .wanted = wanted}; }
ProxyHeader bad(std::string_view why) { return {.state = State::bad, .why = why}; }
ProxyHeader done(runtime::Endpoint peer = {}) { return {.state = State::done, .peer = std::move(peer)}; }

// ---- addresses ----

std::optional<uint16_t> number(std::string_view text, unsigned max) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool is_whole = error == std::errc() && end == text.data() + text.size();
  if (!is_whole || value > max || (text.size() > 1 && text[0] == '0')) return std::nullopt;
  return static_cast<uint16_t>(value);
}

bool is_ip4(std::string_view text) {
  for (int i = 0; i < 4; ++i) {
    const size_t dot = text.find('.');
    if ((dot == text.npos) != (i == 3) || !number(text.substr(0, dot), 255)) return false;
    text.remove_prefix(i == 3 ? text.size() : dot + 1);
  }
  return true;
}

// RFC 4291 2.2: eight groups, one run of zero groups as "::", the last two maybe as an IPv4 address.
bool is_ip6(std::string_view text) {
  const size_t gap = text.find("::");
  if (gap != text.npos && text.find("::", gap + 1) != text.npos) return false;
  size_t groups = 0;
  auto count_groups = [&](std::string_view part) {
    while (!part.empty()) {
      const size_t colon = part.find(':');
      const std::string_view group = part.substr(0, colon);
      const bool is_last = colon == part.npos;
      if (is_last && group.find('.') != group.npos) {
        if (!is_ip4(group)) return false;
        groups += 2;
        return true;
      }
      const bool is_hex = !group.empty() && group.size() <= 4 && group.find_first_not_of("0123456789abcdefABCDEF") == group.npos;
      if (!is_hex || (!is_last && colon + 1 == part.size())) return false;
      ++groups;
      part.remove_prefix(is_last ? part.size() : colon + 1);
    }
    return true;
  };
  if (gap == text.npos) return count_groups(text) && groups == 8;
  const std::string_view front = text.substr(0, gap);
  return front.find('.') == front.npos && count_groups(front) && count_groups(text.substr(gap + 2)) && groups <= 7;
}

std::string ip4_text(ByteSpan bytes) {
  std::string text;
  for (size_t i = 0; i < 4; ++i) text += (i ? "." : "") + std::to_string(bytes[i]);
  return text;
}

// RFC 5952: lower case, no leading zeros, the longest run of zero groups (two at least) as "::".
std::string ip6_text(ByteSpan bytes) {
  std::array<unsigned, 8> groups;
  for (size_t i = 0; i < 8; ++i) groups[i] = static_cast<unsigned>(bytes[2 * i] << 8 | bytes[2 * i + 1]);
  size_t gap = 8, gap_size = 1;
  for (size_t i = 0; i < 8; ++i) {
    size_t end = i;
    while (end < 8 && groups[end] == 0) ++end;
    if (end - i > gap_size) gap = i, gap_size = end - i;
  }
  std::string text;
  for (size_t i = 0; i < 8;) {
    if (i == gap) {
      text += "::";
      i += gap_size;
      continue;
    }
    if (!text.empty() && text.back() != ':') text += ':';
    char digits[8];
    text.append(digits, std::to_chars(digits, digits + sizeof digits, groups[i], 16).ptr);
    ++i;
  }
  return text;
}

uint16_t port_at(ByteSpan bytes, size_t at) { return static_cast<uint16_t>(bytes[at] << 8 | bytes[at + 1]); }

// ---- version 1 ----

// The next word of a line; nullopt where none is, or more than one space.
std::optional<std::string_view> take_word(std::string_view* line) {
  const size_t space = std::min(line->find(' '), line->size());
  const std::string_view word = line->substr(0, space);
  line->remove_prefix(std::min(space + 1, line->size()));
  if (word.empty()) return std::nullopt;
  return word;
}

ProxyHeader parse_line(std::string_view line) {
  line.remove_prefix(kLead.size());
  const std::string_view whole = line;
  const auto family = take_word(&line);
  if (family == "UNKNOWN") return done();  // what follows is to be ignored
  if (family != "TCP4" && family != "TCP6") return bad("an unknown family");
  const auto source = take_word(&line), destination = take_word(&line);
  const auto source_port = take_word(&line), destination_port = take_word(&line);
  if (!source || !destination || !source_port || !destination_port || !line.empty() || whole.ends_with(' '))
    return bad("the line has not two addresses and two ports");
  auto is_address = [&](std::string_view text) { return family == "TCP4" ? is_ip4(text) : is_ip6(text); };
  if (!is_address(*source) || !is_address(*destination)) return bad("an address is malformed");
  const auto port = number(*source_port, 65535);
  if (!port || !number(*destination_port, 65535)) return bad("a port is malformed");
  return done({std::string(*source), *port});
}

// So many more bytes a line has at least.
size_t line_bytes_wanted(std::string_view text) {
  // The shortest lines: "PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n" and "PROXY TCP6 :: :: 0 0\r\n".
  size_t least = kLineMin;
  if (text.starts_with("PROXY TCP4 ")) least = 32;
  if (text.starts_with("PROXY TCP6 ")) least = 22;
  if (text.size() < least) return least - text.size();
  return text.ends_with('\r') ? 1 : 2;
}

ProxyHeader parse_version_1(std::string_view text) {
  const size_t end = text.find("\r\n");
  if (end != text.npos) return end + 2 == text.size() ? parse_line(text.substr(0, end)) : bad("a line inside the line");
  if (text.find('\n') != text.npos) return bad("a line without its end");
  if (text.size() >= kProxyLineMax) return bad("the line is too long");
  return more(std::min(line_bytes_wanted(text), kProxyLineMax - text.size()));
}

// ---- version 2 ----

ProxyHeader parse_version_2(ByteSpan bytes) {
  if (bytes.size() < kFixedBytes) return more(kFixedBytes - bytes.size());
  const uint8_t version = bytes[12] >> 4, command = bytes[12] & 0x0f;
  const uint8_t family = bytes[13] >> 4, transport = bytes[13] & 0x0f;
  if (version != 2) return bad("an unknown version");
  if (command > 1) return bad("an unknown command");
  const size_t size = kFixedBytes + port_at(bytes, 14);
  if (size > kProxyHeaderMax) return bad("the header is too long");
  if (bytes.size() < size) return more(size - bytes.size());
  if (command == 0) return done();  // LOCAL: the proxy itself
  if (family > 3 || transport > 2) return bad("an unknown family");
  if (family == 0 || family == 3) return done();
  if (transport == 2) return bad("not a stream");
  const ByteSpan addresses = bytes.subspan(kFixedBytes);
  if (addresses.size() < (family == 1 ? 12u : 36u)) return bad("the addresses are cut");
  if (family == 1) return done({ip4_text(addresses.first(4)), port_at(addresses, 8)});
  return done({ip6_text(addresses.first(16)), port_at(addresses, 32)});
}

}  // namespace

ProxyHeader parse_proxy_header(ByteSpan so_far) {
  const std::string_view text = as_text(so_far);
  if (text.empty()) return more(kLineMin);
  if (text[0] == kSignature[0]) {
    const size_t known = std::min(text.size(), kSignature.size());
    return text.substr(0, known) == kSignature.substr(0, known) ? parse_version_2(so_far) : bad("no PROXY header");
  }
  const size_t known = std::min(text.size(), kLead.size());
  return text.substr(0, known) == kLead.substr(0, known) ? parse_version_1(text) : bad("no PROXY header");
}

}  // namespace robustmq::net
