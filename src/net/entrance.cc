// The way in (see the header). Pure.
#include "net/entrance.h"

#include "net/proxy_header.h"
#include "net/websocket_socket.h"

namespace robustmq::net {

namespace {

using runtime::IoResult;

constexpr size_t kReadBytes = 2 << 10;
constexpr HttpLimits kHttpLimits{.header_bytes_max = 4 << 10, .body_bytes_max = 0};

}  // namespace

std::string_view entrance_step_name(EntranceStep step) {
  switch (step) {
    case EntranceStep::proxy:
      return "proxy_protocol";
    case EntranceStep::tls:
      return "tls";
    case EntranceStep::websocket:
      return "websocket";
    case EntranceStep::none:
      return "none";
  }
  return "?";
}

Entrance::Entrance(runtime::Core& core, const EntranceRules& rules, std::unique_ptr<runtime::Socket> socket,
                   EntranceEvents& events)
    : core_(core), rules_(rules), events_(events), socket_(std::move(socket)) {}

Entrance::~Entrance() = default;

void Entrance::start() {
  core_.arm(timer_, core_.now() + rules_.time_max);
  skip_steps();
  socket_->start(*this);
}

void Entrance::on_time(void* self) { static_cast<Entrance*>(self)->refuse("it took too long"); }

void Entrance::skip_steps() {
  while (step_ != EntranceStep::none && !is_asked(step_)) step_ = static_cast<EntranceStep>(static_cast<uint8_t>(step_) + 1);
}

bool Entrance::is_asked(EntranceStep step) const {
  switch (step) {
    case EntranceStep::proxy:
      return rules_.has_proxy_header;
    case EntranceStep::tls:
      return rules_.tls != nullptr;
    case EntranceStep::websocket:
      return rules_.is_websocket;
    case EntranceStep::none:
      return false;
  }
  return false;
}

void Entrance::go_on() {
  while (step_ != EntranceStep::none) {
    if (take_step() != Progress::done) return;
    step_ = static_cast<EntranceStep>(static_cast<uint8_t>(step_) + 1);
    skip_steps();
  }
  timer_.cancel();
  events_.on_entered(*this, std::move(socket_));
}

Entrance::Progress Entrance::take_step() {
  switch (step_) {
    case EntranceStep::proxy:
      return read_proxy_header();
    case EntranceStep::tls:
      return shake_hands();
    case EntranceStep::websocket:
      return read_websocket();
    case EntranceStep::none:
      return Progress::done;
  }
  return Progress::done;
}

Entrance::Progress Entrance::refuse(std::string_view why) {
  timer_.cancel();
  std::string peer = socket_->peer().to_string();  // a closed socket does not know it any more
  socket_->close_write();
  events_.on_refused(*this, step_, why, std::move(peer));
  return Progress::over;
}

Entrance::Progress Entrance::refuse_broken() {
  const std::string failure(socket_->failure());
  return refuse(failure.empty() ? "the connection broke" : std::string_view(failure));
}

// Never past the end of the header: what follows is for the next step.
Entrance::Progress Entrance::read_proxy_header() {
  for (;;) {
    ProxyHeader header = parse_proxy_header(as_bytes(header_));
    if (header.state == ProxyHeader::State::bad) return refuse(header.why);
    if (header.state == ProxyHeader::State::done) {
      header_ = {};
      if (!header.peer.host.empty()) socket_ = std::make_unique<ProxiedSocket>(std::move(socket_), std::move(header.peer));
      return Progress::done;
    }
    uint8_t into[kReadBytes];
    const IoResult result = socket_->read({into, std::min(header.wanted, sizeof into)});
    if (result.kind == IoResult::Kind::would_block) return Progress::waits;
    if (result.kind == IoResult::Kind::end) return refuse("the client left");
    if (result.kind == IoResult::Kind::failed) return refuse_broken();
    header_.append(reinterpret_cast<const char*>(into), result.bytes);
  }
}

Entrance::Progress Entrance::shake_hands() {
  if (!tls_) {
    auto tls = std::make_unique<TlsSocket>(core_, std::move(socket_), *rules_.tls);
    tls_ = tls.get();
    socket_ = std::move(tls);
    socket_->start(*this);
  }
  switch (tls_->shake_hands()) {
    case TlsSocket::Handshake::waits:
      return Progress::waits;
    case TlsSocket::Handshake::failed:
      return refuse_broken();
    case TlsSocket::Handshake::done:
      break;
  }
  was_resumed_ = tls_->was_resumed();
  if (rules_.identity == TlsIdentity::none) return Progress::done;
  common_name_ = tls_->common_name();
  // What the client says of itself is not to count in its place.
  if (common_name_.empty()) return refuse("the client has no certificate with a common name, which is to tell who it is");
  return Progress::done;
}

Entrance::Progress Entrance::read_websocket() {
  if (!http_) http_ = std::make_unique<HttpRequestMachine>(kHttpLimits);
  uint8_t into[kReadBytes];
  while (http_->state() == HttpRequestMachine::State::reading) {
    const IoResult result = socket_->read(into);
    if (result.kind == IoResult::Kind::would_block) return Progress::waits;
    if (result.kind == IoResult::Kind::end) return refuse("the client left");
    if (result.kind == IoResult::Kind::failed) return refuse_broken();
    const size_t used = http_->feed({into, result.bytes});
    // RFC 6455 4.1: a client waits for the answer.
    if (http_->state() == HttpRequestMachine::State::complete && used < result.bytes)
      return refuse("bytes behind the opening request");
  }
  WebSocketAnswer answer;
  if (http_->state() == HttpRequestMachine::State::refused) {
    answer.response = encode_response(http_->refusal(), false, false);
    answer.why = "the opening request is not HTTP, or too large";
  } else {
    HttpRequest request = http_->take();
    request.peer_host = socket_->peer().host;
    answer = answer_websocket(request, rules_.websocket);
  }
  const Piece piece = Piece::of(Bytes::unowned(as_bytes(answer.response)));
  const IoResult written = socket_->write({&piece, 1}, 0);
  if (!answer.is_open) return refuse(answer.why);
  // The first bytes on this connection find room.
  if (written.kind != IoResult::Kind::moved || written.bytes < answer.response.size()) return refuse("the connection broke");
  http_.reset();
  socket_ = std::make_unique<WebSocketSocket>(core_, std::move(socket_), rules_.websocket_frame_bytes_max);
  return Progress::done;
}

}  // namespace robustmq::net
