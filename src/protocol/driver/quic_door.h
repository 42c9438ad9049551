// QuicDoor: a listener's QUIC on one core, or the refusal of it where the program was built without (ROBUSTMQ_QUIC). Not
// pure: the only asynchronous part of the protocols.
#pragma once

#include <memory>

#include "net/quic/endpoint.h"
#include "net/tls.h"

namespace robustmq::protocol::driver {

// Of a listener that speaks QUIC; the same on every core.
struct QuicRules {
  std::shared_ptr<net::QuicGroup> group;
  net::QuicOptions options;
};

extern const bool kHasQuic;  // whether this program was built with it

// QuicContext::make_server. Error (not_supported): the program was built without QUIC.
Result<std::shared_ptr<const net::QuicContext>> make_quic_context(const net::TlsOptions& options,
                                                                  const net::TlsMaterial& material);

class QuicDoor {
 public:
  QuicDoor(runtime::Core& core, const QuicRules& rules, Duration time_max, net::QuicEvents& events);
  ~QuicDoor();

  Result<runtime::Endpoint> open(const runtime::Endpoint& at);
  void set_context(std::shared_ptr<const net::QuicContext> context);
  void stop_accepting();
  const net::QuicMetrics& metrics() const;

 private:
#ifdef ROBUSTMQ_WITH_QUIC
  std::unique_ptr<net::QuicEndpoint> endpoint_;
#else
  net::QuicMetrics none_;
#endif
};

}  // namespace robustmq::protocol::driver
