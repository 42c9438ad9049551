// See net.h.
#include "runtime/posix/net.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "runtime/posix/address.h"
#include "runtime/posix/datagram.h"
#include "runtime/posix/socket.h"

namespace robustmq::runtime::posix {

namespace {

constexpr int kAcceptAtOnce = 64;  // a listener's share of a turn

Error error_of(int number, const std::string& what) {
  char text[128];
  Code code = number == ETIMEDOUT ? Code::timed_out : Code::connection_lost;
  if (number == EADDRINUSE) code = Code::already_exists;
  if (number == EACCES || number == EPERM) code = Code::not_authorised;
  if (number == EADDRNOTAVAIL || number == EAFNOSUPPORT) code = Code::invalid_argument;
  if (number == EMFILE || number == ENFILE) code = Code::overloaded;
  return {code, what + ": " + strerror_r(number, text, sizeof(text))};
}

void switch_on(int descriptor, int level, int option) {
  int on = 1;
  setsockopt(descriptor, level, option, &on, sizeof(on));
}

int open_socket(const Address& address) {
  return socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

// Fails when anybody listens at `address`, in whatever way.
Status check_free(const Address& address, const std::string& name) {
  int descriptor = open_socket(address);
  if (descriptor < 0) return error_of(errno, "listen at " + name);
  switch_on(descriptor, SOL_SOCKET, SO_REUSEADDR);
  if (address.storage.ss_family == AF_INET6) switch_on(descriptor, IPPROTO_IPV6, IPV6_V6ONLY);
  Status status;
  if (bind(descriptor, address.get(), address.size) != 0) status = error_of(errno, "listen at " + name);
  close(descriptor);
  return status;
}

Result<int> open_listening(const Address& address, const ListenOptions& options, const std::string& name) {
  int descriptor = open_socket(address);
  if (descriptor < 0) return error_of(errno, "listen at " + name);
  switch_on(descriptor, SOL_SOCKET, SO_REUSEADDR);
  switch_on(descriptor, SOL_SOCKET, SO_REUSEPORT);
  if (address.storage.ss_family == AF_INET6) switch_on(descriptor, IPPROTO_IPV6, IPV6_V6ONLY);
  // Accepted sockets inherit it, which saves a call for each.
  if (options.no_delay) switch_on(descriptor, IPPROTO_TCP, TCP_NODELAY);
  if (bind(descriptor, address.get(), address.size) != 0 || listen(descriptor, options.backlog) != 0) {
    Error error = error_of(errno, "listen at " + name);
    close(descriptor);
    return error;
  }
  return descriptor;
}

// A file that nobody listens at any more is what an ended process left, and makes place.
Result<int> open_local(const Address& address, const ListenOptions& options, const std::string& path) {
  const int descriptor = open_socket(address);
  if (descriptor < 0) return error_of(errno, "listen at " + path);
  struct stat file;
  if (stat(path.c_str(), &file) == 0 && S_ISSOCK(file.st_mode)) {
    if (::connect(descriptor, address.get(), address.size) == 0 || errno != ECONNREFUSED) {
      close(descriptor);
      return Error{Code::already_exists, "listen at " + path + ": another process listens there"};
    }
    unlink(path.c_str());
  }
  if (bind(descriptor, address.get(), address.size) != 0 || listen(descriptor, options.backlog) != 0) {
    Error error = error_of(errno, "listen at " + path);
    close(descriptor);
    return error;
  }
  return descriptor;
}

}  // namespace

bool PosixListening::enter(const std::string& key) {
  std::lock_guard lock(mutex_);
  return ++listeners_[key] == 1;
}

bool PosixListening::leave(const std::string& key) {
  std::lock_guard lock(mutex_);
  if (--listeners_[key] > 0) return false;
  listeners_.erase(key);
  descriptors_.erase(key);
  return true;
}

void PosixListening::keep(const std::string& key, int descriptor) {
  std::lock_guard lock(mutex_);
  descriptors_[key] = descriptor;
}

int PosixListening::share(const std::string& key) {
  std::lock_guard lock(mutex_);
  const auto kept = descriptors_.find(key);
  return kept == descriptors_.end() ? -1 : fcntl(kept->second, F_DUPFD_CLOEXEC, 0);
}

// ---- listener ----

class PosixListener final : public Listener, private Pollable {
 public:
  PosixListener(PosixCore& core, int descriptor, ListenOptions options, Callback<void(std::unique_ptr<Socket>)> on_accept)
      : core_(core),
        descriptor_(descriptor),
        options_(std::move(options)),
        on_accept_(std::move(on_accept)),
        local_(local_endpoint(descriptor)),
        retry_(&PosixListener::accept_again, this) {
    hold_spare();
    core_.watch(descriptor_, EPOLLIN, *this);
  }
  ~PosixListener() override {
    core_.forget(this);
    core_.unwatch(descriptor_);
    close(descriptor_);
    if (spare_ >= 0) close(spare_);
    // The file of a Unix socket goes with its last listener.
    if (core_.shared().listening->leave(local_.to_string()) && local_.is_local()) unlink(local_.host.c_str());
  }
  Endpoint local() const override { return local_; }

