#include "tools/bench/link.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tools/bench/measure.h"

namespace robustmq::bench {

constexpr size_t kReadBytes = 1 << 20;

static std::string errno_text() { return std::strerror(errno); }

Link::~Link() { close(); }

void Link::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

void Link::connect(int port) {
  fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd_ < 0) fail("no socket: " + errno_text());
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    fail(fmt::format("connect to port {}: {}", port, errno_text()));
  }
  const int one = 1;
  ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  const timeval limit{10, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
}

void Link::send_now(std::string_view data) {
  while (!data.empty()) {
    const ssize_t n = ::send(fd_, data.data(), data.size(), MSG_NOSIGNAL);
    if (n <= 0) fail("send: " + errno_text());
    data.remove_prefix(static_cast<size_t>(n));
  }
}

std::string Link::read_now(size_t size) {
  std::string data(size, '\0');
  for (size_t got = 0; got < size;) {
    const ssize_t n = ::recv(fd_, data.data() + got, size - got, 0);
    if (n == 0) fail("the broker closed a connection during set-up");
    if (n < 0) fail("no answer during set-up: " + errno_text());
    got += static_cast<size_t>(n);
  }
  return data;
}

void Link::flush() {
  while (sent_ < out_.size()) {
    const ssize_t n = ::send(fd_, out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
      if (errno == EAGAIN || errno == EINTR) return;
      fail("send: " + errno_text());
    }
    sent_ += static_cast<size_t>(n);
  }
  out_.clear();
  sent_ = 0;
}

Poller::Poller() : fd_(::epoll_create1(EPOLL_CLOEXEC)), buffer_(kReadBytes, '\0') {
  if (fd_ < 0) fail("no epoll: " + errno_text());
}

Poller::~Poller() { ::close(fd_); }

void Poller::add(const Link& link, uint32_t index) {
  ::fcntl(link.fd(), F_SETFL, ::fcntl(link.fd(), F_GETFL) | O_NONBLOCK);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u32 = index;
  if (::epoll_ctl(fd_, EPOLL_CTL_ADD, link.fd(), &event) != 0) fail("epoll: " + errno_text());
}

const std::vector<uint32_t>& Poller::wait(int64_t timeout_ns) {
  epoll_event events[256];
  const timespec limit{timeout_ns / 1'000'000'000, timeout_ns % 1'000'000'000};
  const int n = ::epoll_pwait2(fd_, events, 256, &limit, nullptr);
  ready_.clear();
  for (int i = 0; i < n; ++i) ready_.push_back(events[i].data.u32);
  return ready_;
}

std::string_view Poller::read(Link& link) {
  const ssize_t n = ::recv(link.fd(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
  if (n > 0) return {buffer_.data(), static_cast<size_t>(n)};
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return {};
  fail(n == 0 ? "the broker closed a connection" : "recv: " + errno_text());
}

}  // namespace robustmq::bench
