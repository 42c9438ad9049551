// What client quotas may be told and what they count. Pure.
#pragma once

#include <cstdint>

#include "base/describe.h"

namespace robustmq::broker {

struct QuotaOptions {
  int32_t window_num = 11;
  int32_t window_size_s = 1;
  int64_t entities_max = 10'000;
  int64_t buckets_max = 1'000'000;

  // What of a pause is saved, and the longest wait that a client is told: the samples that are whole.
  int64_t saved_s() const { return int64_t{window_num - 1} * window_size_s; }

  template <class V>
  static void describe(V& v) {
    using O = QuotaOptions;
    v.field("window_num", &O::window_num,
            {.doc = "Kafka's quota.window.num: what all of these windows but one allow may come at once after a pause.",
             .min = 2,
             .max = 3'600});
    v.field("window_size_s", &O::window_size_s,
            {.doc = "Kafka's quota.window.size.seconds: the length of a window.", .unit = "s", .min = 1, .max = 3'600});
    v.field("entities_max", &O::entities_max,
            {.doc = "Most users, client ids and hosts, defaults among them, that quotas are kept for.", .min = 1});
    v.field("buckets_max", &O::buckets_max,
            {.doc = "Most users, clients and hosts whose use is counted at once; a connection that needs one more is closed.",
             .min = 1});
  }
};

// Counted on core 0.
struct QuotaMetrics {
  int64_t entities = 0;
  int64_t buckets = 0;
  uint64_t altered_total = 0;
  uint64_t refused_entities_total = 0;
  uint64_t refused_buckets_total = 0;
  uint64_t refused_connections_total = 0;
  uint64_t row_failures_total = 0;

  template <class V>
  static void describe(V& v) {
    using M = QuotaMetrics;
    v.field("entities", &M::entities, {.doc = "Users, client ids and hosts that quotas are kept for."});
    v.field("buckets", &M::buckets, {.doc = "Users, clients and hosts whose use is counted."});
    v.field("altered_total", &M::altered_total, {.doc = "Changes of an entity's quotas."});
    v.field("refused_entities_total", &M::refused_entities_total, {.doc = "Changes refused over entities_max."});
    v.field("refused_buckets_total", &M::refused_buckets_total, {.doc = "Times that buckets_max was in the way of another."});
    v.field("refused_connections_total", &M::refused_connections_total,
            {.doc = "Connections over their host's connection_creation_rate."});
    v.field("row_failures_total", &M::row_failures_total, {.doc = "Changes of quotas that could not be stored."});
  }
};

}  // namespace robustmq::broker
