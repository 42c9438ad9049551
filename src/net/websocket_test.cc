// WebSocket: the opening, the frame reader, and the filter over simulated sockets, as RFC 6455 has them.
#include "net/websocket.h"

#include <gtest/gtest.h>

#include <random>

#include "net/stream.h"
#include "net/websocket_socket.h"
#include "runtime/sim/net.h"
#include "runtime/sim/world.h"

namespace robustmq::net {
namespace {

using ReaderState = WebSocketReader::State;

// A frame as a client sends it.
std::string client_frame(uint8_t first, std::string_view payload, uint32_t mask = 0x37fa213d) {
  std::string frame(1, static_cast<char>(first));
  if (payload.size() < 126) {
    frame += static_cast<char>(0x80 | payload.size());
  } else {
    const int length_bytes = payload.size() < 65536 ? 2 : 8;
    frame += static_cast<char>(0x80 | (length_bytes == 2 ? 126 : 127));
    for (int i = length_bytes - 1; i >= 0; --i) frame += static_cast<char>(payload.size() >> (8 * i));
  }
  for (int i = 3; i >= 0; --i) frame += static_cast<char>(mask >> (8 * i));
  for (size_t i = 0; i < payload.size(); ++i)
    frame += static_cast<char>(payload[i] ^ static_cast<char>(mask >> (24 - 8 * (i % 4))));
  return frame;
}
std::string binary(std::string_view payload) { return client_frame(0x82, payload); }

struct Read {
  WebSocketReader reader{1 << 20};
  std::string payload;
  explicit Read(std::string bytes, size_t piece = SIZE_MAX) {
    for (size_t at = 0; at < bytes.size(); at += piece) {
      const size_t size = std::min(piece, bytes.size() - at);
      const size_t given = reader.decode({reinterpret_cast<uint8_t*>(bytes.data()) + at, size});
      payload.append(bytes, at, given);
      if (bytes.size() - at <= piece) break;
    }
  }
};

HttpRequest opening() {
  HttpRequest request;
  request.path = "/mqtt";
  request.headers = {{"host", "here"},
                     {"upgrade", "websocket"},
                     {"connection", "keep-alive, Upgrade"},
                     {"sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="},
                     {"sec-websocket-protocol", "mqtt"},
                     {"sec-websocket-version", "13"}};
  return request;
}
HttpRequest with(std::string_view name, std::string value) {
  HttpRequest request = opening();
  for (HttpHeader& header : request.headers) {
    if (header.name == name) header.value = value;
  }
  return request;
}

TEST(WebSocketOpening, AnswersTheExampleOfTheSpecification) {
  EXPECT_EQ(websocket_accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  const WebSocketAnswer answer = answer_websocket(opening(), {});
  EXPECT_TRUE(answer.is_open);
  EXPECT_TRUE(answer.response.starts_with("HTTP/1.1 101 Switching Protocols\r\n"));
  EXPECT_NE(answer.response.find("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), std::string::npos);
  EXPECT_NE(answer.response.find("Sec-WebSocket-Protocol: mqtt\r\n"), std::string::npos);
}

TEST(WebSocketOpening, TakesTheFirstProtocolOfTheClientThatIsOffered) {
  EXPECT_NE(answer_websocket(with("sec-websocket-protocol", "chat, mqttv3.1 ,mqtt"), {}).response.find("Protocol: mqttv3.1\r\n"),
            std::string::npos);
}

TEST(WebSocketOpening, RefusesWhatIsNoOpening) {
  auto status = [](const HttpRequest& request) {
    const WebSocketAnswer answer = answer_websocket(request, {});
    EXPECT_FALSE(answer.is_open);
    EXPECT_FALSE(answer.why.empty());
    return answer.response.substr(9, 3);
  };
  EXPECT_EQ(status(with("sec-websocket-protocol", "chat")), "400");
  EXPECT_EQ(status(with("sec-websocket-protocol", "")), "400");
  EXPECT_EQ(status(with("sec-websocket-key", "c2hvcnQ=")), "400");
  EXPECT_EQ(status(with("sec-websocket-version", "8")), "426");
  EXPECT_EQ(status(with("upgrade", "h2c")), "426");
  EXPECT_EQ(status(with("connection", "close")), "426");
  HttpRequest elsewhere = opening();
  elsewhere.path = "/";
  EXPECT_EQ(status(elsewhere), "404");
  HttpRequest post = opening();
  post.method = "POST";
  EXPECT_EQ(status(post), "405");
}

TEST(WebSocketOpening, AsksAPageWhereItComesFrom) {
  auto opens = [](std::string host, std::string origin, std::vector<std::string> allowed = {}, std::string peer = "127.0.0.1") {
    HttpRequest request = with("host", std::move(host));
    request.peer_host = std::move(peer);
    request.headers.push_back({"origin", std::move(origin)});
    WebSocketOffer offer;
    offer.origins = std::move(allowed);
    const WebSocketAnswer answer = answer_websocket(request, offer);
    EXPECT_TRUE(answer.is_open || answer.response.starts_with("HTTP/1.1 403 ")) << answer.response;
    return answer.is_open;
  };
  EXPECT_FALSE(opens("127.0.0.1:8083", "https://evil.example"));
  EXPECT_FALSE(opens("127.0.0.1:8083", "null"));
  EXPECT_FALSE(opens("127.0.0.1:8083", "http://127.0.0.1:8084")) << "another port";
  EXPECT_FALSE(opens("127.0.0.1:8083", "http://127.0.0.1")) << "another port";
  EXPECT_FALSE(opens("evil.example:8083", "http://evil.example:8083")) << "a name that was made to lead here";
  EXPECT_TRUE(opens("broker.example:8084", "https://broker.example:8084")) << "which took a certificate";
  EXPECT_TRUE(opens("broker.example:8083", "http://broker.example:8083", {}, "192.0.2.1"));
  EXPECT_FALSE(opens("", "http://")) << "nothing is nobody's";
  EXPECT_TRUE(opens("127.0.0.1:8083", "http://127.0.0.1:8083"));
  EXPECT_TRUE(opens("LocalHost:8083", "http://localhost:8083"));
  EXPECT_TRUE(opens("[::1]:80", "http://[::1]"));
  EXPECT_TRUE(opens("192.0.2.1", "https://192.0.2.1:443"));
  EXPECT_TRUE(opens("127.0.0.1:8083", "https://Shop.example", {"https://a.example", "https://shop.example"}));
  EXPECT_FALSE(opens("127.0.0.1:8083", "https://shop.example.evil.example", {"https://shop.example"}));
  EXPECT_TRUE(opens("127.0.0.1:8083", "https://evil.example", {"*"}));
  EXPECT_EQ(answer_websocket(opening(), {}).is_open, true) << "no browser";
}

TEST(WebSocketReader, GivesPayloadsAsOneStreamWhateverTheCutsAndFragments) {
  const std::string large(70'000, 'x');
  std::string bytes = binary("one") + client_frame(0x02, "tw") + client_frame(0x89, "ping") + client_frame(0x00, "") +
                      client_frame(0x80, "o") + binary("") + binary(large) + binary(std::string(200, 'y'));
  const std::string expected = "onetwo" + large + std::string(200, 'y');
  for (size_t piece : {size_t{1}, size_t{2}, size_t{3}, size_t{7}, size_t{1000}, SIZE_MAX}) {
    Read read(bytes, piece);
    EXPECT_EQ(read.payload, expected) << piece;
    EXPECT_EQ(read.reader.state(), ReaderState::reading);
    std::string ping;
    EXPECT_TRUE(read.reader.take_ping(&ping));
    EXPECT_EQ(ping, "ping");
    EXPECT_FALSE(read.reader.take_ping(&ping));
  }
}

TEST(WebSocketReader, FailsWhatTheSpecificationForbids) {
  auto status = [](std::string bytes) {
    Read read(std::move(bytes));
    EXPECT_EQ(read.reader.state(), ReaderState::failed);
    return static_cast<int>(read.reader.status());
  };
  EXPECT_EQ(status(std::string("\x82\x03"
                               "abc",
                               5)),
            1002)
      << "not masked, 5.1";
  EXPECT_EQ(status(client_frame(0x81, "text")), 1003) << "MQTT-6.0.0-1";
  EXPECT_EQ(status(client_frame(0xc2, "")), 1002) << "a reserved bit, 5.2";
  EXPECT_EQ(status(client_frame(0x83, "")), 1002) << "a reserved opcode, 5.2";
  EXPECT_EQ(status(client_frame(0x8b, "")), 1002) << "a reserved control opcode, 5.2";
  EXPECT_EQ(status(client_frame(0x80, "")), 1002) << "a continuation of nothing, 5.4";
  EXPECT_EQ(status(client_frame(0x02, "a") + binary("b")), 1002) << "a message inside another, 5.4";
  EXPECT_EQ(status(client_frame(0x09, "")), 1002) << "a control frame in fragments, 5.5";
  EXPECT_EQ(status(client_frame(0x89, std::string(126, 'p'))), 1002) << "a long control frame, 5.5";
  EXPECT_EQ(status(client_frame(0x88, "x")), 1002) << "half a status, 5.5.1";
  EXPECT_EQ(status(client_frame(0x88, std::string("\x03\xed", 2))), 1002) << "1005 is never sent, 7.4.1";
  EXPECT_EQ(status(client_frame(0x88, std::string("\x03\xe8\xff", 3))), 1002) << "the reason is UTF-8, 5.5.1";
  EXPECT_EQ(status(std::string("\x82\xfe\x00\x05"
                               "maskabcde",
                               13)),
            1002)
      << "a length that is not the shortest, 5.2";
  EXPECT_EQ(status(std::string("\x82\xff\x80\0\0\0\0\0\0\0mask", 14)), 1002) << "a length with a sign, 5.2";
  EXPECT_EQ(status(std::string("\x82\xff\0\0\0\0\0\x20\0\0mask", 14)), 1009) << "over the limit";
}

TEST(WebSocketReader, ReadsNothingBehindAClose) {
  Read read(binary("a") +
            client_frame(0x88, std::string("\x03\xe8"
                                           "bye",
                                           5)) +
            binary("b"));
  EXPECT_EQ(read.reader.state(), ReaderState::closed);
  EXPECT_EQ(read.payload, "a");
  EXPECT_EQ(read.reader.close_payload(),
            "\x03\xe8"
            "bye");
}

TEST(WebSocketReader, IsSmall) { EXPECT_LE(sizeof(WebSocketReader), 144u); }

// What a client gets: payloads of binary frames, and control frames by opcode.
struct Frames {
  std::string payload;
  std::vector<std::pair<int, std::string>> controls;
  size_t count = 0;
  explicit Frames(std::string_view bytes) {
    while (bytes.size() >= 2) {
      const int opcode = bytes[0] & 0x0f;
      EXPECT_EQ(bytes[0] & 0xf0, 0x80);
      size_t size = static_cast<uint8_t>(bytes[1]), header = 2;
      EXPECT_LT(size, 128u) << "a server does not mask";
      if (size > 125) {
        const size_t length_bytes = size == 126 ? 2 : 8;
        header += length_bytes;
        size = 0;
        for (size_t i = 0; i < length_bytes; ++i) size = size << 8 | static_cast<uint8_t>(bytes[2 + i]);
      }
      if (bytes.size() < header + size) break;
      ++count;
      if (opcode == 2)
        payload += bytes.substr(header, size);
      else
        controls.emplace_back(opcode, bytes.substr(header, size));
      bytes.remove_prefix(header + size);
    }
  }
};

// A server stream over the filter; the client is a plain stream that speaks frames itself.
struct Echo final : StreamEvents {
  size_t on_bytes(const Bytes& bytes) override {
    heard += bytes.text();
    if (echoes) stream->send(Bytes::copy_of(bytes.span()));
    return bytes.size();
  }
  void on_drained() override {}
  void on_closed(StreamEnd why) override {
    ended = true;
    end = why;
    failure = stream->failure();
  }
  std::unique_ptr<ByteStream> stream;
  std::string heard, failure;
  bool echoes = false, ended = false;
  StreamEnd end{};
};

struct WebSocketPair {
  explicit WebSocketPair(uint64_t seed) : world({.seed = seed}) {
    auto& server_node = world.add_node({.name = "server", .cores = 2});
    auto& client_node = world.add_node({.name = "client"});
    at_server = std::make_unique<Streams>(server_node.core(0));
    at_other = std::make_unique<Streams>(server_node.core(1));
    at_client = std::make_unique<Streams>(client_node.core(0));
    listener = server_node.core(0)
                   .net()
                   .listen({"server", 1}, {},
                           [this, &server_node](std::unique_ptr<runtime::Socket> socket) {
                             server.stream = std::make_unique<ByteStream>(
                                 *at_server, std::make_unique<WebSocketSocket>(server_node.core(0), std::move(socket), 1 << 20));
                             server.stream->start(server);
                           })
                   .take();
    client_node.core(0).net().connect({"server", 1}, [this](Result<std::unique_ptr<runtime::Socket>> socket) {
      client.stream = std::make_unique<ByteStream>(*at_client, socket.take());
      client.stream->start(client);
    });
    EXPECT_TRUE(until([this] { return client.stream && server.stream; }));
  }
  template <class Done>
  bool until(Done done) {
    return world.run_until([&done] { return done(); }, Duration::seconds(600));
  }
  runtime::sim::SimWorld world;
  std::unique_ptr<Streams> at_server, at_other, at_client;
  std::unique_ptr<runtime::Listener> listener;
  Echo server, client;
};

TEST(WebSocketSocket, CarriesBytesBothWaysAcrossAMoveWhateverTheCuts) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 10; ++round) {
    WebSocketPair pair(random());
    pair.server.echoes = true;
    std::string sent;
    for (int i = 0; i < 60; ++i) {
      std::string part(random() % (i % 10 == 0 ? 100'000 : 300), static_cast<char>('a' + i % 26));
      sent += part;
      pair.client.stream->send(Bytes::copy_of(binary(part)));
      if (i % 7 == 0) pair.client.stream->send(Bytes::copy_of(client_frame(0x89, "p" + std::to_string(i))));
      if (i % 5 == 0) pair.world.run_for(Duration::micros(static_cast<int64_t>(random() % 2000)));
      if (i == 30) {
        DetachedStream detached = pair.server.stream->detach();
        pair.server.stream = std::make_unique<ByteStream>(*pair.at_other, std::move(detached));
        pair.server.stream->start(pair.server);
      }
    }
    ASSERT_TRUE(pair.until([&] { return Frames(pair.client.heard).payload.size() == sent.size(); })) << round;
    EXPECT_EQ(pair.server.heard, sent);
    const Frames frames(pair.client.heard);
    EXPECT_EQ(frames.payload, sent);
    ASSERT_FALSE(frames.controls.empty());
    for (const auto& [opcode, payload] : frames.controls) EXPECT_EQ(opcode, 10);
    EXPECT_EQ(frames.controls.back().second, "p56");
  }
}

// A peer that sends as much as is asked for, of frames without payload.
class EmptyFrames final : public runtime::Socket {
 public:
  explicit EmptyFrames(int& reads) : reads_(reads) {}
  void start(runtime::SocketEvents&) override {}
  runtime::IoResult read(std::span<uint8_t> into) override {
    static const std::string frame = binary("");
    if (++reads_ == 1000) return {};
    for (uint8_t& byte : into) byte = static_cast<uint8_t>(frame[at_++ % frame.size()]);
    return {runtime::IoResult::Kind::moved, into.size()};
  }
  runtime::IoResult write(std::span<const Piece>, size_t) override { return {}; }
  void want_read(bool) override {}
  void want_write(bool) override {}
  void close_write() override {}
  runtime::Endpoint peer() const override { return {}; }
  runtime::Endpoint local() const override { return {}; }
  std::unique_ptr<runtime::DetachedSocket> detach() override { return nullptr; }

 private:
  int& reads_;
  size_t at_ = 0;
};

TEST(WebSocketSocket, LetsOthersGoOnWhileNothingButEmptyFramesCome) {
  runtime::sim::SimWorld world({.seed = 4});
  runtime::Core& core = world.add_node({.name = "server"}).core(0);
  Streams streams(core);
  int reads = 0;
  Echo server;
  server.stream = std::make_unique<ByteStream>(
      streams, std::make_unique<WebSocketSocket>(core, std::make_unique<EmptyFrames>(reads), 1 << 20));
  server.stream->start(server);
  uint8_t into[600];
  WebSocketSocket alone(core, std::make_unique<EmptyFrames>(reads), 1 << 20);
  EXPECT_EQ(alone.read(into).kind, runtime::IoResult::Kind::would_block);
  EXPECT_LE(reads, 2);
}

TEST(WebSocketSocket, AnswersACloseAndEnds) {
  WebSocketPair pair(1);
  pair.client.stream->send(Bytes::copy_of(binary("x") + client_frame(0x88, std::string("\x03\xe8", 2))));
  ASSERT_TRUE(pair.until([&] { return pair.server.ended; }));
  EXPECT_EQ(pair.server.end, StreamEnd::peer_closed);
  EXPECT_EQ(pair.server.heard, "x");
  pair.server.stream.reset();
  ASSERT_TRUE(pair.until([&] { return pair.client.ended; }));
  const Frames frames(pair.client.heard);
  ASSERT_EQ(frames.controls.size(), 1u);
  EXPECT_EQ(frames.controls[0], (std::pair<int, std::string>{8, "\x03\xe8"}));
}

TEST(WebSocketSocket, SaysGoodbyeBehindWhatWasSent) {
  WebSocketPair pair(2);
  pair.server.stream->send(Bytes::copy_of(std::string(300'000, 'z')));
  pair.server.stream->close(Duration::seconds(60));
  ASSERT_TRUE(pair.until([&] { return pair.client.ended; }));
  const Frames frames(pair.client.heard);
  EXPECT_EQ(frames.payload.size(), 300'000u);
  ASSERT_EQ(frames.controls.size(), 1u);
  EXPECT_EQ(frames.controls[0].first, 8);
}

TEST(WebSocketSocket, TellsWhyItFailed) {
  WebSocketPair pair(3);
  pair.client.stream->send(Bytes::copy_of(binary("x") + client_frame(0x81, "text")));
  ASSERT_TRUE(pair.until([&] { return pair.server.ended; }));
  EXPECT_EQ(pair.server.end, StreamEnd::failed);
  EXPECT_EQ(pair.server.failure, "a text message");
  pair.server.stream.reset();
  ASSERT_TRUE(pair.until([&] { return pair.client.ended; }));
  const Frames frames(pair.client.heard);
  ASSERT_EQ(frames.controls.size(), 1u);
  EXPECT_EQ(frames.controls[0].second, "\x03\xeb");
}

}  // namespace
}  // namespace robustmq::net
