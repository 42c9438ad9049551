#include "broker/extensions/flapping.h"

namespace robustmq::broker {

bool Flapping::note_end(std::string_view client_id, Instant now) {
  if (!options_.flapping_detected || client_id.empty()) return false;
  auto found = seen_.find(client_id);
  if (found == seen_.end()) {
    if (!has_room(now)) {
      ++metrics_.flapping_unwatched_total;
      return false;
    }
    found = seen_.emplace(std::string(client_id), Seen{now, 0}).first;
  }
  Seen& seen = found->second;
  if (is_over(seen, now)) seen = {now, 0};
  if (++seen.ends < options_.flapping_ends_max) return false;
  seen_.erase(found);
  ++metrics_.flapping_total;
  return true;
}

// Looks through all of them at most twice a window, so that a full house costs no more.
bool Flapping::has_room(Instant now) {
  const auto limit = static_cast<size_t>(options_.flapping_clients_max);
  if (seen_.size() < limit) return true;
  if (now - swept_at_ < Duration::millis(options_.flapping_window_ms / 2)) return false;
  swept_at_ = now;
  std::erase_if(seen_, [&](const auto& one) { return is_over(one.second, now); });
  return seen_.size() < limit;
}

}  // namespace robustmq::broker
