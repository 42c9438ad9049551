#include "broker/session/spools.h"

#include <algorithm>

#include "broker/session/sessions.h"

namespace robustmq::broker {

Spools::Spools(runtime::Core& core, Rows& rows, Streams& streams, meta::Meta& meta, storage::Engine& engine,
               const SessionOptions& options, SessionMetrics& metrics)
    : core_(core),
      engine_(engine),
      cache_(static_cast<size_t>(options.cache_bytes)),
      setup_{core, rows, streams, meta, engine, options, metrics, cache_, *this} {
  spools_.push_back(std::make_unique<Spool>(setup_, core.index()));
}

Spools::~Spools() = default;

void Spools::open(Callback<void(Status)> done) {
  count_ = core_.count();
  for (const ShardId& id : engine_.list()) {
    if (is_spool_log(id)) count_ = std::max(count_, static_cast<uint16_t>(id.partition + 1));
  }
  for (int number = core_.index() + core_.count(); number < count_; number += core_.count())
    spools_.push_back(std::make_unique<Spool>(setup_, static_cast<uint16_t>(number)));
  open_next(0, std::move(done));
}

void Spools::open_next(size_t index, Callback<void(Status)> done) {
  if (index == spools_.size()) {
    is_open_ = true;
    were_told_.assign(core_.count(), true);  // each core hears from each once
    tell_kept();
    return done({});
  }
  spools_[index]->open([this, index, done = std::move(done)](Result<std::vector<PacketPair>> pairs) mutable {
    if (!pairs.ok()) return done(pairs.error());
    is_used_ |= spools_[index]->owed().reader_count() > 0 || !pairs->empty();
    tell(std::move(*pairs));
    open_next(index + 1, std::move(done));
  });
}

void Spools::tell(std::vector<PacketPair> pairs) {
  std::vector<std::vector<PacketPair>> by_core(core_.count());
  for (PacketPair& pair : pairs) by_core[slot_of(kDefaultTenant, pair.client_id) % core_.count()].push_back(std::move(pair));
  for (CoreIndex home = 0; home < core_.count(); ++home) {
    if (by_core[home].empty()) continue;
    back(home, [sessions = sessions_[home], found = std::move(by_core[home])] { sessions->restore_packets(found); });
  }
}

std::vector<Spool::FromLedger> Spools::take_found() {
  std::vector<Spool::FromLedger> all;
  for (const auto& spool : spools_) {
    for (Spool::FromLedger& one : spool->take_found()) all.push_back(std::move(one));
  }
  return all;
}

void Spools::forget_from_ledger(const std::vector<std::string>& keys) {
  if (!is_used_) return;
  for (uint16_t number = 0; number < count_; ++number) at(number, [keys](Spool& spool) { spool.forget_from_ledger(keys); });
}

Spool* Spools::find(uint16_t number) {
  for (const auto& spool : spools_) {
    if (spool->number() == number) return spool.get();
  }
  return nullptr;
}

void Spools::tidy() {
  for (const auto& spool : spools_) spool->tidy();
  if (!is_open_) return;
  tell_kept();
  setup_.metrics.partitions_held = static_cast<int64_t>(mine().kept().size());
}

void Spools::tell_kept() {
  std::vector<Kept> by_core(core_.count());
  for (const auto& spool : spools_) {
    for (const auto& [shard, offset] : spool->kept()) {
      const CoreIndex home = home_of(shard, core_.count());
      if (home == core_.index()) continue;
      const auto [kept, is_new] = by_core[home].try_emplace(shard, offset);
      if (!is_new) kept->second = std::min(kept->second, offset);
    }
  }
  for (CoreIndex home = 0; home < core_.count(); ++home) {
    if (home == core_.index() || (by_core[home].empty() && !were_told_[home])) continue;
    were_told_[home] = !by_core[home].empty();
    core_.send(home, [peer = peers_[home], from = core_.index(), kept = std::move(by_core[home])]() mutable {
      peer->kept_by_[from] = std::move(kept);
    });
  }
}

Offset Spools::kept_from(const ShardId& shard) const {
  if (!is_open_ || kept_by_.size() + 1 < core_.count()) return 0;
  Offset lowest = INT64_MAX;
  for (const auto& spool : spools_) lowest = std::min(lowest, spool->kept_from(shard));
  for (const auto& [core, kept] : kept_by_) {
    const auto found = kept.find(shard);
    if (found != kept.end()) lowest = std::min(lowest, found->second);
  }
  return lowest;
}

void Spools::read_elsewhere(CoreIndex home, const ShardId& shard, Offset offset, Callback<void(Result<Bytes>)> done) {
  core_.send(home, [peer = peers_[home], back = core_.index(), shard, offset, done = std::move(done)]() mutable {
    auto answer = [peer, back, done = std::move(done)](Result<Bytes> bytes) mutable {
      peer->core_.send(back, [done = std::move(done), bytes = std::move(bytes)]() mutable { done(std::move(bytes)); });
    };
    Spool::read_stream(peer->core_, peer->setup_.streams, peer->setup_.meta, shard, offset, std::move(answer));
  });
}

void Spools::check_elsewhere(CoreIndex home, std::vector<SpoolRef> refs, Callback<void(Result<std::vector<bool>>)> done) {
  core_.send(home, [peer = peers_[home], back = core_.index(), refs = std::move(refs), done = std::move(done)]() mutable {
    auto answer = [peer, back, done = std::move(done)](Result<std::vector<bool>> are_there) mutable {
      peer->core_.send(back,
                       [done = std::move(done), are_there = std::move(are_there)]() mutable { done(std::move(are_there)); });
    };
    Spool::check_stream(peer->setup_.streams, peer->setup_.meta, refs, std::move(answer));
  });
}

uint64_t Spools::size_bytes() const {
  uint64_t bytes = 0;
  for (const auto& spool : spools_) bytes += spool->size_bytes();
  return bytes;
}

void Spools::on_handed(CoreIndex home, Handed handed) {
  back(home, [sessions = sessions_[home], handed = std::move(handed)]() mutable { sessions->take(std::move(handed)); });
}

void Spools::on_over_limit(CoreIndex home, std::string client_id, uint64_t connection) {
  back(home, [sessions = sessions_[home], client_id = std::move(client_id), connection] {
    sessions->end_over_limit(client_id, connection);
  });
}

}  // namespace robustmq::broker
