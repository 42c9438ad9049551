// Raft: one replica's consensus as a pure machine: step(event) -> actions. Pure.
//
// After "In Search of an Understandable Consensus Algorithm" (Ongaro, Ousterhout 2014). This version has groups of one member,
// which is its own majority: it begins each life with a new term and its own vote, persisted before anything else; its first
// entry in the term is a no-op (section 8); it commits what is persisted once an entry of its own term is among it (5.4.2).
// Elections and replication are further events and actions of the same machine; the stored format has them already.
//
// Invariants: 1. applied <= committed <= persisted <= last. 2. Terms and stamps never fall along the log. 3. Nothing is
// appended or committed in a term whose hard state is not persisted.
#pragma once

#include <cstdint>
#include <deque>
#include <variant>
#include <vector>

#include "base/result.h"
#include "raft/entry.h"

namespace robustmq::raft {

// ---- What happened ----

struct Started {
  NodeId self = 0;
  std::vector<NodeId> members;  // of the configuration; this version: `self` alone
  HardState hard;
  SnapshotRow snapshot;        // index -1: none
  std::vector<Entry> entries;  // the stored log behind the snapshot
};
struct HardStatePersisted {
  Term term = 0;
};
struct Propose {
  uint64_t id = 0;  // the proposer's, for Replied and Refused
  Bytes command;
  WallTime now;
};
struct EntriesPersisted {
  Index last = 0;
};
// The append under way was refused and nothing of it is stored (a full disk).
struct AppendRefused {
  Code code = Code::storage_full;
};
using Event = std::variant<Started, HardStatePersisted, Propose, EntriesPersisted, AppendRefused>;

// ---- What is to be done, in order ----

struct PersistHardState {
  HardState hard;
};
// At most one append is under way: what is proposed meanwhile shares the next one.
struct AppendEntries {
  std::vector<Entry> entries;
};
struct ApplyEntry {
  Entry entry;
  uint64_t proposal = 0;  // 0: of an earlier life, or a no-op
};
struct RefuseProposal {
  uint64_t proposal = 0;
  Error error;
};
// The first entry of this term is applied: everything before this life is known, and proposals are taken.
struct BecameLeader {};
using Action = std::variant<PersistHardState, AppendEntries, ApplyEntry, RefuseProposal, BecameLeader>;
using Actions = std::vector<Action>;

struct RaftLimits {
  size_t proposals_max = 10'000;  // that wait for the log; more are refused as overloaded
};

class Raft {
 public:
  explicit Raft(RaftLimits limits = {}) : limits_(limits) {}

  // Error of Started: not_supported (more members), corrupt_storage (entries that are no chain).
  Status start(Started started, Actions& actions);
  void step(Event event, Actions& actions);

  Term term() const { return hard_.term; }
  Index last() const { return last_; }
  Index persisted() const { return persisted_; }
  Index committed() const { return committed_; }
  bool is_leader() const { return is_leader_; }
  WallTime last_stamp() const { return last_stamp_; }

 private:
  struct Pending {
    Entry entry;
    uint64_t proposal = 0;
  };

  void on(HardStatePersisted event, Actions& actions);
  void on(Propose event, Actions& actions);
  void on(EntriesPersisted event, Actions& actions);
  void on(AppendRefused event, Actions& actions);
  void on(Started, Actions&);
  void enqueue(EntryKind kind, Bytes command, WallTime now, uint64_t proposal);
  void append_waiting(Actions& actions);
  void commit(Actions& actions);

  RaftLimits limits_;
  NodeId self_ = 0;
  HardState hard_;
  bool hard_is_persisted_ = false;
  bool is_leader_ = false;
  Index last_ = -1;  // given to the log
  Index persisted_ = -1;
  Index committed_ = -1;  // and handed out to be applied
  WallTime last_stamp_;
  std::deque<Pending> uncommitted_;  // in the log, or on their way into it, behind committed_
  std::deque<Pending> waiting_;      // for the append under way to end; their indexes are given then
};

}  // namespace robustmq::raft
