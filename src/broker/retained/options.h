// What retained messages may be told, and what they count. Pure.
#pragma once

#include <cstdint>

#include "base/describe.h"

namespace robustmq::broker {

struct RetainedOptions {
  int64_t messages_max = 2'000'000;
  int64_t bytes_max = 1LL << 30;
  int64_t payload_bytes_max = 1 << 20;
  int32_t levels_max = 128;
  int32_t indexes_max = 8;
  int32_t index_names_min = 1'000;

  template <class V>
  static void describe(V& v) {
    using R = RetainedOptions;
    v.field("messages_max", &R::messages_max,
            {.doc = "Most retained messages, split evenly by core; one more is refused to its publisher.", .min = 0});
    v.field(
        "bytes_max", &R::bytes_max,
        {.doc = "Most bytes of retained messages (payload, headers, topic), split evenly by core.", .unit = "bytes", .min = 0});
    v.field("payload_bytes_max", &R::payload_bytes_max,
            {.doc = "Largest payload that is retained; a larger one is refused.", .unit = "bytes", .min = 0});
    v.field("levels_max", &R::levels_max, {.doc = "Most levels of a topic with a retained message.", .min = 1, .max = 1024});
    v.field("indexes_max", &R::indexes_max,
            {.doc = "Most shapes of wildcard filters that have an index, on each core; 0 keeps none. A lookup without one takes "
                    "time for topics that do not match.",
             .min = 0,
             .max = 64});
    v.field("index_names_min", &R::index_names_min,
            {.doc = "Names at one level from which on filters with a + at this level get an index.", .min = 2});
  }
};

// Counted per core.
struct RetainedMetrics {
  int64_t messages = 0;
  int64_t message_bytes = 0;
  int64_t indexes = 0;
  int64_t bursts = 0;
  uint64_t messages_set_total = 0;
  uint64_t messages_cleared_total = 0;
  uint64_t messages_expired_total = 0;
  uint64_t messages_refused_total = 0;
  uint64_t messages_delivered_total = 0;
  uint64_t lookups_total = 0;
  uint64_t nodes_visited_total = 0;
  uint64_t bursts_paused_total = 0;
  uint64_t writes_failed_total = 0;

  template <class V>
  static void describe(V& v) {
    using M = RetainedMetrics;
    v.field("messages", &M::messages, {.doc = "Retained messages."});
    v.field("message_bytes", &M::message_bytes, {.doc = "Their payloads, headers and topics.", .unit = "bytes"});
    v.field("indexes", &M::indexes, {.doc = "Indexes of shapes of wildcard filters."});
    v.field("bursts", &M::bursts, {.doc = "Connections that are being sent retained messages."});
    v.field("messages_set_total", &M::messages_set_total, {.doc = "Retained messages set or replaced."});
    v.field("messages_cleared_total", &M::messages_cleared_total,
            {.doc = "Retained messages cleared by an empty payload or the API."});
    v.field("messages_expired_total", &M::messages_expired_total, {.doc = "Retained messages that expired."});
    v.field("messages_refused_total", &M::messages_refused_total,
            {.doc = "Retained messages refused because of a limit: count, bytes, payload, levels."});
    v.field("messages_delivered_total", &M::messages_delivered_total, {.doc = "Retained messages sent to new followers."});
    v.field("lookups_total", &M::lookups_total, {.doc = "Pieces of retained messages looked up."});
    v.field("nodes_visited_total", &M::nodes_visited_total, {.doc = "Tree nodes visited by lookups."});
    v.field("bursts_paused_total", &M::bursts_paused_total, {.doc = "Times a burst waited for its connection."});
    v.field("writes_failed_total", &M::writes_failed_total, {.doc = "Changes that could not be stored and were taken back."});
  }
};

}  // namespace robustmq::broker
