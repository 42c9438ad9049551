#include "broker/session/spool.h"

#include <algorithm>
#include <utility>

#include "base/wire.h"
#include "broker/origin.h"
#include "broker/session/stored.h"
#include "storage/row_key.h"

namespace robustmq::broker {

const TopicId kSpoolTopic{Uuid{{'s', 'p', 'o', 'o', 'l', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}}};

namespace {

constexpr size_t kTurnBytesMax = 256 << 10;  // taken in a turn before it is written at once
constexpr size_t kFailuresKept = 4096;
constexpr size_t kSpoolRowsAPage = 1000;

uint64_t size_of_message(const RecordView& record) {
  return (record.value ? record.value->size() : 0) + record.raw_headers.size() + 64;
}

}  // namespace

Spool::Spool(const SpoolSetup& setup, uint16_t number)
    : core_(setup.core),
      rows_(setup.rows),
      streams_(setup.streams),
      meta_(setup.meta),
      engine_(setup.engine),
      options_(setup.options),
      metrics_(setup.metrics),
      cache_(setup.cache),
      events_(setup.events),
      number_(number),
      id_{kSpoolTopic, number},
      retry_([](void* self) { static_cast<Spool*>(self)->on_retry(); }, this) {}

Spool::~Spool() { *alive_ = false; }

// ---- Start ----

void Spool::open(Callback<void(Result<std::vector<PacketPair>>)> done) {
  storage::LogSettings log;
  log.segment_bytes = options_.spool_segment_bytes;
  log.leads = true;
  shard::ShardSettings settings;
  settings.batch_bytes_max = INT32_MAX;
  settings.log = log;
  auto finish = [this, done = std::move(done)](Status status) mutable {
    if (!status.ok()) return done(status.error());
    check_pairs(std::move(done));
  };
  auto recovered = [this, alive = alive_, finish = std::move(finish)](Status status) mutable {
    if (!*alive) return;
    // Of its state only the producers' is not there then, and a spool has none.
    if (!status.ok() && status.code() != Code::corrupt_storage) return finish(std::move(status));
    load_rows(std::string(kSessionRows), [this, alive, finish = std::move(finish)](Status loaded) mutable {
      if (!*alive) return;
      below_ = start();
      if (!loaded.ok() || start() >= end()) return finish(std::move(loaded));
      replay_from(start(), [this, alive, finish = std::move(finish)](Status replayed) mutable {
        if (!*alive) return;
        finish_replay();
        finish(std::move(replayed));
      });
    });
  };
  engine_.open(
      id_, log, 0, [this, alive = alive_, settings, recovered = std::move(recovered)](Result<storage::OpenedLog> opened) mutable {
        if (!*alive) return;
        if (!opened.ok())
          return recovered(opened.code() == Code::corrupt_storage ? Error{Code::storage_failed, opened.error().detail}
                                                                  : opened.error());
        shard_ = std::make_unique<shard::Shard>(core_, id_, opened.take(), static_cast<LeaderEpoch>(meta_.starts()), settings);
        shard_->recover(std::move(recovered));
      });
}

void Spool::load_rows(std::string from, Callback<void(Status)> done) {
  rows_.scan(std::move(from), storage::end_of(std::string(kSessionRows)), kSpoolRowsAPage,
             [this, alive = alive_, done = std::move(done)](Result<storage::KvRows> rows) mutable {
               if (!*alive) return;
               if (!rows.ok()) return done(rows.error());
               for (const auto& [key, value] : *rows) {
                 const Status status = load_row(key, value);
                 if (!status.ok()) return done(Error{Code::corrupt_storage, "a row of a session: " + status.error().detail});
               }
               if (rows->size() < kSpoolRowsAPage) return done({});
               load_rows(rows->back().first + '\0', std::move(done));
             });
}

Status Spool::load_row(std::string_view key, std::string_view value) {
  Result<SessionKey> at = parse_session_key(key);
  if (!at.ok()) return at.error();
  if (at->kind == SessionRowKind::progress) {
    Result<ProgressRow> row = decode_described<ProgressRow>(as_bytes(value));
    if (!row.ok()) return row.error();
    for (const SeenRow& seen : row->seen) {
      if (seen.source != number_) continue;
      Offset position = seen.seen;
      for (const LeaseRow& lease : row->leases) {
        if (lease.source == number_) position = std::min(position, lease.offset);
      }
      OwedReader& reader = owed_.reader(at->client_id);
      reader.position = position;
      reader.cursor = seen.seen;
    }
  }
  if (at->kind != SessionRowKind::subscription || !at->share.empty()) return {};
  Result<SubscriptionRow> row = decode_described<SubscriptionRow>(as_bytes(value));
  if (!row.ok()) return row.error();
  if (row->qos_max == 0 && !options_.keep_qos0) return {};
  Offset since = 0;
  for (const SinceRow& one : row->since) {
    if (one.source == number_) since = one.offset;
  }
  owed_.enroll(owed_.reader(at->client_id), at->filter, since);
  return {};
}

void Spool::replay(ByteSpan batch) {
  const BatchView header(batch);
  RecordReader records(header, header.records());
  RecordView record;
  while (records.next(record)) {
    const SpoolFacts facts = facts_of(record);
    // A copy counts once what it was copied from is gone.
    if (facts.at && *facts.at >= below_) continue;
    const Offset at = facts.at.value_or(record.offset);
    if (facts.is_void) {
      void_until_[{facts.ref->shard, facts.ref->offset}] = at;
      continue;
    }
    if (facts.is_batch) {
      batches_.add(*facts.ref, 0);
      continue;
    }
    if (facts.packet) {
      PacketPair pair{std::string(facts.packet->client_id), facts.packet->packet_id, facts.packet->sequence};
      found_pairs_.push_back({std::move(pair), facts.ref, at});
    }
    if (!facts.delayed.empty() && from_ledger_.emplace(facts.delayed, at).second)
      found_.push_back({std::string(facts.topic), std::string(facts.delayed)});
    auto filters = facts.topic.empty() ? nullptr : owed_.filters_of(facts.topic);
    if (facts.at) {
      found_moved_.push_back({at, record.offset, std::move(filters), size_of_message(record), facts.ref});
      continue;
    }
    if (!filters) continue;
    for (const auto& filter : *filters) filter->runs.add(at, size_of_message(record));
    if (facts.ref) note_reference(*filters, *facts.ref, at);
  }
  if (records.is_malformed()) ++metrics_.spool_damaged_total;
}

// A packet id counts as received where its message is stored. A reference lies in the journal before its stream's batch, which a
// crash between the two has lost: then the client sends the message again, and it must be taken.
void Spool::check_pairs(Callback<void(Result<std::vector<PacketPair>>)> done) {
  struct Checking {
    std::vector<PacketPair> pairs;
    std::map<ShardId, std::vector<size_t>> by_shard;  // of found_pairs_
    Status status;
    size_t waiting = 1;
    Callback<void(Result<std::vector<PacketPair>>)> done;
  };
  auto checking = std::make_shared<Checking>();
  checking->done = std::move(done);
  const auto take = [this, checking](const FoundPair& found) {
    checking->pairs.push_back(found.pair);
    pinned_[found.pair.client_id].emplace(found.pair.sequence, found.at);
  };
  for (size_t i = 0; i < found_pairs_.size(); ++i) {
    const FoundPair& found = found_pairs_[i];
    if (!found.ref)
      take(found);
    else if (!is_void(*found.ref, found.at))
      checking->by_shard[found.ref->shard].push_back(i);
  }
  const auto finish_one = [this, checking] {
    if (--checking->waiting > 0) return;
    found_pairs_ = {};
    if (!checking->status.ok()) return checking->done(checking->status.error());
    checking->done(std::move(checking->pairs));
  };
  checking->waiting += checking->by_shard.size();
  for (const auto& [shard, indexes] : checking->by_shard) {
    std::vector<SpoolRef> refs;
    for (const size_t i : indexes) refs.push_back(*found_pairs_[i].ref);
    auto checked = [this, alive = alive_, checking, take, finish_one, indexes](const Result<std::vector<bool>>& are_there) {
      if (!*alive) return;
      if (!are_there.ok()) checking->status = are_there.error();
      for (size_t i = 0; are_there.ok() && i < indexes.size(); ++i) {
        if ((*are_there)[i]) take(found_pairs_[indexes[i]]);
      }
      finish_one();
    };
    const CoreIndex home = home_of(shard, core_.count());
    if (home == core_.index())
      check_stream(streams_, meta_, refs, std::move(checked));
    else
      events_.check_elsewhere(home, std::move(refs), std::move(checked));
  }
  finish_one();
}

void Spool::check_stream(Streams& streams, meta::Meta& meta, const std::vector<SpoolRef>& refs,
                         Callback<void(Result<std::vector<bool>>)> done) {
  const auto topic = meta.find(refs.front().shard.topic);
  if (!topic) return done(std::vector<bool>(refs.size(), false));
  streams.with(topic, refs.front().shard.partition, [refs, done = std::move(done)](Result<shard::Shard*> opened) mutable {
    std::vector<bool> are_there(refs.size(), false);
    if (!opened.ok()) {
      if (is_gone(opened.code())) return done(std::move(are_there));
      return done(opened.error());
    }
    for (size_t i = 0; i < refs.size(); ++i) are_there[i] = (*opened)->had(refs[i].offset, refs[i].epoch);
    done(std::move(are_there));
  });
}

// Copies lie behind what they are older than.
void Spool::finish_replay() {
  std::sort(found_moved_.begin(), found_moved_.end(),
            [](const FoundMoved& a, const FoundMoved& b) { return std::pair(a.at, a.place) < std::pair(b.at, b.place); });
  struct Front {
    Runs runs;
    RefMarks refs;
  };
  std::map<OwedFilter*, Front> fronts;  // what is done for one does not depend on another
  for (size_t i = 0; i < found_moved_.size(); ++i) {
    const FoundMoved& one = found_moved_[i];
    // The last copy counts.
    if (i + 1 < found_moved_.size() && found_moved_[i + 1].at == one.at) continue;
    moved_.set(one.at, one.place);
    if (!one.filters) continue;
    for (const auto& filter : *one.filters) {
      Front& front = fronts[filter.get()];
      front.runs.add(one.at, one.bytes);
      if (one.ref) front.refs.add(one.ref->shard, one.at, one.ref->offset);
    }
    if (!one.ref) continue;
    const auto [kept, is_new] = kept_.try_emplace(one.ref->shard, one.ref->offset);
    if (!is_new) kept->second = std::min(kept->second, one.ref->offset);
  }
  for (const auto& [filter, front] : fronts) {
    filter->runs.put_in_front(front.runs);
    if (front.refs.empty()) continue;
    if (!filter->refs) filter->refs = std::make_unique<RefMarks>();
    filter->refs->put_in_front(front.refs);
  }
  found_moved_ = {};
}

// ---- Messages ----

bool Spool::add(std::string_view topic, const RecordView& record, uint64_t origin, const std::optional<SpoolRef>& ref) {
  const MessageFacts facts = message_facts_of(record);
  // Headers that a client made up say nothing.
  const std::optional<PacketMark> packet = is_marked(origin) ? facts.packet : std::nullopt;
  std::shared_ptr<const OwedFilters> filters;
  if (facts.qos > 0 || options_.keep_qos0) filters = owed_.filters_of(topic);
  if (!filters && !packet) return false;
  SpooledAs as;
  if (filters) as.topic = topic;
  as.ref = ref;
  as.packet = packet;
  if (filters && !own_.empty()) {
    const auto found = own_.find(connection_of(origin));
    if (found != own_.end()) as.own = found->second;
  }
  if (ref && filters) note_reference(*filters, *ref, end() + static_cast<Offset>(entries_.size()));
  if (origin == 0 && filters && !ref) as.delayed = facts.delayed;
  append_spooled(builder_, record, as);
  ++(ref ? metrics_.messages_referred_total : metrics_.messages_spooled_total);
  Entry entry{std::move(filters), size_of_message(record), std::nullopt, std::string(as.delayed), std::nullopt};
  if (packet) entry.pair = PacketPair{std::string(packet->client_id), packet->packet_id, packet->sequence};
  enter(std::move(entry));
  if (builder_.size_bytes() >= kTurnBytesMax && !ref) flush();
  return true;
}

void Spool::enter(Entry entry) {
  if (entries_.empty()) core_.defer(*this);
  entries_.push_back(std::move(entry));
}

void Spool::end_batch(const SpoolRef& begin) {
  append_about(builder_, kBatchHeader, begin, core_.wall_now().ms);
  enter({nullptr, 0, std::nullopt, {}, begin});
  batches_.add(begin, ticket());
}

void Spool::add_void(const SpoolRef& from) {
  append_about(builder_, kVoidHeader, from, core_.wall_now().ms);
  enter({});
}

void Spool::flush() {
  if (entries_.empty()) return;
  const uint64_t ticket = ++issued_;
  Bytes batch = builder_.finish();
  auto stored = [this, alive = alive_, ticket, batch,
                 entries = std::exchange(entries_, {})](const Result<shard::Appended>& appended) mutable {
    if (*alive) on_stored(ticket, batch, std::move(entries), appended);
  };
  shard_->append(std::move(batch), std::move(stored));
}

void Spool::on_stored(uint64_t ticket, const Bytes& batch, std::vector<Entry> entries, const Result<shard::Appended>& appended) {
  stored_ = ticket;
  if (appended.ok()) {
    cache_.add(id_, batch);
    Offset offset = appended->base_offset;
    for (Entry& entry : entries) {
      if (entry.pair) pinned_[entry.pair->client_id].emplace(entry.pair->sequence, offset);
      if (!entry.delayed.empty()) from_ledger_.emplace(std::move(entry.delayed), offset);
      if (entry.filters) {
        for (const auto& filter : *entry.filters) {
          filter->runs.add(offset, entry.bytes);
          for (OwedReader* reader : filter->connected) note(*reader);
        }
      }
      ++offset;
    }
  } else {
    ++metrics_.spool_failures_total;
    for (const Entry& entry : entries) {
      if (entry.batch) batches_.forget(*entry.batch, ticket);
    }
    failed_.emplace(ticket, appended.code());
    if (failed_.size() > kFailuresKept) failed_.erase(failed_.begin());
    // The offsets that were counted on are given again.
    owed_.fall_back(end());
  }
  while (!waiting_.empty() && waiting_.front().first <= ticket) {
    auto done = std::move(waiting_.front().second);
    waiting_.pop_front();
    done(appended.ok() ? Status() : Status(appended.error()));
  }
  pump_noted();
}

void Spool::when_stored(uint64_t ticket, Callback<void(Status)> done) {
  if (ticket > stored_) {
    // Asked about in order, but for references, whose streams' disks answer when they answer.
    auto at = waiting_.end();
    while (at != waiting_.begin() && std::prev(at)->first > ticket) --at;
    waiting_.emplace(at, ticket, std::move(done));
    return;
  }
  const auto failure = failed_.find(ticket);
  done(failure == failed_.end() ? Status() : Status(failure->second));
}

// ---- References ----

void Spool::note_reference(const OwedFilters& filters, const SpoolRef& ref, Offset at) {
  for (const auto& filter : filters) {
    if (!filter->refs) filter->refs = std::make_unique<RefMarks>();
    filter->refs->add(ref.shard, at, ref.offset);
  }
  const auto [kept, is_new] = kept_.try_emplace(ref.shard, ref.offset);
  if (!is_new) kept->second = std::min(kept->second, ref.offset);
}

bool Spool::is_void(const SpoolRef& ref, Offset at) const {
  for (auto each = void_until_.lower_bound({ref.shard, 0}); each != void_until_.end(); ++each) {
    if (each->first.first != ref.shard || each->first.second > ref.offset) return false;
    if (at < each->second) return true;
  }
  return false;
}

void Spool::begin_reference(const ShardId& shard, Offset base) { references_[shard].insert(base); }

void Spool::finish_reference(const ShardId& shard, Offset base, const Bytes* batch) {
  const auto found = references_.find(shard);
  if (found == references_.end() || found->second.erase(base) == 0) return;
  if (found->second.empty()) references_.erase(found);
  if (batch)
    cache_.add(shard, *batch);
  else
    void_until_[{shard, base}] = end();
  const auto waiting = std::exchange(waiting_for_stream_, {});
  for (const std::string& client_id : waiting) {
    if (OwedReader* reader = owed_.find(client_id)) note(*reader);
  }
  pump_noted();
}

// ---- Sessions ----

Offset Spool::enroll(const Attachment& session, const std::string& filter) {
  OwedReader& reader = owed_.reader(session.client_id);
  // What is under way may fail, and its offsets be given again to what is owed: all that is stored from now on counts.
  const Offset since = shard_->bounds().high_watermark;
  owed_.enroll(reader, filter, since);
  Offset begins = since;
  for (const auto& subscription : reader.subscriptions) {
    if (subscription.filter->filter == filter) begins = subscription.since;
  }
  if (session.connection > 0 && !reader.is_connected) attach(session);
  if (session.has_no_local && reader.is_connected) {
    reader.has_no_local = true;
    own_[reader.connection_id] = reader.client_id;
  }
  return begins;
}

void Spool::withdraw(std::string_view client_id, std::string_view filter) {
  OwedReader* reader = owed_.find(client_id);
  if (!reader) return;
  owed_.withdraw(*reader, filter);
  if (!reader->subscriptions.empty()) return;
  own_.erase(reader->connection_id);
  owed_.forget(client_id);
}

void Spool::forget(std::string_view client_id) {
  pinned_.erase(std::string(client_id));
  OwedReader* reader = owed_.find(client_id);
  if (!reader) return;
  own_.erase(reader->connection_id);
  owed_.forget(client_id);
}

void Spool::attach(const Attachment& session) {
  OwedReader* reader = owed_.find(session.client_id);
  // A subscription that was made meanwhile has brought the connection here already.
  if (!reader || (reader->is_connected && reader->connection == session.connection)) return;
  own_.erase(reader->connection_id);
  reader->home = session.home;
  reader->connection = session.connection;
  reader->connection_id = session.connection_id;
  reader->has_no_local = session.has_no_local;
  reader->credit = session.credit;
  reader->cursor = std::max(session.from, reader->position);  // as in detach
  reader->is_reading = false;
  reader->was_told = false;
  if (session.has_no_local) own_[session.connection_id] = session.client_id;
  owed_.set_connected(*reader, true);
  bound(*reader);
  note(*reader);
  pump_noted();
}

void Spool::detach(std::string_view client_id, uint64_t connection, Offset from) {
  OwedReader* reader = owed_.find(client_id);
  if (!reader || reader->connection != connection) return;
  own_.erase(reader->connection_id);
  // What it was handed and its client was not comes again.
  reader->cursor = std::min(reader->cursor, from);
  owed_.set_connected(*reader, false);
}

void Spool::grant(std::string_view client_id, uint64_t connection, uint32_t credit) {
  OwedReader* reader = owed_.find(client_id);
  if (!reader || !reader->is_connected || reader->connection != connection) return;
  reader->credit += credit;
  note(*reader);
  pump_noted();
}

void Spool::settle(std::string_view client_id, Offset position) {
  if (OwedReader* reader = owed_.find(client_id)) reader->position = std::max(reader->position, position);
}

void Spool::unpin(std::string_view client_id, uint64_t sequence) {
  const auto found = pinned_.find(client_id);
  if (found == pinned_.end()) return;
  auto& marks = found->second;
  marks.erase(marks.begin(), marks.upper_bound(sequence));
  if (marks.empty()) pinned_.erase(found);
}

}  // namespace robustmq::broker
