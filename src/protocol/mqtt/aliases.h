// Topic aliases of one connection (MQTT5 3.3.2.3.4): a number for a topic name, each side its own. Pure.
//
// They live and end with the connection. What the client binds is bounded by the Topic Alias Maximum that it was told; what is
// bound for the client by its own and by an option: the first topics that it gets have aliases, the others go without.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"

namespace robustmq::mqtt {

// The client's.
class AliasesIn {
 public:
  // The caller ensures 1 <= alias. Returns what the alias stood for before: views of it may be in use still.
  Bytes bind(uint16_t alias, std::string_view topic) {
    if (topics_.size() < alias) topics_.resize(alias);
    return std::exchange(topics_[alias - 1], Bytes::copy_of(topic));
  }
  // Empty: not bound.
  std::string_view topic_of(uint16_t alias) const {
    return alias <= topics_.size() ? topics_[alias - 1].text() : std::string_view{};
  }

 private:
  std::vector<Bytes> topics_;
};

// Ours.
class AliasesOut {
 public:
  explicit AliasesOut(uint16_t most) : most_(most) {}

  struct Choice {
    uint16_t alias = 0;  // 0: none
    bool is_bound = false;
  };
  Choice choose(std::string_view topic) const {
    if (topic.size() <= kShort) return {};
    const auto found = bound_.find(topic);
    if (found != bound_.end()) return {found->second, true};
    return bound_.size() < most_ ? Choice{static_cast<uint16_t>(bound_.size() + 1), false} : Choice{};
  }
  // The packet that says so was sent.
  void bind(std::string_view topic, uint16_t alias) { bound_.emplace(topic, alias); }

 private:
  static constexpr size_t kShort = 3;  // bytes that an alias itself takes

  std::unordered_map<std::string, uint16_t, TextHash, std::equal_to<>> bound_;
  uint16_t most_;
};

}  // namespace robustmq::mqtt
