#include "broker/group/group.h"

#include <gtest/gtest.h>

#include "broker/group/group_rig.h"

namespace robustmq::broker {
namespace {

TEST(Group, AnswersASingleMemberAtOnce) {
  Lab lab;
  const JoinedGroup reply = lab.joined.at(lab.join(Lab::request()));
  EXPECT_EQ(reply.code, Code::ok);
  EXPECT_EQ(reply.generation, 1);
  EXPECT_EQ(reply.protocol, "range");
  EXPECT_EQ(reply.protocol_type, "consumer");
  EXPECT_EQ(reply.leader, reply.member_id);
  ASSERT_EQ(reply.members.size(), 1u);
  EXPECT_EQ(reply.members[0].metadata.text(), "m");
  EXPECT_EQ(lab.group.state(), State::completing_rebalance);
  const SyncedGroup synced = lab.synced.at(lab.sync("id1", 1, {{"id1", Bytes::copy_of("a")}, {"stranger", Bytes::copy_of("b")}}));
  EXPECT_EQ(synced.assignment.text(), "a");
  EXPECT_EQ(synced.protocol, "range");
  EXPECT_EQ(lab.group.state(), State::stable);
  EXPECT_EQ(lab.heartbeat("id1", 1), Code::ok);
}

TEST(Group, GivesAMemberIdToComeBackWith) {
  Lab lab;
  JoinGroup first = Lab::request();
  first.member_id_required = true;
  const JoinedGroup reply = lab.joined.at(lab.join(first));
  EXPECT_EQ(reply.code, Code::member_id_required);
  EXPECT_EQ(reply.member_id, "id1");
  EXPECT_EQ(lab.group.state(), State::empty);
  EXPECT_EQ(lab.joined.at(lab.join(Lab::request("id1"))).generation, 1);
  EXPECT_EQ(lab.joined.at(lab.join(Lab::request("id1"))).code, Code::ok);
  EXPECT_EQ(lab.joined.at(lab.join(Lab::request("nobody"))).code, Code::unknown_member);
}

TEST(Group, ForgetsAPendingIdThatNeverComesBack) {
  Lab lab;
  JoinGroup first = Lab::request();
  first.member_id_required = true;
  lab.join(first);
  EXPECT_TRUE(lab.group.has_members());
  lab.pass(10'000);
  EXPECT_FALSE(lab.group.has_members());
  EXPECT_EQ(lab.joined.at(lab.join(Lab::request("id1"))).code, Code::unknown_member);
}

TEST(Group, WaitsForAPendingMemberWhileRebalancing) {
  Lab lab;
  lab.make_stable(1);
  JoinGroup first = Lab::request();
  first.member_id_required = true;
  const std::string pending = lab.joined.at(lab.join(first)).member_id;
  const auto leader = lab.join(Lab::request("id1"));
  EXPECT_TRUE(lab.waits(leader));
  const auto second = lab.join(Lab::request(pending));
  EXPECT_EQ(lab.joined.at(leader).generation, 2);
  EXPECT_EQ(lab.joined.at(second).generation, 2);
  EXPECT_EQ(lab.joined.at(leader).members.size(), 2u);
  EXPECT_TRUE(lab.joined.at(second).members.empty());
}

TEST(Group, WaitsTheInitialDelayForMoreMembers) {
  Lab lab;
  lab.options.initial_rebalance_delay_ms = 3000;
  const auto first = lab.join(Lab::request());
  lab.pass(2000);
  const auto second = lab.join(Lab::request());
  lab.pass(1000);
  EXPECT_TRUE(lab.waits(first));  // one came, so it waits once more
  lab.pass(3000);
  EXPECT_EQ(lab.joined.at(first).generation, 1);
  EXPECT_EQ(lab.joined.at(first).members.size(), 2u);
  EXPECT_EQ(lab.joined.at(second).generation, 1);
}

TEST(Group, RebalancesWhenAMemberComes) {
  Lab lab;
  lab.make_stable(1);
  const auto second = lab.join(Lab::request());
  EXPECT_TRUE(lab.waits(second));
  EXPECT_EQ(lab.group.state(), State::preparing_rebalance);
  EXPECT_EQ(lab.heartbeat("id1", 1), Code::rebalance_in_progress);
  EXPECT_EQ(lab.synced.at(lab.sync("id1", 1)).code, Code::rebalance_in_progress);
  EXPECT_EQ(lab.commit("id1", 1), Code::ok);  // what it finished before
  const auto first = lab.join(Lab::request("id1"));
  EXPECT_EQ(lab.joined.at(first).generation, 2);
  EXPECT_EQ(lab.joined.at(second).leader, "id1");
  EXPECT_EQ(lab.commit("id1", 2), Code::rebalance_in_progress);
  const auto early = lab.sync("id2", 2);
  EXPECT_TRUE(lab.waits(early));
  lab.sync("id1", 2, {{"id2", Bytes::copy_of("two")}});
  EXPECT_EQ(lab.synced.at(early).assignment.text(), "two");
  EXPECT_EQ(lab.synced.at(lab.sync("id2", 2)).assignment.text(), "two");
  EXPECT_EQ(lab.commit("id1", 1), Code::illegal_generation);
  EXPECT_EQ(lab.heartbeat("id1", 1), Code::illegal_generation);
  EXPECT_EQ(lab.heartbeat("stranger", 2), Code::unknown_member);
}

TEST(Group, DropsWhoDoesNotJoinAgainInTime) {
  Lab lab;
  lab.make_stable(2);
  const auto third = lab.join(Lab::request());
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(lab.heartbeat("id1", 2), Code::rebalance_in_progress);
    EXPECT_EQ(lab.heartbeat("id2", 2), Code::rebalance_in_progress);
    EXPECT_TRUE(lab.waits(third));
    lab.pass(10'000 - 1);
  }
  lab.pass(6);
  EXPECT_EQ(lab.joined.at(third).generation, 3);
  EXPECT_EQ(lab.joined.at(third).leader, lab.joined.at(third).member_id);
  EXPECT_EQ(lab.heartbeat("id1", 2), Code::unknown_member);
}

TEST(Group, DropsSilentMembers) {
  Lab lab;
  lab.make_stable(2);
  lab.pass(9'000);
  EXPECT_EQ(lab.heartbeat("id1", 2), Code::ok);
  lab.pass(1'000);
  EXPECT_EQ(lab.heartbeat("id1", 2), Code::rebalance_in_progress);
  EXPECT_EQ(lab.heartbeat("id2", 2), Code::unknown_member);
  lab.pass(10'000);
  EXPECT_EQ(lab.group.state(), State::empty);
  EXPECT_EQ(lab.group.next_timer(), Instant::never());
}

TEST(Group, DropsWhoDoesNotSyncInTime) {
  Lab lab;
  lab.make_stable(2);
  lab.join(Lab::request("id1"));
  const auto second = lab.join(Lab::request("id2"));
  EXPECT_EQ(lab.joined.at(second).generation, 3);
  const auto waiting = lab.sync("id2", 3);
  for (int i = 0; i < 7; ++i) {
    lab.heartbeat("id1", 3);
    lab.pass(9'000);
  }
  EXPECT_EQ(lab.synced.at(waiting).code, Code::rebalance_in_progress);
  EXPECT_EQ(lab.heartbeat("id1", 3), Code::unknown_member);
}

TEST(Group, ANewLeaderIsChosenWhenTheOldOneGoes) {
  Lab lab;
  lab.make_stable(3);
  EXPECT_EQ(lab.leave("id1"), Code::ok);
  lab.join(Lab::request("id3"));
  const auto second = lab.join(Lab::request("id2"));
  EXPECT_EQ(lab.joined.at(second).leader, "id2");
  EXPECT_EQ(lab.joined.at(second).members.size(), 2u);
}

TEST(Group, LeavingWhileOthersWaitAnswersEverybody) {
  Lab lab;
  const auto one = lab.join(Lab::request());
  EXPECT_EQ(lab.joined.at(one).generation, 1);
  const auto two = lab.join(Lab::request());
  const auto three = lab.join(Lab::request());
  EXPECT_EQ(lab.leave("id2"), Code::ok);
  EXPECT_EQ(lab.joined.at(two).code, Code::unknown_member);
  EXPECT_TRUE(lab.waits(three));
  EXPECT_EQ(lab.leave("id1"), Code::ok);
  EXPECT_EQ(lab.joined.at(three).generation, 2);
  EXPECT_EQ(lab.leave("id1"), Code::unknown_member);
}

TEST(Group, ALeaderThatJoinsAgainRebalancesAFollowerWithoutNewsDoesNot) {
  Lab lab;
  lab.make_stable(2);
  EXPECT_EQ(lab.joined.at(lab.join(Lab::request("id2"))).generation, 2);
  EXPECT_EQ(lab.group.state(), State::stable);
  const auto changed = lab.join(Lab::request("id2", "other"));
  EXPECT_TRUE(lab.waits(changed));
  EXPECT_EQ(lab.group.state(), State::preparing_rebalance);
  lab.join(Lab::request("id1"));
  EXPECT_EQ(lab.joined.at(changed).generation, 3);
  lab.settle();
  EXPECT_TRUE(lab.waits(lab.join(Lab::request("id1"))));
  EXPECT_EQ(lab.group.state(), State::preparing_rebalance);
}

TEST(Group, AMemberThatMissedItsAnswerGetsItAgain) {
  Lab lab;
  lab.join(Lab::request());
  const JoinedGroup again = lab.joined.at(lab.join(Lab::request("id1")));
  EXPECT_EQ(again.generation, 1);
  EXPECT_EQ(again.members.size(), 1u);
}

TEST(Group, ChoosesTheProtocolMostMembersPrefer) {
  Lab lab;
  const auto with = [](std::string id, std::vector<std::string> names) {
    JoinGroup join = Lab::request(std::move(id));
    join.protocols.clear();
    for (std::string& name : names) join.protocols.push_back({name, Bytes::copy_of("of " + name)});
    return join;
  };
  lab.join(with("", {"range", "sticky", "own"}));
  lab.join(with("", {"sticky", "range"}));
  lab.join(with("", {"sticky", "range"}));
  const JoinedGroup reply = lab.joined.at(lab.join(with("id1", {"range", "sticky", "own"})));
  EXPECT_EQ(reply.protocol, "sticky");
  ASSERT_EQ(reply.members.size(), 3u);
  EXPECT_EQ(reply.members[0].metadata.text(), "of sticky");
  EXPECT_EQ(lab.joined.at(lab.join(with("", {"own"}))).code, Code::inconsistent_protocol);
  JoinGroup other = Lab::request();
  other.protocol_type = "connect";
  EXPECT_EQ(lab.joined.at(lab.join(other)).code, Code::inconsistent_protocol);
  EXPECT_EQ(lab.joined.at(lab.join(with("", {}))).code, Code::inconsistent_protocol);
}

TEST(Group, ChecksSessionTimeoutsAndSizes) {
  Lab lab;
  JoinGroup join = Lab::request();
  join.session_timeout_ms = 5'999;
  EXPECT_EQ(lab.joined.at(lab.join(join)).code, Code::invalid_session_timeout);
  join.session_timeout_ms = 1'800'001;
  EXPECT_EQ(lab.joined.at(lab.join(join)).code, Code::invalid_session_timeout);
  lab.options.member_bytes_max = 1024;
  EXPECT_EQ(lab.joined.at(lab.join(Lab::request("", std::string(2000, 'x')))).code, Code::quota_exceeded);
  EXPECT_FALSE(lab.group.has_members());
}

TEST(Group, BoundsItsMembers) {
  Lab lab;
  lab.options.members_max = 2;
  lab.make_stable(2);
  EXPECT_EQ(lab.joined.at(lab.join(Lab::request())).code, Code::quota_exceeded);
  EXPECT_EQ(lab.group.state(), State::stable);
  EXPECT_EQ(lab.metrics.members_refused_total, 1u);
  lab.leave("id2");
  EXPECT_TRUE(lab.waits(lab.join(Lab::request())));
}

TEST(Group, FencesAStaticMemberThatCameBack) {
  Lab lab;
  lab.make_stable(2, true);
  const int32_t generation = lab.group.generation();
  JoinGroup again = Lab::request();
  again.instance_id = "i2";
  const JoinedGroup reply = lab.joined.at(lab.join(again));
  EXPECT_EQ(reply.code, Code::ok);
  EXPECT_EQ(reply.generation, generation);
  EXPECT_EQ(lab.group.state(), State::stable);
  EXPECT_NE(reply.member_id, "id2");
  EXPECT_EQ(lab.heartbeat("id2", generation, "i2"), Code::fenced_instance);
  EXPECT_EQ(lab.commit("id2", generation, "i2"), Code::fenced_instance);
  EXPECT_EQ(lab.leave("id2", "i2"), Code::fenced_instance);
  EXPECT_EQ(lab.heartbeat("id2", generation), Code::unknown_member);
  EXPECT_EQ(lab.heartbeat(reply.member_id, generation, "i2"), Code::ok);
  EXPECT_EQ(lab.heartbeat(reply.member_id, generation, "i7"), Code::unknown_member);
  // It finds the assignment of its predecessor.
  EXPECT_EQ(lab.synced.at(lab.sync(reply.member_id, generation)).code, Code::ok);
  EXPECT_EQ(lab.synced.at(lab.last).assignment.text(), "for id2");
}

TEST(Group, AStaticLeaderThatComesBackDoesNotAssignAgain) {
  for (bool can_skip : {true, false}) {
    Lab lab;
    lab.make_stable(2, true);
    JoinGroup again = Lab::request();
    again.instance_id = "i1";
    again.can_skip_assignment = can_skip;
    const JoinedGroup reply = lab.joined.at(lab.join(again));
    EXPECT_EQ(reply.generation, 2);
    EXPECT_EQ(reply.skip_assignment, can_skip);
    EXPECT_EQ(reply.leader, can_skip ? reply.member_id : "id1");
    EXPECT_EQ(reply.members.size(), can_skip ? 2u : 0u);
  }
}

TEST(Group, AStaticMemberWithOtherMetadataRebalances) {
  Lab lab;
  lab.make_stable(2, true);
  JoinGroup again = Lab::request("", "other");
  again.instance_id = "i2";
  EXPECT_TRUE(lab.waits(lab.join(again)));
  EXPECT_EQ(lab.group.state(), State::preparing_rebalance);
}

TEST(Group, AStaticMemberKeepsItsPlaceUntilItsSessionEnds) {
  Lab lab;
  lab.make_stable(2, true);
  JoinGroup again = Lab::request("id1");
  again.instance_id = "i1";
  again.rebalance_timeout_ms = 1000;
  lab.join(again);  // id2 does not answer
  const auto third = lab.join(again);
  EXPECT_TRUE(lab.waits(third));
  lab.pass(9'999);
  EXPECT_TRUE(lab.waits(third));
  lab.pass(1);
  EXPECT_EQ(lab.joined.at(third).generation, 3);
  EXPECT_EQ(lab.joined.at(third).members.size(), 1u);
}

TEST(Group, AStaticMemberLeavesByItsInstance) {
  Lab lab;
  lab.make_stable(2, true);
  EXPECT_EQ(lab.leave("", "i2"), Code::ok);
  EXPECT_EQ(lab.leave("", "i2"), Code::unknown_member);
  EXPECT_EQ(lab.group.member_count(), 1u);
}

TEST(Group, AStaticMemberThatComesBackTwiceFencesItsWaitingSelf) {
  Lab lab;
  lab.make_stable(2, true);
  JoinGroup again = Lab::request("", "news");
  again.instance_id = "i2";
  const auto first = lab.join(again);
  const auto second = lab.join(again);
  EXPECT_EQ(lab.joined.at(first).code, Code::fenced_instance);
  EXPECT_TRUE(lab.waits(second));
}

TEST(Group, TakesOffsetsWithoutMembersOnlyWhileEmpty) {
  Lab lab;
  EXPECT_EQ(lab.commit("", -1), Code::ok);
  EXPECT_EQ(lab.commit("old", 4), Code::unknown_member);
  lab.make_stable(1);
  EXPECT_EQ(lab.commit("", -1), Code::unknown_member);
  EXPECT_EQ(lab.commit("id1", 1), Code::ok);
}

TEST(Group, ACommitIsASignOfLife) {
  Lab lab;
  lab.make_stable(1);
  for (int i = 0; i < 5; ++i) {
    lab.pass(9'000);
    EXPECT_EQ(lab.commit("id1", 1), Code::ok);
  }
}

TEST(Group, DescribesItself) {
  Lab lab;
  EXPECT_EQ(lab.group.describe().state, "Empty");
  lab.join(Lab::request());
  EXPECT_EQ(lab.group.describe().state, "CompletingRebalance");
  EXPECT_TRUE(lab.group.describe().members.at(0).metadata.empty());
  lab.settle();
  const DescribedGroup stable = lab.group.describe();
  EXPECT_EQ(stable.state, "Stable");
  EXPECT_EQ(stable.protocol, "range");
  EXPECT_EQ(stable.members.at(0).metadata.text(), "m");
  EXPECT_EQ(stable.members.at(0).assignment.text(), "for id1");
  lab.join(Lab::request());
  EXPECT_EQ(lab.group.describe().state, "PreparingRebalance");
}

TEST(Group, ClosingAnswersEverybody) {
  Lab lab;
  lab.make_stable(1);
  const auto waiting = lab.join(Lab::request());
  lab.group.close(Code::shutting_down);
  lab.take();
  EXPECT_EQ(lab.joined.at(waiting).code, Code::shutting_down);
  EXPECT_EQ(lab.joined.at(lab.join(Lab::request())).code, Code::shutting_down);
  EXPECT_EQ(lab.heartbeat("id1", 1), Code::shutting_down);
  EXPECT_EQ(lab.metrics.members, 0);
}

}  // namespace
}  // namespace robustmq::broker
