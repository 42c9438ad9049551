// What an MQTT message is called in a record: PUBLISH properties and user properties as record headers, and back. Pure.
//
//   header                    value                          from
//   mqtt.qos                  one digit, always              QoS of the PUBLISH
//   mqtt.retain               1, only when set               RETAIN
//   mqtt.payload_format       0 or 1                         Payload Format Indicator
//   mqtt.message_expiry_s     decimal digits                 Message Expiry Interval
//   mqtt.content_type         as sent                        Content Type
//   mqtt.response_topic       as sent                        Response Topic
//   mqtt.correlation_data     as sent                        Correlation Data
//   any other name            as sent, order and duplicates kept   user property; `mqtt.x` becomes `mqtt.user.mqtt.x`
//
// Back, headers of one of the names above become the property again, where the value is one that the property may have;
// `mqtt.topic` is the broker's. A header that MQTT cannot carry (not UTF-8, over 65,535 bytes, a property's second value) is left
// out and counted.
#pragma once

#include <cstdint>
#include <optional>

#include "base/batch.h"
#include "base/bytes.h"
#include "protocol/mqtt/properties.h"

namespace robustmq::mqtt {

// The encoded header of a message that has nothing but its QoS (0, 1 or 2). Lives for ever.
ByteSpan plain_headers(uint8_t qos);

// How long the broker keeps a message; 0: for ever. One that expires at once (MQTT5 3.3.2.3.3: 0 is a lifetime too) goes to who
// follows now, and what is kept of it goes with the second.
uint32_t expiry_of(const Properties& properties);

// Appends the encoded headers of a message and returns how many. `properties` are a checked PUBLISH's or will's.
int32_t append_headers(uint8_t qos, bool retain, const Properties& properties, Buffer& to);

// What the headers of a record say about its delivery.
struct RecordFacts {
  uint8_t qos = 1;  // a record without `mqtt.qos` counts as QoS 1
  bool retain = false;
  bool is_plain = false;  // nothing in the headers becomes a property
  std::optional<uint32_t> expiry_s;
};
RecordFacts facts_of(const RecordView& record);

// Seconds left of `expiry_s` for a record stamped `timestamp_ms`; nullopt: it is over (MQTT5 3.3.2.3.3).
std::optional<uint32_t> expiry_left(uint32_t expiry_s, int64_t timestamp_ms, int64_t now_ms);

// The size of the properties that a record's headers become; `left_out` grows by the headers that have no place in MQTT.
size_t properties_size(const RecordView& record, uint64_t& left_out);
// Writes them; `expiry_left_s` takes the place of the expiry's value. The caller gives room of properties_size(). Returns the
// end.
uint8_t* write_properties(const RecordView& record, uint32_t expiry_left_s, uint8_t* at);

}  // namespace robustmq::mqtt
