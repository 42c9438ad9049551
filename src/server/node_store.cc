#include "server/node_store.h"

#include <utility>

namespace robustmq::server {

using runtime::completion;

namespace {

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
                                      bool unsafe_skip_sync) {
  runtime::Core& core = *cores[0];
  storage::SegmentTestSwitches switches;
  switches.unsafe_skip_sync = unsafe_skip_sync;
  using Engine = Result<std::unique_ptr<storage::SegmentEngine>>;
  Engine opened_engine = co_await completion<Engine>(
      [&](auto done) { storage::SegmentEngine::open(core, options.storage, switches, std::move(done)); });
  if (!opened_engine.ok()) co_return opened_engine.error();
  engine = opened_engine.take();
  log_report(log, "storage_recovered", engine->report());

  using Rows = Result<std::unique_ptr<storage::KvLog>>;
  Rows opened_rows =
      co_await completion<Rows>([&](auto done) { storage::KvLog::open(core, *engine, options.storage, std::move(done)); });
  if (!opened_rows.ok()) co_return opened_rows.error();
  kv = opened_rows.take();
  log_report(log, "rows_recovered", kv->report());

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

void NodeStore::add_metrics(observe::Metrics& to) const {
  to.add("segment", engine->metrics());
  to.add("journal", engine->journal_metrics());
  to.add("catalog", catalog->metrics());
  to.add("consumer_group", groups->metrics());
}

}  // namespace robustmq::server
