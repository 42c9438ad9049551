// Persistent light topics of a node with two cores on a simulated disk: what was acknowledged survives crashes, in order, once;
// idle ones are closed and opened again; bounds and retention; nothing refused is found.
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "base/topic_names.h"
#include "broker/fake_meta.h"
#include "broker/hall.h"
#include "runtime/sim/disk.h"
#include "runtime/sim/world.h"
#include "storage/kv_log.h"
#include "storage/memory/memory_log.h"
#include "storage/remote_kv.h"
#include "storage/segment/engine.h"

namespace robustmq::broker {
namespace {

using runtime::sim::CrashKind;

struct LightClient final : Sink {
  LightClient(Hall& hall_in, uint64_t id) : hall(hall_in) {
    context.sink = this;
    context.connection_id = id;
  }
  ~LightClient() { hall.close(context); }
  void on_delivery(const Delivery& delivery) override { received.emplace_back(as_text(*delivery.record.value)); }
  void on_notice(Notice) override {}

  Hall& hall;
  Context context;
  std::vector<std::string> received;
};

struct Stored {
  std::string value;
  Offset offset;
};

class LightRows : public testing::TestWithParam<int> {
 protected:
  static constexpr CoreIndex kCores = 2;

  LightRows() {
    TopicRule rule;
    rule.filter = "p/#";
    rule.retention_ms = 60'000;
    rules = std::make_unique<TopicRules>(std::vector<TopicRule>{rule});
    options.light_open_max = 8;
    options.retention_check_ms = 1000;
    storage_options.journal_file_bytes = 1 << 16;
    storage_options.kv_log_bytes_max = 1 << 20;
  }
  ~LightRows() override { stop(CrashKind::process); }

  void start() {
    catalog.starts += 1;
    catalog.watchers.clear();
    bool is_open = false;
    storage::SegmentEngine::open(node.core(0), storage_options, {}, [&](auto opened) {
      ASSERT_TRUE(opened.ok());
      segments = opened.take();
      storage::KvLog::open(node.core(0), *segments, storage_options, [&](auto rows) {
        ASSERT_TRUE(rows.ok());
        kv = rows.take();
        is_open = true;
      });
    });
    ASSERT_TRUE(world.run_until([&] { return is_open; }, Duration::seconds(60)));
    remote = std::make_unique<storage::RemoteKv>(node.core(1), 0, node.core(0), *kv);
    std::vector<Hall*> all;
    for (CoreIndex i = 0; i < kCores; ++i) {
      HallSetup setup;
      setup.core = &node.core(i);
      setup.meta = &meta;
      setup.engines = {&memory, &memory};
      setup.kv = i == 0 ? static_cast<storage::Kv*>(kv.get()) : remote.get();
      halls.push_back(std::make_unique<Hall>(setup, options, *rules, facts));
      all.push_back(halls.back().get());
    }
    Hall::introduce(all);
    size_t ready = 0;
    for (auto& hall : halls) {
      hall->start([&](const Status& status) {
        EXPECT_TRUE(status.ok());
        ++ready;
      });
    }
    ASSERT_TRUE(world.run_until([&] { return ready == kCores; }, Duration::seconds(60)));
    for (auto& hall : halls) clients.push_back(std::make_unique<LightClient>(*hall, clients.size() + 1));
  }
  void stop(CrashKind kind) {
    clients.clear();
    node.crash(kind);
    halls.clear();
    remote.reset();
    kv.reset();
    segments.reset();
  }
  void crash(CrashKind kind) {
    stop(kind);
    node.restart();
    start();
  }
  template <class T>
  T ask(size_t on, Request request) {
    std::optional<Reply> reply;
    clients[on]->hall.execute(clients[on]->context, std::move(request), [&](Reply answer) { reply = std::move(answer); });
    EXPECT_TRUE(world.run_until([&] { return reply.has_value(); }, Duration::seconds(30)));
    if (!reply || !std::holds_alternative<T>(*reply)) {
      ADD_FAILURE() << "another answer";
      return {};
    }
    return std::get<T>(std::move(*reply));
  }
  Code publish(size_t on, const std::string& topic, const std::string& value) {
    Publish request;
    request.messages.push_back({topic, as_bytes(value), {}, 0, true});
    const Published published = ask<Published>(on, std::move(request));
    return published.results.empty() ? Code::internal : published.results[0].code;
  }
  ListedOffset offset_of(const std::string& topic, ListOffsetsPartition::What what, int64_t time = 0) {
    ListOffsets list;
    list.topics.push_back({kafka_name_of_mqtt(topic), {}});
    list.partitions.push_back({0, 0, -1, what, time});
    return ask<ListedOffsets>(0, std::move(list)).partitions.at(0);
  }
  // Everything a Kafka client reads of the topic.
  std::vector<Stored> read_all(const std::string& topic) {
    std::vector<Stored> found;
    const ListedOffset first = offset_of(topic, ListOffsetsPartition::What::earliest);
    if (first.code != Code::ok) return found;
    Offset at = first.offset;
    for (int round = 0; round < 10'000; ++round) {
      Fetch fetch;
      fetch.topics.push_back({kafka_name_of_mqtt(topic), {}});
      fetch.partitions.push_back({0, 0, at, -1, 4096});
      const FetchReply reply = ask<FetchReply>(round % kCores, std::move(fetch));
      const FetchedPartition& part = reply.partitions.at(0);
      EXPECT_EQ(part.code, Code::ok);
      if (part.code != Code::ok || at >= part.high_watermark) return found;
      EXPECT_FALSE(part.batches.empty());
      if (part.batches.empty()) return found;
      for (const Piece& piece : part.batches) {
        for (ByteSpan rest = piece.bytes.span(); !rest.empty();) {
          const BatchView batch(rest.first(*BatchView::size_at(rest)));
          RecordReader records(batch, batch.records());
          RecordView record;
          while (records.next(record)) found.push_back({std::string(as_text(*record.value)), record.offset});
          at = batch.next_offset();
          rest = rest.subspan(batch.total_size());
        }
      }
    }
    ADD_FAILURE() << "endless";
    return found;
  }
  size_t open_count() const {
    int64_t open = 0;
    for (const auto& hall : halls) open += hall->metrics().light_topics_open;
    return static_cast<size_t>(open);
  }
  size_t topic_count() const {
    int64_t topics = 0;
    for (const auto& hall : halls) topics += hall->metrics().light_topics;
    return static_cast<size_t>(topics);
  }

