// Metrics: numbers that owners count in plain structs, one struct a core, merged when somebody reads.
//
// An owner counts in a described struct (base/describe.h) of uint64_t, int64_t and Histogram fields. A number whose name ends in
// "_total" is a counter (it only grows), any other a gauge (cores are summed). The exported name is
// robustmq_<prefix>_<field>[_<unit>][_total]: the unit joins when the field's name does not hold it. The doc is the help text.
//
//   struct MqttMetrics {
//     uint64_t connects_total = 0;
//     int64_t connections = 0;
//     template <class V> static void describe(V& v) {
//       v.field("connects_total", &MqttMetrics::connects_total, {.doc = "CONNECT packets taken."});
//       v.field("connections", &MqttMetrics::connections, {.doc = "Open connections."});
//     }
//   };
//   metrics.add("mqtt", mqtt_metrics);
//
// One Metrics a core: counting is an increment of one's own memory, nothing is shared. A reader asks every core for its
// collect() (Core::send), merges the MetricsSnapshots and writes them as Prometheus text (version 0.0.4). Pure.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/callback.h"
#include "base/describe.h"

namespace robustmq::observe {

// Counts values in buckets of a quarter octave (at most 25 % wide): 2^k, 1.25 * 2^k, 1.5 * 2^k, 1.75 * 2^k. Exact sum and count.
// Values from 0 on; those past 2^40 count in the last bucket. 1.3 kB.
class Histogram {
 public:
  static constexpr size_t kBuckets = 4 * 41;

  void record(uint64_t value) {
    ++buckets_[bucket_of(value)];
    ++count_;
    sum_ += value;
  }
  void merge(const Histogram& other);
  uint64_t count() const { return count_; }
  uint64_t sum() const { return sum_; }
  // Upper edge of the bucket that holds the q-quantile (0..1); 0 when empty.
  uint64_t quantile(double q) const;
  // Values at or below `edge`, which is exact when it is 2^k - 1.
  uint64_t count_up_to(uint64_t edge) const;

  static constexpr size_t bucket_of(uint64_t value) {
    if (value < 4) return value;
    const int octave = std::bit_width(value) - 1;
    const size_t at = static_cast<size_t>(octave - 1) * 4 + ((value >> (octave - 2)) & 3);
    return at < kBuckets ? at : kBuckets - 1;
  }
  // Largest value of the bucket.
  static constexpr uint64_t upper_edge(size_t bucket) {
    if (bucket < 4) return bucket;
    const int octave = static_cast<int>(bucket / 4) + 1;
    return (uint64_t{4 + bucket % 4 + 1} << (octave - 2)) - 1;
  }

 private:
  std::array<uint64_t, kBuckets> buckets_{};
  uint64_t count_ = 0;
  uint64_t sum_ = 0;
};

enum class MetricKind : uint8_t { counter, gauge, histogram };

// One metric of one label set, at one moment.
struct MetricSample {
  std::string name;    // "robustmq_mqtt_connects_total"
  std::string labels;  // "listener=\"mqtt\"", or empty
  std::string doc;
  MetricKind kind = MetricKind::counter;
  double value = 0;
  Histogram histogram;
};

// What one core (or, merged, the node) counted. A value: it may cross cores.
class MetricsSnapshot {
 public:
  void add(MetricSample sample) { samples_.push_back(std::move(sample)); }
  void merge(MetricsSnapshot other);
  const std::vector<MetricSample>& samples() const { return samples_; }
  const MetricSample* find(std::string_view name, std::string_view labels = {}) const;
  // The Prometheus text exposition, version 0.0.4: metrics by name, HELP and TYPE once each.
  std::string to_prometheus() const;

 private:
  std::vector<MetricSample> samples_;
};

// What a metrics struct describes, without values: for the reference.
struct MetricFacts {
  std::string name;
  std::string doc;
  MetricKind kind;
};

namespace detail {

std::string metric_name(std::string_view prefix, std::string_view field, std::string_view unit);

template <class T>
constexpr MetricKind kind_of(std::string_view field) {
  static_assert(std::is_same_v<T, uint64_t> || std::is_same_v<T, int64_t> || std::is_same_v<T, Histogram>,
                "a metric is a uint64_t, an int64_t or a Histogram");
  if constexpr (std::is_same_v<T, Histogram>) return MetricKind::histogram;
  return field.ends_with("_total") ? MetricKind::counter : MetricKind::gauge;
}

template <class M>
struct SampleVisitor {
  const M& metrics;
  std::string_view prefix;
  std::string_view labels;
  MetricsSnapshot& to;

  template <class T>
  void field(std::string_view name, T M::* member, FieldFacts facts = {}) {
    MetricSample sample;
    sample.kind = kind_of<T>(name);
    sample.name = metric_name(prefix, name, facts.unit);
    sample.labels = labels;
    sample.doc = facts.doc;
    if constexpr (std::is_same_v<T, Histogram>)
      sample.histogram = metrics.*member;
    else
      sample.value = static_cast<double>(metrics.*member);
    to.add(std::move(sample));
  }
};

struct FactsVisitor {
  std::string_view prefix;
  std::vector<MetricFacts>& to;

  template <class M, class T>
  void field(std::string_view name, T M::*, FieldFacts facts = {}) {
    to.push_back({metric_name(prefix, name, facts.unit), std::string(facts.doc), kind_of<T>(name)});
  }
};

}  // namespace detail

// Appends what `M` describes.
template <Described M>
void append_metric_facts(std::string_view prefix, std::vector<MetricFacts>& to) {
  detail::FactsVisitor visitor{prefix, to};
  M::describe(visitor);
}

// The sources of one core. Lives on it; sources outlive the last collect().
class Metrics {
 public:
  Metrics() = default;
  Metrics(const Metrics&) = delete;

  // `labels` in Prometheus form without braces; bounded sets only.
  template <Described M>
  void add(std::string prefix, const M& metrics, std::string labels = {}) {
    sources_.push_back([prefix = std::move(prefix), labels = std::move(labels), &metrics](MetricsSnapshot& to) {
      detail::SampleVisitor<M> visitor{metrics, prefix, labels, to};
      M::describe(visitor);
    });
  }
  // A source that fills a snapshot itself.
  void add_source(Callback<void(MetricsSnapshot&)> source) { sources_.push_back(std::move(source)); }

  MetricsSnapshot collect();

 private:
  std::vector<Callback<void(MetricsSnapshot&)>> sources_;
};

}  // namespace robustmq::observe
