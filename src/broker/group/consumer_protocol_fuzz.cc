// The embedded protocol of classic consumers: whatever stands in a JoinGroup or SyncGroup is read or refused, and what was read
// as an assignment comes back from its own encoding.
#include "base/check.h"
#include "broker/group/consumer_protocol.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace robustmq;
  const ByteSpan input(data, size);
  const auto subscription = broker::read_subscription(input);
  if (subscription && !subscription->is_whole) ROBUSTMQ_CHECK(subscription->owned.empty(), "half a list was taken");
  if (const auto assignment = broker::read_assignment(input)) {
    const Bytes written = broker::write_assignment(*assignment);
    ROBUSTMQ_CHECK(broker::read_assignment(written) == assignment, "an assignment came back as another");
  }
  return 0;
}
