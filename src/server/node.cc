#include "server/node.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/check.h"
#include "config/config.h"
#include "server/data_format.h"
#include "server/node_room.h"
#include "server/node_store.h"
#include "server/version.h"

namespace robustmq::server {

using runtime::completion;
using runtime::Core;
using runtime::Endpoint;
using runtime::Task;

namespace {

// Waits for several answers; gives the first error.
struct Gather {
  size_t left = 0;
  Status first;
  Callback<void(Status)> done;

  static void answer(const std::shared_ptr<Gather>& gather, Status status) {
    if (!status.ok() && gather->first.ok()) gather->first = std::move(status);
    if (--gather->left == 0) gather->done(std::move(gather->first));
  }
};

Error with_lead(std::string_view lead, const Error& error) {
  return {error.code, fmt::format("{}: {}", lead, error.detail.empty() ? code_text(error.code) : std::string_view(error.detail))};
}

}  // namespace

Node::Node(ServerOptions options, CoreIndex cores, MakeSink make_sink, NodeSwitches switches, RowsDoor rows)
    : options_(std::move(options)),
      make_sink_(std::move(make_sink)),
      switches_(switches),
      rows_door_(std::move(rows)),
      rules_(options_.topic_rule),
      plans_(plan_listeners(options_)),
      node_places_(std::make_shared<protocol::driver::ConnectionPlaces>(options_.listener.connections_max)),
      materials_(plans_.size()),
      rooms_(cores) {
  for (const ListenerPlan& plan : plans_) {
    places_.push_back(plan.connections_max == 0 ? nullptr
                                                : std::make_shared<protocol::driver::ConnectionPlaces>(plan.connections_max));
    std::shared_ptr<protocol::driver::QuicRules> quic;
    if (plan.is_quic)
      quic = std::make_shared<protocol::driver::QuicRules>(std::make_shared<net::QuicGroup>(cores), options_.quic);
    quic_rules_.push_back(std::move(quic));
    const auto rate = [](uint64_t per_s) { return per_s == 0 ? nullptr : std::make_shared<Rate>(per_s); };
    const protocol::driver::RateOptions& rates = plan.rates;
    connection_rates_.push_back(rate(rates.connections_per_s));
    const bool is_limited = rates.messages_per_s + rates.bytes_per_s + rates.client_messages_per_s + rates.client_bytes_per_s > 0;
    limits_.push_back(is_limited
                          ? std::make_shared<const protocol::LinkLimits>(rate(rates.messages_per_s), rate(rates.bytes_per_s),
                                                                         rates.client_messages_per_s, rates.client_bytes_per_s)
                          : nullptr);
  }
  options_.broker.queues_available = options_.mqtt.queues_available;
  facts_.id = options_.node.id;
  facts_.version = std::string(version());
}

Node::~Node() {
  // Halls use the stores; consumer groups that wait are answered through the halls.
  if (store_) {
    store_->admin.reset();
    store_->groups.reset();
  }
  for (auto& room : rooms_) {
    if (room) room->close();
  }
  store_.reset();
}

void Node::set_up(Core& core) {
  const int64_t memory = options_.broker.memory_bytes / static_cast<int64_t>(rooms_.size());
  rooms_[core.index()] = std::make_unique<NodeRoom>(core, make_sink_(core), options_.node.log_level, memory);
}

void Node::tear_down(Core& core) {
  std::unique_ptr<NodeRoom>& room = rooms_[core.index()];
  if (room) room->close();
  room.reset();
}

// ---- Work on cores ----

void Node::on_core(CoreIndex index, OnCore& work, Callback<void(Status)> done) {
  if (index == 0) return work(home(), std::move(done));
  home().core.send(index, [this, index, &work, done = std::move(done)]() mutable {
    work(*rooms_[index], [this, index, done = std::move(done)](Status status) mutable {
      rooms_[index]->core.send(0, [done = std::move(done), status = std::move(status)]() mutable { done(std::move(status)); });
    });
  });
}

Task<Status> Node::on_every_core(OnCore work) {
  Status result = co_await completion<Status>([&](auto done) {
    auto gather = std::make_shared<Gather>();
    gather->left = rooms_.size();
    gather->done = std::move(done);
    for (CoreIndex i = 0; i < rooms_.size(); ++i) {
      on_core(i, work, [gather](Status status) { Gather::answer(gather, std::move(status)); });
    }
  });
  co_return result;
}

// Messages that were under way between cores, and those that they caused, have arrived.
Task<void> Node::settle() {
  for (int i = 0; i < 3; ++i) {
    OnCore nothing = [](NodeRoom& room, Callback<void(Status)> done) {
      room.core.post([done = std::move(done)]() mutable { done({}); });
    };
    Status status = co_await on_every_core(std::move(nothing));
    (void)status;
  }
}

// ---- Start ----

void Node::start(Callback<void(Result<Listening>)> done) {
  ROBUSTMQ_CHECK(state_ == State::made, "a node is started once");
  state_ = State::starting;
  tasks_.spawn(run_start(std::move(done)));
}

Task<void> Node::run_start(Callback<void(Result<Listening>)> done) {
  Status opened = co_await open_all();
  if (!opened.ok()) {
    done(opened.error());
    co_return;
  }
  state_ = State::serving;
  home().log.info("node_started", {{"node", options_.node.id}, {"cores", rooms_.size()}, {"topic_rules", rules_.all().size()}});
  done(listening_);
}

Task<Status> Node::open_all() {
  store_ = std::make_unique<NodeStore>();
  Status known = open_users();
  if (!known.ok()) co_return known;
  Status stored = co_await open_store();
  if (!stored.ok()) co_return stored;
  Status halls = co_await open_halls();
  if (!halls.ok()) co_return halls;
  Status listening = co_await open_listeners();
  if (!listening.ok()) co_return listening;
  co_return start_admin();
}

Task<Status> Node::open_store() {
  NodeRoom& room = home();
  Status claimed = co_await claim_data_directory(room.core);
  if (!claimed.ok()) co_return with_lead(options_.node.data_dir, claimed.error());
  if (switches_.unsafe_skip_sync)
    room.log.error("sync_is_left_out", {{"warning", "nothing survives a power cut; for tests only"}});
  std::vector<Core*> cores;
  for (auto& each : rooms_) cores.push_back(&each->core);
  Status opened = co_await store_->open(std::move(cores), room.log, options_, rows_door_, switches_.unsafe_skip_sync);
  if (!opened.ok()) co_return with_lead(options_.node.data_dir, opened.error());
  store_->add_metrics(room.metrics);
  co_return Status{};
}

Task<Status> Node::open_halls() {
  std::vector<broker::TopicFacts::Setting> settings;
  ServerOptions defaults;
  for (config::OptionRow& row : config::to_rows(config::bind(options_), config::bind(defaults))) {
    settings.push_back({std::move(row.path), std::move(row.value), row.is_default});
  }
  OnCore make = [this, &settings](NodeRoom& room, Callback<void(Status)> done) {
    const bool is_home = room.core.index() == 0;
    if (!is_home) {
      room.remote = storage::make_remote_engine(room.core, 0, *store_->engine);
      room.rows = store_->rows_on(room.core, home().core, room.metrics, options_.storage, rows_door_);
    }
    broker::HallSetup setup;
    setup.core = &room.core;
    setup.meta = &store_->catalog->on(room.core.index());
    setup.engines.memory = &room.memory;
    setup.engines.persistent = is_home ? store_->engine.get() : room.remote.get();
    setup.groups = is_home ? store_->groups.get() : nullptr;
    setup.kv = is_home ? store_->kv.get() : room.rows.get();
    setup.session = options_.session;
    setup.retained = &options_.retained;
    setup.delayed = &options_.delayed;
    setup.extensions = options_.extension;
    setup.topic_rewrite = options_.topic_rewrite;
    setup.auto_subscribe = options_.auto_subscribe;
    setup.bans = options_.ban;
    setup.transaction = &options_.transaction;
    setup.logins = options_.auth;
    setup.users = users_;
    setup.compaction = options_.compaction;
    setup.quota = options_.quota;
    setup.declare = options_.declare;
    setup.quota_board = quotas_;
    room.hall = std::make_unique<broker::Hall>(setup, options_.broker, rules_, facts_);
    if (users_ && rows_door_.make_helper) room.hall->use_helper(rows_door_.make_helper(room.core, "passwords"));
    room.hall->set_option_facts(settings);
    room.metrics.add("broker", room.hall->metrics());
    room.metrics.add("auth", room.hall->auth_metrics());
    room.metrics.add("session", room.hall->session_metrics());
    room.metrics.add("extension", room.hall->extension_metrics());
    room.metrics.add("ban", room.hall->ban_metrics());
    room.metrics.add("retained", room.hall->retained_metrics());
    room.metrics.add("will", room.hall->will_metrics());
    room.metrics.add("delayed", room.hall->delayed_metrics());
    room.metrics.add("transaction", room.hall->transaction_metrics());
    room.metrics.add("lease", room.hall->lease_metrics());
    room.metrics.add("queue", room.hall->queue_metrics());
    room.metrics.add("compaction", room.hall->compaction_metrics());
    room.metrics.add("modes", room.hall->mode_metrics());
    room.metrics.add("quota", room.hall->quota_metrics());
    room.metrics.add("declare", room.hall->declare_metrics());
    room.metrics.add("memory", room.budget.metrics());
    room.metrics.add("net", room.streams.counters());
    done({});
  };
  Status made = co_await on_every_core(std::move(make));
  if (!made.ok()) co_return made;
  std::vector<broker::Hall*> halls;
  for (auto& room : rooms_) halls.push_back(room->hall.get());
  broker::Hall::introduce(halls);
  OnCore open = [](NodeRoom& room, Callback<void(Status)> done) { room.hall->start(std::move(done)); };
  Status started = co_await on_every_core(std::move(open));
  co_return started;
}

Task<Status> Node::open_listeners() {
  OnCore make = [this](NodeRoom& room, Callback<void(Status)> done) {
    make_doors(room);
    done({});
  };
  Status made = co_await on_every_core(std::move(make));
  if (!made.ok()) co_return made;
  OnCore introduce = [this](NodeRoom& room, Callback<void(Status)> done) {
    for (size_t d = 0; d < room.doors.size(); ++d) {
      std::vector<protocol::driver::Listener*> peers;
      for (auto& other : rooms_) peers.push_back(other->doors[d].get());
      room.doors[d]->set_peers(std::move(peers));
    }
    done({});
  };
  Status introduced = co_await on_every_core(std::move(introduce));
  if (!introduced.ok()) co_return introduced;
  Status certified = open_certificates();
  if (!certified.ok()) co_return certified;
  for (size_t d = 0; d < plans_.size(); ++d) {
    Status opened = co_await open_listener(d);
    if (opened.ok()) continue;
    if (!plans_[d].may_be_left_out) co_return with_lead(plans_[d].option, opened.error());
    home().log.warn("listener_left_out",
                    {{"listener", plans_[d].name}, {"why", opened.error().detail}, {"option", plans_[d].option}});
  }
  co_return Status{};
}

// Core 0 first: it takes the port when any will do, and what clients are told of it stands before another core accepts.
Task<Status> Node::open_listener(size_t door) {
  Result<Endpoint> at = home().doors[door]->start(plans_[door].at);
  if (!at.ok()) co_return at.error();
  Endpoint where = *at;
  Endpoint told;
  if (plans_[door].kind == "kafka") {
    told = told_address(plans_[door], where);
    const auto first = std::find_if(plans_.begin(), plans_.end(), [](const ListenerPlan& plan) { return plan.kind == "kafka"; });
    if (&*first == &plans_[door]) {
      facts_.kafka_host = told.host;
      facts_.kafka_port = told.port;
      told = {};
    }
  }
  home().doors[door]->set_advertised(told);
  OnCore listen = [door, where, told](NodeRoom& room, Callback<void(Status)> done) {
    if (room.core.index() == 0) return done({});
    room.doors[door]->set_advertised(told);
    Result<Endpoint> here = room.doors[door]->start(where);
    done(here.ok() ? Status{} : Status{here.error()});
  };
  Status listening = co_await on_every_core(std::move(listen));
  if (listening.ok()) listening_.emplace_back(plans_[door].name, where);
  co_return listening;
}

void Node::make_doors(NodeRoom& room) {
  const CoreIndex cores = static_cast<CoreIndex>(rooms_.size());
  auto seat = [&](std::string name, auto make) {
    const bool is_asked = std::any_of(plans_.begin(), plans_.end(), [&](const ListenerPlan& plan) { return plan.kind == name; });
    if (!is_asked) return;
    std::unique_ptr<ProtocolSeat>& made = room.seats[name];
    made = make();
    made->add_metrics(room.metrics);
  };
#define PROTOCOL(section, Seat) seat(#section, [&] { return std::make_unique<Seat>(options_, cores); });
#include "server/plugins.def"
#undef PROTOCOL
  for (size_t d = 0; d < plans_.size(); ++d) {
    const ListenerPlan& plan = plans_[d];
    protocol::driver::ListenerRules rules;
    rules.name = plan.name;
    rules.entrance = plan.entrance;
    rules.quic = quic_rules_[d];
    rules.mountpoint = plan.mountpoint;
    rules.places = places_[d];
    rules.node_places = node_places_;
    rules.connections_rate = connection_rates_[d];
    rules.limits = limits_[d];
    rules.quotas = quotas_;
    room.doors.push_back(std::make_unique<protocol::driver::Listener>(
        protocol::driver::ListenerSeat{room.core, room.streams, *room.hall, room.seats[plan.kind]->connections(), room.log,
                                       room.last_link_id, clock_},
        plan.kind, options_.listener, std::move(rules)));
    // A protocol's first listener has no label of its own.
    const std::string label = plan.name == plan.kind ? "" : fmt::format(",listener=\"{}\"", plan.name);
    room.metrics.add("listener", room.doors.back()->metrics(), fmt::format("protocol=\"{}\"{}", plan.kind, label));
    if (const net::QuicMetrics* quic = room.doors.back()->quic_metrics())
      room.metrics.add("quic", *quic, fmt::format("listener=\"{}\"", plan.name));
  }
}

// What Kafka clients of a listener are told to connect to.
Endpoint Node::told_address(const ListenerPlan& plan, const Endpoint& listening) {
  Endpoint told = listening;
  if (!plan.advertised.empty()) {
    const Result<Endpoint> given = Endpoint::parse(plan.advertised);
    ROBUSTMQ_CHECK(given.ok(), "options were checked");
    told = *given;
    if (told.port == 0) told.port = listening.port;
  } else if (told.host == "0.0.0.0" || told.host == "::") {
    told.host = "127.0.0.1";
    home().log.warn("kafka_address_is_local",
                    {{"listener", plan.name},
                     {"told", told.to_string()},
                     {"remedy", "set kafka.advertised, or advertised of the listener, for clients on other hosts"}});
  }
  return told;
}

Status Node::start_admin() {
  if (options_.admin.listen.empty()) return {};
  admin::ApiSeat seat;
  seat.broker = home().hall.get();
  seat.is_ready = [this] { return is_serving() && !store_->engine->has_failed(); };
  seat.metrics_text = [this](Callback<void(std::string)> done) { metrics_text(std::move(done)); };
  seat.options_json = [this] { return config::to_json(config::bind(options_)); };
  seat.message_id = [&core = home().core] { return fmt::format("{:016X}{:016X}", core.wall_now().ms, core.random()); };
  seat.metrics = &store_->admin_metrics;
  home().metrics.add("admin", store_->admin_metrics);
  store_->admin = std::make_unique<admin::AdminServer>(home().streams, std::move(seat), options_.admin);
  home().metrics.add("admin_http", store_->admin->counters());
  const Result<Endpoint> at = Endpoint::parse(options_.admin.listen);
  Status status = at.ok() ? store_->admin->listen(*at) : Status{at.error()};
  if (!status.ok()) return with_lead(fmt::format("admin.listen = {}", options_.admin.listen), status.error());
  listening_.emplace_back("admin", store_->admin->local());
  return {};
}

// ---- Stop ----

void Node::stop(Callback<void(Status)> done) {
  ROBUSTMQ_CHECK(state_ == State::serving || state_ == State::starting, "a node is stopped once");
  state_ = State::stopping;
  tasks_.spawn(run_stop(std::move(done)));
}

Task<void> Node::run_stop(Callback<void(Status)> done) {
  home().log.info("node_stopping");
  check_timer_.cancel();
  users_timer_.cancel();
  if (store_) store_->admin.reset();
  OnCore end_links = [this](NodeRoom& room, Callback<void(Status)> ended) {
    if (room.doors.empty()) return ended({});
    auto gather = std::make_shared<Gather>();
    gather->left = room.doors.size();
    gather->done = std::move(ended);
    for (auto& door : room.doors) {
      door->stop(Duration::millis(options_.node.stop_ms), [gather] { Gather::answer(gather, {}); });
    }
  };
  Status ended = co_await on_every_core(std::move(end_links));
  co_await settle();
  OnCore seal = [](NodeRoom& room, Callback<void(Status)> sealed) {
    if (!room.hall) return sealed({});
    room.hall->seal([sealed = std::move(sealed)](Status) mutable { sealed({}); });
  };
  Status kept = co_await on_every_core(std::move(seal));
  (void)kept;  // without it the next start reads more
  if (store_) store_->groups.reset();
  co_await settle();
  OnCore write_rows = [this](NodeRoom& room, Callback<void(Status)> written) {
    storage::Kv* rows = room.rows ? room.rows.get() : room.core.index() == 0 && store_ ? store_->kv.get() : nullptr;
    if (!rows) return written({});
    rows->write({}, std::move(written));  // behind all that waits
  };
  Status rows_written = co_await on_every_core(std::move(write_rows));
  co_await settle();
  Status closed;
  if (store_ && store_->engine) {
    closed = co_await completion<Status>([&](auto engine_done) { store_->engine->close(std::move(engine_done)); });
  }
  co_await settle();
  OnCore close_halls = [](NodeRoom& room, Callback<void(Status)> halls_done) {
    room.doors.clear();
    room.seats.clear();
    room.hall.reset();
    halls_done({});
  };
  Status halls = co_await on_every_core(std::move(close_halls));
  co_await settle();
  OnCore close_engines = [](NodeRoom& room, Callback<void(Status)> engines_done) {
    room.remote.reset();
    room.rows.reset();
    engines_done({});
  };
  Status engines = co_await on_every_core(std::move(close_engines));
  co_await settle();
  store_.reset();
  state_ = State::stopped;
  home().log.info("node_stopped");
  done(closed.ok() ? std::move(rows_written) : std::move(closed));
}

// ---- Metrics ----

void Node::metrics_text(Callback<void(std::string)> done) {
  struct Merge {
    size_t left;
    observe::MetricsSnapshot all;
    Callback<void(std::string)> done;
  };
  auto merge = std::make_shared<Merge>(Merge{rooms_.size(), {}, std::move(done)});
  auto take = [merge](observe::MetricsSnapshot snapshot) {
    merge->all.merge(std::move(snapshot));
    if (--merge->left == 0) merge->done(merge->all.to_prometheus());
  };
  for (CoreIndex i = 1; i < rooms_.size(); ++i) {
    home().core.send(i, [this, i, take] {
      rooms_[i]->core.send(0, [take, snapshot = rooms_[i]->metrics.collect()]() mutable { take(std::move(snapshot)); });
    });
  }
  take(home().metrics.collect());
}

}  // namespace robustmq::server
