// What the queues over shards count. Pure.
#pragma once

#include <cstdint>

#include "base/describe.h"

namespace robustmq::broker {

// Counted per core.
struct LeaseMetrics {
  int64_t queues_open = 0;
  int64_t requests_waiting = 0;
  uint64_t requests_total = 0;
  uint64_t requests_parked_total = 0;
  uint64_t connections_lost_total = 0;
  uint64_t queues_made_total = 0;
  uint64_t queues_failed_total = 0;
  int64_t dead_letters_waiting = 0;
  uint64_t dead_letters_written_total = 0;
  uint64_t dead_letters_failed_total = 0;
  uint64_t dead_letters_without_copy_total = 0;
  uint64_t records_replaced_total = 0;
  uint64_t keys_left_out_total = 0;

  template <class V>
  static void describe(V& v) {
    using M = LeaseMetrics;
    v.field("queues_open", &M::queues_open, {.doc = "Queues over partitions that are open."});
    v.field("requests_waiting", &M::requests_waiting, {.doc = "Requests for records of queues that wait for some now."});
    v.field("requests_total", &M::requests_total, {.doc = "Requests for records of queues."});
    v.field("requests_parked_total", &M::requests_parked_total, {.doc = "Requests for records of queues that waited for some."});
    v.field("connections_lost_total", &M::connections_lost_total,
            {.doc = "Connections that ended without leaving their queues; what they held went back."});
    v.field("queues_made_total", &M::queues_made_total, {.doc = "Queues over partitions that were used for the first time."});
    v.field("queues_failed_total", &M::queues_failed_total,
            {.doc = "Times a queue was closed because its rows could not be read or written; it is opened with its next use."});
    v.field("dead_letters_waiting", &M::dead_letters_waiting,
            {.doc = "Dead records of open queues whose dead letters are not written yet."});
    v.field("dead_letters_written_total", &M::dead_letters_written_total, {.doc = "Dead letters written."});
    v.field(
        "dead_letters_failed_total", &M::dead_letters_failed_total,
        {.doc = "Times dead letters could not be written: their topic is missing, takes none or failed. They are tried again."});
    v.field("dead_letters_without_copy_total", &M::dead_letters_without_copy_total,
            {.doc = "Dead letters that were to have their record's key and value and have not: it is gone from the log, or with "
                    "them the letter is over the topic's largest batch."});
    v.field("records_replaced_total", &M::records_replaced_total,
            {.doc = "Records of queues of last values that were passed over, as a newer one with their key came."});
    v.field("keys_left_out_total", &M::keys_left_out_total,
            {.doc = "Records of such queues whose key there was no memory for: what they replace is delivered."});
  }
};

}  // namespace robustmq::broker
