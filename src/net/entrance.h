// Entrance: an accepted socket on its way through what its listener asks of it before its protocol begins: the PROXY header, TLS,
// the opening of WebSocket, in this order. Pure (the socket is the world's).
//
// Whoever is not through in time is refused, so a silent or half-open connection costs its socket, this object (about 300 bytes),
// and what the present step holds: at most 2 kB of a PROXY header, 4 kB of HTTP headers, or OpenSSL's handshake.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/intrusive.h"
#include "base/time.h"
#include "net/tls.h"
#include "net/websocket.h"
#include "runtime/core.h"
#include "runtime/net.h"
#include "runtime/timer.h"

namespace robustmq::net {

// What a listener asks. Outlives its entrances.
struct EntranceRules {
  bool has_proxy_header = false;             // every connection begins with one
  std::shared_ptr<const TlsContext> tls;     // null: none; another one from the next connection on
  TlsIdentity identity = TlsIdentity::none;  // what the common name of a client's certificate stands for
  bool is_websocket = false;
  WebSocketOffer websocket;
  uint64_t websocket_frame_bytes_max = (256 << 20) + 16;  // the largest MQTT packet
  Duration time_max = Duration::seconds(10);

  bool ask_anything() const { return has_proxy_header || tls || is_websocket; }
};

// In their order; none: through.
enum class EntranceStep : uint8_t { proxy, tls, websocket, none };
std::string_view entrance_step_name(EntranceStep step);

struct EntranceTag;
class Entrance;

// What an entrance tells its owner, once, never from inside its constructor or start(). The owner destroys it in this call.
class EntranceEvents {
 public:
  virtual void on_entered(Entrance& entrance, std::unique_ptr<runtime::Socket> socket) = 0;
  // `why` in words. The connection is closed when the entrance goes.
  virtual void on_refused(Entrance& entrance, EntranceStep step, std::string_view why, std::string peer) = 0;

 protected:
  ~EntranceEvents() = default;
};

class Entrance final : public ListHook<EntranceTag>, private runtime::SocketEvents {
 public:
  Entrance(runtime::Core& core, const EntranceRules& rules, std::unique_ptr<runtime::Socket> socket, EntranceEvents& events);
  ~Entrance();

  void start();
  // Once entered: whether TLS resumed an earlier session, and the common name of the client's certificate.
  bool was_resumed() const { return was_resumed_; }
  const std::string& common_name() const { return common_name_; }

 private:
  enum class Progress : uint8_t { waits, done, over };  // over: the owner was told and this object is gone

  void on_readable() override { go_on(); }
  void on_writable() override {}
  static void on_time(void* self);
  void go_on();
  void skip_steps();
  bool is_asked(EntranceStep step) const;
  Progress take_step();
  Progress read_proxy_header();
  Progress shake_hands();
  Progress read_websocket();
  Progress refuse_broken();
  Progress refuse(std::string_view why);

  runtime::Core& core_;
  const EntranceRules& rules_;
  EntranceEvents& events_;
  std::unique_ptr<runtime::Socket> socket_;
  TlsSocket* tls_ = nullptr;  // in socket_
  std::unique_ptr<HttpRequestMachine> http_;
  std::string header_;  // of the PROXY protocol, as far as it is there
  std::string common_name_;
  runtime::Timer timer_{&Entrance::on_time, this};
  EntranceStep step_ = EntranceStep::proxy;
  bool was_resumed_ = false;
};

}  // namespace robustmq::net
