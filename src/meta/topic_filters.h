// What two MQTT topic filters have to do with each other. Pure.
#pragma once

#include <string>
#include <string_view>

namespace robustmq::meta {

// Whether there is a topic that both valid filters match (MQTT5 4.7). Linear in the lengths.
bool filters_intersect(std::string_view a, std::string_view b);

// Whether `wide` matches every topic that `narrow` does.
bool filter_covers(std::string_view wide, std::string_view narrow);

// Why `filter` cannot be a rule: some of its messages go to `topic` already, by the filter or name `other`.
std::string claimed_text(std::string_view filter, std::string_view other, std::string_view topic);

}  // namespace robustmq::meta
