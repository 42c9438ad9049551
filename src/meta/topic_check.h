// What a topic may be called and told. Pure.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "meta/topic.h"

namespace robustmq::meta {

// Limits of the catalog. They go with each command, so that every replica decides alike.
struct CatalogLimits {
  uint32_t topics_max = 100'000;
  uint32_t partitions_max = 200'000;  // of all topics together
  uint32_t topic_partitions_max = 10'000;
  uint32_t rules_max = 1'000;  // topics that are topic rules

  template <class V>
  static void describe(V& v) {
    using L = CatalogLimits;
    v.field("topics_max", &L::topics_max, {.doc = "Streams in the catalog; more are refused.", .min = 1});
    v.field("partitions_max", &L::partitions_max, {.doc = "Partitions of all streams together; more are refused.", .min = 1});
    v.field("topic_partitions_max", &L::topic_partitions_max, {.doc = "Partitions of one stream.", .min = 1, .max = 1'000'000});
    v.field("rules_max", &L::rules_max,
            {.doc = "Topic rules made at run time, each with its stream: queues and streams over a filter. More are refused.",
             .min = 0,
             .max = 100'000});
  }
};

// Kafka's rule: 1 to 249 characters of [a-zA-Z0-9._-], not "." and not "..". Error: invalid_topic.
Status check_topic_name(std::string_view name);

// The name as metrics systems may write it, '.' as '_': two topics of a tenant may not differ in that alone.
std::string collision_name(std::string_view name);

// Name, number of partitions, settings, and the filter where it is a rule. Errors: invalid_topic, invalid_partitions,
// invalid_config (a mode that is not built is refused by name).
// What of the settings does not go together, or is not built.
Status check_settings(const TopicConfig& config);
Status check_topic(const Topic& topic, const CatalogLimits& limits);

}  // namespace robustmq::meta
