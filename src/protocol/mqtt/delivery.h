// A record as a PUBLISH to one client: the encoding, and its sharing among all clients that get the same record. Pure.
//
// To many clients the same record differs only in QoS (the packet id's place), the first byte's DUP and RETAIN and the packet id.
// So the second client that needs a spelling (version and QoS) writes it into the delivery's scratch, and it and all later ones
// copy it from there and patch these. Subscription identifiers and topic aliases belong to one client: such a packet is written
// for it alone.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "broker/menu/request.h"
#include "protocol/connection.h"
#include "protocol/mqtt/frames.h"

namespace robustmq::mqtt {

// A payload of at least so many bytes goes to the socket from the record's own memory instead of being copied.
constexpr size_t kPayloadBytesShared = 16 << 10;

struct Outgoing {
  std::string_view topic;
  const RecordView& record;  // views into `owner`
  const Bytes& owner;
  uint8_t qos = 0;  // as sent
  bool retain = false;
  bool dup = false;
  bool is_plain = false;  // the record has no header that becomes a property
  uint32_t expiry_left_s = 0;
  uint16_t alias = 0;  // 0: none. With one, the topic may be empty
  const std::vector<uint32_t>* subscription_ids = nullptr;
  broker::DeliveryScratch* scratch = nullptr;  // nullptr: not shared
};

// Appends the packet to the outbox, with `packet_id` where QoS is not 0, unless it is larger than `packet_bytes_max`: then
// nothing is sent and the answer is false. `left_out` grows by the headers that have no place in MQTT.
bool send_publish(const Outgoing& message, Version version, uint16_t packet_id, uint32_t packet_bytes_max, uint64_t& left_out,
                  protocol::Outbox& out);

}  // namespace robustmq::mqtt
