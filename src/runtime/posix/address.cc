// See address.h.
#include "runtime/posix/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <cstddef>
#include <cstring>

namespace robustmq::runtime::posix {

uint16_t Address::port() const {
  if (storage.ss_family == AF_UNIX) return 0;
  if (storage.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(storage).sin6_port);
  return ntohs(reinterpret_cast<const sockaddr_in&>(storage).sin_port);
}

Endpoint Address::to_endpoint() const {
  char text[INET6_ADDRSTRLEN] = "";
  if (storage.ss_family == AF_UNIX) {
    const auto& local = reinterpret_cast<const sockaddr_un&>(storage);
    const bool has_name = size > offsetof(sockaddr_un, sun_path) && local.sun_path[0] != '\0';
    return {has_name ? std::string(local.sun_path) : std::string(Endpoint::kUnnamedLocal), 0};
  }
  if (storage.ss_family == AF_INET6) {
    inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6&>(storage).sin6_addr, text, sizeof(text));
  } else if (storage.ss_family == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(storage).sin_addr, text, sizeof(text));
  } else {
    return {};
  }
  return {text, port()};
}

std::vector<Address> numeric_addresses(const Endpoint& endpoint) {
  Address address;
  if (endpoint.is_local()) {
    auto& local = reinterpret_cast<sockaddr_un&>(address.storage);
    if (endpoint.host.size() >= sizeof(local.sun_path)) return {};
    local.sun_family = AF_UNIX;
    std::memcpy(local.sun_path, endpoint.host.c_str(), endpoint.host.size() + 1);
    address.size = sizeof(local);
    return {address};
  }
  auto& v4 = reinterpret_cast<sockaddr_in&>(address.storage);
  auto& v6 = reinterpret_cast<sockaddr_in6&>(address.storage);
  if (inet_pton(AF_INET, endpoint.host.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(endpoint.port);
    address.size = sizeof(v4);
    return {address};
  }
  if (inet_pton(AF_INET6, endpoint.host.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(endpoint.port);
    address.size = sizeof(v6);
    return {address};
  }
  return {};
}

Result<std::vector<Address>> resolve(const Endpoint& endpoint) {
  std::vector<Address> addresses = numeric_addresses(endpoint);
  if (!addresses.empty()) return addresses;
  if (endpoint.is_local()) return Error{Code::invalid_argument, endpoint.host + ": the path is too long for a Unix socket"};
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  int failed = getaddrinfo(endpoint.host.c_str(), std::to_string(endpoint.port).c_str(), &hints, &found);
  if (failed != 0) return Error{Code::connection_lost, "looking up " + endpoint.host + ": " + gai_strerror(failed)};
  for (addrinfo* one = found; one; one = one->ai_next) {
    if (one->ai_family != AF_INET && one->ai_family != AF_INET6) continue;
    Address address;
    std::memcpy(&address.storage, one->ai_addr, one->ai_addrlen);
    address.size = one->ai_addrlen;
    addresses.push_back(address);
  }
  freeaddrinfo(found);
  if (addresses.empty()) return Error{Code::connection_lost, endpoint.host + " has no address"};
  return addresses;
}

Endpoint local_endpoint(int descriptor) {
  Address address;
  return getsockname(descriptor, address.get(), &address.size) == 0 ? address.to_endpoint() : Endpoint{};
}

Endpoint peer_endpoint(int descriptor) {
  Address address;
  return getpeername(descriptor, address.get(), &address.size) == 0 ? address.to_endpoint() : Endpoint{};
}

}  // namespace robustmq::runtime::posix
