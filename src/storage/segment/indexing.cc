// Index files: written when a segment is sealed and all of it is durable, when it had to be read for its index, and at a clean
// end for a long active one.
#include <utility>

#include "storage/segment/engine_core.h"
#include "storage/segment/index_file.h"

namespace robustmq::storage::segment {

using runtime::DiskStep;
using runtime::FilePtr;

namespace {
// An active segment below it is soon read; so a clean end of many small logs writes no files.
constexpr uint64_t kActiveIntervalsMin = 256;
}  // namespace

void EngineCore::write_index(const LogPtr& log, Segment& segment) {
  if (!segment.index || segment.index->covered_from() != 0 || !wants_index_file(segment.size_bytes)) return;
  if (segment.file_covers == segment.size_bytes) return;
  segment.file_covers = segment.size_bytes;
  segment.is_index_file_wrong = false;
  Bytes encoded = encode_index(*segment.index, segment.base, segment.end);
  const Offset base = segment.base;
  ++background_;
  // Nobody waits for it, and a failure costs only a longer first read.
  core_.disk().open(
      log->index_path_of(segment), {.create = true},
      [this, log, base, generation = segment.generation, encoded = std::move(encoded)](Result<FilePtr> file) mutable {
        const Segment* now = log->find(base);
        if (!file.ok() || log->is_removed || !now || now->generation != generation) {
          --background_;
          return finish_close_if_idle();
        }
        std::vector<DiskStep> steps;
        const uint64_t size = encoded.size();
        steps.push_back(DiskStep::write(*file, 0, {std::move(encoded)}));
        steps.push_back(DiskStep::truncate(file.take(), size));
        core_.disk().run(std::move(steps), [this](std::vector<Status>) {
          --background_;
          finish_close_if_idle();
        });
      });
}

void EngineCore::write_indexes_of_sealed(const LogPtr& log, Offset from, Offset until) {
  for (Offset base = from; base < until;) {
    Segment* segment = log->find(base);
    if (!segment || segment->end <= base) return;
    write_index(log, *segment);
    base = segment->end;
  }
}

void EngineCore::write_indexes_of_active() {
  for (auto& [id, log] : logs_) {
    if (log->is_removed || log->has_failed || log->truncation || log->segments.empty()) continue;
    Segment& active = log->active();
    if (active.end != log->durable || active.size_bytes < kActiveIntervalsMin * index_interval()) continue;
    write_index(log, active);
  }
}

// What the file said is forgotten; the segment is read for its index instead.
void EngineCore::distrust_index_file(const LogPtr& log, Segment& segment) {
  metrics_.index_files_wrong_total += 1;
  segment.is_index_file_wrong = true;
  segment.file_covers = 0;
  segment.index->drop_front(std::exchange(segment.bytes_by_file, 0));
  if (segment.index->block_count() == 0 && &segment != &log->active()) segment.index.reset();
}

}  // namespace robustmq::storage::segment
