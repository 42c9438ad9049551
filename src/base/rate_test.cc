#include "base/rate.h"

#include <gtest/gtest.h>

namespace robustmq {
namespace {

constexpr Instant kStart{5'000'000'000};

TEST(Rate, GivesASecondsWorthAtOnceAndThenOneAfterTheOther) {
  Rate rate(10);
  for (int i = 0; i < 10; ++i) EXPECT_LE(rate.take(kStart, 1), kStart) << i;
  EXPECT_EQ(rate.take(kStart, 1), kStart + Duration::millis(100));
  EXPECT_EQ(rate.take(kStart, 1), kStart + Duration::millis(200));
  EXPECT_EQ(rate.take(kStart + Duration::millis(150), 2), kStart + Duration::millis(400));
}

TEST(Rate, SavesNoMoreThanASecondsWorth) {
  Rate rate(10);
  EXPECT_LE(rate.take(kStart, 10), kStart);
  const Instant later = kStart + Duration::seconds(60);
  EXPECT_LE(rate.take(later, 10), later);
  EXPECT_GT(rate.take(later, 1), later);
}

TEST(Rate, LetsWhatIsLargerThanASecondsWorthThrough) {
  Rate rate(1'000);
  EXPECT_LE(rate.take(kStart, 5'000), kStart) << "a full second's worth is there";
  EXPECT_EQ(rate.take(kStart, 1), kStart + Duration::millis(4'001));
}

TEST(Rate, TakesTheLargestNumbers) {
  Rate slow(1);
  slow.take(kStart, UINT32_MAX);
  EXPECT_GT(slow.take(kStart, 1), kStart + Duration::seconds(UINT32_MAX - 2));
  for (int i = 0; i < 10; ++i) slow.take(kStart, UINT32_MAX);
  EXPECT_LE(slow.take(kStart, 1), kStart + Duration::seconds(int64_t{201} * 366 * 24 * 3600)) << "two hundred years at most";
  Rate fast(UINT64_MAX);
  EXPECT_LE(fast.take(kStart, UINT32_MAX), kStart);
}

}  // namespace
}  // namespace robustmq
