// Offsets: the committed offsets of consumer groups, in memory and as key-value rows.
//
// Row key: "group.offset/", then big-endian tenant (4), length of the group's name (2), name, topic id (16), partition (4): so
// the offsets of one group lie together. Row value: CommittedOffset in the wire codec. The topic's id is part of the key, so an
// offset never applies to another incarnation of a name.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/callback.h"
#include "base/describe.h"
#include "base/ids.h"
#include "base/result.h"
#include "broker/group/options.h"
#include "storage/kv.h"

namespace robustmq::broker {

struct CommittedOffset {
  Offset offset = -1;
  LeaderEpoch leader_epoch = -1;
  std::string metadata;
  int64_t committed_at_ms = 0;
  std::string topic;           // its name when it was committed
  bool is_light = false;       // not in the catalog then: a light topic
  int64_t expires_at_ms = -1;  // asked for at the commit; -1: as the node's options say
  int64_t sequence = 0;        // of the commit, among all of the node

  template <class V>
  static void describe(V& v) {
    using C = CommittedOffset;
    v.field("offset", &C::offset);
    v.field("leader_epoch", &C::leader_epoch);
    v.field("metadata", &C::metadata);
    v.field("committed_at_ms", &C::committed_at_ms);
    v.field("topic", &C::topic);
    v.field("is_light", &C::is_light);
    v.field("expires_at_ms", &C::expires_at_ms);
    v.field("sequence", &C::sequence);
  }
};

std::string offset_key(TenantId tenant, std::string_view group, const ShardId& shard);
struct OffsetKey {
  TenantId tenant = 0;
  std::string group;
  ShardId shard;
};
// malformed when it is no offset's key.
Result<OffsetKey> parse_offset_key(std::string_view key);

// Lives on the key-value store's core. Invariant: what it shows is durable. Limit: GroupOptions::offsets_max rows.
class Offsets {
 public:
  using Rows = std::map<ShardId, CommittedOffset>;
  using GroupKey = std::pair<TenantId, std::string>;
  struct Change {
    ShardId shard;
    CommittedOffset row;
  };

  // Both outlive it.
  Offsets(storage::Kv& kv, const GroupOptions& options, GroupMetrics& metrics);

  // Reads all rows. `done` may come after this object's end with nothing done (see ~Offsets).
  void load(Callback<void(Status)> done);
  // Writes rows of one group; they show once durable, then `done` comes. A later call never overtakes an earlier one.
  // Errors: quota_exceeded (one row more than the limit), storage_*: nothing of this call took effect.
  void commit(TenantId tenant, const std::string& group, std::vector<Change> changes, Callback<void(Status)> done);
  // The same for what was counted before, together with other rows' changes.
  void commit_with(storage::KvBatch batch, TenantId tenant, const std::string& group, std::vector<Change> changes,
                   Callback<void(Status)> done);
  // Whether this many rows more may come.
  bool has_room(size_t added) const { return rows_ + rows_under_way_ + static_cast<int64_t>(added) <= options_.offsets_max; }
  void remove_group(TenantId tenant, const std::string& group, Callback<void(Status)> done);
  void remove(TenantId tenant, const std::string& group, std::vector<ShardId> shards, Callback<void(Status)> done);
  // Every group's offsets of a topic that is gone.
  void remove_topic(const TopicId& topic);

  // Commits are numbered in the order in which they were asked for, those in transactions too.
  int64_t next_sequence() { return ++last_sequence_; }
  void note_sequence(int64_t sequence) { last_sequence_ = std::max(last_sequence_, sequence); }
  // Whether a commit of this sequence is the group's latest of the partition, an older one, or one that another is being written
  // over.
  enum class Age : uint8_t { newest, overtaken, being_overtaken };
  Age age_of(const GroupKey& group, const ShardId& shard, int64_t sequence) const;

  // nullptr when the group has none.
  const Rows* rows_of(TenantId tenant, const std::string& group) const;
  const std::map<GroupKey, Rows>& groups() const { return groups_; }

 private:
  void load_from(std::string from, Callback<void(Status)> done);
  void write(storage::KvBatch batch, const GroupKey& key, std::vector<Change> changes, int64_t added,
             Callback<void(Status)> done);

  storage::Kv& kv_;
  const GroupOptions& options_;
  GroupMetrics& metrics_;
  std::map<GroupKey, Rows> groups_;
  std::map<GroupKey, std::map<ShardId, int64_t>> under_way_;  // the last sequence that is being written
  int64_t last_sequence_ = 0;
  int64_t rows_ = 0;                                            // shown
  int64_t rows_under_way_ = 0;                                  // at most this many more once the writes under way are done
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // so a write that ends later does nothing
};

}  // namespace robustmq::broker
