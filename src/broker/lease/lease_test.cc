// Queues over shards: who gets which record of a share group, and when.
#include <gtest/gtest.h>

#include <algorithm>

#include "broker/lease/lease_rig.h"

namespace robustmq::broker::test {
namespace {

TEST_F(LeaseTest, GivesARecordToOneMemberAtATime) {
  begin();
  Client& a = kafka(0);
  Client& b = kafka(1);
  EXPECT_EQ(produce(a, {"0", "1", "2"}), 0);
  const auto first = lease(a, "a", 2);
  EXPECT_EQ(offsets(first), (Offsets{0, 1}));
  EXPECT_EQ(first[0].value, "0");
  EXPECT_EQ(first[0].deliveries, 1);
  EXPECT_EQ(offsets(lease(b, "b", 10)), Offsets{2});
  EXPECT_TRUE(lease(b, "b", 10).empty());
  EXPECT_EQ(accept(b, "b", 0, 0), Code::not_found) << "another member's";
  EXPECT_EQ(accept(a, "a", 0, 1), Code::ok);
  EXPECT_EQ(accept(b, "b", 2, 2), Code::ok);
  EXPECT_TRUE(lease(a, "a", 10).empty());
  EXPECT_EQ(described(a).start, 3);
  EXPECT_EQ(described(a).lag, 0);
  EXPECT_EQ(accept(a, "a", 0, 1), Code::ok) << "before the start all is done";
}

TEST_F(LeaseTest, WholeBatchesGoPastTheLimitRecordLimitsDoNot) {
  begin();
  Client& a = kafka();
  produce(a, {"0", "1", "2"});
  produce(a, {"3", "4"});
  LeaseRecords request = ask("a", 1);
  request.whole_batches = true;
  EXPECT_EQ(offsets(records_of(leased(a, request).partitions.at(0))), (Offsets{0, 1, 2}));
  EXPECT_EQ(offsets(lease(a, "a", 1)), Offsets{3});
  EXPECT_EQ(offsets(lease(a, "a", 9)), Offsets{4});
}

TEST_F(LeaseTest, BytesAreALimitButForTheFirstBatch) {
  begin();
  Client& a = kafka();
  for (int i = 0; i < 4; ++i) produce(a, {std::string(1000, 'x')});
  LeaseRecords request = ask("a", 100);
  request.bytes_max = 1;
  EXPECT_EQ(records_of(leased(a, request).partitions.at(0)).size(), 1u);
  request.bytes_max = 2500;
  EXPECT_EQ(records_of(leased(a, request).partitions.at(0)).size(), 2u);
  request.bytes_max = 1 << 20;
  EXPECT_EQ(records_of(leased(a, request).partitions.at(0)).size(), 1u);
}

TEST_F(LeaseTest, GoesOverManyWindowsInOneRequest) {
  begin();
  Client& a = kafka();
  for (int i = 0; i < 20; ++i) produce(a, {std::string(50'000, 'x'), std::string(50'000, 'y')});
  const auto all = lease(a, "a", 1000);
  ASSERT_EQ(all.size(), 40u);
  EXPECT_EQ(all[39].value[0], 'y');
  EXPECT_EQ(accept(a, "a", 0, 39), Code::ok);
}

TEST_F(LeaseTest, RequestsGoAlongThePartitionsOfAllCores) {
  begin(4);
  Client& a = kafka(1);
  for (int32_t p = 0; p < 4; ++p) produce(a, {"x", "y"}, p);
  const LeasedRecords some = leased(a, ask("a", 5, {2, 0, 1, 3}));
  int64_t count = 0;
  for (const LeasedPartition& row : some.partitions) count += static_cast<int64_t>(records_of(row).size());
  EXPECT_EQ(count, 5) << "never more than was asked";
  EXPECT_EQ(some.lease_ms, 30'000);
  count = 0;
  for (const LeasedPartition& row : leased(a, ask("a", 50, {0, 1, 2, 3})).partitions)
    count += static_cast<int64_t>(records_of(row).size());
  EXPECT_EQ(count, 3);
}

TEST_F(LeaseTest, Case60ReleaseRejectAndGapsByOffset) {
  begin();
  Client& a = kafka();
  produce(a, {"0", "1", "2", "3"});
  EXPECT_EQ(lease(a, "a", 4).size(), 4u);
  EXPECT_EQ(settle(a, "a", {{0, 0, What::release}, {1, 1, What::reject}, {2, 2, What::accept}, {3, 3, What::release}}), Code::ok);
  const auto again = lease(a, "b", 10);
  EXPECT_EQ(offsets(again), (Offsets{0, 3}));
  EXPECT_EQ(again[0].deliveries, 2);
  // All of a partition's ranges, or none.
  EXPECT_EQ(settle(a, "b", {{0, 0, What::accept}, {1, 1, What::accept}}), Code::not_found);
  EXPECT_EQ(described(a).start, 0);
  EXPECT_EQ(settle(a, "b", {{0, 0, What::accept}, {3, 3, What::accept}}), Code::ok);
  EXPECT_EQ(described(a).start, 4);
}

TEST_F(LeaseTest, Case60ALockThatRunsOutCountsADeliveryAndTheLimitEndsIt) {
  begin();
  Client& a = kafka();
  produce(a, {"poison"});
  for (int i = 1; i <= 5; ++i) {
    const auto got = lease(a, "a", 1);
    ASSERT_EQ(got.size(), 1u) << i;
    EXPECT_EQ(got[0].deliveries, i);
    EXPECT_TRUE(lease(a, "b", 1).empty());
    rig.world.run_for(Duration::seconds(31));
  }
  EXPECT_TRUE(lease(a, "a", 1).empty()) << "given to nobody any more";
  EXPECT_EQ(described(a).start, 1);
  uint64_t expired = 0;
  for (const auto& hall : rig.halls) expired += hall->queue_metrics().leases_expired_total;
  EXPECT_EQ(expired, 5u);
}

TEST_F(LeaseTest, RenewalsKeepALockUnlessTheGroupHasNone) {
  begin();
  Client& a = kafka();
  produce(a, {"0"});
  EXPECT_EQ(lease(a, "a", 1).size(), 1u);
  for (int i = 0; i < 3; ++i) {
    rig.world.run_for(Duration::seconds(20));
    EXPECT_EQ(settle(a, "a", {{0, 0, What::renew}}), Code::ok);
  }
  EXPECT_TRUE(lease(a, "b", 1).empty());
  set(a, "share_renew_acknowledge_enable", "false");
  EXPECT_EQ(settle(a, "a", {{0, 0, What::renew}}), Code::invalid_argument);
  rig.world.run_for(Duration::seconds(31));
  EXPECT_EQ(lease(a, "b", 1).at(0).deliveries, 2);
}

TEST_F(LeaseTest, AGroupsSettingsTakeEffectAtOnce) {
  begin();
  Client& a = kafka();
  produce(a, std::vector<std::string>(300, "x"));
  set(a, "share_partition_max_record_locks", "100");
  EXPECT_EQ(lease(a, "a", 200).size(), 100u);
  EXPECT_TRUE(lease(a, "b", 200).empty()) << "the partition's locks are all taken";
  set(a, "share_partition_max_record_locks", "150");
  set(a, "share_record_lock_duration_ms", "15000");
  EXPECT_EQ(lease(a, "b", 200).size(), 50u);
  rig.world.run_for(Duration::seconds(16));
  EXPECT_EQ(lease(a, "c", 200).size(), 50u) << "b's, whose locks were short";
}

TEST_F(LeaseTest, WhatAConnectionHeldGoesBackWhenItEnds) {
  begin();
  Client& a = kafka(0);
  Client& b = kafka(1);
  produce(a, {"0", "1"});
  EXPECT_EQ(lease(a, "a", 1).size(), 1u);
  EXPECT_EQ(lease(b, "b", 1).size(), 1u);
  rig.close(a);
  rig.settle();
  EXPECT_EQ(lease(b, "b", 9).at(0).deliveries, 2) << "it may have been at work on it";
  // A member that says so was not.
  rig.ask_for<LeftQueue>(b, LeaveQueue{"g", "b"});
  rig.settle();
  const auto rest = lease(kafka(2), "c", 9);
  EXPECT_EQ(offsets(rest), (Offsets{0, 1}));
  EXPECT_EQ(rest[0].deliveries, 2);
  EXPECT_EQ(rest[1].deliveries, 1);
}

TEST_F(LeaseTest, AnOlderConnectionOfAMemberTakesNothingWithIt) {
  begin();
  Client& old = kafka(0);
  Client& young = kafka(1);
  produce(old, {"0", "1"});
  EXPECT_EQ(lease(old, "a", 1).size(), 1u);
  EXPECT_EQ(lease(young, "a", 1).size(), 1u);
  rig.close(old);
  rig.settle();
  EXPECT_TRUE(lease(young, "b", 9).empty());
  EXPECT_EQ(accept(young, "a", 0, 1), Code::ok);
}

TEST_F(LeaseTest, AParkedRequestWakesByARecordAndByARelease) {
  begin();
  Client& a = kafka(1);
  Client& b = kafka(2);
  std::optional<LeasedRecords> got;
  const auto park = [&](int32_t wait_ms) {
    got.reset();
    a.hall->execute(a.context, ask("a", 1, {0}, wait_ms), [&](Reply reply) { got = std::get<LeasedRecords>(std::move(reply)); });
    rig.settle();
  };
  park(60'000);
  EXPECT_FALSE(got.has_value());
  produce(b, {"0"});
  ASSERT_TRUE(rig.world.run_until([&] { return got.has_value(); }, Duration::seconds(5)));
  EXPECT_EQ(records_of(got->partitions.at(0)).size(), 1u);
  EXPECT_EQ(accept(a, "a", 0, 0), Code::ok);

  produce(b, {"1"});
  EXPECT_EQ(lease(b, "b", 1).size(), 1u);
  park(60'000);
  EXPECT_FALSE(got.has_value());
  EXPECT_EQ(settle(b, "b", {{1, 1, What::release}}), Code::ok);
  ASSERT_TRUE(rig.world.run_until([&] { return got.has_value(); }, Duration::seconds(5)));
  EXPECT_EQ(records_of(got->partitions.at(0)).at(0).deliveries, 2);
  // And by a lock that runs out.
  park(60'000);
  std::optional<LeasedRecords> other;
  b.hall->execute(b.context, ask("b", 1, {0}, 60'000), [&](Reply reply) { other = std::get<LeasedRecords>(std::move(reply)); });
  ASSERT_TRUE(rig.world.run_until([&] { return got.has_value() || other.has_value(); }, Duration::seconds(40)));
}

TEST_F(LeaseTest, AParkedRequestIsAnsweredWhenItsTimeIsOver) {
  begin();
  Client& a = kafka(1);
  EXPECT_TRUE(lease(a, "a", 1, 500).empty());
  EXPECT_EQ(rig.halls[1]->lease_metrics().requests_parked_total, 1u);
  EXPECT_EQ(rig.halls[1]->lease_metrics().requests_waiting, 0);
  // One whose connection ends leaves nothing behind.
  a.hall->execute(a.context, ask("a", 1, {0}, 60'000), [](const Reply&) { ADD_FAILURE(); });
  rig.settle();
  rig.close(a);
  rig.settle();
  Client& b = kafka(2);
  produce(b, {"0"});
  EXPECT_EQ(lease(b, "b", 1).size(), 1u);
}

TEST_F(LeaseTest, EveryWaitingMemberGetsItsRecord) {
  begin();
  Client& producer = kafka(0);
  constexpr int kMembers = 30;
  int answered = 0;
  std::set<Offset> seen;
  for (int i = 0; i < kMembers; ++i) {
    Client& client = kafka(static_cast<CoreIndex>(i));
    client.hall->execute(client.context, ask("m" + std::to_string(i), 1, {0}, 60'000), [&](Reply reply) {
      const auto got = std::get<LeasedRecords>(std::move(reply));
      for (const Record& record : records_of(got.partitions.at(0))) EXPECT_TRUE(seen.insert(record.offset).second);
      ++answered;
    });
  }
  rig.settle();
  EXPECT_EQ(answered, 0);
  produce(producer, std::vector<std::string>(20, "x"));
  for (int i = 0; i < 10; ++i) produce(producer, {"y"});
  EXPECT_TRUE(rig.world.run_until([&] { return answered == kMembers; }, Duration::seconds(10))) << answered;
  EXPECT_EQ(seen.size(), 30u);
}

TEST_F(LeaseTest, WaitsForTheBytesAskedAndHoldsWhatItHas) {
  begin(2);
  Client& a = kafka(1);
  Client& b = kafka(2);
  std::optional<LeasedRecords> got;
  const auto park = [&](int64_t bytes_min, int32_t wait_ms) {
    got.reset();
    LeaseRecords request = ask("a", 100, {0, 1}, wait_ms);
    request.bytes_min = bytes_min;
    a.hall->execute(a.context, std::move(request), [&](Reply reply) { got = std::get<LeasedRecords>(std::move(reply)); });
    rig.settle();
  };
  const auto all = [&] {
    std::vector<Offset> offsets_of_both;
    for (const LeasedPartition& row : got->partitions) {
      for (const Offset offset : offsets(records_of(row))) offsets_of_both.push_back(offset);
    }
    return offsets_of_both;
  };
  produce(b, {std::string(1000, 'x')});
  park(2500, 60'000);
  EXPECT_FALSE(got.has_value());
  EXPECT_TRUE(lease(b, "b", 9).empty()) << "it is held for who waits";
  produce(b, {std::string(1000, 'x')}, 1);
  rig.settle();
  EXPECT_FALSE(got.has_value());
  produce(b, {std::string(1000, 'x')});
  ASSERT_TRUE(rig.world.run_until([&] { return got.has_value(); }, Duration::seconds(5)));
  EXPECT_EQ(all(), (Offsets{0, 1, 0})) << "each once, in the order of its partition";
  EXPECT_EQ(accept(a, "a", 0, 1), Code::ok);

  // The time that it may wait, and half of a lease, are over without as many.
  for (const int32_t wait_ms : {500, 60'000}) {
    produce(b, {"little"});
    park(2500, wait_ms);
    EXPECT_FALSE(got.has_value());
    const Duration most = Duration::millis(std::min(wait_ms, 15'000) + 500);
    ASSERT_TRUE(rig.world.run_until([&] { return got.has_value(); }, most)) << wait_ms;
    EXPECT_EQ(all().size(), 1u);
  }
  // What comes back before what it holds cannot be had in order: it is answered with what it has.
  produce(b, {"c0"}, 1);
  EXPECT_EQ(records_of(leased(b, ask("b", 1, {1})).partitions.at(0)).size(), 1u);
  produce(b, {"c1"}, 1);
  park(2500, 60'000);
  EXPECT_FALSE(got.has_value());
  EXPECT_EQ(settle(b, "b", {{1, 1, What::release}}, 1), Code::ok);
  ASSERT_TRUE(rig.world.run_until([&] { return got.has_value(); }, Duration::seconds(2)));
  EXPECT_EQ(all(), Offsets{2});
  // So too where the next batch goes over its bytes.
  produce(b, {std::string(1000, 'e')});
  produce(b, {std::string(3000, 'e')});
  got.reset();
  LeaseRecords bounded = ask("a", 100, {0}, 60'000);
  bounded.bytes_min = bounded.bytes_max = 2'000;
  a.hall->execute(a.context, std::move(bounded), [&](Reply reply) { got = std::get<LeasedRecords>(std::move(reply)); });
  ASSERT_TRUE(rig.world.run_until([&] { return got.has_value(); }, Duration::seconds(2)));
  EXPECT_EQ(all().size(), 1u);
  lease(a, "a", 9);
  // A connection that ends while it holds gives it back.
  produce(b, {"d"});
  park(2500, 60'000);
  EXPECT_FALSE(got.has_value());
  rig.close(a);
  rig.settle();
  EXPECT_FALSE(lease(b, "b", 9).empty());
}

TEST_F(LeaseTest, ALightTopicIsRefusedByName) {
  begin();
  Client& device = rig.connect("device");
  rig.open(device, {.client_id = "device"});
  EXPECT_EQ(rig.publish(device, "plant/line1", "x", 1), Code::ok);
  HeartbeatShare request;
  request.group = "light";
  request.member_id = "a";
  request.topics = {"t", "plant.line1"};
  const auto reply = rig.ask_for<ConsumerHeartbeatReply>(kafka(1), request);
  EXPECT_EQ(reply.code, Code::invalid_argument);
  EXPECT_NE(reply.detail.find("plant.line1"), std::string::npos) << reply.detail;
  request.topics = {"t", "not.there.yet"};
  EXPECT_EQ(rig.ask_for<ConsumerHeartbeatReply>(kafka(1), request).code, Code::ok);
}

}  // namespace
}  // namespace robustmq::broker::test
