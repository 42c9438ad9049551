// The promises of the log and of the metrics.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "observe/log.h"
#include "observe/metrics.h"

namespace robustmq::observe {
namespace {

class LinesSink final : public LogSink {
 public:
  WallTime now() override { return time; }
  void write(Level, std::string_view line) override { lines.emplace_back(line); }

  WallTime time{1795296615123};  // 2026-11-21T21:30:15.123Z
  std::vector<std::string> lines;
};

TEST(Log, WritesOneLineAnEvent) {
  LinesSink sink;
  Log log(sink);
  const std::string at = "127.0.0.1:1883";
  log.info("listener_opened", {{"at", at}, {"core", 0}, {"shared", true}, {"share", 0.5}});
  ASSERT_EQ(sink.lines.size(), 1u);
  EXPECT_EQ(sink.lines[0], "2026-11-21T21:30:15.123Z info listener_opened at=127.0.0.1:1883 core=0 shared=true share=0.5\n");
}

TEST(Log, QuotesWhatWouldBreakALine) {
  LinesSink sink;
  Log log(sink);
  log.warn("client_refused", {{"client", "a \"b\"\n\x01"}, {"why", ""}, {"code", Code::too_large}});
  EXPECT_TRUE(sink.lines[0].ends_with("client=\"a \\\"b\\\"\\n\\x01\" why=\"\" code=too_large\n")) << sink.lines[0];
}

TEST(Log, CutsLongValues) {
  LinesSink sink;
  Log log(sink);
  log.warn("client_refused", {{"client", std::string(100'000, 'x')}});
  EXPECT_LT(sink.lines[0].size(), Log::kValueBytesMax + 100);
  EXPECT_TRUE(sink.lines[0].ends_with("xxx...\n"));
}

TEST(Log, LeavesOutWhatIsBelowItsLevel) {
  LinesSink sink;
  Log log(sink, Level::warn);
  log.debug("a");
  log.info("b");
  log.error("c");
  ASSERT_EQ(sink.lines.size(), 1u);
  EXPECT_TRUE(sink.lines[0].ends_with("error c\n"));
}

TEST(Log, LimitsRepeatsAndTellsHowMany) {
  LinesSink sink;
  Log log(sink);
  for (int i = 0; i < 100; ++i) log.warn("out_of_descriptors");
  EXPECT_EQ(sink.lines.size(), Log::kLinesPerWindow);
  log.warn("another_event");
  EXPECT_EQ(sink.lines.size(), Log::kLinesPerWindow + 1) << "one name's limit is not another's";
  sink.time.ms += Log::kWindowMs;
  log.warn("out_of_descriptors");
  EXPECT_TRUE(sink.lines.back().ends_with("suppressed=80\n")) << sink.lines.back();
  EXPECT_EQ(log.suppressed_total(), 80u);
}

TEST(Log, FormatsEveryDate) {
  auto utc = [](int64_t ms) {
    std::string text;
    append_utc(text, WallTime{ms});
    return text;
  };
  EXPECT_EQ(utc(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(utc(951782400000), "2000-02-29T00:00:00.000Z");
  EXPECT_EQ(utc(-1), "1969-12-31T23:59:59.999Z");
}

struct GaugeAndCounter {
  uint64_t connects_total = 0;
  uint64_t bytes_in_total = 0;
  int64_t connections = 0;
  Histogram sync;

  template <class V>
  static void describe(V& v) {
    v.field("connects_total", &GaugeAndCounter::connects_total, {.doc = "Connects\ntaken."});
    v.field("bytes_in_total", &GaugeAndCounter::bytes_in_total, {.doc = "Bytes read.", .unit = "bytes"});
    v.field("connections", &GaugeAndCounter::connections, {.doc = "Open connections."});
    v.field("sync", &GaugeAndCounter::sync, {.doc = "Time of a sync.", .unit = "us"});
  }
};

TEST(Metrics, AreMergedOverCoresAndWrittenForPrometheus) {
  GaugeAndCounter one{.connects_total = 2, .bytes_in_total = 10, .connections = 5};
  GaugeAndCounter two{.connects_total = 3, .bytes_in_total = 1ull << 40, .connections = -1};
  one.sync.record(3);
  two.sync.record(100);
  Metrics core_one;
  Metrics core_two;
  core_one.add("test", one, "listener=\"a\"");
  core_two.add("test", two, "listener=\"a\"");
  MetricsSnapshot all = core_one.collect();
  all.merge(core_two.collect());
  EXPECT_EQ(all.to_prometheus(),
            "# HELP robustmq_test_bytes_in_total Bytes read.\n"
            "# TYPE robustmq_test_bytes_in_total counter\n"
            "robustmq_test_bytes_in_total{listener=\"a\"} 1099511627786\n"
            "# HELP robustmq_test_connections Open connections.\n"
            "# TYPE robustmq_test_connections gauge\n"
            "robustmq_test_connections{listener=\"a\"} 4\n"
            "# HELP robustmq_test_connects_total Connects\\ntaken.\n"
            "# TYPE robustmq_test_connects_total counter\n"
            "robustmq_test_connects_total{listener=\"a\"} 5\n"
            "# HELP robustmq_test_sync_us Time of a sync.\n"
            "# TYPE robustmq_test_sync_us histogram\n"
            "robustmq_test_sync_us_bucket{listener=\"a\",le=\"1\"} 0\n"
            "robustmq_test_sync_us_bucket{listener=\"a\",le=\"3\"} 1\n"
            "robustmq_test_sync_us_bucket{listener=\"a\",le=\"7\"} 1\n"
            "robustmq_test_sync_us_bucket{listener=\"a\",le=\"15\"} 1\n"
            "robustmq_test_sync_us_bucket{listener=\"a\",le=\"31\"} 1\n"
            "robustmq_test_sync_us_bucket{listener=\"a\",le=\"63\"} 1\n"
            "robustmq_test_sync_us_bucket{listener=\"a\",le=\"127\"} 2\n"
            "robustmq_test_sync_us_bucket{listener=\"a\",le=\"+Inf\"} 2\n"
            "robustmq_test_sync_us_sum{listener=\"a\"} 103\n"
            "robustmq_test_sync_us_count{listener=\"a\"} 2\n");
}

TEST(Metrics, KnowWhatAStructDescribes) {
  std::vector<MetricFacts> facts;
  append_metric_facts<GaugeAndCounter>("test", facts);
  ASSERT_EQ(facts.size(), 4u);
  EXPECT_EQ(facts[0].name, "robustmq_test_connects_total");
  EXPECT_EQ(facts[3].kind, MetricKind::histogram);
}

TEST(Histogram, PutsEveryValueInABucketThatHoldsIt) {
  for (uint64_t value : {0ull, 1ull, 3ull, 4ull, 5ull, 7ull, 8ull, 9ull, 1000ull, 123456789ull, (1ull << 40) - 1}) {
    const size_t bucket = Histogram::bucket_of(value);
    EXPECT_LE(value, Histogram::upper_edge(bucket)) << value;
    if (bucket > 0) EXPECT_GT(value, Histogram::upper_edge(bucket - 1)) << value;
  }
  EXPECT_EQ(Histogram::bucket_of(UINT64_MAX), Histogram::kBuckets - 1);
}

TEST(Histogram, GivesQuantilesWithinAQuarter) {
  Histogram histogram;
  for (uint64_t i = 1; i <= 1000; ++i) histogram.record(i);
  EXPECT_GE(histogram.quantile(0.5), 500u);
  EXPECT_LE(histogram.quantile(0.5), 625u);
  EXPECT_GE(histogram.quantile(0.99), 990u);
  EXPECT_EQ(histogram.count_up_to(511), 511u);
  EXPECT_EQ(Histogram().quantile(0.5), 0u);
}

}  // namespace
}  // namespace robustmq::observe
