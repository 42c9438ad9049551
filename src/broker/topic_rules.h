// Topic rules: where an MQTT topic's messages go. Those of the configuration, in their order, and behind them those made at run
// time: streams whose row in the catalog says so (meta::Topic::is_rule). Each core has its own, as of its view of the catalog.
// Pure.
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
  // The first rule that claims the topic; nullptr when none does. Until the next change.
  const TopicRule* find(std::string_view mqtt_topic) const;
  // The first one with this very filter and a stream, of this name where one is given; nullptr: there is none. As above.
  const TopicRule* find_filter(std::string_view filter, std::string_view stream = {}) const;
  // Those of the configuration.
  const std::vector<TopicRule>& all() const { return rules_; }
  // Settings of the stream a rule makes.
  static meta::TopicConfig config_of(const TopicRule& rule);

  // A stream that is a rule came, or went; others change nothing.
  void add(const meta::Topic& topic);
  void remove(const meta::Topic& topic);
  // Those made at run time, by the name of their stream.
  const std::vector<TopicRule>& made() const { return made_; }

  // Whether any rule that feeds this stream has a filter that `holds`.
  template <class Holds>
  bool any_of(std::string_view stream, Holds&& holds) const {
    for (const TopicRule& rule : rules_) {
      if (rule.topic == stream && holds(rule.filter)) return true;
    }
    const TopicRule* rule = find_made(stream);
    return rule && holds(rule->filter);
  }

 private:
  const TopicRule* find_made(std::string_view stream) const;
  std::vector<TopicRule> rules_;
  std::vector<TopicRule> made_;  // by topic; their filters are apart
};

// Kafka's rule for topic names: 1 to 249 of [a-zA-Z0-9._-], neither "." nor "..".
bool is_valid_stream_name(std::string_view name);

}  // namespace robustmq::broker
