// Queues over shards: where they begin, what is stored of them, and what is left after crashes at any moment.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <set>

#include "broker/lease/lease_rig.h"

namespace robustmq::broker::test {
namespace {

using runtime::sim::CrashKind;

TEST_F(LeaseTest, DeletedRecordsAreNobodysAnyMore) {
  begin();
  Client& a = kafka();
  produce(a, {"0", "1", "2", "3"});
  EXPECT_EQ(lease(a, "a", 1).size(), 1u);
  DeleteRecords request;
  request.topics = {{"t", {}}};
  request.partitions.push_back({0, 0, 2});
  EXPECT_EQ(rig.ask_for<DeletedRecords>(a, std::move(request)).partitions.at(0).code, Code::ok);
  EXPECT_EQ(offsets(lease(a, "b", 9)), (Offsets{2, 3}));
  EXPECT_EQ(described(a).start, 2);
  EXPECT_EQ(accept(a, "a", 0, 0), Code::ok) << "it is gone, and so is done";
}

TEST_F(LeaseTest, ANewGroupBeginsAtTheEndAndTheCrashDoesNotMoveIt) {
  begin();
  Client& a = kafka();
  set(a, "share_auto_offset_reset", "latest");
  produce(a, {"before"});
  EXPECT_TRUE(lease(a, "a", 1).empty());
  EXPECT_EQ(described(a).start, 1);
  produce(a, {"after"});
  rig.restart(CrashKind::power);
  Client& b = kafka();
  EXPECT_EQ(lease(b, "b", 9).at(0).value, "after");
}

TEST_F(LeaseTest, AGroupMayBeginAtATime) {
  begin();
  Client& a = kafka();
  set(a, "share_auto_offset_reset", "by_duration:PT1H");
  produce(a, {"long ago"});  // its record says so
  BatchBuilder builder;
  builder.begin_record(rig.node.core(0).wall_now().ms - 1'800'000, std::nullopt, as_bytes("half an hour ago"));
  builder.end_record();
  Produce request;
  request.topics = {{"t", {}}};
  request.partitions.push_back({0, 0, builder.finish(), {}});
  rig.ask_for<Produced>(a, std::move(request));
  EXPECT_EQ(offsets(lease(a, "a", 9)), Offsets{1});
}

TEST_F(LeaseTest, AfterACrashWhatWasInFlightComesAgainAndWhatWasAcceptedDoesNot) {
  begin();
  Client& a = kafka();
  produce(a, {"0", "1", "2", "3", "4"});
  EXPECT_EQ(lease(a, "a", 5).size(), 5u);
  EXPECT_EQ(settle(a, "a", {{1, 1, What::accept}, {2, 2, What::release}, {3, 3, What::reject}}), Code::ok);
  rig.restart(CrashKind::process);
  Client& b = kafka(2);
  EXPECT_EQ(beat(b, "a", 1).code, Code::unknown_member) << "it joins again";
  const auto again = lease(b, "b", 9);
  EXPECT_EQ(offsets(again), (Offsets{0, 2, 4}));
  EXPECT_EQ(again[0].deliveries, 1) << "a lease is not stored";
  EXPECT_EQ(again[1].deliveries, 2);
  EXPECT_EQ(accept(b, "b", 0, 0), Code::ok);
  EXPECT_EQ(accept(b, "a", 2, 2), Code::not_found);
}

TEST_F(LeaseTest, ManyChangesBecomeASnapshot) {
  begin();
  Client& a = kafka();
  produce(a, std::vector<std::string>(2'000, "x"));
  EXPECT_EQ(lease(a, "a", 2'000).size(), 2'000u);
  for (Offset offset = 1; offset < 2'000; offset += 2) EXPECT_EQ(accept(a, "a", offset, offset), Code::ok);
  EXPECT_LT(rows(), 900u) << "a row a change would be 1000";
  rig.restart(CrashKind::power);
  const auto rest = lease(kafka(), "b", 2'000);
  ASSERT_EQ(rest.size(), 1'000u);
  for (const Record& record : rest) EXPECT_EQ(record.offset % 2, 0);
}

TEST_F(LeaseTest, WhoReadsWhatIsCommittedSeesNothingElse) {
  begin();
  Client& a = kafka();
  set(a, "share_isolation_level", "read_committed");
  const auto init = rig.ask_for<InitedProducer>(a, InitProducer{"tid", 60'000, -1, -1});
  int32_t sequence = 0;
  int16_t epoch = init.epoch;
  const auto transactional = [&](const std::string& value) {
    BatchBuilder builder;
    builder.begin_record(1000, std::nullopt, as_bytes(value));
    builder.end_record();
    builder.set_producer(init.id, epoch, sequence++);
    Bytes batch = builder.finish();
    uint8_t* at = batch.patchable();
    at[22] |= 0x10;
    renew_batch_crc(at, batch.size());
    Produce request;
    request.topics = {{"t", {}}};
    request.partitions.push_back({0, 0, std::move(batch), {}});
    request.transactional_id = "tid";
    request.adds_partitions = true;
    EXPECT_EQ(rig.ask_for<Produced>(a, std::move(request)).partitions.at(0).code, Code::ok);
  };
  const auto end = [&](bool commits) {
    const auto ended = rig.ask_for<EndedTransaction>(a, EndTransaction{{"tid", init.id, epoch}, commits, true});
    EXPECT_EQ(ended.code, Code::ok);
    epoch = ended.epoch;
    sequence = 0;
  };
  produce(a, {"plain"});
  transactional("aborted");
  EXPECT_EQ(offsets(lease(a, "a", 9)), Offsets{0}) << "nothing at or past what is open";
  end(false);
  transactional("committed");
  end(true);
  produce(a, {"last"});
  const auto rest = lease(a, "a", 9);
  ASSERT_EQ(rest.size(), 2u);
  EXPECT_EQ(rest[0].value, "committed");
  EXPECT_EQ(rest[1].value, "last");
  for (const Record& record : rest) EXPECT_EQ(accept(a, "a", record.offset, record.offset), Code::ok);
  EXPECT_EQ(accept(a, "a", 0, 0), Code::ok);
  EXPECT_EQ(described(a).lag, 0);
  rig.restart(CrashKind::process);
  EXPECT_TRUE(lease(kafka(), "b", 9).empty());
}

TEST_F(LeaseTest, OffsetsAreDescribedAlteredAndForgotten) {
  begin(2);
  Client& a = kafka(1);
  EXPECT_EQ(described(a).start, -1) << "never used";
  produce(a, {"0", "1", "2"});
  EXPECT_EQ(lease(a, "a", 1).size(), 1u);
  EXPECT_EQ(described(a).lag, 3);
  AlterShareOffsets alter;
  alter.group = "g";
  alter.topics = {"t", "nope"};
  alter.partitions = {{0, 0, 2}, {0, 9, 0}, {1, 0, 0}};
  EXPECT_EQ(rig.ask_for<AlteredShareOffsets>(a, alter).code, Code::group_not_empty);
  EXPECT_EQ(beat(a, "first", -1).code, Code::ok);
  const auto altered = rig.ask_for<AlteredShareOffsets>(a, alter);
  EXPECT_EQ(altered.code, Code::ok);
  EXPECT_EQ(altered.partitions, (std::vector<Code>{Code::ok, Code::unknown_topic, Code::unknown_topic}));
  EXPECT_EQ(described(a).start, 2);
  rig.restart(CrashKind::power);
  Client& b = kafka(2);
  EXPECT_EQ(offsets(lease(b, "b", 9)), Offsets{2});

  DeleteShareOffsets remove{"g", {"t", "nope"}};
  const auto removed = rig.ask_for<DeletedShareOffsets>(b, remove);
  EXPECT_EQ(removed.code, Code::ok);
  EXPECT_EQ(removed.topics.at(0).second, Code::ok);
  EXPECT_EQ(removed.topics.at(1).second, Code::unknown_topic);
  EXPECT_EQ(rows(), 0u);
  EXPECT_EQ(leased(b, ask("b", 9)).partitions.at(0).code, Code::group_not_found) << "nobody reads the topic";
  join(b, "again");
  EXPECT_EQ(offsets(lease(b, "b", 9)), (Offsets{0, 1, 2}));
}

TEST_F(LeaseTest, AGroupIsMadeByWhoSaysWhereItBegins) {
  begin(1);
  Client& a = kafka(1);
  produce(a, {"0", "1", "2"});
  EXPECT_EQ(beat(a, "first", -1).code, Code::ok);
  DescribeShareOffsets describe;
  describe.groups.push_back({"new", false, {"t"}, {{0, 0}}});
  const auto before = rig.ask_for<DescribedShareOffsets>(a, describe).groups.at(0);
  EXPECT_EQ(before.code, Code::ok) << "a group that is not there has read nothing";
  EXPECT_EQ(before.partitions.at(0).start, -1);
  AlterShareOffsets alter;
  alter.group = "new";
  alter.topics = {"t"};
  alter.partitions = {{0, 0, 2}};
  const auto altered = rig.ask_for<AlteredShareOffsets>(a, alter);
  EXPECT_EQ(altered.code, Code::ok);
  EXPECT_EQ(altered.partitions.at(0), Code::ok);
  CommitOffsets others{.group = "kept", .topics = {{"t", {}}}, .offsets = {{0, 0, 1, -1, ""}}};
  EXPECT_EQ(rig.ask_for<CommittedOffsets>(a, others).offsets.at(0), Code::ok);
  alter.group = "kept";
  EXPECT_EQ(rig.ask_for<AlteredShareOffsets>(a, alter).code, Code::group_not_found) << "a consumer group stays one";
  rig.restart(CrashKind::power);
  EXPECT_EQ(rig.ask_for<DescribedShareOffsets>(kafka(), describe).groups.at(0).partitions.at(0).start, 2);
}

TEST_F(LeaseTest, ADeletedGroupLeavesNothing) {
  begin();
  Client& a = kafka(1);
  produce(a, {"0"});
  EXPECT_EQ(lease(a, "a", 1).size(), 1u);
  EXPECT_EQ(accept(a, "a", 0, 0), Code::ok);
  EXPECT_EQ(rig.ask_for<DeletedGroups>(a, DeleteGroups{{"g"}}).groups.at(0), Code::group_not_empty);
  EXPECT_EQ(rig.ask_for<ListedGroups>(a, ListGroups{}).groups.at(0).type, "share");
  beat(a, "first", -1);
  EXPECT_EQ(rig.ask_for<DeletedGroups>(a, DeleteGroups{{"g"}}).groups.at(0), Code::ok);
  EXPECT_EQ(rows(), 0u);
  EXPECT_TRUE(rig.ask_for<ListedGroups>(a, ListGroups{}).groups.empty());
  EXPECT_EQ(leased(a, ask("a", 1)).partitions.at(0).code, Code::group_not_found);
  rig.restart(CrashKind::process);
  EXPECT_TRUE(rig.ask_for<ListedGroups>(kafka(), ListGroups{}).groups.empty());
  join(kafka(), "anew");
  EXPECT_EQ(lease(kafka(), "a", 9).size(), 1u);
}

TEST_F(LeaseTest, ADeletedTopicTakesItsQueuesAlong) {
  begin(3);
  Client& a = kafka(1);
  for (int32_t p = 0; p < 3; ++p) produce(a, {"x"}, p);
  std::optional<Reply> parked;
  leased(a, ask("a", 9, {0, 1, 2}));
  Client& b = kafka(2);
  b.hall->execute(b.context, ask("b", 9, {0, 1, 2}, 60'000), [&](Reply reply) { parked = std::move(reply); });
  rig.settle();
  EXPECT_GE(rows(), 3u);
  rig.ask_for<DeletedTopics>(a, DeleteTopics{{{"t", {}}}});
  ASSERT_TRUE(rig.world.run_until([&] { return parked.has_value(); }, Duration::seconds(5)));
  EXPECT_EQ(std::get<LeasedRecords>(*parked).partitions.at(0).code, Code::group_not_found);
  rig.settle();
  EXPECT_EQ(rows(), 0u);
}

TEST_F(LeaseTest, QueuesThatNobodyUsesAreClosedAndOpenedAgain) {
  begin();
  Client& a = kafka();
  produce(a, {"0", "1"});
  EXPECT_EQ(lease(a, "a", 1).size(), 1u);
  const auto open = [&] {
    int64_t count = 0;
    for (const auto& hall : rig.halls) count += hall->lease_metrics().queues_open;
    return count;
  };
  EXPECT_EQ(open(), 1);
  EXPECT_EQ(accept(a, "a", 0, 0), Code::ok);
  rig.close(a);
  rig.world.run_for(Duration::seconds(200));
  EXPECT_EQ(open(), 0);
  EXPECT_EQ(described(kafka()).lag, 1);
  rig.settle();
  EXPECT_EQ(open(), 0) << "a look leaves it as it was";
  EXPECT_EQ(offsets(lease(kafka(), "b", 9)), Offsets{1});
}

TEST_F(LeaseTest, RefusesWhatIsNotThere) {
  begin();
  Client& a = kafka(1);
  LeaseRecords request = ask("a", 1, {0, 7});
  request.topics.push_back({"nope", {}});
  request.topics.push_back({{}, Uuid::random(1, 2)});
  request.partitions.push_back({1, 0});
  request.partitions.push_back({2, 0});
  const LeasedRecords got = leased(a, request);
  EXPECT_EQ(got.partitions.at(0).code, Code::ok);
  EXPECT_EQ(got.partitions.at(1).code, Code::unknown_topic);
  EXPECT_EQ(got.partitions.at(2).code, Code::unknown_topic);
  EXPECT_EQ(got.partitions.at(3).code, Code::unknown_topic_id);
  request = ask("a", 1);
  request.queue = "no such group";
  EXPECT_EQ(leased(a, request).partitions.at(0).code, Code::group_not_found);
  EXPECT_EQ(accept(a, "stranger", 0, 0), Code::not_found);
  EXPECT_EQ(rows(), 1u);
}

// Members on all cores lease, accept, release and vanish, and the node crashes at any moment: nothing whose accept was answered
// comes again, no record is two members' at once, and in the end all of them are accepted.
TEST(LeaseCrash, NothingAcceptedComesAgainAndNothingIsLost) {
  struct Run final : LeaseTest {
    explicit Run(uint64_t seed) : LeaseTest(3, seed) {}
    void TestBody() override {}
    void run(uint64_t seed, int& crashes, int& settled) {
      std::mt19937_64 random(seed);
      rig.group_options.share_delivery_count_limit = 1000;
      begin(3);
      int cuts = 0;
      std::set<std::pair<int32_t, Offset>> produced, accepted;
      struct Held {
        Client* client;
        std::string member;
        int32_t partition;
        Offset offset;
      };
      std::vector<Held> held;
      std::vector<Client*> clients;
      const auto restart = [&] {
        rig.restart(random() % 2 ? CrashKind::power : CrashKind::process);
        ++crashes;
        ++cuts;
        held.clear();
        clients.clear();
        for (CoreIndex i = 0; i < 3; ++i) clients.push_back(&kafka(i));
      };
      for (CoreIndex i = 0; i < 3; ++i) clients.push_back(&kafka(i));
      for (int step = 0; step < 120 && !HasFatalFailure(); ++step) {
        Client& client = *clients[random() % clients.size()];
        const std::string member = "m" + std::to_string(random() % 3) + "-" + std::to_string(client.context.connection_id);
        const auto partition = static_cast<int32_t>(random() % 3);
        switch (random() % 8) {
          case 0:
          case 1: {
            const std::vector<std::string> values(1 + random() % 5, "v");
            const Offset base = produce(client, values, partition);
            for (size_t i = 0; i < values.size(); ++i) produced.emplace(partition, base + static_cast<Offset>(i));
            break;
          }
          case 2:
          case 3:
          case 4: {
            const LeasedRecords got = leased(client, ask(member, static_cast<int64_t>(1 + random() % 6), {partition}));
            for (const Record& record : records_of(got.partitions.at(0))) {
              ASSERT_FALSE(accepted.contains({partition, record.offset})) << "accepted, and given again";
              for (const Held& each : held)
                ASSERT_FALSE(each.partition == partition && each.offset == record.offset) << "another member's";
              held.push_back({&client, member, partition, record.offset});
            }
            break;
          }
          case 5:
          case 6: {
            if (held.empty()) break;
            const size_t at = random() % held.size();
            const Held one = held[at];
            const bool accepts = random() % 4 != 0;
            SettleLeases request{"g", one.member, {{"t", {}}}, {}};
            request.settled.push_back({0, one.partition, {{one.offset, one.offset, accepts ? What::accept : What::release}}});
            std::optional<Code> code;
            one.client->hall->execute(one.client->context, std::move(request), [&](Reply reply) {
              const auto* done = std::get_if<LeasesSettled>(&reply);
              code = done ? done->settled.at(0) : Code::shutting_down;
            });
            if (random() % 3 == 0) {  // cut in the middle of it
              rig.world.run_for(Duration::micros(static_cast<int64_t>(random() % 400)));
              if (code == Code::ok && accepts) accepted.emplace(one.partition, one.offset);
              restart();
              break;
            }
            ASSERT_TRUE(rig.world.run_until([&] { return code.has_value(); }, Duration::seconds(30)));
            ASSERT_EQ(*code, Code::ok);
            ++settled;
            if (accepts) accepted.emplace(one.partition, one.offset);
            held.erase(held.begin() + static_cast<std::ptrdiff_t>(at));
            break;
          }
          case 7:
            if (random() % 4 == 0) {
              restart();
            } else {
              rig.close(client);
              rig.settle();
              std::erase_if(held, [&](const Held& each) { return each.client == &client; });
              *std::find(clients.begin(), clients.end(), &client) = &kafka(static_cast<CoreIndex>(random() % 3));
            }
            break;
        }
      }
      // Whoever held something gives it back; then one member accepts all that is left.
      restart();
      for (int32_t partition = 0; partition < 3; ++partition) {
        for (int round = 0; round < 100; ++round) {
          const LeasedRecords got = leased(*clients[0], ask("last", 50, {partition}));
          const auto records = records_of(got.partitions.at(0));
          if (records.empty()) break;
          for (const Record& record : records) {
            ASSERT_FALSE(accepted.contains({partition, record.offset}));
            ASSERT_EQ(settle(*clients[0], "last", {{record.offset, record.offset, What::accept}}, partition), Code::ok);
            accepted.emplace(partition, record.offset);
          }
        }
      }
      // What is missing was accepted, and a crash cut the answer.
      for (const auto& one : accepted) ASSERT_TRUE(produced.contains(one));
      ASSERT_LE(produced.size() - accepted.size(), static_cast<size_t>(cuts));
    }
  };
  int crashes = 0, settled = 0;
  const char* given = std::getenv("SEED");
  const uint64_t seed = given ? std::strtoull(given, nullptr, 10) : 1;
  for (uint64_t i = 0; i < 12; ++i) {
    SCOPED_TRACE("SEED=" + std::to_string(seed + i));
    Run run(seed + i);
    run.run(seed + i, crashes, settled);
    if (::testing::Test::HasFatalFailure()) return;
  }
  EXPECT_GT(crashes, 30);
  EXPECT_GT(settled, 100);
}

}  // namespace
}  // namespace robustmq::broker::test
