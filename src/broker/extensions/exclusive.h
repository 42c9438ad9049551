// Exclusive: topics that one connection of the node has for itself (`$exclusive/topic`). Lives on its core.
//
// A topic has a home core, by its slot; who comes first there has it until it unsubscribes or its connection ends. Other
// subscriptions to the topic are not touched.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/callback.h"
#include "broker/extensions/options.h"
#include "runtime/core.h"

namespace robustmq::broker {

constexpr std::string_view kExclusivePrefix = "$exclusive/";

class Exclusive {
 public:
  Exclusive(runtime::Core& core, const ExtensionOptions& options, ExtensionMetrics& metrics)
      : core_(core), options_(options), metrics_(metrics) {}
  Exclusive(const Exclusive&) = delete;
  void set_peers(std::vector<Exclusive*> peers) { peers_ = std::move(peers); }

  // Which of the topics the connection has now, in order. Not called when the connection was closed before.
  void claim(uint64_t connection, const std::vector<std::string>& topics, Callback<void(std::vector<bool>)> done);
  void release(uint64_t connection, const std::string& topic);
  void close(uint64_t connection);

 private:
  Exclusive& home_of(const std::string& topic) const;
  // On the topic's home.
  bool take(const std::string& topic, uint64_t connection);
  void drop(const std::string& topic, uint64_t connection);

  runtime::Core& core_;
  const ExtensionOptions& options_;
  ExtensionMetrics& metrics_;
  std::vector<Exclusive*> peers_;
  std::map<std::string, uint64_t> holders_;                          // of the topics whose home this is
  std::unordered_map<uint64_t, std::multiset<std::string>> claims_;  // of this core's connections: had, or asked for
};

}  // namespace robustmq::broker
