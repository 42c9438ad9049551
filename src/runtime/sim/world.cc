// SimWorld, SimNode, SimCore (see the header). Pure.
#include "runtime/sim/world.h"

#include <algorithm>

#include "base/check.h"
#include "runtime/sim/disk.h"
#include "runtime/sim/net.h"

namespace robustmq::runtime::sim {

// ---- SimCore ----

SimCore::SimCore(SimNode& node, CoreIndex index, SimRandom random)
    : node_(node), index_(index), random_(random), wheel_(node.world().now()), last_arrival_(node.core_count()) {}

SimCore::~SimCore() = default;

SimWorld& SimCore::world() { return node_.world(); }
CoreIndex SimCore::count() const { return node_.core_count(); }
Instant SimCore::now() const { return node_.world().now(); }

WallTime SimCore::wall_now() const {
  SimWorld& world = node_.world();
  return {world.options().wall_start.ms + (world.now() - Instant{} + node_.wall_skew()).to_millis()};
}

Disk& SimCore::disk() { return *disk_; }
Net& SimCore::net() { return *net_; }

void SimCore::start() {
  disk_ = node_.disk().attach(*this);
  net_ = world().network().attach(*this);
}

void SimCore::drop_all() {
  wheel_.clear();
  while (!deferred_.empty()) deferred_.pop_front();
  // What is dropped may drop more of it when it goes.
  while (!ready_.empty() || !pending_.empty()) {
    auto ready = std::move(ready_);
    auto pending = std::move(pending_);
    ready_.clear();
    pending_.clear();
  }
  std::fill(last_arrival_.begin(), last_arrival_.end(), Instant{});
  unsent_ = 0;
  turn_id_ = 0;
  wake_at_ = Instant::never();
}

void SimCore::arm(Timer& timer, Instant due) {
  wheel_.arm(timer, node_.is_up() ? due : Instant::never());
  wake_for_timers();
}

void SimCore::defer(Deferred& work) {
  if (!node_.is_up() || work.is_linked()) return;
  deferred_.push_back(work);
  make_ready();
}

void SimCore::post(Callback<void()> work) {
  if (!node_.is_up()) return;
  ready_.push_back(std::move(work));
  make_ready();
}

void SimCore::send(CoreIndex to, Callback<void()> work) {
  if (!node_.is_up()) return;
  ++unsent_;
  Duration delay{static_cast<int64_t>(random_.below(static_cast<uint64_t>(world().options().message_delay_max.ns) + 1))};
  Instant& last = last_arrival_[to];
  last = std::max(last, now() + delay);
  node_.core(to).enqueue_at(last, {std::move(work), this});
}

bool SimCore::is_congested() const { return unsent_ > node_.world().options().unsent_messages_max; }

void SimCore::run_after(Duration delay, Callback<void()> work) {
  if (node_.is_up()) enqueue_at(now() + delay, {std::move(work)});
}

void SimCore::enqueue_at(Instant at, Pending pending) {
  uint64_t id = ++last_id_;
  pending_.emplace(id, std::move(pending));
  world().schedule(at, [this, id] { arrive(id); });
}

void SimCore::arrive(uint64_t id) {
  auto found = pending_.find(id);
  if (found == pending_.end()) return;
  if (found->second.sender) --found->second.sender->unsent_;
  ready_.push_back(std::move(found->second.work));
  pending_.erase(found);
  make_ready();
}

void SimCore::make_ready() {
  if (turn_id_ != 0) return;
  uint64_t id = turn_id_ = ++last_turn_id_;
  Duration delay{1 + static_cast<int64_t>(random_.below(static_cast<uint64_t>(world().options().turn_delay_max.ns)))};
  world().schedule(now() + delay, [this, id] {
    if (turn_id_ == id) run_turn();
  });
}

void SimCore::wake_for_timers() {
  Instant next = wheel_.next_due();
  if (next >= wake_at_) return;
  wake_at_ = next;
  world().schedule(next, [this, next] {
    if (wake_at_ != next) return;
    wake_at_ = Instant::never();
    if (wheel_.next_due() <= now())
      make_ready();
    else
      wake_for_timers();
  });
}

void SimCore::run_turn() {
  // turn_id_ stays set meanwhile, so that what comes up in this turn asks for the next one only at its end.
  uint64_t id = turn_id_;
  world().trace(static_cast<uint64_t>(node_.index()) << 48 | static_cast<uint64_t>(index_) << 32 | ready_.size());
  std::vector<Callback<void()>> batch;
  batch.swap(ready_);
  wheel_.advance(now());
  for (auto& work : batch) {
    if (turn_id_ != id) return;  // crashed by the work itself
    work();
  }
  batch.clear();
  while (turn_id_ == id && !deferred_.empty()) deferred_.pop_front().run_deferred();
  if (turn_id_ != id) return;
  turn_id_ = 0;
  if (!ready_.empty()) make_ready();
  wake_for_timers();
}

// ---- SimNode ----

SimNode::SimNode(SimWorld& world, int index, SimNodeOptions options, SimRandom random)
    : world_(world), index_(index), options_(std::move(options)) {
  if (options_.name.empty()) options_.name = "node" + std::to_string(index_);
  disk_ = std::make_unique<SimDisk>(world_, random.fork());
  for (CoreIndex i = 0; i < options_.cores; ++i) cores_.push_back(std::make_unique<SimCore>(*this, i, random.fork()));
  for (auto& core : cores_) core->start();
}

SimNode::~SimNode() = default;

void SimNode::crash(CrashKind kind) {
  ROBUSTMQ_CHECK(is_up_, "a node that is down cannot crash");
  world_.trace(0xC0000000u | static_cast<uint64_t>(index_) << 1 | (kind == CrashKind::power));
  is_up_ = false;
  world_.network().crash(*this, kind);
  disk_->crash(kind);
  for (auto& core : cores_) core->drop_all();
}

void SimNode::restart() {
  ROBUSTMQ_CHECK(!is_up_, "a node that runs cannot restart");
  world_.trace(0xD0000000u | static_cast<uint64_t>(index_));
  // Whatever outlived the crash has no say in the new life.
  for (auto& core : cores_) core->drop_all();
  is_up_ = true;
  ++life_;
  for (auto& core : cores_) core->start();
  world_.network().restart(*this);
}

// ---- SimWorld ----

SimWorld::SimWorld(SimOptions options) : options_(options), random_(options.seed), delays_(random_.fork()) {
  network_ = std::make_unique<SimNetwork>(*this, random_.fork());
}

SimWorld::~SimWorld() {
  for (auto& node : nodes_) {
    if (node->is_up()) node->crash(CrashKind::process);
  }
  events_.clear();
  for (auto& node : nodes_) {
    for (auto& core : node->cores_) core->drop_all();
  }
}

SimNode& SimWorld::add_node(SimNodeOptions options) {
  nodes_.push_back(std::make_unique<SimNode>(*this, node_count(), std::move(options), random_.fork()));
  return *nodes_.back();
}

void SimWorld::schedule(Instant at, Callback<void()> work) {
  events_.push_back({std::max(at, now_), ++sequence_, std::move(work)});
  std::push_heap(events_.begin(), events_.end(), Later{});
}

void SimWorld::run_next() {
  std::pop_heap(events_.begin(), events_.end(), Later{});
  Event event = std::move(events_.back());
  events_.pop_back();
  now_ = event.at;
  ++event_count_;
  trace(static_cast<uint64_t>(event.at.ns));
  event.work();
}

bool SimWorld::run_until(Callback<bool()> done, Duration limit) {
  Instant deadline = now_ + limit;
  while (!done()) {
    if (events_.empty()) return false;
    if (events_.front().at > deadline) {
      now_ = deadline;
      return false;
    }
    run_next();
  }
  return true;
}

void SimWorld::run_for(Duration span) {
  Instant until = now_ + span;
  while (!events_.empty() && events_.front().at <= until) run_next();
  now_ = until;
}

void SimWorld::trace(uint64_t fact) {
  uint64_t mixed = (trace_hash_ ^ fact) * 0x9E3779B97F4A7C15u;
  trace_hash_ = mixed ^ (mixed >> 29);
}

}  // namespace robustmq::runtime::sim
