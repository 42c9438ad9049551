// What a quota's bucket lets through.
#include "base/quota_bucket.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace robustmq {
namespace {

constexpr Instant kBucketStart{Duration::seconds(1000).ns};

TEST(QuotaBucket, AFullOneGivesItsWorthAtOnce) {
  QuotaBucket bucket(100, Duration::seconds(10));
  EXPECT_DOUBLE_EQ(bucket.worth(), 1000);
  EXPECT_EQ(bucket.take(kBucketStart, 1000), Duration{});
  EXPECT_FALSE(bucket.is_full(kBucketStart));
  EXPECT_EQ(bucket.take(kBucketStart, 50), Duration::millis(500));
  EXPECT_EQ(bucket.owed(kBucketStart), Duration::millis(500));
  EXPECT_EQ(bucket.owed(kBucketStart + Duration::seconds(1)), Duration{});
  EXPECT_TRUE(bucket.is_full(kBucketStart + Duration::millis(10'500)));
}

TEST(QuotaBucket, TheRateHoldsHoweverManyTakeAndHoweverMuch) {
  for (const double size : {1.0, 333.0, 5'000.0}) {
    for (const int takers : {1, 7}) {
      QuotaBucket bucket(100, Duration::seconds(10));
      std::vector<Instant> next(static_cast<size_t>(takers), kBucketStart);
      double taken = 0;
      const Instant end = kBucketStart + Duration::seconds(3'000);
      for (;;) {
        auto who = std::min_element(next.begin(), next.end());
        if (*who > end) break;
        taken += size;
        *who = *who + std::max(bucket.take(*who, size), Duration::millis(1));
      }
      const double allowed = 100 * 3'000 + bucket.worth();
      EXPECT_LE(taken, allowed + size * (takers + 1)) << size << " " << takers;
      EXPECT_GE(taken, (allowed - size * takers) * 0.99) << size << " " << takers;
    }
  }
}

TEST(QuotaBucket, OwesNoMoreThanItsLimit) {
  QuotaBucket bucket(1e-9, Duration::seconds(1));
  EXPECT_EQ(bucket.take(kBucketStart, 1e18), QuotaBucket::kOwedMax - Duration::seconds(1)) << "a second was saved";
  EXPECT_EQ(bucket.take(kBucketStart, 1e18), QuotaBucket::kOwedMax);
}

TEST(QuotaBucket, AnotherRateKeepsWhatIsOwedAndSaved) {
  QuotaBucket bucket(100, Duration::seconds(10));
  bucket.take(kBucketStart, 3'000);
  EXPECT_EQ(bucket.owed(kBucketStart), Duration::seconds(20));
  bucket.set_rate(kBucketStart, 1'000);
  EXPECT_EQ(bucket.owed(kBucketStart), Duration::seconds(2));
  bucket.set_rate(kBucketStart + Duration::seconds(3), 2'000);  // a second's 1,000 are saved
  EXPECT_EQ(bucket.take(kBucketStart + Duration::seconds(3), 1'000), Duration{});
  EXPECT_EQ(bucket.take(kBucketStart + Duration::seconds(3), 2'000), Duration::seconds(1));
}

}  // namespace
}  // namespace robustmq
