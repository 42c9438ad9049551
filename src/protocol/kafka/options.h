// What a Kafka listener may be told, what its connections count, and the memory that their requests share. Pure.
#pragma once

#include <cstdint>

#include "base/describe.h"
#include "base/time.h"
#include "broker/menu/quotas.h"

namespace robustmq::kafka {

struct KafkaOptions {
  int32_t request_bytes_max = 100 << 20;
  int64_t request_memory_bytes = 256 << 20;
  int32_t response_bytes_max = 256 << 20;
  int64_t first_request_timeout_ms = 10'000;
  int64_t frame_timeout_ms = 60'000;
  int64_t idle_timeout_ms = 600'000;
  int32_t requests_in_flight_max = 64;
  int32_t fetch_bytes_max = 55 << 20;
  int64_t fetch_wait_max_ms = 300'000;
  int64_t batch_decompressed_bytes_max = 256 << 20;
  int32_t fetch_sessions_max = 1000;
  int32_t fetch_session_partitions_max = 1'000'000;
  int64_t fetch_session_idle_ms = 120'000;
  int32_t share_sessions_max = 2000;
  bool list_light_topics = false;

  template <class V>
  static void describe(V& v) {
    v.field("request_bytes_max", &KafkaOptions::request_bytes_max,
            {.doc = "Largest request taken.", .unit = "bytes", .min = 1024, .max = 1 << 30});
    v.field("request_memory_bytes", &KafkaOptions::request_memory_bytes,
            {.doc = "Memory of a node for requests that arrive or wait for their answer. Over it, sockets are not read.",
             .unit = "bytes",
             .min = 1 << 16});
    v.field("response_bytes_max", &KafkaOptions::response_bytes_max,
            {.doc = "Largest response, without the records of a fetch. A connection that asks for more is closed.",
             .unit = "bytes",
             .min = 1024,
             .max = 1 << 30});
    v.field("first_request_timeout_ms", &KafkaOptions::first_request_timeout_ms,
            {.doc = "Time in which a connection must have sent its first request.", .unit = "ms", .min = 1});
    v.field("frame_timeout_ms", &KafkaOptions::frame_timeout_ms,
            {.doc = "Time in which a request that began must be there whole.", .unit = "ms", .min = 1});
    v.field("idle_timeout_ms", &KafkaOptions::idle_timeout_ms,
            {.doc = "Time after which a connection without requests is closed.", .unit = "ms", .min = 1});
    v.field("requests_in_flight_max", &KafkaOptions::requests_in_flight_max,
            {.doc = "Requests of one connection that wait for their answer; over it, its socket is not read.",
             .min = 1,
             .max = 10'000});
    v.field("fetch_bytes_max", &KafkaOptions::fetch_bytes_max,
            {.doc = "Most that one fetch gives, whatever it asks for; the first batch is given whatever its size.",
             .unit = "bytes",
             .min = 1024,
             .max = 1 << 30});
    v.field("fetch_wait_max_ms", &KafkaOptions::fetch_wait_max_ms,
            {.doc = "Longest time a fetch waits for data, whatever it asks for.", .unit = "ms", .min = 0});
    v.field(
        "batch_decompressed_bytes_max", &KafkaOptions::batch_decompressed_bytes_max,
        {.doc = "Largest size of a produced batch's records, decompressed.", .unit = "bytes", .min = 1 << 16, .max = 1 << 30});
    v.field("fetch_sessions_max", &KafkaOptions::fetch_sessions_max,
            {.doc = "Fetch sessions of this node; over it idle and smaller ones make room, else a fetch has none.", .min = 0});
    v.field("fetch_session_partitions_max", &KafkaOptions::fetch_session_partitions_max,
            {.doc = "Partitions of all fetch sessions of this node.", .min = 0});
    v.field("fetch_session_idle_ms", &KafkaOptions::fetch_session_idle_ms,
            {.doc = "Time after which an unused fetch session makes room for a new one.", .unit = "ms", .min = 0});
    v.field(
        "share_sessions_max", &KafkaOptions::share_sessions_max,
        {.doc = "Share sessions of this node, split by core: members of share groups that fetch over a connection.", .min = 0});
    v.field("list_light_topics", &KafkaOptions::list_light_topics, {.doc = "Metadata for all topics lists light topics too."});
  }
};

// Counted by each connection, on its core; the driver's owner merges them.
struct KafkaMetrics {
  uint64_t requests_total = 0;
  uint64_t request_bytes_total = 0;
  uint64_t responses_total = 0;
  uint64_t response_bytes_total = 0;
  uint64_t requests_malformed_total = 0;
  uint64_t requests_not_supported_total = 0;
  uint64_t requests_over_memory_total = 0;
  uint64_t produced_batches_total = 0;
  uint64_t produced_bytes_total = 0;
  uint64_t produce_refused_total = 0;
  uint64_t fetched_bytes_total = 0;
  uint64_t fetch_sessions_opened_total = 0;
  uint64_t fetch_sessions_refused_total = 0;
  uint64_t share_sessions_opened_total = 0;
  uint64_t share_sessions_refused_total = 0;
  uint64_t throttled_produce_total = 0;
  uint64_t throttled_produce_ms_total = 0;
  uint64_t throttled_fetch_total = 0;
  uint64_t throttled_fetch_ms_total = 0;
  uint64_t throttled_request_total = 0;
  uint64_t throttled_request_ms_total = 0;
  uint64_t throttled_mutation_total = 0;
  uint64_t throttled_mutation_ms_total = 0;
  uint64_t throttled_connections_total = 0;

  void count_throttled(broker::QuotaKind kind, Duration time) {
    const auto count = [time](uint64_t& times, uint64_t& total_ms) {
      ++times;
      total_ms += static_cast<uint64_t>(time.to_millis());
    };
    switch (kind) {
      case broker::QuotaKind::produce:
        return count(throttled_produce_total, throttled_produce_ms_total);
      case broker::QuotaKind::fetch:
        return count(throttled_fetch_total, throttled_fetch_ms_total);
      case broker::QuotaKind::request:
        return count(throttled_request_total, throttled_request_ms_total);
      case broker::QuotaKind::mutation:
        return count(throttled_mutation_total, throttled_mutation_ms_total);
      case broker::QuotaKind::connection:
        ++throttled_connections_total;
    }
  }

  template <class V>
  static void describe(V& v) {
    v.field("requests_total", &KafkaMetrics::requests_total, {.doc = "Requests begun."});
    v.field("request_bytes_total", &KafkaMetrics::request_bytes_total,
            {.doc = "Bytes of requests, with their size fields.", .unit = "bytes"});
    v.field("responses_total", &KafkaMetrics::responses_total, {.doc = "Responses sent."});
    v.field("response_bytes_total", &KafkaMetrics::response_bytes_total, {.doc = "Bytes of responses.", .unit = "bytes"});
    v.field("requests_malformed_total", &KafkaMetrics::requests_malformed_total, {.doc = "Requests that could not be decoded."});
    v.field("requests_not_supported_total", &KafkaMetrics::requests_not_supported_total,
            {.doc = "Requests of an API or version that is not served."});
    v.field("requests_over_memory_total", &KafkaMetrics::requests_over_memory_total,
            {.doc = "Times a connection was not read because request_memory_bytes was reached."});
    v.field("produced_batches_total", &KafkaMetrics::produced_batches_total, {.doc = "Record batches handed to the broker."});
    v.field("produced_bytes_total", &KafkaMetrics::produced_bytes_total, {.doc = "Bytes of those.", .unit = "bytes"});
    v.field("produce_refused_total", &KafkaMetrics::produce_refused_total, {.doc = "Record batches refused."});
    v.field("fetch_sessions_opened_total", &KafkaMetrics::fetch_sessions_opened_total, {.doc = "Fetch sessions opened."});
    v.field("fetch_sessions_refused_total", &KafkaMetrics::fetch_sessions_refused_total,
            {.doc = "Fetches that asked for a session and got none for want of room."});
    v.field("share_sessions_opened_total", &KafkaMetrics::share_sessions_opened_total, {.doc = "Share sessions opened."});
    v.field("share_sessions_refused_total", &KafkaMetrics::share_sessions_refused_total,
            {.doc = "Share sessions refused for want of room."});
    v.field("throttled_produce_total", &KafkaMetrics::throttled_produce_total,
            {.doc = "Requests delayed by a quota producer_byte_rate."});
    v.field("throttled_produce_ms_total", &KafkaMetrics::throttled_produce_ms_total,
            {.doc = "Time that they were delayed.", .unit = "ms"});
    v.field("throttled_fetch_total", &KafkaMetrics::throttled_fetch_total,
            {.doc = "Requests delayed by a quota consumer_byte_rate."});
    v.field("throttled_fetch_ms_total", &KafkaMetrics::throttled_fetch_ms_total,
            {.doc = "Time that they were delayed.", .unit = "ms"});
    v.field("throttled_request_total", &KafkaMetrics::throttled_request_total,
            {.doc = "Requests delayed by a quota request_percentage."});
    v.field("throttled_request_ms_total", &KafkaMetrics::throttled_request_ms_total,
            {.doc = "Time that they were delayed.", .unit = "ms"});
    v.field("throttled_mutation_total", &KafkaMetrics::throttled_mutation_total,
            {.doc = "Requests delayed, or refused, by a quota controller_mutation_rate."});
    v.field("throttled_mutation_ms_total", &KafkaMetrics::throttled_mutation_ms_total,
            {.doc = "Time that they were delayed.", .unit = "ms"});
    v.field("throttled_connections_total", &KafkaMetrics::throttled_connections_total,
            {.doc = "Connections ended by a quota connection_creation_rate."});
    v.field("fetched_bytes_total", &KafkaMetrics::fetched_bytes_total,
            {.doc = "Bytes of record batches in responses.", .unit = "bytes"});
  }
};

// The memory that requests of all connections of a core may take. One connection at a time may go over it, so that a request
// that began can always be completed: over the limit at most one largest request more is held.
class RequestBudget {
 public:
  explicit RequestBudget(uint64_t bytes_max) : bytes_max_(bytes_max) {}

  uint64_t used() const { return used_; }
  bool is_over() const { return used_ > bytes_max_; }
  // A connection's share changes from `before` to `after` bytes.
  void change(uint64_t before, uint64_t after) { used_ += after - before; }
  // True: `who` may go on although the budget is over; nobody else may until it calls leave().
  bool may_go_over(const void* who) {
    if (!over_) over_ = who;
    return over_ == who;
  }
  void leave(const void* who) {
    if (over_ == who) over_ = nullptr;
  }

 private:
  uint64_t bytes_max_;
  uint64_t used_ = 0;
  const void* over_ = nullptr;
};

}  // namespace robustmq::kafka
