// HTTP: the machines on transcripts under any cut; server and client on the simulated network.
#include "net/http.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "runtime/sim/net.h"
#include "runtime/sim/world.h"

namespace robustmq::net {
namespace {

uint64_t fresh_seed() {
  uint64_t seed = std::random_device{}();
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

// What a machine makes of `text`, fed in pieces of at most `piece` bytes: one line a request.
std::string requests_of(std::string_view text, size_t piece, HttpLimits limits = {}) {
  HttpRequestMachine machine(limits);
  std::string seen;
  while (!text.empty()) {
    std::string_view part = text.substr(0, piece);
    size_t used = 0;
    while (used < part.size()) {
      used += machine.feed(as_bytes(part.substr(used)));
      if (machine.state() == HttpRequestMachine::State::refused)
        return seen + "refused " + std::to_string(machine.refusal().status);
      if (machine.state() != HttpRequestMachine::State::complete) continue;
      HttpRequest request = machine.take();
      seen += request.method + " " + request.path + "?" + request.query + " [";
      for (std::string& segment : request.segments) seen += segment + "|";
      seen += "] {" + request.body + "} ";
      for (HttpHeader& header : request.headers) seen += header.name + "=" + header.value + ";";
      seen += request.keep_alive ? " keep\n" : " close\n";
    }
    text.remove_prefix(part.size());
  }
  return seen;
}

TEST(HttpRequestMachine, ReadsRequestsAlikeUnderEveryCut) {
  std::string text =
      "GET /health/live HTTP/1.1\r\nHost: x\r\nEmpty:\r\n\r\n"
      "POST /topics/a%2Fb?x=1&y=%20z HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
      "PUT http://x:1/t HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;q=1\r\ndefg\r\n0\r\nTrailer: t\r\n\r\n"
      "DELETE / HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade, close\r\n\r\n";
  std::string expected =
      "GET /health/live? [health|live|] {} host=x;empty=; keep\n"
      "POST /topics/a%2Fb?x=1&y=%20z [topics|a/b|] {hello} host=x;content-length=5; keep\n"
      "PUT /t? [t|] {abcdefg} transfer-encoding=chunked; keep\n"
      "DELETE /? [] {} upgrade=h2c;connection=Upgrade, close; close\n";
  for (size_t piece = 1; piece <= text.size(); ++piece) ASSERT_EQ(requests_of(text, piece), expected) << piece;
}

TEST(HttpRequestMachine, RefusesWhatItDoesNotTake) {
  HttpLimits small{.header_bytes_max = 200, .body_bytes_max = 10};
  struct Case {
    std::string text;
    int status;
  };
  std::string many_headers = "GET / HTTP/1.1\r\n";
  for (int i = 0; i < 20; ++i) many_headers += "a:\r\n";
  for (const Case& one : {Case{"\x10\x0c\x00\x04MQTT", 400}, Case{"GET / HTTP/1.1\r\nContent-Length: 11\r\n\r\n", 413},
                          Case{"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n", 413},
                          Case{"GET /" + std::string(300, 'x') + " HTTP/1.1\r\n\r\n", 431},
                          Case{"GET / HTTP/1.1\r\na: " + std::string(300, 'x') + "\r\n\r\n", 431}, Case{many_headers, 431},
                          Case{"GET /%zz HTTP/1.1\r\n\r\n", 400}, Case{"CONNECT x:1 HTTP/1.1\r\n\r\n", 400},
                          Case{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400},
                          Case{"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
                          Case{"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
                          Case{"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\nContent-Length: 5\r\n\r\n", 400}}) {
    for (size_t piece : {size_t{1}, size_t{7}, one.text.size()}) {
      EXPECT_EQ(requests_of(one.text, piece, small), "refused " + std::to_string(one.status)) << one.text.substr(0, 60);
    }
  }
}

// Found by the fuzzer: the size of a first chunk was taken for a content length, but only when it came with the headers.
TEST(HttpRequestMachine, BoundsChunkedBodiesByWhatArrived) {
  std::string text = "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\nabc";
  EXPECT_EQ(requests_of(text, text.size(), {.body_bytes_max = 10}), "");
  EXPECT_EQ(requests_of(text, 1, {.body_bytes_max = 10}), "");
}

TEST(HttpRequestMachine, SaysWhenTheClientWaitsToContinue) {
  HttpRequestMachine machine({});
  machine.feed(as_bytes("POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"));
  EXPECT_TRUE(machine.take_wants_continue());
  EXPECT_FALSE(machine.take_wants_continue());
  machine.feed(as_bytes("ok"));
  EXPECT_EQ(machine.state(), HttpRequestMachine::State::complete);
}

TEST(HttpRequestMachine, TellsTheHeadersBeforeTheBody) {
  HttpRequestMachine machine({});
  HttpRequest head;
  machine.feed(as_bytes("POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Le"));
  EXPECT_FALSE(machine.take_head(&head));
  machine.feed(as_bytes("ngth: 2\r\n\r\no"));
  ASSERT_TRUE(machine.take_head(&head));
  EXPECT_EQ(head.method + head.path + head.query, "POST/ab=c");
  EXPECT_EQ(head.header("host"), "x");
  EXPECT_FALSE(machine.take_head(&head)) << "once";
  machine.feed(as_bytes("k"));
  EXPECT_EQ(machine.take().body, "ok");
  machine.feed(as_bytes("GET / HTTP/1.1\r\n\r\n"));
  EXPECT_FALSE(machine.take_head(&head)) << "it is whole";
}

TEST(HttpRequest, FindsAndDecodesParameters) {
  HttpRequest request;
  request.query = "name=a%2Fb+c&flag&name=second&bad=%z";
  EXPECT_EQ(request.parameter("name"), "a/b c");
  EXPECT_EQ(request.parameter("flag", "x"), "");
  EXPECT_EQ(request.parameter("bad", "fallback"), "fallback");
  EXPECT_EQ(request.parameter("none", "fallback"), "fallback");
  std::string decoded;
  EXPECT_TRUE(percent_decode(percent_encode("a/b c%\xff~"), false, &decoded));
  EXPECT_EQ(decoded, "a/b c%\xff~");
}

TEST(HttpResponse, AHeaderValueCannotBeginALine) {
  HttpResponse response;
  response.headers.push_back({"x-name", "a\r\nset-cookie: b"});
  std::string text = encode_response(response, true, false);
  EXPECT_EQ(text.find("\nset-cookie"), std::string::npos);
}

TEST(HttpResponseMachine, ReadsResponsesWithAndWithoutLength) {
  for (size_t piece : {1u, 3u, 1000u}) {
    for (std::string text :
         {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nnope",
          "HTTP/1.0 404 Not Found\r\nContent-Type: text/plain\r\n\r\nnope"}) {
      HttpResponseMachine machine({}, false);
      for (size_t at = 0; at < text.size(); at += piece) machine.feed(as_bytes(std::string_view(text).substr(at, piece)));
      machine.finish();
      ASSERT_EQ(machine.state(), HttpResponseMachine::State::complete);
      HttpResponse response = machine.take();
      EXPECT_EQ(response.status, 404);
      EXPECT_EQ(response.body, "nope");
      EXPECT_EQ(response.content_type, "text/plain");
    }
  }
  HttpResponseMachine cut({}, false);
  cut.feed(as_bytes("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nno"));
  cut.finish();
  EXPECT_EQ(cut.state(), HttpResponseMachine::State::failed);
}

// ---- server and client ----

using runtime::sim::SimWorld;

struct RawClient final : StreamEvents {
  size_t on_bytes(const Bytes& bytes) override {
    heard += bytes.text();
    return bytes.size();
  }
  void on_drained() override {}
  void on_closed(StreamEnd) override { ended = true; }
  std::unique_ptr<ByteStream> stream;
  std::string heard;
  bool ended = false;
};

struct Site {
  explicit Site(HttpServerLimits limits = {}, uint64_t seed = fresh_seed())
      : world({.seed = seed}),
        server_core(world.add_node({.name = "server"}).core(0)),
        client_core(world.add_node({.name = "client"}).core(0)),
        at_server(server_core),
        at_client(client_core),
        server(at_server, limits,
               [this](HttpRequest request, HttpAnswer answer) { route(std::move(request), std::move(answer)); }) {
    EXPECT_TRUE(server.listen({"0.0.0.0", 58080}).ok());
  }
  void route(HttpRequest request, HttpAnswer answer) {
    if (request.path == "/later") {
      waiting.push_back(std::move(answer));
    } else if (request.path == "/big") {
      answer({.body = std::string(100'000, 'b')});
    } else if (request.path != "/forgotten") {
      answer({.body = request.method + request.path + request.body});
    }
  }
  std::unique_ptr<HttpCall> call(HttpRequest request, Duration limit = Duration::seconds(30)) {
    result.reset();
    return std::make_unique<HttpCall>(at_client, runtime::Endpoint{"server", 58080}, std::move(request), limit,
                                      [this](Result<HttpResponse> answer) { result.emplace(std::move(answer)); });
  }
  Result<HttpResponse>& ask(HttpRequest request, Duration limit = Duration::seconds(30)) {
    auto running = call(std::move(request), limit);
    EXPECT_TRUE(world.run_until([this] { return result.has_value(); }, Duration::seconds(600)));
    return *result;
  }
  std::unique_ptr<RawClient> dial(std::string text, bool is_deaf = false) {
    auto client = std::make_unique<RawClient>();
    client_core.net().connect({"server", 58080},
                              [this, to = client.get(), text, is_deaf](Result<std::unique_ptr<runtime::Socket>> socket) {
                                to->stream = std::make_unique<ByteStream>(at_client, socket.take());
                                to->stream->start(*to);
                                if (is_deaf) to->stream->pause_reading();
                                to->stream->send(Bytes::copy_of(text));
                              });
    world.run_for(Duration::millis(50));
    return client;
  }
  SimWorld world;
  runtime::Core& server_core;
  runtime::Core& client_core;
  Streams at_server, at_client;
  std::vector<HttpAnswer> waiting;
  HttpServer server;
  std::optional<Result<HttpResponse>> result;
};

TEST(HttpServer, AnswersACall) {
  Site site;
  auto& answer = site.ask({.method = "POST", .path = "/topics", .body = std::string(300'000, 'x')});
  ASSERT_TRUE(answer.ok()) << answer.error().detail;
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->body, "POST/topics" + std::string(300'000, 'x'));
  EXPECT_EQ(answer->content_type, "application/json");
  auto& head = site.ask({.method = "HEAD", .path = "/topics"});
  ASSERT_TRUE(head.ok());
  EXPECT_EQ(head->body, "");
  site.world.run_for(Duration::seconds(10));
  EXPECT_EQ(site.server.connection_count(), 0u);
}

TEST(HttpServer, AnswersLaterAndInOrder) {
  Site site;
  auto client = site.dial("GET /later HTTP/1.1\r\n\r\nGET /now HTTP/1.1\r\n\r\n");
  EXPECT_EQ(client->heard, "");
  ASSERT_EQ(site.waiting.size(), 1u);
  site.waiting[0]({.body = "first"});
  site.world.run_for(Duration::millis(50));
  EXPECT_NE(client->heard.find("first"), std::string::npos);
  EXPECT_GT(client->heard.find("GET/now"), client->heard.find("first"));
  EXPECT_EQ(site.server.connection_count(), 1u);
}

TEST(HttpServer, AForgottenAnswerIsAnError) {
  Site site;
  EXPECT_EQ(site.ask({.path = "/forgotten"})->status, 500);
}

TEST(HttpServer, AnAnswerMayOutliveItsConnection) {
  Site site;
  auto client = site.dial("GET /later HTTP/1.1\r\n\r\n");
  client->stream->close_now();
  site.world.run_for(Duration::millis(50));
  ASSERT_EQ(site.waiting.size(), 1u);
  site.waiting[0]({.body = "too late"});
  site.world.run_for(Duration::seconds(20));
  EXPECT_EQ(site.server.connection_count(), 0u);
}

TEST(HttpServer, RefusesMalformedRequests) {
  Site site;
  auto client = site.dial("nonsense\r\n\r\n");
  EXPECT_TRUE(client->heard.starts_with("HTTP/1.1 400 Bad Request\r\n")) << client->heard;
  EXPECT_TRUE(client->ended);
  EXPECT_EQ(site.server.counters().refused_requests_total, 1u);
}

TEST(HttpServer, HalfARequestTimesOut) {
  Site site({.request_time = Duration::seconds(1)});
  auto client = site.dial("GET / HT");
  auto silent = site.dial("");
  site.world.run_for(Duration::seconds(2));
  EXPECT_TRUE(client->heard.starts_with("HTTP/1.1 408 ")) << client->heard;
  EXPECT_TRUE(client->ended);
  EXPECT_TRUE(silent->ended);
}

TEST(HttpServer, BoundsItsConnections) {
  Site site({.connections_max = 2, .own_connections_min = 0});
  auto one = site.dial(""), two = site.dial(""), three = site.dial("");
  EXPECT_FALSE(one->ended);
  EXPECT_FALSE(two->ended);
  EXPECT_TRUE(three->ended);
  EXPECT_EQ(site.server.counters().refused_connections_total, 1u);
}

TEST(HttpServer, KeepsPlacesForItsOwnHost) {
  Site site({.connections_max = 3, .own_connections_min = 1});
  auto one = site.dial(""), two = site.dial(""), three = site.dial("");
  EXPECT_FALSE(two->ended);
  EXPECT_TRUE(three->ended) << "the last place is not for other hosts";
}

TEST(HttpServer, ReadsOnlyAsFarAsItsAnswersAreTaken) {
  Site site;
  std::string requests;
  for (int i = 0; i < 100; ++i) requests += "GET /big HTTP/1.1\r\n\r\n";
  auto client = site.dial(requests, true);
  site.world.run_for(Duration::seconds(5));
  EXPECT_LE(site.server.counters().requests_total, 10u) << "what the pipe holds, and what the drain mark allows";
  client->stream->resume_reading();
  site.world.run_for(Duration::seconds(5));
  EXPECT_EQ(site.server.counters().requests_total, 100u);
  EXPECT_GT(client->heard.size(), 10'000'000u);
  EXPECT_FALSE(client->ended);
}

TEST(HttpServer, EndsWhoDoesNotTakeItsAnswers) {
  Site site({.taking_time = Duration::seconds(2)});
  std::string requests;
  for (int i = 0; i < 100; ++i) requests += "GET /big HTTP/1.1\r\n\r\n";
  auto deaf = site.dial(requests, true);
  auto slow = site.dial(requests, true);
  for (int i = 0; i < 20; ++i) {
    slow->stream->resume_reading();
    site.world.run_for(Duration::millis(1));
    slow->stream->pause_reading();
    site.world.run_for(Duration::seconds(1));
  }
  EXPECT_EQ(site.server.counters().stalled_total, 1u);
  EXPECT_EQ(site.server.connection_count(), 1u) << "who takes something stays";
}

TEST(HttpServer, RefusesByTheHeadersWithoutTheBody) {
  Site site;
  site.server.set_refuse([](const HttpRequest& head) -> std::optional<HttpResponse> {
    if (head.path != "/closed" || head.peer_host.empty()) return std::nullopt;
    return HttpResponse{.status = 403, .body = "no"};
  });
  auto closed = site.dial("POST /closed HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n");
  EXPECT_TRUE(closed->heard.starts_with("HTTP/1.1 403 ")) << closed->heard;
  EXPECT_TRUE(closed->ended);
  auto open = site.dial("POST /open HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n");
  EXPECT_TRUE(open->heard.starts_with("HTTP/1.1 100 ")) << open->heard;
}

TEST(HttpCall, FailsWithAReason) {
  Site site;
  EXPECT_EQ(site.ask({.path = "/later"}, Duration::seconds(2)).code(), Code::timed_out);
  site.server.stop_listening();
  EXPECT_EQ(site.ask({}).code(), Code::connection_lost);
}

TEST(HttpCall, MayBeCancelled) {
  Site site;
  auto running = site.call({.path = "/now"});
  running.reset();
  site.world.run_for(Duration::seconds(1));
  EXPECT_FALSE(site.result.has_value());
}

}  // namespace
}  // namespace robustmq::net
