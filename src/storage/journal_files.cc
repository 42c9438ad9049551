// The journal's files: making, choosing, using again, and reading them all at start.
#include <algorithm>
#include <charconv>
#include <utility>

#include "storage/activity.h"
#include "storage/journal.h"

namespace robustmq::storage {

using runtime::DiskStep;
using runtime::FilePtr;

namespace {

constexpr std::string_view kFolder = "journal";
constexpr std::string_view kEnding = ".jnl";

std::string file_path(uint32_t number) {
  std::string digits = std::to_string(number);
  if (digits.size() < 8) digits.insert(0, 8 - digits.size(), '0');
  return std::string(kFolder) + "/" + digits + std::string(kEnding);
}

std::optional<uint32_t> number_of(std::string_view name) {
  if (name.size() <= kEnding.size() || !name.ends_with(kEnding)) return std::nullopt;
  name.remove_suffix(kEnding.size());
  uint32_t number = 0;
  auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc() || end != name.data() + name.size() || number == UINT32_MAX) return std::nullopt;
  return number;
}

}  // namespace

uint64_t Journal::live_bytes() const {
  uint64_t bytes = 0;
  for (const auto& file : files_) {
    if (file->use == Use::full) bytes += file->header.file_bytes;
    if (file->use == Use::current) bytes += file->position;
  }
  return bytes;
}

Journal::JournalFile* Journal::free_file() const {
  for (const auto& file : files_) {
    if (file->use == Use::free) return file.get();
  }
  return nullptr;
}

bool Journal::has_room() const {
  if (!current_) return false;
  const uint64_t end = current_->header.file_bytes;
  const bool may_fill = journal_frame_makes_space(queue_.front().kind) || free_file();
  return current_->position + room_for(queue_.front()) <= (may_fill ? end : end - journal_reserve_bytes(end));
}

bool Journal::find_room() {
  if (has_room()) return true;
  if (JournalFile* file = free_file()) {
    use_file(*file);
    return true;
  }
  if (files_.size() < static_cast<size_t>(options_.journal_files_max)) {
    make_file();
  } else {
    metrics_.stalls_total += 1;
    sink_.on_checkpoint_wanted();
  }
  return false;
}

void Journal::use_file(JournalFile& file) {
  const bool was_full = current_ != nullptr;
  if (current_) current_->use = Use::full;
  if (file.was_used) metrics_.files_recycled_total += 1;
  file.use = Use::current;
  file.was_used = true;
  file.header.file_epoch = file_epoch_next_++;
  file.header.salt = static_cast<uint32_t>(core_.random());
  file.header.first_sequence = sequence_next_;
  file.header.file_bytes = static_cast<uint64_t>(options_.journal_file_bytes);
  file.position = kJournalHeaderBytes;
  file.last_sequence = sequence_next_ - 1;
  current_ = &file;
  header_is_due_ = true;
  if (was_full) sink_.on_checkpoint_wanted();
}

// Its blocks are reserved and its name is durable before its first use.
void Journal::make_file() {
  if (is_making_file_) return;
  is_making_file_ = true;
  auto made = std::make_unique<JournalFile>();
  made->path = file_path(file_number_next_++);
  std::string path = made->path;
  core_.disk().open(path, {.create = true}, [this, made = std::move(made)](Result<FilePtr> file) mutable {
    if (!file.ok()) return on_file_made(std::move(made), {Status(file.error())});
    made->file = file.take();
    std::vector<DiskStep> steps;
    steps.push_back(DiskStep::allocate(made->file, static_cast<uint64_t>(options_.journal_file_bytes)));
    if (!unsafe_skip_sync_) {
      steps.push_back(DiskStep::sync(made->file));
      steps.push_back(DiskStep::sync_directory(std::string(kFolder)));
    }
    core_.disk().run(std::move(steps), [this, made = std::move(made)](std::vector<Status> statuses) mutable {
      on_file_made(std::move(made), statuses);
    });
  });
}

