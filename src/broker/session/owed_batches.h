// OwedBatches: which batches of idempotent producers the spool has, so that a repeat of one that it lacks is owed now. The newest
// of them: a producer's last few are what can be a repeat. Pure.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <tuple>

#include "broker/session/spool_record.h"

namespace robustmq::broker {

class OwedBatches {
 public:
  static constexpr size_t kMax = 16'384;

  // `ticket`: the spool's, of the last that is owed of it.
  void add(const SpoolRef& begin, uint64_t ticket) {
    const auto [at, is_new] = tickets_.insert_or_assign(key_of(begin), ticket);
    if (!is_new) return;
    order_.push_back(at->first);
    if (order_.size() <= kMax) return;
    tickets_.erase(order_.front());
    order_.pop_front();
  }
  // The spool refused it.
  void forget(const SpoolRef& begin, uint64_t ticket) {
    const auto found = tickets_.find(key_of(begin));
    if (found != tickets_.end() && found->second == ticket) found->second = kRefused;
  }
  std::optional<uint64_t> find(const SpoolRef& begin) const {
    const auto found = tickets_.find(key_of(begin));
    return found == tickets_.end() || found->second == kRefused ? std::nullopt : std::optional(found->second);
  }

 private:
  static constexpr uint64_t kRefused = UINT64_MAX;
  using Key = std::tuple<ShardId, Offset, LeaderEpoch>;
  static Key key_of(const SpoolRef& begin) { return {begin.shard, begin.offset, begin.epoch}; }
  std::map<Key, uint64_t> tickets_;
  std::deque<Key> order_;  // as they came
};

}  // namespace robustmq::broker
