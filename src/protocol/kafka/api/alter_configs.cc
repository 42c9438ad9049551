// AlterConfigs 0-2 and IncrementalAlterConfigs 0-1: settings of topics and of consumer groups, which take effect at once. Pure.
//
// AlterConfigs replaces all settings of a resource; IncrementalAlterConfigs sets (0), resets (1), appends to (2) or subtracts
// from (3) single ones; the last two are for lists. Settings are mapped by names.h. A broker's settings come from its
// configuration: what changes one is refused as Kafka refuses a setting that is not dynamic.
#include <algorithm>
#include <map>

#include "protocol/kafka/api/group_settings.h"
#include "protocol/kafka/api/makers.h"
#include "protocol/kafka/frames/alter_configs.h"
#include "protocol/kafka/frames/incremental_alter_configs.h"
#include "protocol/kafka/names.h"

namespace robustmq::kafka {

namespace {

enum class Operation : int8_t { set = 0, reset = 1, append = 2, subtract = 3 };

struct Refusal {
  KafkaError error = KafkaError::none;
  std::string text;
};

using Change = broker::ConfigureTopics::Change;

// What one setting of the request asks; `change` stays empty where the value is what it is anyway.
Refusal read_change(std::string_view name, std::optional<std::string_view> value, Operation operation,
                    std::optional<Change>& change) {
  const std::string text(name);
  if (name.empty()) return {KafkaError::invalid_request, "a setting without a name"};
  if (!value && operation != Operation::reset) return {KafkaError::invalid_request, "null value of " + text};
  const TopicSetting* setting = topic_setting_of_kafka(name);
  const FixedSetting* fixed = fixed_topic_setting(name);
  const KeptTopicSetting* kept = kept_topic_setting(name);
  if (!setting && !fixed && !kept && operation == Operation::reset) return {};  // it is not set
  if (!setting && !fixed && !kept) return {KafkaError::invalid_config, "unknown topic config name: " + text};
  const ConfigType type = setting ? setting->type : fixed ? fixed->type : kept->type;
  const bool is_for_lists = operation == Operation::append || operation == Operation::subtract;
  if (is_for_lists && type != ConfigType::list)
    return {KafkaError::invalid_config, "append and subtract are for lists, which " + text + " is not"};
  if (fixed && operation == Operation::reset) return {};
  if (fixed && operation == Operation::subtract)
    return {KafkaError::invalid_config, text + " can only be " + std::string(fixed->value)};
  if (operation == Operation::reset) {
    change.emplace().name = setting ? std::string(setting->our_name) : std::string(kKeptPrefix) + text;
    return {};
  }
  NamedSetting read = read_topic_setting(name, *value);
  if (!read.problem.empty()) return {KafkaError::invalid_config, std::move(read.problem)};
  if (read.our_name.empty()) return {};
  change = Change{std::move(read.our_name), std::move(read.value), Change::How::set};
  if (operation == Operation::append) change->how = Change::How::append;
  if (operation == Operation::subtract) change->how = Change::How::subtract;
  return {};
}

Refusal read_group_change(std::string_view name, std::optional<std::string_view> value, Operation operation,
                          std::optional<Change>& change) {
  const std::string text(name);
  const GroupSetting* setting = group_setting_of_kafka(name);
  if (!setting) return {KafkaError::invalid_config, "unknown group config name: " + text};
  if (operation == Operation::append || operation == Operation::subtract)
    return {KafkaError::invalid_config, "append and subtract are for lists, which " + text + " is not"};
  if (!value && operation != Operation::reset) return {KafkaError::invalid_request, "null value of " + text};
  change.emplace().name = setting->our_name;
  if (operation == Operation::set) change->value = *value;
  return {};
}

// Both requests: their resources in order, each with its changes.
template <class Request, class Response>
class AlterConfigsExchange final : public ExchangeOf<Request> {
 public:
  using ExchangeOf<Request>::ExchangeOf;

