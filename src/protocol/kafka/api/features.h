// The features that clients act on: which versions there are, and which is on. Pure.
//
// They are on from the first start and cannot be changed, so the epoch of what is on is always the same.
#pragma once

#include <cstdint>
#include <string_view>

namespace robustmq::kafka {

struct Feature {
  std::string_view name;
  int16_t min;
  int16_t max;
  int16_t level;  // the version that is on
};
constexpr Feature kFeatures[] = {
    {"group.version", 0, 1, 1},        // 1: the consumer protocol (KIP-848)
    {"share.version", 0, 1, 1},        // 1: share groups (KIP-932)
    {"transaction.version", 0, 2, 2},  // 2: an epoch for each transaction (KIP-890)
};
constexpr int64_t kFeaturesEpoch = 0;

}  // namespace robustmq::kafka
