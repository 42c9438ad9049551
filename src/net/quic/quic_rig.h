// What tests of QUIC share: a server on a node of the simulation that echoes, endpoint and stream a connection, and a client.
#pragma once

#include <deque>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "net/quic/context.h"
#include "net/quic/endpoint.h"
#include "net/stream.h"
#include "runtime/sim/disk.h"
#include "runtime/sim/net.h"
#include "runtime/sim/world.h"

namespace robustmq::net {

// A certificate that vouches for itself, its own authority; for a hundred years.
struct QuicIdentity {
  std::string certificate, key;
};

// For localhost, 127.0.0.1 and "server", which is its common name too.
inline const QuicIdentity& quic_server_identity() {
  static const QuicIdentity identity{R"(-----BEGIN CERTIFICATE-----
MIIBnTCCAUOgAwIBAgIUEhNI9M5u33hIBnEYDay+JGACQpUwCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGc2VydmVyMCAXDTI2MTEyMjE4MDYwOVoYDzIxMjYxMDI5MTgw
NjA5WjARMQ8wDQYDVQQDDAZzZXJ2ZXIwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AAQK7w1i1G5m6T0emVTCUVgPI/yWUgf2I3dLkOTgKDiPeS1TzPuc0r2rlusTNhZb
rYy2D/nskHhRtsolGSaPKuECo3cwdTAdBgNVHQ4EFgQUKTE6YQP9cZHYossJnK12
dxTpEekwHwYDVR0jBBgwFoAUKTE6YQP9cZHYossJnK12dxTpEekwDwYDVR0TAQH/
BAUwAwEB/zAiBgNVHREEGzAZggZzZXJ2ZXKCCWxvY2FsaG9zdIcEfwAAATAKBggq
hkjOPQQDAgNIADBFAiEAseCU00A6Q2j3k2BYPw7uTG5c+2a83x7AW/Hre7oWyqIC
IGTwIU1xXeBhmrnONNkZmVZkplyuXbn9iLjLeHapyOGI
-----END CERTIFICATE-----
)",
                                     R"(-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgbWZbR+9clEJjmyDJ
Edfa/okSs2znBmNXhwZOIQRRrj2hRANCAAQK7w1i1G5m6T0emVTCUVgPI/yWUgf2
I3dLkOTgKDiPeS1TzPuc0r2rlusTNhZbrYy2D/nskHhRtsolGSaPKuEC
-----END PRIVATE KEY-----
)"};
  return identity;
}
// The common name is "device 7".
inline const QuicIdentity& quic_device_identity() {
  static const QuicIdentity identity{R"(-----BEGIN CERTIFICATE-----
MIIBoTCCAUegAwIBAgIUR7TXtibliHLmrr+xTw21RKRIAY8wCgYIKoZIzj0EAwIw
EzERMA8GA1UEAwwIZGV2aWNlIDcwIBcNMjYxMTIyMTgwNjA5WhgPMjEyNjEwMjkx
ODA2MDlaMBMxETAPBgNVBAMMCGRldmljZSA3MFkwEwYHKoZIzj0CAQYIKoZIzj0D
AQcDQgAE+q0YAZXosAnYXcRDd4WuNNETfOZqQXVf1yMBd7tv8F5hblKryK1dPbf4
LORuFrkxl2CCbGxitz9U+Nh3NlBHlaN3MHUwHQYDVR0OBBYEFD8HCQHo7sqJWHMh
e8barTW0/cM8MB8GA1UdIwQYMBaAFD8HCQHo7sqJWHMhe8barTW0/cM8MA8GA1Ud
EwEB/wQFMAMBAf8wIgYDVR0RBBswGYIGc2VydmVygglsb2NhbGhvc3SHBH8AAAEw
CgYIKoZIzj0EAwIDSAAwRQIhANef33N6ZSAwsmA1p06v8CqZJQiw8nu4Lpm9aOCB
J7ATAiAaRvzfwbABNz2OYBMsg9OILJB7sCZLZVnkpQMOvVTeZg==
-----END CERTIFICATE-----
)",
                                     R"(-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg60H4X39hyc+b7x1R
Rzkzr5BHkeJfYVIP4gWy07+gMamhRANCAAT6rRgBleiwCdhdxEN3ha400RN85mpB
dV/XIwF3u2/wXmFuUqvIrV09t/gs5G4WuTGXYIJsbGK3P1T42Hc2UEeV
-----END PRIVATE KEY-----
)"};
  return identity;
}

inline std::shared_ptr<const QuicContext> quic_server_context(TlsClients clients = TlsClients::unknown,
                                                              const std::string& protocol = "mqtt") {
  TlsOptions options;
  options.certificate = "server.pem";
  options.clients = clients;
  const TlsMaterial material{
      quic_server_identity().certificate, quic_server_identity().key, quic_device_identity().certificate, {}};
  auto made = QuicContext::make_server(options, material, protocol);
  ROBUSTMQ_CHECK(made.ok(), "a context for tests");
  return made.take();
}

inline std::shared_ptr<const QuicContext> quic_client_context(const QuicIdentity* own = nullptr,
                                                              const std::string& protocol = "mqtt",
                                                              const QuicIdentity& trusted = quic_server_identity()) {
  QuicClientMaterial material;
  material.ca = trusted.certificate;
  if (own) {
    material.certificate = own->certificate;
    material.key = own->key;
  }
  auto made = QuicContext::make_client(material, protocol);
  ROBUSTMQ_CHECK(made.ok(), "a context for tests");
  return made.take();
}

