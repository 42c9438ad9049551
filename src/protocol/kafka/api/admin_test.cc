// CreateTopics, DeleteTopics, DescribeConfigs, DescribeCluster: what goes to the broker and what comes back.
#include <gtest/gtest.h>

#include <algorithm>

#include "protocol/kafka/errors.h"
#include "protocol/kafka/frames/all.h"
#include "protocol/kafka/testing.h"

namespace robustmq::kafka {
namespace {

using K = KafkaError;

broker::ClusterFacts cluster_with_options() {
  broker::ClusterFacts facts;
  facts.cluster_id = "cluster-1";
  facts.nodes = {{7, "broker.example", 9092}};
  facts.controller = 7;
  facts.options = {{"kafka.request_bytes_max", "1000", false}, {"server.name", "x", true}};
  return facts;
}
broker::TopicFacts facts(std::string name) {
  broker::TopicFacts topic;
  topic.name = std::move(name);
  topic.id = uuid(5);
  topic.partitions = 3;
  topic.settings = {{"retention_ms", "1000", false},
                    {"mode", "persistent", true},
                    {"log_append_time", "true", false},
                    {"unheard_of", "1", true}};
  return topic;
}

// ---- CreateTopics ----

using Topic = CreateTopicsRequest::CreatableTopic;

Topic plain(std::string_view name) { return {name, 3, 1, {}, {}}; }

TEST(CreateTopics, MapsEveryVersion) {
  for (int version = 2; version <= 7; ++version) {
    ConnectionHarness link;
    CreateTopicsRequest request;
    request.validate_only = true;
    Topic topic = plain("t");
    topic.configs = {{"retention.ms", "1000"},
                     {"robustmq.mode", "memory"},
                     {"message.timestamp.type", "LogAppendTime"},
                     {"cleanup.policy", "delete"}};
    request.topics.push_back(topic);
    link.feed(request_bytes(request, version, 1));
    auto asked = link.take_call<broker::CreateTopics>();
    EXPECT_TRUE(asked.validate_only);
    ASSERT_EQ(asked.topics.size(), 1u);
    EXPECT_EQ(asked.topics[0].name, "t");
    EXPECT_EQ(asked.topics[0].partitions, 3);
    using Settings = std::vector<std::pair<std::string, std::string>>;
    EXPECT_EQ(
        asked.topics[0].settings,
        (Settings{{"retention_ms", "1000"}, {"mode", "memory"}, {"log_append_time", "true"}, {"cleanup_policy", "delete"}}));
    link.reply_to_taken(broker::CreatedTopics{{{Code::ok, "", facts("t")}}});
    auto answer = link.take<CreateTopicsResponse>(version);
    EXPECT_EQ(answer.fault, "");
    const auto& row = answer.body.topics.at(0);
    EXPECT_EQ(row.error_code, 0);
    EXPECT_EQ(row.error_message, std::nullopt);
    EXPECT_EQ(row.topic_id, version >= 7 ? uuid(5) : Uuid{});
    EXPECT_EQ(row.num_partitions, version >= 5 ? 3 : -1);
    if (version < 5) continue;
    const auto& configs = *row.configs;
    EXPECT_EQ(configs.at(0).name, "retention.ms");
    EXPECT_EQ(configs.at(0).value, "1000");
    EXPECT_EQ(configs.at(0).config_source, 1);
    EXPECT_EQ(configs.at(1).config_source, 5);
    EXPECT_EQ(configs.at(2).value, "LogAppendTime");
    EXPECT_EQ(configs.at(3).name, "compression.gzip.level");
    EXPECT_FALSE(configs.at(3).read_only);
    EXPECT_EQ(configs.at(3 + 15).name, "compression.type");
    EXPECT_TRUE(configs.at(3 + 15).read_only);
  }
}

TEST(CreateTopics, RefusesWhatATopicCannotHave) {
  struct Case {
    Topic topic;
    K error;
  };
  auto with_config = [](std::string_view name, std::optional<std::string_view> value) {
    Topic topic = plain("t");
    topic.configs.push_back({name, value});
    return topic;
  };
  auto with_replication = [](int16_t factor) {
    Topic topic = plain("t");
    topic.replication_factor = factor;
    return topic;
  };
  auto without_partitions = [](int16_t factor) {
    Topic topic = plain("t");
    topic.num_partitions = 0;
    topic.replication_factor = factor;
    return topic;
  };
  for (const Case& one :
       {Case{with_config("no.such.setting", "1"), K::invalid_config}, Case{without_partitions(3), K::invalid_partitions},
        Case{without_partitions(0), K::invalid_replication_factor},
        Case{with_config("retention.ms", std::nullopt), K::invalid_config},
        Case{with_config("compression.type", "gzip"), K::invalid_config},
        Case{with_config("message.timestamp.type", "Never"), K::invalid_config},
        Case{with_replication(3), K::invalid_replication_factor}, Case{with_replication(0), K::invalid_replication_factor}}) {
    ConnectionHarness link;
    CreateTopicsRequest request;
    request.topics = {one.topic};
    link.feed(request_bytes(request, 7, 1));
    const auto asked = link.take_call<broker::CreateTopics>();
    EXPECT_TRUE(asked.validate_only) << "its name alone";
    EXPECT_TRUE(link.calls().empty());
    link.reply_to_taken(broker::CreatedTopics{{{Code::ok, "", facts("t")}}});
    const auto answer = link.take<CreateTopicsResponse>(7);
    EXPECT_EQ(answer.body.topics.at(0).error_code, wire(one.error)) << kafka_error_name(one.error);
    EXPECT_TRUE(answer.body.topics.at(0).error_message.has_value());
    EXPECT_EQ(answer.body.topics.at(0).num_partitions, -1);
  }
}

TEST(CreateTopics, TellsThatANameIsTakenWhateverElseIsWrong) {
  ConnectionHarness link;
  CreateTopicsRequest request;
  request.topics = {plain("good"), plain("taken"), plain("a/b"), plain("new")};
  request.topics[1].replication_factor = 3;
  request.topics[2].configs.push_back({"no.such.setting", "1"});
  request.topics[3].configs.push_back({"no.such.setting", "1"});
  request.topics[3].replication_factor = 3;
  link.feed(request_bytes(request, 5, 1));
  CallId create = 0;
  EXPECT_EQ(link.take_call<broker::CreateTopics>(&create).topics.at(0).name, "good");
  const auto named = link.take_call<broker::CreateTopics>();
  ASSERT_EQ(named.topics.size(), 3u);
  EXPECT_EQ(named.topics[0].replication_factor, -1);
  EXPECT_TRUE(named.validate_only);
  link.reply_to_taken(broker::CreatedTopics{{{Code::topic_exists, "", {}}, {Code::invalid_topic, "", {}}, {}}});
  link.reply(create, broker::CreatedTopics{{{Code::ok, "", facts("good")}}});
  const auto answer = link.take<CreateTopicsResponse>(5);
  const K errors[] = {K::none, K::topic_already_exists, K::invalid_topic_exception, K::invalid_config};
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(answer.body.topics.at(i).error_code, wire(errors[i])) << i;
}

TEST(CreateTopics, RefusesATopicNamedTwice) {
  ConnectionHarness link;
  CreateTopicsRequest request;
  request.topics = {plain("a"), plain("b"), plain("a")};
  link.feed(request_bytes(request, 5, 1));
  auto asked = link.take_call<broker::CreateTopics>();
  ASSERT_EQ(asked.topics.size(), 1u);
  EXPECT_EQ(asked.topics[0].name, "b");
  link.reply_to_taken(broker::CreatedTopics{{{Code::topic_exists, "", {}}}});
  const auto answer = link.take<CreateTopicsResponse>(5);
  ASSERT_EQ(answer.body.topics.size(), 2u);
  EXPECT_EQ(answer.body.topics[0].name, "a");
  EXPECT_EQ(answer.body.topics[0].error_code, wire(K::invalid_request));
  EXPECT_EQ(answer.body.topics[1].error_code, wire(K::topic_already_exists));
}

TEST(CreateTopics, TakesAManualAssignmentToThisNode) {
  struct Case {
    std::vector<CreateTopicsRequest::CreatableReplicaAssignment> assignments;
    int32_t partitions;
    K error;
  };
  for (const Case& one :
       {Case{{{0, {7}}, {1, {7}}}, -1, K::none}, Case{{{0, {7}}}, 1, K::invalid_request},
        Case{{{0, {8}}}, -1, K::invalid_replica_assignment}, Case{{{0, {7, 8}}}, -1, K::invalid_replica_assignment},
        Case{{{1, {7}}}, -1, K::invalid_replica_assignment}, Case{{{0, {7}}, {0, {7}}}, -1, K::invalid_replica_assignment}}) {
    ConnectionHarness link;
    CreateTopicsRequest request;
    request.topics.push_back({"t", one.partitions, -1, one.assignments, {}});
    link.feed(request_bytes(request, 6, 1));
    link.take_call<broker::DescribeCluster>();
    link.reply_to_taken(cluster_with_options());
    if (one.error == K::none) {
      auto asked = link.take_call<broker::CreateTopics>();
      EXPECT_EQ(asked.topics.at(0).partitions, 2);
    } else {
      EXPECT_TRUE(link.take_call<broker::CreateTopics>().validate_only);
    }
    link.reply_to_taken(broker::CreatedTopics{{{Code::ok, "", facts("t")}}});
    EXPECT_EQ(link.take<CreateTopicsResponse>(6).body.topics.at(0).error_code, wire(one.error));
  }
}

// ---- DeleteTopics ----

TEST(DeleteTopics, TakesNamesAndFromVersion6OnIds) {
  for (int version = 1; version <= 6; ++version) {
    ConnectionHarness link;
    DeleteTopicsRequest request;
    request.topic_names = {"a", "b"};
    request.topics = {{"a", {}}, {std::nullopt, uuid(2)}, {"c", uuid(3)}, {std::nullopt, {}}};
    link.feed(request_bytes(request, version, 1));
    auto asked = link.take_call<broker::DeleteTopics>();
    ASSERT_EQ(asked.topics.size(), 2u);
    EXPECT_EQ(asked.topics[0].name, "a");
    EXPECT_EQ(asked.topics[1].id, version < 6 ? Uuid{} : uuid(2));
    link.reply_to_taken(broker::DeletedTopics{
        {{Code::ok, "", "a", uuid(1)}, {version < 6 ? Code::unknown_topic : Code::unknown_topic_id, "", "", {}}}});
    auto answer = link.take<DeleteTopicsResponse>(version);
    EXPECT_EQ(answer.fault, "");
    EXPECT_EQ(answer.body.responses.at(0).error_code, 0);
    EXPECT_EQ(answer.body.responses.at(0).name, "a");
    EXPECT_EQ(answer.body.responses.at(0).topic_id, version < 6 ? Uuid{} : uuid(1));
    EXPECT_EQ(answer.body.responses.at(1).error_code, version < 6 ? 3 : 100);
    if (version < 6) continue;
    EXPECT_EQ(answer.body.responses.at(1).name, std::nullopt);
    EXPECT_EQ(answer.body.responses.at(2).error_code, wire(K::invalid_request));
    EXPECT_EQ(answer.body.responses.at(3).error_code, wire(K::unknown_topic_id));
  }
}

// ---- DescribeConfigs ----

Answer<DescribeConfigsResponse> describe(const DescribeConfigsRequest& request, int version,
                                         std::vector<broker::DescribedTopic> topics) {
  ConnectionHarness link;
  link.feed(request_bytes(request, version, 1));
  link.take_call<broker::DescribeCluster>();
  link.reply_to_taken(cluster_with_options());
  if (!link.calls().empty()) {
    auto asked = link.take_call<broker::DescribeTopics>();
    EXPECT_FALSE(asked.auto_create);
    link.reply_to_taken(broker::DescribedTopics{std::move(topics)});
  }
  EXPECT_FALSE(link.had_wrong_kind());
  auto answer = link.take<DescribeConfigsResponse>(version);
  EXPECT_EQ(answer.fault, "");
  return answer;
}
using Config = DescribeConfigsResponse::DescribeConfigsResourceResult;
const Config* config_of(const DescribeConfigsResponse::DescribeConfigsResult& row, std::string_view name) {
  const auto found =
      std::find_if(row.configs.begin(), row.configs.end(), [&](const Config& config) { return config.name == name; });
  return found == row.configs.end() ? nullptr : &*found;
}

TEST(DescribeConfigs, ListsEverySettingOfATopic) {
  for (int version = 1; version <= 4; ++version) {
    DescribeConfigsRequest request;
    request.include_synonyms = true;
    request.include_documentation = true;
    auto& resource = request.resources.emplace_back();
    resource.resource_type = 2;
    resource.resource_name = "t";
    resource.configuration_keys.reset();
    const auto answer = describe(request, version, {{Code::ok, facts("t")}});
    const auto& row = answer.body.results.at(0);
    EXPECT_EQ(row.error_code, 0);
    EXPECT_EQ(row.configs.size(), 3u + 15 + 3);
    const Config* retention = config_of(row, "retention.ms");
    ASSERT_NE(retention, nullptr);
    EXPECT_EQ(retention->value, "1000");
    EXPECT_EQ(retention->config_source, 1);
    EXPECT_FALSE(retention->read_only);
    EXPECT_EQ(retention->synonyms.at(0).name, "retention.ms");
    EXPECT_EQ(retention->config_type, version >= 3 ? 5 : 0);
    EXPECT_EQ(retention->documentation.has_value() && !retention->documentation->empty(), version >= 3);
    EXPECT_EQ(config_of(row, "message.timestamp.type")->value, "LogAppendTime");
    EXPECT_EQ(config_of(row, "robustmq.mode")->config_source, 5);
    EXPECT_TRUE(config_of(row, "compression.type")->read_only);
    EXPECT_EQ(config_of(row, "min.insync.replicas")->value, "1");
  }
}

TEST(DescribeConfigs, GivesTheKeysAskedFor) {
  DescribeConfigsRequest request;
  auto& resource = request.resources.emplace_back();
  resource.resource_type = 2;
  resource.resource_name = "t";
  resource.configuration_keys = std::vector<std::string_view>{"retention.ms", "no.such"};
  const auto answer = describe(request, 4, {{Code::ok, facts("t")}});
  ASSERT_EQ(answer.body.results.at(0).configs.size(), 1u);
  EXPECT_TRUE(answer.body.results[0].configs[0].synonyms.empty());
  EXPECT_EQ(answer.body.results[0].configs[0].documentation, std::nullopt);
}

TEST(DescribeConfigs, AnswersEachResourceForItself) {
  DescribeConfigsRequest request;
  auto add = [&](int8_t type, std::string_view name) {
    auto& resource = request.resources.emplace_back();
    resource.resource_type = type;
    resource.resource_name = name;
    resource.configuration_keys.reset();
  };
  add(2, "gone");
  add(4, "7");
  add(4, "8");
  add(4, "");
  add(8, "7");
  add(16, "metrics");
  const auto answer = describe(request, 4, {{Code::unknown_topic, {}}});
  const auto& rows = answer.body.results;
  EXPECT_EQ(rows.at(0).error_code, wire(K::unknown_topic_or_partition));
  ASSERT_EQ(rows.at(1).configs.size(), 2u);
  EXPECT_EQ(rows[1].configs[0].config_source, 4);
  EXPECT_EQ(rows[1].configs[1].config_source, 5);
  EXPECT_TRUE(rows[1].configs[0].read_only);
  EXPECT_EQ(rows.at(2).error_code, wire(K::invalid_request));
  EXPECT_EQ(rows.at(3).error_code, 0);
  EXPECT_EQ(rows.at(4).error_code, wire(K::invalid_request));
  EXPECT_EQ(rows.at(5).error_code, wire(K::invalid_request));
}

// ---- DescribeCluster ----

TEST(DescribeCluster, NamesTheBrokers) {
  for (int version = 0; version <= 2; ++version) {
    ConnectionHarness link;
    link.feed(request_bytes(DescribeClusterRequest{}, version, 1));
    link.take_call<broker::DescribeCluster>();
    link.reply_to_taken(cluster_with_options());
    auto answer = link.take<DescribeClusterResponse>(version);
    EXPECT_EQ(answer.fault, "");
    EXPECT_EQ(answer.body.cluster_id, "cluster-1");
    EXPECT_EQ(answer.body.controller_id, 7);
    EXPECT_EQ(answer.body.cluster_authorized_operations, INT32_MIN);
    EXPECT_EQ(answer.body.brokers.at(0).port, 9092);
  }
}

TEST(DescribeCluster, IsNoControllersEndpoint) {
  struct Case {
    int8_t type;
    K error;
  };
  for (const Case& one : {Case{2, K::mismatched_endpoint_type}, Case{3, K::unsupported_endpoint_type}}) {
    ConnectionHarness link;
    DescribeClusterRequest request;
    request.endpoint_type = one.type;
    link.feed(request_bytes(request, 1, 1));
    EXPECT_TRUE(link.calls().empty());
    EXPECT_EQ(link.take<DescribeClusterResponse>(1).body.error_code, wire(one.error));
  }
}

}  // namespace
}  // namespace robustmq::kafka
