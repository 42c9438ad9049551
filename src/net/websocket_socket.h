// WebSocketSocket: the frames of WebSocket over another socket, once the opening is done: a filter (net/filter.h). Pure (the
// socket below is the world's).
//
// Read bytes are decoded where they lie. What is written leaves as frames around the very pieces that were given, stored ranges
// included: each frame is as long as what waits when it begins. Pings are answered, the close frame too; a client that breaks the
// protocol gets a close frame with a status, and the read fails.
#pragma once

#include <memory>
#include <string>

#include "net/filter.h"
#include "net/websocket.h"

namespace robustmq::net {

// About 300 bytes, no buffers.
class WebSocketSocket final : public FilterSocket {
 public:
  WebSocketSocket(runtime::Core& core, std::unique_ptr<runtime::Socket> below, uint64_t frame_bytes_max);

  runtime::IoResult read(std::span<uint8_t> into) override;
  runtime::IoResult write(std::span<const Piece> pieces, size_t skip_bytes_of_first) override;
  std::unique_ptr<runtime::DetachedSocket> detach() override;
  std::string_view failure() const override;

 private:
  class Detached;
  // What goes with the socket to another core.
  struct State {
    explicit State(uint64_t frame_bytes_max) : reader(frame_bytes_max) {}
    WebSocketReader reader;
    std::string own;          // control frames that wait
    uint64_t frame_left = 0;  // payload of the frame that was begun
    uint8_t header[kWebSocketHeaderMax] = {};
    uint8_t header_at = 0;
    uint8_t header_end = 0;
    bool said_goodbye = false;
  };
  WebSocketSocket(runtime::Core& core, std::unique_ptr<runtime::Socket> below, State state);

  bool write_own() override;
  void say_goodbye() override;
  void answer_controls();
  runtime::IoResult write_frame(std::span<const Piece> pieces, size_t skip);
  bool is_inside_frame() const { return state_.frame_left > 0 || state_.header_at < state_.header_end; }

  State state_;
};

}  // namespace robustmq::net
