// Exclusive: topics that one connection of the node has for itself (`$exclusive/topic`). Lives on its core.
//
// A topic has a home core, by its slot; who comes first there has it until it unsubscribes or its connection ends. Other
// subscriptions to the topic are not touched.
//
// A claim is asked of the home under a number, and every claim is answered as long as its connection is there: meanwhile the
// connection may have given the topic back, or claimed it anew, and then the older claim counts no more.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/callback.h"
#include "broker/extensions/options.h"
#include "runtime/core.h"

namespace robustmq::broker {

constexpr std::string_view kExclusivePrefix = "$exclusive/";

// What became of a claim.
enum class Claimed : uint8_t {
  refused,  // another connection has the topic, or there are as many as exclusive_max allows
  had,
  over,  // it would have been had, but the connection has given it back or claimed it anew meanwhile
};

class Exclusive {
 public:
  Exclusive(runtime::Core& core, const ExtensionOptions& options, ExtensionMetrics& metrics)
      : core_(core), options_(options), metrics_(metrics) {}
  Exclusive(const Exclusive&) = delete;
  void set_peers(std::vector<Exclusive*> peers) { peers_ = std::move(peers); }

  // What became of each topic, in order. Not called when the connection was closed before.
  void claim(uint64_t connection, const std::vector<std::string>& topics, Callback<void(std::vector<Claimed>)> done);
  void release(uint64_t connection, const std::string& topic);
  void close(uint64_t connection);

 private:
  struct Claims {
    std::map<std::string, uint64_t> topics;  // had or asked for, with the number of the last claim
    size_t asked = 0;                        // claims that are not answered
  };

  Exclusive& home_of(const std::string& topic) const;
  Claimed settle(uint64_t connection, const std::string& topic, uint64_t number, bool has);
  void forget_idle(uint64_t connection);
  void give_back(uint64_t connection, const std::string& topic);
  // On the topic's home.
  bool take(const std::string& topic, uint64_t connection);
  void drop(const std::string& topic, uint64_t connection);

  runtime::Core& core_;
  const ExtensionOptions& options_;
  ExtensionMetrics& metrics_;
  std::vector<Exclusive*> peers_;
  std::map<std::string, uint64_t> holders_;      // of the topics whose home this is
  std::unordered_map<uint64_t, Claims> claims_;  // of this core's connections
  uint64_t last_number_ = 0;
};

}  // namespace robustmq::broker
