// The PROXY header on any bytes: it is asked for as the entrance does, never past its end, within its limits; whatever it names
// is an address, and more bytes than it asks for change nothing.
#include "base/check.h"
#include "net/proxy_header.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace robustmq;
  using namespace robustmq::net;
  const ByteSpan bytes(data, size);
  size_t have = 0;
  for (;;) {
    const ProxyHeader header = parse_proxy_header(bytes.first(have));
    if (header.state == ProxyHeader::State::done) {
      ROBUSTMQ_CHECK(header.peer.host.size() <= 46, "an address too long");
      return 0;
    }
    if (header.state == ProxyHeader::State::bad) {
      ROBUSTMQ_CHECK(!header.why.empty(), "refused without a reason");
      return 0;
    }
    ROBUSTMQ_CHECK(header.wanted > 0 && have + header.wanted <= kProxyHeaderMax, "it wants nothing, or too much");
    if (have + header.wanted > bytes.size()) return 0;
    have += header.wanted;
  }
}
