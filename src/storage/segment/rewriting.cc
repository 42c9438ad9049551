// Rewriting segments: the file, the frame, and what follows in memory.
#include "storage/segment/rewriting.h"

#include <algorithm>
#include <utility>

#include "base/batch.h"
#include "base/check.h"
#include "base/wire.h"

namespace robustmq::storage::segment {

using runtime::DiskStep;
using runtime::FilePtr;

Bytes encode_rewrite(const RewriteFacts& facts) {
  Buffer buffer;
  wire::put_fixed(facts.generation, 4, buffer);
  wire::put_fixed(static_cast<uint64_t>(facts.max_timestamp), 8, buffer);
  return buffer.take();
}

std::optional<RewriteFacts> decode_rewrite(ByteSpan payload) {
  wire::Reader reader(payload);
  RewriteFacts facts;
  facts.generation = static_cast<uint32_t>(reader.fixed(4));
  facts.max_timestamp = static_cast<int64_t>(reader.fixed(8));
  if (reader.failed() || facts.generation == 0) return std::nullopt;
  return facts;
}

// One rewrite. Held by its door and by the completion it waits for.
class EngineCore::Rewriting final : public std::enable_shared_from_this<EngineCore::Rewriting> {
 public:
  Rewriting(EngineCore& engine, LogPtr log, Offset from, Offset until)
      : engine_(engine),
        log_(std::move(log)),
        leftovers_(engine.leftovers_),
        handle_(log_->handle),
        rewrites_(log_->rewrites),
        truncations_(log_->truncations),
        until_(until) {
    made_.base = made_.end = from;
    made_.generation = ++log_->generation_last;
    made_.index = std::make_unique<SegmentIndex>(from, 0, engine.index_interval());
    path_new_ = log_->folder() + "/" + file_name_of({SegmentFile::Kind::unfinished, from, made_.generation});
  }
  ~Rewriting() {
    if (is_over_) return;
    leftovers_->push_back(path_new_);
    leftovers_->push_back(log_->path_of(made_));
  }

  void open(Callback<void(Status)> done) {
    ++engine_.background_;
    engine_.core_.disk().open(path_new_, {.create = true},
                              [self = shared_from_this(), done = std::move(done)](Result<FilePtr> file) mutable {
                                if (file.ok()) self->file_ = *file;
                                self->answer(done, file.ok() ? Status() : Status(file.error()));
                                self->engine_.end_background();
                              });
  }

  void add(std::vector<Bytes> batches, Callback<void(Status)> done) {
    if (engine_.is_closing_) return done(Code::shutting_down);
    uint64_t bytes = 0;
    for (const Bytes& batch : batches) bytes += batch.size();
    if (made_.size_bytes + bytes > kSegmentBytesMax) return done(Code::too_large);
    const uint64_t position = made_.size_bytes;
    for (const Bytes& batch : batches) {
      const BatchView view(batch);
      ROBUSTMQ_CHECK(view.base_offset() == made_.end && view.leader_epoch() >= last_epoch_ && view.next_offset() <= until_,
                     "a rewrite does not continue the chain");
      made_.index->add(view.base_offset(), batch.size(), view.max_timestamp(), true);
      made_.max_timestamp = std::max(made_.max_timestamp, view.max_timestamp());
      made_.end = view.next_offset();
      made_.size_bytes += batch.size();
      last_epoch_ = view.leader_epoch();
    }
    std::vector<DiskStep> steps;
    steps.push_back(DiskStep::write(file_, position, std::move(batches)));
    run(std::move(steps), std::move(done));
  }

  void commit(Callback<void(Status)> done) {
    ROBUSTMQ_CHECK(made_.end == until_, "a rewrite ends before its parts");
    if (Status status = check(); !status.ok()) return done(std::move(status));
    std::vector<DiskStep> steps;
    steps.push_back(DiskStep::truncate(file_, made_.size_bytes));
    if (!engine_.unsafe_skip_sync()) steps.push_back(DiskStep::sync(file_));
    steps.push_back(DiskStep::rename(path_new_, log_->path_of(made_)));
    if (!engine_.unsafe_skip_sync()) steps.push_back(DiskStep::sync_directory(log_->folder()));
    run(std::move(steps), [self = shared_from_this(), done = std::move(done)](Status status) mutable {
      if (status.ok()) status = self->check();
      if (!status.ok()) return self->answer(done, std::move(status));
      self->record(std::move(done));
    });
  }

  // Nobody waits for it any more.
  void let_go() { is_wanted_ = false; }

 private:
  void answer(Callback<void(Status)>& done, Status status) {
    if (is_wanted_ && log_->handle == handle_) done(std::move(status));
  }

  // The parts are as they were, and what comes next may begin.
  Status check() const {
    if (engine_.is_closing_) return Code::shutting_down;
    if (engine_.has_failed() || log_->has_failed) return Code::storage_failed;
    const bool is_same = log_->rewrites == rewrites_ && log_->truncations == truncations_ && !log_->truncation &&
                         !log_->is_removed && log_->find(made_.base);
    return is_same && log_->handle == handle_ ? Status() : Status(Code::not_attempted);
  }

