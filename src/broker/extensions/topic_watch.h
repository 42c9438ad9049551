// TopicWatch: counts what some topics carry, on demand. One a core; who asks adds them up. Pure.
//
// Topics by their names, as they are after rewriting. In: what clients publish by name; what Kafka clients produce is not
// counted. Out: each copy that is handed to a subscriber but for retained messages. Kept until the node ends. Limit:
// ExtensionOptions::watched_topics_max.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "broker/menu/request.h"

namespace robustmq::broker {

class TopicWatch {
 public:
  bool is_empty() const { return topics_.empty(); }
  size_t size() const { return topics_.size(); }
  bool has(std::string_view topic) const { return topics_.contains(topic); }
  void begin(const std::string& topic, int64_t now_ms) {
    TopicCounts counts;
    counts.topic = topic;
    counts.since_ms = now_ms;
    topics_.insert_or_assign(topic, std::move(counts));
  }
  void end(const std::string& topic) { topics_.erase(topic); }

  void note_in(const Message& message) {
    const auto found = topics_.find(message.topic);
    if (found == topics_.end()) return;
    TopicCounts& counts = found->second;
    ++counts.messages_in;
    counts.bytes_in += message.payload.size();
    ++counts.messages_in_by_qos[message.qos < 3 ? message.qos : 2];
  }
  void note_out(std::string_view topic) {
    if (topics_.empty()) return;
    if (const auto found = topics_.find(topic); found != topics_.end()) ++found->second.messages_out;
  }
  std::vector<TopicCounts> counts() const {
    std::vector<TopicCounts> all;
    for (const auto& [topic, counts] : topics_) all.push_back(counts);
    return all;
  }

 private:
  std::map<std::string, TopicCounts, std::less<>> topics_;
};

}  // namespace robustmq::broker
