#include "broker/group/pending_offsets.h"

#include "base/wire.h"
#include "storage/row_key.h"

namespace robustmq::broker {
namespace {

constexpr std::string_view kPendingPrefix = "group.pending/";
constexpr std::string_view kPrefixEnd = "group.pending0";  // the character behind '/'
constexpr size_t kPendingRowsAPage = 1000;
constexpr size_t kShardBytes = 20;
constexpr size_t kGroupAt = kPendingPrefix.size() + 6;

using storage::big_endian;
using storage::put_big_endian;

std::string producer_prefix(TenantId tenant, std::string_view group, ProducerId producer) {
  std::string key(kPendingPrefix);
  put_big_endian(tenant, 4, key);
  put_big_endian(group.size(), 2, key);
  key += group;
  put_big_endian(static_cast<uint64_t>(producer), 8, key);
  return key;
}

std::string pending_key(TenantId tenant, std::string_view group, ProducerId producer, const ShardId& shard) {
  std::string key = producer_prefix(tenant, group, producer);
  key += as_text(shard.topic.bytes);
  put_big_endian(static_cast<uint32_t>(shard.partition), 4, key);
  return key;
}

struct PendingKey {
  Offsets::GroupKey group;
  ProducerId producer = -1;
  ShardId shard;
};
Result<PendingKey> parse(std::string_view key) {
  const Error malformed{Code::malformed, "not the key of a pending offset"};
  if (!key.starts_with(kPendingPrefix) || key.size() < kGroupAt + 8 + kShardBytes) return malformed;
  PendingKey out;
  out.group.first = static_cast<TenantId>(big_endian(key.substr(kPendingPrefix.size(), 4)));
  const size_t length = big_endian(key.substr(kPendingPrefix.size() + 4, 2));
  if (key.size() != kGroupAt + length + 8 + kShardBytes) return malformed;
  out.group.second = key.substr(kGroupAt, length);
  out.producer = static_cast<ProducerId>(big_endian(key.substr(kGroupAt + length, 8)));
  const std::string_view shard = key.substr(kGroupAt + length + 8);
  std::memcpy(out.shard.topic.bytes.data(), shard.data(), out.shard.topic.bytes.size());
  out.shard.partition = static_cast<int32_t>(big_endian(shard.substr(16)));
  return out;
}

}  // namespace

void PendingOffsets::load_from(std::string from, Callback<void(Status)> done) {
  if (from.empty()) from = kPendingPrefix;
  auto page = [this, alive = std::weak_ptr<bool>(alive_), done = std::move(done)](Result<storage::KvRows> rows) mutable {
    if (alive.expired()) return;
    if (!rows.ok()) return done(rows.error());
    for (const auto& [key, value] : *rows) {
      const Result<PendingKey> at = parse(key);
      Result<CommittedOffset> row = decode_described<CommittedOffset>(as_bytes(value));
      if (!at.ok() || !row.ok())
        return done(Error{Code::corrupt_storage, "a pending offset: " + (at.ok() ? row.error() : at.error()).detail});
      offsets_.note_sequence(row->sequence);
      rows_ += groups_[at->group][at->producer].insert_or_assign(at->shard, row.take()).second;
    }
    if (rows->size() < kPendingRowsAPage) return done({});
    load_from(rows->back().first + '\0', std::move(done));
  };
  kv_.scan(from, std::string(kPrefixEnd), kPendingRowsAPage, std::move(page));
}

void PendingOffsets::add(TenantId tenant, const std::string& group, ProducerId producer, std::vector<Offsets::Change> changes,
                         Callback<void(Status)> done) {
  if (!offsets_.has_room(static_cast<size_t>(rows_) + changes.size()))
    return done(Error{Code::quota_exceeded, "the number of committed offsets is at its limit"});
  storage::KvBatch batch;
  Rows& rows = groups_[{tenant, group}][producer];
  for (Offsets::Change& change : changes) {
    change.row.sequence = offsets_.next_sequence();
    batch.put(pending_key(tenant, group, producer, change.shard), encode_described(change.row));
    rows_ += rows.insert_or_assign(change.shard, std::move(change.row)).second;
  }
  // One that fails stays pending until its transaction ends: the producer, told of it, aborts that.
  kv_.write(std::move(batch), std::move(done));
}

void PendingOffsets::end(TenantId tenant, const std::string& group, ProducerId producer, bool commits,
                         Callback<void(Status)> done) {
  const Offsets::GroupKey key{tenant, group};
  const auto at = groups_.find(key);
  const auto mine = at == groups_.end() ? std::map<ProducerId, Rows>::iterator() : at->second.find(producer);
  if (at == groups_.end() || mine == at->second.end()) return done({});
  std::vector<Offsets::Change> changes;
  if (commits) {
    for (const auto& [shard, row] : mine->second) {
      // What the group committed later is newer, whatever became of the transaction.
      const Offsets::Age age = offsets_.age_of(key, shard, row.sequence);
      if (age == Offsets::Age::being_overtaken) return done(Code::overloaded);
      if (age == Offsets::Age::newest) changes.push_back({shard, row});
    }
  }
  storage::KvBatch batch;
  const std::string prefix = producer_prefix(tenant, group, producer);
  batch.remove_range(prefix, prefix + std::string(kShardBytes + 1, '\xff'));
  // Pending until the write is done; nothing is added meanwhile, as the transaction is over.
  auto written = [this, alive = std::weak_ptr<bool>(alive_), key, producer,
                  done = std::move(done)](const Status& status) mutable {
    if (alive.expired()) return;
    if (const auto found = groups_.find(key); status.ok() && found != groups_.end()) {
      const auto ended = found->second.find(producer);
      if (ended != found->second.end()) {
        rows_ -= static_cast<int64_t>(ended->second.size());
        found->second.erase(ended);
      }
      if (found->second.empty()) groups_.erase(found);
    }
    done(status);
  };
  offsets_.commit_with(std::move(batch), tenant, group, std::move(changes), std::move(written));
}

bool PendingOffsets::is_pending(TenantId tenant, const std::string& group, const ShardId& shard) const {
  const auto at = groups_.find({tenant, group});
  if (at == groups_.end()) return false;
  for (const auto& [producer, rows] : at->second) {
    if (rows.contains(shard)) return true;
  }
  return false;
}

}  // namespace robustmq::broker
