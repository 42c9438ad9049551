// For tests of sessions: the halls of a node on the simulated world with the segment engine and the key-value rows on its
// simulated disk, clients that remember what they got, and crashes.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/topic_names.h"
#include "broker/fake_meta.h"
#include "broker/faulty_engine.h"
#include "broker/group/coordinator.h"
#include "broker/hall.h"
#include "runtime/sim/disk.h"
#include "runtime/sim/net.h"
#include "runtime/sim/world.h"
#include "storage/kv_log.h"
#include "storage/memory/memory_log.h"
#include "storage/remote_kv.h"
#include "storage/segment/engine.h"

namespace robustmq::broker::test {

struct Got {
  std::string topic;
  std::string value;
  uint8_t qos_max = 0;
  uint16_t lease = 0;
  bool is_again = false;
  bool is_received = false;
  std::vector<uint32_t> ids;
};

struct Client final : Sink {
  void on_delivery(const Delivery& delivery) override {
    Got got{std::string(delivery.topic),
            delivery.record.value ? std::string(as_text(*delivery.record.value)) : std::string(),
            delivery.qos_max,
            delivery.lease,
            delivery.is_again,
            delivery.is_received,
            delivery.subscription_ids ? *delivery.subscription_ids : std::vector<uint32_t>{}};
    received.push_back(std::move(got));
  }
  void on_notice(Notice notice) override { notices.push_back(notice); }
  bool is_ready() const override { return is_taking; }
  std::vector<std::string> values() const {
    std::vector<std::string> all;
    for (const Got& got : received) all.push_back(got.value);
    return all;
  }

  Hall* hall = nullptr;
  Context context;
  bool is_open = true;
  bool is_taking = true;
  std::vector<Got> received;
  std::vector<Notice> notices;
};

class SessionRig {
 public:
  explicit SessionRig(CoreIndex cores, uint64_t seed = 11) : world({.seed = seed}), node(world.add_node({.cores = cores})) {
    storage_options.journal_file_bytes = 1 << 20;
    storage_options.kv_log_bytes_max = 1 << 20;
  }
  ~SessionRig() { crash(runtime::sim::CrashKind::process); }

  // Before start().
  void set_rules(std::vector<TopicRule> given) { rules = TopicRules(std::move(given)); }

  void start() {
    ++catalog.starts;
    catalog.watchers.clear();
    bool is_open = false;
    storage::SegmentEngine::open(node.core(0), storage_options, {}, [&](auto opened) {
      ASSERT_TRUE(opened.ok());
      segment = opened.take();
      storage::KvLog::open(node.core(0), *segment, storage_options, [&](auto rows) {
        ASSERT_TRUE(rows.ok());
        kv = rows.take();
        is_open = true;
      });
    });
    ASSERT_TRUE(world.run_until([&] { return is_open; }, Duration::seconds(60)));
    std::vector<Hall*> all;
    for (CoreIndex i = 0; i < node.core_count(); ++i) {
      budgets.push_back(std::make_unique<storage::MemoryBudget>(64 << 20));
      memory.push_back(std::make_unique<storage::MemoryEngine>(*budgets.back()));
      metas.push_back(std::make_unique<FakeMeta>(catalog));
      remote.push_back(i == 0 ? nullptr : storage::make_remote_engine(node.core(i), 0, *segment));
      HallSetup setup;
      setup.core = &node.core(i);
      setup.meta = metas.back().get();
      setup.engines.memory = memory.back().get();
      setup.engines.persistent = i == 0 ? static_cast<storage::Engine*>(segment.get()) : remote.back().get();
      for (storage::Engine** engine : {&setup.engines.memory, &setup.engines.persistent}) {
        faulty.push_back(std::make_unique<FaultyEngine>(**engine, append_faults));
        *engine = faulty.back().get();
      }
      far_rows.push_back(i == 0 ? nullptr : std::make_unique<storage::RemoteKv>(node.core(i), 0, node.core(0), *kv));
      setup.kv = i == 0 ? static_cast<storage::Kv*>(kv.get()) : far_rows.back().get();
      if (i == 0) {
        groups = std::make_unique<GroupCoordinator>(node.core(0), *kv, *metas[0], group_options);
        groups->start([](const Status& status) { ASSERT_TRUE(status.ok()); });
        setup.groups = groups.get();
      }
      setup.session = options;
      halls.push_back(std::make_unique<Hall>(setup, broker_options, rules, facts));
      all.push_back(halls.back().get());
    }
    Hall::introduce(all);
    size_t ready = 0;
    for (Hall* hall : all) {
      hall->start([&ready](Status status) {
        EXPECT_TRUE(status.ok()) << status.error().to_string();
        ++ready;
      });
    }
    ASSERT_TRUE(world.run_until([&] { return ready == all.size(); }, Duration::seconds(60)));
  }
  void crash(runtime::sim::CrashKind kind) {
    if (halls.empty()) return;
    node.crash(kind);
    for (Client& client : clients) client.is_open = false;
    groups.reset();
    halls.clear();
    far_rows.clear();
    metas.clear();
    faulty.clear();
    append_faults.waiting.clear();
    remote.clear();
    memory.clear();
    budgets.clear();
    kv.reset();
    segment.reset();
  }
  void restart(runtime::sim::CrashKind kind) {
    crash(kind);
    node.restart();
    start();
  }

