// Catalog: the cluster's facts that are few, as a replicated machine: streams, nodes' starts, producer id blocks. Pure.
//
// Invariants: 1. A name of a tenant belongs to one topic, and no two topics of a tenant have names that differ only in '.' and
// '_'. No MQTT topic is claimed by two topics that are rules. 2. An id is never given twice: topics are named by random ids,
// producer ids only grow. 3. Equal states have equal snapshots. Limits: CatalogLimits of each command; kRequestsKept request ids
// are remembered.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "meta/commands.h"
#include "meta/meta.h"
#include "raft/machine.h"

namespace robustmq::meta {

class Catalog final : public raft::Machine {
 public:
  static constexpr size_t kRequestsKept = 1024;

  Bytes apply(ByteSpan command, WallTime stamped) override;
  Bytes snapshot() const override;
  Status restore(ByteSpan snapshot) override;
  uint64_t fingerprint() const override;

  // What the commands since the last call changed, in order.
  std::vector<CatalogEvent> take_events() { return std::exchange(events_, {}); }

  const std::map<TopicId, std::shared_ptr<const Topic>>& topics() const { return topics_; }
  Uuid cluster_id() const { return cluster_id_; }
  uint32_t feature_level() const { return feature_level_; }
  int64_t starts(NodeId node) const;

 private:
  using Name = std::pair<TenantId, std::string>;

  template <class Command>
  Bytes run(ByteSpan command);
  Result<int64_t> on(const NodeStarted& command);
  Result<int64_t> on(const CreateTopic& command);
  Result<int64_t> on(const DeleteTopic& command);
  Result<int64_t> on(const AllocateProducerIds& command);
  Result<int64_t> on(const RaiseFeatureLevel& command);
  Result<int64_t> on(const GrowTopic& command);
  Result<int64_t> on(const ConfigureTopic& command);
  Status check_rule(const CreateTopic& command) const;
  void replace(std::shared_ptr<const Topic>& at, Topic changed);
  void add(std::shared_ptr<const Topic> topic);
  void remember(const Uuid& request, int64_t value);

  Uuid cluster_id_;
  uint32_t feature_level_ = 0;  // 0: no node has started yet
  ProducerId next_producer_id_ = 0;
  std::map<NodeId, int64_t> starts_;
  std::map<TopicId, std::shared_ptr<const Topic>> topics_;
  std::map<Name, TopicId> by_collision_name_;
  uint64_t partitions_ = 0;
  std::map<Uuid, int64_t> requests_;
  std::deque<Uuid> requests_by_age_;
  std::vector<CatalogEvent> events_;
};

}  // namespace robustmq::meta
