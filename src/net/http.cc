// HttpServer and HttpCall (see the header). Pure.
#include "net/http.h"

#include <algorithm>

#include "runtime/hosts.h"

namespace robustmq::net {

// One client link of the server: reads a request, waits for its answer, sends it, reads the next.
class HttpConnection final : public std::enable_shared_from_this<HttpConnection>, private StreamEvents {
 public:
  HttpConnection(HttpServer& server, uint64_t id, std::unique_ptr<runtime::Socket> socket)
      : server_(server),
        id_(id),
        machine_(server.limits_.request),
        stream_(server.streams_, std::move(socket)),
        timer_(&HttpConnection::on_timer, this) {}

  void start() {
    arm(server_.limits_.request_time);
    stream_.start(*this);
  }

  void answer(const HttpResponse& response) {
    if (!is_answering_ || stream_.is_closing()) return;
    is_answering_ = false;
    send(response, keep_alive_);
    if (keep_alive_) wait_for_request();
  }

 private:
  size_t on_bytes(const Bytes& bytes) override {
    auto hold = shared_from_this();
    size_t used = 0;
    while (used < bytes.size() && is_reading()) {
      bool had_begun = machine_.has_begun();
      used += machine_.feed(bytes.span().subspan(used));
      if (!had_begun) arm(server_.limits_.request_time);
      if (refuse_by_head()) return bytes.size();
      if (machine_.take_wants_continue()) stream_.send(Bytes::copy_of("HTTP/1.1 100 Continue\r\n\r\n"));
      if (machine_.state() == HttpRequestMachine::State::refused) {
        ++server_.counters_.refused_requests_total;
        send(machine_.refusal(), false);
        return bytes.size();
      }
      if (machine_.state() == HttpRequestMachine::State::complete) ask();
    }
    if (!is_reading()) stream_.pause_reading();
    return used;
  }

  bool is_reading() const { return !is_answering_ && !stream_.is_closing() && !stream_.is_congested(); }

  bool refuse_by_head() {
    HttpRequest head;
    if (!machine_.take_head(&head) || !server_.refuse_) return false;
    head.peer_host = stream_.peer().host;
    const std::optional<HttpResponse> refusal = server_.refuse_(head);
    if (!refusal) return false;
    ++server_.counters_.requests_total;
    answers_head_ = head.method == "HEAD";
    send(*refusal, false);
    return true;
  }

  void wait_for_request() {
    if (stream_.is_congested()) {
      unsent_mark_ = stream_.unsent_bytes();
      return arm(server_.limits_.taking_time);
    }
    arm(server_.limits_.idle_time);
    // Inside on_bytes that call goes on by itself.
    stream_.resume_reading();
  }

  void ask() {
    ++server_.counters_.requests_total;
    HttpRequest request = machine_.take();
    request.peer_host = stream_.peer().host;
    keep_alive_ = request.keep_alive;
    answers_head_ = request.method == "HEAD";
    is_answering_ = true;
    timer_.cancel();
    server_.routes_(std::move(request), HttpAnswer(weak_from_this()));
  }

  void send(const HttpResponse& response, bool keep_alive) {
    stream_.send(Bytes::copy_of(encode_response(response, keep_alive, answers_head_)));
    if (!keep_alive) {
      timer_.cancel();
      stream_.close(server_.limits_.close_time);
    }
  }

  void on_drained() override {
    if (!is_answering_) wait_for_request();
  }
  void on_closed(StreamEnd) override { server_.connections_.erase(id_); }

  void arm(Duration span) {
    runtime::Core& core = server_.streams_.core();
    core.arm(timer_, core.now() + span);
  }
  static void on_timer(void* self) {
    auto* connection = static_cast<HttpConnection*>(self);
    if (connection->stream_.is_congested()) return connection->look_at_taking();
    ++connection->server_.counters_.timed_out_total;
    if (connection->machine_.has_begun()) {
      connection->send({.status = 408, .content_type = "text/plain", .body = "the request took too long\n"}, false);
    } else {
      connection->stream_.close_now();
    }
  }

  void look_at_taking() {
    if (stream_.unsent_bytes() < unsent_mark_) return wait_for_request();
    ++server_.counters_.stalled_total;
    stream_.close_now();
  }

