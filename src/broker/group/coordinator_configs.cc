// GroupCoordinator: settings of consumer groups. They may be there before the group is, and stay when it is deleted.
#include <charconv>

#include "base/wire.h"
#include "broker/group/coordinator_entry.h"

namespace robustmq::broker {
namespace {

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
  return Error{Code::invalid_config, "a consumer group has no setting " + change.name};
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
  if (effective(kFields[1], config, options_) >= effective(kFields[0], config, options_))
    return Error{Code::invalid_config, "the session timeout must be longer than the heartbeat interval"};
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
  };
  if (request.all) {
    for (const auto& [key, config] : configs_) {
      if (key.first == tenant) add(key.second, config);
    }
  }
  for (const std::string& group : request.groups) add(group, config_of(tenant, group));
  return reply;
}

}  // namespace robustmq::broker
