// ShardQueue: who of several consumers gets the next records.
#include "broker/lease/shard_queue.h"

namespace robustmq::broker {

// At least one.
size_t ShardQueue::choose(const std::vector<const std::string*>& consumers) {
  if (settings_.dispatch == QueueSettings::Dispatch::random) return static_cast<size_t>(core_.random() % consumers.size());
  if (settings_.dispatch == QueueSettings::Dispatch::round_robin) return 0;
  size_t least = 0;
  int64_t least_held = INT64_MAX;
  for (size_t i = 0; i < consumers.size(); ++i) {
    const auto found = consumers_.find(*consumers[i]);
    const int64_t held = found == consumers_.end() ? 0 : queue_->in_flight_of(found->second.id);
    if (held >= least_held) continue;
    least = i;
    least_held = held;
  }
  return least;
}

}  // namespace robustmq::broker
