#include "protocol/kafka/fetch_sessions.h"

#include <utility>

namespace robustmq::kafka {
namespace {

// splitmix64.
uint64_t next_random(uint64_t& state) {
  uint64_t z = state += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

}  // namespace

void FetchSession::put(FetchSessionPartition wanted) {
  Key key{wanted.topic, wanted.id, wanted.partition};
  if (FetchSessionPartition* known = find(key)) {
    known->from = wanted.from;
    known->current_leader_epoch = wanted.current_leader_epoch;
    known->last_fetched_epoch = wanted.last_fetched_epoch;
    known->bytes_max = wanted.bytes_max;
    return;
  }
  partitions_.push_back(std::move(wanted));
  by_key_.emplace(std::move(key), std::prev(partitions_.end()));
}

void FetchSession::forget(const Key& key) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return;
  partitions_.erase(found->second);
  by_key_.erase(found);
}

FetchSessionPartition* FetchSession::find(const Key& key) {
  const auto found = by_key_.find(key);
  return found == by_key_.end() ? nullptr : &*found->second;
}

void FetchSession::move_last(const Key& key) {
  const auto found = by_key_.find(key);
  if (found != by_key_.end()) partitions_.splice(partitions_.end(), partitions_, found->second);
}

FetchSessions::Found FetchSessions::find(int32_t id, int32_t epoch, bool uses_ids, Instant now) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return {nullptr, KafkaError::fetch_session_id_not_found};
  FetchSession& session = *found->second;
  if (session.next_epoch_ != epoch) return {nullptr, KafkaError::invalid_fetch_session_epoch};
  if (session.uses_ids_ != uses_ids) return {nullptr, KafkaError::fetch_session_topic_id_error};
  session.next_epoch_ = epoch_after(epoch);
  session.used_at_ = now;
  return {found->second, KafkaError::none};
}

bool FetchSessions::open(const std::shared_ptr<FetchSession>& session, bool uses_ids, Instant now) {
  if (!make_room(session->size(), now)) return false;
  int32_t id = 0;
  while (id == 0 || sessions_.contains(id)) id = static_cast<int32_t>(next_random(random_) & 0x7fffffff);
  session->id_ = id;
  session->uses_ids_ = uses_ids;
  session->used_at_ = now;
  session->counted_ = session->size();
  partitions_ += session->counted_;
  sessions_.emplace(id, session);
  return true;
}

void FetchSessions::end(int32_t id) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return;
  partitions_ -= found->second->counted_;
  sessions_.erase(found);
}

void FetchSessions::recount(FetchSession& session) {
  if (!sessions_.contains(session.id_)) return;
  partitions_ += session.size() - std::exchange(session.counted_, session.size());
  if (partitions_ <= limits_.partitions_max) return;
  ++evicted_;
  end(session.id_);
}

bool FetchSessions::make_room(size_t partitions, Instant now) {
  if (partitions > limits_.partitions_max || limits_.sessions_max == 0) return false;
  while (sessions_.size() >= limits_.sessions_max || partitions_ + partitions > limits_.partitions_max) {
    const FetchSession* idle = nullptr;
    const FetchSession* smallest = nullptr;
    for (const auto& [id, session] : sessions_) {
      if (!idle || session->used_at_ < idle->used_at_) idle = session.get();
      if (!smallest || session->size() < smallest->size()) smallest = session.get();
    }
    const bool is_idle = idle && now - idle->used_at_ >= limits_.idle;
    const FetchSession* goes = is_idle ? idle : smallest;
    if (!goes || (!is_idle && goes->size() >= partitions)) return false;
    ++evicted_;
    end(goes->id());
  }
  return true;
}

}  // namespace robustmq::kafka
