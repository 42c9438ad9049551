// What the MQTT connections of one core count. One struct a core; the driver merges them. Pure.
#pragma once

#include <cstdint>

#include "base/describe.h"

namespace robustmq::mqtt {

struct MqttMetrics {
  int64_t connections = 0;
  uint64_t connects_total = 0;
  uint64_t connects_refused_total = 0;
  uint64_t protocol_errors_total = 0;
  uint64_t features_refused_total = 0;
  uint64_t keep_alive_timeouts_total = 0;
  uint64_t connect_timeouts_total = 0;
  uint64_t takeovers_total = 0;
  uint64_t slow_readers_total = 0;
  uint64_t publishes_received_total = 0;
  uint64_t publishes_failed_total = 0;
  uint64_t publishes_again_total = 0;
  uint64_t pubacks_sent_total = 0;
  uint64_t pubrecs_sent_total = 0;
  uint64_t pubrels_received_total = 0;
  uint64_t publishes_sent_total = 0;
  uint64_t pubacks_received_total = 0;
  uint64_t pubrecs_received_total = 0;
  uint64_t pubcomps_received_total = 0;
  uint64_t pubacks_stray_total = 0;
  uint64_t subscribes_total = 0;
  uint64_t unsubscribes_total = 0;
  int64_t queued_messages = 0;
  int64_t queued_bytes = 0;
  uint64_t dropped_congested_total = 0;
  uint64_t dropped_expired_total = 0;
  uint64_t dropped_too_large_total = 0;
  uint64_t dropped_slow_reader_total = 0;
  uint64_t dropped_bad_topic_total = 0;
  uint64_t dropped_foreign_total = 0;
  uint64_t headers_left_out_total = 0;
  uint64_t reads_delayed_total = 0;

  template <class V>
  static void describe(V& v) {
    using M = MqttMetrics;
    v.field("connections", &M::connections, {.doc = "Open connections."});
    v.field("connects_total", &M::connects_total, {.doc = "CONNECTs accepted."});
    v.field("connects_refused_total", &M::connects_refused_total, {.doc = "CONNECTs refused with a CONNACK or a close."});
    v.field("protocol_errors_total", &M::protocol_errors_total,
            {.doc = "Connections closed for a malformed packet or a protocol error."});
    v.field("features_refused_total", &M::features_refused_total,
            {.doc = "Connections closed because they used what is not supported."});
    v.field("keep_alive_timeouts_total", &M::keep_alive_timeouts_total,
            {.doc = "Connections closed after 1.5 times their keep-alive in silence."});
    v.field("connect_timeouts_total", &M::connect_timeouts_total, {.doc = "Connections closed without a CONNECT in time."});
    v.field("takeovers_total", &M::takeovers_total, {.doc = "Connections closed because their client id connected again."});
    v.field("slow_readers_total", &M::slow_readers_total,
            {.doc = "Connections closed because too many QoS 1 and 2 messages waited for them."});
    v.field("publishes_received_total", &M::publishes_received_total, {.doc = "PUBLISHes taken from clients."});
    v.field("publishes_failed_total", &M::publishes_failed_total,
            {.doc = "PUBLISHes of clients that were refused or could not be stored."});
    v.field("publishes_again_total", &M::publishes_again_total,
            {.doc = "PUBLISHes taken with the packet id of a QoS 2 message that is not released; not handed on."});
    v.field("pubacks_sent_total", &M::pubacks_sent_total, {.doc = "PUBACKs sent to clients, refusals included."});
    v.field("pubrecs_sent_total", &M::pubrecs_sent_total, {.doc = "PUBRECs sent to clients, refusals included."});
    v.field("pubrels_received_total", &M::pubrels_received_total, {.doc = "PUBRELs of clients that released a QoS 2 message."});
    v.field("publishes_sent_total", &M::publishes_sent_total, {.doc = "PUBLISHes sent to clients."});
    v.field("pubacks_received_total", &M::pubacks_received_total, {.doc = "PUBACKs of clients that ended a delivery."});
    v.field("pubrecs_received_total", &M::pubrecs_received_total, {.doc = "PUBRECs of clients for a delivery."});
    v.field("pubcomps_received_total", &M::pubcomps_received_total, {.doc = "PUBCOMPs of clients that ended a delivery."});
    v.field("pubacks_stray_total", &M::pubacks_stray_total, {.doc = "Acknowledgements for packet ids not in flight."});
    v.field("subscribes_total", &M::subscribes_total, {.doc = "Filters subscribed to."});
    v.field("unsubscribes_total", &M::unsubscribes_total, {.doc = "Filters unsubscribed from."});
    v.field("queued_messages", &M::queued_messages, {.doc = "QoS 1 and 2 messages that wait for their client."});
    v.field("queued_bytes", &M::queued_bytes, {.doc = "Bytes of QoS 1 and 2 messages that wait for their client."});
    v.field("dropped_congested_total", &M::dropped_congested_total,
            {.doc = "QoS 0 messages not sent because the client's socket was full."});
    v.field("dropped_expired_total", &M::dropped_expired_total, {.doc = "Messages not sent because their expiry was over."});
    v.field("dropped_too_large_total", &M::dropped_too_large_total,
            {.doc = "Messages not sent because they are over the client's Maximum Packet Size."});
    v.field("dropped_slow_reader_total", &M::dropped_slow_reader_total,
            {.doc = "QoS 1 and 2 messages not sent because their client was too slow."});
    v.field("dropped_bad_topic_total", &M::dropped_bad_topic_total,
            {.doc = "Messages not sent because their topic is no MQTT topic name."});
    v.field("dropped_foreign_total", &M::dropped_foreign_total,
            {.doc = "Messages not sent because their topic is not within the mountpoint of the client's listener."});
    v.field("headers_left_out_total", &M::headers_left_out_total,
            {.doc = "Record headers that MQTT cannot carry, left out of a delivery."});
    v.field("reads_delayed_total", &M::reads_delayed_total,
            {.doc = "Times a client was read no further for a while, because it, or its listener, was over a rate."});
  }
};

}  // namespace robustmq::mqtt
