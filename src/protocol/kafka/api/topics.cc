// CreateTopics 2-7 and DeleteTopics 1-6. Pure.
//
// A topic has one replica in this version, on this node: replication factor 1 or -1 (the default), and a manual assignment must
// name this node for each partition. What the quota controller_mutation_rate does not allow is refused for the versions that
// know of it (KIP-599), and delays the others. Settings are mapped by names.h; one that is not known is INVALID_CONFIG.
#include <algorithm>
#include <map>

#include "protocol/kafka/api/makers.h"
#include "protocol/kafka/frames/create_topics.h"
#include "protocol/kafka/frames/delete_topics.h"
#include "protocol/kafka/names.h"

namespace robustmq::kafka {

namespace {

constexpr int kFirstStrictCreate = 6;
constexpr int kFirstStrictDelete = 5;

struct TopicRefusal {
  KafkaError error = KafkaError::none;
  std::string text;
};

class CreateTopicsExchange final : public ExchangeOf<CreateTopicsRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    for (const auto& topic : request_.topics) {
      if (topic.assignments.empty()) continue;
      return call(out, broker::DescribeCluster{});  // which node may be named
    }
    create(out);
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox& out) override {
    Code code;
    if (!has_created_) {
      if (auto* cluster = reply_as<broker::ClusterFacts>(replies[0], code); cluster && !cluster->nodes.empty()) {
        node_ = cluster->nodes.front().id;
      }
      return create(out);
    }
    if (!named_.empty()) take_names(reply_as<broker::CreatedTopics>(replies.back(), code));
    broker::CreatedTopics* created = sent_.empty() ? nullptr : reply_as<broker::CreatedTopics>(replies.front(), code);
    for (size_t i = 0; i < sent_.size(); ++i) {
      if (!created || i >= created->topics.size()) {
        refusals_[sent_[i]] = {kafka_error_of(created ? Code::internal : code), std::string(code_text(code))};
      } else if (created->topics[i].code != Code::ok) {
        const broker::CreatedTopic& topic = created->topics[i];
        refusals_[sent_[i]] = {kafka_error_of(topic.code),
                               topic.detail.empty() ? std::string(code_text(topic.code)) : topic.detail};
      } else if (!request_.validate_only) {
        const int32_t taken = std::max(request_partitions(sent_[i]), 1);
        link_.quotas.take_silently(QuotaKind::mutation, link_.now, std::max(created->topics[i].facts.partitions - taken, 0));
      }
    }
    finish(created);
  }

 private:
  // As in Kafka a name that is none, or is taken, is told whatever else is wrong.
  void take_names(const broker::CreatedTopics* named) {
    for (size_t i = 0; named && i < named_.size() && i < named->topics.size(); ++i) {
      const broker::CreatedTopic& topic = named->topics[i];
      if (topic.code == Code::invalid_topic || topic.code == Code::topic_exists)
        refusals_[named_[i]] = {kafka_error_of(topic.code), topic.detail};
    }
  }

  using Topic = CreateTopicsRequest::CreatableTopic;

  void create(Outbox& out) {
    has_created_ = true;
    std::map<std::string_view, int> names;
    for (const Topic& topic : request_.topics) ++names[topic.name];
    broker::CreateTopics create;
    create.validate_only = request_.validate_only;
    broker::CreateTopics name;  // what is refused for what it asks may be refused for its name before
    name.validate_only = true;
    refusals_.resize(request_.topics.size());
    for (size_t i = 0; i < request_.topics.size(); ++i) {
      const Topic& topic = request_.topics[i];
      broker::CreateTopics::One one;
      if (names[topic.name] > 1) {
        refusals_[i] = {KafkaError::invalid_request, "the request names the topic twice"};
      } else {
        refusals_[i] = read(topic, one);
      }
      if (names[topic.name] > 1) continue;
      if (refusals_[i].error != KafkaError::none) {
        named_.push_back(i);
        name.topics.push_back({one.name, -1, -1, {}});
        continue;
      }
      // As many as the default is are not known before: the rest is taken when it is.
      if (!request_.validate_only && !may_mutate(version() >= kFirstStrictCreate, std::max(one.partitions, 1))) {
        refusals_[i] = {KafkaError::throttling_quota_exceeded, std::string(kOverMutationRate)};
        continue;
      }
      sent_.push_back(i);
      create.topics.push_back(std::move(one));
    }
    if (create.topics.empty() && name.topics.empty()) return finish(nullptr);
    if (!sent_.empty()) call(out, std::move(create));
    if (!named_.empty()) call(out, std::move(name));
  }

