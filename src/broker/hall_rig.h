// HallRig: the halls of a node on the simulated world, with durable rows and segments on its disk, that can crash and start
// again. For tests of the broker.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "broker/fake_meta.h"
#include "broker/hall.h"
#include "runtime/sim/disk.h"
#include "runtime/sim/net.h"
#include "runtime/sim/world.h"
#include "storage/kv_log.h"
#include "storage/memory/memory_log.h"
#include "storage/remote_kv.h"
#include "storage/row_key.h"
#include "storage/segment/engine.h"

namespace robustmq::broker {

// A connection of a test: remembers what it gets.
struct RigClient final : Sink {
  struct Got {
    std::string topic;
    std::string value;
    bool is_retained = false;
    uint8_t qos_max = 0;
    std::vector<uint32_t> ids;
    int64_t timestamp_ms = 0;
    std::map<std::string, std::string> headers;
  };
  RigClient(Hall& hall_in, uint64_t id) : hall(&hall_in) {
    context.sink = this;
    context.connection_id = id;
  }
  ~RigClient() { close(); }
  void close() {
    if (hall) hall->close(context);
    hall = nullptr;
  }
  void on_delivery(const Delivery& delivery) override {
    Got one{std::string(delivery.topic),
            std::string(as_text(*delivery.record.value)),
            delivery.is_retained,
            delivery.qos_max,
            {},
            delivery.record.timestamp_ms,
            {}};
    HeaderReader headers(delivery.record);
    HeaderView header;
    while (headers.next(header)) one.headers.emplace(header.key, header.value ? as_text(*header.value) : "");
    if (delivery.subscription_ids) one.ids = *delivery.subscription_ids;
    got.push_back(std::move(one));
  }
  void on_notice(Notice notice) override { notices.push_back(notice); }
  bool is_ready() const override { return is_taking; }

  Hall* hall;
  Context context;
  std::vector<Got> got;
  std::vector<Notice> notices;
  bool is_taking = true;
};

// Rows that count their writes, and fail as told.
struct CountedKv final : storage::Kv {
  explicit CountedKv(std::unique_ptr<storage::Kv> kv_in) : kv(std::move(kv_in)) {}
  void write(storage::KvBatch batch, Callback<void(Status)> done) override {
    ++writes;
    if (is_full) return done(Code::storage_full);
    kv->write(std::move(batch), std::move(done));
  }
  void get(std::string_view key, Callback<void(Result<std::string>)> done) const override {
    if (failing_gets > 0) {
      --failing_gets;
      return done(Code::storage_failed);
    }
    kv->get(key, std::move(done));
  }
  void scan(std::string_view from, std::string_view to, size_t rows_max,
            Callback<void(Result<storage::KvRows>)> done) const override {
    kv->scan(from, to, rows_max, std::move(done));
  }
  std::unique_ptr<storage::Kv> kv;
  uint64_t writes = 0;
  bool is_full = false;
  mutable int failing_gets = 0;
};

class HallRig {
 public:
  explicit HallRig(int cores, uint64_t seed = 11)
      : world({.seed = seed}), node(world.add_node({.cores = static_cast<CoreIndex>(cores)})) {}
  ~HallRig() {
    if (!life_) return;
    node.crash(runtime::sim::CrashKind::process);
    end_life();
  }

  // `rules` as of this life.
  void start(std::vector<TopicRule> rules = {}) {
    life_ = std::make_unique<Life>();
    board = std::make_shared<QuotaBoard>();
    ++catalog.starts;
    life_->rules = std::make_unique<TopicRules>(std::move(rules));
    storage::SegmentEngine::open(node.core(0), storage_options, {}, [this](auto engine) {
      ASSERT_TRUE(engine.ok());
      life_->engine = engine.take();
      storage::KvLog::open(node.core(0), *life_->engine, storage_options, [this](auto kv) {
        ASSERT_TRUE(kv.ok());
        life_->kv = std::make_unique<CountedKv>(kv.take());
        life_->kv->failing_gets = failing_gets;
      });
    });
    ASSERT_TRUE(world.run_until([this] { return life_->kv != nullptr; }, Duration::seconds(60)));
    std::vector<Hall*> all;
    for (CoreIndex i = 0; i < node.core_count(); ++i) {
      Room& room = *life_->rooms.emplace_back(std::make_unique<Room>());
      room.budget = std::make_unique<storage::MemoryBudget>(1 << 20);
      room.memory = std::make_unique<storage::MemoryEngine>(*room.budget);
      if (i > 0) room.remote = storage::make_remote_engine(node.core(i), 0, *life_->engine);
      room.meta = std::make_unique<FakeMeta>(catalog);
      HallSetup setup;
      setup.core = &node.core(i);
      setup.meta = room.meta.get();
      setup.engines.memory = room.memory.get();
      setup.engines.persistent = i > 0 ? room.remote.get() : life_->engine.get();
      if (i > 0) room.rows = std::make_unique<storage::RemoteKv>(node.core(i), 0, node.core(0), *life_->kv);
      setup.kv = i > 0 ? room.rows.get() : static_cast<storage::Kv*>(life_->kv.get());
      setup.retained = &retained_options;
      setup.delayed = &delayed_options;
      setup.extensions = extensions;
      setup.topic_rewrite = topic_rewrite;
      setup.auto_subscribe = auto_subscribe;
      setup.bans = bans;
      setup.quota = quota;
      setup.quota_board = board;
      setup.logins = logins;
      setup.users = users;
      room.hall = std::make_unique<Hall>(setup, options, *life_->rules, facts_);
      all.push_back(room.hall.get());
    }
    Hall::introduce(all);
    size_t ready = 0;
    for (Hall* each : all) {
      each->start([&](const Status& status) {
        EXPECT_TRUE(status.ok());
        ++ready;
      });
    }
    ASSERT_TRUE(world.run_until([&] { return ready == all.size(); }, Duration::seconds(60)));
  }
  // Everything ends where it is; the clients are gone. start() begins the next life.
  void crash(runtime::sim::CrashKind kind) {
    node.crash(kind);
    end_life();
    node.restart();
  }

