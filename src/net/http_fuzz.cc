// The HTTP machines on any bytes, whole and in pieces: both ways give the same requests.
#include <string>

#include "base/check.h"
#include "net/http_machine.h"

namespace robustmq::net {
namespace {

std::string requests_of(ByteSpan bytes, size_t piece) {
  HttpRequestMachine machine({.header_bytes_max = 4096, .body_bytes_max = 4096});
  std::string seen;
  for (size_t at = 0; at < bytes.size(); at += piece) {
    ByteSpan part = bytes.subspan(at, std::min(piece, bytes.size() - at));
    while (!part.empty()) {
      part = part.subspan(machine.feed(part));
      if (machine.state() == HttpRequestMachine::State::refused) {
        return seen + "refused " + encode_response(machine.refusal(), false, false).substr(0, 12);
      }
      if (machine.state() != HttpRequestMachine::State::complete) {
        ROBUSTMQ_CHECK(part.empty(), "a reading machine left bytes");
        continue;
      }
      HttpRequest request = machine.take();
      seen += request.method + " " + request.path + " " + request.parameter("a") + "{" + request.body + "}";
      for (const HttpHeader& header : request.headers) seen += header.name + "=" + header.value + ";";
      seen += "\n";
    }
  }
  return seen;
}

}  // namespace
}  // namespace robustmq::net

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace robustmq;
  using namespace robustmq::net;
  if (size == 0) return 0;
  ByteSpan bytes(data + 1, size - 1);
  std::string whole = requests_of(bytes, bytes.size() + 1);
  ROBUSTMQ_CHECK(whole == requests_of(bytes, 1 + data[0] % 16), "a cut changes what is read");
  HttpResponseMachine response({.header_bytes_max = 4096, .body_bytes_max = 4096}, data[0] % 2 == 0);
  response.feed(bytes);
  response.finish();
  return 0;
}
