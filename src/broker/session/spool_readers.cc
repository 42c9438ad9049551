// Spool: the handing out to connected sessions, and what nobody waits for any more.
#include <algorithm>
#include <utility>

#include "broker/session/spool.h"
#include "runtime/disk.h"

namespace robustmq::broker {
namespace {

constexpr uint64_t kReadBytes = 256 << 10;
constexpr uint64_t kReplayBytes = 4 << 20;

// Reads pieces to memory, one behind the other.
class Gathering : public std::enable_shared_from_this<Gathering> {
 public:
  Gathering(runtime::Core& core, Pieces pieces, Callback<void(Result<Bytes>)> done)
      : core_(core), pieces_(std::move(pieces)), done_(std::move(done)) {}
  void run() {
    for (; next_ < pieces_.size(); ++next_) {
      const Piece& piece = pieces_[next_];
      if (piece.is_stored()) return read(piece);
      if (pieces_.size() == 1) return done_(piece.bytes);
      bytes_.append(piece.bytes.span());
    }
    done_(bytes_.take());
  }

 private:
  void read(const Piece& piece) {
    // A stored range of a log is always of a file of the runtime.
    auto file = std::static_pointer_cast<runtime::File>(std::const_pointer_cast<ByteSource>(piece.stored.source));
    core_.disk().read(std::move(file), piece.stored.position, piece.size,
                      [self = shared_from_this(), size = piece.size](Result<Bytes> bytes) {
                        if (!bytes.ok()) return self->done_(bytes.error());
                        if (bytes->size() != size) return self->done_(Error{Code::corrupt_storage, "a stored range is cut"});
                        self->bytes_.append(bytes->span());
                        ++self->next_;
                        self->run();
                      });
  }

