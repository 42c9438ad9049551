// PendingOffsets: offsets that consumer groups commit in transactions, until those end, in memory and as key-value rows.
//
// Row key: "group.pending/", then big-endian tenant (4), length of the group's name (2), name, producer id (8), topic id (16),
// partition (4): so what one producer has pending in a group lies together. Row value: CommittedOffset in the wire codec.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "broker/group/offsets.h"

namespace robustmq::broker {

// Lives on the key-value store's core. Limit: with the committed offsets, GroupOptions::offsets_max rows.
class PendingOffsets {
 public:
  // Both outlive it.
  PendingOffsets(storage::Kv& kv, Offsets& offsets) : kv_(kv), offsets_(offsets) {}

  void load(Callback<void(Status)> done) { load_from({}, std::move(done)); }
  // Pending at once, durable when `done` says ok. Errors: quota_exceeded: nothing of this call is pending; storage_*: it stays
  // pending until the transaction ends, which the producer, told of it, aborts.
  void add(TenantId tenant, const std::string& group, ProducerId producer, std::vector<Offsets::Change> changes,
           Callback<void(Status)> done);
  // The producer's transaction has ended: its offsets are the group's committed ones, or forgotten; both in one write. What the
  // group has committed since, in no transaction, stays. Errors: storage_*, and overloaded while such a commit is being written:
  // to be tried again.
  void end(TenantId tenant, const std::string& group, ProducerId producer, bool commits, Callback<void(Status)> done);
  // Of one producer; an offset that is being written counts as pending.
  using Rows = std::map<ShardId, CommittedOffset>;
  const std::map<Offsets::GroupKey, std::map<ProducerId, Rows>>& groups() const { return groups_; }
  bool is_pending(TenantId tenant, const std::string& group, const ShardId& shard) const;

 private:
  void load_from(std::string from, Callback<void(Status)> done);

  storage::Kv& kv_;
  Offsets& offsets_;
  std::map<Offsets::GroupKey, std::map<ProducerId, Rows>> groups_;
  int64_t rows_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace robustmq::broker
