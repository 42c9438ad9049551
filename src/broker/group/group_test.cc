#include "broker/group/group.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace robustmq::broker {
namespace {

using State = Group::State;

// A group with its clock and the answers it gave.
struct Lab {
  GroupOptions options;
  GroupMetrics metrics;
  Instant now{};
  Group group{options, metrics};
  Group::Ticket last = 0;
  int ids = 0;
  std::map<Group::Ticket, JoinedGroup> joined;
  std::map<Group::Ticket, SyncedGroup> synced;

  ~Lab() { group.close(Code::shutting_down); }

  void take() {
    for (auto& [ticket, reply] : group.outputs().joined)
      EXPECT_TRUE(joined.emplace(ticket, std::move(reply)).second) << "answered twice";
    for (auto& [ticket, reply] : group.outputs().synced)
      EXPECT_TRUE(synced.emplace(ticket, std::move(reply)).second) << "answered twice";
    group.outputs() = {};
  }
  static JoinGroup request(std::string member_id = {}, std::string metadata = "m") {
    JoinGroup join;
    join.group = "g";
    join.member_id = std::move(member_id);
    join.client_id = "c";
    join.protocol_type = "consumer";
    join.protocols = {{"range", Bytes::copy_of(metadata)}};
    join.session_timeout_ms = 10'000;
    join.rebalance_timeout_ms = 60'000;
    return join;
  }
  Group::Ticket join(const JoinGroup& join) {
    group.join(++last, join, "id" + std::to_string(++ids), now);
    take();
    return last;
  }
  Group::Ticket sync(const std::string& member_id, int32_t generation, std::vector<SyncGroup::Assignment> assignments = {}) {
    SyncGroup sync;
    sync.group = "g";
    sync.member_id = member_id;
    sync.generation = generation;
    sync.assignments = std::move(assignments);
    group.sync(++last, sync, now);
    take();
    return last;
  }
  Code heartbeat(const std::string& member_id, int32_t generation, std::optional<std::string> instance = {}) {
    HeartbeatGroup beat{"g", member_id, std::move(instance), generation};
    const Code code = group.heartbeat(beat, now);
    take();
    return code;
  }
  Code leave(const std::string& member_id, std::optional<std::string> instance = {}) {
    LeaveGroup leave;
    leave.members = {{member_id, std::move(instance)}};
    const Code code = group.leave(leave, now).members.at(0);
    take();
    return code;
  }
  Code commit(const std::string& member_id, int32_t generation, std::optional<std::string> instance = {}) {
    CommitOffsets commit;
    commit.member_id = member_id;
    commit.generation = generation;
    commit.instance_id = std::move(instance);
    const Code code = group.check_commit(commit, now);
    take();
    return code;
  }
  void pass(int64_t ms) {
    const Instant until = now + Duration::millis(ms);
    while (group.next_timer() <= until) {
      now = std::max(now, group.next_timer());
      group.tick(now);
      take();
    }
    now = until;
  }
  bool waits(Group::Ticket ticket) const { return !joined.contains(ticket) && !synced.contains(ticket); }

