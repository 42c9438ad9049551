// Topic names in their two spellings, and topic filters. Pure.
//
// MQTT spells a topic `plant/line1/temp`, Kafka `plant.line1.temp`: MQTT's `/` is Kafka's `.`, both ways, by rule and without a
// table. An MQTT name that does not survive the way there and back (bytes outside [A-Za-z0-9_/-], longer than 200 bytes, equal to
// `.` or `..` or beginning with `__` in Kafka's spelling, or ending like a name that was made) is made legal: `_` for each such
// byte, cut to 200 bytes, then `-` and 16 hex digits of its hash64. Who stores such a topic keeps its MQTT name beside it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace robustmq {

constexpr size_t kMadeNameBytes = 200;     // of an MQTT name that are kept in a Kafka name with a hash
constexpr size_t kTopicNameBytes = 65535;  // an MQTT string's limit

// Kafka's spelling of a valid MQTT topic name. Always a legal Kafka topic name. `collisions` is 0, 1 or 2: how many other MQTT
// names were met that gave the same Kafka name; 16 more hex digits are added for each.
std::string kafka_name_of_mqtt(std::string_view name, int collisions = 0);

// MQTT's spelling of a Kafka topic name that was not made from an unusual MQTT name.
std::string mqtt_name_of_kafka(std::string_view name);

// True when the two spellings of this MQTT name follow from each other (no hash needed).
bool is_plain_mqtt_name(std::string_view name);

// Well-formed UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF, no U+0000 (MQTT5 1.5.4).
bool is_utf8(std::string_view text);

// A topic that may be published to: 1 to 65,535 bytes of UTF-8 without wildcards (MQTT5 4.7.3). Control characters and
// Unicode's non-characters are refused too: a strict receiver would break its connection over them (MQTT5 1.5.4).
bool is_valid_topic_name(std::string_view name);

// A topic filter: as above, but `+` may stand for one whole level and `#` for the last one (MQTT5 4.7.1). A shared
// subscription's `$share/group/` is not looked at here: it is a valid filter of its own.
bool is_valid_topic_filter(std::string_view filter);

// True when `topic` (a valid name) is matched by `filter` (a valid filter). `#` matches its parent level too; a filter that
// begins with a wildcard matches no topic that begins with `$` (MQTT5 4.7.2). Linear in the lengths; no recursion.
bool filter_matches(std::string_view filter, std::string_view topic);

// The number of levels: separators + 1.
size_t topic_levels(std::string_view name);

}  // namespace robustmq
