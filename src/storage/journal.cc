// Rounds of the journal. Files and loading: journal_files.cc.
#include "storage/journal.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace robustmq::storage {

using runtime::DiskStep;

namespace {

constexpr size_t kNoPart = SIZE_MAX;

}  // namespace

Journal::Journal(runtime::Core& core, const StorageOptions& options, bool unsafe_skip_sync, JournalSink& sink)
    : core_(core), options_(options), unsafe_skip_sync_(unsafe_skip_sync), sink_(sink) {}

Journal::~Journal() = default;

void Journal::submit(JournalEntry entry) {
  if (has_failed_) return sink_.on_done(entry, Code::storage_failed);
  queue_.push_back(std::move(entry));
  if (!round_is_under_way_) core_.defer(*this);
}

void Journal::at_boundary(Callback<void(uint64_t covered)> work) {
  boundary_work_.push_back(std::move(work));
  if (!round_is_under_way_) core_.defer(*this);
}

void Journal::run_deferred() { start_round(); }

void Journal::run_boundary_work() {
  std::vector<Callback<void(uint64_t)>> work = std::exchange(boundary_work_, {});
  for (auto& each : work) each(sequence_next_ - 1);
}

void Journal::start_round() {
  if (!is_started_ || round_is_under_way_) return;
  run_boundary_work();
  if (queue_.empty() || has_failed_ || !find_room()) return;

  std::vector<JournalEntry> entries;
  const bool has_spare = free_file() != nullptr;
  const uint64_t end_for_all = current_->header.file_bytes;
  const uint64_t end_for_appends = has_spare ? end_for_all : end_for_all - journal_reserve_bytes(end_for_all);
  uint64_t position = current_->position;
  uint64_t taken_bytes = 0;
  bool has_leading = false;
  std::vector<JournalEntry> next_round;
  std::vector<void*> waiting_owners;
  const auto waits = [&](const JournalEntry& entry) {
    if (entry.is_behind && has_leading) return true;
    return std::find(waiting_owners.begin(), waiting_owners.end(), entry.owner.get()) != waiting_owners.end();
  };
  while (!queue_.empty() && (entries.empty() || taken_bytes < static_cast<uint64_t>(options_.round_bytes_max))) {
    JournalEntry& next = queue_.front();
    if (waits(next)) {
      if (std::find(waiting_owners.begin(), waiting_owners.end(), next.owner.get()) == waiting_owners.end())
        waiting_owners.push_back(next.owner.get());
      next_round.push_back(std::move(next));
      queue_.pop_front();
      continue;
    }
    const uint64_t room = room_for(next);
    if (!entries.empty() && position + room > (journal_frame_makes_space(next.kind) ? end_for_all : end_for_appends)) break;
    position += room;
    taken_bytes += next.payload_bytes();
    has_leading = has_leading || next.leads;
    entries.push_back(std::move(next));
    queue_.pop_front();
  }
  queue_.insert(queue_.begin(), std::make_move_iterator(next_round.begin()), std::make_move_iterator(next_round.end()));
  std::vector<JournalEntry> also;
  sink_.on_round(entries, also);
  round_ = {};
  round_.began = core_.now();
  round_.parts.reserve(also.size() + entries.size());
  for (std::vector<JournalEntry>* list : {&also, &entries}) {
    for (JournalEntry& entry : *list) round_.parts.push_back({std::move(entry), false, {}});
  }
  round_is_under_way_ = true;
  run_round();
}

// One more frame without payload is counted for what the sink may add for it.
uint64_t Journal::room_for(const JournalEntry& entry) const {
  return frame_bytes(entry.is_direct ? 0 : entry.payload_bytes()) + frame_bytes(0);
}

