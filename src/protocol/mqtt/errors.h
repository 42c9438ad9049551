// The broker's codes in MQTT's words. Exhaustive: a new code does not compile until it has its answer here. Pure.
#pragma once

#include "base/result.h"
#include "protocol/mqtt/frames.h"

namespace robustmq::mqtt {

ReasonCode puback_reason_of(Code code);    // MQTT5 3.4.2.1; 3.1.1 has no failing PUBACK: the connection is closed
ReasonCode suback_reason_of(Code code);    // MQTT5 3.9.3; 3.1.1 knows 0x80 only
ReasonCode unsuback_reason_of(Code code);  // MQTT5 3.11.3
ReasonCode connack_reason_of(Code code);   // MQTT5 3.2.2.2
ReturnCode return_code_of(Code code);      // MQTT3 3.2.2.3

}  // namespace robustmq::mqtt
