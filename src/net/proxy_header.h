// The PROXY protocol, versions 1 and 2: the header with which a proxy tells whom it speaks for, read byte by byte as it arrives
// and never past its end, so that nothing of what follows has to be put back. Pure.
// https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt
//
//   version 1  "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", "PROXY TCP6 ...", "PROXY UNKNOWN ...\r\n"; at most 107 bytes
//   version 2  12 bytes of signature, version and command, family and transport, length (16 bits); addresses; extensions
//
// Extensions of version 2 are passed over. A header that speaks for no other connection (UNKNOWN, LOCAL, AF_UNSPEC, AF_UNIX)
// leaves the peer what it is.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "runtime/net.h"

namespace robustmq::net {

constexpr size_t kProxyLineMax = 107;     // version 1, 2.1
constexpr size_t kProxyHeaderMax = 2048;  // version 2, with its extensions; longer ones are refused

struct ProxyHeader {
  enum class State : uint8_t { more, done, bad };
  State state = State::more;
  size_t wanted = 0;       // more: so many bytes of the header are still to come at least
  runtime::Endpoint peer;  // done: the client; an empty host where the header names none
  std::string_view why;    // bad
};

// Of all bytes so far: `wanted` of them at a time.
ProxyHeader parse_proxy_header(ByteSpan so_far);

}  // namespace robustmq::net
