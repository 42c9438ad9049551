// What ngtcp2 and GnuTLS keep of one connection, and addresses in their spelling. Private to the room.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "net/quic/context.h"
#include "runtime/datagram.h"

struct ngtcp2_conn;
struct ngtcp2_crypto_conn_ref;

namespace robustmq::net {

constexpr size_t kQuicPacketBytesMax = 1'452;  // sent; RFC 9000 14.3 finds out whether the way takes them

struct QuicTransport {
  QuicTransport();
  ~QuicTransport();

  std::shared_ptr<const QuicContext> context;
  ngtcp2_conn* conn = nullptr;
  void* session = nullptr;
  std::string server_name;  // a client's session keeps a pointer to it
  std::unique_ptr<ngtcp2_crypto_conn_ref> reference;
};

// A socket address of the system's, IPv4 or IPv6, as ngtcp2 wants it: `bytes` begins with a sockaddr.
struct QuicAddress {
  explicit QuicAddress(const runtime::IpPort& from);
  alignas(8) uint8_t bytes[28] = {};
  uint32_t size = 0;
};
// From what begins with a sockaddr.
runtime::IpPort ip_port_of(const void* address);

}  // namespace robustmq::net
