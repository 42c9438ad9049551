#include "meta/topic_check.h"

#include <algorithm>

#include "base/topic_names.h"

namespace robustmq::meta {
namespace {

constexpr size_t kNameBytesMax = 249;

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

// Holds each field against the range it declares.
struct RangeVisitor {
  const TopicConfig& config;
  std::string broken;

  template <class T>
  void field(std::string_view name, T TopicConfig::* member, FieldFacts facts = {}) {
    if constexpr (std::is_arithmetic_v<T>) {
      const double value = static_cast<double>(config.*member);
      if (broken.empty() && !(value >= facts.min && value <= facts.max))
        broken = std::string(name) + " = " + std::to_string(config.*member);
    }
  }
};

}  // namespace

Status check_topic_name(std::string_view name) {
  if (name.empty()) return Error{Code::invalid_topic, "the name is empty"};
  if (name == "." || name == "..") return Error{Code::invalid_topic, "the name is '.' or '..'"};
  if (name.size() > kNameBytesMax)
    return Error{Code::invalid_topic, "the name has " + std::to_string(name.size()) + " characters, the limit is 249"};
  if (!std::all_of(name.begin(), name.end(), is_name_character))
    return Error{Code::invalid_topic, "the name has characters other than letters, digits, '.', '_' and '-'"};
  return {};
}

std::string collision_name(std::string_view name) {
  std::string alike(name);
  std::replace(alike.begin(), alike.end(), '.', '_');
  return alike;
}

Status check_topic(const Topic& topic, const CatalogLimits& limits) {
  const Status name = check_topic_name(topic.name);
  if (!name.ok()) return name;
  if (topic.partitions < 1 || static_cast<uint32_t>(topic.partitions) > limits.topic_partitions_max)
    return Error{Code::invalid_partitions, std::to_string(topic.partitions) + " partitions, allowed are 1 to " +
                                               std::to_string(limits.topic_partitions_max)};
  if (topic.is_rule && (!is_valid_topic_filter(topic.mqtt_filter) || topic.mqtt_filter.starts_with('$')))
    return Error{Code::invalid_topic, "not a filter of topics that are stored: " + topic.mqtt_filter};
  return check_settings(topic.config);
}

Status check_settings(const TopicConfig& config) {
  if (!is_built(config.mode))
    return Error{Code::invalid_config, "mode " + std::string(enum_name(config.mode)) + " is not built in this version"};
  RangeVisitor ranges{config, {}};
  TopicConfig::describe(ranges);
  if (!ranges.broken.empty()) return Error{Code::invalid_config, ranges.broken};
  if (compacts(config.cleanup_policy) && config.mode != Mode::persistent && config.mode != Mode::hybrid)
    return Error{Code::invalid_config, "only topics of mode persistent or hybrid are compacted"};
  if (config.compaction_lag_min_ms > config.compaction_lag_max_ms)
    return Error{Code::invalid_config, "the least compaction lag is above the largest"};
  return {};
}

}  // namespace robustmq::meta
