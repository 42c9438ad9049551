// What users of other brokers expect around MQTT, and may set: rewritten topics, subscriptions made for clients, exclusive ones,
// $SYS. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "base/describe.h"

namespace robustmq::broker {

enum class RewriteAction : uint8_t { publish, subscribe, all };

}  // namespace robustmq::broker

template <>
struct robustmq::EnumNames<robustmq::broker::RewriteAction> {
  using A = robustmq::broker::RewriteAction;
  static constexpr std::pair<A, std::string_view> values[] = {
      {A::publish, "publish"}, {A::subscribe, "subscribe"}, {A::all, "all"}};
};

namespace robustmq::broker {

// The last rule whose `source` matches is the one; where its expression matches too, the topic becomes `destination`.
struct RewriteRule {
  RewriteAction action = RewriteAction::all;
  std::string source;
  std::string expression;
  std::string destination;

  template <class V>
  static void describe(V& v) {
    using R = RewriteRule;
    v.field("action", &R::action, {.doc = "Which topics: of messages (publish), of subscriptions (subscribe), or all."});
    v.field("source", &R::source,
            {.doc = "MQTT topic filter of the topics; of the rules whose source matches the last one holds."});
    v.field("expression", &R::expression, {.doc = "Regular expression (RE2) that the topic has to match somewhere."});
    v.field("destination", &R::destination,
            {.doc = "What the topic becomes: $1 to $9 are the expression's groups, %c or ${clientid} the client id, %u or "
                    "${username} the user."});
  }
};

struct AutoSubscription {
  std::string filter;
  uint8_t qos = 0;
  bool no_local = false;
  bool retain_as_published = false;
  uint8_t retain_handling = 0;
  bool from_start = false;

  template <class V>
  static void describe(V& v) {
    using A = AutoSubscription;
    v.field("filter", &A::filter,
            {.doc = "MQTT topic filter, `$queue/name/filter` or `$stream/name/filter`; %c or ${clientid} is the client id, %u or "
                    "${username} the user."});
    v.field("qos", &A::qos, {.doc = "Granted QoS.", .min = 0, .max = 2});
    v.field("no_local", &A::no_local, {.doc = "The client's own messages do not come back."});
    v.field("retain_as_published", &A::retain_as_published, {.doc = "The retain flag comes as it was published."});
    v.field("retain_handling", &A::retain_handling,
            {.doc = "Retained messages: 0 always, 1 with a new subscription, 2 never.", .min = 0, .max = 2});
    v.field("from_start", &A::from_start, {.doc = "Of `$stream/name/filter`: it reads from the stream's start, not its end."});
  }
};

struct ExtensionOptions {
  bool exclusive_available = true;
  int64_t exclusive_max = 100'000;
  int64_t sys_interval_ms = 10'000;
  bool sys_client_events = true;
  int64_t slow_subscriptions_max = 10;
  int64_t slow_keep_ms = 300'000;
  int64_t watched_topics_max = 512;

  template <class V>
  static void describe(V& v) {
    using E = ExtensionOptions;
    v.field("exclusive_available", &E::exclusive_available, {.doc = "Whether clients may subscribe to `$exclusive/topic`."});
    v.field("exclusive_max", &E::exclusive_max, {.doc = "Most exclusive subscriptions that one core keeps.", .min = 1});
    v.field("sys_interval_ms", &E::sys_interval_ms,
            {.doc = "How often $SYS topics are published; 0: never.", .unit = "ms", .min = 0});
    v.field("sys_client_events", &E::sys_client_events,
            {.doc = "Clients that come and go are told of under $SYS/brokers/NODE/clients/."});
    v.field("slow_subscriptions_max", &E::slow_subscriptions_max,
            {.doc = "Most slow subscriptions that are listed, and kept on each core; mqtt.slow_ms_min says what is slow.",
             .min = 1,
             .max = 1'000});
    v.field("slow_keep_ms", &E::slow_keep_ms,
            {.doc = "How long a slow subscription is listed after its last slow message.", .unit = "ms", .min = 1});
    v.field("watched_topics_max", &E::watched_topics_max,
            {.doc = "Most topics that are counted on demand.", .min = 1, .max = 100'000});
  }
};

// Counted per core.
struct ExtensionMetrics {
  uint64_t topics_rewritten_total = 0;
  uint64_t rewrites_invalid_total = 0;
  uint64_t auto_subscriptions_total = 0;
  uint64_t auto_subscriptions_invalid_total = 0;
  uint64_t exclusive_refused_total = 0;
  int64_t exclusive_subscriptions = 0;
  uint64_t sys_messages_total = 0;
  uint64_t slow_reports_total = 0;
  int64_t watched_topics = 0;

  template <class V>
  static void describe(V& v) {
    using M = ExtensionMetrics;
    v.field("topics_rewritten_total", &M::topics_rewritten_total,
            {.doc = "Topics of messages and subscriptions that a rule rewrote."});
    v.field("rewrites_invalid_total", &M::rewrites_invalid_total,
            {.doc = "Topics that were left as they were because a rule would have made no valid topic of them."});
    v.field("auto_subscriptions_total", &M::auto_subscriptions_total, {.doc = "Subscriptions made for clients that connected."});
    v.field("auto_subscriptions_invalid_total", &M::auto_subscriptions_invalid_total,
            {.doc = "Subscriptions not made for a client because its id or user gives no valid filter."});
    v.field("exclusive_refused_total", &M::exclusive_refused_total,
            {.doc = "Exclusive subscriptions refused because another client has the topic, or there are too many."});
    v.field("exclusive_subscriptions", &M::exclusive_subscriptions, {.doc = "Exclusive subscriptions, on their home core."});
    v.field("sys_messages_total", &M::sys_messages_total, {.doc = "Messages published under $SYS to somebody."});
    v.field("slow_reports_total", &M::slow_reports_total,
            {.doc = "Times a client was found slow: a message had waited for mqtt.slow_ms_min; at most once a second for each."});
    v.field("watched_topics", &M::watched_topics, {.doc = "Topics that are counted on demand."});
  }
};

}  // namespace robustmq::broker
