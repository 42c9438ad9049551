// The hall of a node with one and with three cores, on the simulated world: names, homes, fan-out, parked fetches, sessions.
#include "broker/hall.h"

#include <gtest/gtest.h>

#include <set>

#include "base/topic_names.h"
#include "broker/fake_meta.h"
#include "runtime/sim/disk.h"
#include "runtime/sim/net.h"
#include "runtime/sim/world.h"
#include "storage/memory/memory_log.h"

namespace robustmq::broker {
namespace {

struct Received {
  std::string topic;
  std::string value;
  Offset offset;
};

struct TestClient final : Sink {
  TestClient(Hall& hall_in, uint64_t id) : hall(hall_in) {
    context.sink = this;
    context.connection_id = id;
  }
  ~TestClient() { hall.close(context); }
  void on_delivery(const Delivery& delivery) override {
    received.push_back({std::string(delivery.topic), std::string(as_text(*delivery.record.value)), delivery.record.offset});
  }
  void on_notice(Notice notice) override { notices.push_back(notice); }

  Hall& hall;
  Context context;
  std::vector<Received> received;
  std::vector<Notice> notices;
};

Bytes batch_of(std::string_view value) {
  BatchBuilder builder;
  builder.begin_record(1000, std::nullopt, as_bytes(value));
  builder.end_record();
  return builder.finish();
}

class HallTest : public testing::TestWithParam<int> {
 protected:
  HallTest() : world_({.seed = 11}), node_(world_.add_node({.cores = static_cast<CoreIndex>(GetParam())})), rules_(make_rules()) {
    for (CoreIndex i = 0; i < node_.core_count(); ++i) {
      budgets_.push_back(std::make_unique<storage::MemoryBudget>(1 << 20));
      engines_.push_back(std::make_unique<storage::MemoryEngine>(*budgets_.back()));
      metas_.push_back(std::make_unique<FakeMeta>(catalog_));
      halls_.push_back(std::make_unique<Hall>(
          HallSetup{
              .core = &node_.core(i), .meta = metas_.back().get(), .engines = {engines_.back().get(), engines_.back().get()}},
          options_, rules_, facts_));
    }
    std::vector<Hall*> all;
    for (auto& hall : halls_) all.push_back(hall.get());
    Hall::introduce(all);
    int ready = 0;
    for (auto& hall : halls_) {
      hall->start([&](Status status) {
        EXPECT_TRUE(status.ok());
        ++ready;
      });
    }
    EXPECT_TRUE(world_.run_until([&] { return ready == GetParam(); }, Duration::seconds(1)));
  }
  ~HallTest() override {
    clients_.clear();
    node_.crash(runtime::sim::CrashKind::process);
    halls_.clear();
  }

  static TopicRules make_rules() {
    TopicRule sensors;
    sensors.filter = "sensors/#";
    sensors.topic = "sensors";
    sensors.partitions = 4;
    sensors.mode = meta::Mode::memory;
    TopicRule nobody;
    nobody.filter = "live/#";
    nobody.mode = meta::Mode::none;
    return TopicRules({sensors, nobody});
  }
  Hall& hall(int i) { return *halls_[static_cast<size_t>(i % GetParam())]; }
  TestClient& client(int on) {
    clients_.push_back(std::make_unique<TestClient>(hall(on), clients_.size() + 1));
    return *clients_.back();
  }
  Reply ask(TestClient& client, Request request, Duration limit = Duration::seconds(10)) {
    std::optional<Reply> reply;
    client.hall.execute(client.context, std::move(request), [&](Reply answer) { reply = std::move(answer); });
    EXPECT_TRUE(world_.run_until([&] { return reply.has_value(); }, limit));
    return reply ? std::move(*reply) : Reply(Error{Code::internal, "no reply"});
  }
  template <class T>
  T ask_for(TestClient& client, Request request) {
    Reply reply = ask(client, std::move(request));
    EXPECT_TRUE(std::holds_alternative<T>(reply));
    return std::holds_alternative<T>(reply) ? std::get<T>(std::move(reply)) : T{};
  }
  Code publish(TestClient& client, std::string_view topic, std::string_view payload) {
    Publish request;
    request.messages.push_back({topic, as_bytes(payload), {}, 0, true});
    const Published published = ask_for<Published>(client, std::move(request));
    return published.results.empty() ? Code::internal : published.results[0].code;
  }
  void follow(TestClient& client, std::string filter) {
    ask(client, Follow{{FollowOne{.filter = std::move(filter), .qos_max = 1}}});
  }
  void settle() { world_.run_for(Duration::millis(5)); }

