// History: what simulated clients sent, had acknowledged, and read; and what is wrong with it. Pure.
//
// A message is named by (source, number): each source sends rising numbers and never sends one again, so the log may hold each at
// most once, in rising order. Verdicts, all of which must stay empty:
//   lost        acknowledged, but not in the final log
//   phantom     in the log or delivered, but never sent; or seen earlier and gone in the end
//   duplicate   twice in the log
//   disorder    a source's numbers fall within a partition
//   reuse       one offset of a partition had two contents
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"

namespace robustmq::sim {

struct Place {
  std::string topic;
  int32_t partition = 0;
  auto operator<=>(const Place&) const = default;
};

class History {
 public:
  static std::string message(const std::string& source, uint64_t number) { return source + "#" + std::to_string(number); }

  void sent(const std::string& message) { sent_.insert(message); }
  void acknowledged(const std::string& message) { acknowledged_.insert(message); }
  void delivered(const std::string& message) { delivered_.insert(message); }
  // Any read, at any time, through any protocol that knows offsets.
  void read(const Place& place, Offset offset, const std::string& message) {
    const auto [at, is_new] = by_offset_[place].emplace(offset, message);
    if (!is_new && at->second != message) {
      problems_.push_back("reuse: offset " + std::to_string(offset) + " of " + place.topic + "-" +
                          std::to_string(place.partition) + " was " + at->second + " and is " + message);
    }
  }
  // The whole log at the end, in offset order; once for each place.
  void read_finally(const Place& place, const std::vector<std::pair<Offset, std::string>>& log);
  // Call after every read_finally.
  std::vector<std::string> judge() const;

  size_t sent_count() const { return sent_.size(); }
  size_t acknowledged_count() const { return acknowledged_.size(); }

 private:
  std::set<std::string> sent_;
  std::set<std::string> acknowledged_;
  std::set<std::string> delivered_;
  std::map<Place, std::map<Offset, std::string>> by_offset_;
  std::set<std::string> final_;
  std::vector<std::string> problems_;
};

}  // namespace robustmq::sim
