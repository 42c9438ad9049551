// Queues and streams made at run time over an MQTT topic filter: what they are made like. Section [declare]. Pure.
#pragma once

#include <cstdint>

#include "base/describe.h"
#include "meta/topic.h"

namespace robustmq::broker {

struct DeclareOptions {
  int32_t partitions = 1;
  meta::Mode mode = meta::Mode::persistent;
  int64_t retention_ms = 7LL * 24 * 3600 * 1000;
  int64_t retention_bytes = -1;

  template <class V>
  static void describe(V& v) {
    using D = DeclareOptions;
    v.field("partitions", &D::partitions,
            {.doc = "Partitions of a stream that a subscription makes; its queues keep the order of one topic's messages.",
             .min = 1,
             .max = 10'000});
    v.field("mode", &D::mode, {.doc = "What an ack means in it: memory or persistent."});
    v.field("retention_ms", &D::retention_ms,
            {.doc = "Age at which its records are dropped; -1 keeps them.", .unit = "ms", .min = -1});
    v.field("retention_bytes", &D::retention_bytes,
            {.doc = "Size of a partition above which the oldest are dropped; -1 keeps them.", .unit = "bytes", .min = -1});
  }
};

// Counted per core.
struct DeclareMetrics {
  int64_t streams = 0;
  uint64_t streams_made_total = 0;
  uint64_t streams_refused_total = 0;

  template <class V>
  static void describe(V& v) {
    using M = DeclareMetrics;
    v.field("streams", &M::streams, {.doc = "Streams that are topic rules made at run time (counted by core 0)."});
    v.field("streams_made_total", &M::streams_made_total, {.doc = "Such streams made since the start."});
    v.field("streams_refused_total", &M::streams_refused_total,
            {.doc = "Such streams refused: other rules or streams claim some of the topics, the name is taken, or there are too "
                    "many (catalog.rules_max)."});
  }
};

}  // namespace robustmq::broker
