// What sessions may be told, and what they count. Pure.
#pragma once

#include <cstdint>

#include "base/describe.h"

namespace robustmq::broker {

struct SessionOptions {
  uint32_t expiry_s_max = 7 * 24 * 3600;
  int32_t sessions_max = 1'000'000;

  template <class V>
  static void describe(V& v) {
    using S = SessionOptions;
    v.field(
        "expiry_s_max", &S::expiry_s_max,
        {.doc = "Longest time a session outlives its connection, whatever the client asks (it is told); 4294967295: for ever. "
                "Also what MQTT 3 clients with clean session 0 get.",
         .unit = "s"});
    v.field("sessions_max", &S::sessions_max,
            {.doc = "Most sessions with an expiry on this node; one more is refused.", .min = 0});
  }
};

// Counted per core.
struct SessionMetrics {
  uint64_t opened_total = 0;
  uint64_t resumed_total = 0;
  uint64_t discarded_total = 0;
  uint64_t expired_total = 0;
  uint64_t refused_total = 0;
  uint64_t row_failures_total = 0;
  int64_t stored = 0;
  int64_t connected = 0;

  template <class V>
  static void describe(V& v) {
    using M = SessionMetrics;
    v.field("opened_total", &M::opened_total, {.doc = "Sessions with an expiry that began."});
    v.field("resumed_total", &M::resumed_total, {.doc = "Sessions that a client came back to."});
    v.field("discarded_total", &M::discarded_total, {.doc = "Sessions dropped because their client asked for a clean start."});
    v.field("expired_total", &M::expired_total, {.doc = "Sessions that ended because their expiry was over."});
    v.field("refused_total", &M::refused_total, {.doc = "Sessions refused because of session.sessions_max."});
    v.field("row_failures_total", &M::row_failures_total, {.doc = "Changes of sessions that could not be stored."});
    v.field("stored", &M::stored, {.doc = "Sessions with an expiry, connected or not."});
    v.field("connected", &M::connected, {.doc = "Sessions with an expiry whose client is connected."});
  }
};

}  // namespace robustmq::broker