 private:
  void on_events(uint32_t) override {
    PosixCore& core = core_;
    Pollable* self = this;
    const int end = first_kept();
    for (int i = 0; i < kAcceptAtOnce && core.is_dispatching(self); ++i) {
      int accepted = accept4(descriptor_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (accepted >= end) {
        close(accepted);
        if (options_.on_out_of_descriptors) options_.on_out_of_descriptors();
      } else if (accepted >= 0) {
        on_accept_(std::make_unique<PosixSocket>(core_, accepted));
      } else if (errno == EMFILE || errno == ENFILE) {
        refuse_one();
      } else if (errno != ECONNABORTED && errno != EINTR && errno != EPROTO) {
        if (errno != EAGAIN && errno != EWOULDBLOCK) pause();
        return;
      }
    }
  }

  // The lowest that is free is given, so a high one says how many are in use.
  int first_kept() const {
    rlimit limit;
    if (options_.kept_descriptors == 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > INT_MAX) return INT_MAX;
    const int all = static_cast<int>(limit.rlim_cur);
    return all - std::min(options_.kept_descriptors, all / 4);
  }

  // No descriptors are left: the spare one serves to take the connection and close it, so that its peer knows at once and the
  // listener does not spin on it.
  void refuse_one() {
    if (options_.on_out_of_descriptors) options_.on_out_of_descriptors();
    if (spare_ < 0) {
      pause();
      return;
    }
    close(spare_);
    int accepted = accept4(descriptor_, nullptr, nullptr, SOCK_CLOEXEC);
    if (accepted >= 0) close(accepted);
    hold_spare();
  }
  void hold_spare() { spare_ = open("/dev/null", O_RDONLY | O_CLOEXEC); }

  void pause() {
    core_.rewatch(descriptor_, 0, *this);
    core_.arm(retry_, core_.now() + Duration::millis(100));
  }
  static void accept_again(void* self) {
    auto* listener = static_cast<PosixListener*>(self);
    if (listener->spare_ < 0) listener->hold_spare();
    listener->core_.rewatch(listener->descriptor_, EPOLLIN, *listener);
  }

  PosixCore& core_;
  int descriptor_;
  int spare_ = -1;
  ListenOptions options_;
  Callback<void(std::unique_ptr<Socket>)> on_accept_;
  Endpoint local_;
  Timer retry_;
};

// ---- outgoing connections ----

// Tries the addresses in order; lives in its PosixNet until it has answered.
class PosixConnecting final : private Pollable {
 public:
  PosixConnecting(PosixNet& net, Endpoint to, Callback<void(Result<std::unique_ptr<Socket>>)> done)
      : net_(net), to_(std::move(to)), done_(std::move(done)) {}
  ~PosixConnecting() { drop_descriptor(); }

  const Endpoint& to() const { return to_; }

  void start(Result<std::vector<Address>> addresses) {
    if (!addresses.ok()) return answer(addresses.error());
    addresses_ = addresses.take();
    try_next();
  }

 private:
  void try_next() {
    while (next_ < addresses_.size()) {
      const Address& address = addresses_[next_++];
      descriptor_ = open_socket(address);
      if (descriptor_ < 0) return answer(error_of(errno, "connect to " + to_.to_string()));
      switch_on(descriptor_, IPPROTO_TCP, TCP_NODELAY);
      if (::connect(descriptor_, address.get(), address.size) == 0 || errno == EINPROGRESS) {
        net_.core_.watch(descriptor_, EPOLLOUT, *this);
        is_watched_ = true;
        return;
      }
      last_error_ = errno;
      drop_descriptor();
    }
    answer(error_of(last_error_, "connect to " + to_.to_string()));
  }

