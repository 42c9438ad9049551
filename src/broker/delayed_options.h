// What delayed messages may be told, and what they count. Pure.
#pragma once

#include <cstdint>

#include "base/describe.h"

namespace robustmq::broker {

struct DelayedOptions {
  int64_t messages_max = 1'000'000;
  int64_t payload_bytes_max = 1 << 20;

  template <class V>
  static void describe(V& v) {
    using D = DelayedOptions;
    v.field("messages_max", &D::messages_max,
            {.doc = "Most delayed messages that wait, split evenly by core; one more is refused; 0 refuses all.", .min = 0});
    v.field("payload_bytes_max", &D::payload_bytes_max,
            {.doc = "Largest payload of a delayed message; a larger one is refused.", .unit = "bytes", .min = 0});
  }
};

// Counted per core.
struct DelayedMetrics {
  int64_t waiting = 0;
  uint64_t accepted_total = 0;
  uint64_t published_total = 0;
  uint64_t cancelled_total = 0;
  uint64_t expired_total = 0;
  uint64_t refused_total = 0;
  uint64_t dropped_total = 0;
  uint64_t retries_total = 0;

  template <class V>
  static void describe(V& v) {
    using M = DelayedMetrics;
    v.field("waiting", &M::waiting, {.doc = "Delayed messages that wait."});
    v.field("accepted_total", &M::accepted_total, {.doc = "Delayed messages accepted."});
    v.field("published_total", &M::published_total, {.doc = "Delayed messages published when they were due."});
    v.field("cancelled_total", &M::cancelled_total, {.doc = "Delayed messages cancelled over the API."});
    v.field("expired_total", &M::expired_total, {.doc = "Delayed messages whose message expiry was over before they were due."});
    v.field("refused_total", &M::refused_total,
            {.doc = "Delayed messages refused at their acceptance: a limit, the name, the disk."});
    v.field("dropped_total", &M::dropped_total,
            {.doc = "Delayed messages that their topic refused for good when they were due."});
    v.field("retries_total", &M::retries_total, {.doc = "Times a due message could not be published yet."});
  }
};

}  // namespace robustmq::broker
