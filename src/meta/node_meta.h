// NodeMeta: one core's view of the catalog, and its way to change it. Pure but for its core.
//
// The view is a plain copy, updated in command order by CatalogHome; asking it costs a look into a table. Changes go to the
// home core as commands and come back as events on every core before the reply.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "meta/commands.h"
#include "meta/meta.h"
#include "runtime/core.h"

namespace robustmq::meta {

class CatalogHome;

// Facts that a view begins with.
struct ViewStart {
  std::vector<std::shared_ptr<const Topic>> topics;
  Uuid cluster_id;
  int64_t starts = 0;
};

// Lives on its core; made and owned by CatalogHome.
class NodeMeta final : public Meta {
 public:
  NodeMeta(runtime::Core& core, CatalogHome& home, const CatalogLimits& limits) : core_(core), home_(home), limits_(limits) {}

  std::shared_ptr<const Topic> find(TenantId tenant, std::string_view name) const override;
  std::shared_ptr<const Topic> find(const TopicId& id) const override;
  std::vector<std::shared_ptr<const Topic>> list(TenantId tenant) const override;
  // Errors besides the catalog's own: invalid_config. A storage error leaves the outcome unknown.
  void create_topic(Topic topic, Callback<void(Result<std::shared_ptr<const Topic>>)> done) override;
  void delete_topic(TopicId id, Callback<void(Status)> done) override;
  void grow_topic(TopicId id, int32_t partitions, TopicDone done) override;
  void configure_topic(TopicId id, const std::vector<SettingChange>& changes, bool replaces_all, TopicDone done) override;
  void allocate_producer_ids(Callback<void(Result<ProducerId>)> done) override;
  int64_t starts() const override { return starts_; }
  Uuid cluster_id() const override { return cluster_id_; }
  void watch(Callback<void(const CatalogEvent&)> watcher) override { watchers_.push_back(std::move(watcher)); }

  // For CatalogHome, on this core.
  void begin(ViewStart start);
  void take(const CatalogEvent& event);

 private:
  struct NameLess {
    using is_transparent = void;
    template <class A, class B>
    bool operator()(const A& a, const B& b) const {
      return a.first != b.first ? a.first < b.first : std::string_view(a.second) < std::string_view(b.second);
    }
  };

  Uuid draw() { return Uuid::random(core_.random(), core_.random()); }
  void change(TopicId id, Bytes command, TopicDone done);
  void propose(Bytes command, Callback<void(Result<int64_t>)> done);
  void add(const std::shared_ptr<const Topic>& topic);

  runtime::Core& core_;
  CatalogHome& home_;
  CatalogLimits limits_;
  std::map<std::pair<TenantId, std::string>, std::shared_ptr<const Topic>, NameLess> by_name_;
  std::unordered_map<TopicId, std::shared_ptr<const Topic>, UuidHash> by_id_;  // asked, never walked
  Uuid cluster_id_;
  int64_t starts_ = 0;
  std::vector<Callback<void(const CatalogEvent&)>> watchers_;
};

}  // namespace robustmq::meta
