#include "broker/lease/queue_rows.h"

#include <cstring>
#include <utility>

#include "storage/row_key.h"

namespace robustmq::broker {
namespace {

constexpr char kSnapshot = 's';
constexpr char kChange = 'd';
constexpr size_t kQueueNumberBytes = 8;

}  // namespace

const std::string_view kQueueRows = "queue/";

std::string queue_rows_of(TenantId tenant, const TopicId& topic) {
  std::string key(kQueueRows);
  storage::put_big_endian(tenant, 4, key);
  key.append(reinterpret_cast<const char*>(topic.bytes.data()), topic.bytes.size());
  return key;
}

std::string queue_rows_of(TenantId tenant, const ShardId& shard) {
  std::string key = queue_rows_of(tenant, shard.topic);
  storage::put_big_endian(static_cast<uint32_t>(shard.partition), 4, key);
  return key;
}

std::string queue_rows_of(const QueueKey& queue) {
  std::string key = queue_rows_of(queue.tenant, queue.shard);
  storage::put_big_endian(queue.name.size(), 2, key);
  return key + queue.name;
}

std::optional<std::pair<TenantId, TopicId>> topic_of_queue_row(std::string_view key) {
  TopicId topic;
  if (!key.starts_with(kQueueRows) || key.size() < kQueueRows.size() + 4 + topic.bytes.size()) return std::nullopt;
  key.remove_prefix(kQueueRows.size());
  const auto tenant = static_cast<TenantId>(storage::big_endian(key.substr(0, 4)));
  std::memcpy(topic.bytes.data(), key.data() + 4, topic.bytes.size());
  return std::pair(tenant, topic);
}

std::optional<QueueKey> queue_of_row(std::string_view key) {
  constexpr size_t kShardBytes = 4 + sizeof(TopicId::bytes) + 4;
  const auto topic = topic_of_queue_row(key);
  if (!topic || key.size() < kQueueRows.size() + kShardBytes + 2) return std::nullopt;
  const std::string_view rest = key.substr(kQueueRows.size() + kShardBytes);
  const size_t length = static_cast<size_t>(storage::big_endian(rest.substr(0, 2)));
  if (rest.size() < 2 + length) return std::nullopt;
  const auto partition = static_cast<int32_t>(storage::big_endian(key.substr(kQueueRows.size() + kShardBytes - 4, 4)));
  return QueueKey{topic->first, {topic->second, partition}, std::string(rest.substr(2, length))};
}

std::string snapshot_key(const QueueKey& queue) { return queue_rows_of(queue) + kSnapshot; }

std::string change_key(const QueueKey& queue, uint64_t number) {
  std::string key = queue_rows_of(queue) + kChange;
  storage::put_big_endian(number, kQueueNumberBytes, key);
  return key;
}

std::optional<uint64_t> change_number(std::string_view rest) {
  if (rest.size() != 1 + kQueueNumberBytes || rest[0] != kChange) return std::nullopt;
  return storage::big_endian(rest.substr(1));
}

}  // namespace robustmq::broker