  int32_t request_partitions(size_t i) const {
    const Topic& topic = request_.topics[i];
    return topic.assignments.empty() ? topic.num_partitions : static_cast<int32_t>(topic.assignments.size());
  }

  TopicRefusal read(const Topic& topic, broker::CreateTopics::One& one) const {
    one.name = topic.name;
    one.partitions = topic.num_partitions;
    one.replication_factor = topic.replication_factor;
    for (const auto& config : topic.configs) {
      const std::string name(config.name);
      if (!config.value) return {KafkaError::invalid_config, "null value of " + name};
      NamedSetting read = read_topic_setting(config.name, *config.value);
      if (!read.problem.empty()) return {KafkaError::invalid_config, std::move(read.problem)};
      if (!read.our_name.empty()) one.settings.emplace_back(std::move(read.our_name), std::move(read.value));
    }
    if (!topic.assignments.empty()) return read_assignments(topic, one);
    const bool is_factor = topic.replication_factor > 0 || topic.replication_factor == -1;
    if (is_factor && topic.num_partitions < 1 && topic.num_partitions != -1)
      return {KafkaError::invalid_partitions, "a topic has one partition at least"};
    if (topic.replication_factor != 1 && topic.replication_factor != -1)
      return {KafkaError::invalid_replication_factor, "the replication factor is 1 in this version"};
    return {};
  }

  TopicRefusal read_assignments(const Topic& topic, broker::CreateTopics::One& one) const {
    if (topic.num_partitions != -1 || topic.replication_factor != -1) {
      return {KafkaError::invalid_request, "a manual assignment excludes numbers of partitions and replicas"};
    }
    std::vector<bool> has(topic.assignments.size());
    for (const auto& assignment : topic.assignments) {
      const auto index = static_cast<size_t>(assignment.partition_index);
      if (assignment.partition_index < 0 || index >= has.size() || has[index]) {
        return {KafkaError::invalid_replica_assignment, "partitions must be numbered from 0 without gaps"};
      }
      has[index] = true;
      if (assignment.broker_ids != std::vector<int32_t>{node_}) {
        return {KafkaError::invalid_replica_assignment, "a partition has one replica, on broker " + std::to_string(node_)};
      }
    }
    one.partitions = static_cast<int32_t>(topic.assignments.size());
    one.replication_factor = 1;
    return {};
  }

  void finish(broker::CreatedTopics* created) {
    CreateTopicsResponse response;
    std::map<std::string_view, bool> answered;
    size_t next = 0;
    std::vector<std::unique_ptr<std::string>> values;
    for (size_t i = 0; i < request_.topics.size(); ++i) {
      const bool was_sent = next < sent_.size() && sent_[next] == i;
      const broker::CreatedTopic* result =
          was_sent && created && next < created->topics.size() ? &created->topics[next] : nullptr;
      if (was_sent) ++next;
      if (std::exchange(answered[request_.topics[i].name], true)) continue;  // one row a name
      auto& row = response.topics.emplace_back();
      row.name = request_.topics[i].name;
      row.error_message.reset();
      row.error_code = wire(refusals_[i].error);
      if (refusals_[i].error != KafkaError::none || !result) {
        row.error_message = refusals_[i].text;
        continue;
      }
      row.topic_id = result->facts.id;
      row.num_partitions = result->facts.partitions;
      row.replication_factor = 1;
      for (const auto& setting : result->facts.settings) {
        const TopicSetting* known = topic_setting_of_ours(setting.name);
        if (!known) continue;
        values.push_back(std::make_unique<std::string>(setting_to_kafka(*known, setting.value)));
        row.configs->push_back({known->kafka_name, std::string_view(*values.back()), false,
                                setting.is_default ? kDefaultConfig : kDynamicTopicConfig, false});
      }
      for (const KeptTopicSetting& kept : kKeptTopicSettings) {
        const std::string* given = kept_value(result->facts, kept);
        row.configs->push_back({kept.kafka_name, given ? std::string_view(*given) : kept.value, false,
                                given ? kDynamicTopicConfig : kDefaultConfig, false});
      }
      for (const FixedSetting& fixed : kFixedTopicSettings)
        row.configs->push_back({fixed.kafka_name, fixed.value, true, kDefaultConfig, false});
    }
    answer(response);
  }

