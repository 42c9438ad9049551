// The pure parts of the runtime: timer wheel against a model, endpoints, tasks.
#include <gtest/gtest.h>

#include <cstdio>
#include <memory>
#include <random>
#include <vector>

#include "runtime/net.h"
#include "runtime/task.h"
#include "runtime/timer_wheel.h"

namespace robustmq::runtime {
namespace {

Instant ms(int64_t n) { return {n * 1'000'000}; }

struct Alarm {
  Alarm() : timer([](void* self) { static_cast<Alarm*>(self)->fired = true; }, this) {}
  Timer timer;
  bool fired = false;
};

TEST(TimerWheel, FiresAtTheFirstTickNotBeforeItsInstant) {
  TimerWheel wheel(ms(5));
  Alarm alarm;
  wheel.arm(alarm.timer, Instant{7'000'001});
  EXPECT_EQ(wheel.next_due(), ms(8));
  wheel.advance(Instant{7'999'999});
  EXPECT_FALSE(alarm.fired);
  wheel.advance(ms(8));
  EXPECT_TRUE(alarm.fired);
  EXPECT_EQ(wheel.next_due(), Instant::never());
}

TEST(TimerWheel, PastTimersFireAtTheNextAdvance) {
  TimerWheel wheel(ms(100));
  Alarm alarm;
  wheel.arm(alarm.timer, ms(3));
  EXPECT_LE(wheel.next_due(), ms(100));
  wheel.advance(ms(100));
  EXPECT_TRUE(alarm.fired);
}

TEST(TimerWheel, NeverDisarms) {
  TimerWheel wheel;
  Alarm alarm;
  wheel.arm(alarm.timer, ms(3));
  wheel.arm(alarm.timer, Instant::never());
  EXPECT_FALSE(alarm.timer.is_armed());
  EXPECT_EQ(wheel.next_due(), Instant::never());
}

TEST(TimerWheel, TakesInstantsBeyondItsSpan) {
  TimerWheel wheel;
  Alarm alarm;
  wheel.arm(alarm.timer, Instant{INT64_MAX - 1});
  EXPECT_EQ(wheel.advance(ms(int64_t{1} << 40)), 0u);
  EXPECT_TRUE(alarm.timer.is_armed());
}

struct Rearming {
  explicit Rearming(TimerWheel& of)
      : wheel(of),
        timer(
            [](void* self) {
              auto* me = static_cast<Rearming*>(self);
              ++me->fired;
              me->wheel.arm(me->timer, ms(0));
            },
            this) {}
  TimerWheel& wheel;
  Timer timer;
  int fired = 0;
};

TEST(TimerWheel, ATimerArmedWhileFiringWaitsForTheNextAdvance) {
  TimerWheel wheel;
  Rearming alarm(wheel);
  wheel.arm(alarm.timer, ms(1));
  EXPECT_EQ(wheel.advance(ms(1)), 1u);
  EXPECT_EQ(wheel.advance(ms(1)), 1u);
  EXPECT_EQ(alarm.fired, 2);
}

struct Killer {
  Killer() : timer([](void* self) { static_cast<Killer*>(self)->victim.reset(); }, this) {}
  Timer timer;
  std::unique_ptr<Alarm> victim = std::make_unique<Alarm>();
};

TEST(TimerWheel, ATimerMayDestroyAnotherThatIsDueToo) {
  TimerWheel wheel;
  Killer killer;
  wheel.arm(killer.timer, ms(70));
  wheel.arm(killer.victim->timer, ms(70));
  EXPECT_EQ(wheel.advance(ms(70)), 1u);
}

TEST(TimerWheel, AgreesWithAModelUnderRandomUse) {
  uint64_t seed = std::random_device{}();
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  std::mt19937_64 random(seed);
  Instant now = ms(static_cast<int64_t>(random() % 1'000'000));
  TimerWheel wheel(now);
  std::vector<std::unique_ptr<Alarm>> alarms;
  for (int i = 0; i < 200; ++i) alarms.push_back(std::make_unique<Alarm>());
  for (int round = 0; round < 20'000; ++round) {
    Alarm& alarm = *alarms[random() % alarms.size()];
    switch (random() % 8) {
      case 0:
        alarm.timer.cancel();
        break;
      case 1:
      case 2: {
        // Advances to when the wheel asks for it, checking that it asks in time.
        Instant next = wheel.next_due();
        Instant earliest = Instant::never();
        for (auto& one : alarms) {
          if (one->timer.is_armed()) earliest = std::min(earliest, one->timer.due());
        }
        ASSERT_EQ(next == Instant::never(), earliest == Instant::never());
        if (next == Instant::never()) break;
        ASSERT_LT(next.ns, earliest.ns + TimerWheel::kTickNs + std::max<int64_t>(0, now.ns - earliest.ns));
        now = std::max(now, next);
        wheel.advance(now);
        break;
      }
      case 3:
        now = now + Duration{static_cast<int64_t>(random() % (uint64_t{1} << (random() % 45)))};
        wheel.advance(now);
        break;
      default: {
        alarm.fired = false;
        int64_t ahead = static_cast<int64_t>(random() % (uint64_t{1} << (random() % 48)));
        wheel.arm(alarm.timer, Instant{now.ns + ahead - 1'000'000});
      }
    }
    for (auto& one : alarms) {
      if (one->fired) ASSERT_LE(one->timer.due(), now) << "fired early";
      // What lies a tick or more back was due at some advance, unless armed since.
      if (one->timer.is_armed() && one->timer.due().ns + 2 * TimerWheel::kTickNs < now.ns) {
        wheel.advance(now);
        ASSERT_FALSE(one->timer.is_armed());
      }
    }
  }
}

TEST(Endpoint, ParsesAndPrints) {
  EXPECT_EQ(Endpoint::parse("127.0.0.1:1883")->port, 1883);
  EXPECT_EQ(Endpoint::parse("[::1]:1")->host, "::1");
  EXPECT_EQ(Endpoint::parse("[::1]:1")->to_string(), "[::1]:1");
  EXPECT_EQ(Endpoint::parse("broker.example:9092")->to_string(), "broker.example:9092");
  for (const char* bad :
       {"", ":", "host", "host:", ":1", "host:65536", "host:-1", "host:1x", "::1:5", "[]:1", "[::1:1", "a:1 "}) {
    EXPECT_FALSE(Endpoint::parse(bad).ok()) << bad;
  }
}

Task<int> answer() { co_return 42; }

Task<void> waits(Callback<void(int)>* resume_with, int* seen) {
  int number = co_await answer();
  int given = co_await completion<int>([&](auto done) { *resume_with = std::move(done); });
  *seen = number + given;
}

TEST(TaskScope, RunsTasksThatWaitForCallbacks) {
  TaskScope scope;
  Callback<void(int)> resume_with;
  int seen = 0;
  scope.spawn(waits(&resume_with, &seen));
  EXPECT_FALSE(scope.is_idle());
  resume_with(1);
  EXPECT_TRUE(scope.is_idle());
  EXPECT_EQ(seen, 43);
}

TEST(TaskScope, AbandonsTasksWhereTheyWait) {
  TaskScope scope;
  Callback<void(int)> resume_with;
  int seen = 0;
  scope.spawn(waits(&resume_with, &seen));
  resume_with.reset();
  scope.abandon();
  EXPECT_TRUE(scope.is_idle());
  EXPECT_EQ(seen, 0);
}

}  // namespace
}  // namespace robustmq::runtime
