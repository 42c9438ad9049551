// GroupCoordinator: settings of consumer groups. They may be there before the group is, and stay when it is deleted.
#include <charconv>

#include "base/wire.h"
#include "broker/group/coordinator_entry.h"
#include "broker/group/share_start.h"
#include "meta/topic_check.h"

namespace robustmq::broker {
namespace {

constexpr int32_t kQueueInFlightMax = 100'000;

std::optional<QueueSettings::Dispatch> dispatch_of(std::string_view name) {
  for (const auto& [value, text] : EnumNames<QueueSettings::Dispatch>::values) {
    if (text == name) return value;
  }
  return std::nullopt;
}

struct ConfigField {
  std::string_view name;
  int32_t GroupConfig::* own;
  int32_t GroupOptions::* otherwise;
  int32_t GroupOptions::* min;
  int32_t GroupOptions::* max;
};
constexpr ConfigField kFields[] = {
    {"consumer_session_timeout_ms", &GroupConfig::consumer_session_timeout_ms, &GroupOptions::consumer_session_timeout_ms,
     &GroupOptions::consumer_session_timeout_min_ms, &GroupOptions::consumer_session_timeout_max_ms},
    {"consumer_heartbeat_interval_ms", &GroupConfig::consumer_heartbeat_interval_ms,
     &GroupOptions::consumer_heartbeat_interval_ms, &GroupOptions::consumer_heartbeat_interval_min_ms,
     &GroupOptions::consumer_heartbeat_interval_max_ms},
    {"share_session_timeout_ms", &GroupConfig::share_session_timeout_ms, &GroupOptions::share_session_timeout_ms,
     &GroupOptions::share_session_timeout_min_ms, &GroupOptions::share_session_timeout_max_ms},
    {"share_heartbeat_interval_ms", &GroupConfig::share_heartbeat_interval_ms, &GroupOptions::share_heartbeat_interval_ms,
     &GroupOptions::share_heartbeat_interval_min_ms, &GroupOptions::share_heartbeat_interval_max_ms},
    {"share_record_lock_duration_ms", &GroupConfig::share_record_lock_duration_ms, &GroupOptions::share_record_lock_duration_ms,
     &GroupOptions::share_record_lock_duration_min_ms, &GroupOptions::share_record_lock_duration_max_ms},
    {"share_delivery_count_limit", &GroupConfig::share_delivery_count_limit, &GroupOptions::share_delivery_count_limit,
     &GroupOptions::share_delivery_count_limit_min, &GroupOptions::share_delivery_count_limit_max},
    {"share_partition_max_record_locks", &GroupConfig::share_partition_max_record_locks,
     &GroupOptions::share_partition_max_record_locks, &GroupOptions::share_partition_max_record_locks_min,
     &GroupOptions::share_partition_max_record_locks_max},
};
constexpr size_t kConsumerSession = 0, kConsumerHeartbeat = 1, kShareSession = 2, kShareHeartbeat = 3;

// What is a word, with what it is otherwise.
struct TextField {
  std::string_view name;
  std::string GroupConfig::* own;
  std::string_view otherwise;
  bool (*is_valid)(const std::string& value);
};
constexpr TextField kTexts[] = {
    {"share_isolation_level", &GroupConfig::share_isolation_level, "read_uncommitted",
     [](const std::string& value) { return value == "read_uncommitted" || value == "read_committed"; }},
    {"share_auto_offset_reset", &GroupConfig::share_auto_offset_reset, "latest",
     [](const std::string& value) { return start_of(value).has_value(); }},
    {"share_renew_acknowledge_enable", &GroupConfig::share_renew_acknowledge_enable, "true",
     [](const std::string& value) { return value == "true" || value == "false"; }},
    {"share_dead_letter_topic", &GroupConfig::share_dead_letter_topic, "",
     [](const std::string& value) { return value.empty() || (meta::check_topic_name(value).ok() && !value.starts_with("__")); }},
    {"share_dead_letter_copies", &GroupConfig::share_dead_letter_copies, "false",
     [](const std::string& value) { return value == "true" || value == "false"; }},
    {"queue_last_value", &GroupConfig::queue_last_value, "false",
     [](const std::string& value) { return value == "true" || value == "false"; }},
    {"queue_dispatch", &GroupConfig::queue_dispatch, {}, [](const std::string& value) { return dispatch_of(value).has_value(); }},
};

int32_t effective(const ConfigField& field, const GroupConfig& config, const GroupOptions& options) {
  const int32_t own = config.*field.own;
  return own >= 0 ? own : options.*field.otherwise;
}

Status change(const ConfigureTopics::Change& change, const GroupOptions& options, GroupConfig& config) {
  for (const ConfigField& field : kFields) {
    if (field.name != change.name) continue;
    if (change.how != ConfigureTopics::Change::How::set) return Error{Code::invalid_config, change.name + " is no list"};
    if (!change.value) {
      config.*field.own = -1;
      return {};
    }
    int32_t number = 0;
    const char* const end = change.value->data() + change.value->size();
    const auto [at, fault] = std::from_chars(change.value->data(), end, number);
    if (fault != std::errc() || at != end) return Error{Code::invalid_config, change.name + " is no number: " + *change.value};
    if (number < options.*field.min || number > options.*field.max) {
      return Error{Code::invalid_config, change.name + " must be from " + std::to_string(options.*field.min) + " to " +
                                             std::to_string(options.*field.max)};
    }
    config.*field.own = number;
    return {};
  }
  for (const TextField& field : kTexts) {
    if (field.name != change.name) continue;
    if (change.how != ConfigureTopics::Change::How::set) return Error{Code::invalid_config, change.name + " is no list"};
    if (change.value && !field.is_valid(*change.value))
      return Error{Code::invalid_config, change.name + " does not take " + *change.value};
    config.*field.own = change.value.value_or(std::string());
    return {};
  }
  return Error{Code::invalid_config, "a group has no setting " + change.name};
}

}  // namespace

const GroupConfig& GroupCoordinator::config_of(TenantId tenant, const std::string& group) const {
  static const GroupConfig kNone;
  const auto at = configs_.find({tenant, group});
  return at == configs_.end() ? kNone : at->second;
}

Status GroupCoordinator::changed_config(TenantId tenant, const ConfigureTopics::One& wanted, GroupConfig& config) const {
  if (!is_valid_group_name(wanted.name, false)) return Error{Code::invalid_argument, "the group has no name"};
  if (!wanted.replaces_all) config = config_of(tenant, wanted.name);
  for (const ConfigureTopics::Change& one : wanted.changes) {
    if (Status changed = change(one, options_, config); !changed.ok()) return changed;
  }
  if (effective(kFields[kConsumerHeartbeat], config, options_) >= effective(kFields[kConsumerSession], config, options_) ||
      effective(kFields[kShareHeartbeat], config, options_) >= effective(kFields[kShareSession], config, options_))
    return Error{Code::invalid_config, "the session timeout must be longer than the heartbeat interval"};
  if (const std::string& topic = config.share_dead_letter_topic;
      !topic.empty() && !topic.starts_with(options_.share_dead_letter_prefix))
    return Error{Code::invalid_config, "the dead letter topic's name must begin with " + options_.share_dead_letter_prefix};
  // A filter could leave out what replaces a message, and with it the last value.
  if (config.queue_last_value == "true" &&
      (!wanted.name.starts_with(kQueueGroup) || wanted.name.find('/', kQueueGroup.size()) != std::string::npos))
    return Error{Code::invalid_config, "queue_last_value is for queues of a whole stream: " + std::string(kQueueGroup) + "NAME"};
  const bool is_new = config != GroupConfig{} && !configs_.contains({tenant, wanted.name});
  if (is_new && configs_.size() >= static_cast<size_t>(options_.configs_max))
    return Error{Code::quota_exceeded, "the number of groups with settings is at its limit"};
  return {};
}

// Takes effect at once, and is answered when it is durable.
void GroupCoordinator::configure(TenantId tenant, const ConfigureGroups& request, Callback<void(Reply)> done) {
  ConfiguredGroups reply;
  storage::KvBatch batch;
  for (const ConfigureTopics::One& wanted : request.groups) {
    ConfiguredTopics::One& row = reply.groups.emplace_back();
    GroupConfig config;
    if (const Status changed = changed_config(tenant, wanted, config); !changed.ok()) {
      row.code = changed.code();
      row.detail = changed.error().detail;
      continue;
    }
    if (request.validate_only) continue;
    if (config == GroupConfig{}) {
      configs_.erase({tenant, wanted.name});
      batch.remove(group_config_key(tenant, wanted.name));
    } else {
      configs_[{tenant, wanted.name}] = config;
      batch.put(group_config_key(tenant, wanted.name), encode_described(config));
    }
  }
  if (batch.changes.empty()) return done(std::move(reply));
  for (size_t i = 0; i < request.groups.size(); ++i) {
    const Entry* entry = find(tenant, request.groups[i].name);
    if (reply.groups[i].code != Code::ok || !entry || !entry->shares || !queues_.configured) continue;
    queues_.configured(tenant, request.groups[i].name, settings_of(tenant, request.groups[i].name));
  }
  kv_.write(std::move(batch), [reply = std::move(reply), done = std::move(done)](Status status) mutable {
    for (ConfiguredTopics::One& row : reply.groups) {
      if (row.code == Code::ok) row.code = status.code();
    }
    done(std::move(reply));
  });
}

DescribedGroupConfigs GroupCoordinator::describe(TenantId tenant, const DescribeGroupConfigs& request) const {
  DescribedGroupConfigs reply;
  const auto add = [&](const std::string& group, const GroupConfig& config) {
    DescribedGroupConfigs::One& row = reply.groups.emplace_back();
    row.group = group;
    for (const ConfigField& field : kFields) {
      row.settings.push_back(
          {std::string(field.name), std::to_string(effective(field, config, options_)), config.*field.own < 0});
    }
    for (const TextField& field : kTexts) {
      const std::string& own = config.*field.own;
      // Empty: the option says it.
      const std::string_view otherwise = field.otherwise.empty() ? enum_name(options_.queue_dispatch) : field.otherwise;
      row.settings.push_back({std::string(field.name), own.empty() ? std::string(otherwise) : own, own.empty()});
    }
  };
  if (request.all) {
    for (const auto& [key, config] : configs_) {
      if (key.first == tenant) add(key.second, config);
    }
  }
  for (const std::string& group : request.groups) add(group, config_of(tenant, group));
  return reply;
}

QueueSettings GroupCoordinator::settings_of(TenantId tenant, const std::string& group) const {
  const GroupConfig& config = config_of(tenant, group);
  const bool is_queue = group.starts_with(kQueueGroup);
  const auto own = [](int32_t value, int32_t otherwise) { return value >= 0 ? value : otherwise; };
  QueueSettings settings;
  if (const auto start = start_of(config.share_auto_offset_reset)) {
    settings.start_at = start->at;
    settings.before_ms = start->before_ms;
  }
  settings.lease_ms = own(config.share_record_lock_duration_ms, is_queue ? 0 : options_.share_record_lock_duration_ms);
  settings.delivery_limit = own(config.share_delivery_count_limit, is_queue ? 0 : options_.share_delivery_count_limit);
  settings.in_flight_max =
      own(config.share_partition_max_record_locks, is_queue ? kQueueInFlightMax : options_.share_partition_max_record_locks);
  settings.read_committed =
      is_queue ? config.share_isolation_level != "read_uncommitted" : config.share_isolation_level == "read_committed";
  settings.dispatch = is_queue ? dispatch_of(config.queue_dispatch).value_or(options_.queue_dispatch) : settings.dispatch;
  settings.last_value = is_queue && config.queue_last_value == "true";
  settings.may_renew = config.share_renew_acknowledge_enable != "false";
  settings.dead_letters = {config.share_dead_letter_topic, options_.share_dead_letter_prefix,
                           options_.share_dead_letter_topics_made, config.share_dead_letter_copies == "true"};
  return settings;
}

}  // namespace robustmq::broker
