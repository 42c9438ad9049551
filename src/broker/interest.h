// Interest: which other cores want a topic. Pure. One a core, kept by the other cores' messages: the first subscription of a
// filter on a core announces it, the last one takes it back.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "broker/filter_trie.h"

namespace robustmq::broker {

class Interest {
 public:
  static constexpr CoreIndex kCoresMax = 64;

  void add(std::string_view filter, CoreIndex core) {
    auto& entries = trie_.node(filter).entries();
    if (std::find(entries.begin(), entries.end(), core) == entries.end()) entries.push_back(core);
    ++generation_;
  }
  void remove(std::string_view filter, CoreIndex core) {
    auto* node = trie_.find(filter);
    if (!node) return;
    std::erase(node->entries(), core);
    if (node->entries().empty()) trie_.prune(*node);
    ++generation_;
  }
  // Bit c is set when core c wants the topic.
  uint64_t cores_of(std::string_view topic) const {
    uint64_t cores = 0;
    if (trie_.empty()) return cores;
    trie_.match(topic, [&](const std::vector<CoreIndex>& entries) {
      for (CoreIndex core : entries) cores |= uint64_t{1} << core;
    });
    return cores;
  }
  bool overlaps(std::string_view filter) const { return trie_.overlaps(filter); }
  bool empty() const { return trie_.empty(); }
  uint64_t generation() const { return generation_; }

 private:
  FilterTrie<CoreIndex> trie_;
  uint64_t generation_ = 1;
};

}  // namespace robustmq::broker