  void on_events(uint32_t) override {
    socklen_t size = sizeof(last_error_);
    if (getsockopt(descriptor_, SOL_SOCKET, SO_ERROR, &last_error_, &size) != 0) last_error_ = errno;
    if (last_error_ != 0) {
      drop_descriptor();
      try_next();
      return;
    }
    net_.core_.unwatch(descriptor_);
    is_watched_ = false;
    answer(std::unique_ptr<Socket>(std::make_unique<PosixSocket>(net_.core_, std::exchange(descriptor_, -1))));
  }

  // Always in a turn of its own, so never from inside connect().
  void answer(Result<std::unique_ptr<Socket>> result) {
    net_.core_.post([done = std::move(done_), result = std::move(result)]() mutable { done(std::move(result)); });
    net_.connecting_.erase(this);
  }

  void drop_descriptor() {
    if (descriptor_ < 0) return;
    net_.core_.forget(this);
    if (is_watched_) net_.core_.unwatch(descriptor_);
    is_watched_ = false;
    close(std::exchange(descriptor_, -1));
  }

  PosixNet& net_;
  Endpoint to_;
  Callback<void(Result<std::unique_ptr<Socket>>)> done_;
  std::vector<Address> addresses_;
  size_t next_ = 0;
  int descriptor_ = -1;
  int last_error_ = 0;
  bool is_watched_ = false;
};

// ---- PosixNet ----

PosixNet::PosixNet(PosixCore& core) : core_(core) {}
PosixNet::~PosixNet() = default;

Result<std::unique_ptr<Listener>> PosixNet::listen(const Endpoint& at, ListenOptions options,
                                                   Callback<void(std::unique_ptr<Socket>)> on_accept) {
  Result<std::vector<Address>> addresses = resolve(at);
  if (!addresses.ok()) return addresses.error();
  const Address& address = addresses->front();
  std::string name = at.to_string();
  PosixListening& listening = *core_.shared().listening;
  Endpoint exact = address.to_endpoint();
  if (at.is_local()) return listen_local(address, at, std::move(options), std::move(on_accept));
  bool takes_free_port = exact.port == 0;
  if (!takes_free_port && listening.enter(exact.to_string())) {
    if (Status free = check_free(address, name); !free) {
      listening.leave(exact.to_string());
      return free.error();
    }
  }
  Result<int> descriptor = open_listening(address, options, name);
  if (!descriptor.ok()) {
    if (!takes_free_port) listening.leave(exact.to_string());
    return descriptor.error();
  }
  auto listener = std::make_unique<PosixListener>(core_, *descriptor, std::move(options), std::move(on_accept));
  if (takes_free_port) listening.enter(listener->local().to_string());
  return std::unique_ptr<Listener>(std::move(listener));
}

Result<std::unique_ptr<Listener>> PosixNet::listen_local(const Address& address, const Endpoint& at, ListenOptions options,
                                                         Callback<void(std::unique_ptr<Socket>)> on_accept) {
  PosixListening& listening = *core_.shared().listening;
  const bool is_first = listening.enter(at.host);
  Result<int> descriptor = is_first ? open_local(address, options, at.host) : Result<int>(listening.share(at.host));
  if (descriptor.ok() && *descriptor < 0) descriptor = error_of(errno, "listen at " + at.host);
  if (!descriptor.ok()) {
    listening.leave(at.host);
    return descriptor.error();
  }
  if (is_first) listening.keep(at.host, *descriptor);
  return std::unique_ptr<Listener>(std::make_unique<PosixListener>(core_, *descriptor, std::move(options), std::move(on_accept)));
}

void PosixNet::connect(const Endpoint& to, Callback<void(Result<std::unique_ptr<Socket>>)> done) {
  auto owned = std::make_unique<PosixConnecting>(*this, to, std::move(done));
  PosixConnecting* connecting = owned.get();
  connecting_.emplace(connecting, std::move(owned));
  std::vector<Address> numeric = numeric_addresses(to);
  if (!numeric.empty()) {
    connecting->start(std::move(numeric));
    return;
  }
  core_.shared().reads->run([core = &core_, connecting, to] {
    Result<std::vector<Address>> found = resolve(to);
    core->complete([connecting, found = std::move(found)]() mutable { connecting->start(std::move(found)); });
  });
}

Result<std::unique_ptr<DatagramSocket>> PosixNet::open_datagrams(const Endpoint& at, DatagramOptions options) {
  return open_datagram_socket(core_, at, std::move(options));
}

std::unique_ptr<Socket> PosixNet::adopt(std::unique_ptr<DetachedSocket> socket) {
  return std::make_unique<PosixSocket>(core_, static_cast<PosixDetachedSocket&>(*socket).take());
}

}  // namespace robustmq::runtime::posix
