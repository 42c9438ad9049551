#include "observe/metrics.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <iterator>

namespace robustmq::observe {

void Histogram::merge(const Histogram& other) {
  for (size_t i = 0; i < kBuckets; ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
  sum_ += other.sum_;
}

uint64_t Histogram::quantile(double q) const {
  if (count_ == 0) return 0;
  const auto wanted = std::max<uint64_t>(1, static_cast<uint64_t>(std::ceil(q * static_cast<double>(count_))));
  uint64_t seen = 0;
  for (size_t i = 0; i < kBuckets; ++i) {
    seen += buckets_[i];
    if (seen >= wanted) return upper_edge(i);
  }
  return upper_edge(kBuckets - 1);
}

uint64_t Histogram::count_up_to(uint64_t edge) const {
  uint64_t seen = 0;
  for (size_t i = 0; i < kBuckets && upper_edge(i) <= edge; ++i) seen += buckets_[i];
  return seen;
}

void MetricsSnapshot::merge(MetricsSnapshot other) {
  // Cores register the same sources in the same order, so the match is nearly always at the same index.
  for (size_t i = 0; i < other.samples_.size(); ++i) {
    MetricSample& from = other.samples_[i];
    auto is_same = [&](const MetricSample& s) { return s.name == from.name && s.labels == from.labels; };
    auto it = i < samples_.size() && is_same(samples_[i]) ? samples_.begin() + static_cast<std::ptrdiff_t>(i)
                                                          : std::find_if(samples_.begin(), samples_.end(), is_same);
    if (it == samples_.end()) {
      samples_.push_back(std::move(from));
      continue;
    }
    it->value += from.value;
    it->histogram.merge(from.histogram);
  }
}

const MetricSample* MetricsSnapshot::find(std::string_view name, std::string_view labels) const {
  for (const MetricSample& sample : samples_) {
    if (sample.name == name && sample.labels == labels) return &sample;
  }
  return nullptr;
}

namespace {

// Help texts: backslash and line feed are escaped.
void append_help(std::string& to, std::string_view doc) {
  for (char c : doc) {
    if (c == '\\')
      to += "\\\\";
    else if (c == '\n')
      to += "\\n";
    else
      to += c;
  }
}

std::string_view kind_name(MetricKind kind) {
  switch (kind) {
    case MetricKind::counter:
      return "counter";
    case MetricKind::gauge:
      return "gauge";
    case MetricKind::histogram:
      return "histogram";
  }
  return "untyped";
}

void append_histogram(std::string& out, const MetricSample& sample) {
  const std::string lead = sample.labels.empty() ? "" : sample.labels + ",";
  const std::string braces = sample.labels.empty() ? "" : "{" + sample.labels + "}";
  // One line an octave, up to the first edge that holds everything.
  for (int k = 1; k <= 40; ++k) {
    const uint64_t edge = (uint64_t{1} << k) - 1;
    const uint64_t below = sample.histogram.count_up_to(edge);
    fmt::format_to(std::back_inserter(out), "{}_bucket{{{}le=\"{}\"}} {}\n", sample.name, lead, edge, below);
    if (below == sample.histogram.count()) break;
  }
  fmt::format_to(std::back_inserter(out), "{}_bucket{{{}le=\"+Inf\"}} {}\n", sample.name, lead, sample.histogram.count());
  fmt::format_to(std::back_inserter(out), "{}_sum{} {}\n", sample.name, braces, sample.histogram.sum());
  fmt::format_to(std::back_inserter(out), "{}_count{} {}\n", sample.name, braces, sample.histogram.count());
}

}  // namespace

std::string MetricsSnapshot::to_prometheus() const {
  std::vector<const MetricSample*> sorted;
  for (const MetricSample& sample : samples_) sorted.push_back(&sample);
  std::sort(sorted.begin(), sorted.end(), [](const MetricSample* a, const MetricSample* b) {
    return std::tie(a->name, a->labels) < std::tie(b->name, b->labels);
  });
  std::string out;
  std::string_view last;
  for (const MetricSample* sample : sorted) {
    if (sample->name != last) {
      last = sample->name;
      fmt::format_to(std::back_inserter(out), "# HELP {} ", sample->name);
      append_help(out, sample->doc);
      fmt::format_to(std::back_inserter(out), "\n# TYPE {} {}\n", sample->name, kind_name(sample->kind));
    }
    if (sample->kind == MetricKind::histogram) {
      append_histogram(out, *sample);
    } else {
      out += sample->name;
      if (!sample->labels.empty()) fmt::format_to(std::back_inserter(out), "{{{}}}", sample->labels);
      // Whole numbers below 2^53 print without an exponent, so counters read as counted.
      if (sample->value == std::floor(sample->value) && std::abs(sample->value) < 9e15) {
        fmt::format_to(std::back_inserter(out), " {}\n", static_cast<int64_t>(sample->value));
      } else {
        fmt::format_to(std::back_inserter(out), " {}\n", sample->value);
      }
    }
  }
  return out;
}

MetricsSnapshot Metrics::collect() {
  MetricsSnapshot snapshot;
  for (auto& source : sources_) source(snapshot);
  return snapshot;
}

namespace detail {

std::string metric_name(std::string_view prefix, std::string_view field, std::string_view unit) {
  std::string name = "robustmq_";
  name += prefix;
  name += '_';
  std::string_view stem = field;
  const bool is_counter = stem.ends_with("_total");
  if (is_counter) stem.remove_suffix(6);
  name += stem;
  if (!unit.empty() && stem.find(unit) == std::string_view::npos) {
    name += '_';
    name += unit;
  }
  if (is_counter) name += "_total";
  return name;
}

}  // namespace detail

}  // namespace robustmq::observe
