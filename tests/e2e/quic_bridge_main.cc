// quic-bridge: takes TCP connections on 127.0.0.1 and carries each over a QUIC connection of its own, so that MQTT clients that
// know no QUIC are tested against a QUIC listener. For tests alone.
//
//   quic-bridge HOST:PORT SERVER-NAME CA-FILE [CERTIFICATE-FILE KEY-FILE]
//
// Says "listening PORT" on standard output, and for each connection that does not come about "refused: WHY". At SIGHUP all
// connections go on from another UDP port ("moved"); the first time the server is not told, as when a NAT forgets, the second
// time it is, and so on.
#include <cstdio>
#include <fstream>
#include <iterator>
#include <list>
#include <memory>
#include <string>

#include "net/quic/endpoint.h"
#include "net/stream.h"
#include "runtime/posix/world.h"

namespace robustmq::net {
namespace {

std::string text_of_file(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// One connection: what comes at either end leaves at the other.
class Carried {
 public:
  Carried(Streams& streams, std::unique_ptr<runtime::Socket> tcp) : tcp_(*this, streams, std::move(tcp)) {
    tcp_.stream.pause_reading();
  }
  void on_dialled(Streams& streams, std::unique_ptr<runtime::Socket> quic) {
    quic_ = std::make_unique<End>(*this, streams, std::move(quic));
    tcp_.other = quic_.get();
    quic_->other = &tcp_;
    if (tcp_.is_over)
      quic_->stream.close(Duration::seconds(5));
    else
      tcp_.stream.resume_reading();
  }
  void on_refused() {
    is_refused_ = true;
    if (!tcp_.is_over) tcp_.stream.close_now();
  }
  bool is_over() const { return tcp_.is_over && (is_refused_ || (quic_ && quic_->is_over)); }

 private:
  struct End final : StreamEvents {
    End(Carried&, Streams& streams, std::unique_ptr<runtime::Socket> socket) : stream(streams, std::move(socket)) {
      stream.start(*this);
    }
    size_t on_bytes(const Bytes& bytes) override {
      if (!other || other->is_over) return bytes.size();
      other->stream.send(Bytes::copy_of(bytes.span()));
      if (other->stream.is_congested()) stream.pause_reading();
      return bytes.size();
    }
    void on_drained() override {
      if (other && !other->is_over) other->stream.resume_reading();
    }
    void on_closed(StreamEnd) override {
      is_over = true;
      if (other && !other->is_over) other->stream.close(Duration::seconds(5));
    }
    ByteStream stream;
    End* other = nullptr;
    bool is_over = false;
  };
  End tcp_;
  std::unique_ptr<End> quic_;
  bool is_refused_ = false;
};

struct Bridge {
  Bridge(runtime::Core& core_in, runtime::IpPort to_in, std::string name_in, std::shared_ptr<const QuicContext> context_in)
      : core(core_in),
        to(to_in),
        name(std::move(name_in)),
        context(std::move(context_in)),
        streams(core),
        endpoint(core, std::make_shared<QuicGroup>(1), {}, Duration::seconds(10), nullptr) {}

  Status start() {
    Result<runtime::Endpoint> udp = endpoint.open({"127.0.0.1", 0});
    if (!udp.ok()) return udp.error();
    auto tcp = core.net().listen({"127.0.0.1", 0}, {}, [this](std::unique_ptr<runtime::Socket> socket) {
      carried.remove_if([](const Carried& one) { return one.is_over(); });
      Carried& one = carried.emplace_back(streams, std::move(socket));
      endpoint.dial(context, to, name, [this, &one](Result<std::unique_ptr<runtime::Socket>> quic) {
        if (quic.ok()) return one.on_dialled(streams, quic.take());
        std::printf("refused: %s\n", quic.error().detail.c_str());
        std::fflush(stdout);
        one.on_refused();
      });
    });
    if (!tcp.ok()) return tcp.error();
    listener = tcp.take();
    std::printf("listening %u\n", listener->local().port);
    std::fflush(stdout);
    return {};
  }

  runtime::Core& core;
  runtime::IpPort to;
  std::string name;
  std::shared_ptr<const QuicContext> context;
  Streams streams;
  QuicEndpoint endpoint;
  std::list<Carried> carried;
  std::unique_ptr<runtime::Listener> listener;
};

int run(int count, char** arguments) {
  if (count != 4 && count != 6) {
    std::fprintf(stderr, "usage: quic-bridge HOST:PORT SERVER-NAME CA-FILE [CERTIFICATE-FILE KEY-FILE]\n");
    return 2;
  }
  const Result<runtime::Endpoint> at = runtime::Endpoint::parse(arguments[1]);
  unsigned ip[4];
  if (!at.ok() || std::sscanf(at->host.c_str(), "%u.%u.%u.%u", &ip[0], &ip[1], &ip[2], &ip[3]) != 4) {
    std::fprintf(stderr, "quic-bridge: %s is no IPv4 address with a port\n", arguments[1]);
    return 2;
  }
  runtime::IpPort to;
  for (size_t i = 0; i < 4; ++i) to.ip[i] = static_cast<uint8_t>(ip[i]);
  to.port = at->port;
  QuicClientMaterial material;
  material.ca = text_of_file(arguments[3]);
  if (count == 6) {
    material.certificate = text_of_file(arguments[4]);
    material.key = text_of_file(arguments[5]);
  }
  auto context = QuicContext::make_client(material, "mqtt");
  if (!context.ok()) {
    std::fprintf(stderr, "quic-bridge: %s\n", context.error().detail.c_str());
    return 1;
  }
  std::unique_ptr<Bridge> bridge;
  bool is_told = true;
  Callback<void()> world_stop;
  runtime::posix::PosixOptions options;
  options.cores = 1;
  options.on_signal = [&](int signal) {
    if (signal != runtime::posix::kReloadSignal) return world_stop();
    const Status moved = bridge->endpoint.change_address(is_told = !is_told);
    std::printf("%s\n", moved.ok() ? "moved" : moved.error().detail.c_str());
    std::fflush(stdout);
  };
  runtime::posix::PosixWorld world(std::move(options));
  world_stop = [&world] { world.stop(); };
  auto set_up = [&](runtime::Core& core) {
    bridge = std::make_unique<Bridge>(core, to, arguments[2], *context);
    const Status started = bridge->start();
    if (!started.ok()) {
      std::fprintf(stderr, "quic-bridge: %s\n", started.error().detail.c_str());
      world.stop();
    }
  };
  const Status ended = world.run(set_up, [&](runtime::Core& core) {
    if (core.index() == 0) bridge.reset();
  });
  return ended.ok() ? 0 : 1;
}

}  // namespace
}  // namespace robustmq::net

int main(int count, char** arguments) { return robustmq::net::run(count, arguments); }
