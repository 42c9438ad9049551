// The measuring itself: percentiles, CPU clocks, and the Kafka load against the bare loop, end to end and tiny.
#include <gtest/gtest.h>
#include <unistd.h>

#include "tools/bench/kafka_load.h"
#include "tools/bench/kafka_wire.h"
#include "tools/bench/measure.h"

namespace robustmq::bench {
namespace {

TEST(Samples, GivesPercentilesInMicroseconds) {
  Samples samples;
  EXPECT_EQ(samples.percentile_us(50), 0);
  for (int i = 100; i >= 0; --i) samples.add(i * 1000);
  EXPECT_EQ(samples.percentile_us(0), 0);
  EXPECT_EQ(samples.percentile_us(50), 50);
  EXPECT_EQ(samples.percentile_us(99), 99);
  EXPECT_EQ(samples.percentile_us(100), 100);
}

TEST(Measure, ReadsTheCpuClockAndTheMemoryOfAProcess) {
  const int64_t before = cpu_ns_of(::getpid());
  const int64_t end = now_ns() + 5'000'000;
  while (now_ns() < end) {
  }
  EXPECT_GT(cpu_ns_of(::getpid()), before);
  EXPECT_GT(status_kb(::getpid(), "VmRSS"), 100);
  EXPECT_EQ(status_kb(::getpid(), "Vm"), -1);
}

Options tiny() {
  Options options;
  options.seconds = 0.05;
  options.warmup_s = 0.02;
  options.fill_mib = 4;
  options.dir = ::testing::TempDir();
  return options;
}

double value_of(const Report& report, std::string_view name) {
  for (const auto& [known, value] : report.values()) {
    if (known == name) return value;
  }
  return -1;
}

TEST(KafkaLoad, ProducesToTheBareLoop) {
  const Report report = run_kafka_produce(tiny(), true);
  EXPECT_GT(value_of(report, "MBs"), 0);
  EXPECT_GT(value_of(report, "broker_cpu_s_per_gb"), 0);
}

TEST(KafkaLoad, FetchesFromTheBareLoopRoundAndRound) {
  const Report report = run_kafka_fetch(tiny(), true);
  EXPECT_GT(value_of(report, "MBs"), 4) << "more than was filled in";
}

// Sizes of 10 and of 6 bytes, of which the first 6 are looked at.
TEST(Answers, AreFoundWhereverTheyAreCut) {
  const std::string stream = std::string("\0\0\0\6ABCDEF", 10) + std::string("\0\0\0\2ab", 6);
  for (size_t cut = 0; cut <= stream.size(); ++cut) {
    Answers answers;
    std::string heads;
    for (std::string_view data : {std::string_view(stream).substr(0, cut), std::string_view(stream).substr(cut)}) {
      while (!data.empty()) {
        if (answers.take(data, 6)) heads += answers.head().substr(4);
      }
    }
    EXPECT_EQ(heads, "ABab") << "cut at " << cut;
  }
}

}  // namespace
}  // namespace robustmq::bench
