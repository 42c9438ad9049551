#include "protocol/kafka/share_sessions.h"

#include <algorithm>

#include "protocol/kafka/fetch_sessions.h"

namespace robustmq::kafka {

void ShareSession::add(const ShardId& partition) {
  if (std::find(partitions_.begin(), partitions_.end(), partition) == partitions_.end()) partitions_.push_back(partition);
}

void ShareSession::forget(const ShardId& partition) { std::erase(partitions_, partition); }

std::vector<ShardId> ShareSession::in_turn() const {
  std::vector<ShardId> turned = partitions_;
  if (!turned.empty()) {
    const auto first = static_cast<std::ptrdiff_t>(static_cast<size_t>(next_epoch_) % turned.size());
    std::rotate(turned.begin(), turned.begin() + first, turned.end());
  }
  return turned;
}

ShareSessions::Found ShareSessions::take(std::string_view group, std::string_view member, int32_t epoch) {
  const Key key(group, member);
  const auto found = sessions_.find(key);
  if (epoch == kOpenEpoch) {
    if (found != sessions_.end()) {
      found->second = ShareSession();
      return {&found->second};
    }
    if (places_.sessions >= places_.sessions_max) return {nullptr, KafkaError::share_session_limit_reached};
    ++places_.sessions;
    return {&sessions_[key]};
  }
  if (found == sessions_.end()) return {nullptr, KafkaError::share_session_not_found};
  ShareSession& session = found->second;
  if (epoch == kFinalEpoch) return {&session};
  if (epoch != session.next_epoch_) return {nullptr, KafkaError::invalid_share_session_epoch};
  session.next_epoch_ = epoch_after(epoch);
  return {&session};
}

void ShareSessions::end(std::string_view group, std::string_view member) {
  places_.sessions -= sessions_.erase(Key(group, member));
}

}  // namespace robustmq::kafka
