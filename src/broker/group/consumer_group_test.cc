#include "broker/group/consumer_group.h"

#include <gtest/gtest.h>

#include "broker/group/consumer_group_rig.h"

namespace robustmq::broker {
namespace {

struct ConsumerGroupTest : testing::Test {
  ConsumerLab lab;
  TopicId t = lab.topics.make("t", 4);

  FakeConsumer consumer(std::string id) { return FakeConsumer{lab, std::move(id)}; }
  FakeConsumer fixed(std::string id, std::string instance) {
    FakeConsumer made{lab, std::move(id)};
    made.instance = std::move(instance);
    return made;
  }
  Code code_of(HeartbeatConsumer request) { return lab.beat(request).code; }
};

using Case50 = ConsumerGroupTest;
using Case51 = ConsumerGroupTest;
using Case52 = ConsumerGroupTest;

TEST_F(ConsumerGroupTest, GivesTheFirstMemberEverything) {
  FakeConsumer a = consumer("a");
  EXPECT_EQ(a.beat(), Code::ok);
  EXPECT_EQ(a.epoch, 1);
  EXPECT_EQ(a.owned.size(), 4u);
  EXPECT_EQ(lab.group->state_name(), "Stable");
  const DescribedConsumers::One shown = lab.group->describe();
  EXPECT_EQ(shown.epoch, 1);
  EXPECT_EQ(shown.assignment_epoch, 1);
  EXPECT_EQ(shown.assignor, "uniform");
  ASSERT_EQ(shown.members.size(), 1u);
  EXPECT_EQ(shown.members[0].topics, std::vector<std::string>{"t"});
  EXPECT_EQ(shown.members[0].assigned.at(0).name, "t");
  EXPECT_EQ(shown.members[0].target.at(0).partitions.size(), 4u);
  EXPECT_FALSE(shown.members[0].is_classic);
}

TEST_F(Case50, TheFirstHeartbeatIsFull) {
  EXPECT_EQ(code_of(ConsumerLab::join("")), Code::invalid_argument);
  HeartbeatConsumer drawn_here = ConsumerLab::join("");
  drawn_here.must_draw_id = false;  // version 0
  const ConsumerHeartbeatReply reply = lab.beat(drawn_here);
  EXPECT_EQ(reply.code, Code::ok);
  EXPECT_TRUE(reply.member_id.starts_with("drawn"));

  const auto broken = [](auto change) {
    HeartbeatConsumer request = ConsumerLab::join("m");
    change(request);
    return request;
  };
  EXPECT_EQ(code_of(broken([](auto& r) { r.rebalance_timeout_ms = -1; })), Code::invalid_argument);
  EXPECT_EQ(code_of(broken([](auto& r) { r.owned.reset(); })), Code::invalid_argument);
  EXPECT_EQ(code_of(broken([&](auto& r) { r.owned = {{t, {0}}}; })), Code::invalid_argument);
  EXPECT_EQ(code_of(broken([](auto& r) { r.topics.reset(); })), Code::invalid_argument);
  EXPECT_EQ(code_of(broken([](auto& r) { r.member_epoch = -3; })), Code::invalid_argument);
  EXPECT_EQ(code_of(broken([](auto& r) { r.member_epoch = -2; })), Code::invalid_argument);
  EXPECT_EQ(code_of(broken([](auto& r) { r.instance_id = ""; })), Code::invalid_argument);
  EXPECT_EQ(code_of(broken([](auto& r) { r.rack_id = ""; })), Code::invalid_argument);
  EXPECT_EQ(code_of(broken([](auto& r) { r.assignor = "sticky"; })), Code::unsupported_assignor);
  // An empty list is a subscription to nothing.
  HeartbeatConsumer none = broken([](auto& r) { r.topics->clear(); });
  EXPECT_EQ(lab.beat(none).assignment, std::vector<AssignedTopic>{});
}

TEST_F(Case50, NullIsUnchangedAndEmptyIsNone) {
  FakeConsumer a = consumer("a");
  a.beat();
  HeartbeatConsumer request = ConsumerLab::idle("a", a.epoch);
  ConsumerHeartbeatReply reply = lab.beat(request);
  EXPECT_EQ(reply.code, Code::ok);
  EXPECT_EQ(reply.assignment, std::nullopt);
  EXPECT_EQ(reply.member_epoch, 1);
  request.topics.emplace();
  request.owned = a.owned_topics();
  reply = lab.beat(request);
  EXPECT_EQ(reply.member_epoch, 1) << "it has to give back first";
  ASSERT_TRUE(reply.assignment.has_value());
  EXPECT_TRUE(reply.assignment->empty());
  request.topics.reset();
  request.owned.emplace();
  EXPECT_EQ(lab.beat(request).member_epoch, 2);
  EXPECT_TRUE(lab.member("a").topics.empty());
}

TEST_F(Case50, AMemberLeavesWithMinusOne) {
  FakeConsumer a = consumer("a"), b = consumer("b");
  a.beat();
  EXPECT_EQ(a.leave(), Code::ok);
  EXPECT_EQ(lab.group->state_name(), "Empty");
  EXPECT_EQ(a.leave(), Code::unknown_member);
  b.beat();
  EXPECT_EQ(b.owned.size(), 4u);
  EXPECT_EQ(code_of(ConsumerLab::idle("a", 1)), Code::unknown_member);
}

TEST_F(Case50, AStaticMemberThatLeavesForAWhileKeepsItsPlace) {
  FakeConsumer a = fixed("a", "i1"), b = consumer("b");
  a.beat();
  const Partitions had = a.owned;
  EXPECT_EQ(a.leave(-2), Code::ok);
  EXPECT_EQ(lab.member("a").epoch, -2);
  EXPECT_EQ(lab.group->epoch(), 1);
  // Another process of the instance, with another id, gets what the first had.
  FakeConsumer again = fixed("a2", "i1");
  EXPECT_EQ(again.beat(), Code::ok);
  EXPECT_EQ(again.owned, had);
  EXPECT_EQ(lab.group->epoch(), 1) << "nobody else was disturbed";
  EXPECT_EQ(code_of(ConsumerLab::idle("a", 1)), Code::unknown_member);
  HeartbeatConsumer old = ConsumerLab::idle("a", 1);
  old.instance_id = "i1";
  EXPECT_EQ(code_of(old), Code::fenced_instance);
  // One that does not come back is dropped when its session ends.
  again.leave(-2);
  lab.pass(lab.options.consumer_session_timeout_ms);
  EXPECT_EQ(lab.group->state_name(), "Empty");
}

TEST_F(Case50, AnInstanceInUseIsNotReleased) {
  FakeConsumer a = fixed("a", "i1");
  a.beat();
  FakeConsumer b = fixed("b", "i1");
  EXPECT_EQ(b.beat(), Code::unreleased_instance);
  // Its own process may join again.
  a.lose_all();
  EXPECT_EQ(a.beat(), Code::ok);
  EXPECT_EQ(a.owned.size(), 4u);
  HeartbeatConsumer stranger = ConsumerLab::idle("b", 1);
  stranger.instance_id = "other";
  EXPECT_EQ(code_of(stranger), Code::unknown_member);
}

TEST_F(Case51, APartitionIsGivenWhenTheOldOwnerHasGivenItBack) {
  FakeConsumer a = consumer("a"), b = consumer("b");
  a.beat();
  b.beat();
  EXPECT_EQ(b.epoch, 2);
  EXPECT_TRUE(b.owned.empty());
  EXPECT_EQ(lab.group->state_name(), "Reconciling");
  a.is_slow = true;
  a.beat();
  EXPECT_EQ(a.epoch, 1) << "keeps its epoch until it has given back";
  EXPECT_EQ(a.given.size(), 2u);
  b.beat();
  EXPECT_TRUE(b.owned.empty());
  a.is_slow = false;
  a.beat();
  EXPECT_EQ(a.epoch, 2);
  b.beat();
  EXPECT_EQ(b.owned.size(), 2u);
  EXPECT_EQ(lab.group->state_name(), "Stable");
}

TEST_F(Case51, WhoDoesNotGiveBackInTimeIsDropped) {
  FakeConsumer a = consumer("a"), b = consumer("b");
  a.beat();
  b.beat();
  a.is_slow = true;
  for (int i = 0; i < 12; ++i) {
    a.beat();
    b.beat();
    lab.pass(5'000);
  }
  EXPECT_EQ(lab.metrics.members_expired_total, 1u);
  b.beat();
  EXPECT_EQ(b.owned.size(), 4u);
  EXPECT_EQ(a.beat(), Code::unknown_member);
  a.is_slow = false;
  EXPECT_EQ(a.beat(), Code::ok);  // joins again
}

TEST_F(Case51, WhoIsSilentIsDropped) {
  FakeConsumer a = consumer("a"), b = consumer("b");
  a.beat();
  lab.pass(lab.options.consumer_session_timeout_ms - 1);
  b.beat();
  lab.pass(1);
  b.beat();
  EXPECT_EQ(b.owned.size(), 4u);
  EXPECT_EQ(a.beat(), Code::unknown_member);
}

TEST_F(Case51, OtherEpochsAreFencedButTheOneBeforeWhereAnAnswerWasLost) {
  FakeConsumer a = consumer("a"), b = consumer("b");
  a.beat();
  b.beat();
  a.beat();
  a.beat();
  EXPECT_EQ(a.epoch, 2);
  EXPECT_EQ(code_of(ConsumerLab::idle("a", 3)), Code::fenced_member_epoch);
  EXPECT_EQ(code_of(ConsumerLab::idle("a", 1)), Code::fenced_member_epoch);
  HeartbeatConsumer late = ConsumerLab::idle("a", 1);
  late.owned = a.owned_topics();
  const ConsumerHeartbeatReply reply = lab.beat(late);
  EXPECT_EQ(reply.code, Code::ok);
  EXPECT_EQ(reply.member_epoch, 2);
  late.owned = {{t, {0, 1, 2, 3}}};
  EXPECT_EQ(code_of(late), Code::fenced_member_epoch);
  // A member that was fenced joins with epoch 0, and has nothing then.
  a.lose_all();
  a.beat();
  EXPECT_EQ(a.owned.size(), 2u);
}

TEST_F(Case52, CommitsAndFetchesNameTheEpochOfTheMoment) {
  FakeConsumer a = consumer("a"), b = consumer("b");
  a.beat();
  CommitOffsets commit;
  commit.member_id = "a";
  commit.generation = 1;
  commit.knows_epochs = true;
  EXPECT_EQ(lab.group->check_commit(commit), Code::ok);
  commit.knows_epochs = false;
  EXPECT_EQ(lab.group->check_commit(commit), Code::not_supported);
  commit.knows_epochs = true;
  b.beat();
  a.beat();
  EXPECT_EQ(lab.group->check_commit(commit), Code::ok) << "before it gives back it commits";
  a.beat();
  EXPECT_EQ(lab.group->check_commit(commit), Code::stale_member_epoch);
  commit.generation = 2;
  EXPECT_EQ(lab.group->check_commit(commit), Code::ok);
  commit.member_id = "x";
  EXPECT_EQ(lab.group->check_commit(commit), Code::unknown_member);
  commit.member_id.clear();
  commit.generation = -1;
  EXPECT_EQ(lab.group->check_commit(commit), Code::unknown_member);
  FetchOffsets fetch;
  EXPECT_EQ(lab.group->check_fetch(fetch), Code::ok);
  fetch.member_id = "a";
  fetch.member_epoch = 1;
  EXPECT_EQ(lab.group->check_fetch(fetch), Code::stale_member_epoch);
  fetch.member_epoch = 2;
  EXPECT_EQ(lab.group->check_fetch(fetch), Code::ok);
  fetch.member_id = "x";
  EXPECT_EQ(lab.group->check_fetch(fetch), Code::unknown_member);
  a.leave();
  b.leave();
  EXPECT_EQ(lab.group->check_commit(commit), Code::ok);
}

TEST_F(Case52, APatternFollowsTopicsThatComeLater) {
  FakeConsumer a = consumer("a");
  a.topics.clear();
  a.pattern = "lo[";
  EXPECT_EQ(a.beat(), Code::invalid_pattern);
  EXPECT_EQ(lab.group->state_name(), "Empty");
  a.pattern = "log-.*";
  EXPECT_EQ(a.beat(), Code::ok);
  EXPECT_TRUE(a.owned.empty());
  lab.topics.make("log-1", 2);
  lab.topics.make("catalog-1", 2);
  lab.group->topics_changed();
  a.beat();
  EXPECT_EQ(a.owned.size(), 2u);
  EXPECT_EQ(a.epoch, 2);
  EXPECT_TRUE(lab.group->is_followed("log-1"));
  EXPECT_FALSE(lab.group->is_followed("catalog-1")) << "the whole name is matched";
  lab.topics.drop("log-1");
  lab.group->topics_changed();
  a.beat();
  a.beat();
  EXPECT_TRUE(a.owned.empty());
  EXPECT_EQ(lab.member("a").topic_pattern, "log-.*");
}

TEST_F(Case52, ATopicMadeOrGrownAfterTheJoinIsAssigned) {
  FakeConsumer a = consumer("a");
  a.topics = {"t", "later"};
  a.beat();
  EXPECT_EQ(a.owned.size(), 4u);
  lab.topics.make("unrelated", 1);
  lab.group->topics_changed();
  a.beat();
  EXPECT_EQ(a.epoch, 1);
  lab.topics.make("later", 3);
  lab.topics.grow("t", 5);
  lab.group->topics_changed();
  a.beat();
  EXPECT_EQ(a.owned.size(), 8u);
}

TEST_F(ConsumerGroupTest, TheMostWantedAssignorIsUsed) {
  FakeConsumer a = consumer("a"), b = consumer("b");
  a.assignor = "range";
  a.beat();
  EXPECT_EQ(lab.group->describe().assignor, "range");
  lab.options.consumer_assignors = {"uniform"};
  b.assignor = "range";
  EXPECT_EQ(b.beat(), Code::unsupported_assignor);
}

TEST_F(ConsumerGroupTest, TakesNoMoreMembersThanTheLimit) {
  lab.options.members_max = 2;
  FakeConsumer a = consumer("a"), b = consumer("b"), c = consumer("c");
  a.beat();
  b.beat();
  EXPECT_EQ(c.beat(), Code::quota_exceeded);
  EXPECT_EQ(lab.metrics.members_refused_total, 1u);
  EXPECT_EQ(b.beat(), Code::ok);
  lab.options.member_bytes_max = 10;
  EXPECT_EQ(code_of(ConsumerLab::join("b", {std::string(11, 'x')})), Code::quota_exceeded);
}

TEST_F(ConsumerGroupTest, TellsTheGroupsOwnIntervalAndSession) {
  lab.config = {50'000, 7'000};
  EXPECT_EQ(lab.beat(ConsumerLab::join("a")).heartbeat_interval_ms, 7'000);
  lab.pass(49'999);
  EXPECT_EQ(lab.group->state_name(), "Stable");
  lab.pass(1);
  EXPECT_EQ(lab.group->state_name(), "Empty");
}

TEST_F(ConsumerGroupTest, ARestartLosesNoMember) {
  FakeConsumer a = consumer("a"), b = fixed("b", "i1");
  a.beat();
  b.beat();
  lab.restart();
  EXPECT_EQ(lab.group->epoch(), 3);
  b.beat();
  EXPECT_TRUE(b.owned.empty()) << "a has them all still";
  EXPECT_EQ(a.beat(), Code::ok);
  a.beat();
  b.beat();
  EXPECT_EQ(a.owned.size(), 2u);
  EXPECT_EQ(b.owned.size(), 2u);
  lab.restart();
  lab.pass(lab.options.consumer_session_timeout_ms);
  EXPECT_EQ(lab.group->state_name(), "Empty");
}

}  // namespace
}  // namespace robustmq::broker