  Hall& hall(size_t i) { return *life_->rooms[i % life_->rooms.size()]->hall; }
  CountedKv& kv() { return *life_->kv; }
  RigClient& client(size_t on) {
    clients_.push_back(std::make_unique<RigClient>(hall(on), ++last_connection_));
    return *clients_.back();
  }
  Reply ask(RigClient& client, Request request, Duration limit = Duration::seconds(10)) {
    std::optional<Reply> reply;
    client.hall->execute(client.context, std::move(request), [&](Reply answer) { reply = std::move(answer); });
    EXPECT_TRUE(world.run_until([&] { return reply.has_value(); }, limit));
    return reply ? std::move(*reply) : Reply(Error{Code::internal, "no reply"});
  }
  template <class T>
  T ask_for(RigClient& client, Request request) {
    Reply reply = ask(client, std::move(request));
    EXPECT_TRUE(std::holds_alternative<T>(reply));
    return std::holds_alternative<T>(reply) ? std::get<T>(std::move(reply)) : T{};
  }
  Code publish(RigClient& client, Message message) {
    message.wants_reply = true;
    Publish request;
    request.messages.push_back(message);
    const Published published = ask_for<Published>(client, std::move(request));
    return published.results.empty() ? Code::internal : published.results[0].code;
  }
  void settle(Duration time = Duration::millis(50)) { world.run_for(time); }
  size_t rows(std::string_view prefix) {
    size_t count = 0;
    kv().scan(prefix, storage::end_of(std::string(prefix)), SIZE_MAX,
              [&](Result<storage::KvRows> rows) { count = rows->size(); });
    return count;
  }

  runtime::sim::SimWorld world;
  runtime::sim::SimNode& node;
  BrokerOptions options;
  ExtensionOptions extensions;
  std::vector<RewriteRule> topic_rewrite;
  std::vector<AutoSubscription> auto_subscribe;
  BanOptions bans;
  QuotaOptions quota;
  std::shared_ptr<QuotaBoard> board;  // of this life
  AuthOptions logins;
  Authenticator::Users users;  // null: no login
  RetainedOptions retained_options;
  DelayedOptions delayed_options;
  storage::StorageOptions storage_options;
  FakeCatalog catalog;
  int failing_gets = 0;  // of rows, at the beginning of a life

 private:
  // Members in the order they are made.
  struct Room {
    std::unique_ptr<storage::MemoryBudget> budget;
    std::unique_ptr<storage::MemoryEngine> memory;
    std::unique_ptr<storage::Engine> remote;
    std::unique_ptr<storage::Kv> rows;
    std::unique_ptr<FakeMeta> meta;
    std::unique_ptr<Hall> hall;
  };
  struct Life {
    std::unique_ptr<TopicRules> rules;
    std::unique_ptr<storage::SegmentEngine> engine;
    std::unique_ptr<CountedKv> kv;
    std::vector<std::unique_ptr<Room>> rooms;
  };
  void end_life() {
    clients_.clear();
    catalog.watchers.clear();
    for (auto& room : life_->rooms) room->hall.reset();
    life_.reset();
  }

  NodeFacts facts_;
  std::unique_ptr<Life> life_;
  std::vector<std::unique_ptr<RigClient>> clients_;
  uint64_t last_connection_ = 0;
};

}  // namespace robustmq::broker
