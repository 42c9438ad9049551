// Consumer groups with server-side assignment in their coordinator: what is durable, and the way between the protocols.
#include <gtest/gtest.h>

#include "base/wire.h"
#include "broker/group/consumer_protocol.h"
#include "broker/group/coordinator_rig.h"

namespace robustmq::broker {
namespace {

void put(uint64_t value, size_t width, Buffer& to) {
  for (size_t i = width; i-- > 0;) to.append_u8(static_cast<uint8_t>(value >> (8 * i)));
}
// As a classic consumer writes it, in version 1.
Bytes subscription(const std::vector<std::string>& topics, const NamedPartitions& owned = {}) {
  Buffer to;
  put(1, 2, to);
  put(topics.size(), 4, to);
  for (const std::string& topic : topics) {
    put(topic.size(), 2, to);
    to.append(topic);
  }
  put(UINT32_MAX, 4, to);
  put(owned.size(), 4, to);
  for (const auto& [topic, partitions] : owned) {
    put(topic.size(), 2, to);
    to.append(topic);
    put(partitions.size(), 4, to);
    for (const int32_t partition : partitions) put(static_cast<uint32_t>(partition), 4, to);
  }
  return to.take();
}

class ConsumersTest : public CoordinatorTest {
 public:
  static HeartbeatConsumer beat(std::string id, int32_t epoch, std::optional<std::vector<AssignedTopic>> owned = std::nullopt) {
    HeartbeatConsumer request;
    request.group = "g";
    request.member_id = std::move(id);
    request.member_epoch = epoch;
    request.owned = std::move(owned);
    if (epoch != 0) return request;
    request.owned.emplace();
    request.topics = {"t"};
    request.rebalance_timeout_ms = 60'000;
    return request;
  }
  ConsumerHeartbeatReply tell(HeartbeatConsumer request) { return ask<ConsumerHeartbeatReply>(std::move(request)); }
  DescribedConsumers::One shown() { return ask<DescribedConsumers>(DescribeConsumers{{"g"}}).groups.at(0); }
  std::string type() {
    const ListedGroups groups = ask<ListedGroups>(ListGroups{});
    return groups.groups.empty() ? "" : groups.groups[0].type;
  }
  static size_t count(const std::optional<std::vector<AssignedTopic>>& topics) {
    size_t count = 0;
    if (topics) {
      for (const AssignedTopic& topic : *topics) count += topic.partitions.size();
    }
    return count;
  }
  static size_t count_of(const std::vector<DescribedConsumers::Topic>& topics) {
    size_t count = 0;
    for (const auto& topic : topics) count += topic.partitions.size();
    return count;
  }

