// Moved: where the messages lie that a spool has written again: their offsets in the spool, which stay what they are, to their
// places in its log. Pure. Neighbours that lie as neighbours share an entry.
#pragma once

#include <cstddef>
#include <iterator>
#include <map>
#include <optional>

#include "base/ids.h"

namespace robustmq::broker {

class Moved {
 public:
  // The message at `offset` lies at `place` now.
  void set(Offset offset, Offset place) {
    forget(offset);
    auto behind = runs_.upper_bound(offset);
    if (behind != runs_.begin()) {
      auto& [first, run] = *std::prev(behind);
      if (first + run.length == offset && run.place + run.length == place) {
        ++run.length;
        return;
      }
    }
    runs_.emplace_hint(behind, offset, Run{place, 1});
  }
  std::optional<Offset> find(Offset offset) const {
    const auto behind = runs_.upper_bound(offset);
    if (behind == runs_.begin()) return std::nullopt;
    const auto& [first, run] = *std::prev(behind);
    if (offset >= first + run.length) return std::nullopt;
    return run.place + (offset - first);
  }
  void forget(Offset offset) {
    const auto behind = runs_.upper_bound(offset);
    if (behind == runs_.begin()) return;
    const auto at = std::prev(behind);
    const auto [first, run] = *at;
    if (offset >= first + run.length) return;
    const Offset before = offset - first;
    if (before + 1 < run.length) runs_.emplace_hint(behind, offset + 1, Run{run.place + before + 1, run.length - before - 1});
    if (before == 0)
      runs_.erase(at);
    else
      at->second.length = before;
  }
  // Forgets the offsets below, as far as whole entries do.
  void trim(Offset below) {
    while (!runs_.empty() && runs_.begin()->first + runs_.begin()->second.length <= below) runs_.erase(runs_.begin());
  }
  void clear() { runs_.clear(); }
  bool empty() const { return runs_.empty(); }
  size_t entry_count() const { return runs_.size(); }

 private:
  struct Run {
    Offset place = 0;
    Offset length = 0;
  };
  std::map<Offset, Run> runs_;
};

}  // namespace robustmq::broker
