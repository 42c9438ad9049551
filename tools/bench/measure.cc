#include "tools/bench/measure.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace robustmq::bench {

void Report::print(bool as_json) const {
  std::string out = as_json ? "{" : "";
  for (size_t i = 0; i < values_.size(); ++i) {
    const auto& [name, value] = values_[i];
    if (as_json) {
      out += fmt::format("{}\"{}\": {:.6g}", i == 0 ? "" : ", ", name, value);
    } else {
      out += fmt::format("{:<28} {:.4g}\n", name, value);
    }
  }
  if (as_json) out += "}\n";
  std::fwrite(out.data(), 1, out.size(), stdout);
}

void fail(std::string_view what) {
  std::fprintf(stderr, "robust-bench: %.*s\n", static_cast<int>(what.size()), what.data());
  std::exit(1);
}

static int64_t read_clock(clockid_t clock) {
  timespec time{};
  if (clock_gettime(clock, &time) != 0) fail("the clock of the measured process cannot be read; has it ended?");
  return time.tv_sec * 1'000'000'000LL + time.tv_nsec;
}

int64_t now_ns() { return read_clock(CLOCK_MONOTONIC); }

int64_t cpu_ns_of(int pid) {
  clockid_t clock{};
  if (clock_getcpuclockid(pid, &clock) != 0) fail(fmt::format("there is no process {}", pid));
  return read_clock(clock);
}

int64_t own_cpu_ns() { return read_clock(CLOCK_PROCESS_CPUTIME_ID); }

int64_t status_kb(int pid, std::string_view field) {
  std::FILE* file = std::fopen(fmt::format("/proc/{}/status", pid).c_str(), "r");
  if (!file) fail(fmt::format("there is no process {}", pid));
  char line[256];
  int64_t value = -1;
  while (std::fgets(line, sizeof line, file)) {
    std::string_view text = line;
    if (text.starts_with(field) && text.size() > field.size() && text[field.size()] == ':') {
      value = std::atoll(line + field.size() + 1);
    }
  }
  std::fclose(file);
  return value;
}

double Samples::percentile_us(double p) {
  if (values_.empty()) return 0;
  auto at = values_.begin() + static_cast<long>(p / 100 * static_cast<double>(values_.size() - 1));
  std::nth_element(values_.begin(), at, values_.end());
  return static_cast<double>(*at) / 1000;
}

Stretch::Stretch(const Options& options)
    : began_ns(now_ns()), broker_cpu_ns(options.pid ? cpu_ns_of(options.pid) : 0), own_ns(own_cpu_ns()) {}

void Stretch::report(Report& to, const Options& options, double messages, std::string_view unit) const {
  const double wall_ns = static_cast<double>(now_ns() - began_ns);
  to.add("seconds", wall_ns / 1e9);
  to.add(fmt::format("{}s", unit), messages);
  to.add(fmt::format("{}s_per_s", unit), messages / wall_ns * 1e9);
  if (options.pid) {
    const double cpu = static_cast<double>(cpu_ns_of(options.pid) - broker_cpu_ns);
    to.add(fmt::format("broker_cpu_us_per_{}", unit), messages > 0 ? cpu / messages / 1000 : 0);
    to.add("broker_cores", cpu / wall_ns);
  }
  to.add("generator_cores", static_cast<double>(own_cpu_ns() - own_ns) / wall_ns);
}

}  // namespace robustmq::bench
