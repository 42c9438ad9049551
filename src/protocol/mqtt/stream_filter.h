// Filters that read a stream, as EMQX 6 spells them: `$stream/NAME`, `$stream/NAME/FILTER`, and `$s/START/FILTER`, which is
// deprecated. Pure.
//
// A start is `earliest`, `latest`, or a number: below 10^15 an offset, from there on microseconds since 1970. `PARTITION:START`
// is for one partition. MQTT 5 clients give it as user property `stream-offset` of the SUBSCRIBE, several times for several
// partitions; without one it is `latest`. It counts for all streams of the packet.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/menu/sessions.h"
#include "protocol/mqtt/properties.h"

namespace robustmq::mqtt {

using StreamStart = broker::StreamRead::Start;

struct StreamFilter {
  std::string name;                  // "/" and a filter: of the rule with that filter
  std::string_view filter;           // empty: all
  std::optional<StreamStart> start;  // of `$s/`

  std::shared_ptr<const broker::StreamRead> read_from(const std::vector<StreamStart>& starts) const;
};

bool is_of_stream(std::string_view text);
// nullopt: badly formed. Views `text`.
std::optional<StreamFilter> stream_filter_of(std::string_view text);

constexpr size_t kStreamStartsMax = 10'000;  // of one packet: a stream's most partitions
// nullopt: one is badly formed, or there are too many.
std::optional<std::vector<StreamStart>> stream_starts_of(const Properties& properties);

}  // namespace robustmq::mqtt
