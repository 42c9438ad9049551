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
  if (index == spools_.size()) return done({});
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

Spool* Spools::find(uint16_t number) {
  for (const auto& spool : spools_) {
    if (spool->number() == number) return spool.get();
  }
  return nullptr;
}

void Spools::tidy() {
  for (const auto& spool : spools_) spool->tidy();
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
