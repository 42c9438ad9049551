// What sessions may be told, and what they count. Pure.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>

#include "base/describe.h"

namespace robustmq::broker {

// What goes when more waits for a session than it may keep.
enum class OverLimit : uint8_t { drop_oldest, drop_newest, disconnect };

}  // namespace robustmq::broker

template <>
struct robustmq::EnumNames<robustmq::broker::OverLimit> {
  static constexpr std::pair<robustmq::broker::OverLimit, std::string_view> values[] = {
      {robustmq::broker::OverLimit::drop_oldest, "drop_oldest"},
      {robustmq::broker::OverLimit::drop_newest, "drop_newest"},
      {robustmq::broker::OverLimit::disconnect, "disconnect"}};
};

namespace robustmq::broker {

struct SessionOptions {
  uint32_t expiry_s_max = 7 * 24 * 3600;
  int32_t sessions_max = 1'000'000;
  bool keep_qos0 = false;
  int64_t messages_max = 100'000;
  int64_t bytes_max = 256LL << 20;
  OverLimit over_limit = OverLimit::drop_oldest;
  int64_t flush_ms = 1000;
  int64_t spool_segment_bytes = 64 << 20;
  int32_t spool_rewrite_percent = 50;
  int64_t cache_bytes = 16 << 20;

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
    v.field(
        "keep_qos0", &S::keep_qos0,
        {.doc =
             "Messages of QoS 0, and those for subscriptions of QoS 0, wait for a session too; else they are lost to one whose "
             "client is away."});
    v.field("messages_max", &S::messages_max,
            {.doc = "Most messages that wait for a session, on each core; `over_limit` says what goes beyond it.", .min = 1});
    v.field("bytes_max", &S::bytes_max,
            {.doc = "Most bytes of messages that wait for a session, on each core, about.", .unit = "bytes", .min = 1024});
    v.field("over_limit", &S::over_limit,
            {.doc = "What goes when more waits for a session than it may keep: drop_oldest, drop_newest, or disconnect (a client "
                    "that is "
                    "connected is disconnected; while it is away the newest go)."});
    v.field("flush_ms", &S::flush_ms,
            {.doc = "How long what clients acknowledged may be unstored; after a crash that much of QoS 1 may come again.",
             .unit = "ms",
             .min = 1,
             .max = 60'000});
    v.field("spool_segment_bytes", &S::spool_segment_bytes,
            {.doc = "Size of a segment of the spool, the log of messages that sessions wait for and no stream keeps.",
             .unit = "bytes",
             .min = 1 << 16});
    v.field(
        "spool_rewrite_percent", &S::spool_rewrite_percent,
        {.doc = "When fewer of a spool's records than this are still owed to anybody, the oldest of those are written again at "
                "its end, so that the rest can go; 0: never.",
         .unit = "%",
         .min = 0,
         .max = 90});
    v.field("cache_bytes", &S::cache_bytes,
            {.doc = "Memory for what sessions are about to be sent, on each core.", .unit = "bytes", .min = 1 << 20});
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
  uint64_t messages_spooled_total = 0;
  uint64_t messages_referred_total = 0;
  uint64_t messages_rewritten_total = 0;
  uint64_t spool_failures_total = 0;
  uint64_t spool_damaged_total = 0;
  uint64_t messages_handed_total = 0;
  uint64_t batches_read_total = 0;
  uint64_t reads_failed_total = 0;
  uint64_t messages_lost_total = 0;
  uint64_t messages_expired_total = 0;
  uint64_t messages_dropped_total = 0;
  int64_t stored = 0;
  int64_t connected = 0;
  int64_t partitions_held = 0;

  template <class V>
  static void describe(V& v) {
    using M = SessionMetrics;
    v.field("opened_total", &M::opened_total, {.doc = "Sessions with an expiry that began."});
    v.field("resumed_total", &M::resumed_total, {.doc = "Sessions that a client came back to."});
    v.field("discarded_total", &M::discarded_total, {.doc = "Sessions dropped because their client asked for a clean start."});
    v.field("expired_total", &M::expired_total, {.doc = "Sessions that ended because their expiry was over."});
    v.field("refused_total", &M::refused_total, {.doc = "Sessions refused because of session.sessions_max."});
    v.field("row_failures_total", &M::row_failures_total, {.doc = "Changes of sessions that could not be stored."});
    v.field("messages_spooled_total", &M::messages_spooled_total, {.doc = "Messages written to the spool."});
    v.field("messages_referred_total", &M::messages_referred_total,
            {.doc = "Messages that sessions wait for and a stream keeps: written to the spool as a reference."});
    v.field("messages_rewritten_total", &M::messages_rewritten_total,
            {.doc = "Records of the spool written again, so that those around them, which nobody is owed, could go."});
    v.field("spool_failures_total", &M::spool_failures_total,
            {.doc = "Batches that the spool could not store; their publishers were told."});
    v.field("spool_damaged_total", &M::spool_damaged_total,
            {.doc = "Records of spools that a start found damaged and passed over."});
    v.field("messages_handed_total", &M::messages_handed_total, {.doc = "Messages handed to the clients of sessions."});
    v.field("batches_read_total", &M::batches_read_total, {.doc = "Batches read from the disk for sessions."});
    v.field("reads_failed_total", &M::reads_failed_total,
            {.doc = "Reads for sessions that failed and are tried again: the disk, or too many open files."});
    v.field("messages_lost_total", &M::messages_lost_total,
            {.doc = "Messages that a session waited for and that were gone: their stream was deleted, or is damaged."});
    v.field("messages_expired_total", &M::messages_expired_total,
            {.doc = "Messages whose expiry was over before their session got them."});
    v.field("messages_dropped_total", &M::messages_dropped_total,
            {.doc = "Messages dropped because more waited for a session than it may keep."});
    v.field("stored", &M::stored, {.doc = "Sessions with an expiry, connected or not."});
    v.field("connected", &M::connected, {.doc = "Sessions with an expiry whose client is connected."});
    v.field("partitions_held", &M::partitions_held,
            {.doc = "Partitions of streams that keep messages for sessions, whatever their retention."});
  }
};

}  // namespace robustmq::broker