// One stream that keeps what it hears, or sends it back.
class QuicTalk final : public StreamEvents {
 public:
  QuicTalk(Streams& streams, std::unique_ptr<runtime::Socket> socket, bool echoes)
      : stream(streams, std::move(socket)), echoes_(echoes) {
    stream.start(*this);
  }
  QuicTalk(Streams& streams, DetachedStream detached, bool echoes) : stream(streams, std::move(detached)), echoes_(echoes) {
    stream.start(*this);
  }
  void say(std::string_view text) { stream.send(Bytes::copy_of(text)); }

  std::string heard;
  bool has_ended = false;
  StreamEnd end{};
  std::string why;
  ByteStream stream;

 private:
  size_t on_bytes(const Bytes& bytes) override {
    if (echoes_)
      stream.send(Bytes::copy_of(bytes.span()));
    else
      heard += bytes.text();
    return bytes.size();
  }
  void on_drained() override {}
  void on_closed(StreamEnd how) override {
    has_ended = true;
    end = how;
    why = stream.failure();
  }
  bool echoes_;
};

// A server's part on one core.
class QuicServerPart final : public QuicEvents {
 public:
  QuicServerPart(runtime::Core& core_in, std::shared_ptr<QuicGroup> group, QuicOptions options, Duration time_max)
      : core(core_in), streams(core_in), endpoint(core_in, std::move(group), options, time_max, this) {}
  ~QuicServerPart() { talks.clear(); }

  runtime::Core& core;
  Streams streams;
  QuicEndpoint endpoint;
  std::list<QuicTalk> talks;
  std::vector<std::string> names;
  std::vector<std::string> refused;
  size_t knocks_max = SIZE_MAX;
  size_t knocks = 0;

 private:
  bool on_knock(const runtime::Endpoint&) override {
    if (knocks >= knocks_max) return false;
    ++knocks;
    return true;
  }
  void on_entered(std::unique_ptr<runtime::Socket> socket, std::string common_name) override {
    names.push_back(std::move(common_name));
    talks.emplace_back(streams, std::move(socket), true);
  }
  void on_refused(std::string_view why, std::string) override { refused.emplace_back(why); }
};

struct QuicClientPart {
  QuicClientPart(runtime::Core& core, Duration time_max = Duration::seconds(10), QuicOptions options = {},
                 const char* host = "10.0.0.0")
      : streams(core), endpoint(core, std::make_shared<QuicGroup>(1), options, time_max, nullptr) {
    ROBUSTMQ_CHECK(endpoint.open({host, 0}).ok(), "a port for a test");
  }
  void dial(const runtime::IpPort& to, std::shared_ptr<const QuicContext> context, std::string first,
            const std::string& server_name = "server") {
    endpoint.dial(std::move(context), to, server_name, [this, first](Result<std::unique_ptr<runtime::Socket>> socket) {
      is_answered = true;
      if (!socket.ok()) {
        why = socket.error().detail;
        return;
      }
      talk = std::make_unique<QuicTalk>(streams, socket.take(), false);
      if (!first.empty()) talk->say(first);
    });
  }
  ~QuicClientPart() { talk.reset(); }

  Streams streams;
  QuicEndpoint endpoint;
  std::unique_ptr<QuicTalk> talk;
  bool is_answered = false;
  std::string why;
};

// A world with one server node and the clients' node.
struct QuicWorld {
  explicit QuicWorld(uint64_t seed, CoreIndex cores = 1, QuicOptions options = {}, Duration time_max = Duration::seconds(10))
      : world({.seed = seed}),
        server(world.add_node({.name = "server", .cores = cores})),
        clients(world.add_node({.name = "clients"})),
        group(std::make_shared<QuicGroup>(cores)) {
    for (CoreIndex i = 0; i < cores; ++i) {
      parts.push_back(std::make_unique<QuicServerPart>(server.core(i), group, options, time_max));
      ROBUSTMQ_CHECK(parts.back()->endpoint.open({"0.0.0.0", kPort}).ok(), "a port for a test");
    }
    set_context(quic_server_context());
  }
  void set_context(const std::shared_ptr<const QuicContext>& context) {
    for (auto& part : parts) part->endpoint.set_context(context);
  }
  runtime::IpPort address() const { return {{10, 0, 0, 0}, kPort, false}; }
  QuicClientPart& client(Duration time_max = Duration::seconds(10), QuicOptions options = {}) {
    return *own.emplace_back(std::make_unique<QuicClientPart>(clients.core(0), time_max, options));
  }
  bool until(Callback<bool()> done, Duration limit = Duration::seconds(30)) { return world.run_until(std::move(done), limit); }
  QuicMetrics sum() const {
    QuicMetrics all;
    for (const auto& part : parts) {
      const QuicMetrics& one = part->endpoint.metrics();
      all.retries_sent_total += one.retries_sent_total;
      all.handshakes_total += one.handshakes_total;
      all.handshakes_failed_total += one.handshakes_failed_total;
      all.datagrams_passed_on_total += one.datagrams_passed_on_total;
      all.migrated_total += one.migrated_total;
      all.resets_sent_total += one.resets_sent_total;
      all.idle_total += one.idle_total;
      all.connections += one.connections;
      all.handshakes += one.handshakes;
    }
    return all;
  }

  static constexpr uint16_t kPort = 14567;
  runtime::sim::SimWorld world;
  runtime::sim::SimNode& server;
  runtime::sim::SimNode& clients;
  std::shared_ptr<QuicGroup> group;
  std::vector<std::unique_ptr<QuicServerPart>> parts;  // by core
  std::vector<std::unique_ptr<QuicClientPart>> own;
};

}  // namespace robustmq::net
