// Topics' changes: more partitions, other settings. A light topic has neither: it has one partition, and the node's settings.
#include <algorithm>
#include <utility>

#include "broker/gathering.h"
#include "broker/topic_modes.h"
#include "meta/topic_check.h"

namespace robustmq::broker {
namespace {

std::vector<meta::SettingChange> changes_of(const ConfigureTopics::One& wanted) {
  using How = ConfigureTopics::Change::How;
  std::vector<meta::SettingChange> changes;
  for (const ConfigureTopics::Change& one : wanted.changes) {
    meta::SettingChange& change = changes.emplace_back();
    change.name = one.name;
    change.value = one.value.value_or("");
    if (!one.value)
      change.how = meta::SettingChange::How::reset;
    else if (one.how == How::append)
      change.how = meta::SettingChange::How::append;
    else if (one.how == How::subtract)
      change.how = meta::SettingChange::How::subtract;
  }
  return changes;
}

}  // namespace

void Topics::grow(GrowTopics request, ReplyTo done) {
  auto gathering = std::make_shared<Gathering<GrownTopics>>();
  gathering->done = std::move(done);
  gathering->whole.topics.resize(request.topics.size());
  gathering->waiting += request.topics.size();
  for (size_t i = 0; i < request.topics.size(); ++i) {
    grow_one(request.topics[i], request.validate_only, [gathering, i](GrownTopics::One row) {
      gathering->whole.topics[i] = std::move(row);
      gathering->finish_one();
    });
  }
  gathering->finish_one();
}

void Topics::grow_one(const GrowTopics::One& wanted, bool validate_only, Callback<void(GrownTopics::One)> done) {
  const auto topic = meta_.find(kDefaultTenant, wanted.name);
  if (!topic) return done({Code::unknown_topic, "no stream has this name (a light topic has one partition)"});
  if (wanted.partitions <= topic->partitions || wanted.partitions > options_.partitions_max) {
    return done({Code::invalid_partitions, "the topic has " + std::to_string(topic->partitions) + " partitions, the most are " +
                                               std::to_string(options_.partitions_max)});
  }
  if (validate_only) return done({});
  meta_.grow_topic(topic->id, wanted.partitions,
                   [this, done = std::move(done)](Result<std::shared_ptr<const meta::Topic>> grown) mutable {
                     if (!grown) return done({grown.code(), grown.error().detail});
                     open_all(*grown, [done = std::move(done)](Status status) mutable {
                       done({status.code(), status.ok() ? std::string() : status.error().detail});
                     });
                   });
}

void Topics::configure(ConfigureTopics request, ReplyTo done) {
  auto gathering = std::make_shared<Gathering<ConfiguredTopics>>();
  gathering->done = std::move(done);
  gathering->whole.topics.resize(request.topics.size());
  gathering->waiting += request.topics.size();
  for (size_t i = 0; i < request.topics.size(); ++i) {
    configure_one(request.topics[i], request.validate_only, [gathering, i](ConfiguredTopics::One row) {
      gathering->whole.topics[i] = std::move(row);
      gathering->finish_one();
    });
  }
  gathering->finish_one();
}

void Topics::configure_one(const ConfigureTopics::One& wanted, bool validate_only, Callback<void(ConfiguredTopics::One)> done) {
  const auto topic = meta_.find(kDefaultTenant, wanted.name);
  if (!topic) return done({Code::unknown_topic, "no stream has this name (a light topic has the node's settings)"});
  std::vector<meta::SettingChange> changes = changes_of(wanted);
  meta::TopicConfig config = wanted.replaces_all ? meta::TopicConfig{} : topic->config;
  config.mode = topic->config.mode;
  Status status = meta::apply_settings(config, changes);
  if (status.ok()) status = meta::check_settings(config);
  if (!status.ok()) return done({status.code(), status.error().detail});
  if (validate_only) return done({});
  auto tell = [done = std::move(done)](Result<std::shared_ptr<const meta::Topic>> changed) mutable {
    done({changed.code(), changed ? std::string() : changed.error().detail});
  };
  const bool names_mode =
      std::any_of(changes.begin(), changes.end(), [](const meta::SettingChange& one) { return one.name == "mode"; });
  if (!names_mode) return meta_.configure_topic(topic->id, changes, wanted.replaces_all, std::move(tell));
  auto change = std::make_shared<ModeChange>();
  change->topic = topic->id;
  change->changes = std::move(changes);
  change->replaces_all = wanted.replaces_all;
  change->to = config.mode;
  change->asker = core_.index();
  change->done = std::move(tell);
  core_.send(0, [peer = peers_[0], change = std::move(change)] { peer->change_mode(change); });
}

}  // namespace robustmq::broker
