// JoinedEngine: opening and removing joined logs.
#include <algorithm>

#include "storage/joined_log.h"

namespace robustmq::storage {

JoinedEngine::JoinedEngine(runtime::Core& core, Engine& memory, Engine& durable, Offset fresh)
    : core_(core), memory_(memory), durable_(durable), fresh_(fresh) {
  for (const ShardId& id : durable_.list()) durable_ids_.insert(id);
}

// An engine in memory completes at once.
std::unique_ptr<Log> JoinedEngine::make_memory(ShardId id, const LogSettings& settings, Offset first) {
  std::unique_ptr<Log> made;
  memory_.open(id, settings, first, [&made](Result<OpenedLog> opened) {
    if (opened.ok()) made = std::move(opened->log);
  });
  return made;
}

void JoinedEngine::open(ShardId id, const LogSettings& settings, Offset first_offset, Callback<void(Result<OpenedLog>)> done) {
  const bool is_there = durable_ids_.contains(id);
  const bool may_have_lost = settings.durability == Durability::memory || (settings.durability == Durability::hybrid && is_there);
  const Offset floor = may_have_lost || !durable_.traits().is_durable ? std::max(first_offset, fresh_) : first_offset;
  if (settings.durability == Durability::memory && !is_there)
    return finish_opening(id, settings, floor, nullptr, std::move(done));
  durable_ids_.insert(id);
  durable_.open(id, settings, floor,
                [self = anchor_.anchor(this), id, settings, floor, done = std::move(done)](Result<OpenedLog> opened) mutable {
                  JoinedEngine* engine = self.get();
                  if (!engine) return;
                  if (!opened.ok()) return done(opened.error());
                  engine->finish_opening(id, settings, floor, std::make_unique<OpenedLog>(opened.take()), std::move(done));
                });
}

void JoinedEngine::finish_opening(ShardId id, const LogSettings& settings, Offset floor, std::unique_ptr<OpenedLog> opened,
                                  Callback<void(Result<OpenedLog>)> done) {
  const Offset stored = opened ? opened->log->bounds().end : floor;
  const Offset first = std::max(stored, floor);
  std::unique_ptr<Log> memory;
  if (settings.durability == Durability::memory) memory = make_memory(id, settings, first);
  OpenedLog joined;
  joined.is_volatile = memory != nullptr;
  joined.state_as_of = first;
  if (opened) {
    joined.replica_state = std::move(opened->replica_state);
    joined.state_as_of = opened->state_as_of;
    joined.report = std::move(opened->report);
    if (first > stored) joined.lost_until = first;
  }
  joined.log =
      std::make_unique<JoinedLog>(*this, id, settings, opened ? std::move(opened->log) : nullptr, std::move(memory), floor);
  done(std::move(joined));
}

void JoinedEngine::remove(ShardId id, Callback<void(Status)> done) {
  if (durable_ids_.erase(id) == 0) return done({});
  durable_.remove(id, std::move(done));
}

}  // namespace robustmq::storage
