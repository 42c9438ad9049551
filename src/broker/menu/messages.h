// The menu: messages by name, and those that are kept to be sent later. Views must live until execute() returns. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace robustmq::broker {

// ---- Publish: messages by name; the broker finds or makes the topic, and builds the batches ----

struct Message {
  std::string_view topic;
  ByteSpan payload;
  // The record's headers in the record's own encoding (BatchBuilder::append_header), without `mqtt.topic`.
  ByteSpan raw_headers;
  int32_t header_count = 0;
  bool wants_reply = false;  // false: fire and forget (QoS 0)
  uint8_t qos = 0;           // what durable sessions are owed it by
  bool retain = false;       // becomes the topic's retained message; with an empty payload, clears it
  uint32_t expiry_s = 0;     // 0: never
  uint16_t packet_id = 0;    // QoS 2 of a durable session: kept with the message until Release names it; 0: none
  bool is_repeat = false;    // the same: the client may have sent it before
};
struct Publish {
  std::vector<Message> messages;  // in order; all messages of one read of a socket
};
struct PublishResult {
  Code code = Code::ok;
  bool has_followers = true;  // false: routed to nobody (mode `none` only)
};
// One result for each message that wants a reply, in order.
struct Published {
  std::vector<PublishResult> results;
};

// ---- Retained and delayed messages, for who looks after them ----

// Topics in an order that stays; `after`: where the page before ended (ListedRetained::next), empty: from the start.
struct ListRetained {
  std::string filter = "#";
  std::string after;
  int32_t count_max = 100;
};
struct ListedRetained {
  struct One {
    std::string topic;
    Bytes payload;
    uint8_t qos = 0;
    int64_t timestamp_ms = 0;
    uint32_t expiry_s = 0;  // from then on; 0: never
  };
  std::vector<One> messages;
  std::string next;  // empty: there is no more
};
// Clears what the filter matches. Durable when answered.
struct ClearRetained {
  std::string filter;
};
struct ClearedRetained {
  int64_t count = 0;
};
// In the order in which they are due; `after` as above.
struct ListDelayed {
  std::string after;
  int32_t count_max = 100;
};
struct ListedDelayed {
  struct One {
    std::string id;
    std::string topic;
    Bytes payload;
    uint8_t qos = 0;
    bool retain = false;
    int64_t accepted_ms = 0;
    int64_t due_ms = 0;
    std::string client_id;
  };
  std::vector<One> messages;
  std::string next;
};
// not_found: no such message, or it is being published.
struct CancelDelayed {
  std::string id;
};
struct CancelledDelayed {
  Code code = Code::ok;
};

}  // namespace robustmq::broker
