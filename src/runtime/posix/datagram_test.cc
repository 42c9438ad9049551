// UDP in the real world, on loopback.
#include "runtime/datagram.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>

#include "runtime/posix/posix_rig.h"

namespace robustmq::runtime::posix {
namespace {

// Keeps what comes and tells when there is enough.
class Mailbox final : public DatagramEvents {
 public:
  Mailbox(Core& core, const Endpoint& at, DatagramOptions options = {}) {
    Result<std::unique_ptr<DatagramSocket>> opened = datagrams_of(core.net()).open_datagrams(at, std::move(options));
    EXPECT_TRUE(opened.ok()) << (opened.ok() ? "" : opened.error().detail);
    if (opened.ok()) socket = opened.take();
    if (socket) socket->start(*this);
  }
  DatagramPath path_to(const Mailbox& other) const {
    DatagramPath path;
    path.peer.ip = {127, 0, 0, 1};
    path.peer.port = other.socket->local().port;
    return path;
  }
  std::unique_ptr<DatagramSocket> socket;
  std::vector<std::string> got;
  std::vector<DatagramPath> paths;
  std::vector<uint8_t> marks;
  std::function<void()> on_more;

 private:
  void on_datagram(const DatagramPath& path, std::span<uint8_t> bytes, uint8_t ecn) override {
    got.emplace_back(as_text(bytes));
    paths.push_back(path);
    marks.push_back(ecn);
    if (on_more) on_more();
  }
  void on_writable() override {}
};

template <class Body>
void with_two(const std::string& host, Body body) {
  PosixWorld world({.cores = 1});
  std::unique_ptr<Mailbox> one, other;
  Status status = world.run(
      [&](Core& core) {
        one = std::make_unique<Mailbox>(core, Endpoint{host, 0});
        other = std::make_unique<Mailbox>(core, Endpoint{host, 0});
        body(world, *one, *other);
      },
      [&](Core&) {
        one.reset();
        other.reset();
      });
  ASSERT_TRUE(status.ok());
}

TEST(PosixDatagram, BringsSegmentsWithTheirMarkAndBothAddresses) {
  for (const char* host : {"127.0.0.1", "0.0.0.0"}) {
    std::vector<std::string> got;
    DatagramPath path;
    uint8_t mark = 0;
    uint16_t sender = 0, receiver = 0;
    with_two(host, [&](PosixWorld& world, Mailbox& from, Mailbox& to) {
      sender = from.socket->local().port;
      receiver = to.socket->local().port;
      to.on_more = [&] {
        if (to.got.size() < 4) return;
        got = to.got;
        path = to.paths[0];
        mark = to.marks[0];
        world.stop();
      };
      std::string bytes = std::string(1000, 'a') + std::string(1000, 'b') + std::string(1000, 'c') + "d";
      DatagramPath way = from.path_to(to);
      way.local.ip = {127, 0, 0, 1};
      EXPECT_EQ(from.socket->send(way, as_bytes(bytes), 1000, 2), bytes.size());
    });
    EXPECT_EQ(got, (std::vector<std::string>{std::string(1000, 'a'), std::string(1000, 'b'), std::string(1000, 'c'), "d"}))
        << host;
    EXPECT_EQ(path.peer.to_endpoint().to_string(), "127.0.0.1:" + std::to_string(sender));
    EXPECT_EQ(path.local.to_endpoint().to_string(), "127.0.0.1:" + std::to_string(receiver));
    EXPECT_EQ(mark, 2);
  }
}

TEST(PosixDatagram, DropsAndCountsWhatIsTooLarge) {
  size_t cut = 0;
  std::vector<std::string> got;
  PosixWorld world({.cores = 1});
  std::unique_ptr<Mailbox> from, to;
  Status status = world.run(
      [&](Core& core) {
        DatagramOptions options;
        options.on_cut = [&](size_t) { ++cut; };
        from = std::make_unique<Mailbox>(core, Endpoint{"127.0.0.1", 0});
        to = std::make_unique<Mailbox>(core, Endpoint{"127.0.0.1", 0}, std::move(options));
        to->on_more = [&] {
          got = to->got;
          world.stop();
        };
        const std::string large(DatagramSocket::kDatagramBytesMax + 1, 'x');
        from->socket->send(from->path_to(*to), as_bytes(large), large.size(), 0);
        from->socket->send(from->path_to(*to), as_bytes("small"), 5, 0);
      },
      [&](Core&) {
        from.reset();
        to.reset();
      });
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(cut, 1u);
  EXPECT_EQ(got, std::vector<std::string>{"small"});
}

TEST(PosixDatagram, RefusesAPortThatAnotherProcessHas) {
  const int taken = ::socket(AF_INET, SOCK_DGRAM, 0);
  int on = 1;
  setsockopt(taken, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  ASSERT_EQ(bind(taken, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(getsockname(taken, reinterpret_cast<sockaddr*>(&address), &size), 0);
  Code code = Code::ok;
  PosixWorld world({.cores = 1});
  Status status = world.run([&](Core& core) {
    DatagramOptions options;
    options.shares = true;
    auto opened = datagrams_of(core.net()).open_datagrams({"127.0.0.1", ntohs(address.sin_port)}, std::move(options));
    if (!opened.ok()) code = opened.error().code;
    world.stop();
  });
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(code, Code::already_exists);
  close(taken);
}

TEST(PosixDatagram, AddressesAreWrittenAsTheirStandardSays) {
  IpPort v6;
  v6.is_v6 = true;
  v6.port = 14567;
  EXPECT_EQ(v6.to_endpoint().to_string(), "[::]:14567");
  v6.ip[15] = 1;
  EXPECT_EQ(v6.to_endpoint().to_string(), "[::1]:14567");
  v6.ip = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9};
  EXPECT_EQ(v6.to_endpoint().to_string(), "[2001:db8:0:1::9]:14567");
  EXPECT_EQ((IpPort{{192, 0, 2, 7}, 1, false}).to_endpoint().to_string(), "192.0.2.7:1");
}

}  // namespace
}  // namespace robustmq::runtime::posix
