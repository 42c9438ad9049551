// What the broker may be told: topic rules, defaults for topics, limits. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/describe.h"
#include "meta/topic.h"

namespace robustmq::broker {

// Says where the messages of MQTT topics go; the first rule that matches wins.
struct TopicRule {
  std::string filter;
  std::string topic;  // empty: each MQTT topic is a light topic
  int32_t partitions = 1;
  meta::Mode mode = meta::Mode::persistent;
  int64_t retention_ms = 7LL * 24 * 3600 * 1000;
  int64_t retention_bytes = -1;

  template <class V>
  static void describe(V& v) {
    v.field("filter", &TopicRule::filter, {.doc = "MQTT topic filter of the topics that this rule claims."});
    v.field("topic", &TopicRule::topic,
            {.doc = "Stream that their messages go to, by its Kafka name; left out: each MQTT topic is a light topic of the mode "
                    "below."});
    v.field("partitions", &TopicRule::partitions, {.doc = "Partitions of the stream when it is made.", .min = 1, .max = 10000});
    v.field("mode", &TopicRule::mode, {.doc = "What an ack means: none, memory, hybrid (streams alone) or persistent."});
    v.field("retention_ms", &TopicRule::retention_ms,
            {.doc = "Age at which records are dropped; -1 keeps them.", .unit = "ms", .min = -1});
    v.field("retention_bytes", &TopicRule::retention_bytes,
            {.doc = "Size of a partition above which the oldest are dropped; -1 keeps them.", .unit = "bytes", .min = -1});
  }
};

// Who of a shared subscription's members gets a message.
enum class SharedStrategy : uint8_t {
  random,
  round_robin,
  round_robin_per_group,
  sticky,  // one until it goes
  local,   // one of the message's own core, where there is one
  hash_topic,
  hash_clientid,  // by the publisher's connection
  least_inflight,
};

}  // namespace robustmq::broker

template <>
struct robustmq::EnumNames<robustmq::broker::SharedStrategy> {
  using S = robustmq::broker::SharedStrategy;
  static constexpr std::pair<S, std::string_view> values[] = {{S::random, "random"},
                                                              {S::round_robin, "round_robin"},
                                                              {S::round_robin_per_group, "round_robin_per_group"},
                                                              {S::sticky, "sticky"},
                                                              {S::local, "local"},
                                                              {S::hash_topic, "hash_topic"},
                                                              {S::hash_clientid, "hash_clientid"},
                                                              {S::least_inflight, "least_inflight"}};
};

namespace robustmq::broker {

struct BrokerOptions {
  bool auto_create_topics = true;
  int32_t default_partitions = 1;
  int32_t partitions_max = 10'000;
  int32_t light_topics_max = 1'000'000;
  int32_t light_open_max = 20'000;
  int32_t light_records_max = 1000;
  int64_t light_retention_ms = 3'600'000;
  int64_t memory_bytes = 256LL << 20;
  int64_t hybrid_window_ms = 50;
  int64_t hybrid_window_bytes = 1 << 20;
  int32_t topic_bytes_max = 1024;
  int32_t filter_levels_max = 128;
  int32_t subscriptions_max = 1000;
  SharedStrategy shared_strategy = SharedStrategy::round_robin;
  SharedStrategy shared_sticky_first = SharedStrategy::random;
  int32_t shared_inflight_max = 1000;
  bool queues_available = false;  // as the protocols that spell them are told
  int32_t fetch_partitions_max = 100'000;
  int64_t fetch_bytes_max = 64LL << 20;
  int64_t retention_check_ms = 30'000;