void Journal::run_round() {
  std::vector<DiskStep> steps;
  round_.first_part_of_step.clear();
  for (size_t i = 0; i < round_.parts.size(); ++i) {
    Round::Part& part = round_.parts[i];
    if (part.is_prepared || !part.refused.ok()) continue;
    JournalEntry& entry = part.entry;
    for (const DiskStep& step : entry.before) {
      steps.push_back(step);
      round_.first_part_of_step.push_back(kNoPart);
    }
    if (!entry.file) continue;
    DiskStep* last = steps.empty() ? nullptr : &steps.back();
    const bool continues = last && last->kind == DiskStep::Kind::write && last->file == entry.file &&
                           round_.parts[i - 1].entry.file == entry.file && round_.parts[i - 1].entry.owner == entry.owner &&
                           round_.parts[i - 1].entry.position + round_.parts[i - 1].entry.payload_bytes() == entry.position;
    if (continues) {
      last->pieces.insert(last->pieces.end(), entry.payload.begin(), entry.payload.end());
    } else {
      steps.push_back(DiskStep::write(entry.file, entry.position, entry.payload));
      round_.first_part_of_step.push_back(i);
    }
  }
  if (!unsafe_skip_sync_) {
    std::vector<runtime::File*> synced;
    for (const Round::Part& part : round_.parts) {
      if (!part.entry.is_direct || !part.refused.ok()) continue;
      if (std::find(synced.begin(), synced.end(), part.entry.file.get()) != synced.end()) continue;
      synced.push_back(part.entry.file.get());
      steps.push_back(DiskStep::sync(part.entry.file));
    }
  }
  round_.steps_before_frames = steps.size();
  add_frames(steps);
  if (steps.empty()) return finish_round();
  core_.disk().run(std::move(steps), [this](std::vector<Status> statuses) { on_round_run(statuses); });
}

void Journal::add_frames(std::vector<DiskStep>& steps) {
  round_.sequence_next = sequence_next_;
  round_.position_next = current_->position;
  size_t frames = 0;
  for (const Round::Part& part : round_.parts) frames += part.refused.ok() && !part.entry.is_direct ? 1 : 0;
  if (frames == 0) return;

  // All headers, paddings included, in one block; payloads are written from where they are.
  static constexpr uint8_t kZeros[kFrameAlignment] = {};
  Buffer headers(frames * kFrameHeaderBytes);
  std::vector<const JournalEntry*> framed;
  framed.reserve(frames);
  for (const Round::Part& part : round_.parts) {
    const JournalEntry& entry = part.entry;
    if (!part.refused.ok() || entry.is_direct) continue;
    FrameHeader header;
    header.kind = entry.kind;
    header.file_epoch = current_->header.file_epoch;
    header.sequence = round_.sequence_next++;
    header.shard = entry.shard;
    header.leader_epoch = entry.leader_epoch;
    header.offset = entry.offset;
    header.segment_base = entry.segment_base;
    header.position = entry.position;
    encode_frame_header(header, entry.payload, current_->header.salt, headers);
    framed.push_back(&entry);
  }
  const Bytes all = headers.take();
  std::vector<Bytes> pieces;
  uint64_t position = current_->position;
  if (header_is_due_) {
    pieces.push_back(encode_journal_header(current_->header));
    position = 0;
  }
  for (size_t i = 0; i < framed.size(); ++i) {
    pieces.push_back(all.slice(i * kFrameHeaderBytes, kFrameHeaderBytes));
    uint64_t payload_bytes = 0;
    for (const Bytes& piece : framed[i]->payload) {
      payload_bytes += piece.size();
      pieces.push_back(piece);
    }
    const uint64_t whole = frame_bytes(payload_bytes);
    const uint64_t padding = whole - kFrameHeaderBytes - payload_bytes;
    if (padding > 0) pieces.push_back(Bytes::unowned({kZeros, padding}));
    round_.position_next += whole;
  }
  ROBUSTMQ_CHECK(round_.position_next <= current_->header.file_bytes, "a round does not fit its journal file");
  steps.push_back(DiskStep::write(current_->file, position, std::move(pieces)));
  if (!unsafe_skip_sync_) steps.push_back(DiskStep::sync(current_->file));
  metrics_.frames_total += frames;
  metrics_.frame_bytes_total += round_.position_next - position;
}

void Journal::on_round_run(const std::vector<Status>& statuses) {
  size_t failed = 0;
  while (failed < statuses.size() && statuses[failed].ok()) ++failed;
  if (failed == statuses.size()) return finish_round();

  const bool is_full_segment = statuses[failed].code() == Code::storage_full && failed < round_.first_part_of_step.size() &&
                               round_.first_part_of_step[failed] != kNoPart;
  if (!is_full_segment) return fail_all();

  // What stands before the part refused is prepared, also when it has no step of its own.
  const size_t part = round_.first_part_of_step[failed];
  for (size_t i = 0; i < part; ++i) round_.parts[i].is_prepared = true;
  refuse_owner_of(part);
}

