// See transport.h. Pure.
#include "net/quic/transport.h"

#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include <cstring>

namespace robustmq::net {

QuicTransport::QuicTransport() : reference(std::make_unique<ngtcp2_crypto_conn_ref>()) {}

QuicTransport::~QuicTransport() {
  ngtcp2_conn_del(conn);
  QuicContext::end_session(session);
}

QuicAddress::QuicAddress(const runtime::IpPort& from) {
  const auto port = static_cast<uint16_t>(from.port << 8 | from.port >> 8);  // the network's order
  if (from.is_v6) {
    ngtcp2_sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = port;
    std::memcpy(&v6.sin6_addr, from.ip.data(), 16);
    std::memcpy(bytes, &v6, sizeof(v6));
    size = sizeof(v6);
  } else {
    ngtcp2_sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = port;
    std::memcpy(&v4.sin_addr, from.ip.data(), 4);
    std::memcpy(bytes, &v4, sizeof(v4));
    size = sizeof(v4);
  }
  static_assert(sizeof(ngtcp2_sockaddr_in6) <= sizeof(bytes));
}

runtime::IpPort ip_port_of(const void* address) {
  runtime::IpPort made;
  ngtcp2_sockaddr plain;
  std::memcpy(&plain, address, sizeof(plain));
  uint16_t port = 0;
  if (plain.sa_family == AF_INET6) {
    ngtcp2_sockaddr_in6 v6;
    std::memcpy(&v6, address, sizeof(v6));
    made.is_v6 = true;
    std::memcpy(made.ip.data(), &v6.sin6_addr, 16);
    port = v6.sin6_port;
  } else {
    ngtcp2_sockaddr_in v4;
    std::memcpy(&v4, address, sizeof(v4));
    std::memcpy(made.ip.data(), &v4.sin_addr, 4);
    port = v4.sin_port;
  }
  made.port = static_cast<uint16_t>(port << 8 | port >> 8);
  return made;
}

}  // namespace robustmq::net
