// RaftGroup: the shell around one replica of a group: carries the pure machine's actions to the log and the key-value store, and
// applies what is committed. Not pure.
//
// Group commit: while one append is on its way to the disk, proposals gather and share the next. The log is kept short: past
// `snapshot_bytes` of entries the state is written as a snapshot and the log trimmed behind it.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/anchor.h"
#include "base/callback.h"
#include "base/result.h"
#include "raft/machine.h"
#include "raft/raft.h"
#include "runtime/core.h"
#include "storage/kv.h"
#include "storage/log.h"

namespace robustmq::raft {

struct GroupOptions {
  GroupId group = 0;
  NodeId self = 0;
  std::vector<NodeId> members = {0};  // this version: `self` alone, else the start is refused
  uint64_t snapshot_bytes = 1 << 20;  // of entries since the last snapshot
  size_t chunk_bytes = 64 << 10;      // of a snapshot in one row
  size_t command_bytes_max = 1 << 20;
  RaftLimits limits;
};

struct GroupMetrics {
  uint64_t proposals_total = 0;
  uint64_t proposals_failed_total = 0;
  uint64_t appends_total = 0;
  uint64_t snapshots_total = 0;
  int64_t log_bytes = 0;

  template <class V>
  static void describe(V& v) {
    using M = GroupMetrics;
    v.field("proposals_total", &M::proposals_total, {.doc = "Commands proposed."});
    v.field("proposals_failed_total", &M::proposals_failed_total, {.doc = "Commands refused or with an unknown outcome."});
    v.field("appends_total", &M::appends_total, {.doc = "Appends to the group's log; several proposals share one."});
    v.field("snapshots_total", &M::snapshots_total, {.doc = "Snapshots written."});
    v.field("log_bytes", &M::log_bytes, {.doc = "Entries since the last snapshot.", .unit = "bytes"});
  }
};

// Lives on the core of `log` and `kv`, as do all its calls and completions. `kv` and `machine` outlive it.
class RaftGroup {
 public:
  RaftGroup(runtime::Core& core, std::unique_ptr<storage::Log> log, storage::Kv& kv, Machine& machine, GroupOptions options);
  ~RaftGroup();  // waiting proposals fail with shutting_down

  // Restores the machine (snapshot, then the log behind it) and becomes leader; `done` when proposals are taken. Errors:
  // not_supported (more members, or written by a newer version), corrupt_storage, storage_*.
  void start(Callback<void(Status)> done);
  // `done` gets the machine's reply, in the order applied. Errors: storage_full, overloaded, too_large (it has no effect);
  // storage_failed, shutting_down (its outcome is unknown).
  void propose(Bytes command, Callback<void(Result<Bytes>)> done);

  Index applied() const { return applied_; }
  Term term() const { return raft_.term(); }
  const GroupMetrics& metrics() const { return metrics_; }
  bool has_failed() const { return has_failed_; }

 private:
  void load_hard();
  void load_snapshot();
  void load_chunks(SnapshotRow row);
  void load_entries(SnapshotRow row);
  void begin(SnapshotRow row);
  void end_start(Status status);
  void act(Actions actions);
  void do_action(PersistHardState action);
  void do_action(AppendEntries action);
  void do_action(ApplyEntry action);
  void do_action(RefuseProposal action);
  void do_action(BecameLeader action);
  void on_appended(Index last, const Status& status);
  void fail_all();
  void snapshot_if_long();
  void answer(uint64_t proposal, Result<Bytes> result);

  runtime::Core& core_;
  std::unique_ptr<storage::Log> log_;
  storage::Kv& kv_;
  Machine& machine_;
  GroupOptions options_;
  Raft raft_;
  GroupMetrics metrics_;
  Callback<void(Status)> started_;
  HardState hard_;
  std::vector<Entry> entries_;  // while starting
  uint64_t last_proposal_ = 0;
  std::map<uint64_t, Callback<void(Result<Bytes>)>> proposals_;
  Index applied_ = -1;
  Term applied_term_ = 0;
  WallTime applied_stamp_;
  std::deque<Action> actions_;  // one at a time, in order, whatever completes inline
  bool is_acting_ = false;
  bool is_snapshotting_ = false;
  bool has_failed_ = false;
  AnchorOwner<RaftGroup> anchor_;
};

}  // namespace robustmq::raft