  bool has_created_ = false;
  NodeId node_ = -1;
  std::vector<TopicRefusal> refusals_;  // by topic of the request
  std::vector<size_t> sent_;            // which of them the broker was asked for
  std::vector<size_t> named_;           // which of them it was asked the name of
};

class DeleteTopicsExchange final : public ExchangeOf<DeleteTopicsRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    if (version() < 6) {
      for (std::string_view name : request_.topic_names) request_.topics.push_back({name, {}});
    }
    for (const auto& topic : request_.topics) {
      auto& row = response_.responses.emplace_back();
      row.name = topic.name;
      row.topic_id = topic.topic_id;
      if (topic.name && !topic.topic_id.is_zero()) {
        row.error_code = wire(KafkaError::invalid_request);
        row.error_message = "name and id exclude each other";
      } else if (!topic.name && topic.topic_id.is_zero()) {
        row.error_code = wire(KafkaError::unknown_topic_id);
      } else {
        remove_.topics.push_back({std::string(topic.name.value_or("")), topic.topic_id});
      }
    }
    if (remove_.topics.empty()) return answer(response_);
    if (!link_.quotas.bucket(QuotaKind::mutation)) return remove(out);
    broker::DescribeTopics describe;  // how many partitions they have
    describe.topics = remove_.topics;
    call(out, std::move(describe));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox& out) override {
    Code code;
    if (!has_removed_) {
      count(reply_as<broker::DescribedTopics>(replies[0], code));
      return remove_.topics.empty() ? answer(response_) : remove(out);
    }
    broker::DeletedTopics* deleted = reply_as<broker::DeletedTopics>(replies[0], code);
    size_t next = 0;
    for (auto& row : response_.responses) {
      if (row.error_code != 0) continue;
      const broker::DeletedTopic* topic = deleted && next < deleted->topics.size() ? &deleted->topics[next++] : nullptr;
      const Code result = topic ? topic->code : deleted ? Code::internal : code;
      row.error_code = wire_error(result);
      if (result != Code::ok)
        row.error_message = topic && !topic->detail.empty() ? std::string_view(topic->detail) : code_text(result);
      if (!topic || result != Code::ok) continue;
      row.name = topic->name;
      row.topic_id = topic->id;
    }
    answer(response_);
  }

 private:
  void remove(Outbox& out) {
    has_removed_ = true;
    call(out, std::move(remove_));
  }

  // Leaves those that the quota allows.
  void count(const broker::DescribedTopics* described) {
    size_t next = 0;
    std::vector<broker::TopicRef> allowed;
    for (auto& row : response_.responses) {
      if (row.error_code != 0) continue;
      const size_t at = next++;
      const bool is_known = described && at < described->topics.size() && described->topics[at].code == Code::ok;
      if (is_known && !may_mutate(version() >= kFirstStrictDelete, described->topics[at].facts.partitions)) {
        row.error_code = wire(KafkaError::throttling_quota_exceeded);
        row.error_message = kOverMutationRate;
        continue;
      }
      allowed.push_back(std::move(remove_.topics[at]));
    }
    remove_.topics = std::move(allowed);
  }

  broker::DeleteTopics remove_;
  bool has_removed_ = false;
  DeleteTopicsResponse response_;
};

}  // namespace

Made make_create_topics(Link& link, RequestFacts facts) { return std::make_unique<CreateTopicsExchange>(link, std::move(facts)); }
Made make_delete_topics(Link& link, RequestFacts facts) { return std::make_unique<DeleteTopicsExchange>(link, std::move(facts)); }

}  // namespace robustmq::kafka
