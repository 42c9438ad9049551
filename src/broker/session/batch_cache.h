// BatchCache: batches of logs, opened, for readers that come close behind each other; the oldest go over a size, which counts
// what they are when they are opened. Pure.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "base/batch.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "shard/record_reader.h"

namespace robustmq::broker {

struct CachedBatch {
  Offset base = 0;
  Offset next = 0;
  LeaderEpoch epoch = 0;
  Bytes owner;                      // what the records' views point into
  std::vector<RecordView> records;  // ascending; offsets may be missing
};

using CachedBatchPtr = std::shared_ptr<const CachedBatch>;

class BatchCache {
 public:
  explicit BatchCache(size_t bytes_max) : bytes_max_(bytes_max) {}

  // Takes one whole batch of `shard`; false when it cannot be read (then its offsets have no records).
  bool add(const ShardId& shard, const Bytes& batch) {
    auto made = std::make_shared<CachedBatch>();
    const BatchView header(batch.span());
    made->base = header.base_offset();
    made->next = header.next_offset();
    made->epoch = header.leader_epoch();
    bool is_readable = true;
    if (!header.is_control()) {
      // A slice would keep all that was read with it.
      const Bytes alone = batch.compact();
      Result<shard::OpenedRecords> opened = shard::open_records(alone, shard::kOpenedBytesMax);
      is_readable = opened.ok();
      if (is_readable) {
        made->owner = opened->owner;
        RecordView record;
        while (opened->records.next(record)) made->records.push_back(record);
        made->records.shrink_to_fit();
      }
    }
    const size_t bytes = made->owner.pinned() + made->records.capacity() * sizeof(RecordView) + kBatchCost;
    auto& of_shard = batches_[shard];
    const auto [at, is_new] = of_shard.try_emplace(made->base);
    at->second = std::move(made);
    // What replaces a batch holds the same records.
    if (is_new) {
      order_.push_back({shard, at->first, bytes});
      bytes_ += bytes;
    }
    while (bytes_ > bytes_max_ && order_.size() > 1) drop_oldest();
    return is_readable;
  }
  // The batch that holds `offset`; nullptr: not here.
  std::shared_ptr<const CachedBatch> find(const ShardId& shard, Offset offset) const {
    const auto found = batches_.find(shard);
    if (found == batches_.end()) return nullptr;
    auto at = found->second.upper_bound(offset);
    if (at == found->second.begin()) return nullptr;
    --at;
    return offset < at->second->next ? at->second : nullptr;
  }
  size_t bytes() const { return bytes_; }

 private:
  static constexpr size_t kBatchCost = 256;  // beside its bytes and its records' views
  struct Place {
    ShardId shard;
    Offset base = 0;
    size_t bytes = 0;
  };
  void drop_oldest() {
    const Place oldest = order_.front();
    order_.pop_front();
    bytes_ -= oldest.bytes;
    const auto found = batches_.find(oldest.shard);
    found->second.erase(oldest.base);
    if (found->second.empty()) batches_.erase(found);
  }

  size_t bytes_max_;
  size_t bytes_ = 0;
  std::map<ShardId, std::map<Offset, std::shared_ptr<const CachedBatch>>> batches_;
  std::deque<Place> order_;
};

// The record at `offset`; nullptr: the batch has none there.
inline const RecordView* record_at(const CachedBatch& batch, Offset offset) {
  const auto index = static_cast<size_t>(offset - batch.base);
  if (index < batch.records.size() && batch.records[index].offset == offset) return &batch.records[index];
  for (const RecordView& record : batch.records) {
    if (record.offset == offset) return &record;
  }
  return nullptr;
}

}  // namespace robustmq::broker
