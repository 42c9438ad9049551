// What comes unasked to who follows. Pure.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/batch.h"
#include "base/bytes.h"

namespace robustmq::broker {

// Memory that all receivers of one record share within a turn: the first that needs a spelling of the record makes it, the
// others reuse it. `kind` is the protocol's own number for the spelling; 0 is empty.
struct DeliveryScratch {
  struct Entry {
    uint32_t kind = 0;
    Bytes bytes;
  };
  Entry entries[4];
};

struct Delivery {
  std::string_view topic;    // MQTT's spelling; lives as long as `owner`'s use in this call only: copy to keep
  const RecordView& record;  // views into `owner`
  const Bytes& owner;        // share it to keep the record past the call
  uint8_t qos_max = 0;       // of the matching subscriptions, the highest granted
  bool retain_as_published = false;
  bool is_retained = false;  // a retained message sent to a new follower
  // Not 0: owed to a durable session, and sent under this packet id until Settle says `done`. 0: of no further account.
  uint16_t lease = 0;
  bool is_again = false;     // the lease was handed out before, on an earlier connection
  bool is_received = false;  // the client owns it already (Settle::received came): only the release is sent
  const std::vector<uint32_t>* subscription_ids = nullptr;  // of all matching subscriptions; nullptr: none
  DeliveryScratch& scratch;
};

enum class Notice : uint8_t {
  taken_over,  // another connection opened this session
  stopping,    // the node stops
  topic_deleted,
  over_limit,  // more waits for its session than that may keep
  ended,       // by who looks after the node: a ban, or by hand
};

}  // namespace robustmq::broker
