// FilterTrie: MQTT topic filters by level, each with its entries; finds all that match a topic. Pure. MQTT5 4.7.
//
// One node a filter level; `+` and `#` are children of their own. Match cost grows with the levels of the topic and the number
// of branches that match, not with the number of filters. Depth is bounded by the filters' levels, which the owner bounds
// (BrokerOptions::filter_levels_max), so recursion is bounded as well.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/ids.h"

namespace robustmq::broker {

// Entry: a small copyable value.
template <class Entry>
class FilterTrie {
 public:
  class Node {
   public:
    std::vector<Entry>& entries() { return entries_; }
    const std::vector<Entry>& entries() const { return entries_; }
    // The filter this node stands for.
    std::string filter() const {
      std::string text = parent_ && parent_->parent_ ? parent_->filter() + "/" : "";
      return text + level_;
    }

   private:
    friend class FilterTrie;
    using Children = std::unordered_map<std::string_view, std::unique_ptr<Node>>;
    Node* child(std::string_view level) const {
      if (level == "+") return plus_.get();
      if (level == "#") return hash_.get();
      if (!children_) return nullptr;
      const auto found = children_->find(level);
      return found == children_->end() ? nullptr : found->second.get();
    }
    bool is_bare() const { return entries_.empty() && !plus_ && !hash_ && (!children_ || children_->empty()); }

    Node* parent_ = nullptr;
    std::string level_;
    std::unique_ptr<Children> children_;
    std::unique_ptr<Node> plus_;
    std::unique_ptr<Node> hash_;
    std::vector<Entry> entries_;
  };

  // The node of `filter`, made when missing. The caller adds entries, or calls prune().
  Node& node(std::string_view filter) {
    Node* at = &root_;
    for_each_level(filter, [&](std::string_view level) {
      Node* next = at->child(level);
      if (!next) next = add_child(*at, level);
      at = next;
    });
    return *at;
  }
  Node* find(std::string_view filter) const {
    const Node* at = &root_;
    for_each_level(filter, [&](std::string_view level) {
      if (at) at = at->child(level);
    });
    return const_cast<Node*>(at);
  }
  // Removes the node and its parents as far as they hold nothing.
  void prune(Node& node) {
    Node* at = &node;
    while (at->parent_ && at->is_bare()) {
      Node* parent = at->parent_;
      if (at->level_ == "+")
        parent->plus_.reset();
      else if (at->level_ == "#")
        parent->hash_.reset();
      else
        parent->children_->erase(parent->children_->find(at->level_));
      at = parent;
    }
  }
  bool empty() const { return root_.is_bare(); }

  // Calls visit(entries) for each node whose filter matches `topic`. Gives how many nodes it looked at.
  template <class Visit>
  size_t match(std::string_view topic, Visit&& visit) const {
    return match_from(root_, topic, false, true, visit);
  }

  // Whether some filter here and `filter` (itself maybe with wildcards) have a topic in common.
  bool overlaps(std::string_view filter) const { return overlaps_from(root_, filter, false, true); }

 private:
  template <class Use>
  static void for_each_level(std::string_view text, Use&& use) {
    while (true) {
      const size_t slash = text.find('/');
      use(text.substr(0, slash));
      if (slash == std::string_view::npos) return;
      text.remove_prefix(slash + 1);
    }
  }
  static Node* add_child(Node& parent, std::string_view level) {
    auto node = std::make_unique<Node>();
    node->parent_ = &parent;
    node->level_ = level;
    Node* made = node.get();
    if (level == "+")
      parent.plus_ = std::move(node);
    else if (level == "#")
      parent.hash_ = std::move(node);
    else {
      if (!parent.children_) parent.children_ = std::make_unique<typename Node::Children>();
      parent.children_->emplace(made->level_, std::move(node));
    }
    return made;
  }

  // `rest` are the levels still to match; `at_end` when there are none left ("" is one empty level).
  template <class Visit>
  static size_t match_from(const Node& at, std::string_view rest, bool at_end, bool is_root, Visit&& visit) {
    // Wildcards at the first level never match topics that begin with '$' (MQTT5 4.7.2).
    const bool wildcards = !(is_root && !rest.empty() && rest[0] == '$');
    if (at.hash_ && wildcards) visit(at.hash_->entries_);
    size_t looked_at = 1;
    if (at_end) {
      if (!at.entries_.empty()) visit(at.entries_);
      return looked_at;
    }
    const size_t slash = rest.find('/');
    const std::string_view level = rest.substr(0, slash);
    const bool last = slash == std::string_view::npos;
    const std::string_view next = last ? std::string_view{} : rest.substr(slash + 1);
    if (at.plus_ && wildcards) looked_at += match_from(*at.plus_, next, last, false, visit);
    if (!at.children_) return looked_at;
    const auto found = at.children_->find(level);
    if (found != at.children_->end()) looked_at += match_from(*found->second, next, last, false, visit);
    return looked_at;
  }

  static bool overlaps_from(const Node& at, std::string_view rest, bool at_end, bool is_root) {
    const bool wildcards = !(is_root && !rest.empty() && rest[0] == '$');
    if (at.hash_ && wildcards && !at.hash_->entries_.empty()) return true;
    if (at_end) return !at.entries_.empty();
    const size_t slash = rest.find('/');
    const std::string_view level = rest.substr(0, slash);
    const bool last = slash == std::string_view::npos;
    const std::string_view next = last ? std::string_view{} : rest.substr(slash + 1);
    if (level == "#") return has_topic_under(at, is_root);
    if (level == "+") {
      if (at.plus_ && overlaps_from(*at.plus_, next, last, false)) return true;
      if (!at.children_) return false;
      for (const auto& [name, child] : *at.children_) {  // an any-of: the order does not show
        if (is_root && !name.empty() && name[0] == '$') continue;
        if (overlaps_from(*child, next, last, false)) return true;
      }
      return false;
    }
    if (at.plus_ && wildcards && overlaps_from(*at.plus_, next, last, false)) return true;
    if (!at.children_) return false;
    const auto found = at.children_->find(level);
    return found != at.children_->end() && overlaps_from(*found->second, next, last, false);
  }
  static bool has_topic_under(const Node& at, bool is_root) {
    if (!is_root) return true;  // a node that is there has an entry at or below it
    if (at.plus_ || at.hash_) return true;
    if (!at.children_) return false;
    for (const auto& [name, child] : *at.children_) {
      if (name.empty() || name[0] != '$') return true;
    }
    return false;
  }

  Node root_;
};

}  // namespace robustmq::broker
