// See quic_door.h.
#include "protocol/driver/quic_door.h"

namespace robustmq::protocol::driver {

#ifdef ROBUSTMQ_WITH_QUIC

namespace {
constexpr const char* kProtocol = "mqtt";  // of ALPN; the one protocol that goes over QUIC
}

const bool kHasQuic = true;

Result<std::shared_ptr<const net::QuicContext>> make_quic_context(const net::TlsOptions& options,
                                                                  const net::TlsMaterial& material) {
  return net::QuicContext::make_server(options, material, kProtocol);
}

QuicDoor::QuicDoor(runtime::Core& core, const QuicRules& rules, Duration time_max, net::QuicEvents& events)
    : endpoint_(std::make_unique<net::QuicEndpoint>(core, rules.group, rules.options, time_max, &events)) {}
QuicDoor::~QuicDoor() = default;

Result<runtime::Endpoint> QuicDoor::open(const runtime::Endpoint& at) { return endpoint_->open(at); }
void QuicDoor::set_context(std::shared_ptr<const net::QuicContext> context) { endpoint_->set_context(std::move(context)); }
void QuicDoor::stop_accepting() { endpoint_->stop_accepting(); }
const net::QuicMetrics& QuicDoor::metrics() const { return endpoint_->metrics(); }

#else

namespace {
Error built_without() { return {Code::not_supported, "this program was built without QUIC (ROBUSTMQ_QUIC)"}; }
}  // namespace

const bool kHasQuic = false;

Result<std::shared_ptr<const net::QuicContext>> make_quic_context(const net::TlsOptions&, const net::TlsMaterial&) {
  return built_without();
}

QuicDoor::QuicDoor(runtime::Core&, const QuicRules&, Duration, net::QuicEvents&) {}
QuicDoor::~QuicDoor() = default;

Result<runtime::Endpoint> QuicDoor::open(const runtime::Endpoint&) { return built_without(); }
void QuicDoor::set_context(std::shared_ptr<const net::QuicContext>) {}
void QuicDoor::stop_accepting() {}
const net::QuicMetrics& QuicDoor::metrics() const { return none_; }

#endif

}  // namespace robustmq::protocol::driver
