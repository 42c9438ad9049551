#include "broker/group/coordinator.h"

#include <gtest/gtest.h>

#include "base/wire.h"
#include "broker/group/coordinator_rig.h"

namespace robustmq::broker {
namespace {

TEST_F(CoordinatorTest, RunsAGroupFromJoinToLeave) {
  const JoinedGroup first = ask<JoinedGroup>(join());
  EXPECT_EQ(first.code, Code::ok);
  EXPECT_TRUE(first.member_id.starts_with("client-"));
  SyncGroup sync;
  sync.group = "g";
  sync.member_id = first.member_id;
  sync.generation = first.generation;
  sync.assignments = {{first.member_id, Bytes::copy_of("all")}};
  EXPECT_EQ(ask<SyncedGroup>(sync).assignment.text(), "all");
  EXPECT_EQ(ask<HeartbeatReply>(HeartbeatGroup{"g", first.member_id, {}, 1}).code, Code::ok);

  const auto second = ask_later(join());
  EXPECT_FALSE(second->has_value());
  EXPECT_EQ(ask<HeartbeatReply>(HeartbeatGroup{"g", first.member_id, {}, 1}).code, Code::rebalance_in_progress);
  EXPECT_EQ(ask<JoinedGroup>(join(first.member_id)).members.size(), 2u);
  ASSERT_TRUE(second->has_value());
  EXPECT_EQ(std::get<JoinedGroup>(**second).generation, 2);

  EXPECT_EQ(ask<LeftGroup>(LeaveGroup{"g", {{first.member_id, {}}, {"stranger", {}}}}).members,
            (std::vector{Code::ok, Code::unknown_member}));
  EXPECT_EQ(coordinator_->metrics().members, 1);
  EXPECT_EQ(ask<ListedGroups>(ListGroups{}).groups.at(0).state, "PreparingRebalance");
  core_.pass(30'000);
  EXPECT_EQ(coordinator_->metrics().members, 0);
  EXPECT_EQ(ask<ListedGroups>(ListGroups{}).groups.at(0).state, "Empty");
  EXPECT_EQ(ask<ListedGroups>(ListGroups{}).groups.at(0).protocol_type, "consumer");
}

TEST_F(CoordinatorTest, RefusesWhatNamesNoGroupOrAnUnknownOne) {
  JoinGroup nameless = join();
  nameless.group.clear();
  EXPECT_EQ(ask<JoinedGroup>(nameless).code, Code::invalid_group);
  EXPECT_EQ(ask<JoinedGroup>(join("stranger")).code, Code::unknown_member);
  EXPECT_EQ(ask<SyncedGroup>(SyncGroup{"g", "m", {}, 1, "", "", {}}).code, Code::unknown_member);
  EXPECT_EQ(ask<HeartbeatReply>(HeartbeatGroup{"g", "m", {}, 1}).code, Code::unknown_member);
  EXPECT_EQ(ask<LeftGroup>(LeaveGroup{"g", {{"m", {}}}}).members.at(0), Code::unknown_member);
  const DescribedGroup one = ask<DescribedGroups>(DescribeGroups{{"g"}}).groups.at(0);
  EXPECT_EQ(one.code, Code::group_not_found);
  EXPECT_EQ(one.state, "Dead");
  EXPECT_TRUE(ask<ListedGroups>(ListGroups{}).groups.empty());
}

TEST_F(CoordinatorTest, ARefusedFirstMemberLeavesNoGroup) {
  JoinGroup bad = join();
  bad.session_timeout_ms = 1;
  EXPECT_EQ(ask<JoinedGroup>(bad).code, Code::invalid_session_timeout);
  EXPECT_TRUE(ask<ListedGroups>(ListGroups{}).groups.empty());
  EXPECT_EQ(coordinator_->metrics().groups, 0);
}

TEST_F(CoordinatorTest, KeepsCommittedOffsetsOverARestart) {
  EXPECT_EQ(committed(commit(42)), Code::ok);
  EXPECT_EQ(committed(commit(43, "t", 2)), Code::ok);
  for (int i = 0; i < 2; ++i) {
    const FetchedOffsets::One one = fetched();
    EXPECT_EQ(one.offset, 42);
    EXPECT_EQ(one.leader_epoch, 5);
    EXPECT_EQ(one.metadata, "note");
    EXPECT_EQ(one.topic, "t");
    EXPECT_EQ(fetched("t", 2).offset, 43);
    EXPECT_EQ(fetched("t", 1).offset, -1);
    EXPECT_EQ(fetched("t", 1).code, Code::ok);
    EXPECT_EQ(fetched("missing").offset, -1);
    EXPECT_EQ(fetched("t", 0, "other").offset, -1);
    EXPECT_EQ(all().offsets.size(), 2u);
    EXPECT_EQ(ask<ListedGroups>(ListGroups{}).groups.size(), 1u);
    EXPECT_EQ(coordinator_->metrics().offsets, 2);
    restart();
  }
}

TEST_F(CoordinatorTest, LoadsMoreRowsThanAPage) {
  meta_.make("wide", 2500);
  CommitOffsets many = commit(1, "wide");
  many.offsets.clear();
  for (int32_t i = 0; i < 2500; ++i) many.offsets.push_back({0, i, i, -1, ""});
  ask<CommittedOffsets>(many);
  restart();
  EXPECT_EQ(all().offsets.size(), 2500u);
  EXPECT_EQ(fetched("wide", 2499).offset, 2499);
}

TEST_F(CoordinatorTest, AnswersACommitOnceItIsDurable) {
  kv_.is_inline = false;
  const auto reply = ask_later(commit(7));
  EXPECT_FALSE(reply->has_value());
  EXPECT_EQ(fetched().offset, -1);
  kv_.finish();
  EXPECT_EQ(std::get<CommittedOffsets>(**reply).offsets.at(0), Code::ok);
  EXPECT_EQ(fetched().offset, 7);
}

TEST_F(CoordinatorTest, AFailedWriteChangesNothing) {
  committed(commit(7));
  kv_.fails_with = Code::storage_full;
  EXPECT_EQ(committed(commit(8)), Code::storage_full);
  EXPECT_EQ(fetched().offset, 7);
  EXPECT_EQ(ask<DeletedGroups>(DeleteGroups{{"g"}}).groups.at(0), Code::storage_full);
  EXPECT_EQ(fetched().offset, 7);
}

TEST_F(CoordinatorTest, ChecksEachOffset) {
  CommitOffsets mixed = commit(1);
  mixed.topics = {{"t", {}}, {"missing", {}}, {"", Uuid::random(9, 9)}, {"", meta_.find(kDefaultTenant, "t")->id}};
  mixed.offsets = {{0, 0, 1, -1, ""},
                   {0, 3, 1, -1, ""},
                   {0, -1, 1, -1, ""},
                   {1, 0, 1, -1, ""},
                   {2, 0, 1, -1, ""},
                   {3, 1, 1, -1, ""},
                   {0, 2, 1, -1, std::string(4096, 'x')},
                   {0, 2, 1, -1, std::string(4097, 'x')}};
  EXPECT_EQ(ask<CommittedOffsets>(mixed).offsets,
            (std::vector{Code::ok, Code::unknown_topic, Code::unknown_topic, Code::unknown_topic, Code::unknown_topic_id,
                         Code::ok, Code::ok, Code::metadata_too_large}));
  FetchOffsets by_id;
  by_id.group = "g";
  by_id.topics = {{"", meta_.find(kDefaultTenant, "t")->id}, {"", Uuid::random(9, 9)}};
  by_id.partitions = {{0, 1}, {1, 0}};
  const FetchedOffsets reply = ask<FetchedOffsets>(by_id);
  EXPECT_EQ(reply.offsets.at(0).offset, 1);
  EXPECT_EQ(reply.offsets.at(0).topic, "t");
  EXPECT_EQ(reply.offsets.at(1).code, Code::unknown_topic_id);
}

TEST_F(CoordinatorTest, ChecksWhoCommits) {
  CommitOffsets request = commit(1);
  request.generation = 1;
  EXPECT_EQ(committed(request), Code::illegal_generation);
  request.generation = -1;
  request.member_id = "m";
  EXPECT_EQ(committed(request), Code::ok) << "outside a generation a group without members takes it from anyone";
  const JoinedGroup member = ask<JoinedGroup>(join());
  EXPECT_EQ(committed(commit(1)), Code::unknown_member);
  request.member_id = member.member_id;
  request.generation = 1;
  EXPECT_EQ(committed(request), Code::rebalance_in_progress);
  SyncGroup sync;
  sync.group = "g";
  sync.member_id = member.member_id;
  sync.generation = 1;
  ask<SyncedGroup>(sync);
  EXPECT_EQ(committed(request), Code::ok);
}

TEST_F(CoordinatorTest, TellsThatATopicIsNotThereWhateverElseIsWrong) {
  CommitOffsets request = commit(1);
  request.generation = 1;
  request.topics.push_back({"nope", {}});
  request.offsets = {{0, 0, 1, -1, ""}, {0, 9, 1, -1, ""}, {1, 0, 1, -1, ""}};
  const std::vector<Code> some = {Code::illegal_generation, Code::unknown_topic, Code::unknown_topic};
  EXPECT_EQ(ask<CommittedOffsets>(request).offsets, some);
  request.offsets.erase(request.offsets.begin());
  const std::vector<Code> none = {Code::unknown_topic, Code::unknown_topic};
  EXPECT_EQ(ask<CommittedOffsets>(request).offsets, none);
  request.generation = -1;
  request.offsets = {{0, 0, 1, -1, std::string(4097, 'x')}};
  EXPECT_EQ(committed(request), Code::metadata_too_large);
  EXPECT_TRUE(ask<ListedGroups>(ListGroups{}).groups.empty()) << "and no group is made";
}

TEST_F(CoordinatorTest, AnIdThatWasGivenOutKeepsNoGroupFromBeingDeleted) {
  JoinGroup first = join();
  first.member_id_required = true;
  EXPECT_EQ(ask<JoinedGroup>(first).code, Code::member_id_required);
  EXPECT_EQ(ask<DeletedGroups>(DeleteGroups{{"g"}}).groups.at(0), Code::ok);
  EXPECT_TRUE(ask<ListedGroups>(ListGroups{}).groups.empty());
}

TEST_F(CoordinatorTest, TakesAResolvedLightTopicAsItIs) {
  CommitOffsets light = commit(9);
  light.topics = {{"sensors.a", Uuid::random(77, 77)}};
  EXPECT_EQ(committed(light), Code::ok);
  FetchOffsets fetch;
  fetch.group = "g";
  fetch.topics = light.topics;
  fetch.partitions = {{0, 0}};
  EXPECT_EQ(ask<FetchedOffsets>(fetch).offsets.at(0).offset, 9);
  EXPECT_EQ(all().offsets.at(0).topic, "sensors.a");
}

TEST_F(CoordinatorTest, OffsetsVanishWithTheirTopicsIncarnation) {
  committed(commit(42));
  committed(commit(1, "t", 0, "h"));
  meta_.drop("t");
  EXPECT_TRUE(kv_.rows.empty());
  EXPECT_TRUE(all().offsets.empty());
  meta_.make("t", 3);
  EXPECT_EQ(fetched().offset, -1);
}

TEST_F(CoordinatorTest, OffsetsOfATopicDeletedUnseenAreNotShown) {
  committed(commit(42));
  coordinator_.reset();
  meta_.drop("t");
  restart();
  EXPECT_TRUE(all().offsets.empty());
  meta_.make("t", 1);
  EXPECT_EQ(fetched().offset, -1);
  core_.pass(options_.offsets_retention_check_ms);
  EXPECT_TRUE(kv_.rows.empty());
}

TEST_F(CoordinatorTest, DeletesEmptyGroupsOnly) {
  committed(commit(1));
  committed(commit(1, "t", 0, "g2"));
  ask<JoinedGroup>([] {
    JoinGroup other = join();
    other.group = "busy";
    return other;
  }());
  EXPECT_EQ(ask<DeletedGroups>(DeleteGroups{{"g", "busy", "missing"}}).groups,
            (std::vector{Code::ok, Code::group_not_empty, Code::group_not_found}));
  EXPECT_EQ(kv_.rows.size(), 1u);
  EXPECT_EQ(fetched("t", 0, "g2").offset, 1);
  EXPECT_EQ(ask<DescribedGroups>(DescribeGroups{{"g"}}).groups.at(0).code, Code::group_not_found);
}

TEST_F(CoordinatorTest, DoesNotDeleteAGroupWithACommitUnderWay) {
  kv_.is_inline = false;
  const auto reply = ask_later(commit(7));
  EXPECT_EQ(ask<DeletedGroups>(DeleteGroups{{"g"}}).groups.at(0), Code::group_not_empty);
  kv_.finish();
  EXPECT_TRUE(reply->has_value());
}

TEST_F(CoordinatorTest, ExpiresOffsetsOfGroupsLongEmpty) {
  options_.offsets_retention_ms = 1'000'000;
  restart();
  committed(commit(1));
  core_.pass(1'000'000);
  EXPECT_EQ(fetched().offset, 1);
  core_.pass(options_.offsets_retention_check_ms);
  EXPECT_EQ(fetched().offset, -1);
  EXPECT_TRUE(kv_.rows.empty());
  core_.pass(options_.offsets_retention_check_ms);
  EXPECT_TRUE(ask<ListedGroups>(ListGroups{}).groups.empty());
}

TEST_F(CoordinatorTest, AGroupWithMembersKeepsItsOffsets) {
  options_.offsets_retention_ms = 100'000;
  options_.offsets_retention_check_ms = 1'000;
  restart();
  committed(commit(1));
  JoinGroup member = join();
  member.session_timeout_ms = 500'000;
  member.rebalance_timeout_ms = 500'000;
  ask<JoinedGroup>(member);
  core_.pass(400'000);
  EXPECT_EQ(fetched().offset, 1);
  core_.pass(100'001);  // its session ended: the age counts from now
  EXPECT_EQ(fetched().offset, 1);
  core_.pass(102'000);
  EXPECT_EQ(fetched().offset, -1);
}

// A consumer's metadata: ConsumerProtocolSubscription of version 0.
Bytes subscription_to(std::vector<std::string> topics) {
  std::string bytes{0, 0, 0, 0, 0, static_cast<char>(topics.size())};
  for (const std::string& topic : topics) {
    bytes += '\0';
    bytes += static_cast<char>(topic.size());
    bytes += topic;
  }
  return Bytes::copy_of(bytes);
}

TEST_F(CoordinatorTest, Case48SubscribedTopicsDoNotExpireAndOthersDo) {
  meta_.make("other", 1);
  options_.offsets_retention_ms = 100'000;
  options_.offsets_retention_check_ms = 1'000;
  restart();
  committed(commit(1));
  committed(commit(2, "other"));
  JoinGroup member = join();
  member.protocols = {{"range", subscription_to({"t"})}};
  member.session_timeout_ms = 500'000;
  member.rebalance_timeout_ms = 500'000;
  ask<JoinedGroup>(member);
  core_.pass(99'000);
  EXPECT_EQ(fetched("other").offset, 2);
  core_.pass(3'000);
  EXPECT_EQ(fetched("other").offset, -1);
  EXPECT_EQ(fetched().offset, 1);
}

TEST_F(CoordinatorTest, Case48ARetentionAskedForCounts) {
  options_.offsets_retention_ms = 100'000;
  options_.offsets_retention_check_ms = 1'000;
  restart();
  CommitOffsets briefly = commit(1);
  briefly.retention_ms = 5'000;
  committed(briefly);
  CommitOffsets longer = commit(2, "t", 1);
  longer.retention_ms = 300'000;
  committed(longer);
  core_.pass(7'000);
  EXPECT_EQ(fetched().offset, -1);
  core_.pass(200'000);
  EXPECT_EQ(fetched("t", 1).offset, 2);
  core_.pass(100'000);
  EXPECT_EQ(fetched("t", 1).offset, -1);
}

TEST_F(CoordinatorTest, Case49DeletesOffsetsOfTopicsThatNobodyFollows) {
  meta_.make("other", 2);
  committed(commit(1));
  committed(commit(2, "other"));
  JoinGroup member = join();
  member.protocols = {{"range", subscription_to({"t"})}};
  ask<JoinedGroup>(member);
  DeleteOffsets remove{"g", {{"t", {}}, {"other", {}}, {"missing", {}}}, {{0, 0}, {1, 0}, {1, 1}, {1, 9}, {2, 0}}};
  const DeletedOffsets deleted = ask<DeletedOffsets>(remove);
  EXPECT_EQ(deleted.code, Code::ok);
  EXPECT_EQ(deleted.partitions,
            (std::vector{Code::group_not_empty, Code::ok, Code::ok, Code::unknown_topic, Code::unknown_topic}));
  EXPECT_EQ(fetched().offset, 1);
  EXPECT_EQ(fetched("other").offset, -1);
  remove.group = "missing";
  EXPECT_EQ(ask<DeletedOffsets>(remove).code, Code::group_not_found);
}

TEST_F(CoordinatorTest, Case49DoesNotDeleteOffsetsWhereItCannotTellWhatIsFollowed) {
  committed(commit(1));
  ask<JoinedGroup>(join());  // its metadata says nothing
  EXPECT_EQ(ask<DeletedOffsets>(DeleteOffsets{"g", {{"t", {}}}, {{0, 0}}}).code, Code::group_not_empty);
  EXPECT_EQ(fetched().offset, 1);
}

TEST_F(CoordinatorTest, BoundsGroupsAndOffsets) {
  options_.groups_max = 2;
  options_.offsets_max = 3;
  restart();
  EXPECT_EQ(committed(commit(1, "t", 0)), Code::ok);
  EXPECT_EQ(committed(commit(1, "t", 1)), Code::ok);
  EXPECT_EQ(committed(commit(1, "t", 2)), Code::ok);
  EXPECT_EQ(committed(commit(1, "t", 0, "h")), Code::quota_exceeded);
  EXPECT_EQ(committed(commit(2, "t", 2)), Code::ok);
  EXPECT_EQ(coordinator_->metrics().offsets_refused_total, 1u);
  // "h" holds a place without offsets; it makes room for one that needs it.
  JoinGroup other = join();
  other.group = "i";
  EXPECT_EQ(ask<JoinedGroup>(other).code, Code::ok);
  other.group = "j";
  EXPECT_EQ(ask<JoinedGroup>(other).code, Code::quota_exceeded);
}

TEST_F(CoordinatorTest, KeepsTenantsApart) {
  committed(commit(1));
  EXPECT_TRUE(ask<ListedGroups>(ListGroups{}, 7).groups.empty());
  FetchOffsets fetch;
  fetch.group = "g";
  fetch.all = true;
  EXPECT_TRUE(ask<FetchedOffsets>(fetch, 7).offsets.empty());
  EXPECT_EQ(ask<CommittedOffsets>(commit(1), 7).offsets.at(0), Code::unknown_topic);
}

TEST_F(CoordinatorTest, AnswersEverybodyWhenItEnds) {
  ask<JoinedGroup>(join());
  const auto waiting = ask_later(join());
  coordinator_.reset();
  EXPECT_EQ(std::get<Error>(**waiting).code, Code::shutting_down);
}

TEST_F(CoordinatorTest, LoadsBeforeItAnswers) {
  GroupCoordinator fresh(core_, kv_, meta_, options_);
  std::optional<Reply> reply;
  fresh.execute(kDefaultTenant, ListGroups{}, [&](Reply answer) { reply = std::move(answer); });
  EXPECT_EQ(std::get<Error>(*reply).code, Code::coordinator_loading);
  kv_.rows["group.offset/x"] = "?";
  Status status;
  fresh.start([&](Status result) { status = result; });
  EXPECT_EQ(status.code(), Code::corrupt_storage);
}

TEST(Offsets, KeysSortByGroupAndComeBack) {
  const ShardId shard{Uuid::random(1, 2), 258};
  const std::string key = offset_key(5, "a/b", shard);
  const Result<OffsetKey> back = parse_offset_key(key);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->tenant, 5u);
  EXPECT_EQ(back->group, "a/b");
  EXPECT_EQ(back->shard, shard);
  EXPECT_FALSE(parse_offset_key(key.substr(1)).ok());
  EXPECT_FALSE(parse_offset_key(key + "x").ok());
  EXPECT_LT(offset_key(5, "a", {shard.topic, 1}), offset_key(5, "a", {shard.topic, 256}));
  EXPECT_LT(offset_key(5, "zz", shard), offset_key(6, "a", shard));
}

}  // namespace
}  // namespace robustmq::broker
