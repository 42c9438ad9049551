// The embedded protocol of classic consumers: what they write into JoinGroup and read from SyncGroup. Pure.
//
// ConsumerProtocolSubscription: int16 version; [topic]; bytes user_data; from version 1 on [topic [int32 partition]] owned; from
// 2 on int32 generation; from 3 on nullable string rack. ConsumerProtocolAssignment: int16 version; [topic [int32 partition]];
// bytes user_data. All big-endian; arrays and bytes have an int32 length (-1: null), strings an int16 one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"

namespace robustmq::broker {

using NamedPartitions = std::vector<std::pair<std::string, std::vector<int32_t>>>;

struct ConsumerSubscription {
  std::vector<std::string> topics;
  NamedPartitions owned;
  std::string rack;       // empty: none
  bool is_whole = false;  // false: what follows the topics could not be read
};
// nullopt where not even the topics can be read.
std::optional<ConsumerSubscription> read_subscription(ByteSpan from);
std::optional<NamedPartitions> read_assignment(ByteSpan from);
Bytes write_assignment(const NamedPartitions& assignment);

}  // namespace robustmq::broker
