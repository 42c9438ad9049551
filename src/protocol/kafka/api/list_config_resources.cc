// ListConfigResources 0-1 and UpdateFeatures 0-2. Pure.
//
// Version 0 of the first asks for client metrics' resources, of which there are none; from version 1 on it names what else has
// settings: topics, the broker, and consumer groups that have some of their own. Features cannot be changed; to ask for what is
// there is no error.
#include <algorithm>

#include "protocol/kafka/api/features.h"
#include "protocol/kafka/api/group_settings.h"
#include "protocol/kafka/api/makers.h"
#include "protocol/kafka/frames/list_config_resources.h"
#include "protocol/kafka/frames/update_features.h"
#include "protocol/kafka/names.h"

namespace robustmq::kafka {

namespace {

constexpr int8_t kBrokerLoggerResource = 8;
constexpr int8_t kClientMetricsResource = 16;
constexpr int8_t kKnown[] = {kTopicResource, kBrokerResource, kBrokerLoggerResource, kClientMetricsResource, kGroupResource};

class ListConfigResourcesExchange final : public ExchangeOf<ListConfigResourcesRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    const auto& types = request_.resource_types;
    const bool is_known = std::all_of(types.begin(), types.end(), [](int8_t type) {
      return std::find(std::begin(kKnown), std::end(kKnown), type) != std::end(kKnown);
    });
    if (!is_known) {
      ListConfigResourcesResponse response;
      response.error_code = wire(KafkaError::unsupported_version);
      return answer(response);
    }
    if (version() == 0) return answer(ListConfigResourcesResponse{});
    call(out, broker::DescribeCluster{});
    call(out, broker::DescribeTopics{.all = true});
    call(out, broker::DescribeGroupConfigs{.all = true, .groups = {}});
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    ListConfigResourcesResponse response;
    Code code;
    const broker::ClusterFacts* cluster = reply_as<broker::ClusterFacts>(replies[0], code);
    const broker::DescribedTopics* topics = cluster ? reply_as<broker::DescribedTopics>(replies[1], code) : nullptr;
    const auto* groups = topics ? reply_as<broker::DescribedGroupConfigs>(replies[2], code) : nullptr;
    if (!groups) {
      response.error_code = wire_error(code);
      return answer(response);
    }
    std::vector<std::string> ids;
    for (const auto& node : cluster->nodes) ids.push_back(std::to_string(node.id));
    if (is_wanted(kTopicResource)) {
      for (const auto& topic : topics->topics) response.config_resources.push_back({topic.facts.name, kTopicResource});
    }
    if (is_wanted(kBrokerResource)) {
      for (const std::string& id : ids) response.config_resources.push_back({id, kBrokerResource});
    }
    if (is_wanted(kGroupResource)) {
      for (const auto& group : groups->groups) response.config_resources.push_back({group.group, kGroupResource});
    }
    answer(response);
  }

 private:
  bool is_wanted(int8_t type) const {
    const auto& types = request_.resource_types;
    return types.empty() || std::find(types.begin(), types.end(), type) != types.end();
  }
};

class UpdateFeaturesExchange final : public ExchangeOf<UpdateFeaturesRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox&) override {
    UpdateFeaturesResponse response;
    response.error_message.reset();
    for (const auto& update : request_.feature_updates) {
      const bool is_a_way = version() == 0 || (update.upgrade_type >= 1 && update.upgrade_type <= 3);
      const std::string_view problem =
          is_a_way ? problem_of(update.feature, update.max_version_level) : "this is no way to change a feature";
      const KafkaError error = problem.empty() ? KafkaError::none : KafkaError::invalid_update_version;
      if (error != KafkaError::none && response.error_code == 0) {
        response.error_code = wire(error);
        response.error_message = problem;
      }
      if (version() < 2) response.results.push_back({update.feature, wire(error), std::nullopt});
    }
    if (response.error_code != 0) response.results.clear();  // one that fails fails all, and is told for all
    answer(response);
  }

 protected:
  void on_replies(std::vector<broker::Reply>&, Outbox&) override {}

 private:
  // Why a feature cannot be given this version; empty: it has it.
  static std::string_view problem_of(std::string_view name, int16_t level) {
    for (const Feature& feature : kFeatures) {
      if (feature.name == name) return feature.level == level ? "" : "this broker's features are on and cannot be changed";
    }
    return "this broker has no feature of this name";
  }
};

}  // namespace

Made make_list_config_resources(Link& link, RequestFacts facts) {
  return std::make_unique<ListConfigResourcesExchange>(link, std::move(facts));
}
Made make_update_features(Link& link, RequestFacts facts) {
  return std::make_unique<UpdateFeaturesExchange>(link, std::move(facts));
}

}  // namespace robustmq::kafka
