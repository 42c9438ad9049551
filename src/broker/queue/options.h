// What a queue may be told, and what it counts. Pure.
#pragma once

#include <cstdint>

#include "base/describe.h"

namespace robustmq::queue {

struct QueueOptions {
  // How long a lease lasts that was asked for without a time; 0: as long as its consumer.
  int64_t lease_ms = 30'000;
  int64_t lease_ms_max = 43'200'000;
  // Deliveries after which a message that comes back is dead; 0: no limit.
  int32_t delivery_limit = 0;
  // The limit counts every delivery that ended without an accept (Kafka, SQS), not the failed ones alone (AMQP).
  bool limit_counts_releases = false;
  // Most messages that are ready; 0: no limit. One more: the oldest dies, or room() says that none may be appended.
  int64_t length_max = 0;
  bool is_overflow_rejected = false;
  // Only one consumer at a time is given messages; the next one when it goes, by priority, then age.
  bool is_single_active = false;
  // A dead message is kept until confirm_dead(); else it is told of once.
  bool is_death_confirmed = false;

  // The walls of the tables.
  int64_t consumers_max = 10'000;
  int64_t in_flight_max = 100'000;
  int64_t ranges_max = 200'000;  // above it nothing more is taken in; at twice of it only whole ranges are leased
  int64_t extras_max = 120'000;  // messages with a group or annotations
  int64_t filters_max = 64;
  int64_t annotation_bytes_max = 4096;
  int64_t scan_max = 1000;  // messages looked at for filters and byte limits in one input

  template <class V>
  static void describe(V& v) {
    using Q = QueueOptions;
    v.field("lease_ms", &Q::lease_ms, {.doc = "How long a lease lasts; 0: as long as its consumer.", .unit = "ms", .min = 0});
    v.field("lease_ms_max", &Q::lease_ms_max, {.doc = "Longest lease a consumer may ask for.", .unit = "ms", .min = 1});
    v.field("delivery_limit", &Q::delivery_limit,
            {.doc = "Deliveries after which a message that comes back is dead; 0: no limit.", .min = 0, .max = 65535});
    v.field("limit_counts_releases", &Q::limit_counts_releases,
            {.doc = "The limit counts every delivery that ended without an accept, not the failed ones alone."});
    v.field("length_max", &Q::length_max, {.doc = "Most messages that are ready; 0: no limit.", .min = 0});
    v.field("is_overflow_rejected", &Q::is_overflow_rejected,
            {.doc = "At the limit no more are taken in; else the oldest one dies."});
    v.field("is_single_active", &Q::is_single_active, {.doc = "Only one consumer at a time is given messages."});
    v.field("is_death_confirmed", &Q::is_death_confirmed, {.doc = "A dead message is kept until it lies elsewhere."});
    v.field("consumers_max", &Q::consumers_max, {.doc = "Most consumers of a queue.", .min = 1});
    v.field("in_flight_max", &Q::in_flight_max, {.doc = "Most messages of a queue that are leased.", .min = 1});
    v.field(
        "ranges_max", &Q::ranges_max,
        {.doc =
             "Ranges of messages in one state above which a queue takes in no more; at twice of it only whole ranges are leased.",
         .min = 16});
    v.field("extras_max", &Q::extras_max, {.doc = "Most messages that wait with a group key or annotations.", .min = 1});
    v.field("filters_max", &Q::filters_max, {.doc = "Most different filters of a queue's consumers.", .min = 1});
    v.field("annotation_bytes_max", &Q::annotation_bytes_max,
            {.doc = "Most bytes of a message's annotations.", .unit = "bytes", .min = 0});
    v.field("scan_max", &Q::scan_max, {.doc = "Messages looked at for filters and byte limits in one turn.", .min = 1});
  }
};

// Counted per core; in messages.
struct QueueMetrics {
  uint64_t messages_leased_total = 0;
  uint64_t messages_accepted_total = 0;
  uint64_t messages_released_total = 0;
  uint64_t messages_failed_total = 0;
  uint64_t leases_expired_total = 0;
  uint64_t messages_dead_total = 0;
  uint64_t arrivals_refused_total = 0;

  template <class V>
  static void describe(V& v) {
    using M = QueueMetrics;
    v.field("messages_leased_total", &M::messages_leased_total, {.doc = "Messages given to consumers of queues."});
    v.field("messages_accepted_total", &M::messages_accepted_total, {.doc = "Messages that consumers accepted."});
    v.field("messages_released_total", &M::messages_released_total, {.doc = "Messages given back unharmed."});
    v.field("messages_failed_total", &M::messages_failed_total, {.doc = "Messages given back as failed."});
    v.field("leases_expired_total", &M::leases_expired_total, {.doc = "Messages whose lease ran out."});
    v.field("messages_dead_total", &M::messages_dead_total,
            {.doc = "Messages that died: rejected, expired, over a limit of deliveries or of length."});
    v.field("arrivals_refused_total", &M::arrivals_refused_total,
            {.doc = "Times a queue took in no more because a table was full; asked again later."});
  }
};

}  // namespace robustmq::queue