  HttpServer& server_;
  uint64_t id_;
  uint64_t unsent_mark_ = 0;  // while answers wait over the drain mark: at the last look
  HttpRequestMachine machine_;
  ByteStream stream_;
  runtime::Timer timer_;
  bool is_answering_ = false;
  bool keep_alive_ = true;
  bool answers_head_ = false;
};

HttpAnswer::~HttpAnswer() {
  if (auto connection = connection_.lock()) {
    connection->answer({.status = 500, .content_type = "text/plain", .body = "no answer\n"});
  }
}

void HttpAnswer::operator()(HttpResponse response) {
  auto connection = connection_.lock();
  connection_.reset();
  if (connection) connection->answer(response);
}

HttpServer::HttpServer(Streams& streams, HttpServerLimits limits, HttpRoutes routes)
    : streams_(streams), limits_(limits), routes_(std::move(routes)) {}

HttpServer::~HttpServer() = default;

Status HttpServer::listen(const runtime::Endpoint& at, bool no_delay) {
  runtime::ListenOptions options;
  options.no_delay = no_delay;
  options.on_out_of_descriptors = [this] { ++counters_.out_of_descriptors_total; };
  auto listener = streams_.core().net().listen(at, std::move(options),
                                               [this](std::unique_ptr<runtime::Socket> socket) { accept(std::move(socket)); });
  if (!listener.ok()) return listener.error();
  listener_ = listener.take();
  return {};
}

void HttpServer::accept(std::unique_ptr<runtime::Socket> socket) {
  const size_t kept =
      runtime::is_this_host(socket->peer().host) ? 0 : std::min(limits_.own_connections_min, limits_.connections_max / 2);
  if (connections_.size() >= limits_.connections_max - kept) {
    ++counters_.refused_connections_total;
    return;
  }
  uint64_t id = ++last_id_;
  auto connection = std::make_shared<HttpConnection>(*this, id, std::move(socket));
  connections_.emplace(id, connection);
  connection->start();
}

// ---- client ----

HttpCall::HttpCall(Streams& streams, const runtime::Endpoint& to, HttpRequest request, Duration limit,
                   Callback<void(Result<HttpResponse>)> done, HttpLimits limits)
    : streams_(streams),
      host_(to.to_string()),
      request_(std::move(request)),
      done_(std::move(done)),
      machine_(limits, request_.method == "HEAD"),
      timer_([](void* self) { static_cast<HttpCall*>(self)->finish(Error{Code::timed_out, "no answer in time"}); }, this),
      self_(std::make_shared<HttpCall*>(this)) {
  request_.keep_alive = false;
  streams_.core().arm(timer_, streams_.core().now() + limit);
  streams_.core().net().connect(to, [weak = std::weak_ptr(self_)](Result<std::unique_ptr<runtime::Socket>> socket) {
    auto self = weak.lock();
    if (!self) return;
    if (socket.ok())
      (*self)->begin(socket.take());
    else
      (*self)->finish(socket.error());
  });
}

HttpCall::~HttpCall() = default;

void HttpCall::begin(std::unique_ptr<runtime::Socket> socket) {
  if (!done_) return;
  stream_ = std::make_unique<ByteStream>(streams_, std::move(socket));
  stream_->start(*this);
  stream_->send(Bytes::copy_of(encode_request(request_, host_)));
}

size_t HttpCall::on_bytes(const Bytes& bytes) {
  size_t used = machine_.feed(bytes);
  if (machine_.state() == HttpResponseMachine::State::complete)
    finish(machine_.take());
  else if (machine_.state() == HttpResponseMachine::State::failed)
    finish(Error{Code::malformed, "the answer of " + host_ + " is not HTTP"});
  return used;
}

void HttpCall::on_closed(StreamEnd) {
  machine_.finish();
  if (machine_.state() == HttpResponseMachine::State::complete)
    finish(machine_.take());
  else
    finish(Error{Code::connection_lost, host_ + " closed the connection before its answer was complete"});
}

void HttpCall::finish(Result<HttpResponse> result) {
  if (!done_) return;
  timer_.cancel();
  if (stream_) stream_->close_now();
  // In a turn of its own, so that the owner may destroy the call in it.
  streams_.core().post([weak = std::weak_ptr(self_), result = std::move(result)]() mutable {
    auto self = weak.lock();
    if (!self || !(*self)->done_) return;
    auto done = std::move((*self)->done_);
    done(std::move(result));
  });
}

}  // namespace robustmq::net
