// What segments hold in memory and of descriptors: open files, closed when least recently used, and indexes, dropped when oldest.
#include <utility>

#include "storage/activity.h"
#include "storage/segment/engine_core.h"

namespace robustmq::storage::segment {

using runtime::DiskStep;
using runtime::FilePtr;

FilePtr EngineCore::file_if_open(Segment& segment) {
  if (!segment.open) return nullptr;
  segment.open->unlink();
  open_files_.push_back(*segment.open);
  return segment.open->file;
}

void EngineCore::open_segment(const LogPtr& log, Offset base, bool create, Callback<void(Result<FilePtr>)> done) {
  if (Segment* segment = log->find(base)) {
    if (FilePtr file = file_if_open(*segment)) return done(std::move(file));
  }
  ++background_;
  auto kept = std::make_unique<Callback<void(Result<FilePtr>)>>(std::move(done));
  auto open = [this, log, base, create, kept = std::move(kept)]() mutable {
    const Segment* segment = log->find(base);
    const uint32_t generation = segment ? segment->generation : 0;
    std::string path = log->folder() + "/" + segment_file_name(base, generation);
    core_.disk().open(std::move(path), {.create = create},
                      [this, log, base, generation, create, kept = std::move(kept)](Result<FilePtr> file) {
                        --background_;
                        const Segment* now = log->find(base);
                        // Rewritten meanwhile.
                        if (now && now->generation != generation) return open_segment(log, base, create, std::move(*kept));
                        if (file.ok()) keep_open(log, base, *file);
                        (*kept)(std::move(file));
                        finish_close_if_idle();
                      });
  };
  if (!create || log->has_folder) return open();
  core_.disk().run({DiskStep::make_directory(log->folder())},
                   [log, open = std::move(open)](std::vector<Status> statuses) mutable {
                     if (statuses[0].ok()) log->has_folder = true;
                     open();  // says by itself when there is no folder
                   });
}

void EngineCore::keep_open(const LogPtr& log, Offset base, FilePtr file) {
  Segment* segment = log->find(base);
  if (!segment || segment->open) return;
  // A file that someone else holds stays open beyond the limit; a few are tried.
  for (int tries = 0; open_file_count_ >= static_cast<size_t>(options_.open_files_max) && !open_files_.empty() && tries < 8;
       ++tries) {
    OpenSegment& oldest = open_files_.pop_front();
    if (oldest.file.use_count() > 1) {
      open_files_.push_back(oldest);
      continue;
    }
    --open_file_count_;
    oldest.log->find(oldest.base)->open.reset();
  }
  segment->open = std::make_unique<OpenSegment>();
  segment->open->log = log.get();
  segment->open->base = base;
  segment->open->file = std::move(file);
  open_files_.push_back(*segment->open);
  ++open_file_count_;
}

// Before segments leave a log, so that the count stays right.
void EngineCore::close_file(Segment& segment) {
  if (!segment.open) return;
  --open_file_count_;
  segment.open.reset();
}

void EngineCore::count_index(const LogPtr& log, const Segment& segment) {
  indexes_.push_back({log, segment.base, segment.index->memory_bytes()});
  index_bytes_ += indexes_.back().bytes;
  while (index_bytes_ > static_cast<size_t>(options_.index_bytes_max) && indexes_.size() > 1) {
    const CountedIndex oldest = std::move(indexes_.front());
    indexes_.pop_front();
    index_bytes_ -= oldest.bytes;
    LogPtr owner = oldest.log.lock();
    if (!owner || (owner == log && oldest.base == segment.base)) continue;  // counted anew just now
    Segment* dropped = owner->find(oldest.base);
    if (!dropped || !dropped->index) continue;
    // Not all of it may be on the disk yet, and a truncation may have made it the active one again.
    if (dropped->end <= owner->durable && dropped != &owner->active()) {
      dropped->index.reset();
    } else {
      index_bytes_ += oldest.bytes;
      indexes_.push_back(oldest);
      break;
    }
  }
}

}  // namespace robustmq::storage::segment
