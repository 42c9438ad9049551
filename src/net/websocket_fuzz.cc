// WebSocket on any bytes, whole and in pieces: the opening and the frames behind it. Both ways give the same; a payload is never
// longer than what came, and a closed or failed reader gives nothing more.
#include <string>

#include "base/check.h"
#include "net/http_machine.h"
#include "net/websocket.h"

namespace robustmq::net {
namespace {

std::string frames_of(ByteSpan bytes, size_t piece) {
  WebSocketReader reader(1 << 16);
  std::string seen, payload;
  for (size_t at = 0; at < bytes.size(); at += piece) {
    const ByteSpan part = bytes.subspan(at, std::min(piece, bytes.size() - at));
    std::string copy(as_text(part));
    const bool was_reading = reader.state() == WebSocketReader::State::reading;
    const size_t given = reader.decode({reinterpret_cast<uint8_t*>(copy.data()), copy.size()});
    ROBUSTMQ_CHECK(given <= part.size(), "more payload than bytes");
    ROBUSTMQ_CHECK(was_reading || given == 0, "read behind the end");
    payload.append(copy, 0, given);
  }
  std::string ping;
  if (reader.take_ping(&ping)) seen += "ping " + ping;
  ROBUSTMQ_CHECK(ping.size() <= kWebSocketControlMax, "a long ping");
  if (reader.state() == WebSocketReader::State::closed) seen += "closed " + reader.close_payload();
  if (reader.state() == WebSocketReader::State::failed) seen += "failed " + std::string(reader.why());
  ROBUSTMQ_CHECK(reader.close_payload().size() <= kWebSocketControlMax, "a long control frame is kept");
  return seen + payload;
}

}  // namespace
}  // namespace robustmq::net

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace robustmq;
  using namespace robustmq::net;
  if (size == 0) return 0;
  const ByteSpan bytes(data + 1, size - 1);
  if (data[0] % 4 == 0) {
    HttpRequestMachine machine({.header_bytes_max = 4096, .body_bytes_max = 0});
    machine.feed(bytes);
    if (machine.state() == HttpRequestMachine::State::complete) {
      const WebSocketAnswer answer = answer_websocket(machine.take(), {});
      ROBUSTMQ_CHECK(answer.response.starts_with(answer.is_open ? "HTTP/1.1 101" : "HTTP/1.1 4"), "an answer of another kind");
    }
    return 0;
  }
  ROBUSTMQ_CHECK(frames_of(bytes, bytes.size() + 1) == frames_of(bytes, 1 + data[0] % 16), "a cut changes what is read");
  return 0;
}
