// Spool: the handing out to connected sessions, and what nobody waits for any more.
#include <algorithm>
#include <utility>

#include "broker/gather.h"
#include "broker/session/spool.h"

namespace robustmq::broker {
namespace {

constexpr uint64_t kReadBytes = 256 << 10;
constexpr uint64_t kReplayBytes = 4 << 20;
constexpr int64_t kReadRetryMs = 200;  // what could not be read is tried again then

// What was fetched, as bytes.
Callback<void(Result<shard::Fetched>)> gather(runtime::Core& core, Callback<void(Result<Bytes>)> done) {
  return [&core, done = std::move(done)](Result<shard::Fetched> fetched) mutable {
    if (!fetched.ok()) return done(fetched.error());
    broker::gather(core, std::move(fetched->pieces), std::move(done));
  };
}

}  // namespace

void Spool::note(OwedReader& reader, const CachedBatchPtr& held) {
  if (reader.is_noted) return;
  reader.is_noted = true;
  noted_.push_back({reader.client_id, held});
}

// Handing over may bring more credit, and so more to note: a loop, not a recursion.
void Spool::pump_noted() {
  if (std::exchange(is_pumping_, true)) return;
  while (!noted_.empty()) {
    const auto noted = std::exchange(noted_, {});
    for (const Noted& one : noted) {
      OwedReader* reader = owed_.find(one.client_id);
      if (!reader) continue;
      reader->is_noted = false;
      pump(*reader, one.held);
    }
  }
  is_pumping_ = false;
}

void Spool::pump(OwedReader& reader, const CachedBatchPtr& held) {
  if (!reader.is_connected || reader.is_reading) return;
  Handed handed{reader.client_id, reader.connection, number_, {}};
  while (reader.credit > 0) {
    const std::optional<Offset> at = Owed::next(reader, reader.cursor);
    if (!at) break;
    OwedMessage message;
    ShardId missing;
    Offset missing_offset = 0;
    const Look looked = look(reader.client_id, *at, held, message, missing, missing_offset);
    if (looked == Look::not_committed) {
      waiting_for_stream_.insert(reader.client_id);
      break;
    }
    if (looked == Look::not_here) {
      reader.is_reading = true;
      // The cache may be too small for both of a reference's batches.
      const CachedBatchPtr kept = missing == id_ ? nullptr : held_batch(*at);
      load(missing, missing_offset,
           [this, alive = alive_, id = reader.client_id, connection = reader.connection, at = *at, missing,
            kept = kept ? kept : held](const Status& status) {
             if (*alive) on_loaded(id, connection, at, missing, kept, status);
           });
      break;
    }
    reader.cursor = *at + 1;
    if (looked == Look::gone) continue;
    message.offset = *at;
    --reader.credit;
    handed.messages.push_back(std::move(message));
  }
  if (!handed.messages.empty()) events_.on_handed(reader.home, std::move(handed));
}

void Spool::on_loaded(const std::string& client_id, uint64_t connection, Offset at, const ShardId& missing,
                      const CachedBatchPtr& held, const Status& status) {
  OwedReader* reader = owed_.find(client_id);
  if (!reader || reader->connection != connection) return;
  if (!status.ok() && !is_gone(status.code())) {
    return retry_later([this, client_id, connection] {
      OwedReader* again = owed_.find(client_id);
      if (!again || again->connection != connection) return;
      again->is_reading = false;
      note(*again);
      pump_noted();
    });
  }
  reader->is_reading = false;
  OwedMessage unused;
  ShardId shard;
  Offset offset = 0;
  // What a read did not bring is not there.
  if (look(client_id, at, held, unused, shard, offset) == Look::not_here && shard == missing && reader->cursor <= at) {
    ++metrics_.messages_lost_total;
    reader->cursor = at + 1;
  }
  // At once, while what was read is there.
  note(*reader, held);
  pump_noted();
}

void Spool::retry_later(Callback<void()> again) {
  ++metrics_.reads_failed_total;
  retries_.push_back(std::move(again));
  if (!retry_.is_armed()) core_.arm(retry_, core_.now() + Duration::millis(kReadRetryMs));
}

void Spool::on_retry() {
  for (auto& again : std::exchange(retries_, {})) again();
}

CachedBatchPtr Spool::held_batch(Offset offset) const {
  const std::optional<Offset> place = place_of(offset);
  return place ? cache_.find(id_, *place) : nullptr;
}

Spool::Look Spool::look(std::string_view client_id, Offset offset, const CachedBatchPtr& held, OwedMessage& message,
                        ShardId& missing, Offset& missing_offset) const {
  const std::optional<Offset> place = place_of(offset);
  if (!place) return Look::gone;
  CachedBatchPtr batch = cache_.find(id_, *place);
  if (!batch && held && held->base <= *place && *place < held->next) batch = held;
  if (!batch) {
    missing = id_;
    missing_offset = *place;
    return Look::not_here;
  }
  const RecordView* record = record_at(*batch, *place);
  if (!record) return Look::gone;
  const SpoolFacts facts = facts_of(*record);
  if (facts.topic.empty()) return Look::gone;
  message.topic = facts.topic;
  message.is_own = !facts.own.empty() && facts.own == client_id;
  if (!facts.ref) {
    message.owner = batch->owner;
    message.record = *record;
    message.qos = facts.qos;
    message.expiry_s = facts.expiry_s;
    return Look::found;
  }
  const SpoolRef& ref = *facts.ref;
  const auto under_way = references_.find(ref.shard);
  if (under_way != references_.end() && ref.epoch == static_cast<LeaderEpoch>(meta_.starts()) &&
      *under_way->second.begin() <= ref.offset)
    return Look::not_committed;
  const auto source = cache_.find(ref.shard, ref.offset);
  if (!source) {
    missing = ref.shard;
    missing_offset = ref.offset;
    return Look::not_here;
  }
  if (source->epoch != ref.epoch) return Look::gone;  // the message was lost in a crash before anyone was told of it
  if (is_void(ref, offset)) return Look::gone;
  const RecordView* referred = record_at(*source, ref.offset);
  if (!referred) return Look::gone;
  const MessageFacts there = message_facts_of(*referred);
  message.owner = source->owner;
  message.record = *referred;
  message.qos = there.qos;
  message.expiry_s = there.expiry_s;
  return Look::found;
}

void Spool::load(const ShardId& shard, Offset offset, Callback<void(Status)> done) {
  ++metrics_.batches_read_total;
  auto take = [this, alive = alive_, shard, done = std::move(done)](const Result<Bytes>& bytes) mutable {
    if (!*alive) return;
    if (!bytes.ok()) return done(bytes.error());
    take_bytes(shard, *bytes);
    done({});
  };
  if (shard == id_) return shard_->fetch(offset, kReadBytes, true, gather(core_, std::move(take)));
  const CoreIndex home = home_of(shard, core_.count());
  if (home != core_.index()) return events_.read_elsewhere(home, shard, offset, std::move(take));
  read_stream(core_, streams_, meta_, shard, offset, std::move(take));
}

void Spool::read_stream(runtime::Core& core, Streams& streams, meta::Meta& meta, const ShardId& shard, Offset offset,
                        Callback<void(Result<Bytes>)> done) {
  const auto topic = meta.find(shard.topic);
  if (!topic) return done(Code::unknown_topic);
  streams.with(topic, shard.partition, [offset, take = gather(core, std::move(done))](Result<shard::Shard*> opened) mutable {
    if (!opened.ok()) return take(opened.error());
    (*opened)->fetch_kept(offset, kReadBytes, true, std::move(take));
  });
}

void Spool::take_bytes(const ShardId& shard, const Bytes& bytes) {
  std::vector<Bytes> batches;
  for (size_t at = 0; at < bytes.size();) {
    const auto size = BatchView::size_at(bytes.span().subspan(at));
    if (!size || *size > bytes.size() - at) break;
    batches.push_back(bytes.slice(at, *size));
    at += *size;
  }
  // The one that was asked for comes last: it is the last to go where the cache is small.
  while (!batches.empty()) {
    cache_.add(shard, batches.back());
    batches.pop_back();
  }
}

// ---- Start ----

void Spool::read_log(Offset from, uint64_t bytes_max, Callback<void(Result<Batches>)> done) {
  shard_->fetch(from, bytes_max, true, [this, alive = alive_, done = std::move(done)](Result<shard::Fetched> fetched) mutable {
    if (!*alive) return;
    if (!fetched.ok()) return done(fetched.error());
    const Offset next = fetched->next;
    auto take = [alive, next, done = std::move(done)](Result<Bytes> bytes) mutable {
      if (!*alive) return;
      if (!bytes.ok()) return done(bytes.error());
      done(Batches{bytes.take(), next});
    };
    broker::gather(core_, std::move(fetched->pieces), std::move(take));
  });
}

void Spool::replay_from(Offset from, Callback<void(Status)> done) {
  if (from >= shard_->bounds().high_watermark) return done({});
  read_log(from, kReplayBytes, [this, from, done = std::move(done)](Result<Batches> read) mutable {
    if (read.code() == Code::corrupt_storage) return pass_over(from, std::move(done));
    if (!read.ok()) return done(read.error());
    if (read->next <= from) return done(Error{Code::corrupt_storage, "the spool ends before its end"});
    for (ByteSpan rest = read->bytes.span(); !rest.empty();) {
      const auto size = BatchView::size_at(rest);
      if (!size || *size > rest.size()) return done(Error{Code::corrupt_storage, "a batch of the spool is cut"});
      replay(rest.first(*size));
      rest = rest.subspan(*size);
    }
    // In another turn: a long log would be a deep recursion where reads complete inline.
    core_.post([this, alive = alive_, next = read->next, done = std::move(done)]() mutable {
      if (*alive) replay_from(next, std::move(done));
    });
  });
}

// The batch that holds `damaged` cannot be read; what was owed of it is lost. Goes on with the next one that can.
void Spool::pass_over(Offset damaged, Callback<void(Status)> done) {
  find_readable(damaged, 1, shard_->bounds().high_watermark,
                [this, alive = alive_, damaged, done = std::move(done)](const Result<Offset>& next) mutable {
                  if (!*alive) return;
                  if (!next.ok()) return done(next.error());
                  metrics_.spool_damaged_total += static_cast<uint64_t>(*next - damaged);
                  replay_from(*next, std::move(done));
                });
}

// The first readable offset behind `bad`, which is not: in growing steps, then by halves. `good`: the lowest known that is, or
// the end.
void Spool::find_readable(Offset bad, Offset step, Offset good, Callback<void(Result<Offset>)> done) {
  if (bad + 1 >= good) return done(good);
  const Offset at = step > 0 && bad + step < good ? bad + step : bad + (good - bad) / 2;
  read_log(at, 1, [this, alive = alive_, bad, step, good, at, done = std::move(done)](const Result<Batches>& read) mutable {
    if (!read.ok() && read.code() != Code::corrupt_storage) return done(read.error());
    // No more growing once something can be read.
    const bool is_readable = read.ok();
    core_.post([this, alive, bad = is_readable ? bad : at, step = is_readable || step == 0 ? Offset{0} : 2 * step,
                good = is_readable ? at : good, done = std::move(done)]() mutable {
      if (*alive) find_readable(bad, step, good, std::move(done));
    });
  });
}

// ---- Again ----

struct Spool::ReadingAgain {
  std::string client_id;
  std::vector<Offset> offsets;
  size_t next = 0;
  int reads = 0;        // for the one at hand
  CachedBatchPtr held;  // the same: of the spool
  std::vector<OwedMessage> messages;
  Callback<void(std::vector<OwedMessage>)> done;
};

void Spool::read_again(std::string client_id, std::vector<Offset> offsets, Callback<void(std::vector<OwedMessage>)> done) {
  auto reading = std::make_shared<ReadingAgain>();
  reading->client_id = std::move(client_id);
  reading->offsets = std::move(offsets);
  reading->done = std::move(done);
  read_next_again(std::move(reading));
}

void Spool::read_next_again(std::shared_ptr<ReadingAgain> reading) {
  for (; reading->next < reading->offsets.size(); ++reading->next) {
    OwedMessage message;
    ShardId missing;
    Offset missing_offset = 0;
    const Offset at = reading->offsets[reading->next];
    const Look looked = look(reading->client_id, at, reading->held, message, missing, missing_offset);
    // Twice: a reference's spool batch, then its stream's; a third time brings nothing more.
    if (looked == Look::not_here && reading->reads < 3) {
      ++reading->reads;
      if (missing != id_) reading->held = held_batch(at);
      return load(missing, missing_offset, [this, alive = alive_, reading](const Status& status) mutable {
        if (!*alive) return;
        if (status.ok() || is_gone(status.code())) return read_next_again(std::move(reading));
        reading->reads = 0;
        retry_later([this, reading]() mutable { read_next_again(std::move(reading)); });
      });
    }
    reading->reads = 0;
    reading->held.reset();
    if (looked != Look::found) continue;
    message.offset = at;
    reading->messages.push_back(std::move(message));
  }
  reading->done(std::move(reading->messages));
}

// ---- Bounds and trim ----

void Spool::bound(OwedReader& reader) {
  const OwedBounds bounds{static_cast<uint64_t>(options_.messages_max), static_cast<uint64_t>(options_.bytes_max)};
  if (Owed::count_from(reader, reader.cursor) <= bounds.messages_max &&
      Owed::bytes_from(reader, reader.cursor) <= bounds.bytes_max)
    return;
  if (options_.over_limit == OverLimit::drop_oldest) {
    metrics_.messages_dropped_total += Owed::drop_oldest(reader, end(), bounds);
    return;
  }
  if (options_.over_limit == OverLimit::disconnect && reader.is_connected && !std::exchange(reader.was_told, true))
    events_.on_over_limit(reader.home, reader.client_id, reader.connection);
  metrics_.messages_dropped_total += Owed::drop_newest(reader, end(), bounds);
}

void Spool::tidy() {
  std::vector<std::string> all;
  owed_.for_each([&](OwedReader& reader) { all.push_back(reader.client_id); });
  for (const std::string& client_id : all) {
    if (OwedReader* reader = owed_.find(client_id)) bound(*reader);
  }
  Offset floor = owed_.floor(shard_->bounds().high_watermark);
  for (const auto& [client_id, marks] : pinned_) {  // a minimum: the order does not show
    for (const auto& [sequence, offset] : marks) floor = std::min(floor, offset);
  }
  for (const auto& [key, offset] : from_ledger_) floor = std::min(floor, offset);
  owed_.trim(floor);
  kept_.clear();
  owed_.for_each_filter([this](OwedFilter& filter) {
    if (!filter.refs) return;
    filter.refs->for_each([this](const ShardId& shard, Offset in_shard) {
      const auto [kept, is_new] = kept_.try_emplace(shard, in_shard);
      if (!is_new) kept->second = std::min(kept->second, in_shard);
    });
  });
  std::erase_if(void_until_, [&](const auto& each) { return each.second <= floor; });
  moved_.trim(floor);
  if (floor > below_) {
    below_ = floor;
    shard_->trim(below_, [](Status) {});
  }
  if (is_worth_rewriting()) rewrite_from(below_, size_bytes() / 2);
}

}  // namespace robustmq::broker
