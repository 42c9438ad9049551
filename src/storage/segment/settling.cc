// Settling: before the first append to a log that the start did not walk, what an append that was never acknowledged left behind
// the log's end in an earlier life is cut off: else a later walk could take it for a continuation. What a rewrite left goes too.
#include <utility>

#include "storage/segment/access.h"

namespace robustmq::storage::segment {

using runtime::DiskStep;
using runtime::FileEntry;
using runtime::FilePtr;
using runtime::Task;

class EngineCore::Settling final : public Access {
 public:
  Settling(EngineCore& engine, LogPtr log) : Access(engine, std::move(log)) {}

  Task<> run() {
    Status status = co_await settle();
    log_->is_opening = false;
    log_->is_settled = status.ok();
    if (status.ok()) {
      engine_.submit_waiting(log_);
      co_return;
    }
    log_->has_failed = true;
    engine_.refuse_waiting(log_, Code::storage_failed);
    engine_.continue_truncation(log_);
  }

 private:
  Task<Status> settle() {
    using Entries = std::vector<FileEntry>;
    const std::string folder = log_->folder();
    Result<Entries> entries =
        co_await wait<Result<Entries>>([&](auto done) { engine_.core_.disk().list(folder, std::move(done)); });
    if (!entries.ok() && entries.code() == Code::not_found) {
      log_->has_folder = false;
      co_return Status();
    }
    if (!entries.ok()) co_return entries.error();
    std::vector<DiskStep> steps;
    bool removes = false;
    for (const FileEntry& entry : *entries) {
      const std::optional<SegmentFile> found = parse_file_name(entry.name);
      if (!found) continue;
      const Offset base = found->base;
      const Segment* segment = log_->find(base);
      const bool is_current = segment && segment->generation == found->generation;
      if (found->kind != SegmentFile::Kind::segment) {
        if (found->kind == SegmentFile::Kind::index && is_current) continue;
        steps.push_back(DiskStep::remove(folder + "/" + entry.name));
        steps.back().required = false;
        continue;
      }
      const bool is_active = is_current && base == log_->durable_base && log_->durable_position > 0;
      if (is_active && entry.size > log_->durable_position) {
        Result<FilePtr> file = co_await open(base);
        if (!file.ok()) co_return file.error();
        steps.push_back(DiskStep::truncate(*file, log_->durable_position));
        if (!engine_.unsafe_skip_sync()) steps.push_back(DiskStep::sync(file.take()));
        engine_.metrics_.cut_bytes_total += entry.size - log_->durable_position;
      } else if (!is_active && (base >= log_->durable_base || !is_current)) {
        steps.push_back(DiskStep::remove(folder + "/" + entry.name));
        removes = true;
        engine_.metrics_.cut_bytes_total += entry.size;
      }
    }
    if (removes && !engine_.unsafe_skip_sync()) steps.push_back(DiskStep::sync_directory(folder));
    if (steps.empty()) co_return Status();
    std::vector<Status> statuses =
        co_await wait<std::vector<Status>>([&](auto done) { engine_.core_.disk().run(std::move(steps), std::move(done)); });
    for (const Status& status : statuses) {
      if (!status.ok() && status.code() != Code::not_found) co_return status;
    }
    co_return Status();
  }
};

void EngineCore::settle(const LogPtr& log) {
  log->is_opening = true;
  auto settling = std::make_shared<Settling>(*this, log);
  settling->start(settling->run());
}

}  // namespace robustmq::storage::segment
