#include <gtest/gtest.h>

#include <random>
#include <set>

#include "broker/group/group_rig.h"

namespace robustmq::broker {
namespace {

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