  runtime::sim::SimWorld world{{.seed = static_cast<uint64_t>(GetParam())}};
  runtime::sim::SimNode& node = world.add_node({.name = "", .cores = kCores});
  BrokerOptions options;
  storage::StorageOptions storage_options;
  std::unique_ptr<TopicRules> rules;
  NodeFacts facts;
  FakeCatalog catalog;
  FakeMeta meta{catalog};
  storage::MemoryBudget budget{1 << 20};
  storage::MemoryEngine memory{budget};
  std::unique_ptr<storage::SegmentEngine> segments;
  std::unique_ptr<storage::KvLog> kv;
  std::unique_ptr<storage::RemoteKv> remote;
  std::vector<std::unique_ptr<Hall>> halls;
  std::vector<std::unique_ptr<LightClient>> clients;
};

INSTANTIATE_TEST_SUITE_P(Seeds, LightRows, testing::Range(1, 7));

TEST_P(LightRows, KeepWhatWasAcknowledgedThroughCrashes) {
  std::mt19937 random(static_cast<uint32_t>(GetParam()));
  // By topic: what was sent, in order; what of it was acknowledged.
  struct Told {
    std::vector<std::string> sent;
    std::set<std::string> acked;
  };
  std::map<std::string, Told> told;
  start();
  int number = 0;
  for (int life = 0; life < 6 && !HasFailure(); ++life) {
    for (int step = 0; step < 120; ++step) {
      // A tenth of the names are unusual in Kafka's spelling.
      const int n = static_cast<int>(random() % 40);
      const std::string topic = (n % 10 == 0 ? "p/a b/" : "p/x/") + std::to_string(n);
      const std::string value = std::to_string(++number);
      told[topic].sent.push_back(value);
      Publish request;
      request.messages.push_back({topic, as_bytes(value), {}, 0, true});
      // One client: the order of sending is the order of the topic.
      clients[0]->hall.execute(clients[0]->context, std::move(request), [&told, topic, value](Reply reply) {
        const auto* published = std::get_if<Published>(&reply);
        if (published && published->results.at(0).code == Code::ok) told[topic].acked.insert(value);
      });
      if (random() % 3 == 0) world.run_for(Duration::micros(static_cast<int64_t>(random() % 2000)));
    }
    crash(random() % 3 == 0 ? CrashKind::process : CrashKind::power);
    for (auto& [topic, what] : told) {
      const std::vector<Stored> found = read_all(topic);
      std::set<std::string> values;
      size_t at = 0;
      for (size_t i = 0; i < found.size(); ++i) {
        EXPECT_TRUE(values.insert(found[i].value).second) << topic << " has " << found[i].value << " twice";
        while (at < what.sent.size() && what.sent[at] != found[i].value) ++at;
        EXPECT_LT(at, what.sent.size()) << topic << ": out of order";
        if (i > 0) EXPECT_GT(found[i].offset, found[i - 1].offset);
      }
      for (const std::string& value : what.acked) EXPECT_TRUE(values.contains(value)) << topic << " lost " << value;
      // What was not acknowledged and is not there never comes.
      std::erase_if(what.sent, [&](const std::string& value) { return !values.contains(value); });
    }
  }
  EXPECT_GT(number, 500);
}

TEST_P(LightRows, AreClosedWhenIdleAndOpenedWhenUsed) {
  start();
  for (int round = 0; round < 3; ++round) {
    for (int n = 0; n < 60; ++n)
      ASSERT_EQ(publish(static_cast<size_t>(n) % 2, "p/" + std::to_string(n), std::to_string(round)), Code::ok);
  }
  world.run_for(Duration::millis(10));
  EXPECT_LE(open_count(), 8u);
  EXPECT_EQ(topic_count(), 60u);
  const auto check = [&] {
    for (int n = 0; n < 60; ++n) {
      const std::vector<Stored> found = read_all("p/" + std::to_string(n));
      ASSERT_EQ(found.size(), 3u) << n;
      for (size_t i = 0; i < 3; ++i) EXPECT_EQ(found[i].value, std::to_string(i));
      EXPECT_EQ(found[2].offset, found[0].offset + 2);
    }
  };
  check();
  crash(CrashKind::power);
  EXPECT_EQ(topic_count(), 60u);
  EXPECT_EQ(open_count(), 0u);  // known without a look at their records
  check();
  EXPECT_LE(open_count(), 9u);
  // By id, also on the other core, and by time.
  const auto described = ask<DescribedTopics>(1, DescribeTopics{.topics = {{"p.7", {}}}});
  ASSERT_EQ(described.topics.at(0).code, Code::ok);
  EXPECT_EQ(described.topics[0].facts.mode, "persistent");
  for (size_t on = 0; on < kCores; ++on) {
    const auto by_id = ask<DescribedTopics>(on, DescribeTopics{.topics = {{"", described.topics[0].facts.id}}});
    EXPECT_EQ(by_id.topics.at(0).facts.name, "p.7");
  }
  EXPECT_EQ(offset_of("p/7", ListOffsetsPartition::What::at_time, 0).offset, read_all("p/7")[0].offset);
  EXPECT_EQ(offset_of("p/7", ListOffsetsPartition::What::at_time, INT64_MAX).offset, -1);
  EXPECT_GE(offset_of("p/7", ListOffsetsPartition::What::max_timestamp).offset, 0);
}

TEST_P(LightRows, AParkedFetchKeepsItsTopicOpenAndWakes) {
  start();
  ASSERT_EQ(publish(0, "p/parked", "first"), Code::ok);
  const Offset end = read_all("p/parked")[0].offset + 1;
  Fetch fetch;
  fetch.topics.push_back({"p.parked", {}});
  fetch.partitions.push_back({0, 0, end, -1, 4096});
  fetch.wait_max_ms = 10'000;
  std::optional<Reply> reply;
  clients[1]->hall.execute(clients[1]->context, std::move(fetch), [&](Reply answer) { reply = std::move(answer); });
  for (int n = 0; n < 40; ++n) ASSERT_EQ(publish(0, "p/" + std::to_string(n), "m"), Code::ok);
  EXPECT_FALSE(reply);
  ASSERT_EQ(publish(0, "p/parked", "second"), Code::ok);
  ASSERT_TRUE(world.run_until([&] { return reply.has_value(); }, Duration::seconds(1)));
  EXPECT_FALSE(std::get<FetchReply>(*reply).partitions.at(0).batches.empty());
}

TEST_P(LightRows, FollowersSeeARecordWhenItIsSynced) {
  start();
  ask<Followed>(1, Follow{{FollowOne{.filter = "p/+", .qos_max = 1}}});
  for (int n = 0; n < 30; ++n) ASSERT_EQ(publish(0, "p/" + std::to_string(n), std::to_string(n)), Code::ok);
  world.run_for(Duration::millis(10));
  EXPECT_EQ(clients[1]->received.size(), 30u);
  crash(CrashKind::power);
  EXPECT_EQ(topic_count(), 30u);
}

TEST_P(LightRows, AreBoundedByRecordsAndAge) {
  options.light_records_max = 20;
  start();
  for (int n = 0; n < 200; ++n) ASSERT_EQ(publish(0, "p/full", std::to_string(n)), Code::ok);
  std::vector<Stored> found = read_all("p/full");
  EXPECT_GE(found.size(), 20u);
  EXPECT_LE(found.size(), 25u);
  EXPECT_EQ(found.back().value, "199");
  const Offset last = found.back().offset;
  crash(CrashKind::power);
  EXPECT_EQ(read_all("p/full").size(), found.size());
  // Aged records go, then the topic with its rows; made again it goes on behind.
  world.run_for(Duration::millis(rules->all()[0].retention_ms + 5000));
  EXPECT_EQ(topic_count(), 0u);
  size_t rows = SIZE_MAX;
  kv->scan("r", "u", 100, [&](Result<storage::KvRows> left) { rows = left->size(); });
  EXPECT_EQ(rows, 0u);
  ASSERT_EQ(publish(1, "p/full", "again"), Code::ok);
  found = read_all("p/full");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_GT(found[0].offset, last);
  crash(CrashKind::power);
  EXPECT_EQ(read_all("p/full").at(0).offset, found[0].offset);
}

TEST_P(LightRows, WhatAFullDiskRefusesIsNeverFound) {
  start();
  for (int n = 0; n < 10; ++n) ASSERT_EQ(publish(0, "p/" + std::to_string(n), "kept"), Code::ok);
  auto& faults = node.disk().faults();
  faults.capacity_bytes = node.disk().used_bytes();
  size_t refused = 0;
  for (int n = 0; n < 20; ++n) refused += publish(0, "p/" + std::to_string(n), std::string(2000, 'x')) != Code::ok;
  EXPECT_GT(refused, 0u);
  faults.capacity_bytes = UINT64_MAX;
  for (int n = 0; n < 20; ++n) ASSERT_EQ(publish(1, "p/" + std::to_string(n), "after"), Code::ok);
  const auto check = [&] {
    size_t large = 0;
    for (int n = 0; n < 20; ++n) {
      const std::vector<Stored> found = read_all("p/" + std::to_string(n));
      ASSERT_FALSE(found.empty());
      EXPECT_EQ(found.back().value, "after");
      for (const Stored& stored : found) large += stored.value.size() == 2000;
    }
    EXPECT_EQ(large, 20 - refused);
  };
  check();
  crash(CrashKind::power);
  check();
}

TEST_P(LightRows, AnIdempotentProducersRepeatIsKnownAfterClosingAndAStart) {
  start();
  ASSERT_EQ(publish(0, "p/made", "first"), Code::ok);
  const auto produce = [&](int32_t sequence) {
    BatchBuilder builder;
    builder.begin_record(1000, std::nullopt, as_bytes("produced"));
    builder.end_record();
    builder.set_producer(77, 0, sequence);
    Produce request;
    request.topics.push_back({"p.made", {}});
    request.partitions.push_back({0, 0, builder.finish()});
    return ask<Produced>(1, std::move(request)).partitions.at(0);
  };
  const ProducedPartition first = produce(0);
  ASSERT_EQ(first.code, Code::ok);
  for (int n = 0; n < 40; ++n) ASSERT_EQ(publish(0, "p/" + std::to_string(n), "m"), Code::ok);
  EXPECT_EQ(produce(0).base_offset, first.base_offset);
  crash(CrashKind::power);
  EXPECT_EQ(produce(0).base_offset, first.base_offset);
  EXPECT_EQ(produce(1).base_offset, first.base_offset + 1);
  EXPECT_EQ(produce(5).code, Code::out_of_order_sequence);
  EXPECT_EQ(read_all("p/made").size(), 3u);
}

// What a full disk did not let go is there, and read.
TEST_P(LightRows, AFullDiskDropsNothingFromTheFrontOfATopic) {
  options.light_records_max = 20;
  start();
  for (int n = 0; n < 25; ++n) ASSERT_EQ(publish(0, "p/full", std::to_string(n)), Code::ok);
  auto& faults = node.disk().faults();
  faults.capacity_bytes = node.disk().used_bytes();
  // The one that would drop the oldest.
  EXPECT_EQ(publish(0, "p/full", std::string(60'000, 'x')), Code::storage_full);
  EXPECT_EQ(offset_of("p/full", ListOffsetsPartition::What::earliest).offset, read_all("p/full").front().offset);
  EXPECT_EQ(read_all("p/full").size(), 25u);
  EXPECT_EQ(read_all("p/full").front().value, "0");
  faults.capacity_bytes = UINT64_MAX;
  EXPECT_EQ(publish(0, "p/full", "more"), Code::ok);
  const std::vector<Stored> found = read_all("p/full");
  EXPECT_GE(found.size(), 20u);
  EXPECT_LE(found.size(), 25u);
  EXPECT_EQ(found.back().value, "more");
}

// An empty topic whose rows cannot be removed is not made again beside them.
TEST_P(LightRows, ATopicIsForgottenWhenItsRowsAreGone) {
  start();
  ASSERT_EQ(publish(0, "p/idle", "old"), Code::ok);
  const auto has_records = [&] {
    bool has_some = false;
    kv->scan("r", "s", 1, [&](Result<storage::KvRows> rows) { has_some = !rows->empty(); });
    return has_some;
  };
  ASSERT_TRUE(world.run_until([&] { return !has_records(); }, Duration::seconds(70)));
  auto& faults = node.disk().faults();
  faults.capacity_bytes = 0;
  world.run_for(Duration::seconds(20));
  faults.capacity_bytes = UINT64_MAX;
  ASSERT_EQ(publish(1, "p/idle", "new"), Code::ok);
  const std::vector<Stored> found = read_all("p/idle");
  crash(CrashKind::power);
  ASSERT_EQ(read_all("p/idle").size(), found.size());
  EXPECT_EQ(read_all("p/idle").back().value, "new");
  EXPECT_EQ(read_all("p/idle").back().offset, found.back().offset);
  world.run_for(Duration::seconds(75));
  EXPECT_EQ(topic_count(), 0u);
}

// Rows of any size are read as far as they are asked for.
TEST_P(LightRows, LargeRecordsBehindSmallOnesAreReadInOrder) {
  start();
  std::vector<std::string> sent;
  for (int n = 0; n < 60; ++n) {
    sent.push_back(std::to_string(n) + std::string(n % 10 == 9 ? 20'000 : 5, 'x'));
    ASSERT_EQ(publish(0, "p/mixed", sent.back()), Code::ok);
  }
  crash(CrashKind::power);
  const std::vector<Stored> found = read_all("p/mixed");
  ASSERT_EQ(found.size(), sent.size());
  for (size_t i = 0; i < sent.size(); ++i) EXPECT_EQ(found[i].value, sent[i]);
}

}  // namespace
}  // namespace robustmq::broker