  void start(Outbox& out) override {
    broker::ConfigureTopics configure;
    broker::ConfigureGroups configure_groups;
    configure.validate_only = request_.validate_only;
    configure_groups.validate_only = request_.validate_only;
    std::map<std::pair<int8_t, std::string_view>, int> named;
    for (const auto& resource : request_.resources) ++named[{resource.resource_type, resource.resource_name}];
    for (const auto& resource : request_.resources) {
      Refusal& refusal = refusals_.emplace_back();
      if (named[{resource.resource_type, resource.resource_name}] > 1) {
        refusal = {KafkaError::invalid_request, "the request names the resource twice"};
      } else if (resource.resource_type == kBrokerResource) {
        if (sets_something(resource))
          refusal = {KafkaError::invalid_request, "a broker's settings cannot be changed while it runs"};
      } else if (resource.resource_type == kTopicResource && resource.resource_name.empty()) {
        refusal = {KafkaError::invalid_request, "the topic has no name"};
      } else if (resource.resource_type != kTopicResource && resource.resource_type != kGroupResource) {
        refusal = {KafkaError::invalid_request, "only topics, brokers and groups have configurations"};
      } else {
        broker::ConfigureTopics::One one;
        one.name = resource.resource_name;
        one.replaces_all = kReplacesAll;
        refusal = read(resource, one);
        if (refusal.error != KafkaError::none) continue;
        const bool is_group = resource.resource_type == kGroupResource;
        (is_group ? sent_groups_ : sent_).push_back(refusals_.size() - 1);
        (is_group ? configure_groups.groups : configure.topics).push_back(std::move(one));
      }
    }
    if (sent_.empty() && sent_groups_.empty()) return finish();
    if (!sent_.empty()) this->call(out, std::move(configure));
    if (!sent_groups_.empty()) this->call(out, std::move(configure_groups));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    Code code;
    if (!sent_.empty()) {
      auto* configured = reply_as<broker::ConfiguredTopics>(replies.front(), code);
      take(sent_, configured ? &configured->topics : nullptr, code);
    }
    if (!sent_groups_.empty()) {
      auto* configured = reply_as<broker::ConfiguredGroups>(replies.back(), code);
      take(sent_groups_, configured ? &configured->groups : nullptr, code);
    }
    finish();
  }

 private:
  static constexpr bool kReplacesAll = std::is_same_v<Request, AlterConfigsRequest>;
  using ExchangeOf<Request>::request_;

  // What became of resources of one kind; nullptr: all failed with `code`.
  void take(const std::vector<size_t>& sent, const std::vector<broker::ConfiguredTopics::One>* rows, Code code) {
    for (size_t i = 0; i < sent.size(); ++i) {
      const bool is_there = rows && i < rows->size();
      const Code result = is_there ? (*rows)[i].code : rows ? Code::internal : code;
      if (result == Code::ok) continue;
      std::string text = is_there ? (*rows)[i].detail : std::string();
      refusals_[sent[i]] = {kafka_error_of(result), text.empty() ? std::string(code_text(result)) : std::move(text)};
    }
  }

  // No setting of a broker is set while it runs, so that resetting one, as a reassignment does when it is over, changes nothing.
  template <class Resource>
  static bool sets_something(const Resource& resource) {
    if constexpr (kReplacesAll) return !resource.configs.empty();
    return std::any_of(resource.configs.begin(), resource.configs.end(), [](const auto& config) {
      if constexpr (kReplacesAll)
        return true;
      else
        return config.config_operation != static_cast<int8_t>(Operation::reset);
    });
  }

  template <class Resource>
  static Refusal read(const Resource& resource, broker::ConfigureTopics::One& one) {
    std::map<std::string_view, int> named;
    for (const auto& config : resource.configs) {
      if (++named[config.name] > 1)
        return {KafkaError::invalid_request, "the request names the setting twice: " + std::string(config.name)};
      Operation operation = Operation::set;
      if constexpr (!kReplacesAll) {
        if (config.config_operation < 0 || config.config_operation > 3)
          return {KafkaError::invalid_request, "no such operation: " + std::to_string(config.config_operation)};
        operation = static_cast<Operation>(config.config_operation);
      }
      std::optional<Change> change;
      const auto read_one = resource.resource_type == kGroupResource ? &read_group_change : &read_change;
      if (Refusal refusal = read_one(config.name, config.value, operation, change); refusal.error != KafkaError::none)
        return refusal;
      if (change) one.changes.push_back(std::move(*change));
    }
    return {};
  }

  void finish() {
    Response response;
    for (size_t i = 0; i < request_.resources.size(); ++i) {
      auto& row = response.responses.emplace_back();
      row.resource_type = request_.resources[i].resource_type;
      row.resource_name = request_.resources[i].resource_name;
      row.error_code = wire(refusals_[i].error);
      row.error_message.reset();
      if (refusals_[i].error != KafkaError::none) row.error_message = refusals_[i].text;
    }
    this->answer(response);
  }

  std::vector<Refusal> refusals_;  // by resource of the request
  std::vector<size_t> sent_;       // which of them the broker was asked for: topics
  std::vector<size_t> sent_groups_;
};

}  // namespace

Made make_alter_configs(Link& link, RequestFacts facts) {
  return std::make_unique<AlterConfigsExchange<AlterConfigsRequest, AlterConfigsResponse>>(link, std::move(facts));
}
Made make_incremental_alter_configs(Link& link, RequestFacts facts) {
  return std::make_unique<AlterConfigsExchange<IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse>>(
      link, std::move(facts));
}

}  // namespace robustmq::kafka
