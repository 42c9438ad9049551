// Follow: who on this core wants which MQTT topics, and what they get. Pure, but for the sinks it calls.
//
// One a core. Subscriptions lie in a filter trie; what matches a topic is merged to one target a connection (highest QoS, all
// subscription ids) and remembered until any subscription of this core changes. MQTT5 3.3.4, 4.7.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/intrusive.h"
#include "broker/broker.h"
#include "broker/filter_trie.h"
#include "broker/options.h"

namespace robustmq::broker {

struct Follower;
class RetainedBursts;
class TopicWatch;

struct Subscription {
  Follower* follower = nullptr;
  uint32_t id = 0;
  uint8_t qos_max = 0;
  bool no_local = false;
  bool retain_as_published = false;
};

// What one connection follows. Owned by Follows, named by Context::state.
struct FollowerTag;
struct Follower : ListHook<FollowerTag> {
  explicit Follower(Context& of) : context(&of) {}
  Context* context;
  std::vector<FilterTrie<Subscription>::Node*> nodes;  // each with exactly one subscription of this follower
};

// One connection that gets a topic's messages.
struct Target {
  Follower* follower = nullptr;
  uint8_t qos_max = 0;
  bool retain_as_published = false;
  bool has_no_local = false;  // some subscription leaves the connection's own messages out
  std::vector<uint32_t> ids;
};
using Targets = std::vector<Target>;

class Follows {
 public:
  explicit Follows(BrokerMetrics& metrics) : metrics_(metrics) {}
  ~Follows() {
    while (!followers_.empty()) delete &followers_.pop_front();
  }
  // Told of what reaches a connection live while it is sent retained messages.
  void set_bursts(RetainedBursts* bursts) { bursts_ = bursts; }

  // A connection with a stored session is owed what has QoS 1 or 2 (ADR 0007) and gets the rest from here; with `is_all_owed`
  // nothing.
  void set_owed(bool is_all_owed) { is_all_owed_ = is_all_owed; }
  // Told of each copy that is handed on.
  void set_watch(TopicWatch* watch) { watch_ = watch; }

  // Adds or replaces. The caller checked the filter. `is_first`: no other subscription of this core has this filter.
  struct Added {
    bool is_new = true;
    bool is_first = false;
  };
  Added add(Context& context, const FollowOne& wanted);
  // nullopt: there was none. `is_last`: no other subscription of this core has this filter.
  struct Removed {
    bool is_last = false;
  };
  std::optional<Removed> remove(Context& context, std::string_view filter);
  // Drops all of a connection; `gone(filter)` for each filter nobody on this core has any more.
  template <class Gone>
  void close(Context& context, Gone&& gone);
  size_t count_of(const Context& context) const;
  bool has(const Context& context, std::string_view filter) const;
  // visit(filter, qos_max) for each subscription of a connection.
  template <class Visit>
  void each_of(const Context& context, Visit&& visit) const;

  // Changes whenever a subscription does.
  uint64_t generation() const { return generation_; }
  bool empty() const { return trie_.empty(); }
  bool overlaps(std::string_view filter) const { return trie_.overlaps(filter); }

  // Who gets `topic`; nullptr when nobody. Remembered; valid for one generation. Shared, so that a change inside a delivery
  // cannot pull it away.
  std::shared_ptr<const Targets> targets_of(std::string_view topic);
  // The same for a caller who remembers it itself.
  std::shared_ptr<const Targets> find_targets(std::string_view topic) const { return trie_.empty() ? nullptr : match(topic, 0); }

  // Whether everybody who gets `topic` takes more at once (Sink::is_ready).
  bool are_ready(std::string_view topic) const;

  // Hands one record to every target. `origin` is the publisher's connection id (0: none).
  void deliver(const Targets& targets, std::string_view topic, const RecordView& record, const Bytes& owner, uint64_t origin);

 private:
  static constexpr size_t kRememberedMax = 65'536;
  static constexpr size_t kRememberedBytesMax = 8 << 20;  // of topics' names
  std::shared_ptr<const Targets> match(std::string_view topic, uint64_t without_own_of) const;
  void drop(FilterTrie<Subscription>::Node& node, Follower& follower);

  BrokerMetrics& metrics_;
  RetainedBursts* bursts_ = nullptr;
  bool is_all_owed_ = false;
  TopicWatch* watch_ = nullptr;
  List<Follower, FollowerTag> followers_;
  FilterTrie<Subscription> trie_;
  std::unordered_map<std::string, std::shared_ptr<const Targets>, TextHash, std::equal_to<>> remembered_;
  uint64_t generation_ = 1;
  size_t remembered_bytes_ = 0;
  uint64_t remembered_generation_ = 1;
};

template <class Gone>
void Follows::close(Context& context, Gone&& gone) {
  auto* follower = static_cast<Follower*>(context.state);
  if (!follower) return;
  context.state = nullptr;
  ++generation_;
  for (auto* node : follower->nodes) {
    drop(*node, *follower);
    if (node->entries().empty()) {
      gone(node->filter());
      trie_.prune(*node);
    }
  }
  delete follower;
}

template <class Visit>
void Follows::each_of(const Context& context, Visit&& visit) const {
  const auto* follower = static_cast<const Follower*>(context.state);
  if (!follower) return;
  for (const auto* node : follower->nodes) {
    for (const Subscription& entry : node->entries()) {
      if (entry.follower == follower) visit(node->filter(), entry.qos_max);
    }
  }
}

}  // namespace robustmq::broker
