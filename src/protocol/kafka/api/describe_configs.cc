// DescribeConfigs 1-4: every setting of a topic or a consumer group (by Kafka's names), or of a broker (the node's own options).
// Pure.
#include <algorithm>

#include "protocol/kafka/api/group_settings.h"
#include "protocol/kafka/api/makers.h"
#include "protocol/kafka/frames/describe_configs.h"
#include "protocol/kafka/names.h"

namespace robustmq::kafka {

namespace {

constexpr int8_t kStaticBrokerConfig = 4;
constexpr int8_t kGroupConfig = 8;

class DescribeConfigsExchange final : public ExchangeOf<DescribeConfigsRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    broker::DescribeTopics topics;
    broker::DescribeGroupConfigs groups;
    for (const auto& resource : request_.resources) {
      if (resource.resource_type == kTopicResource) topics.topics.push_back({std::string(resource.resource_name), {}});
      if (resource.resource_type == kGroupResource) groups.groups.emplace_back(resource.resource_name);
    }
    has_topics_ = !topics.topics.empty();
    call(out, broker::DescribeCluster{});
    if (has_topics_) call(out, std::move(topics));
    if (!groups.groups.empty()) call(out, std::move(groups));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    DescribeConfigsResponse response;
    Code cluster_code, topics_code = Code::internal, groups_code = Code::internal;
    broker::ClusterFacts* cluster = reply_as<broker::ClusterFacts>(replies[0], cluster_code);
    broker::DescribedTopics* topics = has_topics_ ? reply_as<broker::DescribedTopics>(replies[1], topics_code) : nullptr;
    const bool has_groups = replies.size() > (has_topics_ ? 2 : 1);
    broker::DescribedGroupConfigs* groups =
        has_groups ? reply_as<broker::DescribedGroupConfigs>(replies.back(), groups_code) : nullptr;
    size_t next = 0, next_group = 0;
    for (const auto& resource : request_.resources) {
      auto& row = response.results.emplace_back();
      row.resource_type = resource.resource_type;
      row.resource_name = resource.resource_name;
      row.error_message.reset();
      if (resource.resource_type == kTopicResource) {
        const broker::DescribedTopic* topic = topics && next < topics->topics.size() ? &topics->topics[next++] : nullptr;
        const Code code = topic ? topic->code : topics ? Code::internal : topics_code;
        if (code == Code::ok) {
          add_topic(row, resource, topic->facts);
        } else {
          refuse(row, kafka_error_of(code), code_text(code));
        }
      } else if (resource.resource_type == kBrokerResource) {
        if (!cluster) {
          refuse(row, kafka_error_of(cluster_code), code_text(cluster_code));
        } else if (!is_node(*cluster, resource.resource_name)) {
          refuse(row, KafkaError::invalid_request, "no broker has this id");
        } else {
          add_broker(row, resource, *cluster);
        }
      } else if (resource.resource_type == kGroupResource) {
        const auto* group = groups && next_group < groups->groups.size() ? &groups->groups[next_group++] : nullptr;
        if (resource.resource_name.empty()) {
          refuse(row, KafkaError::invalid_request, "the group has no name");
        } else if (!group) {
          refuse(row, group_error_of(groups_code), code_text(groups_code));
        } else {
          add_group(row, resource, *group);
        }
      } else {
        refuse(row, KafkaError::invalid_request, "only topics, brokers and groups have configurations");
      }
    }
    answer(response);
  }

 private:
  using Row = DescribeConfigsResponse::DescribeConfigsResult;
  using Config = DescribeConfigsResponse::DescribeConfigsResourceResult;
  using Resource = DescribeConfigsRequest::DescribeConfigsResource;

  static void refuse(Row& row, KafkaError error, std::string_view text) {
    row.error_code = wire(error);
    row.error_message = text;
  }

  // A broker is named by its id; the empty name is the default of all brokers.
  static bool is_node(const broker::ClusterFacts& cluster, std::string_view name) {
    return name.empty() || std::any_of(cluster.nodes.begin(), cluster.nodes.end(),
                                       [&](const auto& node) { return std::to_string(node.id) == name; });
  }

