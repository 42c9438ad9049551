#include "meta/open.h"

#include "raft/entry.h"

namespace robustmq::meta {
namespace {

constexpr raft::GroupId kCatalogGroup = 0;
constexpr int64_t kCatalogSegmentBytes = 16 << 20;

}  // namespace

CatalogHome::CatalogHome(std::vector<runtime::Core*> cores, MetaOptions options) : cores_(std::move(cores)), options_(options) {
  for (runtime::Core* core : cores_) views_.push_back(std::make_unique<NodeMeta>(*core, *this, options_.limits));
}

CatalogHome::~CatalogHome() {
  anchor_.cut();
  group_.reset();
}

void CatalogHome::open(storage::Engine& engine, storage::Kv& kv, Callback<void(Status)> done) {
  opened_ = std::move(done);
  storage::LogSettings settings;
  settings.segment_bytes = kCatalogSegmentBytes;
  engine.open(raft::log_id_of(kCatalogGroup), settings, 0, [self = anchor_.anchor(this), &kv](Result<storage::OpenedLog> opened) {
    CatalogHome* home = self.get();
    if (!home) return;
    if (!opened.ok()) return home->end_open(opened.error());
    home->on_log_open(opened.take(), kv);
  });
}

void CatalogHome::end_open(Status status) {
  if (opened_) std::exchange(opened_, {})(std::move(status));
}

void CatalogHome::on_log_open(storage::OpenedLog opened, storage::Kv& kv) {
  report_ = std::move(opened.report);
  raft::GroupOptions options;
  options.group = kCatalogGroup;
  options.self = options_.node;
  options.members = {options_.node};
  options.snapshot_bytes = options_.snapshot_bytes;
  group_ = std::make_unique<raft::RaftGroup>(*cores_[0], std::move(opened.log), kv, catalog_, std::move(options));
  group_metrics_ = &group_->metrics();
  group_->start([self = anchor_.anchor(this)](Status status) {
    CatalogHome* home = self.get();
    if (!home) return;
    if (!status.ok()) return home->end_open(std::move(status));
    home->count_start();
  });
}

void CatalogHome::count_start() {
  runtime::Core& core = *cores_[0];
  const auto draw = [&core] { return Uuid::random(core.random(), core.random()); };
  group_->propose(encode_command(NodeStarted{draw(), options_.node, draw(), kFeatureLevelMax}),
                  [self = anchor_.anchor(this)](Result<Bytes> reply) {
                    CatalogHome* home = self.get();
                    if (!home) return;
                    if (!reply.ok()) return home->end_open(reply.error());
                    const Result<int64_t> starts = decode_reply(*reply);
                    if (!starts.ok()) return home->end_open(starts.error());
                    home->raise_feature_level();
                  });
}

// The node is the whole cluster: what it understands, all nodes understand.
void CatalogHome::raise_feature_level() {
  if (catalog_.feature_level() >= kFeatureLevelMax) return fill_views();
  runtime::Core& core = *cores_[0];
  const Uuid request = Uuid::random(core.random(), core.random());
  group_->propose(encode_command(RaiseFeatureLevel{request, kFeatureLevelMax}),
                  [self = anchor_.anchor(this)](Result<Bytes> reply) {
                    CatalogHome* home = self.get();
                    if (!home) return;
                    if (!reply.ok()) return home->end_open(reply.error());
                    home->fill_views();
                  });
}

void CatalogHome::fill_views() {
  catalog_.take_events();  // of entries replayed: the views begin behind them
  ViewStart start{.cluster_id = catalog_.cluster_id(), .starts = catalog_.starts(options_.node)};
  for (const auto& [id, topic] : catalog_.topics()) start.topics.push_back(topic);
  views_[0]->begin(start);
  for (size_t i = 1; i < cores_.size(); ++i)
    cores_[0]->send(static_cast<CoreIndex>(i), [view = views_[i].get(), start] { view->begin(start); });
  when_all_have_seen([self = anchor_.anchor(this)] {
    if (CatalogHome* home = self.get()) home->end_open(Status());
  });
}

void CatalogHome::propose(CoreIndex from, Bytes command, Callback<void(Result<int64_t>)> done) {
  if (from == 0) return propose_here(0, std::move(command), std::move(done));
  cores_[from]->send(0, [this, from, command = std::move(command), done = std::move(done)]() mutable {
    propose_here(from, std::move(command), std::move(done));
  });
}

void CatalogHome::propose_here(CoreIndex from, Bytes command, Callback<void(Result<int64_t>)> done) {
  if (!group_) return answer(from, Code::shutting_down, std::move(done));
  group_->propose(std::move(command), [self = anchor_.anchor(this), from, done = std::move(done)](Result<Bytes> reply) mutable {
    CatalogHome* home = self.get();
    if (!home) return;
    Result<int64_t> result = reply.ok() ? decode_reply(*reply) : Result<int64_t>(reply.error());
    const std::vector<CatalogEvent> events = home->catalog_.take_events();
    if (events.empty()) return home->answer(from, std::move(result), std::move(done));
    home->tell_views(events);
    home->when_all_have_seen([self, from, result = std::move(result), done = std::move(done)]() mutable {
      if (CatalogHome* again = self.get()) again->answer(from, std::move(result), std::move(done));
    });
  });
}

void CatalogHome::answer(CoreIndex from, Result<int64_t> result, Callback<void(Result<int64_t>)> done) {
  if (from == 0) return done(std::move(result));
  cores_[0]->send(from, [result = std::move(result), done = std::move(done)]() mutable { done(std::move(result)); });
}

void CatalogHome::tell_views(const std::vector<CatalogEvent>& events) {
  for (const CatalogEvent& event : events) {
    for (size_t i = 1; i < cores_.size(); ++i)
      cores_[0]->send(static_cast<CoreIndex>(i), [view = views_[i].get(), event] { view->take(event); });
    views_[0]->take(event);
  }
}

void CatalogHome::when_all_have_seen(Callback<void()> then) {
  if (cores_.size() == 1) return then();
  struct Waiting {
    size_t left;
    Callback<void()> then;
  };
  // Touched on core 0 alone; the other cores only carry it back.
  auto waiting = std::make_shared<Waiting>(Waiting{cores_.size() - 1, std::move(then)});
  for (size_t i = 1; i < cores_.size(); ++i) {
    runtime::Core* other = cores_[i];
    cores_[0]->send(static_cast<CoreIndex>(i), [other, waiting]() mutable {
      other->send(0, [waiting = std::move(waiting)] {
        if (--waiting->left == 0) waiting->then();
      });
    });
  }
}

}  // namespace robustmq::meta
