// Rate: so many a second, and what a second brings at once after a pause (a token bucket that holds a second's worth). Pure, but
// for its one number, an atomic: connections on several cores may draw on the same rate.
//
// Who takes is told when it may go on, and has its place from then: those that wait go in the order in which they asked, and
// need not ask again. So what waits behind a rate is at most one thing for each who asks.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/time.h"

namespace robustmq {

// Thread: any.
class Rate {
 public:
  // `per_second`: at least 1.
  explicit Rate(uint64_t per_second) : per_second_(static_cast<int64_t>(per_second < kMax ? per_second : kMax)) {}
  Rate(const Rate&) = delete;

  // Takes `count` (up to 2^32) and says when it may happen: not after `now` when it may at once. More than a second's worth goes
  // when a whole second's is there, and those behind it wait for all of it, but never beyond two hundred years from now.
  Instant take(Instant now, uint64_t count) {
    const int64_t cost = static_cast<int64_t>(count) * kSecond / per_second_;
    const int64_t latest = now.ns + kTwoHundredYears;
    int64_t paid = paid_until_.load(std::memory_order_relaxed);
    int64_t from = 0;
    int64_t until = 0;
    do {
      from = paid > now.ns - kSecond ? paid : now.ns - kSecond;
      until = from < latest - cost ? from + cost : latest;
    } while (!paid_until_.compare_exchange_weak(paid, until, std::memory_order_relaxed));
    return {from + (cost < kSecond ? cost : kSecond)};
  }

 private:
  static constexpr int64_t kSecond = 1'000'000'000;
  static constexpr int64_t kTwoHundredYears = int64_t{73'050} * 24 * 3600 * kSecond;
  static constexpr uint64_t kMax = 1'000'000'000'000;

  int64_t per_second_;
  std::atomic<int64_t> paid_until_{INT64_MIN / 2};  // when all that was taken so far is paid for
};

}  // namespace robustmq
