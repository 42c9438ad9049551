// The catalog machine against a model, and the catalog of a node over a store that crashes.
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "meta/catalog.h"
#include "meta/open.h"
#include "raft/test_store.h"
#include "runtime/sim/world.h"

namespace robustmq::meta {
namespace {

using raft::test::TestCore;
using raft::test::TestKv;
using raft::test::TestLog;
using raft::test::TestStore;

Uuid id_of(uint64_t n) { return Uuid::random(n * 0x9E3779B97F4A7C15u, n); }

Topic topic_of(std::string name, uint64_t id, int32_t partitions = 1, TenantId tenant = 0) {
  Topic topic;
  topic.tenant = tenant;
  topic.name = std::move(name);
  if (id > 0) topic.id = id_of(id);  // else drawn
  topic.partitions = partitions;
  return topic;
}

class CatalogTest : public ::testing::Test {
 protected:
  template <class Command>
  Result<int64_t> apply(Command command) {
    command.request = id_of(1'000'000 + ++requests);
    return decode_reply(catalog.apply(encode_command(command), {}));
  }
  Code create(Topic topic) { return apply(CreateTopic{{}, std::move(topic), limits}).code(); }

  Catalog catalog;
  CatalogLimits limits;
  uint64_t requests = 0;
};

TEST(TopicName, FollowsKafkasRule) {
  for (const char* name : {"a", "A.b_c-9", "...", "__consumer_offsets"}) EXPECT_TRUE(check_topic_name(name).ok()) << name;
  for (const char* name : {"", ".", "..", "a b", "a/b", "ä", "a,b"})
    EXPECT_EQ(check_topic_name(name).code(), Code::invalid_topic) << name;
  EXPECT_TRUE(check_topic_name(std::string(249, 'x')).ok());
  EXPECT_FALSE(check_topic_name(std::string(250, 'x')).ok());
}

TEST(Topic, IsRefusedByNameForWhatIsNotBuiltOrOutOfRange) {
  Topic topic = topic_of("t", 1);
  EXPECT_TRUE(check_topic(topic, {}).ok());
  topic.config.mode = Mode::tiered;
  EXPECT_EQ(check_topic(topic, {}).code(), Code::invalid_config);
  EXPECT_NE(check_topic(topic, {}).error().detail.find("tiered"), std::string::npos);
  topic.config = {};
  topic.config.segment_bytes = 1;
  EXPECT_EQ(check_topic(topic, {}).code(), Code::invalid_config);
  topic.config = {};
  topic.config.retention_ms = -2;
  EXPECT_EQ(check_topic(topic, {}).code(), Code::invalid_config);
  topic.config = {};
  topic.partitions = 0;
  EXPECT_EQ(check_topic(topic, {}).code(), Code::invalid_partitions);
}

TEST_F(CatalogTest, CreatesAndDeletesTopics) {
  EXPECT_EQ(create(topic_of("a.b", 1)), Code::ok);
  EXPECT_EQ(create(topic_of("a.b", 2)), Code::topic_exists);
  EXPECT_EQ(create(topic_of("a_b", 3)), Code::invalid_topic);
  EXPECT_EQ(create(topic_of("a_b", 4, 1, 7)), Code::ok) << "another tenant";
  EXPECT_EQ(create(topic_of("c", 1)), Code::topic_exists) << "the id";
  EXPECT_EQ(apply(DeleteTopic{{}, id_of(1)}).code(), Code::ok);
  EXPECT_EQ(apply(DeleteTopic{{}, id_of(1)}).code(), Code::unknown_topic_id);
  EXPECT_EQ(create(topic_of("a_b", 5)), Code::ok);
  const auto events = catalog.take_events();
  ASSERT_EQ(events.size(), 4u);
  EXPECT_EQ(std::get<TopicDeleted>(events[2]).topic->name, "a.b");
}

TEST_F(CatalogTest, HoldsItsLimits) {
  limits = {.topics_max = 2, .partitions_max = 10, .topic_partitions_max = 8};
  EXPECT_EQ(create(topic_of("a", 1, 9)), Code::invalid_partitions);
  EXPECT_EQ(create(topic_of("a", 1, 8)), Code::ok);
  EXPECT_EQ(create(topic_of("b", 2, 3)), Code::quota_exceeded);
  EXPECT_EQ(create(topic_of("b", 2, 2)), Code::ok);
  EXPECT_EQ(create(topic_of("c", 3, 1)), Code::quota_exceeded);
  EXPECT_EQ(apply(DeleteTopic{{}, id_of(1)}).code(), Code::ok);
  EXPECT_EQ(create(topic_of("c", 3, 8)), Code::ok);
}

TEST_F(CatalogTest, ClaimsEachMqttTopicForOneRuleAlone) {
  const auto rule = [](std::string name, std::string filter, uint64_t id, TenantId tenant = 0) {
    Topic topic = topic_of(std::move(name), id, 1, tenant);
    topic.mqtt_filter = std::move(filter);
    topic.is_rule = true;
    return topic;
  };
  EXPECT_EQ(create(rule("temps", "plant/+/temp", 1)), Code::not_supported) << "before the feature level";
  ASSERT_TRUE(apply(RaiseFeatureLevel{{}, kTopicRuleLevel}).ok());
  EXPECT_EQ(create(rule("temps", "plant/+/temp", 1)), Code::ok);
  const auto refused = apply(CreateTopic{{}, rule("line1", "plant/line1/#", 2), limits});
  EXPECT_EQ(refused.code(), Code::not_supported);
  EXPECT_EQ(refused.error().detail, "messages of plant/line1/# go elsewhere already, by plant/+/temp to the stream temps");
  EXPECT_EQ(create(rule("rpm", "plant/+/rpm", 2)), Code::ok);
  EXPECT_EQ(create(topic_of("shop.orders", 3)), Code::ok);
  EXPECT_EQ(create(rule("shop", "shop/+", 4)), Code::not_supported) << "the stream shop.orders has shop/orders";
  EXPECT_EQ(create(rule("shop", "shop/+", 4, 9)), Code::ok) << "another tenant";
  for (const char* filter : {"", "a#", "$SYS/#"}) EXPECT_EQ(create(rule("bad", filter, 5)), Code::invalid_topic) << filter;
  limits.rules_max = 2;
  EXPECT_EQ(create(rule("third", "third", 5)), Code::quota_exceeded);
  EXPECT_EQ(apply(DeleteTopic{{}, id_of(1)}).code(), Code::ok);
  EXPECT_EQ(create(rule("line1", "plant/line1/temp", 5)), Code::ok) << "its filter went with it";
  Catalog again;
  ASSERT_TRUE(again.restore(catalog.snapshot()).ok());
  EXPECT_EQ(again.fingerprint(), catalog.fingerprint());
  EXPECT_TRUE(again.topics().at(id_of(5))->is_rule);
  EXPECT_FALSE(again.topics().at(id_of(3))->is_rule);
}

TEST_F(CatalogTest, GrowsATopicWithinItsLimits) {
  limits = {.topics_max = 5, .partitions_max = 10, .topic_partitions_max = 8};
  EXPECT_EQ(create(topic_of("a", 1, 2)), Code::ok);
  EXPECT_EQ(apply(GrowTopic{{}, id_of(1), 4, limits}).code(), Code::not_supported) << "before the feature level";
  ASSERT_TRUE(apply(RaiseFeatureLevel{{}, kTopicChangesLevel}).ok());
  EXPECT_EQ(apply(GrowTopic{{}, id_of(1), 4, limits}).code(), Code::ok);
  EXPECT_EQ(apply(GrowTopic{{}, id_of(1), 4, limits}).code(), Code::invalid_partitions);
  EXPECT_EQ(apply(GrowTopic{{}, id_of(1), 9, limits}).code(), Code::invalid_partitions);
  EXPECT_EQ(apply(GrowTopic{{}, id_of(2), 9, limits}).code(), Code::unknown_topic_id);
  EXPECT_EQ(create(topic_of("b", 2, 6)), Code::ok);
  EXPECT_EQ(apply(GrowTopic{{}, id_of(1), 5, limits}).code(), Code::quota_exceeded);
  const auto events = catalog.take_events();
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(std::get<TopicChanged>(events[1]).topic->partitions, 4);
  Catalog again;
  ASSERT_TRUE(again.restore(catalog.snapshot()).ok());
  EXPECT_EQ(again.fingerprint(), catalog.fingerprint());
}

TEST_F(CatalogTest, ConfiguresATopicAllOrNothing) {
  ASSERT_TRUE(apply(RaiseFeatureLevel{{}, kTopicChangesLevel}).ok());
  EXPECT_EQ(create(topic_of("a", 1)), Code::ok);
  const auto configure = [&](std::vector<ConfigureTopic::Change> changes, bool replaces_all = false) {
    return apply(ConfigureTopic{{}, id_of(1), replaces_all, std::move(changes), limits}).code();
  };
  const auto config = [&] { return catalog.topics().at(id_of(1))->config; };
  const auto set = static_cast<uint32_t>(SettingChange::How::set), reset = static_cast<uint32_t>(SettingChange::How::reset);
  const auto append = static_cast<uint32_t>(SettingChange::How::append);
  const auto subtract = static_cast<uint32_t>(SettingChange::How::subtract);
  EXPECT_EQ(configure({{"retention_ms", "5", set}, {"kept.flush.ms", "9", set}}), Code::ok);
  EXPECT_EQ(config().retention_ms, 5);
  EXPECT_EQ(config().kept, (std::vector<KeptSetting>{{"flush.ms", "9"}}));
  EXPECT_EQ(configure({{"retention_ms", "6", set}, {"retention_bytes", "-7", set}}), Code::invalid_config);
  EXPECT_EQ(configure({{"retention_ms", "6", append}}), Code::invalid_config);
  EXPECT_EQ(configure({{"nothing", "6", set}}), Code::invalid_config);
  EXPECT_EQ(configure({{"mode", "memory", set}}), Code::not_supported) << "before the feature level";
  EXPECT_EQ(configure({{"retention_ms", "6", 4}}), Code::not_supported);
  EXPECT_EQ(config().retention_ms, 5);
  EXPECT_EQ(configure({{"kept.list", "a,b", append}, {"kept.list", "b,c", append}, {"kept.list", "a", subtract}}), Code::ok);
  EXPECT_EQ(config().kept, (std::vector<KeptSetting>{{"flush.ms", "9"}, {"list", "b,c"}}));
  EXPECT_EQ(configure({{"retention_ms", "", reset}, {"kept.flush.ms", "", reset}}), Code::ok);
  EXPECT_EQ(config().retention_ms, TopicConfig{}.retention_ms);
  EXPECT_EQ(config().kept.size(), 1u);
  EXPECT_EQ(configure({{"segment_ms", "77", set}}, true), Code::ok);
  EXPECT_TRUE(config().kept.empty());
  EXPECT_EQ(config().segment_ms, 77);
  EXPECT_EQ(configure({{"kept.long", std::string(kKeptBytesMax, 'x'), set}}), Code::invalid_config);
  Catalog again;
  ASSERT_TRUE(again.restore(catalog.snapshot()).ok());
  EXPECT_EQ(again.fingerprint(), catalog.fingerprint());
}

TEST_F(CatalogTest, ATopicThatLeavesAModeOfLessNotesWhereItsOffsetsGoOn) {
  ASSERT_TRUE(apply(RaiseFeatureLevel{{}, kModesLevel}).ok());
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(apply(NodeStarted{{}, 1, {}, kFeatureLevelMax}).ok());
  EXPECT_EQ(create(topic_of("a", 1)), Code::ok);
  const auto set_mode = [&](const char* mode) {
    return apply(ConfigureTopic{{}, id_of(1), false, {{"mode", mode, 0}}, limits}).code();
  };
  const auto topic = [&] { return catalog.topics().at(id_of(1)); };
  EXPECT_EQ(set_mode("memory"), Code::ok);
  EXPECT_EQ(topic()->offset_floor, 0) << "nothing was lost so far";
  EXPECT_EQ(set_mode("hybrid"), Code::ok);
  EXPECT_EQ(topic()->offset_floor, Offset{3} << 32);
  EXPECT_EQ(set_mode("none"), Code::ok);
  EXPECT_EQ(set_mode("tiered"), Code::invalid_config);
  EXPECT_EQ(topic()->config.mode, Mode::none);
}

TEST_F(CatalogTest, GivesNoProducerIdTwice) {
  EXPECT_EQ(*apply(AllocateProducerIds{{}, 1000}), 0);
  EXPECT_EQ(*apply(AllocateProducerIds{{}, 1000}), 1000);
  EXPECT_EQ(apply(AllocateProducerIds{{}, 0}).code(), Code::invalid_argument);
  const Bytes same = encode_command(AllocateProducerIds{id_of(5), 1000});
  EXPECT_EQ(*decode_reply(catalog.apply(same, {})), 2000);
  EXPECT_EQ(*decode_reply(catalog.apply(same, {})), 2000) << "the same request";
  EXPECT_EQ(*apply(AllocateProducerIds{{}, 1}), 3000);
}

TEST_F(CatalogTest, CountsStartsAndKeepsItsFirstClusterId) {
  EXPECT_EQ(*apply(NodeStarted{{}, 0, id_of(1), 1}), 1);
  EXPECT_EQ(*apply(NodeStarted{{}, 0, id_of(2), 1}), 2);
  EXPECT_EQ(*apply(NodeStarted{{}, 5, id_of(3), 1}), 1);
  EXPECT_EQ(catalog.cluster_id(), id_of(1));
  EXPECT_EQ(*apply(RaiseFeatureLevel{{}, kFeatureLevelMax + 1}), kFeatureLevelMax + 1);
  EXPECT_EQ(apply(RaiseFeatureLevel{{}, 1}).code(), Code::invalid_argument);
  EXPECT_EQ(apply(NodeStarted{{}, 0, id_of(2), 1}).code(), Code::not_supported);
  Catalog older;
  EXPECT_EQ(older.restore(catalog.snapshot()).code(), Code::not_supported);
}

TEST_F(CatalogTest, SurvivesCommandsThatNobodyUnderstands) {
  const uint64_t before = catalog.fingerprint();
  const Bytes command = encode_command(CreateTopic{id_of(9), topic_of("a", 1), limits});
  for (size_t length = 0; length < command.size(); ++length)
    EXPECT_FALSE(decode_reply(catalog.apply(command.slice(0, length), {})).ok());
  Bytes unknown = Bytes::copy_of(command.span());
  unknown.patchable()[0] = 200;
  EXPECT_EQ(decode_reply(catalog.apply(unknown, {})).code(), Code::not_supported);
  EXPECT_EQ(catalog.fingerprint(), before);
}

TEST_F(CatalogTest, AgreesWithAModelAndItsOwnSnapshot) {
  const auto seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  std::map<std::string, uint64_t> model;  // name to id
  Catalog replica;
  uint64_t last_id = 0;
  for (int step = 0; step < 3000; ++step) {
    const std::string name = std::string("t") + (random() % 2 ? "." : "_") + std::to_string(random() % 30);
    Bytes command;
    Code wanted = Code::ok;
    switch (random() % 4) {
      case 0: {
        const auto found = model.find(name);
        const uint64_t id = found == model.end() ? last_id + 1000 : found->second;
        command = encode_command(DeleteTopic{id_of(5'000'000 + step), id_of(id)});
        if (found == model.end())
          wanted = Code::unknown_topic_id;
        else
          model.erase(found);
        break;
      }
      case 1:
        command = encode_command(AllocateProducerIds{id_of(5'000'000 + step), 10});
        break;
      default: {
        std::string other = name;
        other[1] = other[1] == '.' ? '_' : '.';
        if (model.contains(name)) wanted = Code::topic_exists;
        if (model.contains(other)) wanted = Code::invalid_topic;
        command = encode_command(CreateTopic{id_of(5'000'000 + step), topic_of(name, ++last_id), limits});
        if (wanted == Code::ok) model[name] = last_id;
      }
    }
    EXPECT_EQ(decode_reply(catalog.apply(command, {})).code(), wanted);
    if (random() % 50 == 0) {
      Catalog fresh;
      ASSERT_TRUE(fresh.restore(replica.snapshot()).ok());
      replica = std::move(fresh);
    }
    replica.apply(command, {});
    if (random() % 5 == 0) replica.apply(command, {});
    if (step % 100 == 0) ASSERT_EQ(replica.fingerprint(), catalog.fingerprint()) << step;
  }
  std::map<std::string, uint64_t> found;
  for (const auto& [name, id] : model) {
    ASSERT_TRUE(catalog.topics().contains(id_of(id)));
    EXPECT_EQ(catalog.topics().at(id_of(id))->name, name);
  }
  EXPECT_EQ(catalog.topics().size(), model.size());
  const Bytes snapshot = catalog.snapshot();
  for (int i = 0; i < 200; ++i) EXPECT_FALSE(Catalog().restore(snapshot.span().first(random() % snapshot.size())).ok());
}

// ---- The catalog of a node ----

class TestEngine final : public storage::Engine {
 public:
  explicit TestEngine(std::shared_ptr<TestStore> store) : store_(std::move(store)) {}
  storage::EngineTraits traits() const override { return {"test", true}; }
  void open(ShardId, const storage::LogSettings&, Offset, Callback<void(Result<storage::OpenedLog>)> done) override {
    storage::OpenedLog opened;
    opened.log = std::make_unique<TestLog>(store_);
    done(std::move(opened));
  }
  std::vector<ShardId> list() const override { return {}; }
  void remove(ShardId, Callback<void(Status)> done) override { done({}); }

