// QuotaBucket: what a quota still allows: so much a second, and what is saved up in pauses, up to a time's worth (a token
// bucket). Pure, but for its two numbers, atomics: connections on several cores draw on the same bucket.
//
// Unlike a Rate (base/rate.h) it is told what has been done already, and says for how long that overdraws it: who took waits
// that long before he goes on. So each waits until what was taken up to and with himself is paid for, in the order of the
// taking, and over a longer time no more is done than the quota allows, however many take and however much at once. What is
// owed is never more than kOwedMax.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "base/time.h"

namespace robustmq {

// Thread: any.
class QuotaBucket {
 public:
  static constexpr Duration kOwedMax = Duration::seconds(3600);

  // `per_second`: over 0. `saved_max`: what of a pause is kept; a new bucket is full.
  QuotaBucket(double per_second, Duration saved_max) : per_second_(per_second), saved_max_(saved_max) {}
  QuotaBucket(const QuotaBucket&) = delete;

  double per_second() const { return per_second_.load(std::memory_order_relaxed); }
  Duration saved_max() const { return saved_max_; }
  // What may come at once from a full bucket.
  double worth() const { return per_second() * static_cast<double>(saved_max_.ns) / kSecond; }

  // Takes `count` (0 or more) and says how long it lasts until all is paid for; 0: it is.
  Duration take(Instant now, double count) {
    const double cost_ns = count / per_second() * kSecond;
    const int64_t cost = cost_ns < static_cast<double>(kOwedMax.ns) ? static_cast<int64_t>(cost_ns) : kOwedMax.ns;
    int64_t paid = paid_until_.load(std::memory_order_relaxed);
    int64_t until = 0;
    do {
      until = std::min(std::max(paid, now.ns - saved_max_.ns) + cost, now.ns + kOwedMax.ns);
    } while (!paid_until_.compare_exchange_weak(paid, until, std::memory_order_relaxed));
    return {std::max<int64_t>(until - now.ns, 0)};
  }
  // How long it lasts until all that was taken is paid for.
  Duration owed(Instant now) const {
    return {std::clamp<int64_t>(paid_until_.load(std::memory_order_relaxed), now.ns, now.ns + kOwedMax.ns) - now.ns};
  }
  bool is_full(Instant now) const { return paid_until_.load(std::memory_order_relaxed) <= now.ns - saved_max_.ns; }

  // Another quota from now on; what is owed or saved is worth the same count. One thread at a time.
  void set_rate(Instant now, double per_second) {
    const double before = per_second_.exchange(per_second, std::memory_order_relaxed);
    if (before == per_second) return;
    int64_t paid = paid_until_.load(std::memory_order_relaxed);
    int64_t moved = 0;
    do {
      const int64_t ahead = std::clamp<int64_t>(std::max(paid, now.ns - saved_max_.ns) - now.ns, -saved_max_.ns, kOwedMax.ns);
      const double scaled = static_cast<double>(ahead) * before / per_second;
      moved = now.ns +
              static_cast<int64_t>(std::clamp(scaled, static_cast<double>(-saved_max_.ns), static_cast<double>(kOwedMax.ns)));
    } while (!paid_until_.compare_exchange_weak(paid, moved, std::memory_order_relaxed));
  }

 private:
  static constexpr double kSecond = 1e9;

  std::atomic<double> per_second_;
  const Duration saved_max_;
  std::atomic<int64_t> paid_until_{INT64_MIN / 2};  // when all that was taken so far is paid for
};

}  // namespace robustmq
