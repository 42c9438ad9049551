#include "raft/group.h"

#include "base/hash.h"
#include "base/wire.h"
#include "storage/replay.h"

namespace robustmq::raft {

RaftGroup::RaftGroup(runtime::Core& core, std::unique_ptr<storage::Log> log, storage::Kv& kv, Machine& machine,
                     GroupOptions options)
    : core_(core), log_(std::move(log)), kv_(kv), machine_(machine), options_(std::move(options)), raft_(options_.limits) {}

RaftGroup::~RaftGroup() {
  anchor_.cut();
  for (auto& [id, done] : std::exchange(proposals_, {})) done(Code::shutting_down);
}

// ---- Start: hard state, snapshot, entries ----

void RaftGroup::start(Callback<void(Status)> done) {
  started_ = std::move(done);
  load_hard();
}

void RaftGroup::end_start(Status status) {
  if (!started_) return;
  if (!status.ok()) has_failed_ = true;
  std::exchange(started_, {})(std::move(status));
}

void RaftGroup::load_hard() {
  kv_.get(hard_key(options_.group), [self = anchor_.anchor(this)](Result<std::string> row) {
    RaftGroup* group = self.get();
    if (!group) return;
    if (!row.ok() && row.code() != Code::not_found) return group->end_start(row.error());
    if (row.ok()) {
      Result<HardState> hard = decode_described<HardState>(as_bytes(*row));
      if (!hard.ok()) return group->end_start(Error{hard.code(), "the hard state of a Raft group: " + hard.error().detail});
      group->hard_ = *hard;
    }
    group->load_snapshot();
  });
}

void RaftGroup::load_snapshot() {
  kv_.get(snapshot_key(options_.group), [self = anchor_.anchor(this)](Result<std::string> found) {
    RaftGroup* group = self.get();
    if (!group) return;
    if (!found.ok() && found.code() != Code::not_found) return group->end_start(found.error());
    if (!found.ok()) return group->load_entries({});
    Result<SnapshotRow> row = decode_described<SnapshotRow>(as_bytes(*found));
    if (!row.ok()) return group->end_start(Error{row.code(), "the snapshot of a Raft group: " + row.error().detail});
    group->load_chunks(row.take());
  });
}

void RaftGroup::load_chunks(SnapshotRow row) {
  const std::string from = chunk_key(options_.group, row.index, 0);
  const std::string to = chunk_key(options_.group, row.index, row.chunks);
  kv_.scan(from, to, row.chunks, [self = anchor_.anchor(this), row](Result<storage::KvRows> rows) {
    RaftGroup* group = self.get();
    if (!group) return;
    if (!rows.ok()) return group->end_start(rows.error());
    Buffer state;
    for (const auto& [key, chunk] : *rows) state.append(chunk);
    if (rows->size() != row.chunks || crc32c(state.span()) != row.crc)
      return group->end_start(Error{Code::corrupt_storage, "the snapshot of a Raft group is damaged"});
    Status restored = group->machine_.restore(state.span());
    if (!restored.ok()) return group->end_start(restored);
    group->load_entries(row);
  });
}

void RaftGroup::load_entries(SnapshotRow row) {
  const storage::Bounds bounds = log_->bounds();
  const Index from = row.index + 1;
  if (bounds.start > from || bounds.end < from)
    return end_start(Error{Code::corrupt_storage, "the log of a Raft group does not continue its snapshot"});
  storage::replay_batches(
      core_, *log_, from, [self = anchor_.anchor(this)] { return self.get() != nullptr; },
      [this, from](ByteSpan batch) {
        Result<Entry> entry = decode_entry(batch);
        if (!entry.ok()) return Status(entry.error());
        metrics_.log_bytes += static_cast<int64_t>(batch.size());
        if (entry->index >= from) entries_.push_back(entry.take());
        return Status();
      },
      [self = anchor_.anchor(this), row](Status status) {
        RaftGroup* group = self.get();
        if (!group) return;
        if (!status.ok()) return group->end_start(std::move(status));
        group->begin(row);
      });
}

void RaftGroup::begin(SnapshotRow row) {
  applied_ = row.index;
  applied_term_ = row.term;
  applied_stamp_ = {row.stamp_ms};
  Actions actions;
  Started started{options_.self, options_.members, hard_, std::move(row), std::exchange(entries_, {})};
  Status status = raft_.start(std::move(started), actions);
  if (!status.ok()) return end_start(std::move(status));
  act(std::move(actions));
}

// ---- Running ----

void RaftGroup::propose(Bytes command, Callback<void(Result<Bytes>)> done) {
  ++metrics_.proposals_total;
  if (command.size() > options_.command_bytes_max) return done(Error{Code::too_large, "a command of a Raft group"});
  if (has_failed_) return done(Code::storage_failed);
  const uint64_t id = ++last_proposal_;
  proposals_.emplace(id, std::move(done));
  Actions actions;
  raft_.step(Propose{id, std::move(command), core_.wall_now()}, actions);
  act(std::move(actions));
}

void RaftGroup::act(Actions actions) {
  for (Action& action : actions) actions_.push_back(std::move(action));
  if (is_acting_) return;
  is_acting_ = true;
  const Anchor<RaftGroup> self = anchor_.anchor(this);
  while (!actions_.empty()) {
    Action action = std::move(actions_.front());
    actions_.pop_front();
    std::visit([this](auto& each) { do_action(std::move(each)); }, action);
    if (!self.get()) return;  // an answer may destroy the group
  }
  is_acting_ = false;
  snapshot_if_long();
}

void RaftGroup::do_action(PersistHardState action) {
  storage::KvBatch batch;
  batch.put(hard_key(options_.group), encode_described(action.hard));
  kv_.write(std::move(batch), [self = anchor_.anchor(this), term = action.hard.term](Status status) {
    RaftGroup* group = self.get();
    if (!group) return;
    if (!status.ok()) return group->end_start(std::move(status));
    Actions actions;
    group->raft_.step(HardStatePersisted{term}, actions);
    group->act(std::move(actions));
  });
}

void RaftGroup::do_action(AppendEntries action) {
  std::vector<Bytes> batches;
  for (const Entry& entry : action.entries) {
    batches.push_back(encode_entry(entry));
    metrics_.log_bytes += static_cast<int64_t>(batches.back().size());
  }
  ++metrics_.appends_total;
  log_->append(std::move(batches), [self = anchor_.anchor(this), last = action.entries.back().index](Status status) {
    if (RaftGroup* group = self.get()) group->on_appended(last, status);
  });
}

void RaftGroup::on_appended(Index last, const Status& status) {
  Actions actions;
  if (status.ok()) {
    raft_.step(EntriesPersisted{last}, actions);
  } else if (status.code() == Code::storage_full && !log_->has_failed()) {
    if (started_) return end_start(status);
    raft_.step(AppendRefused{status.code()}, actions);
  } else {
    has_failed_ = true;
    return started_ ? end_start(status) : fail_all();
  }
  act(std::move(actions));
}

void RaftGroup::fail_all() {
  auto proposals = std::exchange(proposals_, {});
  metrics_.proposals_failed_total += proposals.size();
  for (auto& [id, done] : proposals) done(Code::storage_failed);
}

void RaftGroup::do_action(ApplyEntry action) {
  const Entry& entry = action.entry;
  ROBUSTMQ_CHECK(entry.index == applied_ + 1, "entries are applied in order, each once");
  applied_ = entry.index;
  applied_term_ = entry.term;
  applied_stamp_ = entry.stamp;
  if (entry.kind == EntryKind::no_op) return;
  Bytes reply = machine_.apply(entry.command, entry.stamp);
  if (action.proposal != 0) answer(action.proposal, std::move(reply));
}

void RaftGroup::do_action(RefuseProposal action) {
  ++metrics_.proposals_failed_total;
  answer(action.proposal, std::move(action.error));
}

void RaftGroup::do_action(BecameLeader) { end_start(Status()); }

void RaftGroup::answer(uint64_t proposal, Result<Bytes> result) {
  const auto found = proposals_.find(proposal);
  if (found == proposals_.end()) return;
  Callback<void(Result<Bytes>)> done = std::move(found->second);
  proposals_.erase(found);
  done(std::move(result));
}

// ---- Snapshots ----

void RaftGroup::snapshot_if_long() {
  if (is_snapshotting_ || has_failed_ || started_ || metrics_.log_bytes < static_cast<int64_t>(options_.snapshot_bytes)) return;
  is_snapshotting_ = true;
  const Bytes state = machine_.snapshot();
  SnapshotRow row{.index = applied_, .term = applied_term_, .stamp_ms = applied_stamp_.ms};
  row.crc = crc32c(state);
  row.members = options_.members;
  storage::KvBatch batch;
  batch.remove_range(chunk_key(options_.group, 0, 0), chunks_end_key(options_.group));
  for (size_t at = 0; at < state.size(); at += options_.chunk_bytes) {
    const size_t size = std::min(options_.chunk_bytes, state.size() - at);
    batch.put(chunk_key(options_.group, row.index, row.chunks++), std::string(state.slice(at, size).text()));
  }
  batch.put(snapshot_key(options_.group), encode_described(row));
  // Counted from here on; a snapshot that could not be written is tried again when as much has come once more.
  metrics_.log_bytes = 0;
  kv_.write(std::move(batch), [self = anchor_.anchor(this), index = row.index](Status status) {
    RaftGroup* group = self.get();
    if (!group) return;
    group->is_snapshotting_ = false;
    if (!status.ok()) return;
    ++group->metrics_.snapshots_total;
    group->log_->trim(index + 1, [](Status) {});
  });
}

}  // namespace robustmq::raft
