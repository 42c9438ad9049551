#include "meta/node_meta.h"

#include "meta/open.h"

namespace robustmq::meta {

std::shared_ptr<const Topic> NodeMeta::find(TenantId tenant, std::string_view name) const {
  const auto found = by_name_.find(std::pair(tenant, name));
  return found == by_name_.end() ? nullptr : found->second;
}

std::shared_ptr<const Topic> NodeMeta::find(const TopicId& id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

std::vector<std::shared_ptr<const Topic>> NodeMeta::list(TenantId tenant) const {
  std::vector<std::shared_ptr<const Topic>> topics;
  for (auto at = by_name_.lower_bound(std::pair(tenant, std::string_view())); at != by_name_.end() && at->first.first == tenant;
       ++at)
    topics.push_back(at->second);
  return topics;
}

void NodeMeta::create_topic(Topic topic, Callback<void(Result<std::shared_ptr<const Topic>>)> done) {
  // Also what needs no round: the catalog checks again, as of the moment the command takes effect.
  const Status allowed = check_topic(topic, limits_);
  if (!allowed.ok()) return done(allowed.error());
  if (find(topic.tenant, topic.name)) return done(Error{Code::topic_exists, topic.name});
  if (topic.id.is_zero()) topic.id = draw();
  CreateTopic command{draw(), std::move(topic), limits_};
  const TopicId id = command.topic.id;
  propose(encode_command(command), [this, id, done = std::move(done)](Result<int64_t> result) mutable {
    if (!result.ok()) return done(result.error());
    std::shared_ptr<const Topic> made = find(id);
    if (!made) return done(Error{Code::unknown_topic, "deleted meanwhile"});
    done(std::move(made));
  });
}

void NodeMeta::delete_topic(TopicId id, Callback<void(Status)> done) {
  if (!find(id)) return done(Code::unknown_topic_id);
  propose(encode_command(DeleteTopic{draw(), id}),
          [done = std::move(done)](Result<int64_t> result) mutable { done(result.ok() ? Status() : Status(result.error())); });
}

void NodeMeta::grow_topic(TopicId id, int32_t partitions, TopicDone done) {
  change(id, encode_command(GrowTopic{draw(), id, partitions, limits_}), std::move(done));
}

void NodeMeta::configure_topic(TopicId id, const std::vector<SettingChange>& changes, bool replaces_all, TopicDone done) {
  ConfigureTopic command{.request = draw(), .id = id, .replaces_all = replaces_all, .changes = {}, .limits = limits_};
  for (const SettingChange& one : changes) command.changes.push_back({one.name, one.value, static_cast<uint32_t>(one.how)});
  change(id, encode_command(command), std::move(done));
}

void NodeMeta::change(TopicId id, Bytes command, TopicDone done) {
  if (!find(id)) return done(Code::unknown_topic_id);
  propose(std::move(command), [this, id, done = std::move(done)](Result<int64_t> result) mutable {
    if (!result.ok()) return done(result.error());
    std::shared_ptr<const Topic> changed = find(id);
    if (!changed) return done(Error{Code::unknown_topic_id, "deleted meanwhile"});
    done(std::move(changed));
  });
}

void NodeMeta::allocate_producer_ids(Callback<void(Result<ProducerId>)> done) {
  propose(encode_command(AllocateProducerIds{draw(), kProducerIdBlock}), std::move(done));
}

void NodeMeta::propose(Bytes command, Callback<void(Result<int64_t>)> done) {
  home_.propose(core_.index(), std::move(command), std::move(done));
}

void NodeMeta::begin(ViewStart start) {
  cluster_id_ = start.cluster_id;
  starts_ = start.starts;
  for (const auto& topic : start.topics) add(topic);
}

void NodeMeta::add(const std::shared_ptr<const Topic>& topic) {
  by_name_.insert_or_assign(std::pair(topic->tenant, topic->name), topic);
  by_id_.insert_or_assign(topic->id, topic);
}

void NodeMeta::take(const CatalogEvent& event) {
  if (const auto* created = std::get_if<TopicCreated>(&event)) {
    add(created->topic);
  } else if (const auto* deleted = std::get_if<TopicDeleted>(&event)) {
    by_name_.erase(std::pair(deleted->topic->tenant, deleted->topic->name));
    by_id_.erase(deleted->topic->id);
  }
  if (const auto* changed = std::get_if<TopicChanged>(&event)) add(changed->topic);
  for (auto& watcher : watchers_) watcher(event);
}

}  // namespace robustmq::meta
