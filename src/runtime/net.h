// Net: listeners and sockets. The seam; runtime/posix and runtime/sim implement it. Addresses are "host:port" with a numeric
// or resolvable host; port 0 takes a free one.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/callback.h"
#include "base/pieces.h"
#include "base/result.h"

namespace robustmq::runtime {

// A host that begins with '/' is the path of a Unix socket, which has no port.
struct Endpoint {
  static constexpr std::string_view kUnnamedLocal = "unix";  // the host of a Unix socket's client

  std::string host;
  uint16_t port = 0;
  bool is_local() const { return host.starts_with('/'); }
  std::string to_string() const;
  static Result<Endpoint> parse(std::string_view text);  // "127.0.0.1:1883", "[::1]:1883", "/run/mqtt.sock"
};

// What a socket tells its owner, on the socket's core. Level-triggered: on_readable comes again while bytes wait.
class SocketEvents {
 public:
  virtual void on_readable() = 0;
  virtual void on_writable() = 0;  // only after want_write(true)

 protected:
  ~SocketEvents() = default;
};

// Outcome of a read or a write: bytes moved, or why none were.
struct IoResult {
  enum class Kind : uint8_t { moved, would_block, end, failed };
  Kind kind = Kind::would_block;
  size_t bytes = 0;
};

// A socket away from any core, on its way to another one.
class DetachedSocket {
 public:
  virtual ~DetachedSocket() = default;
};

class Socket {
 public:
  virtual ~Socket() = default;  // closes
  // Starts events. Before it none come. The owner outlives the socket or destroys it first. Called again, the events go to the
  // new owner from then on.
  virtual void start(SocketEvents& events) = 0;
  virtual IoResult read(std::span<uint8_t> into) = 0;
  // Sends from the front of `pieces` what the socket takes now, stored ranges without passing through user memory where the
  // system can. Returns the bytes moved; the caller drops them from its queue.
  virtual IoResult write(std::span<const Piece> pieces, size_t skip_bytes_of_first) = 0;
  virtual void want_read(bool on) = 0;   // on at start
  virtual void want_write(bool on) = 0;  // off at start
  virtual void close_write() = 0;        // half-close: the peer reads all that was sent, then the end
  virtual Endpoint peer() const = 0;
  virtual Endpoint local() const = 0;
  // Why a read or a write failed, in words, when the socket knows more than that the connection broke.
  virtual std::string_view failure() const { return {}; }
  // Takes the socket off this core; this object is dead afterwards.
  virtual std::unique_ptr<DetachedSocket> detach() = 0;
};

class Listener {
 public:
  virtual ~Listener() = default;  // stops listening
  virtual Endpoint local() const = 0;
};

struct ListenOptions {
  int backlog = 4096;
  bool no_delay = true;
  // Connections refused because the process has no descriptors left are counted here; accepting goes on when some are free.
  Callback<void()> on_out_of_descriptors;
  // Of the descriptors that the process may have so many, but at most a quarter, are kept for files: a connection that would take
  // one of them is refused as if there were none.
  int kept_descriptors = 0;
};

class Net {
 public:
  virtual ~Net() = default;
  // Every core that listens on the same endpoint shares it; the system spreads the connections.
  virtual Result<std::unique_ptr<Listener>> listen(const Endpoint& at, ListenOptions options,
                                                   Callback<void(std::unique_ptr<Socket>)> on_accept) = 0;
  virtual void connect(const Endpoint& to, Callback<void(Result<std::unique_ptr<Socket>>)> done) = 0;
  virtual std::unique_ptr<Socket> adopt(std::unique_ptr<DetachedSocket> socket) = 0;
};

}  // namespace robustmq::runtime
