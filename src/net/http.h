// A small HTTP/1.1 server on byte streams for admin and health, and a client for one request. Pure (the network behind it is the
// world's). No TLS, no pipelining ahead of answers, bodies in memory.
#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "base/callback.h"
#include "base/result.h"
#include "net/http_machine.h"
#include "net/stream.h"
#include "runtime/net.h"
#include "runtime/timer.h"

namespace robustmq::net {

struct HttpServerLimits {
  HttpLimits request;
  size_t connections_max = 256;                   // further ones are closed at once
  Duration request_time = Duration::seconds(10);  // for a request to arrive whole, from the opening or the first byte
  Duration idle_time = Duration::seconds(60);     // between requests
  Duration close_time = Duration::seconds(5);     // for the last answer to leave
};

struct HttpServerCounters {
  uint64_t requests_total = 0;
  uint64_t refused_requests_total = 0;     // malformed or over a limit
  uint64_t refused_connections_total = 0;  // over connections_max
  uint64_t out_of_descriptors_total = 0;
  uint64_t timed_out_total = 0;
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

// One a core. Owned by who answers.
class HttpServer {
 public:
  HttpServer(Streams& streams, HttpServerLimits limits, HttpRoutes routes);
  ~HttpServer();  // closes at once

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
