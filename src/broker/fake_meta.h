// FakeMeta: the catalog in memory, for tests and benchmarks of the broker. Pure.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "meta/meta.h"

namespace robustmq::broker {

// The catalog in memory: what every core's view shares.
struct FakeCatalog {
  std::map<std::string, std::shared_ptr<const meta::Topic>> topics;
  std::vector<Callback<void(const meta::CatalogEvent&)>> watchers;
  ProducerId next_producer_id = 0;
  int64_t starts = 3;  // raised by who starts the node again
  void tell(const meta::CatalogEvent& event) {
    for (auto& watcher : watchers) watcher(event);
  }
};

class FakeMeta final : public meta::Meta {
 public:
  explicit FakeMeta(FakeCatalog& catalog) : catalog_(catalog) {}
  std::shared_ptr<const meta::Topic> find(TenantId, std::string_view name) const override {
    const auto found = catalog_.topics.find(std::string(name));
    return found == catalog_.topics.end() ? nullptr : found->second;
  }
  std::shared_ptr<const meta::Topic> find(const TopicId& id) const override {
    for (const auto& [name, topic] : catalog_.topics) {
      if (topic->id == id) return topic;
    }
    return nullptr;
  }
  std::vector<std::shared_ptr<const meta::Topic>> list(TenantId) const override {
    std::vector<std::shared_ptr<const meta::Topic>> all;
    for (const auto& [name, topic] : catalog_.topics) all.push_back(topic);
    return all;
  }
  void create_topic(meta::Topic topic, Callback<void(Result<std::shared_ptr<const meta::Topic>>)> done) override {
    auto made = std::make_shared<const meta::Topic>(std::move(topic));
    if (!catalog_.topics.emplace(made->name, made).second) return done(Code::topic_exists);
    catalog_.tell(meta::TopicCreated{made});
    done(std::move(made));
  }
  void delete_topic(TopicId id, Callback<void(Status)> done) override {
    auto topic = find(id);
    if (!topic) return done(Code::unknown_topic);
    catalog_.topics.erase(topic->name);
    catalog_.tell(meta::TopicDeleted{topic});
    done({});
  }
  void grow_topic(TopicId id, int32_t partitions, TopicDone done) override {
    auto topic = find(id);
    if (!topic) return done(Code::unknown_topic_id);
    meta::Topic changed = *topic;
    changed.partitions = partitions;
    replace(std::move(changed), std::move(done));
  }
  void configure_topic(TopicId id, const std::vector<meta::SettingChange>& changes, bool replaces_all, TopicDone done) override {
    auto topic = find(id);
    if (!topic) return done(Code::unknown_topic_id);
    meta::Topic changed = *topic;
    if (replaces_all) changed.config = {.mode = topic->config.mode, .kept = {}};
    if (Status status = meta::apply_settings(changed.config, changes); !status.ok()) return done(status.error());
    if (changed.config.mode != topic->config.mode && topic->config.mode != meta::Mode::persistent)
      changed.offset_floor = catalog_.starts << 32;
    replace(std::move(changed), std::move(done));
  }
  void allocate_producer_ids(Callback<void(Result<ProducerId>)> done) override {
    done(std::exchange(catalog_.next_producer_id, catalog_.next_producer_id + kProducerIdBlock));
  }
  int64_t starts() const override { return catalog_.starts; }
  Uuid cluster_id() const override { return {}; }
  void watch(Callback<void(const meta::CatalogEvent&)> watcher) override { catalog_.watchers.push_back(std::move(watcher)); }

 private:
  void replace(meta::Topic changed, TopicDone done) {
    auto made = std::make_shared<const meta::Topic>(std::move(changed));
    catalog_.topics[made->name] = made;
    catalog_.tell(meta::TopicChanged{made});
    done(std::move(made));
  }
  FakeCatalog& catalog_;
};

}  // namespace robustmq::broker
