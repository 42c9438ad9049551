// The opening handshake of WebSocket (see websocket.h), with the SHA-1 and base64 that it needs and nothing else does. Pure.
#include <algorithm>
#include <array>
#include <bit>

#include "net/websocket.h"
#include "runtime/hosts.h"

namespace robustmq::net {

namespace {

// FIPS 180-4. Fit for what RFC 6455 uses it for, a check that the server speaks WebSocket, and for nothing that is to be safe.
std::array<uint8_t, 20> sha1(std::string_view text) {
  std::string padded(text);
  padded += '\x80';
  while (padded.size() % 64 != 56) padded += '\0';
  const uint64_t bits = text.size() * 8;
  for (int i = 7; i >= 0; --i) padded += static_cast<char>(bits >> (8 * i));
  uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  for (size_t block = 0; block < padded.size(); block += 64) {
    uint32_t w[80];
    for (size_t i = 0; i < 16; ++i) {
      w[i] = 0;
      for (size_t j = 0; j < 4; ++j) w[i] = w[i] << 8 | static_cast<uint8_t>(padded[block + 4 * i + j]);
    }
    for (size_t i = 16; i < 80; ++i) w[i] = std::rotl(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (size_t i = 0; i < 80; ++i) {
      uint32_t f, k;
      if (i < 20) {
        f = (b & c) | (~b & d);
        k = 0x5a827999;
      } else if (i < 40) {
        f = b ^ c ^ d;
        k = 0x6ed9eba1;
      } else if (i < 60) {
        f = (b & c) | (b & d) | (c & d);
        k = 0x8f1bbcdc;
      } else {
        f = b ^ c ^ d;
        k = 0xca62c1d6;
      }
      const uint32_t next = std::rotl(a, 5) + f + e + k + w[i];
      e = d;
      d = c;
      c = std::rotl(b, 30);
      b = a;
      a = next;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
  }
  std::array<uint8_t, 20> digest;
  for (size_t i = 0; i < 20; ++i) digest[i] = static_cast<uint8_t>(h[i / 4] >> (24 - 8 * (i % 4)));
  return digest;
}

std::string base64(std::span<const uint8_t> bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t at = 0; at < bytes.size(); at += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - at);
    uint32_t group = 0;
    for (size_t i = 0; i < 3; ++i) group = group << 8 | (i < count ? bytes[at + i] : 0u);
    for (size_t i = 0; i < 4; ++i) text += i <= count ? kDigits[group >> (18 - 6 * i) & 63] : '=';
  }
  return text;
}

// 16 bytes in base64: 22 digits and two signs of padding.
bool is_key(std::string_view key) {
  if (key.size() != 24 || !key.ends_with("==")) return false;
  return std::all_of(key.begin(), key.end() - 2, [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
  });
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}

// Calls `take` with each item of a list by commas, over all headers of this name (RFC 9110 5.3), until it returns true.
template <class Take>
bool any_item(const HttpRequest& request, std::string_view name, Take take) {
  for (const HttpHeader& header : request.headers) {
    if (header.name != name) continue;
    std::string_view rest = header.value;
    while (!rest.empty()) {
      std::string_view item = rest.substr(0, rest.find(','));
      rest.remove_prefix(std::min(item.size() + 1, rest.size()));
      while (!item.empty() && (item.front() == ' ' || item.front() == '\t')) item.remove_prefix(1);
      while (!item.empty() && (item.back() == ' ' || item.back() == '\t')) item.remove_suffix(1);
      if (!item.empty() && take(item)) return true;
    }
  }
  return false;
}

bool has_item(const HttpRequest& request, std::string_view name, std::string_view wanted) {
  return any_item(request, name, [&](std::string_view item) { return equal_ignoring_case(item, wanted); });
}

// Host and port, in lower case; the port that the scheme has where none is named.
std::string authority_of(std::string_view text, std::string_view scheme) {
  std::string authority;
  for (char c : text.substr(0, text.find('/'))) authority += lower(c);
  const size_t colon = authority.rfind(':');
  const bool has_port = colon != std::string::npos && authority.find(']', colon) == std::string::npos;
  if (!has_port) authority += equal_ignoring_case(scheme, "https") ? ":443" : ":80";
  return authority;
}

// An address or localhost, and no name that others give out.
bool is_address(std::string_view authority) {
  if (authority.starts_with('[') || authority.starts_with("localhost:")) return true;
  const std::string_view host = authority.substr(0, authority.rfind(':'));
  return std::all_of(host.begin(), host.end(), [](char c) { return (c >= '0' && c <= '9') || c == '.'; });
}

bool is_allowed_origin(const HttpRequest& request, const WebSocketOffer& offer) {
  const std::string_view origin = request.header("origin");
  const std::string_view host = request.header("host");
  for (const std::string& allowed : offer.origins) {
    if (allowed == "*" || equal_ignoring_case(allowed, origin)) return true;
  }
  const size_t scheme_end = origin.find("://");
  if (scheme_end == std::string_view::npos || host.empty()) return false;
  const std::string_view scheme = origin.substr(0, scheme_end);
  const std::string here = authority_of(host, scheme);
  if (authority_of(origin.substr(scheme_end + 3), scheme) != here) return false;
  return is_address(here) || equal_ignoring_case(scheme, "https") || !runtime::is_this_host(request.peer_host);
}

WebSocketAnswer refuse(int status, std::string why, std::vector<HttpHeader> headers = {}) {
  WebSocketAnswer answer;
  HttpResponse response{.status = status, .content_type = "text/plain", .body = why + "\n", .headers = std::move(headers)};
  answer.response = encode_response(response, false, false);
  answer.why = std::move(why);
  return answer;
}

}  // namespace

std::string websocket_accept(std::string_view key) {
  return base64(sha1(std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
}

WebSocketAnswer answer_websocket(const HttpRequest& request, const WebSocketOffer& offer) {
  if (request.path != offer.path) return refuse(404, "nothing is here; WebSocket is at " + offer.path);
  if (request.method != "GET") return refuse(405, "WebSocket opens with GET", {{"allow", "GET"}});
  if (!has_item(request, "upgrade", "websocket") || !has_item(request, "connection", "upgrade"))
    return refuse(426, "WebSocket is spoken here", {{"upgrade", "websocket"}});
  if (request.header("sec-websocket-version") != "13")
    return refuse(426, "version 13 of WebSocket is spoken here", {{"upgrade", "websocket"}, {"sec-websocket-version", "13"}});
  const std::string_view key = request.header("sec-websocket-key");
  if (!is_key(key)) return refuse(400, "sec-websocket-key is not 16 bytes in base64");
  if (!request.body.empty()) return refuse(400, "an opening request has no body");
  const bool names_origin = std::any_of(request.headers.begin(), request.headers.end(),
                                        [](const HttpHeader& header) { return header.name == "origin"; });
  if (names_origin && !is_allowed_origin(request, offer))
    return refuse(403, "pages of this origin may not connect; websocket_origins names those that may");
  // MQTT5 6.0.0-3: the client names its protocol.
  std::string protocol;
  any_item(request, "sec-websocket-protocol", [&](std::string_view item) {
    const auto found = std::find(offer.protocols.begin(), offer.protocols.end(), item);
    if (found == offer.protocols.end()) return false;
    protocol = *found;
    return true;
  });
  if (protocol.empty()) {
    std::string known;
    for (const std::string& each : offer.protocols) known += (known.empty() ? "" : " or ") + each;
    return refuse(400, "sec-websocket-protocol does not name " + known);
  }
  WebSocketAnswer answer;
  answer.is_open = true;
  answer.response = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
                    websocket_accept(key) + "\r\nSec-WebSocket-Protocol: " + protocol + "\r\n\r\n";
  return answer;
}

}  // namespace robustmq::net