  void run(std::vector<DiskStep> steps, Callback<void(Status)> done) {
    ++engine_.background_;
    engine_.core_.disk().run(
        std::move(steps), [self = shared_from_this(), done = std::move(done)](std::vector<Status> statuses) mutable {
          const auto bad = std::find_if(statuses.begin(), statuses.end(), [](const Status& s) { return !s.ok(); });
          self->answer(done, bad == statuses.end() ? Status() : *bad);
          self->engine_.end_background();
        });
  }

  void record(Callback<void(Status)> done) {
    log_->is_replacing = true;
    JournalEntry entry = engine_.entry_of(log_, FrameKind::rewrite);
    entry.offset = made_.base;
    entry.segment_base = made_.end;
    entry.position = made_.size_bytes;
    entry.payload.push_back(encode_rewrite({made_.generation, made_.max_timestamp}));
    auto kept = std::make_unique<Callback<void(Status)>>(std::move(done));
    entry.done = [self = shared_from_this(), kept = std::move(kept)](Status status) {
      self->log_->is_replacing = false;
      if (status.ok()) self->take_place();
      self->engine_.drop_below_start(self->log_);
      self->engine_.continue_truncation(self->log_);
      self->answer(*kept, std::move(status));
    };
    engine_.journal_.submit(std::move(entry));
  }

  void take_place() {
    is_over_ = true;
    const Offset base = made_.base;
    made_.begun_ms = engine_.core_.wall_now().ms;
    made_.is_name_durable = true;
    engine_.metrics_.rewrites_total += 1;
    engine_.metrics_.rewrite_kept_bytes_total += made_.size_bytes;
    ++log_->rewrites;
    std::vector<std::string> paths;
    for (Segment& old : log_->replace(base, until_, std::move(made_))) {
      engine_.metrics_.rewrite_read_bytes_total += old.size_bytes;
      paths.push_back(log_->path_of(old));
      paths.push_back(log_->index_path_of(old));
      engine_.close_file(old);
    }
    engine_.delete_files(std::move(paths), {});
    Segment* segment = log_->find(base);
    if (!segment) return;
    engine_.keep_open(log_, base, std::move(file_));
    engine_.count_index(log_, *segment);
    if (segment->index) engine_.write_index(log_, *segment);
  }

  EngineCore& engine_;
  LogPtr log_;
  std::shared_ptr<std::vector<std::string>> leftovers_;
  uint32_t handle_;
  uint32_t rewrites_;
  uint32_t truncations_;
  Offset until_;
  Segment made_;
  LeaderEpoch last_epoch_ = -1;
  std::string path_new_;
  FilePtr file_;
  bool is_wanted_ = true;
  bool is_over_ = false;  // the new segment is in its place
};

class EngineCore::RewriteDoor final : public Rewrite {
 public:
  explicit RewriteDoor(std::shared_ptr<Rewriting> rewriting) : rewriting_(std::move(rewriting)) {}
  ~RewriteDoor() override { rewriting_->let_go(); }
  void add(std::vector<Bytes> batches, Callback<void(Status)> done) override {
    rewriting_->add(std::move(batches), std::move(done));
  }
  void commit(Callback<void(Status)> done) override { rewriting_->commit(std::move(done)); }

 private:
  std::shared_ptr<Rewriting> rewriting_;
};

void EngineCore::list_parts(const LogPtr& log, Callback<void(std::vector<SealedPart>)> done) {
  delete_leftovers();
  std::vector<SealedPart> parts;
  if (is_closing_ || has_failed() || log->has_failed || log->truncation) return done(std::move(parts));
  // First what an earlier life left goes.
  if (!log->is_settled) {
    if (!log->is_opening) settle(log);
    return done(std::move(parts));
  }
  const Offset before = std::min(log->durable_base, log->checkpointed_base);
  for (size_t i = 0; i + 1 < log->segments.size() && log->segments[i].base < before; ++i) {
    const Segment& segment = log->segments[i];
    parts.push_back({segment.base, segment.end, segment.size_bytes, segment.max_timestamp});
  }
  done(std::move(parts));
}

void EngineCore::rewrite(const LogPtr& log, Offset from, Offset until, Callback<void(Result<std::unique_ptr<Rewrite>>)> done) {
  if (is_closing_) return done(Code::shutting_down);
  if (has_failed() || log->has_failed) return done(Code::storage_failed);
  const Segment* last = log->segments.empty() || from >= until ? nullptr : &log->segment_at(until - 1);
  const bool is_there = last && last->end == until && log->find(from) && last != &log->active();
  if (!is_there || last->base >= std::min(log->durable_base, log->checkpointed_base) || log->truncation || !log->is_settled)
    return done(Code::not_attempted);
  if (until - from > kSegmentOffsetsMax) return done(Code::too_large);
  auto rewriting = std::make_shared<Rewriting>(*this, log, from, until);
  Rewriting& opening = *rewriting;
  opening.open([rewriting = std::move(rewriting), done = std::move(done)](Status status) mutable {
    if (!status.ok()) return done(status.error());
    done(std::unique_ptr<Rewrite>(std::make_unique<RewriteDoor>(std::move(rewriting))));
  });
}

// After a failure of the journal nobody knows which of them it has.
void EngineCore::delete_leftovers() {
  if (leftovers_->empty() || is_closing_ || has_failed()) return;
  delete_files(std::exchange(*leftovers_, {}), {});
}

}  // namespace robustmq::storage::segment
