// Meta: the door to the catalog. One a node core (a view); changes go through the catalog's Raft group on its home core.
//
// The view on each core is a plain copy, updated in command order; a change is seen on every core before its reply comes.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/callback.h"
#include "base/result.h"
#include "meta/topic.h"
#include "meta/topic_settings.h"
#include "runtime/core.h"

namespace robustmq::meta {

struct TopicCreated {
  std::shared_ptr<const Topic> topic;
};
struct TopicDeleted {
  std::shared_ptr<const Topic> topic;
};
// It has more partitions, or other settings.
struct TopicChanged {
  std::shared_ptr<const Topic> topic;
};
using CatalogEvent = std::variant<TopicCreated, TopicDeleted, TopicChanged>;

// One core's view of the catalog and its way to change it.
class Meta {
 public:
  virtual ~Meta() = default;

  virtual std::shared_ptr<const Topic> find(TenantId tenant, std::string_view name) const = 0;  // nullptr when missing
  virtual std::shared_ptr<const Topic> find(const TopicId& id) const = 0;
  virtual std::vector<std::shared_ptr<const Topic>> list(TenantId tenant) const = 0;  // by name

  // Makes a topic: the id is drawn here. Errors: topic_exists, invalid_topic, invalid_partitions, quota_exceeded, storage_*.
  virtual void create_topic(Topic topic, Callback<void(Result<std::shared_ptr<const Topic>>)> done) = 0;
  virtual void delete_topic(TopicId id, Callback<void(Status)> done) = 0;
  using TopicDone = Callback<void(Result<std::shared_ptr<const Topic>>)>;
  // Gives a topic this many partitions, more than it has. Errors: unknown_topic_id, invalid_partitions, quota_exceeded,
  // storage_*.
  virtual void grow_topic(TopicId id, int32_t partitions, TopicDone done) = 0;
  // Changes settings, all or none; with `replaces_all` what is not named gets its default, but the mode. Whoever
  // changes the mode sees to it that the topic's shards have the class of the stronger one meanwhile (broker/topic_modes.cc).
  // Errors: unknown_topic_id, invalid_config, storage_*.
  virtual void configure_topic(TopicId id, const std::vector<SettingChange>& changes, bool replaces_all, TopicDone done) = 0;
  // A block of producer ids that nobody else gets: the first of `kProducerIdBlock`.
  static constexpr int64_t kProducerIdBlock = 1000;
  virtual void allocate_producer_ids(Callback<void(Result<ProducerId>)> done) = 0;

  // How often this node has started, this start included. A memory log begins at starts * 2^32.
  virtual int64_t starts() const = 0;
  // The cluster's id, drawn at the first start.
  virtual Uuid cluster_id() const = 0;

  // Told of each change on this core, in command order, before the change's own reply. At most a few watchers, set at start.
  virtual void watch(Callback<void(const CatalogEvent&)> watcher) = 0;
};

}  // namespace robustmq::meta
