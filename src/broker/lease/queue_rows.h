// The rows of a queue over a shard: a snapshot, and the changes behind it. Pure.
//
// Key: "queue/", big-endian tenant (4), topic id (16), partition (4), length of the queue's name (2), the name, then 's' for the
// snapshot or 'd' and a big-endian number (8) for a change. So all queues of a partition, and of a topic, lie together. Values
// are in the wire codec: SnapshotRow, ChangeRow. Changes below SnapshotRow::next_change are in the snapshot.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/describe.h"
#include "base/ids.h"
#include "broker/queue/queue.h"

namespace robustmq::broker {

struct QueueKey {
  TenantId tenant = kDefaultTenant;
  ShardId shard;
  std::string name;
  auto operator<=>(const QueueKey&) const = default;
};

// What the keys of rows begin with.
extern const std::string_view kQueueRows;                          // of all queues
std::string queue_rows_of(TenantId tenant, const TopicId& topic);  // of those over a topic
std::string queue_rows_of(TenantId tenant, const ShardId& shard);  // over a partition
std::string queue_rows_of(const QueueKey& queue);                  // of one queue
std::optional<std::pair<TenantId, TopicId>> topic_of_queue_row(std::string_view key);
// Of which queue a row is; nullopt: it is none.
std::optional<QueueKey> queue_of_row(std::string_view key);

std::string snapshot_key(const QueueKey& queue);
std::string change_key(const QueueKey& queue, uint64_t number);

struct SnapshotRow {
  uint64_t next_change = 0;
  Bytes image;  // Queue::snapshot()

  template <class V>
  static void describe(V& v) {
    v.field("next_change", &SnapshotRow::next_change);
    v.field("image", &SnapshotRow::image);
  }
};
struct ChangeRow {
  std::vector<queue::Delta> deltas;

  template <class V>
  static void describe(V& v) {
    v.field("deltas", &ChangeRow::deltas);
  }
};

// The number in a change's key, behind queue_rows_of(queue); nullopt: the snapshot's key, or none.
std::optional<uint64_t> change_number(std::string_view rest);

}  // namespace robustmq::broker
