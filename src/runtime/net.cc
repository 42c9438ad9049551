// Endpoint: parsing and printing. Pure.
#include "runtime/net.h"

#include <charconv>

#include "base/check.h"
#include "runtime/datagram.h"

namespace robustmq::runtime {

namespace {

Error bad_endpoint(std::string_view text, const char* why) {
  return {Code::invalid_argument, "\"" + std::string(text) + "\" is not an address of the form host:port: " + why};
}

}  // namespace

DatagramNet& datagrams_of(Net& net) {
  auto* datagrams = dynamic_cast<DatagramNet*>(&net);
  ROBUSTMQ_CHECK(datagrams != nullptr, "a world without datagrams");
  return *datagrams;
}

// RFC 5952 4.2: the longest run of zeros, of two groups at least, is left out.
Endpoint IpPort::to_endpoint() const {
  if (!is_v6) {
    std::string text = std::to_string(ip[0]);
    for (size_t i = 1; i < 4; ++i) text += "." + std::to_string(ip[i]);
    return {std::move(text), port};
  }
  size_t best_at = 8;
  size_t best_size = 1;
  const auto group = [this](size_t i) { return static_cast<unsigned>(ip[2 * i] << 8 | ip[2 * i + 1]); };
  for (size_t at = 0; at < 8; ++at) {
    size_t size = 0;
    while (at + size < 8 && group(at + size) == 0) ++size;
    if (size > best_size) {
      best_at = at;
      best_size = size;
    }
  }
  std::string text;
  for (size_t i = 0; i < 8; ++i) {
    if (i == best_at) {
      text += "::";
      i += best_size - 1;
      continue;
    }
    if (!text.empty() && !text.ends_with(':')) text += ':';
    char digits[4];
    text.append(digits, std::to_chars(digits, digits + 4, group(i), 16).ptr);
  }
  return {std::move(text), port};
}

std::string Endpoint::to_string() const {
  if (is_local() || host == kUnnamedLocal) return host;
  std::string text = host.find(':') == std::string::npos ? host : "[" + host + "]";
  return text + ":" + std::to_string(port);
}

Result<Endpoint> Endpoint::parse(std::string_view text) {
  Endpoint endpoint;
  if (text.starts_with('/')) {
    endpoint.host = std::string(text);
    return endpoint;
  }
  size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return bad_endpoint(text, "the port is missing");
  std::string_view host = text.substr(0, colon);
  std::string_view port = text.substr(colon + 1);
  if (host.starts_with('[')) {
    if (!host.ends_with(']') || host.size() < 4) return bad_endpoint(text, "the brackets do not hold an IPv6 address");
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return bad_endpoint(text, "an IPv6 address stands in brackets");
  }
  if (host.empty()) return bad_endpoint(text, "the host is missing");
  auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), endpoint.port);
  if (error != std::errc() || end != port.data() + port.size() || port.empty()) {
    return bad_endpoint(text, "the port is a number from 0 to 65535");
  }
  endpoint.host = std::string(host);
  return endpoint;
}

}  // namespace robustmq::runtime
