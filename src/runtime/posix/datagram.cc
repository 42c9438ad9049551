// See datagram.h.
#include "runtime/posix/datagram.h"

#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "runtime/posix/address.h"
#include "runtime/posix/net.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

namespace robustmq::runtime::posix {

namespace {

Error datagram_error(int number, const Endpoint& at) {
  char text[128];
  Code code = Code::connection_lost;
  if (number == EADDRINUSE) code = Code::already_exists;
  if (number == EACCES || number == EPERM) code = Code::not_authorised;
  if (number == EADDRNOTAVAIL || number == EAFNOSUPPORT) code = Code::invalid_argument;
  if (number == EMFILE || number == ENFILE) code = Code::overloaded;
  return {code, "datagrams at " + at.to_string() + ": " + strerror_r(number, text, sizeof(text))};
}

void set_int(int descriptor, int level, int option, int value) { setsockopt(descriptor, level, option, &value, sizeof(value)); }

Result<int> open_bound(const Address& address, const Endpoint& at, const DatagramOptions& options, bool shares) {
  const int descriptor = socket(address.storage.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return datagram_error(errno, at);
  const bool is_v6 = address.storage.ss_family == AF_INET6;
  if (shares) set_int(descriptor, SOL_SOCKET, SO_REUSEPORT, 1);
  if (is_v6) set_int(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  set_int(descriptor, SOL_SOCKET, SO_RCVBUF, static_cast<int>(options.receive_buffer_bytes));
  // QUIC finds out by itself how large datagrams may be (RFC 9000 14): nothing on the way is to cut them up.
  if (is_v6) {
    set_int(descriptor, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    set_int(descriptor, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
    set_int(descriptor, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
  } else {
    set_int(descriptor, IPPROTO_IP, IP_PKTINFO, 1);
    set_int(descriptor, IPPROTO_IP, IP_RECVTOS, 1);
    set_int(descriptor, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
  }
  if (bind(descriptor, address.get(), address.size) != 0) {
    Error error = datagram_error(errno, at);
    close(descriptor);
    return error;
  }
  return descriptor;
}

IpPort ip_port_of(const sockaddr_storage& storage) {
  IpPort made;
  if (storage.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
    made.is_v6 = true;
    std::memcpy(made.ip.data(), &v6.sin6_addr, 16);
    made.port = ntohs(v6.sin6_port);
  } else {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
    std::memcpy(made.ip.data(), &v4.sin_addr, 4);
    made.port = ntohs(v4.sin_port);
  }
  return made;
}

socklen_t fill_sockaddr(const IpPort& from, sockaddr_storage& into) {
  if (from.is_v6) {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(into);
    v6 = {};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(from.port);
    std::memcpy(&v6.sin6_addr, from.ip.data(), 16);
    return sizeof(v6);
  }
  auto& v4 = reinterpret_cast<sockaddr_in&>(into);
  v4 = {};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(from.port);
  std::memcpy(&v4.sin_addr, from.ip.data(), 4);
  return sizeof(v4);
}

// What comes along with a datagram: where it was sent to, and its ECN bits.
void read_control(msghdr& header, IpPort& local, uint8_t& ecn) {
  for (cmsghdr* one = CMSG_FIRSTHDR(&header); one; one = CMSG_NXTHDR(&header, one)) {
    if (one->cmsg_level == IPPROTO_IP && one->cmsg_type == IP_PKTINFO) {
      in_pktinfo info;
      std::memcpy(&info, CMSG_DATA(one), sizeof(info));
      std::memcpy(local.ip.data(), &info.ipi_addr, 4);
    } else if (one->cmsg_level == IPPROTO_IPV6 && one->cmsg_type == IPV6_PKTINFO) {
      in6_pktinfo info;
      std::memcpy(&info, CMSG_DATA(one), sizeof(info));
      std::memcpy(local.ip.data(), &info.ipi6_addr, 16);
    } else if (one->cmsg_level == IPPROTO_IP && one->cmsg_type == IP_TOS) {
      ecn = *reinterpret_cast<const uint8_t*>(CMSG_DATA(one)) & 3;
    } else if (one->cmsg_level == IPPROTO_IPV6 && one->cmsg_type == IPV6_TCLASS) {
      int value;
      std::memcpy(&value, CMSG_DATA(one), sizeof(value));
      ecn = static_cast<uint8_t>(value & 3);
    }
  }
}

// Control messages to send, one behind the other.
class Control {
 public:
  explicit Control(msghdr& header) : header_(header) {
    header_.msg_control = space_;
    header_.msg_controllen = 0;
  }
  template <class T>
  void add(int level, int type, const T& value) {
    auto* one = reinterpret_cast<cmsghdr*>(space_ + used_);
    one->cmsg_level = level;
    one->cmsg_type = type;
    one->cmsg_len = CMSG_LEN(sizeof(T));
    std::memcpy(CMSG_DATA(one), &value, sizeof(T));
    used_ += CMSG_SPACE(sizeof(T));
    header_.msg_controllen = used_;
  }

 private:
  msghdr& header_;
  size_t used_ = 0;
  alignas(cmsghdr) uint8_t space_[CMSG_SPACE(sizeof(in6_pktinfo)) + CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(uint16_t))] = {};
};

}  // namespace

Result<std::unique_ptr<DatagramSocket>> open_datagram_socket(PosixCore& core, const Endpoint& at, DatagramOptions options) {
  const std::vector<Address> addresses = numeric_addresses(at);
  if (addresses.empty() || at.is_local()) {
    if (at.host == "localhost") return open_datagram_socket(core, {"127.0.0.1", at.port}, std::move(options));
    return Error{Code::invalid_argument, "datagrams at " + at.to_string() + ": the host is no address"};
  }
  const Address& address = addresses.front();
  PosixListening& listening = *core.shared().listening;
  const std::string prefix = "udp ";
  const bool takes_free_port = address.port() == 0;
  std::string key = prefix + address.to_endpoint().to_string();
  // As with TCP: the cores share the port by SO_REUSEPORT, which would let another process of the user in too.
  if (!takes_free_port && listening.enter(key)) {
    Result<int> free = open_bound(address, at, options, false);
    if (!free.ok()) {
      listening.leave(key);
      return free.error();
    }
    close(*free);
  }
  Result<int> descriptor = open_bound(address, at, options, options.shares);
  if (!descriptor.ok()) {
    if (!takes_free_port) listening.leave(key);
    return descriptor.error();
  }
  if (takes_free_port) {
    key = prefix + local_endpoint(*descriptor).to_string();
    listening.enter(key);
  }
  return std::unique_ptr<DatagramSocket>(
      std::make_unique<PosixDatagramSocket>(core, *descriptor, std::move(key), std::move(options)));
}

PosixDatagramSocket::PosixDatagramSocket(PosixCore& core, int descriptor, std::string key, DatagramOptions options)
    : core_(core),
      descriptor_(descriptor),
      key_(std::move(key)),
      options_(std::move(options)),
      block_(std::make_unique<std::array<std::array<uint8_t, kDatagramBytesMax>, kAtOnce>>()) {
  Address address;
  ROBUSTMQ_CHECK(getsockname(descriptor_, address.get(), &address.size) == 0, "a socket without a name");
  local_ = ip_port_of(address.storage);
  is_any_ = std::all_of(local_.ip.begin(), local_.ip.end(), [](uint8_t byte) { return byte == 0; });
}

PosixDatagramSocket::~PosixDatagramSocket() {
  core_.forget(this);
  if (events_) core_.unwatch(descriptor_);
  close(descriptor_);
  core_.shared().listening->leave(key_);
}

void PosixDatagramSocket::start(DatagramEvents& events) {
  events_ = &events;
  core_.watch(descriptor_, EPOLLIN, *this);
}

Endpoint PosixDatagramSocket::local() const { return local_endpoint(descriptor_); }

void PosixDatagramSocket::on_events(uint32_t events) {
  if (events & EPOLLOUT) {
    waits_for_room_ = false;
    core_.rewatch(descriptor_, EPOLLIN, *this);
    events_->on_writable();
  }
  if ((events & (EPOLLIN | EPOLLERR)) == 0) return;
  for (size_t i = 0; i < kTurnsMax && receive_some(); ++i) {
  }
}

// True when more may wait.
bool PosixDatagramSocket::receive_some() {
  constexpr size_t kControlBytes = CMSG_SPACE(sizeof(in6_pktinfo)) + CMSG_SPACE(sizeof(int));
  mmsghdr headers[kAtOnce] = {};
  iovec vectors[kAtOnce];
  sockaddr_storage peers[kAtOnce];
  alignas(cmsghdr) uint8_t control[kAtOnce][kControlBytes];
  for (size_t i = 0; i < kAtOnce; ++i) {
    vectors[i] = {(*block_)[i].data(), kDatagramBytesMax};
    headers[i].msg_hdr.msg_name = &peers[i];
    headers[i].msg_hdr.msg_namelen = sizeof(peers[i]);
    headers[i].msg_hdr.msg_iov = &vectors[i];
    headers[i].msg_hdr.msg_iovlen = 1;
    headers[i].msg_hdr.msg_control = control[i];
    headers[i].msg_hdr.msg_controllen = kControlBytes;
  }
  // An error that waits (an earlier datagram came back) is taken by the call, and no harm.
  const int count = recvmmsg(descriptor_, headers, kAtOnce, MSG_DONTWAIT, nullptr);
  if (count <= 0) return count < 0 && (errno == ECONNREFUSED || errno == EHOSTUNREACH || errno == ENETUNREACH);
  for (int i = 0; i < count; ++i) {
    msghdr& header = headers[i].msg_hdr;
    if (header.msg_flags & MSG_TRUNC) {
      if (options_.on_cut) options_.on_cut(headers[i].msg_len);
      continue;
    }
    DatagramPath path{local_, ip_port_of(peers[i])};
    uint8_t ecn = 0;
    read_control(header, path.local, ecn);
    events_->on_datagram(path, {(*block_)[i].data(), headers[i].msg_len}, ecn);
  }
  return static_cast<size_t>(count) == kAtOnce;
}

size_t PosixDatagramSocket::send(const DatagramPath& path, std::span<const uint8_t> bytes, size_t segment_bytes, uint8_t ecn) {
  if (waits_for_room_) return 0;
  size_t sent = 0;
  while (sent < bytes.size() && !waits_for_room_) {
    const size_t at_once = sends_segments_ ? bytes.size() - sent : std::min(segment_bytes, bytes.size() - sent);
    sent += send_one_call(path, bytes.subspan(sent, at_once), segment_bytes, ecn);
  }
  return sent;
}

size_t PosixDatagramSocket::send_one_call(const DatagramPath& path, std::span<const uint8_t> bytes, size_t segment_bytes,
                                          uint8_t ecn) {
  sockaddr_storage peer;
  iovec vector{const_cast<uint8_t*>(bytes.data()), bytes.size()};
  msghdr header{};
  header.msg_name = &peer;
  header.msg_namelen = fill_sockaddr(path.peer, peer);
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  Control control(header);
  if (is_any_) {
    if (path.local.is_v6) {
      in6_pktinfo info{};
      std::memcpy(&info.ipi6_addr, path.local.ip.data(), 16);
      control.add(IPPROTO_IPV6, IPV6_PKTINFO, info);
    } else {
      in_pktinfo info{};
      std::memcpy(&info.ipi_spec_dst, path.local.ip.data(), 4);
      control.add(IPPROTO_IP, IP_PKTINFO, info);
    }
  }
  if (ecn != 0) control.add(path.peer.is_v6 ? IPPROTO_IPV6 : IPPROTO_IP, path.peer.is_v6 ? IPV6_TCLASS : IP_TOS, int{ecn});
  const bool has_segments = bytes.size() > segment_bytes;
  if (has_segments) control.add(IPPROTO_UDP, UDP_SEGMENT, static_cast<uint16_t>(segment_bytes));
  if (sendmsg(descriptor_, &header, MSG_NOSIGNAL) >= 0) return bytes.size();
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) {
    wait_for_room();
    return 0;
  }
  if (errno == EINTR) return 0;
  if (has_segments && (errno == EIO || errno == EINVAL || errno == EOPNOTSUPP)) {
    sends_segments_ = false;
    return 0;
  }
  return bytes.size();
}

void PosixDatagramSocket::wait_for_room() {
  waits_for_room_ = true;
  if (events_) core_.rewatch(descriptor_, EPOLLIN | EPOLLOUT, *this);
}

}  // namespace robustmq::runtime::posix
