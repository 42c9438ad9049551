// Truncation: waits for the appends before it, finds the place, tells the journal, then cuts the file.
#include <algorithm>
#include <utility>

#include "storage/segment/access.h"

namespace robustmq::storage::segment {

using runtime::DiskStep;
using runtime::FilePtr;
using runtime::Task;

// Finds the file and position of a batch boundary.
class EngineCore::Locating final : public Access {
 public:
  Locating(EngineCore& engine, LogPtr log, Offset offset) : Access(engine, std::move(log)), offset_(offset) {}

  Task<> run() {
    Segment* segment = &log_->segment_at(offset_);
    // The end of a segment rather than the beginning of the next.
    if (segment->base == offset_ && segment != &log_->segments.front()) --segment;
    const Offset base = segment->base;
    uint64_t position = 0;
    if (offset_ == segment->end) {
      position = segment->size_bytes;
    } else if (offset_ != base) {
      Result<uint64_t> found = co_await position_within(base);
      if (!found.ok()) {
        engine_.end_truncation(log_, found.error());
        co_return;
      }
      position = *found;
    }
    Result<FilePtr> file = co_await open(base);
    if (file.ok()) {
      engine_.truncate_at(log_, base, position, file.take());
    } else {
      engine_.end_truncation(log_, file.error());
    }
  }

 private:
  Task<Result<uint64_t>> position_within(Offset base) {
    Status loaded = co_await load_index(base);
    if (!loaded.ok()) co_return loaded.error();
    Segment* segment = log_->find(base);
    const std::optional<size_t> block = segment && segment->index ? segment->index->block_at(offset_) : std::nullopt;
    if (!block) co_return Code::offset_out_of_range;
    const uint64_t begin = segment->index->position_of(*block);
    if (segment->index->offset_of(*block) == offset_) co_return begin;
    Result<BlockBytes> read = co_await read_block(base, *block);
    if (!read.ok()) co_return read.error();
    BatchWalker walker(read->bytes, read->begin, read->end);
    BatchWalker::Step step;
    while (walker.next(step)) {
      if (step.next == offset_) co_return begin + step.position + step.size;
    }
    co_return Error{Code::invalid_argument, "the offset to truncate to is no batch boundary"};
  }

  Offset offset_;
};

void EngineCore::truncate(const LogPtr& log, Offset keep_until, Callback<void(Status)> done) {
  if (is_closing_) return done(Code::shutting_down);
  if (keep_until >= log->end) return done({});
  if (keep_until < log->start) return done(Code::offset_out_of_range);
  if (has_failed() || log->has_failed) return done(Code::storage_failed);
  ROBUSTMQ_CHECK(!log->truncation, "a second truncation before the first is done");
  log->end = keep_until;
  log->last_epoch = -1;
  log->truncation = std::make_unique<Truncation>();
  log->truncation->keep_until = keep_until;
  log->truncation->done = std::move(done);
  log->truncation->handle = log->handle;
  continue_truncation(log);
}

void EngineCore::continue_truncation(const LogPtr& log) {
  if (!log->truncation || log->truncation->is_started) return;
  if (log->appends_in_journal > 0 || !log->waiting.empty() || log->is_opening || log->is_replacing) return;
  if (!log->is_settled) return settle(log);
  log->truncation->is_started = true;
  if (has_failed() || log->has_failed) return end_truncation(log, Code::storage_failed);
  if (log->truncation->keep_until >= log->placed_end) return end_truncation(log, {});
  auto locating = std::make_shared<Locating>(*this, log, log->truncation->keep_until);
  locating->start(locating->run());
}

// The journal first: until it knows, the segments hold what the last checkpoint says they hold.
void EngineCore::truncate_at(const LogPtr& log, Offset base, uint64_t position, FilePtr file) {
  JournalEntry entry = entry_of(log, FrameKind::truncate);
  entry.offset = log->truncation->keep_until;
  entry.segment_base = base;
  entry.position = position;
  const Offset keep_until = entry.offset;
  entry.done = [this, log, base, position, keep_until, file = std::move(file)](Status status) mutable {
    if (!status.ok()) return end_truncation(log, status);
    std::vector<DiskStep> steps;
    // An index file of what was there must not pass for one of what comes.
    steps.push_back(DiskStep::remove(log->index_path_of(*log->find(base))));
    steps.back().required = false;
    steps.push_back(DiskStep::truncate(file, position));
    if (!switches_.unsafe_skip_sync) steps.push_back(DiskStep::sync(std::move(file)));
    const Offset end = log->end;
    const size_t steps_before = steps.size();
    for (Segment& segment : log->rewind_to(base, position, keep_until)) {
      close_file(segment);
      for (std::string path : {log->path_of(segment), log->index_path_of(segment)}) {
        steps.push_back(DiskStep::remove(std::move(path)));
        steps.back().required = false;
      }
    }
    if (steps.size() > steps_before && !switches_.unsafe_skip_sync) steps.push_back(DiskStep::sync_directory(log->folder()));
    log->end = std::max(end, keep_until);
    log->durable = keep_until;
    log->durable_base = base;
    log->durable_position = position;
    log->durable_epoch = -1;
    log->checkpointed_base = std::min(log->checkpointed_base, base);
    ++log->truncations;
    if (log->state_as_of > keep_until) {
      log->replica_state = {};
      log->state_as_of = log->start;
    }
    cut_segments(log, std::move(steps));
  };
  journal_.submit(std::move(entry));
}

void EngineCore::cut_segments(const LogPtr& log, std::vector<DiskStep> steps) {
  ++background_;
  std::vector<bool> required;
  for (const DiskStep& step : steps) required.push_back(step.required);
  core_.disk().run(std::move(steps), [this, log, required = std::move(required)](std::vector<Status> statuses) {
    --background_;
    Status failed;
    for (size_t i = 0; i < statuses.size(); ++i) {
      if (required[i] && !statuses[i].ok()) failed = Code::storage_failed;
    }
    if (!failed.ok()) journal_.fail();
    end_truncation(log, failed);
    finish_close_if_idle();
  });
}

void EngineCore::end_truncation(const LogPtr& log, const Status& status) {
  std::unique_ptr<Truncation> ended = std::move(log->truncation);
  std::vector<AskedAppend> asked = std::exchange(log->asked, {});
  if (!status.ok()) {
    log->end = log->placed_end;
    log->last_epoch = log->durable_epoch;
  } else {
    log->last_epoch = asked.empty() ? log->durable_epoch : BatchView(asked.back().batches.back()).leader_epoch();
    log->end = asked.empty() ? log->placed_end : log->end;
  }
  if (ended->done && ended->handle == log->handle) ended->done(status);
  for (AskedAppend& append : asked) {
    if (status.ok() && !has_failed() && BatchView(append.batches.front()).base_offset() == log->placed_end) {
      place(log, std::move(append.batches), append.is_behind, append.handle, std::move(append.done));
    } else if (append.handle == log->handle) {
      append.done(status.ok() ? Status(Code::storage_failed) : status);
    }
  }
}

// What was placed with a refused entry and behind it never was.
void EngineCore::rewind(const LogPtr& log, const JournalEntry& entry) {
  log->serial_rewound = log->serial_last;
  // Their files are empty and stay: the next start removes them, and one of the same name may be wanted at once.
  for (Segment& segment : log->rewind_to(entry.segment_base, entry.position, entry.offset)) close_file(segment);
}

}  // namespace robustmq::storage::segment
