#include "broker/topic_rules.h"

#include <algorithm>

#include "base/topic_names.h"

namespace robustmq::broker {

bool is_valid_stream_name(std::string_view name) {
  if (name.empty() || name.size() > 249 || name == "." || name == "..") return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  });
}

Status TopicRules::check(const std::vector<TopicRule>& rules) {
  for (const TopicRule& rule : rules) {
    const std::string which = "topic_rule \"" + rule.filter + "\": ";
    if (!is_valid_topic_filter(rule.filter))
      return Error{Code::invalid_argument, which + "filter is not a valid MQTT topic filter"};
    if (rule.filter.starts_with('$')) return Error{Code::invalid_argument, which + "topics that begin with $ are never stored"};
    if (!rule.topic.empty() && !is_valid_stream_name(rule.topic)) {
      return Error{Code::invalid_topic, which + "topic must be 1 to 249 of [a-zA-Z0-9._-]"};
    }
    if (!meta::is_built(rule.mode)) {
      return Error{Code::not_supported, which + "mode " + std::string(enum_name(rule.mode)) +
                                            " is not built yet; use none, memory, hybrid or persistent"};
    }
    if (rule.topic.empty() && rule.mode == meta::Mode::hybrid) {
      return Error{Code::not_supported,
                   which + "mode hybrid is for streams: give the rule a topic, or use memory or persistent for light topics"};
    }
    if (!rule.topic.empty() && rule.mode == meta::Mode::none) {
      return Error{Code::invalid_argument, which + "mode none stores nothing, so it takes no topic"};
    }
  }
  return {};
}

const TopicRule* TopicRules::find(std::string_view mqtt_topic) const {
  for (const std::vector<TopicRule>* rules : {&rules_, &made_}) {
    for (const TopicRule& rule : *rules) {
      if (filter_matches(rule.filter, mqtt_topic)) return &rule;
    }
  }
  return nullptr;
}

const TopicRule* TopicRules::find_filter(std::string_view filter, std::string_view stream) const {
  for (const std::vector<TopicRule>* rules : {&rules_, &made_}) {
    for (const TopicRule& rule : *rules) {
      if (rule.filter == filter && !rule.topic.empty() && (stream.empty() || rule.topic == stream)) return &rule;
    }
  }
  return nullptr;
}

const TopicRule* TopicRules::find_made(std::string_view stream) const {
  const auto at = std::ranges::lower_bound(made_, stream, {}, &TopicRule::topic);
  return at != made_.end() && at->topic == stream ? &*at : nullptr;
}

void TopicRules::add(const meta::Topic& topic) {
  if (!topic.is_rule || find_made(topic.name)) return;
  TopicRule rule;
  rule.filter = topic.mqtt_filter;
  rule.topic = topic.name;
  rule.partitions = topic.partitions;
  rule.mode = topic.config.mode;
  made_.insert(std::ranges::upper_bound(made_, topic.name, {}, &TopicRule::topic), std::move(rule));
}

void TopicRules::remove(const meta::Topic& topic) {
  if (topic.is_rule) std::erase_if(made_, [&](const TopicRule& rule) { return rule.topic == topic.name; });
}

meta::TopicConfig TopicRules::config_of(const TopicRule& rule) {
  meta::TopicConfig config;
  config.mode = rule.mode;
  config.retention_ms = rule.retention_ms;
  config.retention_bytes = rule.retention_bytes;
  return config;
}

}  // namespace robustmq::broker
