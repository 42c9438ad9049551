// What a node has on core 0 alone: the segment engine, the key-value rows, the catalog, consumer groups, the admin API. Private
// to the room.
#pragma once

#include <memory>
#include <vector>

#include "admin/server.h"
#include "broker/group/coordinator.h"
#include "meta/open.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "runtime/core.h"
#include "runtime/task.h"
#include "server/options.h"
#include "storage/kv_log.h"
#include "storage/segment/engine.h"

namespace robustmq::server {

// Lives on core 0. Members in the order they are made; what is destroyed goes the other way.
struct NodeStore {
  // Recovers everything under the data directory. `cores`: of the node, by index.
  runtime::Task<Status> open(std::vector<runtime::Core*> cores, observe::Log& log, const ServerOptions& options,
                             bool unsafe_skip_sync);
  void add_metrics(observe::Metrics& to) const;

  std::unique_ptr<storage::SegmentEngine> engine;
  std::unique_ptr<storage::KvLog> kv;
  std::unique_ptr<meta::CatalogHome> catalog;
  std::unique_ptr<broker::GroupCoordinator> groups;
  std::unique_ptr<admin::AdminServer> admin;
};

}  // namespace robustmq::server
