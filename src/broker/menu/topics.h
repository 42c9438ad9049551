// The menu: topics, their settings, the node. Names are in Kafka's spelling. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/result.h"

namespace robustmq::broker {

// By id when `id` is not zero, else by name.
struct TopicRef {
  std::string name;
  TopicId id;
};
// A partition of a request's topics.
struct PartitionRef {
  int32_t topic_index = 0;
  int32_t partition = 0;
};
struct PartitionFacts {
  LeaderEpoch leader_epoch = 0;
  Offset log_start = 0;
  Offset high_watermark = 0;
};
struct TopicFacts {
  std::string name;         // Kafka's spelling
  std::string mqtt_name;    // of a light topic
  std::string mqtt_filter;  // of the topic rule that a stream was made by; empty: none
  bool is_rule = false;     // that rule was made with the stream, at run time, and goes with it
  TopicId id;
  bool is_light = false;
  std::string mode;              // "memory", "persistent", ...
  LeaderEpoch leader_epoch = 0;  // of its partitions
  int32_t partitions = 1;
  // Settings by the names of meta::TopicConfig's fields, as text; and whether each differs from the default.
  struct Setting {
    std::string name;
    std::string value;
    bool is_default = true;
  };
  std::vector<Setting> settings;
};
struct DescribeTopics {
  bool all = false;
  bool with_unstored = false;  // streams of mode none too: else they are unknown, as to those who read and write records
  bool with_light = false;     // with `all`: light topics too
  std::vector<TopicRef> topics;
  bool auto_create = false;  // asked by the client; the broker's option has the last word
};
// With `all`: code ok for each. Otherwise one row for each asked, in order: the facts or why not.
struct DescribedTopic {
  Code code = Code::ok;
  TopicFacts facts;  // with an error: the name or id asked
};
struct DescribedTopics {
  std::vector<DescribedTopic> topics;
};

struct CreateTopics {
  struct One {
    std::string name;
    int32_t partitions = -1;                                    // -1: the default
    int16_t replication_factor = -1;                            // -1: the default; this version has 1
    std::vector<std::pair<std::string, std::string>> settings;  // names of meta::TopicConfig's fields
    std::string mqtt_filter;                                    // not empty: it gets what this matches from now on
  };
  std::vector<One> topics;
  bool validate_only = false;
};
struct CreatedTopic {
  Code code = Code::ok;
  std::string detail;
  TopicFacts facts;
};
struct CreatedTopics {
  std::vector<CreatedTopic> topics;
};
struct DeleteTopics {
  std::vector<TopicRef> topics;
};
struct DeletedTopic {
  Code code = Code::ok;
  std::string detail;
  std::string name;
  TopicId id;
};
struct DeletedTopics {
  std::vector<DeletedTopic> topics;
};

// Gives topics more partitions.
struct GrowTopics {
  struct One {
    std::string name;
    int32_t partitions = 0;  // in all
  };
  std::vector<One> topics;
  bool validate_only = false;
};
struct GrownTopics {
  struct One {
    Code code = Code::ok;
    std::string detail;
  };
  std::vector<One> topics;
};

// Changes settings of topics, which take effect at once; of each topic all or none.
struct ConfigureTopics {
  struct Change {
    enum class How : uint8_t { set, append, subtract };
    std::string name;                  // of meta::TopicConfig's fields, or "kept." and another protocol's name
    std::optional<std::string> value;  // nullopt: the default
    How how = How::set;
  };
  struct One {
    std::string name;
    bool replaces_all = false;  // what is not named gets its default; the mode stays
    std::vector<Change> changes;
  };
  std::vector<One> topics;
  bool validate_only = false;
};
struct ConfiguredTopics {
  struct One {
    Code code = Code::ok;
    std::string detail;
  };
  std::vector<One> topics;
};

struct DescribeCluster {};
struct ClusterFacts {
  std::string cluster_id;
  struct Node {
    NodeId id = 0;
    std::string kafka_host;
    uint16_t kafka_port = 0;
  };
  std::vector<Node> nodes;
  NodeId controller = 0;
  std::vector<TopicFacts::Setting> options;  // the node's options, for DescribeConfigs of a broker
};

struct AllocateProducerId {};
struct AllocatedProducerId {
  ProducerId id = -1;
  int16_t epoch = 0;
};

}  // namespace robustmq::broker
