// What a run is told and what it reports; the clock, the CPU time and the memory of the process measured.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace robustmq::bench {

constexpr int64_t kSecond = 1'000'000'000;  // in nanoseconds

struct Options {
  std::string command;
  int port = 0;
  int pid = 0;  // the broker's process, whose CPU and memory are reported; 0: not measured
  int qos = 0;
  int publishers = 100;
  int subscribers = 100;
  int size_bytes = 64;      // MQTT payload
  int window = 4;           // messages in flight a publisher
  double rate = 1000;       // messages a second, open loop
  double rate_mb = 20;      // Kafka: MB (1e6 bytes of batches) a second, open loop
  double seconds = 5;       // measured time
  double warmup_s = 1;      // before it
  int connections = 10000;  // of mqtt-idle
  int topics = 1'000'000;   // of mqtt-topics
  int partitions = 4;       // Kafka: one connection each
  int record_bytes = 1024;
  int batch_bytes = 64 << 10;
  int requests = 4;           // Kafka: requests in flight a connection
  int fetch_bytes = 1 << 20;  // Kafka: most bytes a partition in one answer
  int fill_mib = 256;         // Kafka fetch and fill: what is produced before
  int members = 100;          // of kafka-share
  int records = 100'000;      // of kafka-share, in all
  int fetch_records = 50;     // most in one answer of kafka-share
  std::string topic = "bench";
  std::string dir = ".";  // of the bare loop's files
  bool json = false;
};

// Numbers in the order they are to be read.
class Report {
 public:
  void add(std::string_view name, double value) { values_.emplace_back(name, value); }
  void print(bool as_json) const;
  const std::vector<std::pair<std::string, double>>& values() const { return values_; }

 private:
  std::vector<std::pair<std::string, double>> values_;
};

// Prints "robust-bench: ..." and ends the process with status 1: a run that cannot go on has no result.
[[noreturn]] void fail(std::string_view what);

int64_t now_ns();  // monotonic

// User and system time that the whole process has used, its ended threads included. Fails when there is no such process.
int64_t cpu_ns_of(int pid);
int64_t own_cpu_ns();

// A field of /proc/PID/status in kB, such as "VmRSS".
int64_t status_kb(int pid, std::string_view field);

// Times in ns; gives percentiles.
class Samples {
 public:
  void add(int64_t ns) { values_.push_back(ns); }
  void clear() { values_.clear(); }
  size_t count() const { return values_.size(); }
  double percentile_us(double p);  // 0 when empty

 private:
  std::vector<int64_t> values_;
};

// The measured stretch of a run: taken at its start and its end.
struct Stretch {
  explicit Stretch(const Options& options);
  // Adds seconds, messages a second, the broker's CPU per message and both processes' use of cores.
  void report(Report& to, const Options& options, double messages, std::string_view unit = "message") const;

  int64_t began_ns, broker_cpu_ns, own_ns;
};

}  // namespace robustmq::bench
