// CatalogHome: the catalog of a node: its Raft group on core 0 and a view on every core. Not pure.
//
//   CatalogHome home(cores, options);
//   home.open(engine, kv, [&](Status status) { ... home.on(core).find(...) });
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/anchor.h"
#include "meta/catalog.h"
#include "meta/node_meta.h"
#include "raft/group.h"
#include "runtime/core.h"
#include "storage/kv.h"
#include "storage/log.h"

namespace robustmq::meta {

struct MetaOptions {
  CatalogLimits limits;
  NodeId node = 0;
  uint64_t snapshot_bytes = 1 << 20;

  template <class V>
  static void describe(V& v) {
    v.field("limits", &MetaOptions::limits, {.doc = "Limits of the catalog."});
    v.field("node", &MetaOptions::node, {.doc = "This node's number in the cluster.", .min = 0});
    v.field("snapshot_bytes", &MetaOptions::snapshot_bytes,
            {.doc = "Log of the catalog after which a snapshot replaces it.", .unit = "bytes", .min = 4096});
  }
};

// Lives on core 0 (the home) with its engine and rows; made and destroyed there, while nobody uses the views. Outlives the
// messages that it has under way between cores.
class CatalogHome {
 public:
  CatalogHome(std::vector<runtime::Core*> cores, MetaOptions options);
  ~CatalogHome();

  // Restores the catalog, counts this start and fills the view of every core; then `done`. `engine` (durable) and `kv` outlive
  // this object. Errors: not_supported (the catalog was written by a newer version), corrupt_storage, storage_*.
  void open(storage::Engine& engine, storage::Kv& kv, Callback<void(Status)> done);
  // The view of a core; to be used on that core, after open().
  Meta& on(CoreIndex core) { return *views_[core]; }

  // From any core of the node: proposes a command; `done` comes on the asking core, after every view has seen the change.
  void propose(CoreIndex from, Bytes command, Callback<void(Result<int64_t>)> done);

  // What the engine's recovery had to say of the catalog's log; empty when nothing.
  const std::string& report() const { return report_; }
  const Catalog& catalog() const { return catalog_; }  // on core 0
  const raft::GroupMetrics& metrics() const { return group_metrics_ ? *group_metrics_ : no_metrics_; }

 private:
  void on_log_open(storage::OpenedLog opened, storage::Kv& kv);
  void count_start();
  void raise_feature_level();
  void fill_views();
  void end_open(Status status);
  void propose_here(CoreIndex from, Bytes command, Callback<void(Result<int64_t>)> done);
  void answer(CoreIndex from, Result<int64_t> result, Callback<void(Result<int64_t>)> done);
  void tell_views(const std::vector<CatalogEvent>& events);
  // `then` comes here once every core has done all that was sent to it before.
  void when_all_have_seen(Callback<void()> then);

  std::vector<runtime::Core*> cores_;
  MetaOptions options_;
  std::vector<std::unique_ptr<NodeMeta>> views_;
  Catalog catalog_;
  std::unique_ptr<raft::RaftGroup> group_;
  const raft::GroupMetrics* group_metrics_ = nullptr;
  raft::GroupMetrics no_metrics_;
  std::string report_;
  Callback<void(Status)> opened_;
  AnchorOwner<CatalogHome> anchor_;
};

}  // namespace robustmq::meta
