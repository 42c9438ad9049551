// The QoS that a record says it has. Pure.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/batch.h"
#include "base/bytes.h"

namespace robustmq::broker {

constexpr std::string_view kQosHeader = "mqtt.qos";

// What the header's value says; anything but 0 and 2 counts as 1.
inline uint8_t qos_said(std::string_view value) { return value == "0" ? 0 : value == "2" ? 2 : 1; }

// A record without the header did not come by MQTT and counts as QoS 1; of several the last one holds.
inline uint8_t qos_of(const RecordView& record) {
  uint8_t qos = 1;
  HeaderReader headers(record);
  for (HeaderView header; headers.next(header);) {
    if (header.key == kQosHeader) qos = qos_said(header.value ? as_text(*header.value) : std::string_view{});
  }
  return qos;
}

}  // namespace robustmq::broker