  template <class V>
  static void describe(V& v) {
    using B = BrokerOptions;
    v.field("auto_create_topics", &B::auto_create_topics,
            {.doc = "A Kafka client that asks for a missing topic makes it, when it wants that too."});
    v.field("default_partitions", &B::default_partitions,
            {.doc = "Partitions of a stream made without a number.", .min = 1, .max = 10000});
    v.field("partitions_max", &B::partitions_max, {.doc = "Most partitions a topic may be made with.", .min = 1});
    v.field("light_topics_max", &B::light_topics_max,
            {.doc = "Most light topics on this node; a publish to one more is refused.", .min = 0});
    v.field(
        "light_open_max", &B::light_open_max,
        {.doc = "Persistent light topics that are held open; those used longest ago are closed, and opened when they are used.",
         .min = 64});
    v.field("light_records_max", &B::light_records_max,
            {.doc = "Records kept of a light topic; of a persistent one up to a quarter more.", .min = 1});
    v.field("light_retention_ms", &B::light_retention_ms,
            {.doc = "Age at which a light topic's records are dropped; those of a persistent one follow their topic rule.",
             .unit = "ms",
             .min = 1});
    v.field("memory_bytes", &B::memory_bytes,
            {.doc = "Memory for the records of all memory topics, split by core; the oldest go first and are counted.",
             .unit = "bytes",
             .min = 1 << 16});
    v.field("hybrid_window_ms", &B::hybrid_window_ms,
            {.doc = "What is acknowledged of a hybrid topic is synced within this time, where the topic does not say its own "
                    "(flush_ms); when the disk is slower, acknowledgements wait for it.",
             .unit = "ms",
             .min = 0,
             .max = 60'000});
    v.field("hybrid_window_bytes", &B::hybrid_window_bytes,
            {.doc = "Bytes of a partition of a hybrid topic that may be acknowledged and not synced.",
             .unit = "bytes",
             .min = 0,
             .max = 1 << 30});
    v.field(
        "topic_bytes_max", &B::topic_bytes_max,
        {.doc =
             "Longest topic or topic filter of MQTT, a listener's mountpoint included. A message to a longer one is refused, a "
             "subscription to one too. Routes, topics and subscriptions are kept by name, so that this bounds what a client "
             "can make the node keep.",
         .unit = "bytes",
         .min = 64,
         .max = 65'535});
    v.field("filter_levels_max", &B::filter_levels_max, {.doc = "Most levels of a topic filter.", .min = 1, .max = 1024});
    v.field("subscriptions_max", &B::subscriptions_max, {.doc = "Most subscriptions of a connection.", .min = 1});
    v.field("shared_strategy", &B::shared_strategy,
            {.doc = "Who of a shared subscription's members gets a message: random, round_robin, round_robin_per_group, sticky, "
                    "local, hash_topic, hash_clientid or least_inflight."});
    v.field("shared_sticky_first", &B::shared_sticky_first,
            {.doc = "How the strategy sticky draws its first member: random, local, hash_topic or hash_clientid."});
    v.field(
        "shared_inflight_max", &B::shared_inflight_max,
        {.doc = "Most unacknowledged messages of shared subscriptions that a connection holds, and of queues; more go to others.",
         .min = 1,
         .max = 8192});
    v.field("fetch_partitions_max", &B::fetch_partitions_max,
            {.doc = "Most partitions in one fetch, and of all streams that one MQTT connection reads.", .min = 1});
    v.field("fetch_bytes_max", &B::fetch_bytes_max,
            {.doc = "Most bytes a fetch returns, whatever it asks.", .unit = "bytes", .min = 1 << 16});
    v.field("retention_check_ms", &B::retention_check_ms, {.doc = "How often retention is applied.", .unit = "ms", .min = 10});
  }
};

// What the node is to its clients; given by server.
struct NodeFacts {
  NodeId id = 1;
  std::string kafka_host = "127.0.0.1";
  uint16_t kafka_port = 9092;
  std::string version;  // of the program
};

// Counted per core.
struct BrokerMetrics {
  uint64_t messages_published_total = 0;
  uint64_t messages_refused_total = 0;
  uint64_t messages_delivered_total = 0;
  uint64_t batches_produced_total = 0;
  uint64_t batches_undecodable_total = 0;
  uint64_t fetches_total = 0;
  uint64_t fetches_parked_total = 0;
  uint64_t light_topics_refused_total = 0;
  uint64_t packets_repeated_total = 0;
  uint64_t takeovers_total = 0;
  int64_t partitions_damaged = 0;
  int64_t fetches_waiting = 0;
  int64_t light_topics = 0;
  int64_t light_topics_open = 0;
  int64_t subscriptions = 0;
  int64_t shared_subscriptions = 0;
  int64_t stream_subscriptions = 0;
  uint64_t stream_messages_delivered_total = 0;
  uint64_t stream_gaps_total = 0;
  int64_t queue_subscriptions = 0;
  uint64_t queue_messages_delivered_total = 0;
  uint64_t queue_messages_returned_total = 0;
  uint64_t shared_messages_handed_on_total = 0;
  uint64_t shared_messages_ended_total = 0;
  uint64_t shared_messages_dropped_total = 0;
  int64_t sessions = 0;

  template <class V>
  static void describe(V& v) {
    using M = BrokerMetrics;
    v.field("messages_published_total", &M::messages_published_total, {.doc = "Messages published by name."});
    v.field("messages_refused_total", &M::messages_refused_total, {.doc = "Messages published by name and refused."});
    v.field("messages_delivered_total", &M::messages_delivered_total, {.doc = "Messages handed to followers' connections."});
    v.field("batches_produced_total", &M::batches_produced_total, {.doc = "Record batches produced by clients."});
    v.field("batches_undecodable_total", &M::batches_undecodable_total,
            {.doc = "Stored batches that could not be read for live followers."});
    v.field("fetches_total", &M::fetches_total, {.doc = "Fetch requests."});
    v.field("fetches_parked_total", &M::fetches_parked_total, {.doc = "Fetch requests that waited for data."});
    v.field("fetches_waiting", &M::fetches_waiting, {.doc = "Fetch requests that wait for data now."});
    v.field("light_topics_refused_total", &M::light_topics_refused_total,
            {.doc = "Messages refused because the number of light topics is at its limit."});
    v.field("takeovers_total", &M::takeovers_total, {.doc = "Sessions taken over by a newer connection."});
    v.field("partitions_damaged", &M::partitions_damaged,
            {.doc = "Partitions of streams that could not be opened at the start because their log is damaged."});
    v.field("light_topics", &M::light_topics, {.doc = "Light topics."});
    v.field("packets_repeated_total", &M::packets_repeated_total,
            {.doc = "QoS 2 messages that came again after a restart and that their persistent light topic had already."});
    v.field("light_topics_open", &M::light_topics_open, {.doc = "Persistent light topics that are open."});
    v.field("subscriptions", &M::subscriptions, {.doc = "Subscriptions of live connections."});
    v.field("shared_subscriptions", &M::shared_subscriptions, {.doc = "Shared subscriptions of live connections."});
    v.field("stream_subscriptions", &M::stream_subscriptions, {.doc = "Subscriptions of live connections that read a stream."});
    v.field("stream_messages_delivered_total", &M::stream_messages_delivered_total, {.doc = "Messages that they were handed."});
    v.field("stream_gaps_total", &M::stream_gaps_total,
            {.doc = "Times that the next message of one had been dropped by retention, and it went on with the oldest."});
    v.field("queue_subscriptions", &M::queue_subscriptions, {.doc = "Subscriptions of queues by connected clients."});
    v.field("queue_messages_delivered_total", &M::queue_messages_delivered_total,
            {.doc = "Messages of queues that were delivered."});
    v.field("queue_messages_returned_total", &M::queue_messages_returned_total,
            {.doc = "Messages of queues that went back because the client could not have them."});
    v.field("shared_messages_handed_on_total", &M::shared_messages_handed_on_total,
            {.doc = "Messages of shared subscriptions that went on to another member, because one left or could not have them."});
    v.field("shared_messages_ended_total", &M::shared_messages_ended_total,
            {.doc = "QoS 2 messages of shared subscriptions that ended with the connection that had not acknowledged them."});
    v.field("shared_messages_dropped_total", &M::shared_messages_dropped_total,
            {.doc = "Messages that no member of a shared subscription could take."});
    v.field("sessions", &M::sessions, {.doc = "Open sessions."});
  }
};

}  // namespace robustmq::broker
