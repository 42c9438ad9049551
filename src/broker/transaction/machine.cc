#include "broker/transaction/machine.h"

#include <algorithm>

namespace robustmq::broker {
namespace {

using State = TransactionState;

bool is_used_up(int16_t epoch) { return epoch >= TransactionMachine::kLastEpoch; }

// The producer was told what it is called next, and the end of what it did before is still being told.
bool is_early(const TransactionRow& row, ProducerId id) {
  return row.is_prepared() && row.next_producer_id >= 0 && id == row.next_producer_id;
}

void clear_transaction(TransactionRow& row) {
  row.partitions.clear();
  row.groups.clear();
  row.started_ms = -1;
}

// What a prepared row becomes when all of it is told.
TransactionRow complete(TransactionRow row, WallTime now) {
  row.state = row.state == State::prepare_commit ? State::complete_commit : State::complete_abort;
  row.changed_ms = now.ms;
  clear_transaction(row);
  if (row.next_producer_id >= 0) {
    row.last_producer_id = row.producer_id;
    row.producer_id = row.next_producer_id;
    row.next_producer_id = -1;
    row.epoch = 0;
  }
  return row;
}

}  // namespace

void TransactionMachine::load(const Key& key, TransactionRow row) {
  auto entry = std::make_unique<Entry>();
  entry->row = std::move(row);
  entry->note_parts();
  entry->is_kept = true;
  count_state(entry->row, 1);
  ++metrics_.ids;
  if (entry->row.is_prepared()) outputs_.ends.push_back(key);
  schedule(key, *entry);
  entries_[key] = std::move(entry);
}

// A transaction only grows until it ends, at the back of its lists.
void TransactionMachine::Entry::note_parts() {
  if (row.partitions.size() < partitions.size() || row.groups.size() < groups.size()) {
    partitions.clear();
    groups.clear();
  }
  for (size_t i = partitions.size(); i < row.partitions.size(); ++i)
    partitions.emplace(row.partitions[i].id, row.partitions[i].partition);
  for (size_t i = groups.size(); i < row.groups.size(); ++i) groups.insert(row.groups[i]);
}

const TransactionRow* TransactionMachine::find(const Key& key) const {
  const auto found = entries_.find(key);
  return found == entries_.end() || !found->second->is_kept ? nullptr : &found->second->row;
}

ProducerId TransactionMachine::take_spare() {
  if (spare_ids_.empty()) return -1;
  auto& [first, end] = spare_ids_.front();
  const ProducerId id = first++;
  if (first == end) spare_ids_.pop_front();
  return id;
}

void TransactionMachine::refuse(Ticket ticket, Code code) {
  if (code == Code::fenced_producer) ++metrics_.fenced_total;
  if (ticket != 0) outputs_.answers.push_back({ticket, code, -1, -1, {}});
}

void TransactionMachine::count_state(const TransactionRow& row, int64_t sign) {
  if (row.is_open()) metrics_.open += sign;
}

// When the entry is looked at next, as its row is now.
void TransactionMachine::schedule(const Key& key, Entry& entry) {
  if (entry.due != INT64_MAX) due_.erase({entry.due, key});
  entry.due = INT64_MAX;
  if (entry.is_writing || entry.row.is_prepared()) return;
  entry.due = entry.row.state == State::ongoing ? entry.row.started_ms + entry.row.timeout_ms
                                                : entry.row.changed_ms + options_.id_expiration_ms;
  entry.due = std::max(entry.due, entry.not_before);
  due_.insert({entry.due, key});
}

void TransactionMachine::write(const Key& key, Entry& entry, TransactionRow next, Ticket writer, Code answer) {
  entry.is_writing = true;
  entry.next = std::move(next);
  entry.writer = writer;
  entry.answer = answer;
  schedule(key, entry);
  outputs_.writes.push_back({key, entry.next});
}

void TransactionMachine::ask(const Key& key, Ticket ticket, Input input, WallTime now) {
  const auto* init = std::get_if<Init>(&input);
  if (init && (init->timeout_ms <= 0 || init->timeout_ms > options_.timeout_max_ms))
    return refuse(ticket, Code::invalid_transaction_timeout);
  auto found = entries_.find(key);
  if (found == entries_.end()) {
    if (!init) return refuse(ticket, Code::invalid_producer_mapping);
    if (entries_.size() >= static_cast<size_t>(options_.ids_max)) {
      ++metrics_.ids_refused_total;
      return refuse(ticket, Code::quota_exceeded);
    }
    found = entries_.emplace(key, std::make_unique<Entry>()).first;
    ++metrics_.ids;
  }
  Entry& entry = *found->second;
  if (entry.is_writing) {
    if (entry.waiting.size() >= kWaitingMax) return refuse(ticket, Code::concurrent_transactions);
    entry.waiting.emplace_back(ticket, std::move(input));
    return;
  }
  run(key, entry, ticket, input, now);
  if (!entry.is_kept && !entry.is_writing) {  // refused at once
    entries_.erase(key);
    --metrics_.ids;
  }
}

void TransactionMachine::run(const Key& key, Entry& entry, Ticket ticket, const Input& input, WallTime now) {
  std::visit([&](const auto& asked) { on(key, entry, ticket, asked, now); }, input);
}

void TransactionMachine::run_waiting(const Key& key, WallTime now) {
  const auto found = entries_.find(key);
  if (found == entries_.end()) return;
  Entry& entry = *found->second;
  while (!entry.waiting.empty() && !entry.is_writing) {
    const auto [ticket, input] = std::move(entry.waiting.front());
    entry.waiting.pop_front();
    run(key, entry, ticket, input, now);
  }
}

void TransactionMachine::on(const Key& key, Entry& entry, Ticket ticket, const Init& init, WallTime now) {
  const TransactionRow& row = entry.row;
  const bool is_known = init.id >= 0;  // the caller says who it is
  const bool is_new = row.epoch < 0;
  if (is_known && is_early(row, init.id)) return refuse(ticket, Code::concurrent_transactions);
  if (is_known && !is_new && init.id != row.producer_id && !(init.id == row.last_producer_id && is_used_up(init.epoch)))
    return refuse(ticket, Code::fenced_producer);
  if (row.is_prepared()) return refuse(ticket, Code::concurrent_transactions);
  const bool is_retry = is_known && !is_new && row.last_epoch >= 0 && init.epoch == row.last_epoch && init.epoch != row.epoch;
  if (is_known && !is_new && init.epoch != row.epoch && !is_retry) return refuse(ticket, Code::fenced_producer);
  if (row.state == State::ongoing) return fence(key, entry, ticket, now, is_known);
  TransactionRow next = row;
  next.timeout_ms = init.timeout_ms;
  next.changed_ms = now.ms;
  next.state = State::empty;
  clear_transaction(next);
  if (!is_retry) {
    const bool is_over = is_new || is_used_up(row.epoch);
    next.last_epoch = is_known ? row.epoch : int16_t{-1};
    next.last_producer_id = is_known && is_over ? row.producer_id : -1;
    next.epoch = is_over ? int16_t{0} : static_cast<int16_t>(row.epoch + 1);
    if (is_over) next.producer_id = take_spare();
    if (next.producer_id < 0) return refuse(ticket, Code::overloaded);
  }
  write(key, entry, std::move(next), ticket);
}

void TransactionMachine::on(const Key& key, Entry& entry, Ticket ticket, const Add& add, WallTime now) {
  const TransactionRow& row = entry.row;
  if (is_early(row, add.id)) return refuse(ticket, Code::concurrent_transactions);
  if (add.id != row.producer_id) return refuse(ticket, Code::invalid_producer_mapping);
  if (add.epoch != row.epoch) return refuse(ticket, Code::fenced_producer);
  if (row.is_prepared()) return refuse(ticket, Code::concurrent_transactions);
  const bool is_ongoing = row.state == State::ongoing;
  if (add.partitions.size() + add.groups.size() > static_cast<size_t>(options_.partitions_max))
    return refuse(ticket, Code::quota_exceeded);
  if (add.verify_only) {
    Answer answer{ticket, Code::ok, row.producer_id, row.epoch, {}};
    for (const TransactionPartition& each : add.partitions)
      answer.partitions.push_back(is_ongoing && entry.has(each) ? Code::ok : Code::invalid_transaction_state);
    for (const std::string& group : add.groups) {
      if (!is_ongoing || !entry.groups.contains(group)) answer.code = Code::invalid_transaction_state;
    }
    outputs_.answers.push_back(std::move(answer));
    return;
  }
  std::vector<TransactionPartition> partitions;
  std::vector<std::string> groups;
  std::set<std::pair<TopicId, int32_t>> seen;
  for (const TransactionPartition& each : add.partitions) {
    if (is_ongoing && entry.has(each)) continue;
    if (seen.emplace(each.id, each.partition).second) partitions.push_back(each);
  }
  for (const std::string& group : add.groups) {
    if (is_ongoing && entry.groups.contains(group)) continue;
    if (std::find(groups.begin(), groups.end(), group) == groups.end()) groups.push_back(group);
  }
  if (partitions.empty() && groups.empty()) {
    outputs_.answers.push_back(
        {ticket, Code::ok, row.producer_id, row.epoch, std::vector<Code>(add.partitions.size(), Code::ok)});
    return;
  }
  const size_t before = is_ongoing ? row.partitions.size() + row.groups.size() : 0;
  if (before + partitions.size() + groups.size() > static_cast<size_t>(options_.partitions_max))
    return refuse(ticket, Code::quota_exceeded);
  TransactionRow next = row;
  if (!is_ongoing) {
    clear_transaction(next);
    next.state = State::ongoing;
    next.started_ms = now.ms;
    next.last_epoch = -1;  // the producer knows its epoch, so no retry of what gave it comes
    next.last_producer_id = -1;
  }
  next.partitions.insert(next.partitions.end(), partitions.begin(), partitions.end());
  next.groups.insert(next.groups.end(), groups.begin(), groups.end());
  next.changed_ms = now.ms;
  write(key, entry, std::move(next), ticket);
}

void TransactionMachine::on(const Key& key, Entry& entry, Ticket ticket, const End& end, WallTime now) {
  const TransactionRow& row = entry.row;
  // A retry of the EndTxn that gave the epoch (or, after the last epoch, the producer id) that the row has.
  const bool was_rotated = row.last_producer_id >= 0 && end.id == row.last_producer_id && is_used_up(end.epoch) &&
                           end.epoch == row.last_epoch && row.epoch == 0;
  const bool was_bumped = row.last_epoch >= 0 && end.id == row.producer_id && end.epoch == row.last_epoch;
  const bool is_retry = end.bumps_epoch && (was_rotated || was_bumped) && row.state != State::empty;
  if (is_early(row, end.id)) return refuse(ticket, Code::concurrent_transactions);
  if (end.id != row.producer_id && !is_retry) return refuse(ticket, Code::invalid_producer_mapping);
  if (end.epoch != row.epoch && !is_retry) return refuse(ticket, Code::fenced_producer);
  const bool was_same = row.state == (end.commits ? State::complete_commit : State::complete_abort);
  switch (row.state) {
    case State::ongoing:
      return prepare(key, entry, ticket, end, now);
    case State::prepare_commit:
    case State::prepare_abort:
      return refuse(ticket, end.commits == (row.state == State::prepare_commit) ? Code::concurrent_transactions
                                                                                : Code::invalid_transaction_state);
    case State::complete_commit:
    case State::complete_abort:
      if (was_same && (is_retry || !end.bumps_epoch)) {
        outputs_.answers.push_back({ticket, Code::ok, row.producer_id, row.epoch, {}});
        return;
      }
      [[fallthrough]];
    case State::empty:
      // KIP-890: one in which nothing was written may be aborted.
      if (!end.bumps_epoch || end.commits || is_retry) return refuse(ticket, Code::invalid_transaction_state);
      return prepare(key, entry, ticket, end, now);
  }
}

void TransactionMachine::prepare(const Key& key, Entry& entry, Ticket ticket, const End& end, WallTime now) {
  TransactionRow next = entry.row;
  next.state = end.commits ? State::prepare_commit : State::prepare_abort;
  next.changed_ms = now.ms;
  next.last_epoch = -1;
  next.last_producer_id = -1;
  if (entry.row.state != State::ongoing) clear_transaction(next);
  if (end.bumps_epoch) {
    next.last_epoch = entry.row.epoch;
    next.epoch = static_cast<int16_t>(std::min<int>(entry.row.epoch + 1, INT16_MAX));
    if (is_used_up(entry.row.epoch)) {
      next.next_producer_id = take_spare();
      if (next.next_producer_id < 0) return refuse(ticket, Code::overloaded);
    }
  }
  if (next.partitions.empty() && next.groups.empty()) next = complete(std::move(next), now);
  write(key, entry, std::move(next), ticket);
}

// A newer producer, or time, ends what is open. The markers' epoch fences whoever had it. `is_own`: it is the producer itself
// that begins anew, and is known by its last epoch when it comes again.
void TransactionMachine::fence(const Key& key, Entry& entry, Ticket ticket, WallTime now, bool is_own) {
  TransactionRow next = entry.row;
  next.state = State::prepare_abort;
  next.changed_ms = now.ms;
  next.last_epoch = is_own ? entry.row.epoch : int16_t{-1};
  next.last_producer_id = -1;
  next.epoch = static_cast<int16_t>(std::min<int>(entry.row.epoch + 1, INT16_MAX));
  if (is_own && is_used_up(entry.row.epoch)) {
    next.next_producer_id = take_spare();
    if (next.next_producer_id < 0) return refuse(ticket, Code::overloaded);
  }
  write(key, entry, std::move(next), ticket, Code::concurrent_transactions);
}

void TransactionMachine::written(const Key& key, Code code, WallTime now) {
  const auto found = entries_.find(key);
  if (found == entries_.end() || !found->second->is_writing) return;
  Entry& entry = *found->second;
  entry.is_writing = false;
  const Ticket writer = std::exchange(entry.writer, 0);
  const bool was_removing = std::exchange(entry.is_removing, false);
  if (code != Code::ok || was_removing) {
    if (writer != 0) outputs_.answers.push_back({writer, code, -1, -1, {}});
    if (was_removing ? code == Code::ok : !entry.is_kept) {
      if (was_removing) ++metrics_.ids_expired_total;
      --metrics_.ids;
      const auto waiting = std::move(entry.waiting);
      entries_.erase(found);
      // It may be asked for anew.
      for (const auto& [ticket, input] : waiting) refuse(ticket, was_removing ? Code::concurrent_transactions : code);
      return;
    }
    entry.not_before = now.ms + options_.retry_ms;
    schedule(key, entry);
    if (entry.row.is_prepared()) outputs_.ends_to_retry.push_back(key);
    return run_waiting(key, now);
  }
  count_state(entry.row, -1);
  const TransactionState before = entry.row.state;
  entry.row = std::move(entry.next);
  entry.next = {};
  entry.note_parts();
  entry.not_before = 0;
  entry.is_kept = true;
  count_state(entry.row, 1);
  const TransactionState state = entry.row.state;
  if (state == State::ongoing && before != State::ongoing) ++metrics_.begun_total;
  if (before == State::ongoing && state != State::ongoing)
    ++(state == State::prepare_commit ? metrics_.committed_total : metrics_.aborted_total);
  schedule(key, entry);
  if (entry.row.is_prepared()) {
    outputs_.ends.push_back(key);
    if (entry.answer == Code::ok)
      entry.ender = writer;
    else
      refuse(writer, entry.answer);
  } else if (writer != 0) {
    outputs_.answers.push_back({writer, Code::ok, entry.row.producer_id, entry.row.epoch, {}});
  }
  run_waiting(key, now);
}

void TransactionMachine::answer_end(Entry& entry, const TransactionRow& done) {
  if (entry.ender != 0) outputs_.answers.push_back({std::exchange(entry.ender, 0), Code::ok, done.producer_id, done.epoch, {}});
}

void TransactionMachine::ended(const Key& key, bool is_ok, WallTime now) {
  const auto found = entries_.find(key);
  if (found == entries_.end() || found->second->is_writing || !found->second->row.is_prepared()) return;
  Entry& entry = *found->second;
  TransactionRow next = complete(entry.row, now);
  // It is decided, whether or not all of it is told.
  answer_end(entry, next);
  if (!is_ok) {
    outputs_.ends_to_retry.push_back(key);
    return;
  }
  write(key, entry, std::move(next), 0);
}

void TransactionMachine::tick(WallTime now) {
  while (!due_.empty() && due_.begin()->first <= now.ms) {
    const Key key = due_.begin()->second;
    Entry& entry = *entries_.at(key);
    if (entry.row.state == State::ongoing) {
      ++metrics_.timed_out_total;
      fence(key, entry, 0, now, false);
      continue;
    }
    entry.is_writing = true;
    entry.is_removing = true;
    schedule(key, entry);
    outputs_.writes.push_back({key, std::nullopt});
  }
}

}  // namespace robustmq::broker
