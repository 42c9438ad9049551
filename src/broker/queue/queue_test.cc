// Each promise of a Queue by itself, and its size. queue_model_test.cc has it against a model.
#include "broker/queue/queue.h"

#include <gtest/gtest.h>

#include <map>
#include <utility>

namespace robustmq::queue {
namespace {

struct Lab {
  QueueOptions options;
  QueueMetrics metrics;
  Now now{{1'000'000'000}, {1'000'000}};
  std::unique_ptr<Queue> made;
  Queue& queue() {
    if (!made) made = std::make_unique<Queue>(options, metrics, nullptr, 0);
    return *made;
  }
  void arrive(Offset first, Offset last, Arrival facts = {}) {
    facts.first = first;
    facts.last = last;
    ASSERT_EQ(queue().arrive(facts, now), Code::ok);
  }
  void add(ConsumerId id, ConsumerFacts facts = {}) {
    facts.id = id;
    ASSERT_EQ(queue().add_consumer(facts, now), Code::ok);
  }
  std::vector<Offset> lease(ConsumerId id, int64_t most) {
    EXPECT_TRUE(queue().lease({.consumer = id, .messages_max = most}, now).ok());
    return taken();
  }
  std::vector<Offset> taken() {
    std::vector<Offset> offsets;
    for (const auto& grant : queue().outputs().grants) {
      for (Offset offset = grant.first; offset <= grant.last; ++offset) offsets.push_back(offset);
    }
    queue().outputs().grants.clear();
    return offsets;
  }
  Code settle(ConsumerId id, Offset first, Offset last, Outcome outcome, WallTime not_before = {0}, LeaseId lease = 0) {
    return queue().settle({{id, first, last, outcome, lease, not_before, {}}}, now)[0];
  }
  void pass(int64_t ms) {
    now.instant = now.instant + Duration::millis(ms);
    now.wall.ms += ms;
    queue().tick(now);
  }
};
using Offsets = std::vector<Offset>;

TEST(Queue, ReturnsExpiredLeaseToTheFront) {
  Lab lab;
  lab.arrive(0, 9);
  lab.add(1);
  EXPECT_EQ(lab.lease(1, 2), (Offsets{0, 1}));
  lab.pass(lab.options.lease_ms);
  EXPECT_EQ(lab.lease(1, 3), (Offsets{0, 1, 2}));
  EXPECT_EQ(lab.metrics.leases_expired_total, 2u);
}

TEST(Queue, ALeaseThatIsOverDoesNotSettleTheOneThatFollowedIt) {
  Lab lab;
  lab.arrive(0, 0);
  lab.add(1);
  lab.lease(1, 1);
  const LeaseId first = lab.queue().browse(0, 1)[0].lease;
  lab.pass(lab.options.lease_ms);
  lab.lease(1, 1);
  EXPECT_EQ(lab.settle(1, 0, 0, Outcome::accept, {0}, first), Code::not_found);
  EXPECT_EQ(lab.settle(1, 0, 0, Outcome::accept, {0}, lab.queue().browse(0, 1)[0].lease), Code::ok);
  EXPECT_EQ(lab.queue().start(), 1);
}

TEST(Queue, RenewKeepsALease) {
  Lab lab;
  lab.arrive(0, 0);
  lab.add(1);
  lab.lease(1, 1);
  lab.pass(20'000);
  EXPECT_EQ(lab.queue().renew(1, 0, 0, 0, 0, lab.now), Code::ok);
  lab.pass(20'000);
  EXPECT_EQ(lab.settle(1, 0, 0, Outcome::accept), Code::ok);
}

TEST(Queue, AMessageThatNobodyCanHandleDies) {
  Lab lab;
  lab.options.delivery_limit = 3;
  lab.arrive(0, 0);
  lab.add(1);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(lab.lease(1, 1), Offsets{0});
    lab.settle(1, 0, 0, Outcome::fail);
  }
  EXPECT_EQ(lab.lease(1, 1), Offsets{});
  ASSERT_EQ(lab.queue().outputs().deaths.size(), 1u);
  EXPECT_EQ(lab.queue().outputs().deaths[0].cause, DeathCause::delivery_limit);
  EXPECT_EQ(lab.queue().start(), 1);
}

// A message given back untried is no poison, unless the limit says so.
TEST(Queue, ReleasesCountWhereTheLimitCountsDeliveries) {
  for (const bool counts : {false, true}) {
    Lab lab;
    lab.options.delivery_limit = 2;
    lab.options.limit_counts_releases = counts;
    lab.arrive(0, 0);
    lab.add(1);
    for (int i = 0; i < 2; ++i) lab.lease(1, 1), lab.settle(1, 0, 0, Outcome::release);
    EXPECT_EQ(lab.queue().outputs().deaths.size(), counts ? 1u : 0u);
  }
}

TEST(Queue, CountsSurviveARestart) {
  Lab lab;
  lab.options.delivery_limit = 2;
  lab.arrive(0, 0);
  lab.add(1);
  lab.lease(1, 1);
  lab.settle(1, 0, 0, Outcome::fail);
  auto again = Queue::restore(lab.options, lab.metrics, nullptr, lab.queue().snapshot().span(), lab.now);
  ASSERT_TRUE(again.ok());
  lab.made = std::move(*again);
  lab.add(1);
  lab.lease(1, 1);
  lab.settle(1, 0, 0, Outcome::fail);
  EXPECT_EQ(lab.queue().outputs().deaths.size(), 1u);
}

TEST(Queue, WaitsUntilTheTimeNamed) {
  Lab lab;
  lab.arrive(0, 0, {.not_before = {1'005'000}});
  lab.arrive(1, 1);
  lab.add(1);
  EXPECT_EQ(lab.lease(1, 5), Offsets{1});
  lab.settle(1, 1, 1, Outcome::fail, {1'003'000});
  EXPECT_EQ(lab.queue().next_timer(lab.now).ns, lab.now.instant.ns + 3'000'000'000);
  lab.pass(2'999);
  EXPECT_EQ(lab.lease(1, 5), Offsets{});
  lab.pass(1);
  EXPECT_EQ(lab.lease(1, 5), Offsets{1});
  lab.pass(2'000);
  EXPECT_EQ(lab.lease(1, 5), Offsets{0});
}

// A short time to live behind a long one ends on time.
TEST(Queue, ExpiresBehindWhatLivesLonger) {
  Lab lab;
  lab.arrive(0, 0, {.expires = {1'100'000}});
  lab.arrive(1, 1, {.expires = {1'001'000}});
  lab.pass(1'000);
  ASSERT_EQ(lab.queue().outputs().deaths.size(), 1u);
  EXPECT_EQ(lab.queue().outputs().deaths[0].first, 1);
  EXPECT_EQ(lab.queue().outputs().deaths[0].cause, DeathCause::expired);
}

TEST(Queue, ATimeToLiveOfNothingReachesWhoWaits) {
  Lab lab;
  lab.add(1);
  lab.queue().credit(1, 1, false, lab.now);
  lab.arrive(0, 0, {.expires = lab.now.wall});
  EXPECT_EQ(lab.taken(), Offsets{0});
  lab.arrive(1, 1, {.expires = lab.now.wall});
  lab.pass(0);
  EXPECT_EQ(lab.queue().outputs().deaths.size(), 1u);
}

TEST(Queue, AGroupIsHeldByOneAndInOrder) {
  Lab lab;
  lab.add(1);
  lab.add(2);
  for (Offset offset = 0; offset < 6; ++offset) lab.arrive(offset, offset, {.group = offset % 2 == 0 ? "even" : "odd"});
  EXPECT_EQ(lab.lease(1, 1), Offsets{0});
  EXPECT_EQ(lab.lease(2, 9), (Offsets{1, 3, 5}));  // another group, several of it
  EXPECT_EQ(lab.lease(2, 9), Offsets{});
  lab.settle(1, 0, 0, Outcome::fail, {lab.now.wall.ms + 100});
  EXPECT_EQ(lab.lease(2, 9), Offsets{}) << "retried in place: the group waits for its first";
  lab.pass(100);
  EXPECT_EQ(lab.lease(2, 9), (Offsets{0, 2, 4}));
}

TEST(Queue, TheHigherLaneGoesFirst) {
  Lab lab;
  lab.arrive(0, 1);
  lab.arrive(2, 2, {.lane = 31});
  lab.arrive(3, 3, {.lane = 4});
  lab.add(1);
  EXPECT_EQ(lab.lease(1, 9), (Offsets{2, 3, 0, 1}));
}

TEST(Queue, OnlyTheActiveConsumerIsGivenMessages) {
  Lab lab;
  lab.options.is_single_active = true;
  lab.add(1);
  lab.add(2, {.priority = 1});
  lab.add(3, {.priority = 1});
  lab.arrive(0, 3);
  EXPECT_EQ(lab.lease(2, 9), Offsets{});
  EXPECT_EQ(lab.lease(1, 2), (Offsets{0, 1}));
  lab.queue().remove_consumer(1, Outcome::release, lab.now);
  EXPECT_EQ(lab.queue().active(), 2u);
  EXPECT_EQ(lab.lease(3, 9), Offsets{});
  EXPECT_EQ(lab.lease(2, 9), (Offsets{0, 1, 2, 3}));
}

TEST(Queue, AnExclusiveConsumerIsAlone) {
  Lab lab;
  lab.add(1, {.is_exclusive = true});
  EXPECT_EQ(lab.queue().add_consumer({.id = 2}, lab.now), Code::already_exists);
  lab.queue().remove_consumer(1, Outcome::release, lab.now);
  lab.add(2);
  EXPECT_EQ(lab.queue().add_consumer({.id = 3, .is_exclusive = true}, lab.now), Code::already_exists);
}

TEST(Queue, CreditIsSharedOutAndPriorityGoesFirst) {
  Lab lab;
  lab.add(1);
  lab.add(2);
  lab.add(3, {.priority = 5, .in_flight_max = 2});
  for (ConsumerId id = 1; id <= 3; ++id) lab.queue().credit(id, 10, false, lab.now);
  for (Offset offset = 0; offset < 6; ++offset) lab.arrive(offset, offset);
  std::map<ConsumerId, int> got;
  for (const auto& grant : lab.queue().outputs().grants) ++got[grant.consumer];
  EXPECT_EQ(lab.queue().outputs().grants[0].consumer, 3u);
  EXPECT_EQ(got[3], 2);
  EXPECT_EQ(got[1], 2);
  EXPECT_EQ(got[2], 2);
}

TEST(Queue, ADrainEndsAtOnce) {
  Lab lab;
  lab.add(1);
  lab.arrive(0, 1);
  lab.queue().credit(1, 5, true, lab.now);
  EXPECT_EQ(lab.taken(), (Offsets{0, 1}));
  ASSERT_EQ(lab.queue().outputs().drained.size(), 1u);
  EXPECT_EQ(lab.queue().outputs().drained[0].unused, 3);
  lab.arrive(2, 2);
  EXPECT_EQ(lab.taken(), Offsets{});
}

TEST(Queue, TheOldestGoesWhenThereAreTooMany) {
  Lab lab;
  lab.options.length_max = 3;
  lab.add(1);
  lab.arrive(0, 1);
  lab.lease(1, 1);  // what is leased does not count
  lab.arrive(2, 5);
  EXPECT_EQ(lab.queue().count(State::available), 3);
  ASSERT_EQ(lab.queue().outputs().deaths.size(), 1u);
  EXPECT_EQ(lab.queue().outputs().deaths[0].first, 1);
  EXPECT_EQ(lab.queue().outputs().deaths[0].last, 2);
  lab.options.is_overflow_rejected = true;
  EXPECT_EQ(lab.queue().room(), 0);
}

TEST(Queue, PurgeLeavesWhatIsLeased) {
  Lab lab;
  lab.add(1);
  lab.arrive(0, 9);
  lab.lease(1, 2);
  EXPECT_EQ(lab.queue().purge(10, lab.now), 8);
  EXPECT_EQ(lab.queue().count(State::leased), 2);
  EXPECT_EQ(lab.settle(1, 0, 1, Outcome::accept), Code::ok);
  EXPECT_EQ(lab.queue().start(), 10);
}

TEST(Queue, NothingIsLeasedOfAPausedQueue) {
  Lab lab;
  lab.add(1);
  lab.queue().pause();
  lab.arrive(0, 0);
  EXPECT_EQ(lab.lease(1, 1), Offsets{});
  lab.queue().credit(1, 1, false, lab.now);
  lab.queue().resume(lab.now);
  EXPECT_EQ(lab.taken(), Offsets{0});
}

TEST(Queue, ARestoredQueueLeasesNothingBeforeItKnowsItsFacts) {
  Lab lab;
  const Bytes empty = lab.queue().snapshot();
  lab.arrive(0, 0, {.group = "g"});
  lab.arrive(1, 1, {.group = "g"});
  lab.add(1);
  lab.lease(1, 2);
  lab.settle(1, 1, 1, Outcome::fail);
  auto again = Queue::restore(lab.options, lab.metrics, nullptr, empty.span(), lab.now);
  ASSERT_TRUE(again.ok());
  for (const Delta& delta : lab.queue().outputs().deltas) ASSERT_TRUE((*again)->replay(delta, lab.now).ok());
  lab.made = std::move(*again);
  lab.add(1);
  EXPECT_EQ(lab.lease(1, 9), Offsets{});
  lab.arrive(0, 0, {.group = "g"});
  EXPECT_EQ(lab.lease(1, 9), Offsets{});
  lab.arrive(1, 1, {.group = "g"});
  EXPECT_EQ(lab.lease(1, 1), Offsets{0}) << "the group's first, though the second was tried";
}

TEST(Queue, RefusesMoreThanItsTablesHold) {
  Lab lab;
  lab.options.extras_max = 2;
  lab.options.ranges_max = 16;
  lab.arrive(0, 0, {.group = "a"});
  lab.arrive(1, 1, {.group = "b"});
  EXPECT_EQ(lab.queue().arrive({.first = 2, .last = 2, .group = "c"}, lab.now), Code::quota_exceeded);
  for (Offset offset = 2; offset < 16; ++offset) lab.arrive(offset, offset, {.lane = static_cast<uint8_t>(offset)});
  EXPECT_EQ(lab.queue().arrive({.first = 16, .last = 16}, lab.now), Code::quota_exceeded);
  EXPECT_EQ(lab.metrics.arrivals_refused_total, 2u);
  EXPECT_EQ(lab.queue().next_arrival(), 16) << "refused arrivals come again";
}

// ---- Size ----

TEST(Queue, ABacklogOfAnyLengthIsOneRange) {
  Lab lab;
  for (Offset first = 0; first < 10'000'000'000; first += 1'000'000'000) lab.arrive(first, first + 999'999'999);
  EXPECT_EQ(lab.queue().range_count(), 1u);
  lab.add(1);
  EXPECT_EQ(lab.lease(1, 100'000).size(), 100'000u);
  EXPECT_EQ(lab.queue().range_count(), 2u);
  EXPECT_EQ(lab.settle(1, 0, 99'999, Outcome::accept), Code::ok);
  EXPECT_EQ(lab.queue().range_count(), 1u);
  EXPECT_LT(lab.queue().snapshot().size(), 64u);
}

TEST(Queue, TenThousandMembersHoldAHundredThousandMessages) {
  Lab lab;
  constexpr ConsumerId kMembers = 10'000;
  constexpr Offset kMessages = 100'000;
  for (ConsumerId id = 1; id <= kMembers; ++id) {
    lab.add(id);
    ASSERT_EQ(lab.queue().credit(id, 20, false, lab.now), Code::ok);
  }
  EXPECT_EQ(lab.queue().add_consumer({.id = kMembers + 1}, lab.now), Code::quota_exceeded);
  for (Offset offset = 0; offset < kMessages + 10'000; ++offset) lab.arrive(offset, offset);
  EXPECT_EQ(lab.queue().count(State::leased), kMessages) << "the limit of what is in flight";
  EXPECT_EQ(lab.queue().count(State::available), 10'000);
  std::map<ConsumerId, std::vector<Offset>> held;
  for (const auto& grant : lab.queue().outputs().grants) {
    for (Offset offset = grant.first; offset <= grant.last; ++offset) held[grant.consumer].push_back(offset);
  }
  lab.queue().outputs() = {};
  ASSERT_EQ(held.size(), kMembers);
  for (const auto& [id, offsets] : held) ASSERT_EQ(offsets.size(), 10u) << "each an equal part";
  // Odd members go; the others accept everything, and what the odd ones held.
  for (ConsumerId id = 1; id <= kMembers; id += 2) lab.queue().credit(id, 0, false, lab.now);
  for (ConsumerId id = 1; id <= kMembers; id += 2) lab.queue().remove_consumer(id, Outcome::release, lab.now);
  for (ConsumerId id = 2; id <= kMembers; id += 2) {
    ASSERT_EQ(lab.queue().credit(id, 1000, false, lab.now), Code::ok);
  }
  for (const auto& [id, offsets] : held) {
    if (id % 2 != 0) continue;
    for (const Offset offset : offsets) ASSERT_EQ(lab.settle(id, offset, offset, Outcome::accept), Code::ok);
  }
  while (!lab.queue().outputs().grants.empty()) {
    const auto grants = std::exchange(lab.queue().outputs().grants, {});
    for (const auto& grant : grants) ASSERT_EQ(lab.settle(grant.consumer, grant.first, grant.last, Outcome::accept), Code::ok);
  }
  EXPECT_EQ(lab.queue().start(), kMessages + 10'000);
  EXPECT_EQ(lab.queue().range_count(), 0u);
}

TEST(Queue, GivesNothingAtOrPastWhatWasAsked) {
  Lab lab;
  lab.arrive(0, 9);
  lab.add(1);
  EXPECT_EQ(lab.queue().first_ready(), Offset{0});
  ASSERT_TRUE(lab.queue().lease({.consumer = 1, .messages_max = 100, .below = 4}, lab.now).ok());
  EXPECT_EQ(lab.taken(), (Offsets{0, 1, 2, 3}));
  EXPECT_EQ(lab.queue().first_ready(), Offset{4});
  EXPECT_EQ(lab.queue().lease({.consumer = 1, .messages_max = 1, .below = 4}, lab.now).value(), 0);
  EXPECT_TRUE(lab.queue().holds(1, 0, 3));
  EXPECT_FALSE(lab.queue().holds(1, 0, 4));
  EXPECT_EQ(lab.lease(1, 100).size(), 6u);
  EXPECT_EQ(lab.queue().first_ready(), std::nullopt);
}

TEST(Queue, CountsNoDeliveryThatNobodyLookedAt) {
  Lab lab;
  lab.options.delivery_limit = 2;
  lab.options.limit_counts_releases = true;
  lab.arrive(0, 0);
  lab.add(1);
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(lab.queue().lease({.consumer = 1}, lab.now).ok());
    ASSERT_EQ(lab.queue().outputs().grants.at(0).acquired, 1);
    lab.queue().outputs() = {};
    EXPECT_EQ(lab.settle(1, 0, 0, Outcome::unread), Code::ok);
    EXPECT_TRUE(lab.queue().outputs().deltas.empty()) << "nothing that is to be written changed";
  }
  EXPECT_EQ(lab.lease(1, 1), Offsets{0});
  lab.queue().remove_consumer(1, Outcome::unread, lab.now);
  lab.add(2);
  EXPECT_EQ(lab.lease(2, 1), Offsets{0});
  EXPECT_EQ(lab.settle(2, 0, 0, Outcome::release), Code::ok);
  EXPECT_EQ(lab.lease(2, 1), Offsets{0});
  EXPECT_EQ(lab.settle(2, 0, 0, Outcome::release), Code::ok);
  EXPECT_EQ(lab.queue().start(), 1) << "its two deliveries are over";
}

TEST(Queue, PassesOverOffsetsThatDoNotExist) {
  Lab lab;
  lab.arrive(0, 1);
  lab.queue().skip(5, lab.now);
  EXPECT_EQ(lab.queue().next_arrival(), 5);
  EXPECT_EQ(lab.queue().end(), 5);
  lab.queue().skip(3, lab.now);
  EXPECT_EQ(lab.queue().next_arrival(), 5);
  lab.arrive(5, 5);
  lab.add(1);
  EXPECT_EQ(lab.lease(1, 10), (Offsets{0, 1, 5}));
  EXPECT_EQ(lab.settle(1, 0, 1, Outcome::accept), Code::ok);
  EXPECT_EQ(lab.queue().start(), 5);
}

}  // namespace
}  // namespace robustmq::queue
