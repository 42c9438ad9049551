// What a QUIC endpoint may be told, and what it counts. Pure.
#pragma once

#include <cstdint>

#include "base/describe.h"

namespace robustmq::net {

struct QuicOptions {
  int64_t idle_ms = 600'000;
  uint32_t retry_above = 1'000;
  uint64_t receive_window_bytes = 256 << 10;
  uint64_t send_buffer_bytes = 256 << 10;
  uint32_t ending_max = 16'384;

  template <class V>
  static void describe(V& v) {
    using O = QuicOptions;
    v.field("idle_ms", &O::idle_ms,
            {.doc = "Time without a packet from the client after which a QUIC connection is given up; the client may ask for "
                    "less. Clients with a longer keep-alive are disconnected between two pings.",
             .unit = "ms",
             .min = 1'000,
             .max = 86'400'000});
    v.field("retry_above", &O::retry_above,
            {.doc = "Handshakes under way on one core above which new clients must show by a Retry that their address is theirs, "
                    "which costs them a round trip; 0: always."});
    v.field("receive_window_bytes", &O::receive_window_bytes,
            {.doc = "Bytes that a client may send before the server has read them: the memory that one connection's input takes "
                    "at most.",
             .unit = "bytes",
             .min = 1 << 14,
             .max = 1 << 26});
    v.field("send_buffer_bytes", &O::send_buffer_bytes,
            {.doc = "Bytes sent and not acknowledged yet that are kept to be sent again: the memory that one connection's output "
                    "takes below the stream's own queue.",
             .unit = "bytes",
             .min = 1 << 14,
             .max = 1 << 26});
    v.field("ending_max", &O::ending_max,
            {.doc = "Connections of one core that are closed and still wait for their peer to have everything, or to know; more "
                    "are ended at once."});
  }
};

// Of one endpoint: a listener on one core.
struct QuicMetrics {
  uint64_t datagrams_in_total = 0;
  uint64_t datagrams_out_total = 0;
  uint64_t bytes_in_total = 0;
  uint64_t bytes_out_total = 0;
  uint64_t datagrams_malformed_total = 0;
  uint64_t datagrams_too_large_total = 0;
  uint64_t datagrams_unknown_total = 0;
  uint64_t datagrams_unsent_total = 0;
  uint64_t datagrams_passed_on_total = 0;
  uint64_t datagrams_held_over_total = 0;
  uint64_t retries_sent_total = 0;
  uint64_t tokens_refused_total = 0;
  uint64_t versions_refused_total = 0;
  uint64_t connections_refused_total = 0;
  uint64_t resets_sent_total = 0;
  uint64_t answers_limited_total = 0;
  uint64_t handshakes_total = 0;
  uint64_t handshakes_failed_total = 0;
  uint64_t migrated_total = 0;
  uint64_t idle_total = 0;
  uint64_t errors_total = 0;
  uint64_t lingered_out_total = 0;
  uint64_t ended_at_once_total = 0;
  int64_t connections = 0;
  int64_t handshakes = 0;

  template <class V>
  static void describe(V& v) {
    using M = QuicMetrics;
    v.field("datagrams_in_total", &M::datagrams_in_total, {.doc = "Datagrams received."});
    v.field("datagrams_out_total", &M::datagrams_out_total, {.doc = "Datagrams sent."});
    v.field("bytes_in_total", &M::bytes_in_total, {.doc = "Bytes of datagrams received."});
    v.field("bytes_out_total", &M::bytes_out_total, {.doc = "Bytes of datagrams sent."});
    v.field("datagrams_malformed_total", &M::datagrams_malformed_total, {.doc = "Datagrams dropped that are not QUIC."});
    v.field("datagrams_too_large_total", &M::datagrams_too_large_total, {.doc = "Datagrams dropped as larger than 2,048 bytes."});
    v.field("datagrams_unknown_total", &M::datagrams_unknown_total, {.doc = "Datagrams dropped that are of no connection."});
    v.field("datagrams_unsent_total", &M::datagrams_unsent_total,
            {.doc = "Datagrams dropped because the system had no room for them; QUIC sends their contents again."});
    v.field("datagrams_passed_on_total", &M::datagrams_passed_on_total,
            {.doc = "Datagrams passed on to the core that has their connection."});
    v.field("datagrams_held_over_total", &M::datagrams_held_over_total,
            {.doc = "Datagrams dropped because too many came while their connection moved to another core."});
    v.field("retries_sent_total", &M::retries_sent_total,
            {.doc = "Clients asked by a Retry to show that their address is theirs."});
    v.field("tokens_refused_total", &M::tokens_refused_total, {.doc = "Connections refused because of a bad token of a Retry."});
    v.field("versions_refused_total", &M::versions_refused_total,
            {.doc = "Clients told that their version of QUIC is not spoken."});
    v.field("connections_refused_total", &M::connections_refused_total,
            {.doc = "Connections refused because a limit is reached."});
    v.field("resets_sent_total", &M::resets_sent_total,
            {.doc = "Stateless resets: peers told that their connection is not known here, as after a restart."});
    v.field("answers_limited_total", &M::answers_limited_total,
            {.doc = "Answers to datagrams of no connection that were not given, being too many in a second."});
    v.field("handshakes_total", &M::handshakes_total, {.doc = "Handshakes done."});
    v.field("handshakes_failed_total", &M::handshakes_failed_total, {.doc = "Handshakes that failed or took too long."});
    v.field("migrated_total", &M::migrated_total, {.doc = "Times that a client came from another address."});
    v.field("idle_total", &M::idle_total, {.doc = "Connections given up because nothing came for idle_ms."});
    v.field("errors_total", &M::errors_total, {.doc = "Connections ended by an error of the transport."});
    v.field("lingered_out_total", &M::lingered_out_total,
            {.doc = "Closed connections given up before all that was sent was acknowledged."});
    v.field("ended_at_once_total", &M::ended_at_once_total,
            {.doc = "Connections ended without waiting for their peer, because ending_max of the core were waiting."});
    v.field("connections", &M::connections, {.doc = "Connections, with those in handshake and those that still close."});
    v.field("handshakes", &M::handshakes, {.doc = "Handshakes under way."});
  }
};

}  // namespace robustmq::net
