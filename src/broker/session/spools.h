// Spools: the spools of one core, and the way to those of the others. Lives on its core.
#pragma once

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "broker/session/spool.h"

namespace robustmq::broker {

class Sessions;

class Spools final : private SpoolEvents {
 public:
  Spools(runtime::Core& core, Rows& rows, Streams& streams, meta::Meta& meta, storage::Engine& engine,
         const SessionOptions& options, SessionMetrics& metrics);
  ~Spools();
  // Every core's spools and sessions, by core; once, before open().
  void set_peers(std::vector<Spools*> peers, std::vector<Sessions*> sessions) {
    peers_ = std::move(peers);
    sessions_ = std::move(sessions);
  }
  // Opens this core's spools; tells the sessions' cores of the packet ids found.
  void open(Callback<void(Status)> done);
  void tidy();
  // The messages of a stream's shard, which lives here, that some session is owed begin there; INT64_MAX: none is. 0 until every
  // core has opened its spools.
  Offset kept_from(const ShardId& shard) const;
  uint64_t size_bytes() const;  // of this core's

  // Some session of the node is stored, so messages are looked at. Never taken back within a start.
  bool is_used() const { return is_used_; }
  void use() { is_used_ = true; }
  // The messages of the ledger that this core's spools had when they were opened; once.
  std::vector<Spool::FromLedger> take_found();
  void forget_from_ledger(const std::vector<std::string>& keys);  // on every core
  // Where this core's messages go.
  Spool& mine() { return *spools_.front(); }
  // How many there are on the node; each session may be owed something by each.
  uint16_t count() const { return count_; }

  // Runs `use(Spool&)` on the core of a spool; here at once.
  template <class Use>
  void at(uint16_t number, Use&& use) {
    const auto home = static_cast<CoreIndex>(number % core_.count());
    if (home == core_.index()) {
      if (Spool* spool = find(number)) use(*spool);
      return;
    }
    core_.send(home, [peer = peers_[home], number, use = std::forward<Use>(use)]() mutable {
      if (Spool* spool = peer->find(number)) use(*spool);
    });
  }
  // Back to a core; here at once. Called on the spool's core.
  template <class Work>
  void back(CoreIndex to, Work&& work) {
    if (to == core_.index()) return work();
    core_.send(to, std::forward<Work>(work));
  }
  // The spools of the core this runs on: what `at` leads to.
  Spools& on(uint16_t number) { return *peers_[number % core_.count()]; }

  // What the batch that was just committed waits for; 0: nothing. Set by who owes it, asked by who answers its publisher.
  void set_current(uint64_t ticket) { current_ = ticket; }
  uint64_t current() const { return current_; }

 private:
  Spool* find(uint16_t number);
  using Kept = std::map<ShardId, Offset>;
  void tell_kept();
  void open_next(size_t index, Callback<void(Status)> done);
  void tell(std::vector<PacketPair> pairs);
  void on_handed(CoreIndex home, Handed handed) override;
  void on_over_limit(CoreIndex home, std::string client_id, uint64_t connection) override;
  void check_elsewhere(CoreIndex home, std::vector<SpoolRef> refs, Callback<void(Result<std::vector<bool>>)> done) override;
  void read_elsewhere(CoreIndex home, const ShardId& shard, Offset offset, Callback<void(Result<Bytes>)> done) override;

  runtime::Core& core_;
  storage::Engine& engine_;
  BatchCache cache_;
  SpoolSetup setup_;
  std::vector<Spools*> peers_;
  std::vector<Sessions*> sessions_;
  std::vector<std::unique_ptr<Spool>> spools_;  // the core's own first
  uint16_t count_ = 0;
  // Of the shards here, what spools on other cores refer to (of a time with another number of cores: nothing joins it).
  std::map<CoreIndex, Kept> kept_by_;
  std::vector<bool> were_told_;  // by core: told something at the last time
  bool is_open_ = false;
  bool is_used_ = false;
  uint64_t current_ = 0;
};

}  // namespace robustmq::broker
