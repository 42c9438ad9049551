// WebSocket (RFC 6455), the server's side: the opening handshake over an HTTP request, and the frames both ways. Pure.
//
// MQTT over WebSocket (MQTT5 6): binary messages alone; their boundaries mean nothing, so the reader gives out the payloads as
// one stream of bytes, unmasked in place: nothing is gathered, and a frame costs no memory whatever its length. Of control
// frames at most 125 bytes are kept.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "net/http_machine.h"

namespace robustmq::net {

struct WebSocketOffer {
  std::string path = "/mqtt";
  std::vector<std::string> protocols = {"mqtt", "mqttv3.1"};  // the client names one of them at least
  // Pages of other sites whose scripts may connect, as browsers name them (RFC 6454: "https://shop.example"); "*": all.
  std::vector<std::string> origins;
};

// What to do with an opening request.
struct WebSocketAnswer {
  bool is_open = false;
  std::string response;  // to be sent, whether it opened or not
  std::string why;       // of a refusal, in words
};

// RFC 6455 4.2. The first protocol in the client's order that is offered is taken. A browser says which page makes it connect
// (Origin, RFC 6455 10.2): one that the offer does not name is refused (403), or any page could use the broker in the name of who
// looks at it. What names the very host and port that it connects to passes (clients that are no browsers say so too). From this
// host that counts for addresses, localhost and https alone: the owner of a page can make its plain name lead here, past whatever
// keeps others out. Who sends no Origin is no browser.
WebSocketAnswer answer_websocket(const HttpRequest& request, const WebSocketOffer& offer);
// Sec-WebSocket-Accept of a Sec-WebSocket-Key.
std::string websocket_accept(std::string_view key);

enum class WebSocketOpcode : uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

// RFC 6455 7.4.1.
enum class WebSocketStatus : uint16_t { normal = 1000, protocol_error = 1002, unsupported = 1003, too_big = 1009 };

constexpr size_t kWebSocketHeaderMax = 10;    // of a frame to a client
constexpr size_t kWebSocketControlMax = 125;  // payload of a control frame

// Writes the header of a whole unmasked frame; returns its size.
size_t write_websocket_header(uint8_t* into, WebSocketOpcode opcode, uint64_t payload_bytes);
// A whole frame. The caller ensures payload.size() <= kWebSocketControlMax.
void append_websocket_control(std::string* out, WebSocketOpcode opcode, std::string_view payload);
void append_websocket_close(std::string* out, WebSocketStatus status);

// Reads the frames of a client. About 100 bytes, and those of a control frame on its way.
class WebSocketReader {
 public:
  enum class State : uint8_t { reading, closed, failed };

  // A frame that says it is longer is refused (too_big).
  explicit WebSocketReader(uint64_t frame_bytes_max) : frame_bytes_max_(frame_bytes_max) {}

  // Decodes in place: the payloads of `bytes` lie at its front afterwards; returns how many bytes that are. Once closed or failed
  // nothing is read any more.
  size_t decode(std::span<uint8_t> bytes);

  State state() const { return state_; }
  // A ping to be answered (the latest; RFC 6455 5.5.3 allows to pass over earlier ones). True once a ping.
  bool take_ping(std::string* payload);
  // Of a closed reader: the close frame's payload (two bytes of status at least, or empty), to be sent back.
  const std::string& close_payload() const { return control_; }
  // Of a failed one.
  WebSocketStatus status() const { return status_; }
  std::string_view why() const { return why_; }

 private:
  size_t header_bytes() const;
  void begin_frame();
  void begin_payload();
  void end_frame();
  void end_close();
  void fail(WebSocketStatus status, std::string_view why);
  WebSocketOpcode opcode() const { return static_cast<WebSocketOpcode>(header_[0] & 0x0f); }
  bool is_control() const { return (header_[0] & 0x08) != 0; }

  uint64_t frame_bytes_max_;
  uint64_t payload_left_ = 0;
  std::string_view why_;
  std::string control_;  // payload of the control frame on its way, then of the close frame
  std::string ping_;
  WebSocketStatus status_ = WebSocketStatus::normal;
  State state_ = State::reading;
  uint8_t header_[14] = {};
  uint8_t header_used_ = 0;
  uint8_t mask_[4] = {};
  uint8_t mask_at_ = 0;
  bool in_payload_ = false;
  bool in_message_ = false;  // between the fragments of one
  bool has_ping_ = false;
};

}  // namespace robustmq::net
