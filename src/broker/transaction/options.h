// What transactions may be told, and what they count. Pure.
#pragma once

#include <cstdint>

#include "base/describe.h"

namespace robustmq::broker {

struct TransactionOptions {
  int32_t timeout_max_ms = 900'000;
  int64_t id_expiration_ms = 7LL * 24 * 3600 * 1000;
  int32_t ids_max = 100'000;
  int32_t partitions_max = 10'000;
  int64_t retry_ms = 1'000;

  template <class V>
  static void describe(V& v) {
    using T = TransactionOptions;
    v.field("timeout_max_ms", &T::timeout_max_ms,
            {.doc = "Longest transaction timeout a producer may ask for; a transaction that is open for longer than its producer "
                    "asked is aborted.",
             .unit = "ms",
             .min = 1});
    v.field("id_expiration_ms", &T::id_expiration_ms,
            {.doc = "Age at which a transactional id without an open transaction is forgotten, counted from its last use.",
             .unit = "ms",
             .min = 1});
    v.field("ids_max", &T::ids_max, {.doc = "Most transactional ids on this node; one more is refused.", .min = 1});
    v.field("partitions_max", &T::partitions_max, {.doc = "Most partitions and consumer groups in one transaction.", .min = 1});
    v.field("retry_ms", &T::retry_ms,
            {.doc = "Pause before the end of a transaction is written again to where it could not be.", .unit = "ms", .min = 1});
  }
};

// Counted where the coordinator lives; markers where they are written.
struct TransactionMetrics {
  uint64_t begun_total = 0;
  uint64_t committed_total = 0;
  uint64_t aborted_total = 0;
  uint64_t timed_out_total = 0;
  uint64_t fenced_total = 0;
  uint64_t ids_refused_total = 0;
  uint64_t ids_expired_total = 0;
  uint64_t markers_written_total = 0;
  uint64_t markers_failed_total = 0;
  int64_t ids = 0;
  int64_t open = 0;

  template <class V>
  static void describe(V& v) {
    using M = TransactionMetrics;
    v.field("begun_total", &M::begun_total, {.doc = "Transactions that have begun."});
    v.field("committed_total", &M::committed_total, {.doc = "Transactions decided to commit."});
    v.field("aborted_total", &M::aborted_total, {.doc = "Transactions decided to abort."});
    v.field("timed_out_total", &M::timed_out_total, {.doc = "Transactions aborted because their producers fell silent."});
    v.field("fenced_total", &M::fenced_total, {.doc = "Requests refused because a newer producer has the transactional id."});
    v.field("ids_refused_total", &M::ids_refused_total, {.doc = "Transactional ids refused because of a limit."});
    v.field("ids_expired_total", &M::ids_expired_total, {.doc = "Transactional ids forgotten because of their age."});
    v.field("markers_written_total", &M::markers_written_total, {.doc = "Ends of transactions written to partitions."});
    v.field("markers_failed_total", &M::markers_failed_total,
            {.doc = "Ends of transactions that could not be written to a partition and are tried again."});
    v.field("ids", &M::ids, {.doc = "Transactional ids."});
    v.field("open", &M::open, {.doc = "Transactions that are open or being ended."});
  }
};

}  // namespace robustmq::broker
