// Kafka's error codes, and which of them says what a broker's code means. Pure.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace robustmq::kafka {

enum class KafkaError : int16_t {
#define X(name, number) name = number,
#include "protocol/kafka/errors.def"
#undef X
};

// "UNKNOWN_TOPIC_OR_PARTITION" is "unknown_topic_or_partition" here.
std::string_view kafka_error_name(KafkaError error);

// For what concerns topics, partitions, records and the node.
KafkaError kafka_error_of(Code code);
// For consumer groups: the node speaks as a coordinator, so what may be tried again is said in a coordinator's words.
KafkaError group_error_of(Code code);

// For transactions: the same. Who has an older epoch hears PRODUCER_FENCED where its version of the API knows it.
KafkaError transaction_error_of(Code code, bool knows_fenced);

constexpr int16_t wire(KafkaError error) { return static_cast<int16_t>(error); }
inline int16_t wire_error(Code code) { return wire(kafka_error_of(code)); }
inline int16_t wire_group_error(Code code) { return wire(group_error_of(code)); }

}  // namespace robustmq::kafka
