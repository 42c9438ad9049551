// The way in (see the header). Pure.
#include "net/entrance.h"

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
      return false;
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
    case EntranceStep::websocket:
      return read_websocket();
    case EntranceStep::proxy:
    case EntranceStep::tls:
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

Entrance::Progress Entrance::read_websocket() {
  if (!http_) http_ = std::make_unique<HttpRequestMachine>(kHttpLimits);
  uint8_t into[kReadBytes];
  while (http_->state() == HttpRequestMachine::State::reading) {
    const IoResult result = socket_->read(into);
    if (result.kind == IoResult::Kind::would_block) return Progress::waits;
    if (result.kind == IoResult::Kind::end) return refuse("the client left");
    if (result.kind == IoResult::Kind::failed)
      return refuse(socket_->failure().empty() ? "the connection broke" : socket_->failure());
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
    answer = answer_websocket(http_->take(), rules_.websocket);
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