// The disk had no room for this part: it and what its owner appended behind it are refused, and what they may have left in the
// segment is cut off for good before the others go on.
void Journal::refuse_owner_of(size_t part) {
  const std::shared_ptr<void> owner = round_.parts[part].entry.owner;
  const JournalEntry& first = round_.parts[part].entry;
  std::vector<DiskStep> cut;
  cut.push_back(DiskStep::truncate(first.file, first.position));
  if (!unsafe_skip_sync_) cut.push_back(DiskStep::sync(first.file));
  for (size_t i = part; i < round_.parts.size(); ++i) {
    Round::Part& each = round_.parts[i];
    if (each.entry.owner != owner || journal_frame_makes_space(each.entry.kind) || each.entry.kind == FrameKind::touch) continue;
    each.refused = Code::storage_full;
  }
  core_.disk().run(std::move(cut), [this](std::vector<Status> statuses) {
    for (const Status& status : statuses) {
      if (!status.ok()) return fail_all();
    }
    run_round();
  });
}

void Journal::finish_round() {
  sequence_next_ = round_.sequence_next;
  current_->position = round_.position_next;
  if (current_->position > kJournalHeaderBytes) {
    header_is_due_ = false;
    current_->last_sequence = sequence_next_ - 1;
  }
  const auto took = static_cast<uint64_t>((core_.now() - round_.began).ns);
  metrics_.rounds_total += 1;
  metrics_.round_ns_total += took;
  metrics_.round_ns_max = std::max(metrics_.round_ns_max, took);

  // Entries that wait behind a refused one of their owner are refused with it, before anyone can submit anew.
  std::vector<JournalEntry> refused_too = take_refused();
  std::vector<Round::Part> parts = std::move(round_.parts);
  round_ = {};
  for (Round::Part& part : parts) answer(part.entry, part.refused);
  for (JournalEntry& entry : refused_too) answer(entry, Code::storage_full);
  round_is_under_way_ = false;
  if (has_failed_) return fail_all();
  if (!queue_.empty() || !boundary_work_.empty()) core_.defer(*this);
}

// What waits behind refused entries of this round: those of the same owners, and where a leading one was refused those that are
// behind it, with what their owners brought later.
std::vector<JournalEntry> Journal::take_refused() {
  std::vector<void*> owners;
  bool has_leading = false;
  for (const Round::Part& part : round_.parts) {
    if (part.refused.ok() || !part.entry.owner) continue;
    owners.push_back(part.entry.owner.get());
    has_leading = has_leading || part.entry.leads;
  }
  std::vector<JournalEntry> refused;
  if (owners.empty()) return refused;
  for (auto at = queue_.begin(); at != queue_.end();) {
    const bool is_of_owner = std::find(owners.begin(), owners.end(), at->owner.get()) != owners.end();
    if ((!is_of_owner && !(has_leading && at->is_behind)) || journal_frame_makes_space(at->kind)) {
      ++at;
      continue;
    }
    if (!is_of_owner) owners.push_back(at->owner.get());
    has_leading = has_leading || at->leads;
    refused.push_back(std::move(*at));
    at = queue_.erase(at);
  }
  return refused;
}

void Journal::answer(JournalEntry& entry, const Status& status) {
  if (status.ok()) {
    const uint64_t bytes = entry.payload_bytes();
    metrics_.entries_total += 1;
    if (entry.file) metrics_.segment_bytes_total += bytes;
    if (entry.is_direct) {
      metrics_.direct_entries_total += 1;
      metrics_.direct_bytes_total += bytes;
    }
  } else if (status.code() == Code::storage_full) {
    metrics_.refused_full_total += 1;
  }
  sink_.on_done(entry, status);
}

void Journal::fail() {
  has_failed_ = true;
  metrics_.failed = 1;
  if (!round_is_under_way_) fail_all();  // else when the round has ended as it will; its syncs were its own
}

void Journal::fail_all() {
  has_failed_ = true;
  metrics_.failed = 1;
  std::vector<Round::Part> parts = std::move(round_.parts);
  std::deque<JournalEntry> waiting = std::exchange(queue_, {});
  round_ = {};
  for (Round::Part& part : parts) answer(part.entry, part.refused.ok() ? Status(Code::storage_failed) : part.refused);
  for (JournalEntry& entry : waiting) answer(entry, Code::storage_failed);
  round_is_under_way_ = false;
  run_boundary_work();
}

}  // namespace robustmq::storage