  runtime::sim::SimWorld world_;
  runtime::sim::SimNode& node_;
  BrokerOptions options_;
  TopicRules rules_;
  NodeFacts facts_;
  FakeCatalog catalog_;
  std::vector<std::unique_ptr<storage::MemoryBudget>> budgets_;
  std::vector<std::unique_ptr<storage::MemoryEngine>> engines_;
  std::vector<std::unique_ptr<FakeMeta>> metas_;
  std::vector<std::unique_ptr<Hall>> halls_;
  std::vector<std::unique_ptr<TestClient>> clients_;
};

INSTANTIATE_TEST_SUITE_P(Cores, HallTest, testing::Values(1, 3), testing::PrintToStringParamName());

TEST_P(HallTest, CarriesMessagesFromAnyCoreToFollowersOnEveryCore) {
  for (int i = 0; i < 3; ++i) follow(client(i), "a/+");
  for (int i = 0; i < 3; ++i) {
    TestClient& publisher = client(i);
    for (int n = 0; n < 4; ++n) EXPECT_EQ(publish(publisher, "a/" + std::to_string(n), "m"), Code::ok);
  }
  settle();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(clients_[static_cast<size_t>(i)]->received.size(), 12u);
}

TEST_P(HallTest, KeepsThePublishersOrderWithinATopic) {
  TestClient& follower = client(1);
  follow(follower, "x");
  TestClient& publisher = client(0);
  for (int n = 0; n < 50; ++n) {
    Publish request;
    const std::string value = std::to_string(n);
    request.messages.push_back({"x", as_bytes(value), {}, 0, false});
    publisher.hall.execute(publisher.context, std::move(request), [](Reply) {});
  }
  settle();
  ASSERT_EQ(follower.received.size(), 50u);
  for (size_t n = 0; n < 50; ++n) EXPECT_EQ(follower.received[n].value, std::to_string(n));
}

TEST_P(HallTest, PutsARulesTopicsIntoItsStreamByKey) {
  TestClient& follower = client(2);
  follow(follower, "sensors/+/t");
  TestClient& publisher = client(1);
  EXPECT_EQ(publish(publisher, "sensors/1/t", "one"), Code::ok);
  EXPECT_EQ(publish(publisher, "sensors/2/t", "two"), Code::ok);
  EXPECT_EQ(publish(publisher, "sensors/2/h", "three"), Code::ok);
  settle();
  ASSERT_EQ(follower.received.size(), 2u);
  EXPECT_EQ(follower.received[0].topic, "sensors/1/t");
  size_t records = 0;
  for (int32_t partition = 0; partition < 4; ++partition) {
    Fetch fetch;
    fetch.topics.push_back({"sensors", {}});
    fetch.partitions.push_back({0, partition, Offset{3} << 32, -1, 1 << 20});
    const FetchReply reply = ask_for<FetchReply>(publisher, std::move(fetch));
    EXPECT_EQ(reply.partitions[0].code, Code::ok);
    records += static_cast<size_t>(reply.partitions[0].high_watermark - (Offset{3} << 32));
  }
  EXPECT_EQ(records, 3u);
}

TEST_P(HallTest, RoutesModeNoneToTheFollowersOfThisMomentOnly) {
  TestClient& publisher = client(0);
  Publish request;
  request.messages.push_back({"live/a", as_bytes("m"), {}, 0, true});
  EXPECT_FALSE(ask_for<Published>(publisher, std::move(request)).results[0].has_followers);
  TestClient& follower = client(1);
  follow(follower, "live/#");
  Publish again;
  again.messages.push_back({"live/a", as_bytes("m"), {}, 0, true});
  EXPECT_TRUE(ask_for<Published>(publisher, std::move(again)).results[0].has_followers);
  settle();
  EXPECT_EQ(follower.received.size(), 1u);
  const auto described = ask_for<DescribedTopics>(publisher, DescribeTopics{.topics = {{"live.a", {}}}});
  EXPECT_EQ(described.topics[0].code, Code::unknown_topic);
}

TEST_P(HallTest, ShowsALightTopicToKafkaByNameAndById) {
  TestClient& asker = client(2);
  EXPECT_EQ(publish(asker, "plant/line1/temp", "21"), Code::ok);
  const auto described = ask_for<DescribedTopics>(asker, DescribeTopics{.topics = {{"plant.line1.temp", {}}}});
  ASSERT_EQ(described.topics[0].code, Code::ok);
  const TopicFacts facts = described.topics[0].facts;
  EXPECT_TRUE(facts.is_light);
  EXPECT_EQ(facts.mqtt_name, "plant/line1/temp");
  for (int on = 0; on < 3; ++on) {
    Fetch fetch;
    fetch.topics.push_back({"", facts.id});
    fetch.partitions.push_back({0, 0, Offset{3} << 32, -1, 1 << 20});
    const FetchReply reply = ask_for<FetchReply>(client(on), std::move(fetch));
    EXPECT_EQ(reply.partitions[0].code, Code::ok);
    EXPECT_GT(size_of(reply.partitions[0].batches), 0u);
  }
  // And Kafka's records reach its followers.
  TestClient& follower = client(0);
  follow(follower, "plant/#");
  Produce produce;
  produce.topics.push_back({"plant.line1.temp", {}});
  produce.partitions.push_back({0, 0, batch_of("22")});
  EXPECT_EQ(ask_for<Produced>(asker, std::move(produce)).partitions[0].code, Code::ok);
  settle();
  ASSERT_EQ(follower.received.size(), 1u);
  EXPECT_EQ(follower.received[0].value, "22");
}

TEST_P(HallTest, ListsLightTopicsToWhoAsksForThem) {
  TestClient& asker = client(1);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(publish(client(0), "light/" + std::to_string(i), "v"), Code::ok);
  const auto count = [&](bool with_light) {
    size_t lights = 0;
    for (const auto& row : ask_for<DescribedTopics>(asker, DescribeTopics{.all = true, .with_light = with_light}).topics)
      lights += row.facts.is_light ? 1 : 0;
    return lights;
  };
  EXPECT_EQ(count(false), 0u);
  EXPECT_EQ(count(true), 6u);
}

TEST_P(HallTest, AParkedFetchLeavesWithItsConnection) {
  TestClient& other = client(2);
  const auto park = [&](TestClient& consumer, bool* was_answered) {
    Fetch fetch;
    fetch.topics.push_back({"sensors", {}});
    for (int32_t p = 0; p < 4; ++p) fetch.partitions.push_back({0, p, Offset{3} << 32, -1, 1 << 20});
    fetch.wait_max_ms = 60'000;
    consumer.hall.execute(consumer.context, std::move(fetch), [was_answered](Reply) { *was_answered = true; });
  };
  TestClient& gone = client(0);
  bool gone_was_answered = false, other_was_answered = false;
  park(gone, &gone_was_answered);
  park(other, &other_was_answered);
  world_.run_for(Duration::seconds(1));
  EXPECT_EQ(gone.hall.metrics().fetches_waiting + (GetParam() == 1 ? 0 : other.hall.metrics().fetches_waiting), 2);
  gone.hall.close(gone.context);
  settle();
  EXPECT_EQ(gone.hall.metrics().fetches_waiting, GetParam() == 1 ? 1 : 0);
  EXPECT_EQ(publish(other, "sensors/q", "v"), Code::ok);
  EXPECT_TRUE(world_.run_until([&] { return other_was_answered; }, Duration::seconds(1)));
  EXPECT_FALSE(gone_was_answered);
  EXPECT_EQ(other.hall.metrics().fetches_waiting, 0);
}

TEST_P(HallTest, WakesAParkedFetchByAnAppendOnAnotherCore) {
  TestClient& consumer = client(0);
  TestClient& producer = client(1);
  Fetch fetch;
  fetch.topics.push_back({"sensors", {}});
  for (int32_t p = 0; p < 4; ++p) fetch.partitions.push_back({0, p, Offset{3} << 32, -1, 1 << 20});
  fetch.wait_max_ms = 60'000;
  std::optional<Reply> reply;
  consumer.hall.execute(consumer.context, std::move(fetch), [&](Reply answer) { reply = std::move(answer); });
  world_.run_for(Duration::seconds(1));
  EXPECT_FALSE(reply.has_value());
  const Instant before = world_.now();
  EXPECT_EQ(publish(producer, "sensors/q", "v"), Code::ok);
  EXPECT_TRUE(world_.run_until([&] { return reply.has_value(); }, Duration::seconds(1)));
  EXPECT_LT((world_.now() - before).ns, Duration::millis(10).ns);
  uint64_t bytes = 0;
  for (const auto& partition : std::get<FetchReply>(*reply).partitions) bytes += size_of(partition.batches);
  EXPECT_GT(bytes, 0u);
}

TEST_P(HallTest, AnswersAParkedFetchWhenItsTimeIsOver) {
  TestClient& consumer = client(1);
  Fetch fetch;
  fetch.topics.push_back({"sensors", {}});
  fetch.partitions.push_back({0, 0, Offset{3} << 32, -1, 1 << 20});
  fetch.wait_max_ms = 500;
  const Instant before = world_.now();
  const FetchReply reply = ask_for<FetchReply>(consumer, std::move(fetch));
  EXPECT_EQ(reply.partitions[0].code, Code::ok);
  EXPECT_EQ(size_of(reply.partitions[0].batches), 0u);
  EXPECT_GE((world_.now() - before).ns, Duration::millis(500).ns);
  EXPECT_LT((world_.now() - before).ns, Duration::millis(520).ns);
}

TEST_P(HallTest, RefusesOffsetsAndEpochsThatAreNotThere) {
  TestClient& consumer = client(0);
  Fetch fetch;
  fetch.topics.push_back({"sensors", {}});
  fetch.topics.push_back({"missing", {}});
  fetch.partitions.push_back({0, 0, 5, -1, 1000});
  fetch.partitions.push_back({0, 9, 0, -1, 1000});
  fetch.partitions.push_back({0, 1, Offset{3} << 32, 2, 1000});
  fetch.partitions.push_back({0, 1, Offset{3} << 32, 4, 1000});
  fetch.partitions.push_back({1, 0, 0, -1, 1000});
  fetch.wait_max_ms = 10'000;
  const FetchReply reply = ask_for<FetchReply>(consumer, std::move(fetch));
  EXPECT_EQ(reply.partitions[0].code, Code::offset_out_of_range);
  EXPECT_EQ(reply.partitions[1].code, Code::unknown_topic);
  EXPECT_EQ(reply.partitions[2].code, Code::fenced_leader_epoch);
  EXPECT_EQ(reply.partitions[3].code, Code::unknown_leader_epoch);
  EXPECT_EQ(reply.partitions[4].code, Code::unknown_topic);
}

TEST_P(HallTest, MakesAndDeletesTopicsUnderOneName) {
  TestClient& admin = client(1);
  CreateTopics create;
  create.topics.push_back({"orders", 2, 1, {{"mode", "memory"}}});
  create.topics.push_back({"a b", 1, 1, {}});
  create.topics.push_back({"tiered", 1, 1, {{"mode", "tiered"}}});
  create.topics.push_back({"odd", 1, 1, {{"no_such", "1"}}});
  create.topics.push_back({"many", 1, 3, {}});
  const CreatedTopics created = ask_for<CreatedTopics>(admin, std::move(create));
  EXPECT_EQ(created.topics[0].code, Code::ok);
  EXPECT_EQ(created.topics[1].code, Code::invalid_topic);
  EXPECT_EQ(created.topics[2].code, Code::invalid_config);
  EXPECT_EQ(created.topics[3].code, Code::invalid_config);
  EXPECT_EQ(created.topics[4].code, Code::invalid_replication_factor);
  // MQTT's spelling of the same name goes to the stream.
  EXPECT_EQ(publish(admin, "orders", "m"), Code::ok);
  const auto before = ask_for<DescribedTopics>(admin, DescribeTopics{.topics = {{"orders", {}}}});
  EXPECT_FALSE(before.topics[0].facts.is_light);
  EXPECT_EQ(ask_for<DeletedTopics>(admin, DeleteTopics{{{"orders", {}}}}).topics[0].code, Code::ok);
  EXPECT_EQ(ask_for<DescribedTopics>(admin, DescribeTopics{.topics = {{"orders", {}}}}).topics[0].code, Code::unknown_topic);
  // The name is free for a light topic now, and then refused to a stream.
  EXPECT_EQ(publish(admin, "orders", "m"), Code::ok);
  CreateTopics again;
  again.topics.push_back({"orders", 1, 1, {}});
  EXPECT_EQ(ask_for<CreatedTopics>(admin, std::move(again)).topics[0].code, Code::topic_exists);
}

TEST_P(HallTest, EmptiesARulesStreamWhenItIsDeleted) {
  TestClient& admin = client(0);
  EXPECT_EQ(publish(admin, "sensors/x", "m"), Code::ok);
  const TopicId before = catalog_.topics.at("sensors")->id;
  EXPECT_EQ(ask_for<DeletedTopics>(admin, DeleteTopics{{{"sensors", {}}}}).topics[0].code, Code::ok);
  settle();
  ASSERT_TRUE(catalog_.topics.contains("sensors"));
  EXPECT_NE(catalog_.topics.at("sensors")->id, before);
  EXPECT_EQ(publish(admin, "sensors/x", "m"), Code::ok);
}

TEST_P(HallTest, HandsASessionToTheNewestConnection) {
  const CoreIndex home = hall(0).session_home(0, "meter-7");
  TestClient& older = client(home);
  TestClient& newer = client(home);
  ask(older, OpenSession{"meter-7"});
  ask(newer, OpenSession{"meter-7"});
  EXPECT_EQ(older.notices, std::vector<Notice>{Notice::taken_over});
  EXPECT_TRUE(newer.notices.empty());
  older.hall.close(older.context);
  TestClient& third = client(home);
  ask(third, OpenSession{"meter-7"});
  EXPECT_EQ(newer.notices.size(), 1u);
}

TEST_P(HallTest, RefusesDollarTopicsAndCountsLightTopicsOverTheLimit) {
  TestClient& publisher = client(0);
  EXPECT_EQ(publish(publisher, "$SYS/x", "m"), Code::not_authorised);
  options_.light_topics_max = 0;
  EXPECT_EQ(publish(publisher, "one/too/many", "m"), Code::quota_exceeded);
}

TEST_P(HallTest, ListsOffsetsByNameAndByTime) {
  TestClient& asker = client(2);
  EXPECT_EQ(publish(asker, "sensors/z", "m"), Code::ok);
  const int32_t partition = [&] {
    for (int32_t p = 0; p < 4; ++p) {
      ListOffsets list;
      list.topics.push_back({"sensors", {}});
      list.partitions.push_back({0, p, -1, ListOffsetsPartition::What::latest, 0});
      if (ask_for<ListedOffsets>(asker, std::move(list)).partitions[0].offset > Offset{3} << 32) return p;
    }
    return -1;
  }();
  ASSERT_GE(partition, 0);
  using What = ListOffsetsPartition::What;
  ListOffsets list;
  list.topics.push_back({"sensors", {}});
  for (What what : {What::earliest, What::latest, What::max_timestamp, What::latest_tiered})
    list.partitions.push_back({0, partition, -1, what, 0});
  list.partitions.push_back({0, partition, -1, What::at_time, 1});
  list.partitions.push_back({0, partition, -1, What::at_time, INT64_MAX});
  const ListedOffsets listed = ask_for<ListedOffsets>(asker, std::move(list));
  const Offset first = Offset{3} << 32;
  EXPECT_EQ(listed.partitions[0].offset, first);
  EXPECT_EQ(listed.partitions[1].offset, first + 1);
  EXPECT_EQ(listed.partitions[2].offset, first);
  EXPECT_EQ(listed.partitions[3].offset, -1);
  EXPECT_EQ(listed.partitions[4].offset, first);
  EXPECT_EQ(listed.partitions[5].offset, -1);
}

TEST_P(HallTest, ForgetsAnEmptyLightTopicAndNeverGivesItsOffsetsAgain) {
  TestClient& publisher = client(0);
  EXPECT_EQ(publish(publisher, "gone", "m"), Code::ok);
  const auto first = ask_for<DescribedTopics>(publisher, DescribeTopics{.topics = {{"gone", {}}}});
  ASSERT_EQ(first.topics[0].code, Code::ok);
  world_.run_for(Duration::millis(options_.light_retention_ms + 2 * options_.retention_check_ms));
  EXPECT_EQ(ask_for<DescribedTopics>(publisher, DescribeTopics{.topics = {{"gone", {}}}}).topics[0].code, Code::unknown_topic);
  EXPECT_EQ(publish(publisher, "gone", "m"), Code::ok);
  ListOffsets list;
  list.topics.push_back({"gone", {}});
  list.partitions.push_back({0, 0, -1, ListOffsetsPartition::What::earliest, 0});
  EXPECT_GT(ask_for<ListedOffsets>(publisher, std::move(list)).partitions[0].offset, Offset{3} << 32);
}

TEST_P(HallTest, GivesEachProducerItsOwnId) {
  TestClient& producer = client(0);
  std::set<ProducerId> ids;
  for (int i = 0; i < 5; ++i) ids.insert(ask_for<AllocatedProducerId>(producer, AllocateProducerId{}).id);
  EXPECT_EQ(ids.size(), 5u);
}

// ---- Changes of topics, and what Kafka's admin asks ----

Produce produce_at(std::string topic, int32_t partition, int64_t time_ms, int32_t records = 1) {
  BatchBuilder builder;
  for (int32_t i = 0; i < records; ++i) {
    builder.begin_record(time_ms, std::nullopt, as_bytes(std::string_view("v")));
    builder.end_record();
  }
  Produce produce;
  produce.topics.push_back({std::move(topic), {}});
  produce.partitions.push_back({0, partition, builder.finish(), {time_ms, time_ms, 0, 0}});
  return produce;
}

TEST_P(HallTest, GrowsATopicThatTakesRecordsAtOnce) {
  TestClient& admin = client(0);
  CreateTopics create;
  create.topics.push_back({"orders", 2, 1, {{"mode", "memory"}}});
  ask(admin, create);
  const auto grow = [&](const char* name, int32_t count, bool validate_only) {
    return ask_for<GrownTopics>(admin, GrowTopics{{{name, count}}, validate_only}).topics.at(0).code;
  };
  EXPECT_EQ(grow("orders", 5, true), Code::ok);
  EXPECT_EQ(ask_for<DescribedTopics>(admin, DescribeTopics{.topics = {{"orders", {}}}}).topics[0].facts.partitions, 2);
  EXPECT_EQ(grow("orders", 5, false), Code::ok);
  EXPECT_EQ(grow("orders", 5, false), Code::invalid_partitions);
  EXPECT_EQ(grow("orders", 1'000'000, false), Code::invalid_partitions);
  EXPECT_EQ(grow("nobody", 5, false), Code::unknown_topic);
  TestClient& other = client(1);
  for (int32_t partition = 0; partition < 6; ++partition) {
    const auto produced = ask_for<Produced>(other, produce_at("orders", partition, node_.core(0).wall_now().ms));
    EXPECT_EQ(produced.partitions.at(0).code, partition < 5 ? Code::ok : Code::unknown_topic) << partition;
  }
}

TEST_P(HallTest, ChangedSettingsTakeEffectAtOnce) {
  TestClient& admin = client(0);
  CreateTopics create;
  create.topics.push_back({"orders", 1, 1, {{"mode", "memory"}}});
  ask(admin, create);
  const auto set = [&](std::string name, std::optional<std::string> value) {
    ConfigureTopics::One one{"orders", false, {{std::move(name), std::move(value), {}}}};
    return ask_for<ConfiguredTopics>(admin, ConfigureTopics{{one}, false}).topics.at(0).code;
  };
  const auto produce = [&](int64_t time_ms, int32_t records = 1) {
    return ask_for<Produced>(client(1), produce_at("orders", 0, time_ms, records)).partitions.at(0);
  };
  const int64_t now = node_.core(0).wall_now().ms;
  EXPECT_EQ(produce(now, 10).code, Code::ok);
  EXPECT_EQ(set("message_bytes_max", "100"), Code::ok);
  EXPECT_EQ(produce(now, 10).code, Code::too_large);
  EXPECT_EQ(set("message_bytes_max", std::nullopt), Code::ok);
  EXPECT_EQ(produce(now, 10).code, Code::ok);
  EXPECT_EQ(set("log_append_time", "true"), Code::ok);
  EXPECT_GE(produce(1).append_time_ms, now);
  EXPECT_EQ(set("log_append_time", "false"), Code::ok);
  EXPECT_EQ(produce(now).append_time_ms, -1);
  EXPECT_EQ(set("mode", "tiered"), Code::invalid_config);
  EXPECT_EQ(set("kept.flush.ms", "7"), Code::ok);
  const auto described = ask_for<DescribedTopics>(admin, DescribeTopics{.topics = {{"orders", {}}}}).topics.at(0);
  bool is_kept = false;
  for (const auto& setting : described.facts.settings) is_kept |= setting.name == "kept.flush.ms" && setting.value == "7";
  EXPECT_TRUE(is_kept);
}

TEST_P(HallTest, Case17RefusesTimesTooFarFromItsOwn) {
  TestClient& admin = client(0);
  CreateTopics create;
  create.topics.push_back(
      {"orders", 1, 1, {{"mode", "memory"}, {"timestamp_before_max_ms", "1000"}, {"timestamp_after_max_ms", "2000"}}});
  ask(admin, create);
  const auto produce = [&](int64_t time_ms) {
    return ask_for<Produced>(client(1), produce_at("orders", 0, time_ms)).partitions.at(0);
  };
  const int64_t now = node_.core(0).wall_now().ms;
  EXPECT_EQ(produce(now - 500).code, Code::ok);
  EXPECT_EQ(produce(now + 1500).code, Code::ok);
  EXPECT_EQ(produce(now - 5000).code, Code::invalid_timestamp);
  EXPECT_EQ(produce(now - 5000).bad_record, 0);
  EXPECT_EQ(produce(now + 5000).code, Code::invalid_timestamp);
}

TEST_P(HallTest, Case39DeletedRecordsAreGoneAtOnce) {
  TestClient& admin = client(0);
  CreateTopics create;
  create.topics.push_back({"orders", 1, 1, {{"mode", "memory"}}});
  ask(admin, create);
  Offset first = -1;
  for (int i = 0; i < 5; ++i) {
    const auto row = ask_for<Produced>(client(1), produce_at("orders", 0, node_.core(0).wall_now().ms)).partitions.at(0);
    if (i == 0) first = row.base_offset;
  }
  const auto remove = [&](Offset before) {
    return ask_for<DeletedRecords>(client(2), DeleteRecords{{{"orders", {}}}, {{0, 0, before}}}).partitions.at(0);
  };
  const auto earliest = [&] {
    ListOffsets list;
    list.topics.push_back({"orders", {}});
    list.partitions.push_back({0, 0, -1, ListOffsetsPartition::What::earliest, 0, -1});
    return ask_for<ListedOffsets>(admin, std::move(list)).partitions.at(0).offset;
  };
  EXPECT_EQ(remove(first + 6).code, Code::offset_out_of_range);
  EXPECT_EQ(remove(-2).code, Code::offset_out_of_range);
  EXPECT_EQ(remove(first + 2).log_start, first + 2);
  EXPECT_EQ(earliest(), first + 2);
  EXPECT_EQ(remove(first + 1).log_start, first + 2);  // gone already
  Fetch fetch;
  fetch.topics.push_back({"orders", {}});
  fetch.partitions.push_back({0, 0, first + 1, -1, 1 << 20, -1});
  EXPECT_EQ(ask_for<FetchReply>(admin, std::move(fetch)).partitions.at(0).code, Code::offset_out_of_range);
  EXPECT_EQ(remove(-1).log_start, first + 5);
  EXPECT_EQ(earliest(), first + 5);
  EXPECT_EQ(ask_for<DeletedRecords>(admin, DeleteRecords{{{"gone", {}}}, {{0, 0, -1}}}).partitions.at(0).code,
            Code::unknown_topic);
}

TEST_P(HallTest, Case32TellsAReaderWhereItsLogParted) {
  TestClient& reader = client(1);
  CreateTopics create;
  create.topics.push_back({"orders", 1, 1, {{"mode", "memory"}}});
  ask(reader, create);
  const auto row = ask_for<Produced>(client(0), produce_at("orders", 0, node_.core(0).wall_now().ms, 3)).partitions.at(0);
  const auto fetch = [&](Offset from, LeaderEpoch last) {
    Fetch fetch;
    fetch.topics.push_back({"orders", {}});
    fetch.partitions.push_back({0, 0, from, -1, 1 << 20, last});
    fetch.wait_max_ms = 60'000;
    return ask_for<FetchReply>(reader, std::move(fetch)).partitions.at(0);
  };
  EXPECT_EQ(fetch(row.base_offset, row.leader_epoch).diverging_epoch, -1);
  const auto parted = fetch(row.base_offset + 2, row.leader_epoch - 1);  // that epoch ended where this one began
  EXPECT_EQ(parted.code, Code::ok);
  EXPECT_EQ(parted.diverging_epoch, row.leader_epoch - 1);
  EXPECT_EQ(parted.diverging_end, row.base_offset);
  EXPECT_EQ(size_of(parted.batches), 0u);
  EXPECT_EQ(fetch(row.base_offset, row.leader_epoch + 1).code, Code::offset_out_of_range);
}

TEST_P(HallTest, TellsProducersAndSizes) {
  TestClient& admin = client(1);
  CreateTopics create;
  create.topics.push_back({"orders", 1, 1, {{"mode", "memory"}}});
  ask(admin, create);
  BatchBuilder builder;
  builder.begin_record(node_.core(0).wall_now().ms, std::nullopt, as_bytes(std::string_view("v")));
  builder.end_record();
  builder.set_producer(77, 3, 5);
  Produce produce;
  produce.topics.push_back({"orders", {}});
  produce.partitions.push_back({0, 0, builder.finish(), {}});
  EXPECT_EQ(ask_for<Produced>(client(0), std::move(produce)).partitions.at(0).code, Code::ok);
  const auto producers = ask_for<DescribedProducers>(admin, DescribeProducers{{{"orders", {}}}, {{0, 0}, {0, 9}}});
  ASSERT_EQ(producers.partitions.at(0).producers.size(), 1u);
  EXPECT_EQ(producers.partitions[0].producers[0].id, 77);
  EXPECT_EQ(producers.partitions[0].producers[0].epoch, 3);
  EXPECT_EQ(producers.partitions[0].producers[0].last_sequence, 5);
  EXPECT_EQ(producers.partitions.at(1).code, Code::unknown_topic);
  const auto logs = ask_for<DescribedLogs>(admin, DescribeLogs{{{"orders", {}}}, {{0, 0}}});
  EXPECT_GT(logs.partitions.at(0).size_bytes, 60u);
}

}  // namespace
}  // namespace robustmq::broker
