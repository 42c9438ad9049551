// What the listeners of one protocol count, and how they are limited. Pure.
#pragma once

#include <cstdint>

#include "base/describe.h"
#include "net/entrance.h"
#include "protocol/connection.h"

namespace robustmq::protocol::driver {

// How fast things may come; 0: no limit.
struct RateOptions {
  uint64_t connections_per_s = 0;
  uint64_t messages_per_s = 0;
  uint64_t bytes_per_s = 0;
  uint64_t client_messages_per_s = 0;
  uint64_t client_bytes_per_s = 0;

  template <class V>
  static void describe(V& v) {
    using O = RateOptions;
    constexpr double kMax = 1e12;
    v.field("connections_per_s", &O::connections_per_s,
            {.doc = "New connections a second of a listener; those over it wait for their turn. 0: no limit.", .max = kMax});
    v.field(
        "messages_per_s", &O::messages_per_s,
        {.doc = "PUBLISHes a second of all MQTT clients of a listener together; over it they are read no further for a while. "
                "0: no limit.",
         .max = kMax});
    v.field(
        "bytes_per_s", &O::bytes_per_s,
        {.doc = "Bytes of packets a second of all MQTT clients of a listener together; over it they are read no further for a "
                "while. 0: no limit.",
         .unit = "bytes",
         .max = kMax});
    v.field(
        "client_messages_per_s", &O::client_messages_per_s,
        {.doc = "PUBLISHes a second of one MQTT client; over it it is read no further for a while. 0: no limit.", .max = kMax});
    v.field("client_bytes_per_s", &O::client_bytes_per_s,
            {.doc = "Bytes of packets a second of one MQTT client; over it it is read no further for a while. 0: no limit.",
             .unit = "bytes",
             .max = kMax});
  }
};

struct ListenerOptions {
  uint32_t connections_max = 1'000'000;
  uint32_t connections_waiting_max = 1'024;
  uint64_t unsent_bytes_max = 128 << 20;
  int64_t stalled_ms_max = 60'000;
  int64_t close_ms_max = 5'000;
  RateOptions rates;

