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
#include "server/node.h"
#include "server/options.h"
#include "storage/kv_log.h"
#include "storage/remote_kv.h"
#include "storage/rocksdb/rocks_kv.h"
#include "storage/segment/engine.h"

namespace robustmq::server {

// Lives on core 0. Members in the order they are made; what is destroyed goes the other way.
struct NodeStore {
  // Recovers everything under the data directory. `cores`: of the node, by index.
  runtime::Task<Status> open(std::vector<runtime::Core*> cores, observe::Log& log, const ServerOptions& options,
                             RowsDoor& rows_door, bool unsafe_skip_sync);
  void add_metrics(observe::Metrics& to) const;
  // The rows as `core`, which is not core 0, sees them; called on it.
  std::unique_ptr<storage::Kv> rows_on(runtime::Core& core, runtime::Core& home, observe::Metrics& metrics,
                                       const storage::StorageOptions& options, RowsDoor& door);

  std::unique_ptr<storage::SegmentEngine> engine;
  storage::RocksRowsPtr database;   // nullptr: rows are a log
  std::unique_ptr<storage::Kv> kv;  // as core 0 sees the rows
  const storage::RowsMetrics* rows_metrics = nullptr;
  std::unique_ptr<meta::CatalogHome> catalog;
  std::unique_ptr<broker::GroupCoordinator> groups;
  admin::AdminMetrics admin_metrics;
  std::unique_ptr<admin::AdminServer> admin;

 private:
  runtime::Task<Status> open_log_of_rows(runtime::Core& core, observe::Log& log, const ServerOptions& options);
  runtime::Task<Status> open_database(runtime::Core& core, observe::Log& log, const ServerOptions& options, RowsDoor& door,
                                      bool unsafe_skip_sync);
};

}  // namespace robustmq::server