  // A stable group of `count` members; id1 leads.
  void make_stable(int count, bool are_static = false) {
    std::vector<JoinGroup> joins;
    for (int i = 0; i < count; ++i) {
      JoinGroup first = request();
      if (are_static) first.instance_id = "i" + std::to_string(i + 1);
      join(first);
    }
    // The first member was answered alone; all later ones wait for it to come back.
    if (count > 1) {
      JoinGroup again = request("id1");
      if (are_static) again.instance_id = "i1";
      join(again);
    }
    settle();
  }
  // Everybody who knows the new generation syncs; the leader gives "for <id>".
  void settle() {
    const int32_t generation = group.generation();
    std::vector<SyncGroup::Assignment> assignments;
    std::string leader;
    std::vector<DescribedGroup::Member> members = group.describe().members;
    for (const auto& member : members) assignments.push_back({member.id, Bytes::copy_of("for " + member.id)});
    for (const auto& [ticket, reply] : joined) {
      if (reply.generation == generation) leader = reply.leader;
    }
    for (const auto& member : members) {
      SyncGroup one;
      one.member_id = member.id;
      one.instance_id = member.instance_id;
      one.generation = generation;
      if (member.id == leader) one.assignments = assignments;
      group.sync(++last, one, now);
      take();
    }
    ASSERT_EQ(group.state(), State::stable);
  }
};

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

// ---- Clients that come, work, fall silent and leave at random; what every generation must be ----

struct Client {
  std::string member_id;
  std::optional<std::string> instance_id;
  int32_t generation = -1;
  bool is_leader = false;
  std::vector<std::string> members;  // as the leader was told
  enum class Step { idle, joining, to_sync, syncing, working } step = Step::idle;
  Group::Ticket ticket = 0;
  std::string assignment;
};

class RandomGroup {
 public:
  explicit RandomGroup(uint64_t seed) : random_(seed) {
    lab_.options.initial_rebalance_delay_ms = random_() % 2 ? 0 : 300;
    lab_.options.members_max = 6;
    lab_.options.session_timeout_min_ms = 100;
    clients_.resize(9);
    for (size_t i = 0; i < clients_.size(); i += 3) clients_[i].instance_id = "i" + std::to_string(i);
  }

