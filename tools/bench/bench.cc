// robust-bench: the command line. Entry: robust_bench_main.
#include <fmt/format.h>
#include <sched.h>

#include <charconv>
#include <cstdio>
#include <functional>

#include "tools/bench/kafka_live.h"
#include "tools/bench/kafka_load.h"
#include "tools/bench/measure.h"
#include "tools/bench/mqtt_load.h"
#include "tools/bench/share_load.h"
#include "tools/bench/topics_load.h"

int robust_bench_main(int argc, char** argv);

namespace robustmq::bench {

namespace {

constexpr const char* kHelp = R"(robust-bench: loads a broker on this machine and says what it cost.

  robust-bench COMMAND --port=N [--pid=N] [options]

Give --pid of the broker to have its CPU time counted (user and system, of the whole process). Every run warms up first and
reports the measured stretch only; generator_cores shows what this program itself used: near 1.0 it is the bottleneck.

MQTT (3.1.1, any broker)
  mqtt-pairs      publisher i to subscriber i, closed loop: at most --window messages a publisher on the way
  mqtt-fan-out    one publisher, --subscribers subscribers
  mqtt-fan-in     --publishers publishers, one subscriber
  mqtt-shared     --publishers publishers, --subscribers subscribers that share what they send
  mqtt-offline    the same for --subscribers stored sessions whose clients are away, each getting everything; --qos=1 or 2
  mqtt-latency    pairs, open loop: --rate messages a second, latency counted from when each was due
  mqtt-idle       --connections connections with one subscription each: the broker's memory a connection (VmRSS)
  mqtt-sessions   as many stored sessions instead, their clients away
  mqtt-topics     --topics new topics below --topic, made by one message at QoS 1 each, at most --window a publisher on the
                  way: the broker's CPU and memory a topic (at most --seconds)

Kafka (acks=all; one connection and one partition each)
  kafka-produce   record batches of --batch_bytes; CPU seconds of the broker per GB
  kafka-fetch     reads back what was produced before (--fill_mib)
  kafka-share     one share group of --members members, a connection each, over --partitions: what was filled in (--records of
                  --record_bytes) is fetched, acknowledged and judged (each accepted once); at most --seconds
  kafka-live      open loop at --rate_mb MB/s with a reader at the end of each partition: latency of produce and end to end,
                  counted from when each batch was due
  kafka-fill      makes the topic and leaves --fill_mib in it, for:
  kafka-catch-up  reads that once from its beginning, at most --rate_mb MB/s (0: no limit)
  bare-produce    kafka-produce against the bare loop: recv, CRC, write, fdatasync (no broker, no --port; writes into --dir)
  bare-fetch      kafka-fetch against the bare loop: read, send

Options (default)
  --qos=0|1|2 (0)  --publishers=N (100)  --subscribers=N (100)  --size_bytes=N (64)  --window=N (4)
  --rate=N (1000)  --rate_mb=N (20)  --connections=N (10000)  --topics=N (1000000)
  --partitions=N (4)  --requests=N in flight a connection (4)  --record_bytes=N (1024)  --batch_bytes=N (65536)
  --fetch_bytes=N (1048576)  --fill_mib=N (256)  --topic=NAME (bench)  --dir=DIR (.)
  --members=N (100)  --records=N (100000)  --fetch_records=N a fetch (50)
  --seconds=N (5)  --warmup_s=N (1)  --cpu=N: run on this core only  --json: one JSON object instead of lines

Examples
  robust-bench mqtt-pairs --port=1883 --pid=$(pidof robust-server) --qos=1
  robust-bench kafka-produce --port=9092 --pid=$(pidof robust-server) --seconds=10
The comparison with Mosquitto and with the bare loop, round by round, is `make bench`.
)";

template <class T>
bool parse(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

void pin_to(std::string_view text) {
  int cpu = 0;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (!parse(text, cpu) || cpu < 0 || cpu >= CPU_SETSIZE) fail("--cpu takes the number of a core");
  CPU_SET(static_cast<size_t>(cpu), &set);
  if (::sched_setaffinity(0, sizeof set, &set) != 0) fail(fmt::format("there is no core {}", cpu));
}

void take_option(Options& options, std::string_view argument) {
  const size_t equals = argument.find('=');
  const std::string_view name = argument.substr(0, equals);
  const std::string_view value = equals == std::string_view::npos ? "" : argument.substr(equals + 1);
  const std::pair<std::string_view, int*> whole[] = {
      {"--port", &options.port},
      {"--pid", &options.pid},
      {"--qos", &options.qos},
      {"--publishers", &options.publishers},
      {"--subscribers", &options.subscribers},
      {"--size_bytes", &options.size_bytes},
      {"--window", &options.window},
      {"--connections", &options.connections},
      {"--topics", &options.topics},
      {"--partitions", &options.partitions},
      {"--requests", &options.requests},
      {"--record_bytes", &options.record_bytes},
      {"--batch_bytes", &options.batch_bytes},
      {"--fetch_bytes", &options.fetch_bytes},
      {"--fill_mib", &options.fill_mib},
      {"--members", &options.members},
      {"--records", &options.records},
      {"--fetch_records", &options.fetch_records},
  };
  const std::pair<std::string_view, double*> real[] = {{"--rate", &options.rate},
                                                       {"--rate_mb", &options.rate_mb},
                                                       {"--seconds", &options.seconds},
                                                       {"--warmup_s", &options.warmup_s}};
  if (argument == "--json") {
    options.json = true;
    return;
  }
  if (name == "--topic" && !value.empty()) {
    options.topic = value;
    return;
  }
  if (name == "--dir" && !value.empty()) {
    options.dir = value;
    return;
  }
  if (name == "--cpu") return pin_to(value);
  for (const auto& [known, at] : whole) {
    if (name != known) continue;
    if (!parse(value, *at) || *at < 0) fail(fmt::format("{} takes a whole number", name));
    return;
  }
  for (const auto& [known, at] : real) {
    if (name != known) continue;
    if (!parse(value, *at) || *at < 0) fail(fmt::format("{} takes a number", name));
    return;
  }
  fail(fmt::format("{} is not an option; --help lists them", argument));
}

void check(const Options& options) {
  if (options.qos > 2) fail("--qos is 0, 1 or 2");
  if (options.port == 0 && !options.command.starts_with("bare-")) fail("--port of the broker is needed");
  if (options.publishers < 1 || options.subscribers < 1 || options.window < 1 || options.partitions < 1 || options.requests < 1 ||
      options.connections < 1 || options.topics < 1 || options.members < 1 || options.records < 1 || options.fetch_records < 1 ||
      options.record_bytes < 1 || options.rate <= 0) {
    fail("a count is zero");
  }
  if (options.command == "kafka-live" && options.rate_mb <= 0) fail("--rate_mb is zero");
  if (options.topic.size() > 100) fail("--topic has at most 100 characters");
  if (options.batch_bytes > options.fetch_bytes || options.batch_bytes > 900 << 10)
    fail("--batch_bytes is at most --fetch_bytes and 900 KiB");
}

}  // namespace

static int run(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--help" || argument == "-h" || argument == "help") {
      std::fputs(kHelp, stdout);
      return 0;
    }
    if (argument.starts_with("--")) {
      take_option(options, argument);
    } else if (options.command.empty()) {
      options.command = argument;
    } else {
      fail(fmt::format("one command at a time, not {} and {}", options.command, argument));
    }
  }
  const std::pair<std::string_view, std::function<Report()>> commands[] = {
      {"mqtt-pairs", [&] { return run_mqtt_pairs(options); }},
      {"mqtt-fan-out", [&] { return run_mqtt_fan_out(options); }},
      {"mqtt-fan-in", [&] { return run_mqtt_fan_in(options); }},
      {"mqtt-shared", [&] { return run_mqtt_shared(options); }},
      {"mqtt-offline", [&] { return run_mqtt_offline(options); }},
      {"mqtt-latency", [&] { return run_mqtt_latency(options); }},
      {"mqtt-idle", [&] { return run_mqtt_idle(options); }},
      {"mqtt-sessions", [&] { return run_mqtt_sessions(options); }},
      {"mqtt-topics", [&] { return run_mqtt_topics(options); }},
      {"kafka-produce", [&] { return run_kafka_produce(options, false); }},
      {"kafka-fetch", [&] { return run_kafka_fetch(options, false); }},
      {"kafka-share", [&] { return run_kafka_share(options); }},
      {"kafka-live", [&] { return run_kafka_live(options); }},
      {"kafka-fill", [&] { return run_kafka_fill(options); }},
      {"kafka-catch-up", [&] { return run_kafka_catch_up(options); }},
      {"bare-produce", [&] { return run_kafka_produce(options, true); }},
      {"bare-fetch", [&] { return run_kafka_fetch(options, true); }},
  };
  for (const auto& [name, command] : commands) {
    if (name != options.command) continue;
    check(options);
    command().print(options.json);
    return 0;
  }
  if (options.command.empty()) {
    std::fputs(kHelp, stderr);
  } else {
    std::fprintf(stderr, "robust-bench: there is no command %s; --help lists them\n", options.command.c_str());
  }
  return 2;
}

}  // namespace robustmq::bench

int robust_bench_main(int argc, char** argv) { return robustmq::bench::run(argc, argv); }