  // A classic consumer.
  static JoinGroup classic_join(std::string id, const NamedPartitions& owned = {}) {
    JoinGroup request = join(std::move(id));
    request.protocols = {{"range", subscription({"t"}, owned)}};
    return request;
  }
  static SyncGroup classic_sync(const std::string& id, int32_t generation) {
    SyncGroup sync;
    sync.group = "g";
    sync.member_id = id;
    sync.generation = generation;
    return sync;
  }
  NamedPartitions given(const std::string& id, int32_t generation) {
    const SyncedGroup synced = ask<SyncedGroup>(classic_sync(id, generation));
    EXPECT_EQ(synced.code, Code::ok);
    return read_assignment(synced.assignment).value_or(NamedPartitions{});
  }
  Code classic_beat(const std::string& id, int32_t generation) {
    return ask<HeartbeatReply>(HeartbeatGroup{"g", id, {}, generation}).code;
  }
  // A stable classic group of one member that has all three partitions; its id.
  std::string make_classic() {
    const JoinedGroup joined = ask<JoinedGroup>(classic_join(""));
    SyncGroup sync = classic_sync(joined.member_id, joined.generation);
    sync.assignments = {{joined.member_id, write_assignment({{"t", {0, 1, 2}}})}};
    ask<SyncedGroup>(sync);
    return joined.member_id;
  }
};

TEST_F(ConsumersTest, JoinsCommitsAndComesBackAfterARestart) {
  const ConsumerHeartbeatReply joined = tell(beat("m", 0));
  EXPECT_EQ(joined.code, Code::ok);
  EXPECT_EQ(joined.member_epoch, 1);
  EXPECT_EQ(count(joined.assignment), 3u);
  EXPECT_EQ(joined.heartbeat_interval_ms, 5'000);
  EXPECT_EQ(type(), "consumer");
  CommitOffsets request = commit(42);
  request.member_id = "m";
  request.generation = 1;
  request.knows_epochs = true;
  EXPECT_EQ(committed(request), Code::ok);
  request.generation = 2;
  EXPECT_EQ(committed(request), Code::stale_member_epoch);

  restart();
  EXPECT_EQ(type(), "consumer");
  EXPECT_EQ(coordinator_->metrics().members, 1);
  EXPECT_EQ(shown().members.at(0).assigned.at(0).partitions.size(), 3u);
  const ConsumerHeartbeatReply again = tell(beat("m", 1));
  EXPECT_EQ(again.code, Code::ok);
  EXPECT_EQ(again.member_epoch, 2);
  EXPECT_EQ(fetched().offset, 42);
  EXPECT_EQ(committed(request), Code::ok);
}

TEST_F(ConsumersTest, AnAnswerTellsOfNothingThatIsNotDurable) {
  kv_.is_inline = false;
  const auto reply = ask_later(beat("m", 0));
  EXPECT_FALSE(reply->has_value());
  const auto second = ask_later(beat("m", 1));  // changes nothing, and waits its turn
  EXPECT_FALSE(second->has_value());
  kv_.finish();
  EXPECT_EQ(std::get<ConsumerHeartbeatReply>(**reply).member_epoch, 1);
  EXPECT_EQ(std::get<ConsumerHeartbeatReply>(**second).member_epoch, 1);
  // Who waits for a write hears of the end.
  const auto third = ask_later(beat("n", 0));
  coordinator_.reset();
  EXPECT_EQ(std::get<Error>(**third).code, Code::shutting_down);
  kv_.finish();
}

TEST_F(ConsumersTest, AFailedWriteIsMadeUpForByTheNext) {
  kv_.fails_with = Code::storage_full;
  EXPECT_EQ(std::get<Error>(**ask_later(beat("m", 0))).code, Code::storage_full);
  kv_.fails_with = Code::ok;
  EXPECT_EQ(tell(beat("m", 0)).code, Code::ok);
  restart();
  EXPECT_EQ(tell(beat("m", 1)).code, Code::ok);
}

TEST_F(ConsumersTest, AMemberOfAGroupThatIsGoneJoinsAgain) {
  EXPECT_EQ(tell(beat("m", 7)).code, Code::unknown_member);
  EXPECT_EQ(tell(beat("m", -1)).code, Code::unknown_member);
  EXPECT_EQ(type(), "");
  EXPECT_EQ(tell(beat("", 0)).code, Code::invalid_argument);
  EXPECT_EQ(type(), "") << "who is refused leaves nothing behind";
  HeartbeatConsumer nameless = beat("m", 0);
  nameless.group.clear();
  EXPECT_EQ(tell(nameless).code, Code::invalid_argument);
}

TEST_F(ConsumersTest, IsShownAndDeletedAsItsKind) {
  tell(beat("m", 0));
  EXPECT_EQ(shown().state, "Stable");
  EXPECT_EQ(ask<DescribedGroups>(DescribeGroups{{"g"}}).groups.at(0).code, Code::group_not_found);
  EXPECT_EQ(ask<DeletedGroups>(DeleteGroups{{"g"}}).groups.at(0), Code::group_not_empty);
  DeleteOffsets offsets{"g", {{"t", {}}}, {{0, 0}}};
  EXPECT_EQ(ask<DeletedOffsets>(offsets).partitions.at(0), Code::group_not_empty);
  EXPECT_EQ(tell(beat("m", -1)).code, Code::ok);
  EXPECT_EQ(shown().state, "Empty");
  restart();
  EXPECT_EQ(shown().state, "Empty");
  EXPECT_EQ(ask<DeletedGroups>(DeleteGroups{{"g"}}).groups.at(0), Code::ok);
  EXPECT_EQ(shown().code, Code::group_not_found);
  restart();
  EXPECT_EQ(type(), "");
  EXPECT_TRUE(kv_.rows.empty());
}

TEST_F(ConsumersTest, ASilentMemberIsDroppedAlsoFromTheRows) {
  tell(beat("m", 0));
  core_.pass(options_.consumer_session_timeout_ms);
  EXPECT_EQ(coordinator_->metrics().members, 0);
  EXPECT_EQ(shown().state, "Empty");
  restart();
  EXPECT_EQ(coordinator_->metrics().members, 0);
}

TEST_F(ConsumersTest, Case52TopicsMadeAfterTheJoinAreAssigned) {
  HeartbeatConsumer request = beat("m", 0);
  request.topic_pattern = "la.er";
  tell(request);
  meta_.make("later", 2);
  EXPECT_EQ(count(tell(beat("m", 1)).assignment), 5u);
  meta_.drop("later");
  EXPECT_EQ(count(tell(beat("m", 2)).assignment), 3u);
}

TEST_F(ConsumersTest, Case53AClassicGroupIsUpgradedMemberByMember) {
  const std::string old = make_classic();
  // The first consumer of the new protocol makes the group one with server-side assignment; nothing is taken yet.
  ConsumerHeartbeatReply joined = tell(beat("new", 0));
  EXPECT_EQ(joined.code, Code::ok);
  EXPECT_EQ(joined.member_epoch, 2);
  EXPECT_EQ(count(joined.assignment), 0u);
  EXPECT_EQ(type(), "consumer");
  EXPECT_EQ(shown().members.size(), 2u);
  // The classic one is told to join again, gives back, and is given its part in its own protocol.
  EXPECT_EQ(classic_beat(old, 1), Code::rebalance_in_progress);
  JoinedGroup rejoined = ask<JoinedGroup>(classic_join(old, {{"t", {0, 1, 2}}}));
  EXPECT_EQ(rejoined.code, Code::ok);
  EXPECT_EQ(rejoined.generation, 1) << "it has to give back first";
  EXPECT_EQ(rejoined.protocol, "range");
  EXPECT_TRUE(rejoined.members.empty());
  const NamedPartitions kept = given(old, 1);
  ASSERT_EQ(kept.size(), 1u);
  EXPECT_EQ(kept[0].second.size(), 2u);
  EXPECT_EQ(count(tell(beat("new", 2)).assignment), 0u) << "the classic member has them all still";
  EXPECT_EQ(classic_beat(old, 1), Code::rebalance_in_progress);
  rejoined = ask<JoinedGroup>(classic_join(old, kept));
  EXPECT_EQ(rejoined.generation, 2);
  EXPECT_EQ(given(old, 2), kept);
  EXPECT_EQ(classic_beat(old, 2), Code::ok);
  EXPECT_EQ(count(tell(beat("new", 2)).assignment), 1u);
  EXPECT_EQ(shown().state, "Stable");
  CommitOffsets request = commit(1);
  request.member_id = old;
  request.generation = 2;
  EXPECT_EQ(committed(request), Code::ok);
  request.generation = 1;
  EXPECT_EQ(committed(request), Code::illegal_generation);
  // The classic one goes: the roll is over.
  EXPECT_EQ(ask<LeftGroup>(LeaveGroup{"g", {{old, {}}}}).members.at(0), Code::ok);
  EXPECT_EQ(count(tell(beat("new", 2)).assignment), 3u);
}

TEST_F(ConsumersTest, Case53TheLastMemberOfTheNewProtocolLeavesAClassicGroup) {
  const std::string old = make_classic();
  tell(beat("new", 0));
  EXPECT_EQ(tell(beat("new", -1)).code, Code::ok);
  EXPECT_EQ(type(), "classic");
  EXPECT_EQ(classic_beat(old, 3), Code::rebalance_in_progress);
  const JoinedGroup joined = ask<JoinedGroup>(classic_join(old));
  EXPECT_EQ(joined.code, Code::ok);
  EXPECT_EQ(joined.leader, old);
  EXPECT_GT(joined.generation, 2);
  EXPECT_EQ(joined.members.size(), 1u);
  restart();
  EXPECT_EQ(type(), "");
}

TEST_F(ConsumersTest, Case53AGroupThatCannotChangeStaysClassic) {
  options_.consumer_migration = GroupMigration::downgrade;
  restart();
  make_classic();
  EXPECT_EQ(tell(beat("new", 0)).code, Code::group_not_found);
  EXPECT_EQ(type(), "classic");
  options_.consumer_migration = GroupMigration::bidirectional;
  restart();
  ask<JoinedGroup>(join());  // its metadata is not a consumer's
  EXPECT_EQ(tell(beat("new", 0)).code, Code::group_not_found);
  EXPECT_EQ(type(), "classic");
}

TEST_F(ConsumersTest, Case53WhoWaitsInAClassicGroupIsToldToJoinAgain) {
  make_classic();
  const auto waiting = ask_later(classic_join(""));
  EXPECT_FALSE(waiting->has_value());
  tell(beat("new", 0));
  ASSERT_TRUE(waiting->has_value());
  EXPECT_EQ(std::get<JoinedGroup>(**waiting).code, Code::rebalance_in_progress);
}

TEST_F(ConsumersTest, Case53AnUpgradeWhileAGenerationIsMadeGivesNothingAway) {
  const std::string old = make_classic();
  const auto waiting = ask_later(classic_join(""));
  EXPECT_FALSE(waiting->has_value());
  // The first one has not joined again, and reads all of it.
  ConsumerHeartbeatReply joined = tell(beat("new", 0));
  EXPECT_EQ(joined.code, Code::ok);
  EXPECT_EQ(count(joined.assignment), 0u);
  EXPECT_EQ(count(tell(beat("new", joined.member_epoch)).assignment), 0u);
  EXPECT_EQ(classic_beat(old, 1), Code::rebalance_in_progress);
  const JoinedGroup again = ask<JoinedGroup>(classic_join(old, {}));
  EXPECT_EQ(again.code, Code::ok);
  EXPECT_GT(count(tell(beat("new", joined.member_epoch)).assignment), 0u) << "it has given everything back";
}

TEST_F(ConsumersTest, Case53AnUpgradeBeforeTheLeaderHasAssignedGivesNothingAway) {
  const std::string old = make_classic();
  const auto second = ask_later(classic_join(""));
  // A cooperative member keeps what it has while it joins.
  const JoinedGroup again = ask<JoinedGroup>(classic_join(old, {{"t", {0, 1, 2}}}));
  EXPECT_EQ(again.generation, 2);
  const auto other = std::get<JoinedGroup>(**second);
  EXPECT_EQ(count(tell(beat("new", 0)).assignment), 0u);
  for (const auto& member : shown().members) EXPECT_EQ(count_of(member.assigned), member.id == old ? 3u : 0u) << member.id;
}

TEST_F(ConsumersTest, Case53WhatACooperativeMemberHasNotGivenBackIsItsOwn) {
  const std::string old = make_classic();
  const auto second = ask_later(classic_join(""));
  const JoinedGroup again = ask<JoinedGroup>(classic_join(old, {{"t", {0, 1, 2}}}));
  const auto other = std::get<JoinedGroup>(**second);
  // The leader takes partition 2 away from the first one; nobody has it until that one joins again.
  SyncGroup sync = classic_sync(old == again.leader ? old : other.member_id, 2);
  sync.assignments = {{old, write_assignment({{"t", {0, 1}}})}, {other.member_id, write_assignment({})}};
  ask<SyncedGroup>(sync);
  EXPECT_EQ(count(tell(beat("new", 0)).assignment), 0u);
  for (const auto& member : shown().members) EXPECT_EQ(count_of(member.assigned), member.id == old ? 3u : 0u) << member.id;
}

TEST_F(ConsumersTest, AClassicMemberThatDoesNotJoinAgainInTimeIsDropped) {
  const std::string old = make_classic();
  tell(beat("new", 0));
  for (int i = 0; i < 8; ++i) {
    classic_beat(old, 1);
    tell(beat("new", 2));
    core_.pass(4'000);
  }
  EXPECT_EQ(shown().members.size(), 1u);
  EXPECT_EQ(classic_beat(old, 1), Code::unknown_member);
}

TEST_F(ConsumersTest, AnEmptyGroupTakesMembersOfEitherProtocol) {
  tell(beat("m", 0));
  tell(beat("m", -1));
  EXPECT_EQ(ask<JoinedGroup>(classic_join("")).code, Code::ok);
  EXPECT_EQ(type(), "classic");
  restart();
  committed(commit(1));
  EXPECT_EQ(type(), "classic");
  EXPECT_EQ(tell(beat("m", 0)).code, Code::ok);
  EXPECT_EQ(type(), "consumer");
}

TEST_F(ConsumersTest, AGroupsSettingsTakeEffectAndStay) {
  const auto configure = [&](std::string name, std::optional<std::string> value, std::string group = "g") {
    ConfigureGroups request;
    auto& one = request.groups.emplace_back();
    one.name = std::move(group);
    one.changes.push_back({std::move(name), std::move(value)});
    return ask<ConfiguredGroups>(request).groups.at(0).code;
  };
  EXPECT_EQ(configure("consumer_heartbeat_interval_ms", "9000"), Code::ok);
  EXPECT_EQ(configure("consumer_session_timeout_ms", "60000"), Code::ok);
  EXPECT_EQ(configure("consumer_session_timeout_ms", "60001"), Code::invalid_config);
  EXPECT_EQ(configure("consumer_session_timeout_ms", "1s"), Code::invalid_config);
  EXPECT_EQ(configure("retention_ms", "1"), Code::invalid_config);
  EXPECT_EQ(configure("consumer_session_timeout_ms", "60000", ""), Code::invalid_argument);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(tell(beat("m", 0)).heartbeat_interval_ms, 9'000);
    const auto all = ask<DescribedGroupConfigs>(DescribeGroupConfigs{true, {}}).groups;
    ASSERT_EQ(all.size(), 1u);
    EXPECT_EQ(all[0].settings.at(0).value, "60000");
    EXPECT_FALSE(all[0].settings[0].is_default);
    restart();
  }
  core_.pass(59'999);
  EXPECT_EQ(coordinator_->metrics().members, 1);
  core_.pass(1);
  EXPECT_EQ(coordinator_->metrics().members, 0);
  EXPECT_EQ(configure("consumer_session_timeout_ms", std::nullopt), Code::ok);
  EXPECT_EQ(configure("consumer_heartbeat_interval_ms", std::nullopt), Code::ok);
  EXPECT_TRUE(ask<DescribedGroupConfigs>(DescribeGroupConfigs{true, {}}).groups.empty());
  const auto plain = ask<DescribedGroupConfigs>(DescribeGroupConfigs{false, {"x"}}).groups;
  EXPECT_EQ(plain.at(0).settings.at(0).value, "45000");
  EXPECT_TRUE(plain[0].settings[0].is_default);
}

TEST(ConsumerProtocol, ReadsWhatConsumersWriteAndNothingElse) {
  const auto whole = read_subscription(subscription({"a", "b"}, {{"a", {0, 7}}}));
  ASSERT_TRUE(whole.has_value());
  EXPECT_TRUE(whole->is_whole);
  EXPECT_EQ(whole->topics, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(whole->owned, (NamedPartitions{{"a", {0, 7}}}));
  const Bytes bytes = subscription({"a", "b"}, {{"a", {0, 7}}});
  for (size_t size = 0; size < bytes.size(); ++size) {
    const auto cut = read_subscription(bytes.span().first(size));
    EXPECT_FALSE(cut && cut->is_whole) << size;
  }
  EXPECT_EQ(read_assignment(write_assignment({{"t", {2, 1}}, {"u", {}}})), (NamedPartitions{{"t", {2, 1}}, {"u", {}}}));
  EXPECT_EQ(read_assignment(Bytes::copy_of("m")), std::nullopt);
  // A count that the bytes cannot hold.
  EXPECT_EQ(read_assignment(Bytes::copy_of(std::string("\0\0\x7f\xff\xff\xff", 6))), std::nullopt);
}

TEST_F(ConsumersTest, ShowsTheLagOfEachPartition) {
  committed(commit(40));
  committed(commit(7, "t", 1));
  committed(commit(1, "t", 2, "with \"quotes\""));
  int asked = 0;
  coordinator_->look_at_lag([&](ListOffsets question, Callback<void(Reply)> done) {
    asked = static_cast<int>(question.partitions.size());
    ListedOffsets ends;
    for (const ListOffsetsPartition& one : question.partitions) {
      EXPECT_EQ(one.what, ListOffsetsPartition::What::latest);
      ends.partitions.push_back({one.partition == 1 ? Code::unknown_topic : Code::ok, 100, -1, 0});
    }
    done(std::move(ends));
  });
  core_.pass(options_.lag_check_ms);
  EXPECT_EQ(asked, 3);
  observe::MetricsSnapshot snapshot;
  coordinator_->add_lag(snapshot);
  ASSERT_EQ(snapshot.samples().size(), 2u);
  EXPECT_EQ(snapshot.samples()[0].labels, R"(group="g",topic="t",partition="0")");
  EXPECT_EQ(snapshot.samples()[0].value, 60);
  EXPECT_EQ(snapshot.samples()[1].labels, R"(group="with \"quotes\"",topic="t",partition="2")");
  committed(commit(90));
  observe::MetricsSnapshot later;
  coordinator_->add_lag(later);
  EXPECT_EQ(later.samples()[0].value, 10) << "what is committed counts at once";
}

TEST_F(ConsumersTest, ShowsNoMoreLagsThanTheLimit) {
  options_.lag_series_max = 2;
  restart();
  for (int32_t i = 0; i < 3; ++i) committed(commit(1, "t", i));
  coordinator_->look_at_lag([&](ListOffsets question, Callback<void(Reply)>) { EXPECT_EQ(question.partitions.size(), 2u); });
  core_.pass(options_.lag_check_ms);
  EXPECT_EQ(coordinator_->metrics().lag_left_out, 1);
}

TEST_F(ConsumersTest, LooksAtNoMoreLagsThanTheLimit) {
  options_.lag_series_max = 2;
  restart();
  for (const std::string group : {"a", "b", "c"}) committed(commit(1, "t", 0, group));
  coordinator_->look_at_lag([](const ListOffsets& question, Callback<void(Reply)> done) {
    ListedOffsets ends;
    ends.partitions.resize(question.partitions.size(), {Code::ok, 100, -1, 0});
    done(std::move(ends));
  });
  core_.pass(options_.lag_check_ms);
  observe::MetricsSnapshot snapshot;
  coordinator_->add_lag(snapshot);
  EXPECT_EQ(snapshot.samples().size(), 2u);
  EXPECT_EQ(coordinator_->metrics().lag_left_out, 1);
}

TEST_F(ConsumersTest, AMemberWhoseRemovalCouldNotBeWrittenIsRemovedWithTheNextChange) {
  tell(beat("a", 0));
  tell(beat("b", 0));
  ASSERT_TRUE(kv_.rows.contains(group_member_key(kDefaultTenant, "g", "a")));
  kv_.fails_with = Code::storage_full;
  const auto left = ask_later(beat("a", -1));
  ASSERT_TRUE(left->has_value());
  EXPECT_EQ(std::get<Error>(**left).code, Code::storage_full);
  kv_.fails_with = Code::ok;
  EXPECT_EQ(tell(beat("b", 0)).code, Code::ok);
  EXPECT_FALSE(kv_.rows.contains(group_member_key(kDefaultTenant, "g", "a")));
  restart();
  EXPECT_EQ(shown().members.size(), 1u);
}

TEST_F(ConsumersTest, BoundsTheExpressionsOfAllGroups) {
  options_.consumer_patterns_max = 1;
  restart();
  const auto follow = [&](std::string group, std::string member, std::string pattern) {
    HeartbeatConsumer request = beat(std::move(member), 0);
    request.group = std::move(group);
    request.topics.reset();
    request.topic_pattern = std::move(pattern);
    return tell(request).code;
  };
  EXPECT_EQ(follow("g", "m", "t.*"), Code::ok);
  EXPECT_EQ(coordinator_->metrics().patterns, 1);
  EXPECT_EQ(follow("g", "n", "t.*"), Code::ok) << "it is there";
  EXPECT_EQ(follow("g", "o", "u.*"), Code::quota_exceeded);
  EXPECT_EQ(follow("h", "m", "u.*"), Code::quota_exceeded);
  tell(beat("m", -1));
  tell(beat("n", -1));
  EXPECT_EQ(coordinator_->metrics().patterns, 0);
  EXPECT_EQ(follow("h", "m", "u.*"), Code::ok);
}

TEST_F(ConsumersTest, BoundsTheGroupsWithSettingsOfTheirOwn) {
  options_.configs_max = 1;
  restart();
  const auto configure = [&](std::string group, std::optional<std::string> value) {
    ConfigureGroups request;
    auto& one = request.groups.emplace_back();
    one.name = std::move(group);
    one.changes.push_back({"consumer_heartbeat_interval_ms", std::move(value)});
    return ask<ConfiguredGroups>(request).groups.at(0).code;
  };
  EXPECT_EQ(configure("a", "9000"), Code::ok);
  EXPECT_EQ(configure("b", "9000"), Code::quota_exceeded);
  EXPECT_EQ(configure("a", "8000"), Code::ok) << "it has some";
  EXPECT_EQ(configure("a", std::nullopt), Code::ok);
  EXPECT_EQ(configure("b", "9000"), Code::ok);
}

TEST_F(ConsumersTest, DamagedRowsAreNotOverlooked) {
  kv_.rows[group_member_key(kDefaultTenant, "g", "m")] = "?";
  coordinator_ = std::make_unique<GroupCoordinator>(core_, kv_, meta_, options_);
  Status status;
  coordinator_->start([&](Status result) { status = result; });
  EXPECT_EQ(status.code(), Code::corrupt_storage);
  EXPECT_EQ(std::get<Error>(**ask_later(beat("m", 0))).code, Code::coordinator_loading);
}

}  // namespace
}  // namespace robustmq::broker
