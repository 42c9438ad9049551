// Topic rules: where an MQTT topic's messages go. Pure.
#pragma once

#include <string_view>
#include <vector>

#include "base/result.h"
#include "broker/options.h"

namespace robustmq::broker {

class TopicRules {
 public:
  // Refuses what is not allowed or not built yet, by name: a bad filter or topic, mode tiered, mode hybrid of light topics.
  static Status check(const std::vector<TopicRule>& rules);

  explicit TopicRules(std::vector<TopicRule> rules) : rules_(std::move(rules)) {}
  // The first rule that claims the topic; nullptr when none does.
  const TopicRule* find(std::string_view mqtt_topic) const;
  const std::vector<TopicRule>& all() const { return rules_; }
  // Settings of the stream a rule makes.
  static meta::TopicConfig config_of(const TopicRule& rule);

 private:
  std::vector<TopicRule> rules_;
};

// Kafka's rule for topic names: 1 to 249 of [a-zA-Z0-9._-], neither "." nor "..".
bool is_valid_stream_name(std::string_view name);

}  // namespace robustmq::broker
