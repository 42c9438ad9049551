#include "raft/raft.h"

#include <algorithm>
#include <string>

#include "base/check.h"

namespace robustmq::raft {

Status Raft::start(Started started, Actions& actions) {
  if (started.members != std::vector<NodeId>{started.self})
    return Error{Code::not_supported, "a Raft group of more members than this node"};
  if (started.snapshot.index >= 0 && started.snapshot.members != started.members)
    return Error{Code::not_supported, "the snapshot of a Raft group of other members"};
  self_ = started.self;
  committed_ = persisted_ = last_ = started.snapshot.index;
  last_stamp_ = {started.snapshot.stamp_ms};
  Term term = started.snapshot.term;
  for (Entry& entry : started.entries) {
    if (entry.index != last_ + 1)
      return Error{Code::corrupt_storage, "an entry is missing before " + std::to_string(entry.index)};
    if (entry.term < term || entry.stamp < last_stamp_) return Error{Code::corrupt_storage, "a term or stamp fell in a Raft log"};
    term = entry.term;
    last_stamp_ = entry.stamp;
    persisted_ = last_ = entry.index;
    uncommitted_.push_back({std::move(entry), 0});
  }
  if (term > started.hard.term) return Error{Code::corrupt_storage, "a Raft log is ahead of its term"};
  hard_ = {started.hard.term + 1, self_};
  enqueue(EntryKind::no_op, {}, last_stamp_, 0);
  actions.push_back(PersistHardState{hard_});
  return {};
}

void Raft::step(Event event, Actions& actions) {
  std::visit([&](auto& each) { on(std::move(each), actions); }, event);
}

void Raft::on(Started, Actions&) { ROBUSTMQ_CHECK(false, "a group is started once, by start()"); }

void Raft::on(HardStatePersisted event, Actions& actions) {
  if (event.term != hard_.term || hard_is_persisted_) return;
  hard_is_persisted_ = true;
  append_waiting(actions);
}

void Raft::on(Propose event, Actions& actions) {
  if (waiting_.size() >= limits_.proposals_max) {
    actions.push_back(RefuseProposal{event.id, {Code::overloaded, "too many proposals wait"}});
    return;
  }
  enqueue(EntryKind::command, std::move(event.command), event.now, event.id);
  append_waiting(actions);
}

void Raft::enqueue(EntryKind kind, Bytes command, WallTime now, uint64_t proposal) {
  waiting_.push_back({{.stamp = now, .kind = kind, .command = std::move(command)}, proposal});
}

void Raft::append_waiting(Actions& actions) {
  if (!hard_is_persisted_ || last_ != persisted_ || waiting_.empty()) return;
  AppendEntries append;
  for (Pending& pending : waiting_) {
    pending.entry.index = ++last_;
    pending.entry.term = hard_.term;
    last_stamp_ = pending.entry.stamp = std::max(last_stamp_, pending.entry.stamp);
    append.entries.push_back(pending.entry);
    uncommitted_.push_back(std::move(pending));
  }
  waiting_.clear();
  actions.push_back(std::move(append));
}

void Raft::on(EntriesPersisted event, Actions& actions) {
  ROBUSTMQ_CHECK(event.last == last_ && persisted_ < last_, "an append was persisted that was not under way");
  persisted_ = event.last;
  commit(actions);
  append_waiting(actions);
}

// A majority of one has what is persisted here. Entries of earlier terms are committed by one of this term (5.4.2).
void Raft::commit(Actions& actions) {
  if (uncommitted_.empty() || uncommitted_.back().entry.term != hard_.term) return;
  while (!uncommitted_.empty() && uncommitted_.front().entry.index <= persisted_) {
    Pending pending = std::move(uncommitted_.front());
    uncommitted_.pop_front();
    committed_ = pending.entry.index;
    const bool is_first_of_term = !is_leader_ && pending.entry.term == hard_.term;
    actions.push_back(ApplyEntry{std::move(pending.entry), pending.proposal});
    if (is_first_of_term) {
      is_leader_ = true;
      actions.push_back(BecameLeader{});
    }
  }
}

void Raft::on(AppendRefused event, Actions& actions) {
  while (last_ > persisted_) {
    Pending& pending = uncommitted_.back();
    if (pending.entry.kind == EntryKind::no_op) {
      waiting_.push_front(std::move(pending));  // the term cannot begin without it: it goes with the next append
    } else {
      actions.push_back(RefuseProposal{pending.proposal, {event.code, {}}});
    }
    uncommitted_.pop_back();
    --last_;
  }
  if (is_leader_) append_waiting(actions);
}

}  // namespace robustmq::raft
