// Address: an IPv4 or IPv6 socket address, to and from Endpoint.
#pragma once

#include <sys/socket.h>

#include <vector>

#include "base/result.h"
#include "runtime/net.h"

namespace robustmq::runtime::posix {

struct Address {
  sockaddr_storage storage{};
  socklen_t size = sizeof(sockaddr_storage);

  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  uint16_t port() const;
  Endpoint to_endpoint() const;
};

// Empty when the host is a name.
std::vector<Address> numeric_addresses(const Endpoint& endpoint);
// Numeric or by the system's name look-up, which blocks.
Result<std::vector<Address>> resolve(const Endpoint& endpoint);

Endpoint local_endpoint(int descriptor);
Endpoint peer_endpoint(int descriptor);

}  // namespace robustmq::runtime::posix
