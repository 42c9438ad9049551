#include "broker/group/offsets.h"

#include "base/wire.h"
#include "storage/row_key.h"

namespace robustmq::broker {
namespace {

constexpr std::string_view kOffsetPrefix = "group.offset/";
constexpr size_t kOffsetRowsAPage = 1000;

using storage::big_endian;
using storage::put_big_endian;

std::string group_prefix(TenantId tenant, std::string_view group) {
  std::string key(kOffsetPrefix);
  put_big_endian(tenant, 4, key);
  put_big_endian(group.size(), 2, key);
  key += group;
  return key;
}

}  // namespace

std::string offset_key(TenantId tenant, std::string_view group, const ShardId& shard) {
  std::string key = group_prefix(tenant, group);
  key += as_text(shard.topic.bytes);
  put_big_endian(static_cast<uint32_t>(shard.partition), 4, key);
  return key;
}

Result<OffsetKey> parse_offset_key(std::string_view key) {
  const Error malformed{Code::malformed, "not the key of a committed offset"};
  constexpr size_t kGroupAt = kOffsetPrefix.size() + 6;
  constexpr size_t kShardBytes = 20;
  if (!key.starts_with(kOffsetPrefix) || key.size() < kGroupAt + kShardBytes) return malformed;
  OffsetKey out;
  out.tenant = static_cast<TenantId>(big_endian(key.substr(kOffsetPrefix.size(), 4)));
  const size_t length = big_endian(key.substr(kOffsetPrefix.size() + 4, 2));
  if (key.size() != kGroupAt + length + kShardBytes) return malformed;
  out.group = key.substr(kGroupAt, length);
  const std::string_view shard = key.substr(kGroupAt + length);
  std::memcpy(out.shard.topic.bytes.data(), shard.data(), out.shard.topic.bytes.size());
  out.shard.partition = static_cast<int32_t>(big_endian(shard.substr(16)));
  return out;
}

Offsets::Offsets(storage::Kv& kv, const GroupOptions& options, GroupMetrics& metrics)
    : kv_(kv), options_(options), metrics_(metrics) {}

void Offsets::load(Callback<void(Status)> done) { load_from(std::string(kOffsetPrefix), std::move(done)); }

void Offsets::load_from(std::string from, Callback<void(Status)> done) {
  auto page = [this, alive = std::weak_ptr<bool>(alive_), done = std::move(done)](Result<storage::KvRows> rows) mutable {
    if (alive.expired()) return;
    if (!rows.ok()) return done(rows.error());
    for (auto& [key, value] : *rows) {
      Result<OffsetKey> at = parse_offset_key(key);
      Result<CommittedOffset> row = decode_described<CommittedOffset>(as_bytes(value));
      if (!at.ok() || !row.ok()) {
        return done(Error{Code::corrupt_storage, "a committed offset: " + (at.ok() ? row.error() : at.error()).detail});
      }
      note_sequence(row->sequence);
      rows_ += groups_[{at->tenant, std::move(at->group)}].insert_or_assign(at->shard, row.take()).second;
    }
    metrics_.offsets = rows_;
    if (rows->size() < kOffsetRowsAPage) return done({});
    load_from(rows->back().first + '\0', std::move(done));
  };
  kv_.scan(from, storage::end_of(std::string(kOffsetPrefix)), kOffsetRowsAPage, std::move(page));
}

void Offsets::commit(TenantId tenant, const std::string& group, std::vector<Change> changes, Callback<void(Status)> done) {
  const Rows* rows = rows_of(tenant, group);
  int64_t added = 0;
  storage::KvBatch batch;
  for (Change& change : changes) {
    change.row.sequence = next_sequence();
    added += rows == nullptr || !rows->contains(change.shard);
    batch.put(offset_key(tenant, group, change.shard), encode_described(change.row));
  }
  if (added > 0 && rows_ + rows_under_way_ + added > options_.offsets_max) {
    metrics_.offsets_refused_total += changes.size();
    return done(Error{Code::quota_exceeded, "the number of committed offsets is at its limit"});
  }
  std::map<ShardId, int64_t>& newest = under_way_[{tenant, group}];
  for (const Change& change : changes) newest[change.shard] = change.row.sequence;
  write(std::move(batch), {tenant, group}, std::move(changes), added, std::move(done));
}

void Offsets::commit_with(storage::KvBatch batch, TenantId tenant, const std::string& group, std::vector<Change> changes,
                          Callback<void(Status)> done) {
  for (const Change& change : changes) batch.put(offset_key(tenant, group, change.shard), encode_described(change.row));
  write(std::move(batch), {tenant, group}, std::move(changes), 0, std::move(done));
}

void Offsets::write(storage::KvBatch batch, const GroupKey& group, std::vector<Change> changes, int64_t added,
                    Callback<void(Status)> done) {
  rows_under_way_ += added;
  auto written = [this, alive = std::weak_ptr<bool>(alive_), key = group, added, changes = std::move(changes),
                  done = std::move(done)](Status status) mutable {
    if (alive.expired()) return;
    rows_under_way_ -= added;
    if (const auto newest = under_way_.find(key); newest != under_way_.end()) {
      for (const Change& change : changes) {
        const auto at = newest->second.find(change.shard);
        if (at != newest->second.end() && at->second == change.row.sequence) newest->second.erase(at);
      }
      if (newest->second.empty()) under_way_.erase(newest);
    }
    if (status.ok()) {
      if (changes.empty()) return done(status);
      Rows& shown = groups_[key];
      for (Change& change : changes) rows_ += shown.insert_or_assign(change.shard, std::move(change.row)).second;
      metrics_.offsets = rows_;
      metrics_.offsets_committed_total += changes.size();
    }
    done(status);
  };
  kv_.write(std::move(batch), std::move(written));
}

void Offsets::remove_group(TenantId tenant, const std::string& group, Callback<void(Status)> done) {
  storage::KvBatch batch;
  const std::string prefix = group_prefix(tenant, group);
  // All shards' keys of this group are 20 bytes longer; a longer group name has another length before it.
  batch.remove_range(prefix, prefix + std::string(21, '\xff'));
  auto removed = [this, alive = std::weak_ptr<bool>(alive_), key = GroupKey(tenant, group),
                  done = std::move(done)](Status status) mutable {
    if (alive.expired()) return;
    if (const auto at = groups_.find(key); status.ok() && at != groups_.end()) {
      rows_ -= static_cast<int64_t>(at->second.size());
      groups_.erase(at);
      metrics_.offsets = rows_;
    }
    done(status);
  };
  kv_.write(std::move(batch), std::move(removed));
}

void Offsets::remove(TenantId tenant, const std::string& group, std::vector<ShardId> shards, Callback<void(Status)> done) {
  storage::KvBatch batch;
  for (const ShardId& shard : shards) batch.remove(offset_key(tenant, group, shard));
  auto removed = [this, alive = std::weak_ptr<bool>(alive_), key = GroupKey(tenant, group), shards = std::move(shards),
                  done = std::move(done)](Status status) mutable {
    if (alive.expired()) return;
    if (const auto at = groups_.find(key); status.ok() && at != groups_.end()) {
      for (const ShardId& shard : shards) rows_ -= static_cast<int64_t>(at->second.erase(shard));
      if (at->second.empty()) groups_.erase(at);
      metrics_.offsets = rows_;
    }
    done(status);
  };
  kv_.write(std::move(batch), std::move(removed));
}

void Offsets::remove_topic(const TopicId& topic) {
  std::vector<std::pair<GroupKey, std::vector<ShardId>>> doomed;
  for (const auto& [key, rows] : groups_) {
    std::vector<ShardId> shards;
    for (auto at = rows.lower_bound(ShardId{topic, 0}); at != rows.end() && at->first.topic == topic; ++at)
      shards.push_back(at->first);
    if (!shards.empty()) doomed.emplace_back(key, std::move(shards));
  }
  for (auto& [key, shards] : doomed) {
    metrics_.offsets_expired_total += shards.size();
    // Where it fails the rows stay; they belong to an id that nobody asks for, and the next look at the ages takes them.
    remove(key.first, key.second, std::move(shards), [](Status) {});
  }
}

Offsets::Age Offsets::age_of(const GroupKey& group, const ShardId& shard, int64_t sequence) const {
  if (const auto writing = under_way_.find(group); writing != under_way_.end()) {
    const auto at = writing->second.find(shard);
    if (at != writing->second.end() && at->second > sequence) return Age::being_overtaken;
  }
  const Rows* rows = rows_of(group.first, group.second);
  const auto at = rows ? rows->find(shard) : Rows::const_iterator();
  return rows && at != rows->end() && at->second.sequence > sequence ? Age::overtaken : Age::newest;
}

const Offsets::Rows* Offsets::rows_of(TenantId tenant, const std::string& group) const {
  const auto at = groups_.find({tenant, group});
  return at == groups_.end() ? nullptr : &at->second;
}

}  // namespace robustmq::broker
