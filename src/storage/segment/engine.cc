// SegmentEngine: the door to EngineCore.
#include "storage/segment/engine.h"

#include <utility>

#include "storage/segment/engine_core.h"

namespace robustmq::storage {

using segment::EngineCore;

SegmentEngine::SegmentEngine(std::unique_ptr<EngineCore> core) : core_(std::move(core)), listed_at_start_(core_->list()) {}
runtime::Core& SegmentEngine::core() const { return core_->core(); }
SegmentEngine::~SegmentEngine() = default;

void SegmentEngine::open(runtime::Core& core, const StorageOptions& options, SegmentTestSwitches switches,
                         Callback<void(Result<std::unique_ptr<SegmentEngine>>)> done) {
  auto made = std::make_unique<EngineCore>(core, options, switches);
  EngineCore& engine = *made;
  struct Opening {
    std::unique_ptr<EngineCore> engine;
    Callback<void(Result<std::unique_ptr<SegmentEngine>>)> done;
  };
  auto opening = std::make_unique<Opening>();
  opening->engine = std::move(made);
  opening->done = std::move(done);
  engine.recover([opening = std::move(opening)](Status status) {
    if (!status.ok()) return opening->done(status.error());
    opening->done(std::unique_ptr<SegmentEngine>(new SegmentEngine(std::move(opening->engine))));
  });
}

void SegmentEngine::open(ShardId id, const LogSettings& settings, Offset first_offset, Callback<void(Result<OpenedLog>)> done) {
  core_->open(id, settings, first_offset, std::move(done));
}
std::vector<ShardId> SegmentEngine::list() const { return core_->list(); }
void SegmentEngine::remove(ShardId id, Callback<void(Status)> done) { core_->remove(id, std::move(done)); }
void SegmentEngine::close(Callback<void(Status)> done) { core_->close(std::move(done)); }
void SegmentEngine::checkpoint(Callback<void(Status)> done) { core_->checkpoint(std::move(done)); }
bool SegmentEngine::has_failed() const { return core_->has_failed(); }
const std::string& SegmentEngine::report() const { return core_->report(); }
const SegmentMetrics& SegmentEngine::metrics() const { return core_->metrics(); }
const JournalMetrics& SegmentEngine::journal_metrics() const { return core_->journal().metrics(); }

}  // namespace robustmq::storage