  static bool is_wanted(const Resource& resource, std::string_view name) {
    const auto& keys = resource.configuration_keys;
    return !keys || keys->empty() || std::find(keys->begin(), keys->end(), name) != keys->end();
  }

  Config* add(Row& row, const Resource& resource, std::string_view name, std::string_view value, int8_t source, ConfigType type,
              std::string_view doc) {
    if (!is_wanted(resource, name)) return nullptr;
    Config& config = row.configs.emplace_back();
    config.name = name;
    config.value = value;
    config.config_source = source;
    config.config_type = static_cast<int8_t>(type);
    config.documentation.reset();
    if (request_.include_documentation && !doc.empty()) config.documentation = doc;
    return &config;
  }

  void add_topic(Row& row, const Resource& resource, const broker::TopicFacts& facts) {
    for (const auto& setting : facts.settings) {
      const TopicSetting* known = topic_setting_of_ours(setting.name);
      if (!known) continue;
      values_.push_back(std::make_unique<std::string>(setting_to_kafka(*known, setting.value)));
      const std::string_view value = *values_.back();
      const int8_t source = setting.is_default ? kDefaultConfig : kDynamicTopicConfig;
      Config* config = add(row, resource, known->kafka_name, value, source, known->type, known->doc);
      if (!config || !request_.include_synonyms || (setting.is_default && known->synonym.empty())) continue;
      config->synonyms.push_back({setting.is_default ? known->synonym : known->kafka_name, value, source});
    }
    for (const KeptTopicSetting& kept : kKeptTopicSettings) {
      const std::string* given = kept_value(facts, kept);
      const std::string_view value = given ? std::string_view(*given) : kept.value;
      const int8_t source = given ? kDynamicTopicConfig : kDefaultConfig;
      Config* config = add(row, resource, kept.kafka_name, value, source, kept.type, kept.doc);
      if (config && request_.include_synonyms) config->synonyms.push_back({kept.kafka_name, value, source});
    }
    for (const FixedSetting& fixed : kFixedTopicSettings) {
      Config* config = add(row, resource, fixed.kafka_name, fixed.value, kDefaultConfig, fixed.type, fixed.doc);
      if (!config) continue;
      config->read_only = true;
      if (request_.include_synonyms) config->synonyms.push_back({fixed.kafka_name, fixed.value, kDefaultConfig});
    }
  }

  void add_broker(Row& row, const Resource& resource, const broker::ClusterFacts& cluster) {
    for (const auto& option : cluster.options) {
      const int8_t source = option.is_default ? kDefaultConfig : kStaticBrokerConfig;
      Config* config = add(row, resource, option.name, option.value, source, ConfigType::string, {});
      if (!config) continue;
      config->read_only = true;
      if (request_.include_synonyms) config->synonyms.push_back({option.name, option.value, source});
    }
  }

  void add_group(Row& row, const Resource& resource, const broker::DescribedGroupConfigs::One& group) {
    for (const auto& setting : group.settings) {
      const GroupSetting* known = group_setting_of_ours(setting.name);
      if (!known) continue;
      const int8_t source = setting.is_default ? kDefaultConfig : kGroupConfig;
      Config* config = add(row, resource, known->kafka_name, setting.value, source, known->type, known->doc);
      const bool has_synonym = !setting.is_default || !known->synonym.empty();
      if (config && request_.include_synonyms && has_synonym)
        config->synonyms.push_back({setting.is_default ? known->synonym : known->kafka_name, setting.value, source});
    }
  }

  bool has_topics_ = false;
  std::vector<std::unique_ptr<std::string>> values_;  // what rows point to
};

}  // namespace

Made make_describe_configs(Link& link, RequestFacts facts) {
  return std::make_unique<DescribeConfigsExchange>(link, std::move(facts));
}

}  // namespace robustmq::kafka