  runtime::Core& core_;
  Pieces pieces_;
  size_t next_ = 0;
  Buffer bytes_;
  Callback<void(Result<Bytes>)> done_;
};

// What was fetched, as bytes.
Callback<void(Result<shard::Fetched>)> gather(runtime::Core& core, Callback<void(Result<Bytes>)> done) {
  return [&core, done = std::move(done)](Result<shard::Fetched> fetched) mutable {
    if (!fetched.ok()) return done(fetched.error());
    std::make_shared<Gathering>(core, std::move(fetched->pieces), std::move(done))->run();
  };
}

}  // namespace

void Spool::note(OwedReader& reader) {
  if (reader.is_noted) return;
  reader.is_noted = true;
  noted_.push_back(reader.client_id);
}

// Handing over may bring more credit, and so more to note: a loop, not a recursion.
void Spool::pump_noted() {
  if (std::exchange(is_pumping_, true)) return;
  while (!noted_.empty()) {
    const auto noted = std::exchange(noted_, {});
    for (const std::string& client_id : noted) {
      OwedReader* reader = owed_.find(client_id);
      if (!reader) continue;
      reader->is_noted = false;
      pump(*reader);
    }
  }
  is_pumping_ = false;
}

void Spool::pump(OwedReader& reader) {
  if (!reader.is_connected || reader.is_reading) return;
  Handed handed{reader.client_id, reader.connection, number_, {}};
  while (reader.credit > 0) {
    const std::optional<Offset> at = Owed::next(reader, reader.cursor);
    if (!at) break;
    OwedMessage message;
    ShardId missing;
    Offset missing_offset = 0;
    const Look looked = look(reader.client_id, *at, message, missing, missing_offset);
    if (looked == Look::not_committed) {
      waiting_for_stream_.insert(reader.client_id);
      break;
    }
    if (looked == Look::not_here) {
      reader.is_reading = true;
      load(missing, missing_offset,
           [this, alive = alive_, id = reader.client_id, connection = reader.connection, at = *at, missing] {
             if (!*alive) return;
             OwedReader* again = owed_.find(id);
             if (!again || again->connection != connection) return;
             again->is_reading = false;
             OwedMessage unused;
             ShardId shard;
             Offset offset = 0;
             // What a read did not bring is not there.
             if (look(id, at, unused, shard, offset) == Look::not_here && shard == missing && again->cursor <= at) {
               ++metrics_.messages_lost_total;
               again->cursor = at + 1;
             }
             note(*again);
             pump_noted();
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

Spool::Look Spool::look(std::string_view client_id, Offset offset, OwedMessage& message, ShardId& missing,
                        Offset& missing_offset) const {
  const std::optional<Offset> place = place_of(offset);
  if (!place) return Look::gone;
  const auto batch = cache_.find(id_, *place);
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
  for (auto at = void_until_.lower_bound({ref.shard, 0}); at != void_until_.end(); ++at) {
    if (at->first.first != ref.shard || at->first.second > ref.offset) break;
    if (offset < at->second) return Look::gone;
  }
  const RecordView* referred = record_at(*source, ref.offset);
  if (!referred) return Look::gone;
  const SpoolFacts there = facts_of(*referred);
  message.owner = source->owner;
  message.record = *referred;
  message.qos = there.qos;
  message.expiry_s = there.expiry_s;
  return Look::found;
}

void Spool::load(const ShardId& shard, Offset offset, Callback<void()> done) {
  ++metrics_.batches_read_total;
  auto take = [this, alive = alive_, shard, done = std::move(done)](const Result<Bytes>& bytes) mutable {
    if (!*alive) return;
    take_bytes(shard, bytes);
    done();
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

void Spool::take_bytes(const ShardId& shard, const Result<Bytes>& bytes) {
  for (size_t at = 0; bytes.ok() && at < bytes->size();) {
    const auto size = BatchView::size_at(bytes->span().subspan(at));
    if (!size || *size > bytes->size() - at) break;
    cache_.add(shard, bytes->slice(at, *size));
    at += *size;
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
    std::make_shared<Gathering>(core_, std::move(fetched->pieces), std::move(take))->run();
  });
}

void Spool::replay_from(Offset from, std::shared_ptr<std::vector<PacketPair>> pairs, Callback<void(Status)> done) {
  if (from >= shard_->bounds().high_watermark) return done({});
  read_log(from, kReplayBytes, [this, from, pairs, done = std::move(done)](Result<Batches> read) mutable {
    if (!read.ok()) return done(read.error());
    if (read->next <= from) return done(Error{Code::corrupt_storage, "the spool ends before its end"});
    for (ByteSpan rest = read->bytes.span(); !rest.empty();) {
      const auto size = BatchView::size_at(rest);
      if (!size || *size > rest.size()) return done(Error{Code::corrupt_storage, "a batch of the spool is cut"});
      const Status status = replay(rest.first(*size), *pairs);
      if (!status.ok()) return done(status);
      rest = rest.subspan(*size);
    }
    // In another turn: a long log would be a deep recursion where reads complete inline.
    core_.post([this, alive = alive_, next = read->next, pairs, done = std::move(done)]() mutable {
      if (*alive) replay_from(next, std::move(pairs), std::move(done));
    });
  });
}

// ---- Again ----

struct Spool::ReadingAgain {
  std::string client_id;
  std::vector<Offset> offsets;
  size_t next = 0;
  int reads = 0;  // for the one at hand
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
    const Look looked = look(reading->client_id, at, message, missing, missing_offset);
    // Twice: a reference's spool batch, then its stream's; a third time brings nothing more.
    if (looked == Look::not_here && reading->reads < 3) {
      ++reading->reads;
      return load(missing, missing_offset, [this, alive = alive_, reading]() mutable {
        if (*alive) read_next_again(std::move(reading));
      });
    }
    reading->reads = 0;
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
  moved_.trim(floor);
  if (floor > below_) {
    below_ = floor;
    shard_->trim(below_, [](Status) {});
  }
  if (is_worth_rewriting()) rewrite_from(below_, size_bytes() / 2);
}

}  // namespace robustmq::broker
