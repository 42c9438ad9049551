// QUIC over real UDP on loopback: a server on two cores, and a client on one of them.
#include <gtest/gtest.h>

#include "net/quic/quic_rig.h"
#include "runtime/posix/world.h"

namespace robustmq::net {
namespace {

constexpr size_t kCarriedBytes = 1 << 20;

// Moves the client to another port on the way, and ends the world when all has come back.
class QuicWatcher {
 public:
  QuicWatcher(runtime::Core& core, QuicClientPart& client, runtime::posix::PosixWorld& world)
      : core_(core), client_(client), world_(world) {
    core_.arm(timer_, core_.now());
  }
  bool has_moved = false;

 private:
  void look() {
    const size_t heard = client_.talk ? client_.talk->heard.size() : 0;
    if (heard > kCarriedBytes / 3 && !has_moved) {
      has_moved = true;
      EXPECT_TRUE(client_.endpoint.change_address(false).ok());
    }
    if (heard >= kCarriedBytes || !client_.why.empty() || (client_.talk && client_.talk->has_ended)) return world_.stop();
    // A server finds a client that moved by its next packet, as by a keep-alive.
    if (has_moved && ++looks_ % 50 == 0 && client_.talk) client_.talk->say(".");
    core_.arm(timer_, core_.now() + Duration::millis(1));
  }
  runtime::Core& core_;
  QuicClientPart& client_;
  runtime::posix::PosixWorld& world_;
  int looks_ = 0;
  runtime::Timer timer_{[](void* self) { static_cast<QuicWatcher*>(self)->look(); }, this};
};

TEST(QuicPosix, CarriesAMegabyteThereAndBackAcrossAChangeOfAddress) {
  const std::string text(kCarriedBytes, 'x');
  const std::shared_ptr<const QuicContext> serves = quic_server_context();
  const std::shared_ptr<const QuicContext> asks = quic_client_context();
  const auto group = std::make_shared<QuicGroup>(2);
  runtime::Core* cores[2] = {};
  std::unique_ptr<QuicServerPart> parts[2];
  std::unique_ptr<QuicClientPart> client;
  std::unique_ptr<QuicWatcher> watcher;
  std::string heard, why;
  bool has_moved = false;
  runtime::posix::PosixWorld world({.cores = 2});
  auto open = [&](CoreIndex index, const runtime::Endpoint& at) {
    parts[index] = std::make_unique<QuicServerPart>(*cores[index], group, QuicOptions{}, Duration::seconds(10));
    parts[index]->endpoint.set_context(serves);
    const Result<runtime::Endpoint> opened = parts[index]->endpoint.open(at);
    EXPECT_TRUE(opened.ok()) << (opened.ok() ? "" : opened.error().detail);
    return opened.ok() ? opened->port : uint16_t{0};
  };
  const Status status = world.run(
      [&](runtime::Core& core) {
        cores[core.index()] = &core;
        if (core.index() != 0) return;
        core.post([&] {
          const uint16_t port = open(0, {"127.0.0.1", 0});
          cores[0]->send(1, [&, port] {
            open(1, {"127.0.0.1", port});
            cores[1]->send(0, [&, port] {
              client = std::make_unique<QuicClientPart>(*cores[0], Duration::seconds(10), QuicOptions{}, "127.0.0.1");
              client->dial({{127, 0, 0, 1}, port, false}, asks, text);
              watcher = std::make_unique<QuicWatcher>(*cores[0], *client, world);
            });
          });
        });
      },
      [&](runtime::Core& core) {
        if (core.index() == 0) {
          has_moved = watcher->has_moved;
          why = client->why;
          if (client->talk) {
            heard = client->talk->heard;
            why += client->talk->why;
          }
          watcher.reset();
          client.reset();
        }
        parts[core.index()].reset();
      });
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(why, "");
  EXPECT_GE(heard.size(), text.size());
  EXPECT_TRUE(heard.starts_with(text));
  EXPECT_TRUE(has_moved);
}

}  // namespace
}  // namespace robustmq::net