void Journal::on_file_made(std::unique_ptr<JournalFile> file, const std::vector<Status>& statuses) {
  is_making_file_ = false;
  for (const Status& status : statuses) {
    if (status.ok()) continue;
    if (file->file) {
      core_.disk().run({DiskStep::truncate(file->file, 0), DiskStep::remove(file->path)}, [](std::vector<Status>) {});
    }
    if (status.code() != Code::storage_full) return fail();
    sink_.on_checkpoint_wanted();
    refuse_waiting();
    return;
  }
  metrics_.files_created_total += 1;
  files_.push_back(std::move(file));
  core_.defer(*this);
}

// No file can be made. What makes space may use the reserve; the rest is refused.
void Journal::refuse_waiting() {
  std::vector<JournalEntry> refused;
  uint64_t position = current_ ? current_->position : UINT64_MAX / 2;
  for (auto at = queue_.begin(); at != queue_.end();) {
    const uint64_t room = room_for(*at);
    if (journal_frame_makes_space(at->kind) && current_ && position + room <= current_->header.file_bytes) {
      position += room;
      ++at;
      continue;
    }
    refused.push_back(std::move(*at));
    at = queue_.erase(at);
  }
  for (JournalEntry& entry : refused) answer(entry, Code::storage_full);
  if (!queue_.empty()) core_.defer(*this);
}

void Journal::release(uint64_t sequence) {
  for (const auto& file : files_) {
    if (file->use == Use::full && file->last_sequence <= sequence) file->use = Use::free;
  }
  core_.defer(*this);
}

void Journal::refuse_stalled() {
  if (is_started_ && !round_is_under_way_ && !is_making_file_ && !queue_.empty() && !has_room() && !free_file()) refuse_waiting();
}

void Journal::start(uint64_t file_epoch_last, uint64_t sequence_last, bool is_covered) {
  for (const auto& file : files_) {
    if (is_covered || !file->was_used) continue;
    file->use = Use::full;
    file->last_sequence = sequence_last;
  }
  file_epoch_next_ = file_epoch_last + 1;
  sequence_next_ = sequence_last + 1;
  is_started_ = true;
  // Files of another size than the option's are not used again.
  for (const auto& file : std::exchange(unfit_, {})) {
    if (!is_covered) break;
    core_.disk().run({DiskStep::remove(file->path)}, [](std::vector<Status>) {});
  }
  core_.defer(*this);
}

// Reads every file's header, then the frames of the files that are needed.
class Journal::Loading final : public Activity {
 public:
  Loading(Journal& journal, uint64_t sequence_min, Callback<void(Result<JournalContents>)> done)
      : journal_(journal), sequence_min_(sequence_min), done_(std::move(done)) {}

  runtime::Task<> run() {
    Status read = co_await read_all();
    if (!read.ok()) {
      done_(read.error());
      co_return;
    }
    std::sort(contents_.frames.begin(), contents_.frames.end(),
              [](const Frame& a, const Frame& b) { return a.header.sequence < b.header.sequence; });
    done_(std::move(contents_));
  }

 private:
  struct Seen {
    std::unique_ptr<JournalFile> file;
    uint64_t size = 0;
    bool has_header = false;
  };
  using Statuses = std::vector<Status>;

  runtime::Disk& disk() { return journal_.core_.disk(); }

