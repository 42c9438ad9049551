// Where a share group begins on a partition that it never read: the values of share.auto.offset.reset. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "broker/menu/queues.h"

namespace robustmq::broker {

struct ShareStart {
  QueueSettings::StartAt at = QueueSettings::StartAt::latest;
  int64_t before_ms = 0;
};
// "latest", "earliest", or "by_duration:" and a duration of ISO 8601 in days, hours, minutes and seconds, such as PT1H30M;
// nullopt: none of them.
std::optional<ShareStart> start_of(std::string_view value);

}  // namespace robustmq::broker