  template <class V>
  static void describe(V& v) {
    using O = ListenerOptions;
    v.field("connections_max", &O::connections_max,
            {.doc = "Connections of the node, of all listeners together; more are refused.", .min = 1});
    v.field("unsent_bytes_max", &O::unsent_bytes_max,
            {.doc = "Bytes that may wait for one client; over it the client is disconnected as a slow reader.",
             .unit = "bytes",
             .min = 1 << 16});
    v.field("stalled_ms_max", &O::stalled_ms_max,
            {.doc = "Time in which a client that bytes wait for must take some; then it is disconnected as a slow reader.",
             .unit = "ms",
             .min = 1});
    v.field("close_ms_max", &O::close_ms_max,
            {.doc = "Time a closed connection has to take what was sent to it.", .unit = "ms", .min = 1});
    v.field("connections_waiting_max", &O::connections_waiting_max,
            {.doc = "New connections of a listener, on each core, that wait for their turn over connections_per_s; more are "
                    "refused.",
             .min = 1,
             .max = 65'536});
    v.field("rates", &O::rates,
            {.doc = "Rates of every listener that has none of its own. After a pause what a second allows may come at once."});
  }
};

struct ListenerMetrics {
  int64_t connections = 0;
  uint64_t accepted_total = 0;
  uint64_t refused_limit_total = 0;
  uint64_t refused_descriptors_total = 0;
  uint64_t refused_rate_total = 0;
  uint64_t delayed_rate_total = 0;
  int64_t entering = 0;
  uint64_t refused_proxy_protocol_total = 0;
  uint64_t refused_tls_total = 0;
  uint64_t refused_websocket_total = 0;
  uint64_t refused_quic_total = 0;
  uint64_t tls_handshakes_total = 0;
  uint64_t tls_resumed_total = 0;
  uint64_t moved_in_total = 0;
  uint64_t moved_out_total = 0;
  uint64_t closed_client_left_total = 0;
  uint64_t closed_peer_closed_total = 0;
  uint64_t closed_protocol_error_total = 0;
  uint64_t closed_not_supported_total = 0;
  uint64_t closed_timed_out_total = 0;
  uint64_t closed_taken_over_total = 0;
  uint64_t closed_slow_reader_total = 0;
  uint64_t closed_over_limit_total = 0;
  uint64_t closed_stopping_total = 0;
  uint64_t closed_ended_total = 0;
  uint64_t closed_not_authorised_total = 0;

  uint64_t& closed(CloseWhy why) {
    switch (why) {
      case CloseWhy::client_left:
        return closed_client_left_total;
      case CloseWhy::none:
      case CloseWhy::peer_closed:
        return closed_peer_closed_total;
      case CloseWhy::protocol_error:
        return closed_protocol_error_total;
      case CloseWhy::not_supported:
        return closed_not_supported_total;
      case CloseWhy::timed_out:
        return closed_timed_out_total;
      case CloseWhy::taken_over:
        return closed_taken_over_total;
      case CloseWhy::slow_reader:
        return closed_slow_reader_total;
      case CloseWhy::over_limit:
        return closed_over_limit_total;
      case CloseWhy::stopping:
        return closed_stopping_total;
      case CloseWhy::ended:
        return closed_ended_total;
      case CloseWhy::not_authorised:
        return closed_not_authorised_total;
    }
    return closed_peer_closed_total;
  }

  uint64_t& refused(net::EntranceStep step) {
    switch (step) {
      case net::EntranceStep::proxy:
        return refused_proxy_protocol_total;
      case net::EntranceStep::tls:
        return refused_tls_total;
      case net::EntranceStep::websocket:
      case net::EntranceStep::none:
        return refused_websocket_total;
    }
    return refused_websocket_total;
  }

  template <class V>
  static void describe(V& v) {
    using M = ListenerMetrics;
    v.field("connections", &M::connections, {.doc = "Open connections."});
    v.field("accepted_total", &M::accepted_total, {.doc = "Connections accepted."});
    v.field("refused_limit_total", &M::refused_limit_total, {.doc = "Connections refused over connections_max."});
    v.field("refused_descriptors_total", &M::refused_descriptors_total,
            {.doc = "Connections refused because the process had no descriptors left."});
    v.field("refused_rate_total", &M::refused_rate_total,
            {.doc = "Connections refused because connections_waiting_max of them waited for their turn already."});
    v.field("delayed_rate_total", &M::delayed_rate_total,
            {.doc = "Connections that waited for their turn over connections_per_s."});
    v.field("entering", &M::entering,
            {.doc = "Connections on their way in: PROXY header, TLS, WebSocket or QUIC are not through yet."});
    v.field("refused_proxy_protocol_total", &M::refused_proxy_protocol_total,
            {.doc = "Connections refused for their PROXY header, or for none in time."});
    v.field("refused_tls_total", &M::refused_tls_total,
            {.doc = "Connections refused because TLS did not come about, or not in time."});
    v.field("refused_websocket_total", &M::refused_websocket_total,
            {.doc = "Connections refused because WebSocket did not open, or not in time."});
    v.field("refused_quic_total", &M::refused_quic_total,
            {.doc = "Connections refused because QUIC's handshake failed, or no stream was opened in time."});
    v.field("tls_handshakes_total", &M::tls_handshakes_total,
            {.doc = "Whole TLS handshakes that came about, those of QUIC too."});
    v.field("tls_resumed_total", &M::tls_resumed_total, {.doc = "TLS handshakes that resumed an earlier session."});
    v.field("moved_in_total", &M::moved_in_total, {.doc = "Connections that came from another core, to their session."});
    v.field("moved_out_total", &M::moved_out_total, {.doc = "Connections that went to their session's core."});
    v.field("closed_client_left_total", &M::closed_client_left_total, {.doc = "Closed with the protocol's own goodbye."});
    v.field("closed_peer_closed_total", &M::closed_peer_closed_total, {.doc = "Ended by the client without one."});
    v.field("closed_protocol_error_total", &M::closed_protocol_error_total, {.doc = "Closed for a protocol error."});
    v.field("closed_not_supported_total", &M::closed_not_supported_total, {.doc = "Closed for using what is not supported."});
    v.field("closed_timed_out_total", &M::closed_timed_out_total, {.doc = "Closed for silence."});
    v.field("closed_taken_over_total", &M::closed_taken_over_total, {.doc = "Closed because the session connected again."});
    v.field("closed_slow_reader_total", &M::closed_slow_reader_total, {.doc = "Closed because the client read too slowly."});
    v.field("closed_over_limit_total", &M::closed_over_limit_total, {.doc = "Closed over another limit."});
    v.field("closed_stopping_total", &M::closed_stopping_total, {.doc = "Closed because the node stopped."});
    v.field("closed_ended_total", &M::closed_ended_total, {.doc = "Closed by who looks after the node: banned, or by hand."});
    v.field("closed_not_authorised_total", &M::closed_not_authorised_total, {.doc = "Closed because a login failed."});
  }
};

}  // namespace robustmq::protocol::driver
