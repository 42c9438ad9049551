#include "server/node_store.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace robustmq::server {

using runtime::completion;

namespace {

constexpr std::string_view kPastAllRows = "\xff\xff\xff\xff\xff\xff\xff\xff";

// A report of a recovery, a line an event.
void log_report(observe::Log& log, std::string_view event, std::string_view report) {
  while (!report.empty()) {
    const std::string_view line = report.substr(0, report.find('\n'));
    report.remove_prefix(std::min(line.size() + 1, report.size()));
    if (!line.empty()) log.warn(event, {{"what", line}});
  }
}

}  // namespace

runtime::Task<Status> NodeStore::open(std::vector<runtime::Core*> cores, observe::Log& log, const ServerOptions& options,
                                      RowsDoor& rows_door, bool unsafe_skip_sync) {
  runtime::Core& core = *cores[0];
  storage::SegmentTestSwitches switches;
  switches.unsafe_skip_sync = unsafe_skip_sync;
  using Engine = Result<std::unique_ptr<storage::SegmentEngine>>;
  Engine opened_engine = co_await completion<Engine>(
      [&](auto done) { storage::SegmentEngine::open(core, options.storage, switches, std::move(done)); });
  if (!opened_engine.ok()) co_return opened_engine.error();
  engine = opened_engine.take();
  log_report(log, "storage_recovered", engine->report());

  Status opened_rows;
  if (rows_door.make_helper) {
    opened_rows = co_await open_database(core, log, options, rows_door, unsafe_skip_sync);
  } else {
    opened_rows = co_await open_log_of_rows(core, log, options);
  }
  if (!opened_rows.ok()) co_return opened_rows;

  meta::MetaOptions meta_options;
  meta_options.node = options.node.id;
  meta_options.limits = options.catalog;
  catalog = std::make_unique<meta::CatalogHome>(std::move(cores), meta_options);
  Status opened_catalog = co_await completion<Status>([&](auto done) { catalog->open(*engine, *kv, std::move(done)); });
  if (!opened_catalog.ok()) co_return opened_catalog;
  log_report(log, "catalog_recovered", catalog->report());

  groups = std::make_unique<broker::GroupCoordinator>(core, *kv, catalog->on(0), options.consumer_group);
  Status opened_groups = co_await completion<Status>([&](auto done) { groups->start(std::move(done)); });
  co_return opened_groups;
}

runtime::Task<Status> NodeStore::open_log_of_rows(runtime::Core& core, observe::Log& log, const ServerOptions& options) {
  using Rows = Result<std::unique_ptr<storage::KvLog>>;
  Rows opened =
      co_await completion<Rows>([&](auto done) { storage::KvLog::open(core, *engine, options.storage, std::move(done)); });
  if (!opened.ok()) co_return opened.error();
  log_report(log, "rows_recovered", (*opened)->report());
  kv = opened.take();
  co_return Status();
}

runtime::Task<Status> NodeStore::open_database(runtime::Core& core, observe::Log& log, const ServerOptions& options,
                                               RowsDoor& door, bool unsafe_skip_sync) {
  std::unique_ptr<runtime::Helper> writes = door.make_helper(core, "rows-write");
  std::unique_ptr<runtime::Helper> reads = door.make_helper(core, "rows-read");
  using Opened = Result<storage::RocksRowsPtr>;
  Opened opened = co_await completion<Opened>(
      [&](auto done) { storage::open_rocks_rows(*writes, door.folder, options.storage, unsafe_skip_sync, std::move(done)); });
  if (!opened.ok()) co_return opened.error();
  database = opened.take();
  auto rows = std::make_unique<storage::RocksKv>(core, database, std::move(writes), std::move(reads), options.storage);
  rows_metrics = &rows->metrics();

  // A directory of format 1 has its rows in a log. They move in one batch, before anything else is written.
  const std::vector<ShardId> logs = engine->list();
  const bool has_log = std::find(logs.begin(), logs.end(), storage::kKvLogId) != logs.end();
  using Found = Result<storage::KvRows>;
  Found first = co_await completion<Found>([&](auto done) { rows->scan({}, kPastAllRows, 1, std::move(done)); });
  if (!first.ok()) co_return first.error();
  if (has_log && first->empty()) {
    Status older = co_await open_log_of_rows(core, log, options);
    if (!older.ok()) co_return older;
    Found found = co_await completion<Found>([&](auto done) { kv->scan({}, kPastAllRows, SIZE_MAX, std::move(done)); });
    if (!found.ok()) co_return found.error();
    storage::KvBatch batch;
    for (auto& [key, value] : *found) batch.put(std::move(key), std::move(value));
    const size_t count = batch.changes.size();
    Status moved = co_await completion<Status>([&](auto done) { rows->write(std::move(batch), std::move(done)); });
    if (!moved.ok()) co_return moved;
    log.info("rows_moved", {{"rows", count}, {"to", "rows"}});
  }
  kv = std::move(rows);
  co_return Status();
}

std::unique_ptr<storage::Kv> NodeStore::rows_on(runtime::Core& core, runtime::Core& home, observe::Metrics& metrics,
                                                const storage::StorageOptions& options, RowsDoor& door) {
  if (!database) return std::make_unique<storage::RemoteKv>(core, home.index(), home, *kv);
  auto rows = std::make_unique<storage::RocksKv>(core, database, door.make_helper(core, "rows-write"),
                                                 door.make_helper(core, "rows-read"), options);
  metrics.add("rows", rows->metrics());
  return rows;
}

void NodeStore::add_metrics(observe::Metrics& to) const {
  to.add("segment", engine->metrics());
  to.add("journal", engine->journal_metrics());
  if (rows_metrics) to.add("rows", *rows_metrics);
  to.add("catalog", catalog->metrics());
  to.add("consumer_group", groups->metrics());
  to.add_source([coordinator = groups.get()](observe::MetricsSnapshot& snapshot) { coordinator->add_lag(snapshot); });
}

}  // namespace robustmq::server
