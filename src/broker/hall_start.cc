// Hall: how it starts, what it does in time, and what it hears of the catalog.
#include <algorithm>
#include <utility>

#include "broker/group/coordinator.h"
#include "broker/hall.h"
#include "broker/telling.h"

namespace robustmq::broker {
namespace {

// Light topics looked at in one turn; where there are more, the looks are spread over the time between two ticks.
constexpr size_t kSweepVisits = 2'000;
constexpr int64_t kSweepsATick = 16;

}  // namespace

void Hall::introduce(const std::vector<Hall*>& halls) {
  std::vector<FanOut*> fan_outs;
  std::vector<Shared*> shared;
  std::vector<Exclusive*> exclusive;
  std::vector<SysTopics*> sys;
  std::vector<Bans*> bans;
  std::vector<Publisher*> publishers;
  std::vector<Fetcher*> fetchers;
  std::vector<Topics*> topics;
  std::vector<RetainedHome*> retained;
  std::vector<Delayed*> delayed;
  std::vector<Markers*> markers;
  std::vector<Spools*> spools;
  std::vector<Sessions*> sessions;
  std::vector<Leaser*> leasers;
  for (Hall* hall : halls) {
    leasers.push_back(&hall->leaser_);
    fan_outs.push_back(&hall->fan_out_);
    shared.push_back(&hall->shared_);
    exclusive.push_back(&hall->exclusive_);
    sys.push_back(&hall->sys_);
    bans.push_back(&hall->bans_);
    publishers.push_back(&hall->publisher_);
    fetchers.push_back(&hall->fetcher_);
    topics.push_back(&hall->topics_);
    retained.push_back(&hall->retained_);
    delayed.push_back(&hall->delayed_);
    markers.push_back(&hall->markers_);
    spools.push_back(&hall->spools_);
    sessions.push_back(&hall->stored_sessions_);
  }
  for (Hall* hall : halls) {
    hall->halls_ = halls;
    hall->rows_.set_home(&halls[0]->rows_);
    hall->fan_out_.set_peers(fan_outs);
    hall->shared_.set_peers(shared);
    hall->exclusive_.set_peers(exclusive);
    hall->sys_.set_peers(sys);
    hall->bans_.set_peers(bans);
    hall->quotas_.set_home(&halls[0]->quotas_);
    hall->publisher_.set_peers(publishers);
    hall->fetcher_.set_peers(fetchers);
    hall->topics_.set_peers(topics);
    hall->retained_.set_peers(retained);
    hall->delayed_.set_peers(delayed);
    hall->markers_.set_peers(markers);
    hall->spools_.set_peers(spools, sessions);
    hall->leaser_.set_peers(leasers);
    hall->introduce_queues();
  }
}

void Hall::start(Callback<void(Status)> ready) {
  core_.arm(tick_, core_.now() + Duration::millis(options_.retention_check_ms));
  core_.arm(sweep_tick_, core_.now() + Duration::millis(options_.retention_check_ms));
  sys_.start();
  compactor_.start();
  if (groups_) {
    groups_->look_at_lag(
        [this](ListOffsets request, ReplyTo done) { fetcher_.list_offsets(std::move(request), std::move(done)); },
        [this](DescribeShareOffsets request, ReplyTo done) {
          ask_share_offsets(kDefaultTenant, std::move(request), std::move(done));
        });
  }
  // Goes on with `next` after a step that went well.
  const auto then = [](Callback<void(Status)> otherwise, auto next) {
    return [otherwise = std::move(otherwise), next = std::move(next)](Status status) mutable {
      if (!status.ok()) return otherwise(std::move(status));
      next(std::move(otherwise));
    };
  };
  const auto create_streams = [this](Callback<void(Status)> done) {
    if (core_.index() != 0) return done({});
    topics_.create_rule_streams(std::move(done));
  };
  const auto load_transactions = [this, then, create_streams](Callback<void(Status)> done) {
    if (!transactions_) return create_streams(std::move(done));
    transactions_->load(then(std::move(done), create_streams));
  };
  const auto load_delayed = [this, then, load_transactions](Callback<void(Status)> done) {
    delayed_.load(then(std::move(done), [this, load_transactions](Callback<void(Status)> loaded) {
      wills_.start();
      delayed_.start();
      load_transactions(std::move(loaded));
    }));
  };
  const auto load_wills = [this, then, load_delayed](Callback<void(Status)> done) {
    wills_.load(then(std::move(done), load_delayed));
  };
  const auto open_spools = [this, then, load_wills](Callback<void(Status)> done) {
    spools_.open(then(std::move(done), [this, load_wills](Callback<void(Status)> opened) {
      tell_delayed();
      load_wills(std::move(opened));
    }));
  };
  const auto load_quotas = [this, then, open_spools](Callback<void(Status)> done) {
    if (core_.index() != 0) return open_spools(std::move(done));
    quotas_.load(then(std::move(done), open_spools));
  };
  const auto load_bans = [this, then, load_quotas](Callback<void(Status)> done) {
    bans_.load(then(std::move(done), load_quotas));
  };
  const auto load_sessions = [this, then, load_bans](Callback<void(Status)> done) {
    stored_sessions_.load(then(std::move(done), load_bans));
  };
  const auto load_lights = [this, then, load_sessions](Callback<void(Status)> done) {
    lights_.load(then(std::move(done), load_sessions));
  };
  const auto shards = [this, then, load_lights](Callback<void(Status)> done) { open_shards(then(std::move(done), load_lights)); };
  auto finish = [this, ready = std::move(ready)](Status status) mutable { finish_start(std::move(status), std::move(ready)); };
  retained_.start(then(std::move(finish), shards));
}

void Hall::when_started(Callback<void()> told) {
  if (has_started_) return told();
  waiting_for_start_.push_back(std::move(told));
}

// What transactions ended before is told to shards of all cores: core 0 waits for the others.
void Hall::finish_start(Status status, Callback<void(Status)> ready) {
  has_started_ = true;
  for (Callback<void()>& told : std::exchange(waiting_for_start_, {})) told();
  if (core_.index() == 0 && status.ok()) queues_.sweep(meta_);
  if (status.ok()) queues_.resume_letters(meta_);
  if (!transactions_ || !status.ok()) return ready(std::move(status));
  auto telling = std::make_shared<Telling>();
  telling->then = [this, ready = std::move(ready)]() mutable {
    transactions_->start();
    ready({});
  };
  for (Hall* peer : halls_) {
    if (peer == this) continue;
    ++telling->waiting;
    core_.send(peer->core_.index(), [this, peer, telling] {
      peer->when_started([this, peer, telling] { peer->core_.send(core_.index(), [telling] { telling->finish_one(); }); });
    });
  }
  telling->finish_one();
}

// Each core's ledger hears what the spools of all cores have of it.
void Hall::tell_delayed() {
  std::vector<std::vector<std::string>> by_core(core_.count());
  for (Spool::FromLedger& one : spools_.take_found()) by_core[delayed_.home_of(one.topic)].push_back(std::move(one.key));
  for (CoreIndex home = 0; home < core_.count(); ++home) {
    if (home == core_.index())
      delayed_.found(by_core[home]);
    else
      core_.send(home, [peer = halls_[home], keys = std::move(by_core[home])] { peer->delayed_.found(keys); });
  }
}

void Hall::open_shards(Callback<void(Status)> ready) {
  struct Opening {
    Callback<void(Status)> ready;
    Status status;
    size_t waiting = 1;
    void finish_one(Status result) {
      if (!result.ok()) status = std::move(result);
      if (--waiting == 0) ready(std::move(status));
    }
  };
  auto opening = std::make_shared<Opening>();
  opening->ready = std::move(ready);
  for (const auto& topic : meta_.list(kDefaultTenant)) {
    for (int32_t partition = 0; partition < topic->partitions; ++partition) {
      if (home_of({topic->id, partition}, core_.count()) != core_.index()) continue;
      ++opening->waiting;
      streams_.with(topic, partition, [this, opening](Result<shard::Shard*> shard) {
        // What is damaged does not keep the rest down: its requests are answered with that.
        const bool is_damaged = shard.code() == Code::corrupt_storage;
        metrics_.partitions_damaged += is_damaged;
        opening->finish_one(shard || is_damaged ? Status() : Status(shard.error()));
      });
    }
  }
  opening->finish_one({});
}

void Hall::on_tick(void* self) {
  Hall& hall = *static_cast<Hall*>(self);
  const WallTime now = hall.core_.wall_now();
  hall.spools_.tidy();
  hall.bans_.tidy();
  hall.quotas_.tidy();
  hall.streams_.retain(now);
  hall.queues_.tidy();
  hall.core_.arm(hall.tick_, hall.core_.now() + Duration::millis(hall.options_.retention_check_ms));
}

void Hall::on_sweep_tick(void* self) {
  Hall& hall = *static_cast<Hall*>(self);
  hall.lights_.sweep(hall.core_.wall_now(), kSweepVisits, [&hall](std::string_view name) { hall.publisher_.forget_route(name); });
  const int64_t pause_ms = hall.options_.retention_check_ms / (hall.lights_.size() > kSweepVisits ? kSweepsATick : 1);
  hall.core_.arm(hall.sweep_tick_, hall.core_.now() + Duration::millis(std::max<int64_t>(pause_ms, 1)));
}

void Hall::on_catalog(const meta::CatalogEvent& event) {
  if (const auto* created = std::get_if<meta::TopicCreated>(&event)) rules_.add(*created->topic);
  if (const auto* gone = std::get_if<meta::TopicDeleted>(&event)) rules_.remove(*gone->topic);
  if (core_.index() == 0) declare_metrics_.streams = static_cast<int64_t>(rules_.made().size());
  publisher_.forget_routes();
  if (const auto* changed = std::get_if<meta::TopicChanged>(&event)) {
    compactor_.changed(changed->topic->id);
    return streams_.changed(changed->topic);
  }
  const auto* deleted = std::get_if<meta::TopicDeleted>(&event);
  if (!deleted) return;
  queues_.remove_topic(*deleted->topic);
  compactor_.changed(deleted->topic->id);
  streams_.remove(*deleted->topic);
  if (core_.index() != 0) return;
  // A topic that a rule feeds is emptied, not ended, by its deletion.
  for (const TopicRule& rule : rules_.all()) {
    if (rule.topic == deleted->topic->name) {
      core_.post([this] { topics_.create_rule_streams([](Status) {}); });
      return;
    }
  }
}

}  // namespace robustmq::broker
