// Options of the MQTT protocol: section [mqtt]. Pure.
#pragma once

#include <cstdint>
#include <string>

#include "base/describe.h"

namespace robustmq::mqtt {

struct MqttOptions {
  int64_t connect_timeout_ms = 10'000;
  uint32_t connect_bytes_max = 4096;
  uint32_t packet_bytes_max = 1'000'000;
  uint8_t qos_max = 2;
  bool retain_available = true;
  bool wildcards_available = true;
  bool subscription_ids_available = true;
  bool shared_available = true;
  bool streams_available = true;
  bool queues_available = false;
  bool queues_made = true;
  bool streams_made = false;
  uint32_t clean_session_0_expiry_s = 7 * 24 * 3600;
  uint16_t topic_alias_max = 32;
  uint16_t topic_alias_out_max = 32;
  std::string response_information;
  uint16_t receive_maximum = 1024;
  uint16_t inflight_max = 1024;
  uint16_t keep_alive_max_s = 0;
  uint16_t topic_levels_max = 128;
  uint16_t client_id_bytes_max = 1024;
  uint16_t client_id_bytes_max_v3_1 = 23;
  uint16_t requests_max = 16;
  uint32_t subscribe_filters_max = 1024;
  uint32_t queue_messages_max = 10'000;
  uint64_t queue_bytes_max = 4 << 20;
  int64_t slow_ms_min = 0;
  uint32_t publish_batch_messages = 512;
  uint32_t publish_batch_bytes = 256 << 10;

  template <class V>
  static void describe(V& v) {
    using O = MqttOptions;
    v.field("connect_timeout_ms", &O::connect_timeout_ms,
            {.doc = "Time from the start of a connection to its CONNECT; then it is closed.",
             .unit = "ms",
             .min = 1,
             .max = 600'000});
    v.field("connect_bytes_max", &O::connect_bytes_max,
            {.doc = "Largest CONNECT packet taken, will included. Nothing is stored of a larger one.",
             .unit = "bytes",
             .min = 64,
             .max = 1 << 20});
    v.field("packet_bytes_max", &O::packet_bytes_max,
            {.doc = "Largest packet taken after CONNECT; told to MQTT 5 clients as Maximum Packet Size.",
             .unit = "bytes",
             .min = 64,
             .max = 268'435'460});
    v.field("qos_max", &O::qos_max,
            {.doc = "Highest QoS that clients may publish with and are granted; told to MQTT 5 clients where it is below 2.",
             .max = 2});
    v.field("retain_available", &O::retain_available, {.doc = "Whether clients may publish retained messages."});
    v.field("wildcards_available", &O::wildcards_available, {.doc = "Whether clients may subscribe with `+` and `#`."});
    v.field("subscription_ids_available", &O::subscription_ids_available,
            {.doc = "Whether MQTT 5 clients may give subscription identifiers."});
    v.field("shared_available", &O::shared_available, {.doc = "Whether clients may subscribe to `$share/group/filter`."});
    v.field("streams_available", &O::streams_available,
            {.doc = "Whether `$stream/name/filter` reads a stream; otherwise it is a topic filter like others."});
    v.field(
        "queues_available", &O::queues_available,
        {.doc = "Whether `$queue/name/filter` is a queue over a stream, and `$q/filter` the one over a topic rule's; otherwise "
                "`$queue/filter` is `$share/$queue/filter`."});
    v.field(
        "queues_made", &O::queues_made,
        {.doc = "Where there are queues: a subscription to `$queue/name/filter` makes the stream `name` over the filter, when "
                "there is none; [declare] says how."});
    v.field("streams_made", &O::streams_made,
            {.doc = "The same of subscriptions to `$stream/name/filter`, where there are streams."});
    v.field("clean_session_0_expiry_s", &O::clean_session_0_expiry_s,
            {.doc = "How long the session of an MQTT 3.1 or 3.1.1 client with clean session 0 is kept after its connection; "
                    "4,294,967,295 keeps it for ever.",
             .unit = "s",
             .min = 1});
    v.field("topic_alias_max", &O::topic_alias_max,
            {.doc = "Topic aliases that an MQTT 5 client may use; it is told. Each holds a topic name."});
    v.field("topic_alias_out_max", &O::topic_alias_out_max,
            {.doc = "Topic aliases used towards an MQTT 5 client that allows them; its own maximum may lower it."});
    v.field("response_information", &O::response_information,
            {.doc = "Response Information given to MQTT 5 clients that ask for it; empty: none."});
    v.field("receive_maximum", &O::receive_maximum,
            {.doc = "QoS 1 and 2 PUBLISHes of a client that may be under way; told to MQTT 5 clients, and older ones are read "
                    "no further while so many wait for an answer.",
             .min = 1,
             .max = 65'535});
    v.field("inflight_max", &O::inflight_max,
            {.doc = "QoS 1 and 2 messages under way to a client; the client's Receive Maximum may lower it.",
             .min = 1,
             .max = 65'535});
    v.field("keep_alive_max_s", &O::keep_alive_max_s,
            {.doc = "Longest keep-alive granted to MQTT 5 clients, which are told; 0 grants what is asked.",
             .unit = "s",
             .max = 65'535});
    v.field("topic_levels_max", &O::topic_levels_max, {.doc = "Most levels of a topic name or filter.", .min = 1, .max = 65'535});
    v.field("client_id_bytes_max", &O::client_id_bytes_max,
            {.doc = "Longest client id taken.", .unit = "bytes", .min = 23, .max = 65'535});
    v.field("client_id_bytes_max_v3_1", &O::client_id_bytes_max_v3_1,
            {.doc = "Longest client id taken from MQTT 3.1 clients; that standard allows 23.",
             .unit = "bytes",
             .min = 23,
             .max = 65'535});
    v.field("requests_max", &O::requests_max,
            {.doc = "SUBSCRIBEs and UNSUBSCRIBEs of a client that may wait for their answer; then it is read no further.",
             .min = 1,
             .max = 1024});
    v.field("subscribe_filters_max", &O::subscribe_filters_max,
            {.doc = "Filters of one SUBSCRIBE or UNSUBSCRIBE that are looked at; those behind them are refused.",
             .min = 1,
             .max = 65'536});
    v.field("queue_messages_max", &O::queue_messages_max,
            {.doc = "QoS 1 and 2 messages that wait for a slow client; beyond it the client is disconnected.",
             .min = 1,
             .max = 10'000'000});
    v.field("queue_bytes_max", &O::queue_bytes_max,
            {.doc = "Bytes of QoS 1 and 2 messages that wait for a slow client; beyond it the client is disconnected.",
             .unit = "bytes",
             .min = 1024});
    v.field(
        "slow_ms_min", &O::slow_ms_min,
        {.doc = "Time from a QoS 1 or 2 message's arrival to its sending from which its client is listed as slow; 0: none is.",
         .unit = "ms",
         .min = 0});
    v.field("publish_batch_messages", &O::publish_batch_messages,
            {.doc = "Most messages handed on in one publish request.", .min = 1, .max = 65'536});
    v.field("publish_batch_bytes", &O::publish_batch_bytes,
            {.doc = "Payload bytes after which a publish request is handed on.", .unit = "bytes", .min = 1, .max = 64 << 20});
  }
};

}  // namespace robustmq::mqtt