  Hall& hall_of(std::string_view client_id) { return *halls[halls[0]->session_home(kDefaultTenant, client_id)]; }
  // A connection on the core of the client's session; open() opens that.
  Client& connect(std::string_view client_id) { return connect_to(hall_of(client_id)); }
  // A connection without a session.
  Client& kafka(CoreIndex core = 0) { return connect_to(*halls[core % halls.size()]); }
  Client& connect_to(Hall& hall) {
    Client& client = clients.emplace_back();
    client.hall = &hall;
    client.context.sink = &client;
    client.context.connection_id = ++last_connection;
    return client;
  }
  void add_topic(std::string name, int32_t partitions, meta::Mode mode = meta::Mode::persistent) {
    meta::Topic topic;
    topic.id = Uuid::random(7, ++topics);
    topic.name = std::move(name);
    topic.partitions = partitions;
    topic.config.mode = mode;
    metas[0]->create_topic(std::move(topic), [](auto made) { ASSERT_TRUE(made.ok()); });
  }
  void close(Client& client) {
    if (std::exchange(client.is_open, false)) client.hall->close(client.context);
  }
  Reply ask(Client& client, Request request) {
    std::optional<Reply> reply;
    client.hall->execute(client.context, std::move(request), [&](Reply answer) { reply = std::move(answer); });
    EXPECT_TRUE(world.run_until([&] { return reply.has_value(); }, Duration::seconds(30)));
    return reply ? std::move(*reply) : Reply(Error{Code::internal, "no reply"});
  }
  template <class T>
  T ask_for(Client& client, Request request) {
    Reply reply = ask(client, std::move(request));
    EXPECT_TRUE(std::holds_alternative<T>(reply));
    return std::holds_alternative<T>(reply) ? std::get<T>(std::move(reply)) : T{};
  }
  SessionOpened open(Client& client, OpenSession request) { return ask_for<SessionOpened>(client, std::move(request)); }
  // Opens a session that lasts for a day, started clean only when asked.
  SessionOpened resume(Client& client, std::string client_id, uint16_t inflight_max = 20) {
    return open(client,
                {.client_id = std::move(client_id), .clean_start = false, .expiry_s = 86'400, .inflight_max = inflight_max});
  }
  void follow(Client& client, std::string filter, uint8_t qos, uint32_t id = 0) {
    Follow request;
    request.filters.push_back({.filter = std::move(filter), .qos_max = qos, .subscription_id = id});
    const Followed followed = ask_for<Followed>(client, std::move(request));
    EXPECT_EQ(followed.results.at(0).code, Code::ok);
  }
  void unfollow(Client& client, std::string filter) { ask_for<Unfollowed>(client, Unfollow{{{std::move(filter), {}}}}); }
  Code publish(Client& client, std::string_view topic, std::string_view payload, uint8_t qos = 1, uint16_t packet_id = 0,
               uint32_t expiry_s = 0) {
    Buffer headers;
    const char digit = static_cast<char>('0' + qos);
    BatchBuilder::append_header(headers, "mqtt.qos", as_bytes(std::string_view(&digit, 1)));
    int32_t count = 1;
    if (expiry_s > 0) {
      BatchBuilder::append_header(headers, "mqtt.message_expiry_s", as_bytes(std::to_string(expiry_s)));
      ++count;
    }
    Publish request;
    request.messages.push_back({.topic = topic,
                                .payload = as_bytes(payload),
                                .raw_headers = headers.span(),
                                .header_count = count,
                                .wants_reply = true,
                                .qos = qos,
                                .expiry_s = expiry_s,
                                .packet_id = packet_id});
    const Published published = ask_for<Published>(client, std::move(request));
    return published.results.empty() ? Code::internal : published.results[0].code;
  }
  void settle() { world.run_for(Duration::millis(50)); }

  runtime::sim::SimWorld world;
  runtime::sim::SimNode& node;
  storage::StorageOptions storage_options;
  BrokerOptions broker_options;
  SessionOptions options;
  GroupOptions group_options;
  TopicRules rules{{}};
  NodeFacts facts;
  FakeCatalog catalog;
  std::unique_ptr<storage::SegmentEngine> segment;
  std::unique_ptr<storage::KvLog> kv;
  std::vector<std::unique_ptr<storage::MemoryBudget>> budgets;
  std::vector<std::unique_ptr<storage::MemoryEngine>> memory;
  std::vector<std::unique_ptr<storage::Engine>> remote;
  AppendFaults append_faults;  // of streams, light topics in memory, and spools
  std::vector<std::unique_ptr<FaultyEngine>> faulty;
  std::vector<std::unique_ptr<storage::RemoteKv>> far_rows;
  std::vector<std::unique_ptr<FakeMeta>> metas;
  std::unique_ptr<GroupCoordinator> groups;
  std::vector<std::unique_ptr<Hall>> halls;
  std::deque<Client> clients;
  uint64_t last_connection = 0;
  uint64_t topics = 0;
};

}  // namespace robustmq::broker::test