  void run(int steps) {
    for (int i = 0; i < steps; ++i) {
      Client& client = clients_[random_() % clients_.size()];
      if (random_() % 4 == 0) lab_.pass(static_cast<int64_t>(random_() % 150));
      act(client);
      for (Client& one : clients_) hear(one);
      check();
    }
    // When nobody does anything any more, everybody is answered in the end.
    lab_.pass(20'000);
    for (Client& one : clients_) hear(one);
    for (Group::Ticket ticket = 1; ticket <= lab_.last; ++ticket) EXPECT_FALSE(lab_.waits(ticket)) << "never answered";
    EXPECT_EQ(lab_.group.state(), State::empty);
    EXPECT_EQ(lab_.metrics.members, 0);
  }

 private:
  void act(Client& client) {
    if (random_() % 100 == 0) return reset(client);  // its process died
    switch (client.step) {
      case Client::Step::idle: {
        JoinGroup join = Lab::request(client.member_id, random_() % 10 ? "m" : "n");
        join.instance_id = client.instance_id;
        join.session_timeout_ms = 500;
        join.rebalance_timeout_ms = 1000;
        join.member_id_required = random_() % 2;
        join.can_skip_assignment = random_() % 2;
        client.step = Client::Step::joining;
        client.ticket = lab_.join(join);
        return;
      }
      case Client::Step::to_sync: {
        SyncGroup sync;
        sync.member_id = client.member_id;
        sync.instance_id = client.instance_id;
        sync.generation = client.generation;
        for (const std::string& id : client.members) {
          if (random_() % 5 == 0) continue;  // gets nothing
          const std::string text = std::to_string(client.generation) + " " + client.member_id + " " + id;
          sync.assignments.push_back({id, Bytes::copy_of(text)});
          given_[{client.generation, id}].insert(text);
        }
        client.step = Client::Step::syncing;
        lab_.group.sync(++lab_.last, sync, lab_.now);
        client.ticket = lab_.last;
        lab_.take();
        return;
      }
      case Client::Step::working: {
        if (random_() % 30 == 0) {
          lab_.leave(client.instance_id ? "" : client.member_id, client.instance_id);
          return reset(client);
        }
        if (random_() % 30 == 0) {
          client.step = Client::Step::idle;  // asks again
          return;
        }
        const Code code = lab_.heartbeat(client.member_id, client.generation, client.instance_id);
        if (code == Code::rebalance_in_progress)
          client.step = Client::Step::idle;
        else if (code != Code::ok)
          reset(client);
        return;
      }
      case Client::Step::joining:
      case Client::Step::syncing: {
        if (client.ticket == 0 || client.member_id.empty() || random_() % 10 != 0) return;
        // Leaves on another connection while it waits.
        if (lab_.leave(client.member_id, client.instance_id) != Code::ok) return;
        EXPECT_FALSE(lab_.waits(client.ticket));
        return reset(client);
      }
    }
  }

  void hear(Client& client) {
    if (client.ticket == 0 || lab_.waits(client.ticket)) return;
    const Group::Ticket ticket = std::exchange(client.ticket, 0);
    if (client.step == Client::Step::joining) {
      const JoinedGroup& reply = lab_.joined.at(ticket);
      if (reply.code == Code::member_id_required) {
        client.member_id = reply.member_id;
        client.step = Client::Step::idle;
        return;
      }
      if (reply.code == Code::rebalance_in_progress) {
        client.step = Client::Step::idle;
        return;
      }
      if (reply.code != Code::ok) return reset(client);
      client.member_id = reply.member_id;
      client.generation = reply.generation;
      client.members.clear();
      if (!reply.skip_assignment) {
        for (const JoinedGroup::Member& member : reply.members) client.members.push_back(member.id);
      }
      if (!reply.members.empty()) {
        EXPECT_EQ(reply.leader, reply.member_id);
      }
      EXPECT_GE(reply.generation, newest_);
      newest_ = std::max(newest_, reply.generation);
      const uint64_t round = lab_.metrics.rebalances_total;
      EXPECT_EQ(rounds_.emplace(reply.generation, round).first->second, round) << "two rounds in a generation";
      EXPECT_EQ(protocols_.emplace(reply.generation, reply.protocol).first->second, reply.protocol)
          << "two protocols in a generation";
      client.step = Client::Step::to_sync;
      return;
    }
    const SyncedGroup& reply = lab_.synced.at(ticket);
    if (reply.code == Code::rebalance_in_progress) {
      client.step = Client::Step::idle;
    } else if (reply.code != Code::ok) {
      reset(client);
    } else {
      client.assignment = reply.assignment.text();
      // The leader of its generation gave it, or left it out. (A static member that came back has its predecessor's.)
      const bool is_given =
          client.assignment.empty() || given_[{client.generation, client.member_id}].contains(client.assignment);
      EXPECT_TRUE(is_given || (client.instance_id && is_of(client.assignment, client.generation))) << client.assignment;
      client.step = Client::Step::working;
    }
  }

  void check() {
    const DescribedGroup now = lab_.group.describe();
    EXPECT_EQ(static_cast<size_t>(lab_.metrics.members), now.members.size());
    if (lab_.group.state() != State::stable) return;
    std::set<std::string> leaders;
    for (const DescribedGroup::Member& member : now.members) {
      const std::string text(member.assignment.text());
      if (text.empty()) continue;
      ASSERT_TRUE(is_of(text, lab_.group.generation())) << "a stable member with another generation's assignment: " << text;
      leaders.insert(text.substr(0, text.rfind(' ')));
    }
    EXPECT_LE(leaders.size(), 1u) << "two leaders assigned";
  }

  static bool is_of(const std::string& assignment, int32_t generation) {
    return assignment.starts_with(std::to_string(generation) + " ");
  }
  void reset(Client& client) {
    Client fresh;
    fresh.instance_id = client.instance_id;
    client = fresh;
  }

  std::mt19937_64 random_;
  Lab lab_;
  std::vector<Client> clients_;
  int32_t newest_ = 0;
  std::map<int32_t, uint64_t> rounds_;
  std::map<int32_t, std::string> protocols_;
  std::map<std::pair<int32_t, std::string>, std::set<std::string>> given_;
};

TEST(Group, KeepsItsInvariantsUnderRandomClients) {
  const uint64_t seed = std::random_device{}();
  for (uint64_t i = 0; i < 60; ++i) {
    SCOPED_TRACE(seed + i);
    RandomGroup(seed + i).run(1500);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace robustmq::broker
