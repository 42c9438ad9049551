// The QUIC endpoint on any datagrams: garbage of the input's making, and real ones of a client of ours that the input cuts,
// changes, repeats, swaps and drops. Nothing breaks, and when all is over nothing is left: no connection, no route, and never
// more of them than clients that knocked.
#include <cstdlib>

#include "base/check.h"
#include "net/quic/quic_rig.h"

namespace robustmq::net {
namespace {

// Between client and server: a socket of the clients' node that the input speaks through.
class QuicMeddler final : public runtime::DatagramEvents {
 public:
  QuicMeddler(QuicWorld& quic, runtime::IpPort server) : server_(server) {
    auto opened = runtime::datagrams_of(quic.clients.core(0).net()).open_datagrams({"10.0.0.1", 0}, {});
    socket_ = opened.take();
    socket_->start(*this);
    own_.ip = {10, 0, 0, 1};
    own_.port = socket_->local().port;
  }
  const runtime::IpPort& address() const { return own_; }
  std::vector<std::string> from_client, from_server;
  void to_server(std::string_view bytes) {
    socket_->send({own_, server_}, as_bytes(bytes), std::max<size_t>(1, bytes.size()), 0);
  }
  void to_client(std::string_view bytes) {
    if (client_.port != 0) socket_->send({own_, client_}, as_bytes(bytes), std::max<size_t>(1, bytes.size()), 0);
  }

 private:
  void on_datagram(const runtime::DatagramPath& path, std::span<uint8_t> bytes, uint8_t) override {
    if (path.peer.port == server_.port) return from_server.emplace_back(as_text(bytes)), void();
    client_ = path.peer;
    from_client.emplace_back(as_text(bytes));
  }
  void on_writable() override {}

  runtime::IpPort server_;
  runtime::IpPort own_;
  runtime::IpPort client_;
  std::unique_ptr<runtime::DatagramSocket> socket_;
};

// Passes what waits on, as the next byte of the input says.
void pass(std::vector<std::string>& waiting, ByteSpan& input, bool is_to_server, QuicMeddler& meddler) {
  std::vector<std::string> now;
  now.swap(waiting);
  for (std::string& datagram : now) {
    const uint8_t what = input.empty() ? 0 : input[0];
    if (!input.empty()) input = input.subspan(1);
    const uint8_t where = input.empty() ? 0 : input[0];
    if (what % 8 == 1) continue;
    if (what % 8 == 2 && !datagram.empty()) datagram[where * datagram.size() / 256] ^= static_cast<char>(1 + what / 8);
    if (what % 8 == 3) datagram.resize(where * datagram.size() / 256);
    if (what % 8 == 4) datagram.append(where, static_cast<char>(what));
    const int times = what % 8 == 5 ? 2 : 1;
    for (int i = 0; i < times; ++i) is_to_server ? meddler.to_server(datagram) : meddler.to_client(datagram);
  }
}

void fuzz_endpoint(ByteSpan input) {
  if (input.empty()) return;
  QuicOptions options;
  options.retry_above = input[0] % 2 == 0 ? 0 : 1'000;
  options.idle_ms = 2'000;
  const bool has_client = input[0] % 4 < 2;
  static const std::shared_ptr<const QuicContext> server_context = quic_server_context();
  static const std::shared_ptr<const QuicContext> client_context = quic_client_context();
  input = input.subspan(1);
  QuicWorld quic(1, 2, options, Duration::seconds(3));
  quic.set_context(server_context);
  QuicMeddler meddler(quic, quic.address());
  if (has_client) quic.client(Duration::seconds(3), options).dial(meddler.address(), client_context, "hello");
  for (int step = 0; step < 24; ++step) {
    quic.world.run_for(Duration::millis(50));
    pass(meddler.from_client, input, true, meddler);
    pass(meddler.from_server, input, false, meddler);
    // Garbage: a length, then so many bytes.
    if (!has_client && !input.empty()) {
      const size_t size = std::min<size_t>(input.size() - 1, input[0] * 6);
      std::string datagram(as_text(input.subspan(1, size)));
      if (input[0] % 3 == 0) datagram.resize(1'200, '\0');
      input = input.subspan(1 + size);
      meddler.to_server(datagram);
    }
    size_t knocks = 0;
    for (auto& part : quic.parts) knocks += part->knocks;
    ROBUSTMQ_CHECK(quic.sum().connections <= static_cast<int64_t>(knocks), "more connections than knocks");
  }
  quic.own.clear();
  for (auto& part : quic.parts) part->talks.clear();
  quic.world.run_for(Duration::seconds(10));
  for (auto& part : quic.parts) part->talks.clear();  // who came in meanwhile
  quic.world.run_for(Duration::seconds(10));
  for (auto& part : quic.parts) {
    ROBUSTMQ_CHECK(part->endpoint.connection_count() == 0, "a connection is left");
    ROBUSTMQ_CHECK(part->endpoint.route_count() == 0, "a route is left");
    ROBUSTMQ_CHECK(part->knocks == part->names.size() + part->refused.size(), "a place is not given back");
  }
}

}  // namespace
}  // namespace robustmq::net

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  robustmq::net::fuzz_endpoint({data, size});
  return 0;
}
