#include "broker/lease/last_values.h"

#include <algorithm>
#include <utility>

namespace robustmq::broker {

void LastValues::begin(Offset from) {
  newest_.clear();
  replaced_.clear();
  key_bytes_ = 0;
  takes_until_look_ = 0;
  seen_ = start_ = from;
}

bool LastValues::take(std::string_view key, Offset offset) {
  see(offset + 1);
  const auto found = newest_.find(key);
  if (found != newest_.end()) {
    const Offset before = std::exchange(found->second, offset);
    if (before < start_) return true;
    if (replaced_.size() >= replaced_max_) return false;
    replaced_.insert(before);
    return true;
  }
  if (!make_room(key.size() + kKeyCost)) return false;
  newest_.emplace(key, offset);
  key_bytes_ += key.size() + kKeyCost;
  return true;
}

// Looks for keys whose newest record is done now and then: not more often than a quarter of them is new.
bool LastValues::make_room(size_t bytes) {
  if (key_bytes_ + bytes <= key_bytes_max_) return true;
  if (takes_until_look_ > 0) {
    --takes_until_look_;
    return false;
  }
  for (auto at = newest_.begin(); at != newest_.end();) {
    if (at->second >= start_) {
      ++at;
      continue;
    }
    key_bytes_ -= at->first.size() + kKeyCost;
    at = newest_.erase(at);
  }
  takes_until_look_ = newest_.size() / 4;
  return key_bytes_ + bytes <= key_bytes_max_;
}

void LastValues::forget_before(Offset start) {
  start_ = std::max(start_, start);
  see(start_);
  replaced_.erase(replaced_.begin(), replaced_.lower_bound(start_));
}

}  // namespace robustmq::broker
