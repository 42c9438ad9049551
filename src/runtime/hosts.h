// What a host that a socket names is. Pure.
#pragma once

#include <string_view>

#include "runtime/net.h"

namespace robustmq::runtime {

// An IPv4 address that an IPv6 socket tells in IPv6's clothes ("::ffff:192.0.2.1") as itself; any other host as it is.
inline std::string_view plain_host(std::string_view host) {
  constexpr std::string_view kMapped = "::ffff:";
  return host.starts_with(kMapped) && host.find('.') != std::string_view::npos ? host.substr(kMapped.size()) : host;
}

// Whether it is this host's own: 127.0.0.0/8, ::1 or a Unix socket.
inline bool is_this_host(std::string_view host) {
  const std::string_view plain = plain_host(host);
  return plain.starts_with("127.") || plain == "::1" || plain == Endpoint::kUnnamedLocal;
}

}  // namespace robustmq::runtime