 private:
  std::shared_ptr<TestStore> store_;
};

class HomeTest : public ::testing::Test {
 protected:
  Status open() {
    home.reset();
    engine = std::make_unique<TestEngine>(store);
    kv = std::make_unique<TestKv>(store);
    home = std::make_unique<CatalogHome>(std::vector<runtime::Core*>{&core}, options);
    Status status = Code::timed_out;
    home->open(*engine, *kv, [&](Status result) { status = std::move(result); });
    store->complete_all();
    return status;
  }

  TestCore core;
  MetaOptions options;
  std::shared_ptr<TestStore> store = std::make_shared<TestStore>();
  std::unique_ptr<TestEngine> engine;
  std::unique_ptr<TestKv> kv;
  std::unique_ptr<CatalogHome> home;
};

TEST_F(HomeTest, KeepsTopicsStartsAndClusterIdOverRestarts) {
  ASSERT_TRUE(open().ok());
  const Uuid cluster = home->on(0).cluster_id();
  EXPECT_FALSE(cluster.is_zero());
  EXPECT_EQ(home->on(0).starts(), 1);
  TopicId id;
  home->on(0).create_topic(topic_of("t", 1), [&](auto made) { id = made.value()->id; });
  store->complete_all();
  ASSERT_TRUE(open().ok());
  EXPECT_EQ(home->on(0).starts(), 2);
  EXPECT_EQ(home->on(0).cluster_id(), cluster);
  ASSERT_NE(home->on(0).find(kDefaultTenant, "t"), nullptr);
  EXPECT_EQ(home->on(0).find(id)->name, "t");
  EXPECT_EQ(home->on(0).list(kDefaultTenant).size(), 1u);
  EXPECT_TRUE(home->on(0).list(1).empty());
}

TEST_F(HomeTest, TellsItsWatchersBeforeTheReply) {
  ASSERT_TRUE(open().ok());
  std::vector<std::string> seen;
  home->on(0).watch([&](const CatalogEvent& event) {
    if (auto* created = std::get_if<TopicCreated>(&event)) seen.push_back("+" + created->topic->name);
    if (auto* deleted = std::get_if<TopicDeleted>(&event)) seen.push_back("-" + deleted->topic->name);
  });
  home->on(0).create_topic(topic_of("a", 1), [&](auto) { seen.push_back("made"); });
  Code second = Code::ok;
  home->on(0).create_topic(topic_of("a", 2), [&](auto made) { second = made.code(); });
  store->complete_all();
  home->on(0).delete_topic(id_of(1), [&](Status) { seen.push_back("gone"); });
  store->complete_all();
  EXPECT_EQ(seen, (std::vector<std::string>{"+a", "made", "-a", "gone"}));
  EXPECT_EQ(second, Code::topic_exists);
}

TEST_F(HomeTest, KeepsWhatItAnsweredWhateverHappens) {
  const auto seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  options.snapshot_bytes = 4096;
  ASSERT_TRUE(open().ok());
  std::set<std::string> there, gone, unknown;
  std::set<ProducerId> blocks;
  for (int step = 0; step < 2000; ++step) {
    const std::string name = "t" + std::to_string(random() % 40);
    switch (random() % 12) {
      case 0:
        if (random() % 10 == 0) {
          home.reset();
          for (size_t kept = random() % 3; kept > 0 && store->complete(); --kept) continue;
          store->under_way.clear();
          ASSERT_TRUE(open().ok());
          for (const std::string& each : there) {
            if (!unknown.contains(each)) EXPECT_NE(home->on(0).find(0, each), nullptr) << each;
          }
          for (const std::string& each : gone) {
            if (!unknown.contains(each)) EXPECT_EQ(home->on(0).find(0, each), nullptr) << each;
          }
          unknown.clear();
          there.clear();
          gone.clear();
          for (const auto& topic : home->on(0).list(0)) there.insert(topic->name);
        }
        break;
      case 1:
      case 2:
      case 3:
        unknown.insert(name);
        home->on(0).create_topic(topic_of(name, 0), [&, name](auto made) {
          if (!made.ok()) return;
          unknown.erase(name);
          gone.erase(name);
          there.insert(name);
        });
        break;
      case 4:
        if (const auto topic = home->on(0).find(0, name)) {
          unknown.insert(name);
          home->on(0).delete_topic(topic->id, [&, name](Status status) {
            if (!status.ok()) return;
            unknown.erase(name);
            there.erase(name);
            gone.insert(name);
          });
        }
        break;
      case 5:
        home->on(0).allocate_producer_ids([&](Result<ProducerId> first) {
          if (first.ok()) EXPECT_TRUE(blocks.insert(*first).second) << *first;
        });
        break;
      default:
        store->complete();
    }
  }
  EXPECT_GT(blocks.size(), 20u);
}

// Several cores over the simulated world: a change made anywhere is seen everywhere before its reply.
TEST(CatalogHome, ShowsAChangeOnEveryCoreBeforeItsReply) {
  runtime::sim::SimWorld world({.seed = 11});
  runtime::sim::SimNode& node = world.add_node({.cores = 4});
  auto store = std::make_shared<TestStore>();
  store->is_inline = true;
  TestEngine engine(store);
  TestKv kv(store);
  std::vector<runtime::Core*> cores;
  for (CoreIndex i = 0; i < 4; ++i) cores.push_back(&node.core(i));
  CatalogHome home(cores, {});
  bool is_open = false;
  node.core(0).post([&] { home.open(engine, kv, [&](Status status) { is_open = status.ok(); }); });
  ASSERT_TRUE(world.run_until([&] { return is_open; }, Duration::seconds(1)));
  for (CoreIndex i = 0; i < 4; ++i) EXPECT_EQ(home.on(i).starts(), 1);
  int answered = 0;
  for (int i = 0; i < 50; ++i) {
    const auto from = static_cast<CoreIndex>(i % 4);
    const std::string name = "t" + std::to_string(i);
    node.core(from).post([&, from, name] {
      home.on(from).create_topic(topic_of(name, 0), [&, name](auto made) {
        EXPECT_TRUE(made.ok());
        for (CoreIndex each = 0; each < 4; ++each) EXPECT_NE(home.on(each).find(0, name), nullptr);
        ++answered;
      });
    });
  }
  ASSERT_TRUE(world.run_until([&] { return answered == 50; }, Duration::seconds(10)));
}

}  // namespace
}  // namespace robustmq::meta
