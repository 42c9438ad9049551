// A small HTTP/1.1 server on byte streams for admin and health, and a client for one request. Pure (the network behind it is the
// world's). No TLS, no pipelining ahead of answers, bodies in memory. Who does not take its answers is read no further.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>

#include "base/callback.h"
#include "base/describe.h"
#include "base/result.h"
#include "net/http_machine.h"
#include "net/stream.h"
#include "runtime/net.h"
#include "runtime/timer.h"

namespace robustmq::net {

struct HttpServerLimits {
  HttpLimits request;
  size_t connections_max = 256;                   // further ones are closed at once
  size_t own_connections_min = 32;                // of them, for this host's own: other hosts have the rest
  Duration request_time = Duration::seconds(10);  // for a request to arrive whole, from the opening or the first byte
  Duration idle_time = Duration::seconds(60);     // between requests
  Duration taking_time = Duration::seconds(30);   // without a byte taken of the answers that wait, over the streams' drain mark
  Duration close_time = Duration::seconds(5);     // for the last answer to leave
};

struct HttpServerCounters {
  uint64_t requests_total = 0;
  uint64_t refused_requests_total = 0;     // malformed or over a limit
  uint64_t refused_connections_total = 0;  // over connections_max, or what it leaves to other hosts
  uint64_t out_of_descriptors_total = 0;
  uint64_t timed_out_total = 0;
  uint64_t stalled_total = 0;  // ended because they did not take their answers

  template <class V>
  static void describe(V& v) {
    using C = HttpServerCounters;
    v.field("requests_total", &C::requests_total, {.doc = "Requests."});
    v.field("refused_requests_total", &C::refused_requests_total, {.doc = "Requests refused: no HTTP, or over a limit."});
    v.field("refused_connections_total", &C::refused_connections_total, {.doc = "Connections refused: there were too many."});
    v.field("out_of_descriptors_total", &C::out_of_descriptors_total,
            {.doc = "Connections refused because the process had no file descriptors left."});
    v.field("timed_out_total", &C::timed_out_total, {.doc = "Connections ended because no whole request came in time."});
    v.field("stalled_total", &C::stalled_total, {.doc = "Connections ended because they did not take their answers."});
  }
};

class HttpConnection;

// Answers one request, on the server's core, then or later; at most once. Dropped unanswered it answers 500. Outliving the
// connection or the server is fine: the answer goes nowhere.
class HttpAnswer {
 public:
  explicit HttpAnswer(std::weak_ptr<HttpConnection> connection) : connection_(std::move(connection)) {}
  HttpAnswer(HttpAnswer&&) noexcept = default;
  HttpAnswer& operator=(HttpAnswer&&) = delete;
  ~HttpAnswer();
  void operator()(HttpResponse response);

 private:
  std::weak_ptr<HttpConnection> connection_;
};

// What the server asks for each request.
using HttpRoutes = Callback<void(HttpRequest, HttpAnswer)>;
// Asked before a body is waited for, with the request without it: what to answer instead, after which the connection is closed.
// Not for a request that came whole.
using HttpRefuse = Callback<std::optional<HttpResponse>(const HttpRequest& head)>;

// One a core. Owned by who answers.
class HttpServer {
 public:
  HttpServer(Streams& streams, HttpServerLimits limits, HttpRoutes routes);
  ~HttpServer();  // closes at once

  void set_refuse(HttpRefuse refuse) { refuse_ = std::move(refuse); }
  Status listen(const runtime::Endpoint& at, bool no_delay = true);
  runtime::Endpoint local() const { return listener_ ? listener_->local() : runtime::Endpoint{}; }
  void stop_listening() { listener_.reset(); }
  size_t connection_count() const { return connections_.size(); }
  const HttpServerCounters& counters() const { return counters_; }

 private:
  friend class HttpConnection;
  void accept(std::unique_ptr<runtime::Socket> socket);

  Streams& streams_;
  HttpServerLimits limits_;
  HttpRoutes routes_;
  HttpRefuse refuse_;
  HttpServerCounters counters_;
  std::unique_ptr<runtime::Listener> listener_;
  std::map<uint64_t, std::shared_ptr<HttpConnection>> connections_;
  uint64_t last_id_ = 0;
};

// One request to one server. Destroying it before the answer cancels it.
class HttpCall final : private StreamEvents {
 public:
  // `done` comes once, never from inside the constructor; timed_out after `limit`, connection_lost when the server is not there
  // or leaves before its answer is complete, malformed when that is not HTTP.
  HttpCall(Streams& streams, const runtime::Endpoint& to, HttpRequest request, Duration limit,
           Callback<void(Result<HttpResponse>)> done, HttpLimits limits = {.body_bytes_max = 64 << 20});
  ~HttpCall();

 private:
  size_t on_bytes(const Bytes& bytes) override;
  void on_drained() override {}
  void on_closed(StreamEnd end) override;
  void begin(std::unique_ptr<runtime::Socket> socket);
  void finish(Result<HttpResponse> result);

  Streams& streams_;
  std::string host_;
  HttpRequest request_;
  Callback<void(Result<HttpResponse>)> done_;
  HttpResponseMachine machine_;
  runtime::Timer timer_;
  std::unique_ptr<ByteStream> stream_;
  std::shared_ptr<HttpCall*> self_;  // empties when this goes: for the connection attempt
};

}  // namespace robustmq::net
