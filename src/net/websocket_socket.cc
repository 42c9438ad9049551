// The filter of WebSocket (see the header). Pure.
#include "net/websocket_socket.h"

#include <algorithm>
#include <array>

namespace robustmq::net {

namespace {

using runtime::IoResult;

constexpr size_t kPiecesAtOnce = 15;      // of one frame
constexpr size_t kOwnBytesMax = 4 << 10;  // control frames that wait: over it a pong is left out (a later one stands for it)

}  // namespace

class WebSocketSocket::Detached final : public DetachedFilter {
 public:
  Detached(std::unique_ptr<runtime::DetachedSocket> below, State state) : below_(std::move(below)), state_(std::move(state)) {}
  std::unique_ptr<runtime::Socket> attach(runtime::Core& core) override {
    return std::unique_ptr<runtime::Socket>(new WebSocketSocket(core, adopt(core, std::move(below_)), std::move(state_)));
  }

 private:
  std::unique_ptr<runtime::DetachedSocket> below_;
  State state_;
};

WebSocketSocket::WebSocketSocket(runtime::Core& core, std::unique_ptr<runtime::Socket> below, uint64_t frame_bytes_max)
    : WebSocketSocket(core, std::move(below), State(frame_bytes_max)) {}

WebSocketSocket::WebSocketSocket(runtime::Core& core, std::unique_ptr<runtime::Socket> below, State state)
    : FilterSocket(core, std::move(below)), state_(std::move(state)) {
  if (state_.reader.state() != WebSocketReader::State::reading) read_again();
}

std::unique_ptr<runtime::DetachedSocket> WebSocketSocket::detach() {
  return std::make_unique<Detached>(detach_below(), std::move(state_));
}

std::string_view WebSocketSocket::failure() const {
  if (state_.reader.state() == WebSocketReader::State::failed) return state_.reader.why();
  return below().failure();
}

IoResult WebSocketSocket::read(std::span<uint8_t> into) {
  read_is_done();
  for (;;) {
    if (state_.reader.state() == WebSocketReader::State::closed) return {IoResult::Kind::end};
    if (state_.reader.state() == WebSocketReader::State::failed) return {IoResult::Kind::failed};
    const IoResult result = below().read(into);
    if (result.kind != IoResult::Kind::moved) return result;
    const size_t given = state_.reader.decode(into.first(result.bytes));
    answer_controls();
    if (given > 0) {
      if (state_.reader.state() != WebSocketReader::State::reading) read_again();
      return {IoResult::Kind::moved, given};
    }
    if (state_.reader.state() != WebSocketReader::State::reading) continue;
    // Frames without payload. Where they filled all the room more may wait, in a filter below too: in the next turn, so that a
    // client that sends nothing else does not keep this one going.
    if (result.bytes == into.size()) read_again();
    return {};
  }
}

void WebSocketSocket::answer_controls() {
  std::string ping;
  if (state_.reader.take_ping(&ping) && state_.own.size() < kOwnBytesMax && !state_.said_goodbye)
    append_websocket_control(&state_.own, WebSocketOpcode::pong, ping);
  if (state_.reader.state() != WebSocketReader::State::reading && !state_.said_goodbye) {
    state_.said_goodbye = true;
    // RFC 6455 5.5.1: a close frame is answered with its status.
    if (state_.reader.state() == WebSocketReader::State::closed)
      append_websocket_control(&state_.own, WebSocketOpcode::close, state_.reader.close_payload());
    else
      append_websocket_close(&state_.own, state_.reader.status());
  }
  if (!state_.own.empty() && !write_own()) below().want_write(true);
}

void WebSocketSocket::say_goodbye() {
  if (std::exchange(state_.said_goodbye, true)) return;
  append_websocket_close(&state_.own, WebSocketStatus::normal);
}

// Between frames alone; inside one its owner's next write comes first.
bool WebSocketSocket::write_own() {
  if (is_inside_frame() || state_.own.empty()) return true;
  const Piece piece = Piece::of(Bytes::unowned(as_bytes(state_.own)));
  const IoResult result = below().write({&piece, 1}, 0);
  if (result.kind == IoResult::Kind::failed) state_.own.clear();
  if (result.kind == IoResult::Kind::moved) state_.own.erase(0, result.bytes);
  if (!state_.own.empty()) return false;
  state_.own.shrink_to_fit();
  return true;
}

IoResult WebSocketSocket::write(std::span<const Piece> pieces, size_t skip) {
  size_t moved = 0;
  while (!pieces.empty()) {
    if (!is_inside_frame()) {
      if (!write_own()) break;
      if (state_.said_goodbye) {
        // RFC 6455 5.5.1: nothing follows a close frame. The peer has left, so its bytes are as good as sent.
        for (const Piece& piece : pieces) moved += piece.size;
        return {IoResult::Kind::moved, moved - skip};
      }
    }
    const IoResult result = write_frame(pieces, skip);
    if (result.kind == IoResult::Kind::failed) return {result.kind, moved};
    size_t left = result.bytes;
    moved += left;
    while (!pieces.empty() && pieces[0].size - skip <= left) {
      left -= pieces[0].size - skip;
      pieces = pieces.subspan(1);
      skip = 0;
    }
    skip += left;
    if (is_inside_frame() || result.kind != IoResult::Kind::moved) break;  // the socket is full
  }
  if (!is_inside_frame() && !write_own()) below().want_write(true);
  if (moved == 0) return {IoResult::Kind::would_block};
  return {IoResult::Kind::moved, moved};
}

// Begins a frame, or goes on with one. Returns the bytes of `pieces` that left.
IoResult WebSocketSocket::write_frame(std::span<const Piece> pieces, size_t skip) {
  pieces = pieces.first(std::min(pieces.size(), kPiecesAtOnce));
  if (!is_inside_frame()) {
    for (const Piece& piece : pieces) state_.frame_left += piece.size;
    state_.frame_left -= skip;
    if (state_.frame_left == 0) return {IoResult::Kind::moved, 0};
    state_.header_at = 0;
    state_.header_end = static_cast<uint8_t>(write_websocket_header(state_.header, WebSocketOpcode::binary, state_.frame_left));
  }
  std::array<Piece, kPiecesAtOnce + 1> framed;
  size_t count = 0;
  const size_t header_left = state_.header_end - state_.header_at;
  if (header_left > 0) framed[count++] = Piece::of(Bytes::unowned({state_.header + state_.header_at, header_left}));
  uint64_t room = state_.frame_left;
  for (const Piece& piece : pieces) {
    if (room == 0) break;
    Piece part = piece;
    if (skip > 0) {
      if (part.is_stored())
        part.stored.position += skip;
      else
        part.bytes = part.bytes.slice(skip);
      part.size -= skip;
      skip = 0;
    }
    if (part.size > room) {
      part.size = room;
      if (!part.is_stored()) part.bytes = part.bytes.slice(0, static_cast<size_t>(room));
    }
    room -= part.size;
    framed[count++] = std::move(part);
  }
  const IoResult result = below().write({framed.data(), count}, 0);
  if (result.kind != IoResult::Kind::moved) return result;
  const size_t of_header = std::min(header_left, result.bytes);
  state_.header_at = static_cast<uint8_t>(state_.header_at + of_header);
  state_.frame_left -= result.bytes - of_header;
  return {IoResult::Kind::moved, result.bytes - of_header};
}

}  // namespace robustmq::net
