// What changes topics, and what tells of the node: CreatePartitions, AlterConfigs, DescribeTopicPartitions, DeleteRecords and the
// rest of the admin's requests.
#include <gtest/gtest.h>

#include "protocol/kafka/errors.h"
#include "protocol/kafka/frames/all.h"
#include "protocol/kafka/names.h"
#include "protocol/kafka/testing.h"

namespace robustmq::kafka {
namespace {

using K = KafkaError;

broker::ClusterFacts one_node() {
  broker::ClusterFacts facts;
  facts.cluster_id = "one_node-1";
  facts.nodes = {{7, "broker.example", 9092}};
  facts.controller = 7;
  facts.options = {{"node.data_dir", "/var/lib/robustmq", false}};
  return facts;
}
broker::DescribedTopic topic(std::string name, int32_t partitions = 3) {
  broker::DescribedTopic row;
  row.facts.name = std::move(name);
  row.facts.id.bytes.fill(5);
  row.facts.partitions = partitions;
  row.facts.leader_epoch = 3;
  return row;
}
broker::DescribedTopic missing(std::string name) {
  broker::DescribedTopic row{Code::unknown_topic, {}};
  row.facts.name = std::move(name);
  return row;
}

// Answers what a request asks of the broker before its own call: the one_node and its topics.
void answer_facts(ConnectionHarness& link, std::vector<broker::DescribedTopic> topics) {
  CallId cluster_call = 0, topics_call = 0;
  link.take_call<broker::DescribeCluster>(&cluster_call);
  link.take_call<broker::DescribeTopics>(&topics_call);
  link.reply(cluster_call, one_node());
  link.reply(topics_call, broker::DescribedTopics{std::move(topics)});
}

// ---- CreatePartitions ----

TEST(Case62CreatePartitions, AnswersARowForEachTopicAndOnlyGrows) {
  for (int version = 0; version <= 3; ++version) {
    ConnectionHarness link;
    CreatePartitionsRequest request;
    for (const auto& [name, count] : std::vector<std::pair<std::string_view, int32_t>>{
             {"grows", 5}, {"same", 3}, {"shrinks", 2}, {"gone", 9}, {"here", 4}, {"elsewhere", 4}})
      request.topics.push_back({name, count, std::nullopt});
    request.topics[0].assignments.emplace();  // as kafka-python 3 asks for no manual assignment
    request.topics[4].assignments.emplace().push_back({{7}});
    request.topics[5].assignments.emplace().push_back({{8}});
    link.feed(request_bytes(request, version, 1));
    answer_facts(link, {topic("grows"), topic("same"), topic("shrinks"), missing("gone"), topic("here"), topic("elsewhere")});
    const auto asked = link.take_call<broker::GrowTopics>();
    ASSERT_EQ(asked.topics.size(), 2u);
    EXPECT_EQ(asked.topics[0].name, "grows");
    EXPECT_EQ(asked.topics[0].partitions, 5);
    EXPECT_EQ(asked.topics[1].name, "here");
    link.reply_to_taken(broker::GrownTopics{{{}, {Code::quota_exceeded, "full"}}});
    const auto answer = link.take<CreatePartitionsResponse>(version);
    EXPECT_EQ(answer.fault, "");
    ASSERT_EQ(answer.body.results.size(), 6u);
    const K errors[] = {K::none,
                        K::invalid_partitions,
                        K::invalid_partitions,
                        K::unknown_topic_or_partition,
                        K::throttling_quota_exceeded,
                        K::invalid_replica_assignment};
    for (size_t i = 0; i < 6; ++i) {
      EXPECT_EQ(answer.body.results[i].name, request.topics[i].name);
      EXPECT_EQ(answer.body.results[i].error_code, wire(errors[i])) << i;
      EXPECT_EQ(answer.body.results[i].error_message.has_value(), errors[i] != K::none);
    }
  }
}

// ---- Settings ----

TEST(Case63Configs, AlterConfigsReplacesAllSettings) {
  for (int version = 0; version <= 2; ++version) {
    ConnectionHarness link;
    AlterConfigsRequest request;
    request.validate_only = true;
    request.resources.push_back({2, "t", {{"retention.ms", "5"}, {"flush.ms", "9"}, {"cleanup.policy", "compact"}}});
    request.resources.push_back({2, "bad", {{"compression.type", "gzip"}}});
    request.resources.push_back({2, "odd", {{"no.such", "1"}}});
    request.resources.push_back({4, "7", {{"log.retention.ms", "1"}}});
    request.resources.push_back({16, "metrics", {}});
    link.feed(request_bytes(request, version, 1));
    const auto asked = link.take_call<broker::ConfigureTopics>();
    EXPECT_TRUE(asked.validate_only);
    ASSERT_EQ(asked.topics.size(), 1u);
    EXPECT_TRUE(asked.topics[0].replaces_all);
    ASSERT_EQ(asked.topics[0].changes.size(), 3u);
    EXPECT_EQ(asked.topics[0].changes[2].name, "cleanup_policy");
    EXPECT_EQ(asked.topics[0].changes[0].name, "retention_ms");
    EXPECT_EQ(asked.topics[0].changes[0].value, "5");
    EXPECT_EQ(asked.topics[0].changes[1].name, "flush_ms");
    link.reply_to_taken(broker::ConfiguredTopics{{{}}});
    const auto answer = link.take<AlterConfigsResponse>(version);
    EXPECT_EQ(answer.fault, "");
    const K errors[] = {K::none, K::invalid_config, K::invalid_config, K::invalid_request, K::invalid_request};
    for (size_t i = 0; i < 5; ++i) EXPECT_EQ(answer.body.responses.at(i).error_code, wire(errors[i])) << i;
  }
}

TEST(Case63Configs, ResettingWhatIsNotSetChangesNothing) {
  ConnectionHarness link;
  IncrementalAlterConfigsRequest request;
  request.resources.push_back({4, "7", {{"leader.replication.throttled.rate", 1, std::nullopt}}});
  request.resources.push_back({4, "8", {{"leader.replication.throttled.rate", 0, "5"}}});
  request.resources.push_back({2, "t", {{"no.such", 1, std::nullopt}}});
  request.resources.push_back({2, "", {{"retention.ms", 0, "5"}}});
  link.feed(request_bytes(request, 1, 1));
  const auto asked = link.take_call<broker::ConfigureTopics>();
  ASSERT_EQ(asked.topics.size(), 1u) << "whether the topic is there";
  EXPECT_TRUE(asked.topics[0].changes.empty());
  link.reply_to_taken(broker::ConfiguredTopics{{{}}});
  const auto answer = link.take<IncrementalAlterConfigsResponse>(1);
  const K errors[] = {K::none, K::invalid_request, K::none, K::invalid_request};
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(answer.body.responses.at(i).error_code, wire(errors[i])) << i;
}

TEST(Case63Configs, IncrementalAppendsToAndSubtractsFromLists) {
  for (int version = 0; version <= 1; ++version) {
    ConnectionHarness link;
    IncrementalAlterConfigsRequest request;
    const std::string_view list = "leader.replication.throttled.replicas";
    request.resources.push_back({2, "a", {{"segment.ms", 0, "100"}, {"retention.ms", 1, std::nullopt}, {list, 2, "0:1,1:1"}}});
    request.resources.push_back({2, "b", {{list, 3, "0:1"}}});
    request.resources.push_back({2, "c", {{"retention.ms", 2, "5"}}});
    request.resources.push_back({2, "d", {{"retention.ms", 0, std::nullopt}}});
    request.resources.push_back({2, "e", {{"retention.ms", 9, "5"}}});
    request.resources.push_back({2, "f", {{"retention.ms", 0, "1"}, {"retention.ms", 1, std::nullopt}}});
    request.resources.push_back({2, "g", {{"cleanup.policy", 2, "compact"}}});
    link.feed(request_bytes(request, version, 1));
    const auto asked = link.take_call<broker::ConfigureTopics>();
    ASSERT_EQ(asked.topics.size(), 3u);
    using How = broker::ConfigureTopics::Change::How;
    ASSERT_EQ(asked.topics[0].changes.size(), 3u);
    EXPECT_FALSE(asked.topics[0].replaces_all);
    EXPECT_EQ(asked.topics[0].changes[1].value, std::nullopt);
    EXPECT_EQ(asked.topics[0].changes[2].name, "kept.leader.replication.throttled.replicas");
    EXPECT_EQ(asked.topics[0].changes[2].how, How::append);
    EXPECT_EQ(asked.topics[1].changes.at(0).how, How::subtract);
    EXPECT_EQ(asked.topics[2].changes.at(0).name, "cleanup_policy");
    EXPECT_EQ(asked.topics[2].changes[0].how, How::append);
    link.reply_to_taken(broker::ConfiguredTopics{{{}, {Code::unknown_topic, ""}, {}}});
    const auto answer = link.take<IncrementalAlterConfigsResponse>(version);
    EXPECT_EQ(answer.fault, "");
    const K errors[] = {
        K::none, K::unknown_topic_or_partition, K::invalid_config, K::invalid_request, K::invalid_request, K::invalid_request,
        K::none};
    for (size_t i = 0; i < 7; ++i) EXPECT_EQ(answer.body.responses.at(i).error_code, wire(errors[i])) << i;
  }
}

TEST(Case63Configs, SettingsWithoutEffectAreCheckedAsKafkaDoes) {
  EXPECT_EQ(read_topic_setting("flush.messages", "1").our_name, "flush_messages");
  EXPECT_EQ(read_topic_setting("index.interval.bytes", "1").our_name, "kept.index.interval.bytes");
  EXPECT_NE(read_topic_setting("index.interval.bytes", "-1").problem, "");
  EXPECT_NE(read_topic_setting("index.interval.bytes", "many").problem, "");
  EXPECT_NE(read_topic_setting("preallocate", "yes").problem, "");
  EXPECT_EQ(read_topic_setting("segment.index.bytes", "2147483647").problem, "");
  EXPECT_NE(read_topic_setting("segment.index.bytes", "2147483648").problem, "");
  EXPECT_EQ(read_topic_setting("compression.type", "producer").our_name, "");
  EXPECT_NE(read_topic_setting("compression.type", "gzip").problem, "");
}

TEST(ListConfigResources, NamesTopicsAndTheBroker) {
  ListConfigResourcesRequest request;
  {
    ConnectionHarness link;
    link.feed(request_bytes(request, 0, 1));
    EXPECT_TRUE(link.take<ListConfigResourcesResponse>(0).body.config_resources.empty());
  }
  for (const auto& [types, count] :
       std::vector<std::pair<std::vector<int8_t>, size_t>>{{{}, 4}, {{2}, 2}, {{4}, 1}, {{16}, 0}, {{32}, 1}}) {
    ConnectionHarness link;
    request.resource_types = types;
    link.feed(request_bytes(request, 1, 1));
    answer_facts(link, {topic("a"), topic("b")});
    EXPECT_TRUE(link.take_call<broker::DescribeGroupConfigs>().all);
    link.reply_to_taken(broker::DescribedGroupConfigs{{{"g", {}}}});
    const auto answer = link.take<ListConfigResourcesResponse>(1);
    EXPECT_EQ(answer.fault, "");
    EXPECT_EQ(answer.body.config_resources.size(), count);
  }
  ConnectionHarness link;
  request.resource_types = {3};
  link.feed(request_bytes(request, 1, 1));
  EXPECT_EQ(link.take<ListConfigResourcesResponse>(1).body.error_code, wire(K::unsupported_version));
}

// ---- DescribeTopicPartitions ----

TEST(Case64DescribeTopicPartitions, GoesOnAtTheCursorAlsoWhenItsTopicVanished) {
  const auto describe = [](std::optional<std::pair<std::string_view, int32_t>> from, int32_t limit,
                           std::vector<broker::DescribedTopic> topics) {
    ConnectionHarness link;
    DescribeTopicPartitionsRequest request;
    request.response_partition_limit = limit;
    if (from) request.cursor = {from->first, from->second};
    link.feed(request_bytes(request, 0, 1));
    answer_facts(link, std::move(topics));
    auto answer = link.take<DescribeTopicPartitionsResponse>(0);
    EXPECT_EQ(answer.fault, "");
    std::string told;
    for (const auto& row : answer.body.topics) {
      for (const auto& partition : row.partitions)
        told += std::string(*row.name) + std::to_string(partition.partition_index) + " ";
    }
    if (answer.body.next_cursor)
      told += "-> " + std::string(answer.body.next_cursor->topic_name) + std::to_string(answer.body.next_cursor->partition_index);
    return told;
  };
  const std::vector<broker::DescribedTopic> all = {topic("c", 2), topic("a", 3), topic("b", 1)};
  EXPECT_EQ(describe({}, 2000, all), "a0 a1 a2 b0 c0 c1 ");
  EXPECT_EQ(describe({}, 2, all), "a0 a1 -> a2");
  EXPECT_EQ(describe({{"a", 2}}, 2, all), "a2 b0 -> c0");
  EXPECT_EQ(describe({{"c", 0}}, 2, all), "c0 c1 ");
  EXPECT_EQ(describe({{"aa", 7}}, 2, all), "b0 c0 -> c1");
  EXPECT_EQ(describe({{"d", 0}}, 2, all), "");
  EXPECT_EQ(describe({}, 100'000, {topic("big", 2500)}).substr(0, 5), "big0 ");
  EXPECT_TRUE(describe({}, 100'000, {topic("big", 2500)}).ends_with("-> big2000"));
}

TEST(DescribeTopicPartitions, KeepsTheRowOfATopicThatIsNotThere) {
  ConnectionHarness link;
  DescribeTopicPartitionsRequest request;
  request.topics = {{"b"}, {"a"}, {"b"}};
  link.feed(request_bytes(request, 0, 1));
  answer_facts(link, {missing("a"), topic("b", 1)});
  const auto answer = link.take<DescribeTopicPartitionsResponse>(0);
  ASSERT_EQ(answer.body.topics.size(), 2u);
  EXPECT_EQ(answer.body.topics[0].error_code, wire(K::unknown_topic_or_partition));
  EXPECT_EQ(answer.body.topics[0].name, "a");
  EXPECT_EQ(answer.body.topics[1].partitions.at(0).leader_id, 7);
}

// ---- Records ----

TEST(Case39DeleteRecords, AnswersEachPartition) {
  for (int version = 0; version <= 2; ++version) {
    ConnectionHarness link;
    DeleteRecordsRequest request;
    request.topics.push_back({"t", {{0, -1}, {1, 50}, {2, 5}}});
    link.feed(request_bytes(request, version, 1));
    const auto asked = link.take_call<broker::DeleteRecords>();
    ASSERT_EQ(asked.partitions.size(), 3u);
    EXPECT_EQ(asked.partitions[0].before, -1);
    EXPECT_EQ(asked.partitions[1].before, 50);
    link.reply_to_taken(broker::DeletedRecords{{{Code::ok, 42}, {Code::offset_out_of_range, -1}, {Code::not_supported, -1}}});
    const auto answer = link.take<DeleteRecordsResponse>(version);
    EXPECT_EQ(answer.fault, "");
    EXPECT_EQ(answer.body.topics.at(0).partitions.at(0).low_watermark, 42);
    EXPECT_EQ(answer.body.topics[0].partitions.at(1).error_code, wire(K::offset_out_of_range));
    EXPECT_EQ(answer.body.topics[0].partitions[1].low_watermark, -1);
    EXPECT_EQ(answer.body.topics[0].partitions.at(2).error_code, wire(K::policy_violation)) << "a topic that is only compacted";
  }
}

TEST(Case32OffsetForLeaderEpoch, GivesTheEndOfTheLargestEpochAtOrBelow) {
  for (int version = 2; version <= 4; ++version) {
    ConnectionHarness link;
    OffsetForLeaderEpochRequest request;
    request.topics.push_back({"t", {{0, 7, 5}, {1, 6, 5}}});
    link.feed(request_bytes(request, version, 1));
    const auto asked = link.take_call<broker::ListOffsets>();
    ASSERT_EQ(asked.partitions.size(), 2u);
    EXPECT_EQ(asked.partitions[0].what, broker::ListOffsetsPartition::What::end_of_epoch);
    EXPECT_EQ(asked.partitions[0].epoch, 5);
    EXPECT_EQ(asked.partitions[0].current_leader_epoch, 7);
    link.reply_to_taken(broker::ListedOffsets{{{Code::ok, 105, -1, 3}, {Code::fenced_leader_epoch, -1, -1, -1}}});
    const auto answer = link.take<OffsetForLeaderEpochResponse>(version);
    EXPECT_EQ(answer.fault, "");
    EXPECT_EQ(answer.body.topics.at(0).partitions.at(0).end_offset, 105);
    EXPECT_EQ(answer.body.topics[0].partitions[0].leader_epoch, 3);
    EXPECT_EQ(answer.body.topics[0].partitions.at(1).error_code, wire(K::fenced_leader_epoch));
  }
}

TEST(DescribeProducers, ListsWhatAPartitionKnows) {
  ConnectionHarness link;
  DescribeProducersRequest request;
  request.topics.push_back({"t", {0, 9}});
  link.feed(request_bytes(request, 0, 1));
  ASSERT_EQ(link.take_call<broker::DescribeProducers>().partitions.size(), 2u);
  link.reply_to_taken(broker::DescribedProducers{{{Code::ok, {{44, 2, 17, 1000}}}, {Code::unknown_topic, {}}}});
  const auto answer = link.take<DescribeProducersResponse>(0);
  EXPECT_EQ(answer.fault, "");
  const auto& rows = answer.body.topics.at(0).partitions;
  EXPECT_EQ(rows.at(0).active_producers.at(0).producer_id, 44);
  EXPECT_EQ(rows[0].active_producers[0].last_sequence, 17);
  EXPECT_EQ(rows[0].active_producers[0].current_txn_start_offset, -1);
  EXPECT_EQ(rows.at(1).error_code, wire(K::unknown_topic_or_partition));
}

TEST(DescribeLogDirs, NamesTheDataDirectoryWithItsPartitions) {
  for (int version = 1; version <= 5; ++version) {
    ConnectionHarness link;
    DescribeLogDirsRequest request;
    request.topics.emplace().push_back({"t", {0, 2, 99}});
    request.topics->push_back({"gone", {0}});
    link.feed(request_bytes(request, version, 1));
    answer_facts(link, {topic("t"), missing("gone")});
    EXPECT_EQ(link.take_call<broker::DescribeLogs>().partitions.size(), 2u);
    link.reply_to_taken(broker::DescribedLogs{{{Code::ok, 100}, {Code::ok, 300}}, 5000});
    const auto answer = link.take<DescribeLogDirsResponse>(version);
    EXPECT_EQ(answer.fault, "");
    const auto& dir = answer.body.results.at(0);
    EXPECT_EQ(dir.log_dir, "/var/lib/robustmq");
    EXPECT_EQ(dir.usable_bytes, version >= 4 ? 5000 : -1);
    ASSERT_EQ(dir.topics.size(), 1u);
    ASSERT_EQ(dir.topics[0].partitions.size(), 2u);
    EXPECT_EQ(dir.topics[0].partitions[1].partition_index, 2);
    EXPECT_EQ(dir.topics[0].partitions[1].partition_size, 300);
  }
}

// ---- One node ----

TEST(ElectLeaders, NeedsNone) {
  for (int version = 0; version <= 2; ++version) {
    ConnectionHarness link;
    ElectLeadersRequest request;
    request.topic_partitions.emplace().push_back({"t", {0, 3}});
    link.feed(request_bytes(request, version, 1));
    link.take_call<broker::DescribeTopics>();
    link.reply_to_taken(broker::DescribedTopics{{topic("t")}});
    const auto answer = link.take<ElectLeadersResponse>(version);
    EXPECT_EQ(answer.fault, "");
    const auto& rows = answer.body.replica_election_results.at(0).partition_result;
    EXPECT_EQ(rows.at(0).error_code, wire(K::election_not_needed));
    EXPECT_EQ(rows.at(1).error_code, wire(K::unknown_topic_or_partition));
  }
}

TEST(PartitionReassignments, LeadNowhereElse) {
  ConnectionHarness link;
  AlterPartitionReassignmentsRequest request;
  request.topics.push_back(
      {"t", {{0, std::vector<int32_t>{7}}, {1, std::vector<int32_t>{8}}, {2, std::nullopt}, {9, std::nullopt}}});
  link.feed(request_bytes(request, 1, 1));
  answer_facts(link, {topic("t")});
  const auto answer = link.take<AlterPartitionReassignmentsResponse>(1);
  EXPECT_EQ(answer.fault, "");
  const K errors[] = {K::none, K::invalid_replica_assignment, K::no_reassignment_in_progress, K::unknown_topic_or_partition};
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(answer.body.responses.at(0).partitions.at(i).error_code, wire(errors[i])) << i;
  ConnectionHarness other;
  other.feed(request_bytes(ListPartitionReassignmentsRequest{}, 0, 1));
  EXPECT_TRUE(other.take<ListPartitionReassignmentsResponse>(0).body.topics.empty());
}

TEST(UpdateFeatures, ChangesNone) {
  struct Case {
    std::string_view feature;
    int16_t level;
    K error;
  };
  for (const Case& one : {Case{"kraft.version", 1, K::invalid_update_version},
                          Case{"group.version", 0, K::invalid_update_version}, Case{"group.version", 1, K::none}}) {
    for (int version = 0; version <= 2; ++version) {
      ConnectionHarness link;
      UpdateFeaturesRequest request;
      auto& update = request.feature_updates.emplace_back();
      update.feature = one.feature;
      update.max_version_level = one.level;
      link.feed(request_bytes(request, version, 1));
      const auto answer = link.take<UpdateFeaturesResponse>(version);
      EXPECT_EQ(answer.fault, "");
      EXPECT_EQ(answer.body.error_code, wire(one.error));
      ASSERT_EQ(answer.body.results.size(), version >= 2 || one.error != K::none ? 0u : 1u);
      if (!answer.body.results.empty()) {
        EXPECT_EQ(answer.body.results[0].error_code, 0);
      }
    }
  }
}

TEST(UpdateFeatures, RefusesWaysThatAreNone) {
  for (const int8_t way : {0, 4, -1}) {
    ConnectionHarness link;
    UpdateFeaturesRequest request;
    auto& update = request.feature_updates.emplace_back();
    update.feature = "group.version";
    update.max_version_level = 1;
    update.upgrade_type = way;
    link.feed(request_bytes(request, 1, 1));
    EXPECT_EQ(link.take<UpdateFeaturesResponse>(1).body.error_code, wire(K::invalid_update_version));
  }
}

TEST(Case63GroupConfigs, AreDescribedAndAltered) {
  DescribeConfigsRequest describe;
  describe.include_synonyms = true;
  describe.resources.push_back({32, "g", std::nullopt});
  describe.resources.push_back({32, "", std::nullopt});
  ConnectionHarness link;
  link.feed(request_bytes(describe, 4, 1));
  link.take_call<broker::DescribeCluster>();
  link.reply_to_taken(broker::ClusterFacts{});
  EXPECT_EQ(link.take_call<broker::DescribeGroupConfigs>().groups, (std::vector<std::string>{"g", ""}));
  link.reply_to_taken(broker::DescribedGroupConfigs{
      {{"g", {{"consumer_session_timeout_ms", "50000", false}, {"consumer_heartbeat_interval_ms", "5000", true}}}, {"", {}}}});
  const auto told = link.take<DescribeConfigsResponse>(4);
  EXPECT_EQ(told.fault, "");
  const auto& configs = told.body.results.at(0).configs;
  ASSERT_EQ(configs.size(), 2u);
  EXPECT_EQ(configs[0].name, "consumer.session.timeout.ms");
  EXPECT_EQ(configs[0].value, "50000");
  EXPECT_EQ(configs[0].config_source, 8);
  EXPECT_EQ(configs[1].config_source, 5);
  EXPECT_EQ(configs[1].synonyms.at(0).name, "group.consumer.heartbeat.interval.ms");
  EXPECT_EQ(told.body.results.at(1).error_code, wire(K::invalid_request));

  IncrementalAlterConfigsRequest alter;
  alter.resources.push_back({32, "g", {{"consumer.session.timeout.ms", 0, "55000"}, {"consumer.heartbeat.interval.ms", 1, {}}}});
  alter.resources.push_back({32, "h", {{"retention.ms", 0, "1"}}});
  alter.resources.push_back({32, "i", {{"consumer.session.timeout.ms", 2, "1"}}});
  alter.resources.push_back({2, "t", {{"retention.ms", 0, "1"}}});
  ConnectionHarness other;
  other.feed(request_bytes(alter, 1, 1));
  EXPECT_EQ(other.take_call<broker::ConfigureTopics>().topics.size(), 1u);
  other.reply_to_taken(broker::ConfiguredTopics{{{Code::ok, {}}}});
  const auto asked = other.take_call<broker::ConfigureGroups>();
  ASSERT_EQ(asked.groups.size(), 1u);
  EXPECT_EQ(asked.groups[0].changes.at(0).name, "consumer_session_timeout_ms");
  EXPECT_EQ(asked.groups[0].changes[0].value, "55000");
  EXPECT_EQ(asked.groups[0].changes.at(1).value, std::nullopt);
  other.reply_to_taken(broker::ConfiguredGroups{{{Code::invalid_config, "too long"}}});
  const auto done = other.take<IncrementalAlterConfigsResponse>(1);
  EXPECT_EQ(done.fault, "");
  EXPECT_EQ(done.body.responses.at(0).error_code, wire(K::invalid_config));
  EXPECT_EQ(done.body.responses[0].error_message, "too long");
  EXPECT_EQ(done.body.responses.at(1).error_code, wire(K::invalid_config));
  EXPECT_EQ(done.body.responses.at(2).error_code, wire(K::invalid_config));
  EXPECT_EQ(done.body.responses.at(3).error_code, 0);
}

// ---- Groups ----

TEST(Case49OffsetDelete, RefusesAGroupWithoutANameAtOnce) {
  OffsetDeleteRequest request;
  request.topics.push_back({"t", {{0}}});
  ConnectionHarness link;
  link.feed(request_bytes(request, 0, 1));
  EXPECT_TRUE(link.calls().empty());
  EXPECT_EQ(link.take<OffsetDeleteResponse>(0).body.error_code, wire(K::invalid_group_id));
}

TEST(Case49OffsetDelete, TellsAFollowedTopicFromANonEmptyGroup) {
  OffsetDeleteRequest request;
  request.group_id = "g";
  request.topics.push_back({"t", {{0}, {1}}});
  {
    ConnectionHarness link;
    link.feed(request_bytes(request, 0, 1));
    EXPECT_EQ(link.take_call<broker::DeleteOffsets>().group, "g");
    link.reply_to_taken(broker::DeletedOffsets{Code::ok, {Code::ok, Code::group_not_empty}});
    const auto answer = link.take<OffsetDeleteResponse>(0);
    EXPECT_EQ(answer.fault, "");
    EXPECT_EQ(answer.body.topics.at(0).partitions.at(0).error_code, 0);
    EXPECT_EQ(answer.body.topics[0].partitions.at(1).error_code, wire(K::group_subscribed_to_topic));
  }
  for (const auto& [code, error] :
       {std::pair(Code::group_not_found, K::group_id_not_found), {Code::group_not_empty, K::non_empty_group}}) {
    ConnectionHarness link;
    link.feed(request_bytes(request, 0, 1));
    link.take_call<broker::DeleteOffsets>();
    link.reply_to_taken(broker::DeletedOffsets{code, {}});
    EXPECT_EQ(link.take<OffsetDeleteResponse>(0).body.error_code, wire(error));
  }
}

}  // namespace
}  // namespace robustmq::kafka
