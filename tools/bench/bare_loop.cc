#include "tools/bench/bare_loop.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <vector>

#include "base/hash.h"

namespace robustmq::bench {

namespace {

constexpr size_t kBufferBytes = 4 << 20;

template <class T>
T get(const uint8_t* at) {
  uint64_t value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) value = value << 8 | at[i];
  return static_cast<T>(value);
}

template <class T>
void set(uint8_t* at, T value) {
  for (size_t i = sizeof(T); i-- > 0; value = static_cast<T>(static_cast<uint64_t>(value) >> 8))
    at[i] = static_cast<uint8_t>(value);
}

struct Peer {
  int fd = -1;
  size_t size = 0;
  std::vector<uint8_t> buffer = std::vector<uint8_t>(kBufferBytes);
};

class Server {
 public:
  Server(int listener, int file, size_t topic_bytes, size_t fetch_bytes)
      : listener_(listener), file_(file), topic_bytes_(topic_bytes), fetch_bytes_(fetch_bytes), answer_(fetch_bytes + 256) {}

  [[noreturn]] void run() {
    const int poll = ::epoll_create1(EPOLL_CLOEXEC);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = nullptr;
    ::epoll_ctl(poll, EPOLL_CTL_ADD, listener_, &event);
    for (;;) {
      epoll_event events[64];
      const int n = ::epoll_wait(poll, events, 64, -1);
      for (int i = 0; i < n; ++i) {
        if (events[i].data.ptr == nullptr) {
          auto* peer = new Peer;
          peer->fd = ::accept(listener_, nullptr, nullptr);
          const int one = 1;
          ::setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
          event.data.ptr = peer;
          ::epoll_ctl(poll, EPOLL_CTL_ADD, peer->fd, &event);
        } else {
          receive(*static_cast<Peer*>(events[i].data.ptr));
        }
      }
      if (!written_.empty()) {
        if (::fdatasync(file_) != 0) ::_exit(1);
        for (Peer* peer : written_) acknowledge(*peer);
        written_.clear();
      }
    }
  }

 private:
  void receive(Peer& peer) {
    const ssize_t n = ::recv(peer.fd, peer.buffer.data() + peer.size, peer.buffer.size() - peer.size, MSG_DONTWAIT);
    if (n <= 0) {
      if (n == 0) ::close(peer.fd);
      return;
    }
    peer.size += static_cast<size_t>(n);
    size_t at = 0;
    while (peer.size - at >= 4) {
      const size_t length = 4 + static_cast<size_t>(get<int32_t>(peer.buffer.data() + at));
      if (peer.size - at < length) break;
      request(peer, peer.buffer.data() + at);
      at += length;
    }
    std::memmove(peer.buffer.data(), peer.buffer.data() + at, peer.size - at);
    peer.size -= at;
  }

  // Size, key, version, correlation, client id "bench": 19 bytes.
  void request(Peer& peer, const uint8_t* frame) {
    if (get<int16_t>(frame + 4) == 0) {
      const uint8_t* batch = frame + 19 + 2 + 2 + 4 + 4 + 2 + topic_bytes_ + 4 + 4;
      const auto size = static_cast<size_t>(get<int32_t>(batch));
      batch += 4;
      if (crc32c({batch + 21, size - 21}) != get<uint32_t>(batch + 17)) ::_exit(1);
      if (::write(file_, batch, size) != static_cast<ssize_t>(size)) ::_exit(1);
      batch_bytes_ = size;
      batch_records_ = get<int32_t>(batch + 57);
      written_.push_back(&peer);
    } else {
      const auto offset = get<int64_t>(frame + 19 + 25 + 4 + 2 + topic_bytes_ + 4 + 4 + 4);
      fetch(peer, static_cast<size_t>(offset / batch_records_) * batch_bytes_);
    }
  }

  void acknowledge(Peer& peer) {
    uint8_t out[256] = {};
    const size_t size = 4 + 4 + 4 + 2 + topic_bytes_ + 4 + 4 + 2 + 24 + 4;
    set<int32_t>(out, static_cast<int32_t>(size - 4));
    ::send(peer.fd, out, size, MSG_NOSIGNAL);
  }

  void fetch(Peer& peer, size_t at) {
    const size_t head = 66 + 2 + topic_bytes_ + 2;
    const size_t wanted = fetch_bytes_ / batch_bytes_ * batch_bytes_;
    const ssize_t n = ::pread(file_, answer_.data() + head, wanted, static_cast<off_t>(at));
    if (n <= 0) ::_exit(1);
    std::memset(answer_.data(), 0, head);
    set<int32_t>(answer_.data(), static_cast<int32_t>(head + static_cast<size_t>(n) - 4));
    set<int32_t>(answer_.data() + head - 4, static_cast<int32_t>(n));
    for (size_t sent = 0; sent < head + static_cast<size_t>(n);) {
      const ssize_t m = ::send(peer.fd, answer_.data() + sent, head + static_cast<size_t>(n) - sent, MSG_NOSIGNAL);
      if (m <= 0) return;
      sent += static_cast<size_t>(m);
    }
  }

  int listener_, file_;
  size_t topic_bytes_, fetch_bytes_;
  size_t batch_bytes_ = 1;
  int64_t batch_records_ = 1;
  std::vector<uint8_t> answer_;
  std::vector<Peer*> written_;
};

}  // namespace

BareLoop::~BareLoop() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    ::unlink(path_.c_str());
  }
}

void BareLoop::start(Options& options) {
  path_ = fmt::format("{}/bare-loop-{}", options.dir, ::getpid());
  const int file = ::open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) fail(fmt::format("cannot create {}", path_));
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener, 64) != 0 ||
      ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    fail("the bare loop cannot listen");
  }
  pid_ = ::fork();
  if (pid_ < 0) fail("no process for the bare loop");
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    Server(listener, file, options.topic.size(), static_cast<size_t>(options.fetch_bytes)).run();
  }
  ::close(listener);
  ::close(file);
  options.port = ntohs(address.sin_port);
  options.pid = pid_;
}

}  // namespace robustmq::bench
