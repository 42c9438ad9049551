// LevelTree: values by topic, one node a level, in the order of the levels' names; walked by a filter, in pieces. Pure.
//
// A walk visits nodes in one fixed order (a node before what is below it, siblings by name), so it can stop anywhere and go on
// behind the last node it visited, whatever changed meanwhile. Depth is bounded by the owner, so recursion is as well.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace robustmq::broker {

using Levels = std::vector<std::string_view>;

inline Levels levels_of(std::string_view name) {
  Levels levels;
  while (true) {
    const size_t slash = name.find('/');
    levels.push_back(name.substr(0, slash));
    if (slash == std::string_view::npos) return levels;
    name.remove_prefix(slash + 1);
  }
}

// Where a walk stopped: the last node it visited, which need not be there any more.
struct WalkPosition {
  bool is_begun = false;
  bool is_in_index = false;  // the owner's word for which of its trees it belongs to
  std::vector<std::string> levels;
};

// Value: a pointer of some kind; null where nothing is.
template <class Value>
class LevelTree {
 public:
  class Node {
   public:
    Value value{};
    size_t child_count() const { return children_.size(); }

   private:
    friend class LevelTree;
    std::map<std::string, std::unique_ptr<Node>, std::less<>> children_;
  };

  // The node of a topic, made when missing. `on_new_child(parent's depth, parent's children)` for each node that was made.
  template <class OnNewChild>
  Node& node(const Levels& topic, OnNewChild&& on_new_child) {
    Node* at = &root_;
    for (size_t depth = 0; depth < topic.size(); ++depth) {
      auto found = at->children_.lower_bound(topic[depth]);
      if (found == at->children_.end() || found->first != topic[depth]) {
        found = at->children_.emplace_hint(found, std::string(topic[depth]), std::make_unique<Node>());
        on_new_child(depth, at->children_.size());
      }
      at = found->second.get();
    }
    return *at;
  }
  Node* find(const Levels& topic) {
    Node* at = &root_;
    for (std::string_view level : topic) {
      const auto found = at->children_.find(level);
      if (found == at->children_.end()) return nullptr;
      at = found->second.get();
    }
    return at;
  }
  // Drops the topic's value, and the nodes that hold nothing then.
  void remove(const Levels& topic) { remove_from(root_, topic, 0); }
  bool empty() const { return root_.children_.empty(); }

  // Calls use(value) for each value whose topic `filter` (by levels; valid) matches, behind `at`. Visits at most `visits` nodes
  // (at least one) and takes off what it visited; stops too when use() says false. True when there is no more. `#` matches its
  // parent; wildcards at the first level do not match names that begin with `$` (MQTT5 4.7.2).
  template <class Use>
  bool walk(const Levels& filter, WalkPosition& at, size_t& visits, Use&& use) const {
    Walk<Use> walk{filter, at, visits, use, false, {}};
    return walk.go(root_, 0, at.is_begun);
  }
  // The same for every value, names that begin with `$` too.
  template <class Use>
  bool walk_all(WalkPosition& at, size_t& visits, Use&& use) const {
    const Levels everything = {"#"};
    Walk<Use> walk{everything, at, visits, use, true, {}};
    return walk.go(root_, 0, at.is_begun);
  }

 private:
  template <class Use>
  struct Walk {
    const Levels& filter;
    WalkPosition& at;
    size_t& visits;
    Use& use;
    bool has_dollar;  // wildcards match names that begin with `$`
    std::vector<std::string_view> path;

    // False: stopped. `is_bound`: the path is the beginning of the position's, so this node was visited.
    bool go(const Node& node, size_t depth, bool is_bound) {
      const bool in_hash = !filter.empty() && filter.back() == "#" && depth + 1 >= filter.size();
      if (!is_bound) {
        --visits;
        const bool goes_on = !(node.value && (in_hash || depth == filter.size())) || use(*node.value);
        if (!goes_on || visits == 0) {
          at.is_begun = true;
          at.levels.assign(path.begin(), path.end());
          return false;
        }
      } else if (depth == at.levels.size()) {
        is_bound = false;
      }
      if (!in_hash && depth == filter.size()) return true;
      if (in_hash || filter[depth] == "+") return all_below(node, depth, is_bound);
      const auto found = node.children_.find(filter[depth]);
      if (found == node.children_.end()) return true;
      if (is_bound && found->first < at.levels[depth]) return true;
      return child(*found, depth, is_bound && found->first == at.levels[depth]);
    }
    bool all_below(const Node& node, size_t depth, bool is_bound) {
      auto next = is_bound ? node.children_.lower_bound(at.levels[depth]) : node.children_.begin();
      for (; next != node.children_.end(); ++next) {
        if (depth == 0 && !has_dollar && next->first.starts_with('$')) continue;
        const bool is_child_bound = is_bound && next->first == at.levels[depth];
        is_bound = false;  // what follows lies behind the position
        if (!child(*next, depth, is_child_bound)) return false;
      }
      return true;
    }
    bool child(const std::pair<const std::string, std::unique_ptr<Node>>& next, size_t depth, bool is_bound) {
      path.push_back(next.first);
      const bool goes_on = go(*next.second, depth + 1, is_bound);
      path.pop_back();
      return goes_on;
    }
  };

  // True when `node` holds nothing any more.
  static bool remove_from(Node& node, const Levels& topic, size_t depth) {
    if (depth == topic.size()) {
      node.value = {};
    } else {
      const auto found = node.children_.find(topic[depth]);
      if (found != node.children_.end() && remove_from(*found->second, topic, depth + 1)) node.children_.erase(found);
    }
    return !node.value && node.children_.empty();
  }

  Node root_;
};

}  // namespace robustmq::broker