  runtime::Task<Status> read_all() {
    const std::string folder(kFolder);
    // A process that ended may have left the name of a new file unsynced.
    std::vector<DiskStep> steps;
    steps.push_back(DiskStep::make_directory(folder));
    if (!journal_.unsafe_skip_sync_) {
      steps.push_back(DiskStep::sync_directory("."));
      steps.push_back(DiskStep::sync_directory(folder));
    }
    Statuses made = co_await wait<Statuses>([&](auto done) { disk().run(std::move(steps), std::move(done)); });
    for (const Status& status : made) {
      if (!status.ok()) co_return status;
    }
    using Entries = std::vector<runtime::FileEntry>;
    Result<Entries> entries = co_await wait<Result<Entries>>([&](auto done) { disk().list(folder, std::move(done)); });
    if (!entries.ok()) co_return entries.error();
    for (const runtime::FileEntry& entry : *entries) {
      const std::optional<uint32_t> number = number_of(entry.name);
      if (!number || entry.is_directory) continue;
      journal_.file_number_next_ = std::max(journal_.file_number_next_, *number + 1);
      Status seen = co_await read_header(folder + "/" + entry.name, entry.size);
      if (!seen.ok()) co_return seen;
    }
    std::sort(seen_.begin(), seen_.end(),
              [](const Seen& a, const Seen& b) { return a.file->header.file_epoch < b.file->header.file_epoch; });
    for (size_t i = 0; i < seen_.size(); ++i) {
      // The next file's first sequence says where this one's end.
      const bool is_passed = i + 1 < seen_.size() && seen_[i + 1].file->header.first_sequence <= sequence_min_;
      if (!seen_[i].has_header || is_passed) continue;
      Status read = co_await read_frames(seen_[i]);
      if (!read.ok()) co_return read;
    }
    for (Seen& seen : seen_) {
      const bool fits = seen.size == static_cast<uint64_t>(journal_.options_.journal_file_bytes);
      (fits ? journal_.files_ : journal_.unfit_).push_back(std::move(seen.file));
    }
    co_return Status();
  }

  runtime::Task<Status> read_header(std::string path, uint64_t size) {
    Seen seen;
    seen.file = std::make_unique<JournalFile>();
    seen.file->path = path;
    seen.size = size;
    Result<FilePtr> file = co_await wait<Result<FilePtr>>([&](auto done) { disk().open(path, {}, std::move(done)); });
    if (!file.ok()) co_return file.error();
    seen.file->file = file.take();
    Result<Bytes> start =
        co_await wait<Result<Bytes>>([&](auto done) { disk().read(seen.file->file, 0, kJournalHeaderBytes, std::move(done)); });
    if (!start.ok()) co_return start.error();
    if (std::optional<JournalFileHeader> header = decode_journal_header(*start)) {
      seen.file->header = *header;
      seen.has_header = true;
      seen.file->was_used = true;
      contents_.file_epoch_last = std::max(contents_.file_epoch_last, header->file_epoch);
      if (header->first_sequence > 0) contents_.sequence_last = std::max(contents_.sequence_last, header->first_sequence - 1);
    }
    seen_.push_back(std::move(seen));
    co_return Status();
  }

  runtime::Task<Status> read_frames(Seen& seen) {
    Result<Bytes> bytes = co_await wait<Result<Bytes>>(
        [&](auto done) { disk().read(seen.file->file, 0, static_cast<size_t>(seen.size), std::move(done)); });
    if (!bytes.ok()) co_return bytes.error();
    FrameScanner scanner(seen.file->header, bytes.take());
    Frame frame;
    while (scanner.next(frame)) {
      contents_.sequence_last = std::max(contents_.sequence_last, frame.header.sequence);
      if (frame.header.sequence < sequence_min_) continue;
      frame.file = seen.file->path;
      contents_.frames.push_back(std::move(frame));
    }
    if (scanner.damaged_bytes() > 0) {
      contents_.report += seen.file->path + ": " + std::to_string(scanner.damaged_bytes()) + " damaged bytes between frames\n";
    }
    co_return Status();
  }

  Journal& journal_;
  uint64_t sequence_min_;
  Callback<void(Result<JournalContents>)> done_;
  JournalContents contents_;
  std::vector<Seen> seen_;
};

void Journal::load(uint64_t sequence_min, Callback<void(Result<JournalContents>)> done) {
  auto loading = std::make_shared<Loading>(*this, sequence_min, std::move(done));
  loading->start(loading->run());
}

}  // namespace robustmq::storage
