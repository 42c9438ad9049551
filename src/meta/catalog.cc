#include "meta/catalog.h"

#include <algorithm>

#include "base/hash.h"
#include "base/topic_names.h"
#include "meta/topic_filters.h"

namespace robustmq::meta {
namespace {

Bytes encode_reply(const Result<int64_t>& result) {
  CatalogReply reply;
  reply.code = code_name(result.code());
  if (result.ok())
    reply.value = *result;
  else
    reply.detail = result.error().detail;
  Buffer buffer;
  encode_described(reply, buffer);
  return buffer.take();
}

}  // namespace

Result<int64_t> decode_reply(ByteSpan bytes) {
  Result<CatalogReply> reply = decode_described<CatalogReply>(bytes);
  if (!reply.ok()) return reply.error();
  if (reply->code == code_name(Code::ok)) return reply->value;
  constexpr Code kCodes[] = {
#define X(name, text, retriable, outcome_unknown, http_status) Code::name,
#include "base/codes.def"
#undef X
  };
  for (const Code code : kCodes) {
    if (reply->code == code_name(code)) return Error{code, reply->detail};
  }
  return Error{Code::internal, reply->code + ": " + reply->detail};
}

Bytes Catalog::apply(ByteSpan command, WallTime) {
  if (command.empty()) return encode_reply(Error{Code::malformed, "an empty command"});
  const ByteSpan body = command.subspan(1);
  switch (static_cast<CommandKind>(command[0])) {
    case CommandKind::node_started:
      return run<NodeStarted>(body);
    case CommandKind::create_topic:
      return run<CreateTopic>(body);
    case CommandKind::delete_topic:
      return run<DeleteTopic>(body);
    case CommandKind::allocate_producer_ids:
      return run<AllocateProducerIds>(body);
    case CommandKind::raise_feature_level:
      return run<RaiseFeatureLevel>(body);
    case CommandKind::grow_topic:
      return run<GrowTopic>(body);
    case CommandKind::configure_topic:
      return run<ConfigureTopic>(body);
  }
  return encode_reply(Error{Code::not_supported, "a catalog command of kind " + std::to_string(command[0])});
}

template <class Command>
Bytes Catalog::run(ByteSpan body) {
  Result<Command> command = decode_described<Command>(body);
  if (!command.ok()) return encode_reply(command.error());
  const auto known = requests_.find(command->request);
  if (known != requests_.end()) return encode_reply(known->second);
  const Result<int64_t> result = on(*command);
  // A refusal changed nothing, so it need not be remembered.
  if (result.ok()) remember(command->request, *result);
  return encode_reply(result);
}

void Catalog::remember(const Uuid& request, int64_t value) {
  if (request.is_zero()) return;
  requests_.emplace(request, value);
  requests_by_age_.push_back(request);
  if (requests_by_age_.size() <= kRequestsKept) return;
  requests_.erase(requests_by_age_.front());
  requests_by_age_.pop_front();
}

Result<int64_t> Catalog::on(const NodeStarted& command) {
  if (feature_level_ > command.feature_level_max)
    return Error{Code::not_supported, "the catalog is at feature level " + std::to_string(feature_level_) +
                                          ", this build knows levels up to " + std::to_string(command.feature_level_max)};
  if (feature_level_ == 0) feature_level_ = command.feature_level_max;
  if (cluster_id_.is_zero()) cluster_id_ = command.cluster_id;
  return ++starts_[command.node];
}

Result<int64_t> Catalog::on(const CreateTopic& command) {
  const Topic& topic = command.topic;
  const Status allowed = check_topic(topic, command.limits);
  if (!allowed.ok()) return allowed.error();
  if (topic.id.is_zero()) return Error{Code::invalid_topic, "a topic without an id"};
  if (topic.config.cleanup_policy != CleanupPolicy::remove && feature_level_ < kCompactionLevel)
    return Error{Code::not_supported, "the catalog's feature level is too low"};
  if (topic.config.mode == Mode::hybrid && feature_level_ < kModesLevel)
    return Error{Code::not_supported, "the catalog's feature level is too low"};
  const auto alike = by_collision_name_.find(Name(topic.tenant, collision_name(topic.name)));
  if (alike != by_collision_name_.end()) {
    const std::string& other = topics_.at(alike->second)->name;
    if (other == topic.name) return Error{Code::topic_exists, topic.name};
    return Error{Code::invalid_topic, topic.name + " differs from " + other + " only in '.' and '_'"};
  }
  if (topics_.contains(topic.id)) return Error{Code::topic_exists, "the id is taken"};
  if (Status free = topic.is_rule ? check_rule(command) : Status(); !free.ok()) return free.error();
  if (topics_.size() >= command.limits.topics_max)
    return Error{Code::quota_exceeded, "the limit is " + std::to_string(command.limits.topics_max) + " streams"};
  if (partitions_ + static_cast<uint64_t>(topic.partitions) > command.limits.partitions_max)
    return Error{Code::quota_exceeded, "the limit is " + std::to_string(command.limits.partitions_max) + " partitions"};
  auto made = std::make_shared<const Topic>(topic);
  add(made);
  events_.push_back(TopicCreated{std::move(made)});
  return 0;
}

// Where another topic takes some of the messages, this one would have to refer to them.
Status Catalog::check_rule(const CreateTopic& command) const {
  const Topic& rule = command.topic;
  if (feature_level_ < kTopicRuleLevel) return Error{Code::not_supported, "the catalog's feature level is too low"};
  uint32_t rules = 0;
  for (const auto& [id, other] : topics_) {
    if (other->tenant != rule.tenant) continue;
    rules += other->is_rule;
    if (other->is_rule && filters_intersect(rule.mqtt_filter, other->mqtt_filter))
      return Error{Code::not_supported, claimed_text(rule.mqtt_filter, other->mqtt_filter, other->name)};
    const std::string own = mqtt_name_of_kafka(other->name);
    if (is_valid_topic_name(own) && filter_matches(rule.mqtt_filter, own))
      return Error{Code::not_supported, claimed_text(rule.mqtt_filter, own, other->name)};
  }
  if (rules >= command.limits.rules_max)
    return Error{Code::quota_exceeded,
                 "the limit is " + std::to_string(command.limits.rules_max) + " topic rules (catalog.rules_max)"};
  return {};
}

void Catalog::add(std::shared_ptr<const Topic> topic) {
  by_collision_name_.emplace(Name(topic->tenant, collision_name(topic->name)), topic->id);
  partitions_ += static_cast<uint64_t>(topic->partitions);
  const TopicId id = topic->id;
  topics_.emplace(id, std::move(topic));
}

Result<int64_t> Catalog::on(const DeleteTopic& command) {
  const auto found = topics_.find(command.id);
  if (found == topics_.end()) return Error{Code::unknown_topic_id, command.id.to_string()};
  std::shared_ptr<const Topic> topic = std::move(found->second);
  topics_.erase(found);
  by_collision_name_.erase(Name(topic->tenant, collision_name(topic->name)));
  partitions_ -= static_cast<uint64_t>(topic->partitions);
  events_.push_back(TopicDeleted{std::move(topic)});
  return 0;
}

Result<int64_t> Catalog::on(const AllocateProducerIds& command) {
  if (command.count < 1 || command.count > INT64_MAX - next_producer_id_)
    return Error{Code::invalid_argument, "a number of producer ids"};
  return std::exchange(next_producer_id_, next_producer_id_ + command.count);
}

Result<int64_t> Catalog::on(const RaiseFeatureLevel& command) {
  if (command.level < feature_level_)
    return Error{Code::invalid_argument, "the feature level is " + std::to_string(feature_level_)};
  feature_level_ = command.level;
  return feature_level_;
}

void Catalog::replace(std::shared_ptr<const Topic>& at, Topic changed) {
  partitions_ += static_cast<uint64_t>(changed.partitions - at->partitions);
  at = std::make_shared<const Topic>(std::move(changed));
  events_.push_back(TopicChanged{at});
}

Result<int64_t> Catalog::on(const GrowTopic& command) {
  if (feature_level_ < kTopicChangesLevel) return Error{Code::not_supported, "the catalog's feature level is too low"};
  const auto found = topics_.find(command.id);
  if (found == topics_.end()) return Error{Code::unknown_topic_id, command.id.to_string()};
  Topic changed = *found->second;
  if (command.partitions <= changed.partitions)
    return Error{Code::invalid_partitions, "the topic has " + std::to_string(changed.partitions) + " partitions"};
  const auto more = static_cast<uint64_t>(command.partitions - changed.partitions);
  changed.partitions = command.partitions;
  const Status allowed = check_topic(changed, command.limits);
  if (!allowed.ok()) return allowed.error();
  if (partitions_ + more > command.limits.partitions_max)
    return Error{Code::quota_exceeded, "the limit is " + std::to_string(command.limits.partitions_max) + " partitions"};
  replace(found->second, std::move(changed));
  return 0;
}

Result<int64_t> Catalog::on(const ConfigureTopic& command) {
  if (feature_level_ < kTopicChangesLevel) return Error{Code::not_supported, "the catalog's feature level is too low"};
  const auto found = topics_.find(command.id);
  if (found == topics_.end()) return Error{Code::unknown_topic_id, command.id.to_string()};
  Topic changed = *found->second;
  const TopicConfig before = changed.config;
  if (command.replaces_all) {
    changed.config = {};
    changed.config.mode = before.mode;
  }
  std::vector<SettingChange> changes;
  for (const ConfigureTopic::Change& one : command.changes) {
    if (one.how > static_cast<uint32_t>(SettingChange::How::subtract)) return Error{Code::not_supported, "an operation"};
    changes.push_back({one.name, one.value, static_cast<SettingChange::How>(one.how)});
  }
  if (Status status = apply_settings(changed.config, changes); !status.ok()) return status.error();
  if (changed.config.mode != before.mode) {
    if (feature_level_ < kModesLevel) return Error{Code::not_supported, "the catalog's feature level is too low"};
    // What it has had so far may have given offsets that nobody knows any more.
    int64_t starts = 0;
    for (const auto& [node, count] : starts_) starts = std::max(starts, count);
    if (before.mode != Mode::persistent) changed.offset_floor = std::max(changed.offset_floor, starts << 32);
  }
  const Status allowed = check_topic(changed, command.limits);
  if (!allowed.ok()) return allowed.error();
  if (changed.config.cleanup_policy != before.cleanup_policy && feature_level_ < kCompactionLevel)
    return Error{Code::not_supported, "the catalog's feature level is too low"};
  if (changed.config != before) replace(found->second, std::move(changed));
  return 0;
}

int64_t Catalog::starts(NodeId node) const {
  const auto found = starts_.find(node);
  return found == starts_.end() ? 0 : found->second;
}

Bytes Catalog::snapshot() const {
  CatalogSnapshot snapshot{.cluster_id = cluster_id_, .feature_level = feature_level_, .next_producer_id = next_producer_id_};
  for (const auto& [id, starts] : starts_) snapshot.nodes.push_back({id, starts});
  for (const auto& [id, topic] : topics_) snapshot.topics.push_back(*topic);
  for (const Uuid& request : requests_by_age_) snapshot.requests.push_back({request, requests_.at(request)});
  Buffer buffer;
  encode_described(snapshot, buffer);
  return buffer.take();
}

Status Catalog::restore(ByteSpan bytes) {
  Result<CatalogSnapshot> snapshot = decode_described<CatalogSnapshot>(bytes);
  if (!snapshot.ok()) return Error{snapshot.code(), "the catalog's snapshot: " + snapshot.error().detail};
  if (snapshot->feature_level > kFeatureLevelMax)
    return Error{Code::not_supported, "the catalog is at feature level " + std::to_string(snapshot->feature_level) +
                                          ", this build knows levels up to " + std::to_string(kFeatureLevelMax)};
  *this = Catalog();
  cluster_id_ = snapshot->cluster_id;
  feature_level_ = snapshot->feature_level;
  next_producer_id_ = snapshot->next_producer_id;
  for (const NodeRow& node : snapshot->nodes) starts_[node.id] = node.starts;
  for (Topic& topic : snapshot->topics) add(std::make_shared<const Topic>(std::move(topic)));
  for (const RequestRow& request : snapshot->requests) remember(request.id, request.value);
  return {};
}

uint64_t Catalog::fingerprint() const { return hash64(snapshot()); }

}  // namespace robustmq::meta
