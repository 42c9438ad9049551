// Changes of a topic's settings, by name and as text. Pure.
//
// A setting is named as the field of TopicConfig, or "kept." and the name of a setting that another protocol has and that has no
// effect here.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "meta/topic.h"

namespace robustmq::meta {

constexpr std::string_view kKeptPrefix = "kept.";
// Of one topic.
constexpr size_t kKeptSettingsMax = 100;
constexpr size_t kKeptBytesMax = 16 << 10;

struct SettingChange {
  // append and subtract: the value is a list, its elements apart by commas; for kept settings only.
  enum class How : uint8_t { set = 0, reset = 1, append = 2, subtract = 3 };
  std::string name;
  std::string value;
  How how = How::set;
};

// Sets one after the other. Error: invalid_config with what is wrong; then some may be set.
Status apply_settings(TopicConfig& config, const std::vector<SettingChange>& changes);

// All settings as text, those kept included, and whether each differs from the default.
struct SettingRow {
  std::string name;
  std::string value;
  bool is_default = true;
};
std::vector<SettingRow> settings_of(const TopicConfig& config);

}  // namespace robustmq::meta
