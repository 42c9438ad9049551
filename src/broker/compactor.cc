#include "broker/compactor.h"

#include <algorithm>
#include <utility>

namespace robustmq::broker {
namespace {
constexpr uint64_t kPartBytesMax = 256 << 20;  // that parts are put together to
}  // namespace

void Compactor::start() { core_.arm(timer_, core_.now() + Duration::millis(options_.check_ms)); }

void Compactor::on_timer(void* self) {
  auto& compactor = *static_cast<Compactor*>(self);
  compactor.start();
  compactor.left_alone_.clear();
  // A partition that went while it was measured does not answer.
  if (compactor.at_hand_ && !compactor.streams_.find_open(*compactor.at_hand_)) compactor.at_hand_.reset();
  if (!compactor.at_hand_) compactor.look();
}

void Compactor::changed(const TopicId& topic) {
  std::erase_if(uncleanable_, [&](const ShardId& id) { return id.topic == topic; });
  metrics_.partitions_uncleanable = static_cast<int64_t>(uncleanable_.size());
}

void Compactor::later(void (Compactor::*next)()) {
  core_.post([self = anchor_.anchor(this), next] {
    if (Compactor* compactor = self.get(); compactor && !compactor->at_hand_) (compactor->*next)();
  });
}

void Compactor::look() {
  to_measure_.clear();
  best_.reset();
  dirty_bytes_ = 0;
  dirty_most_ = 0;
  streams_.for_each_open([this](const meta::Topic& topic, const shard::Shard& shard) {
    if (meta::compacts(topic.config.cleanup_policy)) to_measure_.push_back(shard.id());
  });
  metrics_.partitions = static_cast<int64_t>(to_measure_.size());
  measure_next();
}

void Compactor::measure_next() {
  while (!to_measure_.empty()) {
    const ShardId id = to_measure_.back();
    to_measure_.pop_back();
    shard::Shard* shard = streams_.find_open(id);
    if (!shard || uncleanable_.contains(id)) continue;
    at_hand_ = id;
    shard->measure_dirt(streams_.topic_of(id)->config.compaction_lag_min_ms,
                        [self = anchor_.anchor(this), operation = ++operation_, id](const shard::CompactionDirt& dirt) {
                          Compactor* compactor = self.get();
                          if (!compactor || compactor->operation_ != operation) return;
                          compactor->at_hand_.reset();
                          compactor->judge(id, dirt);
                          compactor->later(&Compactor::measure_next);
                        });
    return;
  }
  take_best();
}

void Compactor::judge(const ShardId& id, const shard::CompactionDirt& dirt) {
  dirty_bytes_ += static_cast<int64_t>(dirt.dirty_bytes);
  dirty_most_ = std::max(dirty_most_, dirt.ratio());
  const auto topic = streams_.topic_of(id);
  if (!topic || dirt.dirty_bytes == 0 || left_alone_.contains(id)) return;
  const int64_t age_ms = dirt.oldest_dirty_ms < 0 ? 0 : core_.wall_now().ms - dirt.oldest_dirty_ms;
  const Candidate candidate{id, dirt.ratio(), age_ms > topic->config.compaction_lag_max_ms};
  if (!candidate.is_overdue && candidate.ratio <= topic->config.dirty_ratio_min) return;
  if (!best_ || candidate.goes_before(*best_)) best_ = candidate;
}

void Compactor::take_best() {
  metrics_.dirty_bytes = dirty_bytes_;
  metrics_.dirty_percent_max = static_cast<int64_t>(dirty_most_ * 100);
  if (!best_) return;
  const ShardId id = std::exchange(best_, std::nullopt)->id;
  shard::Shard* shard = streams_.find_open(id);
  if (!shard) return;
  const meta::TopicConfig& config = streams_.topic_of(id)->config;
  shard::CompactionSettings settings;
  settings.delete_retention_ms = config.delete_retention_ms;
  settings.min_lag_ms = config.compaction_lag_min_ms;
  settings.map_bytes_max = static_cast<uint64_t>(options_.memory_bytes);
  settings.part_bytes_max = std::min<uint64_t>(static_cast<uint64_t>(config.segment_bytes), kPartBytesMax);
  settings.bytes_per_second = static_cast<uint64_t>(options_.bytes_per_second);
  at_hand_ = id;
  shard->compact(settings, [self = anchor_.anchor(this), operation = ++operation_, id](const Result<shard::Compacted>& result) {
    Compactor* compactor = self.get();
    if (!compactor || compactor->operation_ != operation) return;
    compactor->at_hand_.reset();
    compactor->on_compacted(id, result);
    compactor->later(&Compactor::look);
  });
}

void Compactor::on_compacted(const ShardId& id, const Result<shard::Compacted>& result) {
  if (!result.ok()) {
    left_alone_.insert(id);
    if (result.code() == Code::shutting_down) return;  // the partition is gone
    ++metrics_.runs_failed_total;
    if (result.code() != Code::corrupt_storage && result.code() != Code::too_large) return;
    uncleanable_.insert(id);
    metrics_.partitions_uncleanable = static_cast<int64_t>(uncleanable_.size());
    return;
  }
  if (!result->is_map_full) left_alone_.insert(id);
  ++metrics_.runs_total;
  metrics_.runs_without_room_total += result->is_map_full ? 1 : 0;
  metrics_.read_bytes_total += result->bytes_read;
  metrics_.before_bytes_total += result->bytes_before;
  metrics_.after_bytes_total += result->bytes_after;
  metrics_.records_removed_total += result->counts.records_removed;
  metrics_.records_without_key_total += result->counts.keyless_removed;
  metrics_.tombstones_removed_total += result->counts.tombstones_removed;
  metrics_.markers_removed_total += result->counts.markers_removed;
  metrics_.batches_unreadable_total += result->counts.batches_unreadable;
}

}  // namespace robustmq::broker
