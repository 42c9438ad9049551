// SimDisk: files in memory with a cached and a certain side, and front ends that bring completions. Pure.
#include "runtime/sim/disk.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace robustmq::runtime::sim {

class SimDisk::OpenFile final : public SimFile {
 public:
  OpenFile(std::string path, InodePtr inode) : path_(std::move(path)), inode_(std::move(inode)) {}
  const std::string& path() const override { return path_; }
  Bytes read_now(uint64_t position, size_t size) const override { return SimDisk::read(*inode_, position, size); }
  Inode& inode() const { return *inode_; }
  static Inode& inode_of(const FilePtr& file) { return static_cast<const OpenFile&>(*file).inode(); }

 private:
  std::string path_;
  InodePtr inode_;
};

// One core's Disk: runs and everything else are two queues, each in call order; one event a step.
class SimDisk::Front final : public Disk {
 public:
  Front(SimDisk& disk, SimCore& core) : disk_(disk), core_(core) { disk_.fronts_.push_back(this); }
  ~Front() override { std::erase(disk_.fronts_, this); }

  // At a crash: what waits for completions learns of it by their destruction, while what they point to is still there.
  void drop_all() {
    Queue reads = std::move(reads_);
    Queue runs = std::move(runs_);
    reads_.clear();
    runs_.clear();
  }

  void open(std::string path, OpenOptions options, Callback<void(Result<FilePtr>)> done) override {
    auto at = std::make_unique<std::pair<std::string, Callback<void(Result<FilePtr>)>>>(std::move(path), std::move(done));
    add([this, at = std::move(at), options] { at->second(disk_.open(at->first, options)); });
  }
  void read(FilePtr file, uint64_t position, size_t size, Callback<void(Result<Bytes>)> done) override {
    auto kept = std::make_unique<Callback<void(Result<Bytes>)>>(std::move(done));
    add([this, file = std::move(file), position, size, kept = std::move(kept)] {
      if (int32_t& errors = disk_.faults_.read_errors; errors != 0) {
        if (errors > 0) --errors;
        return (*kept)(Error{Code::storage_failed, "a read fails"});
      }
      (*kept)(SimDisk::read(OpenFile::inode_of(file), position, size));
    });
  }
  void size(FilePtr file, Callback<void(Result<uint64_t>)> done) override {
    auto kept = std::make_unique<Callback<void(Result<uint64_t>)>>(std::move(done));
    add([file = std::move(file), kept = std::move(kept)] { (*kept)(OpenFile::inode_of(file).size()); });
  }
  void list(std::string path, Callback<void(Result<std::vector<FileEntry>>)> done) override {
    using Done = Callback<void(Result<std::vector<FileEntry>>)>;
    auto at = std::make_unique<std::pair<std::string, Done>>(std::move(path), std::move(done));
    add([this, at = std::move(at)] { at->second(disk_.list(at->first)); });
  }
  void free_bytes(Callback<void(Result<uint64_t>)> done) override {
    auto kept = std::make_unique<Callback<void(Result<uint64_t>)>>(std::move(done));
    add([this, kept = std::move(kept)] {
      const uint64_t used = disk_.used_bytes();
      const uint64_t capacity = disk_.faults_.capacity_bytes;
      (*kept)(capacity > used ? capacity - used : 0);
    });
  }
  void run(std::vector<DiskStep> steps, Callback<void(std::vector<Status>)> done) override {
    Operation operation;
    operation.steps = std::move(steps);
    operation.done = std::move(done);
    push(runs_, std::move(operation));
  }

 private:
  struct Operation {
    Callback<void()> once;  // or the steps of a run
    std::vector<DiskStep> steps;
    std::vector<Status> statuses;
    Callback<void(std::vector<Status>)> done;
    bool ended = false;
  };
  using Queue = std::deque<Operation>;

  void add(Callback<void()> once) {
    Operation operation;
    operation.once = std::move(once);
    push(reads_, std::move(operation));
  }
  void push(Queue& queue, Operation operation) {
    queue.push_back(std::move(operation));
    if (queue.size() == 1) await_next(queue);
  }
  void await_next(Queue& queue) {
    const Operation& operation = queue.front();
    const size_t at = operation.statuses.size();
    const bool is_sync = at < operation.steps.size() && (operation.steps[at].kind == DiskStep::Kind::sync ||
                                                         operation.steps[at].kind == DiskStep::Kind::sync_directory ||
                                                         operation.steps[at].kind == DiskStep::Kind::sync_all);
    core_.run_after(disk_.delay_of(is_sync), [this, &queue] { advance(queue); });
  }
  void advance(Queue& queue) {
    Operation& operation = queue.front();
    if (!operation.once && operation.statuses.size() < operation.steps.size()) {
      const DiskStep& step = operation.steps[operation.statuses.size()];
      operation.statuses.push_back(disk_.run(step));
      if (!operation.statuses.back().ok() && step.required) operation.ended = true;
      while (operation.ended && operation.statuses.size() < operation.steps.size()) {
        operation.statuses.push_back(Code::shutting_down);
      }
      if (operation.statuses.size() < operation.steps.size()) return await_next(queue);
    }
    Operation finished = std::move(operation);
    queue.pop_front();
    if (!queue.empty()) await_next(queue);
    finished.once ? finished.once() : finished.done(std::move(finished.statuses));
  }

  SimDisk& disk_;
  SimCore& core_;
  Queue reads_;  // opens, reads, sizes, lists
  Queue runs_;
};

SimDisk::SimDisk(SimWorld&, SimRandom random) : random_(random) {}
SimDisk::~SimDisk() = default;

std::unique_ptr<Disk> SimDisk::attach(SimCore& core) { return std::make_unique<Front>(*this, core); }

Duration SimDisk::delay_of(bool is_sync) {
  auto ns = static_cast<int64_t>(random_.below(static_cast<uint64_t>(delays_.step_max.ns) + 1));
  if (is_sync) {
    ns += static_cast<int64_t>(
        random_.between(static_cast<uint64_t>(delays_.sync_min.ns), static_cast<uint64_t>(delays_.sync_max.ns)));
  }
  return Duration{ns} * faults_.slow_factor + faults_.stall;
}

std::string SimDisk::folder_of(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string() : std::string(path.substr(0, slash));
}

bool SimDisk::is_folder(std::string_view path) const {
  if (path.empty() || path == ".") return true;
  auto found = names_.find(path);
  return found != names_.end() && !found->second.inode;
}

void SimDisk::apply(Names& names, const NameChange& change) {
  if (!change.path_to.empty()) {
    auto from = names.find(change.path);
    if (from == names.end()) return;
    Entry entry = from->second;
    names.erase(from);
    names.insert_or_assign(change.path_to, std::move(entry));
  } else if (change.made) {
    names.insert_or_assign(change.path, *change.made);
  } else {
    names.erase(change.path);
  }
}

void SimDisk::change_name(NameChange change) {
  apply(names_, change);
  unsynced_names_[folder_of(change.path)].push_back(std::move(change));
}

Result<FilePtr> SimDisk::open(const std::string& path, OpenOptions options) {
  auto found = names_.find(path);
  if (found == names_.end()) {
    if (!options.create || !is_folder(folder_of(path))) return Error{Code::not_found, path};
    change_name({path, {}, Entry{std::make_shared<Inode>()}});
    found = names_.find(path);
  } else if (options.create && options.exclusive) {
    return Error{Code::already_exists, path};
  }
  if (!found->second.inode) return Error{Code::storage_failed, path + " is a folder"};
  return FilePtr(std::make_shared<OpenFile>(path, found->second.inode));
}

Bytes SimDisk::read(const Inode& inode, uint64_t position, size_t size) {
  if (position >= inode.size()) return {};
  size = static_cast<size_t>(std::min<uint64_t>(size, inode.size() - position));
  Buffer buffer(size);
  uint8_t* to = buffer.extend(size);
  const size_t stored = position < inode.cached.size() ? std::min<size_t>(size, inode.cached.size() - position) : 0;
  if (stored > 0) std::memcpy(to, inode.cached.data() + position, stored);
  std::memset(to + stored, 0, size - stored);
  return buffer.take();
}

uint64_t SimDisk::used_bytes() const {
  uint64_t used = 0;
  for (const auto& [path, entry] : names_) used += entry.inode ? entry.inode->size() : 0;
  return used;
}

bool SimDisk::has_room_for(uint64_t more) const {
  return faults_.capacity_bytes == UINT64_MAX || used_bytes() + more <= faults_.capacity_bytes;
}

void SimDisk::apply(std::vector<uint8_t>& bytes, const Write& write) {
  if (write.is_truncate) {
    if (bytes.size() > write.position) bytes.resize(write.position);
    return;
  }
  if (bytes.size() < write.position + write.bytes.size()) bytes.resize(write.position + write.bytes.size());
  std::memcpy(bytes.data() + write.position, write.bytes.data(), write.bytes.size());
}

Status SimDisk::write(Inode& inode, const DiskStep& step) {
  if (faults_.write_errors != 0) {
    if (faults_.write_errors > 0) --faults_.write_errors;
    return Error{Code::storage_failed, "write error"};
  }
  Buffer buffer;
  for (const Bytes& piece : step.pieces) buffer.append(piece);
  Write write{false, step.position, buffer.take()};
  const uint64_t end = write.position + write.bytes.size();
  const bool fits = end <= inode.size() || has_room_for(end - inode.size());
  // Without room a part of it may be there all the same.
  if (!fits) write.bytes = write.bytes.slice(0, random_.below(write.bytes.size()));
  while (!fits && write.position + write.bytes.size() > inode.size() && !write.bytes.empty() &&
         !has_room_for(write.position + write.bytes.size() - inode.size())) {
    write.bytes = write.bytes.slice(0, write.bytes.size() / 2);
  }
  if (!write.bytes.empty()) {
    apply(inode.cached, write);
    inode.unsynced.push_back(std::move(write));
  }
  return fits ? Status() : Status(Code::storage_full);
}

Status SimDisk::allocate(Inode& inode, uint64_t size) {
  if (size > inode.size() && !has_room_for(size - inode.size())) return Code::storage_full;
  inode.allocated = std::max(inode.allocated, size);
  return {};
}

Status SimDisk::sync(Inode& inode) {
  ++sync_count_;
  if (faults_.sync_errors != 0) {
    if (faults_.sync_errors > 0) --faults_.sync_errors;
    inode.unsynced.clear();  // still cached and taken for clean, but never certain
    return Error{Code::storage_failed, "sync error"};
  }
  for (const Write& write : inode.unsynced) apply(inode.certain, write);
  inode.unsynced.clear();
  inode.certain_allocated = inode.allocated;
  return {};
}

Status SimDisk::sync_directory(const std::string& path) {
  ++sync_count_;
  if (!is_folder(path)) return Error{Code::not_found, path};
  if (faults_.sync_errors != 0) {
    if (faults_.sync_errors > 0) --faults_.sync_errors;
    return Error{Code::storage_failed, "sync error"};
  }
  auto changes = unsynced_names_.find(path == "." ? std::string() : path);
  if (changes == unsynced_names_.end()) return {};
  for (const NameChange& change : changes->second) apply(certain_names_, change);
  unsynced_names_.erase(changes);
  return {};
}

Status SimDisk::sync_all() {
  Status status;
  for (auto& [path, entry] : names_) {
    if (!entry.inode) continue;
    if (const Status synced = sync(*entry.inode); !synced.ok()) status = synced;
  }
  while (status.ok() && !unsynced_names_.empty()) status = sync_directory(std::string(unsynced_names_.begin()->first));
  return status;
}

Status SimDisk::make_directory(const std::string& path) {
  for (size_t at = path.find('/');; at = path.find('/', at + 1)) {
    const std::string part = path.substr(0, at);
    if (!is_folder(part)) {
      if (names_.contains(part)) return Error{Code::already_exists, part};
      change_name({part, {}, Entry{}});
    }
    if (at == std::string::npos) return {};
  }
}

Status SimDisk::remove(const std::string& path) {
  auto found = names_.find(path);
  if (found == names_.end()) return Error{Code::not_found, path};
  if (!found->second.inode) {
    auto next = names_.upper_bound(path + "/");
    if (next != names_.end() && next->first.starts_with(path + "/")) return Error{Code::storage_failed, path + " is not empty"};
  }
  change_name({path, {}, std::nullopt});
  return {};
}

Status SimDisk::rename(const std::string& from, const std::string& to) {
  ROBUSTMQ_CHECK(folder_of(from) == folder_of(to), "the simulated disk renames within a folder");
  auto found = names_.find(from);
  if (found == names_.end() || !found->second.inode) return Error{Code::not_found, from};
  change_name({from, to, std::nullopt});
  return {};
}

Status SimDisk::run(const DiskStep& step) {
  ++step_count_;
  switch (step.kind) {
    case DiskStep::Kind::write:
      return write(OpenFile::inode_of(step.file), step);
    case DiskStep::Kind::sync:
      return sync(OpenFile::inode_of(step.file));
    case DiskStep::Kind::truncate: {
      Inode& inode = OpenFile::inode_of(step.file);
      Write write{true, step.position, {}};
      apply(inode.cached, write);
      inode.allocated = inode.size() < step.position || inode.allocated > step.position ? step.position : inode.allocated;
      inode.unsynced.push_back(std::move(write));
      return {};
    }
    case DiskStep::Kind::allocate:
      return allocate(OpenFile::inode_of(step.file), step.position);
    case DiskStep::Kind::rename:
      return rename(step.path, step.path_to);
    case DiskStep::Kind::remove:
      return remove(step.path);
    case DiskStep::Kind::sync_directory:
      return sync_directory(step.path);
    case DiskStep::Kind::make_directory:
      return make_directory(step.path);
    case DiskStep::Kind::sync_all:
      return sync_all();
  }
  return Code::internal;
}

Result<std::vector<FileEntry>> SimDisk::list(const std::string& path) const {
  if (!is_folder(path)) return Error{Code::not_found, path};
  const std::string prefix = path.empty() || path == "." ? std::string() : path + "/";
  std::vector<FileEntry> entries;
  for (auto at = names_.lower_bound(prefix); at != names_.end() && at->first.starts_with(prefix); ++at) {
    std::string name = at->first.substr(prefix.size());
    if (name.empty() || name.find('/') != std::string::npos) continue;
    entries.push_back({std::move(name), at->second.inode ? at->second.inode->size() : 0, !at->second.inode});
  }
  std::sort(entries.begin(), entries.end(), [](const FileEntry& a, const FileEntry& b) { return a.name < b.name; });
  return entries;
}

void SimDisk::cut_power(Inode& inode, uint32_t lost_per_million) {
  std::vector<uint8_t> kept = std::move(inode.certain);
  for (Write& write : inode.unsynced) {
    if (random_.chance(lost_per_million)) continue;
    const size_t size = write.bytes.size();
    if (write.is_truncate || size == 0 || random_.chance(600'000)) {
      apply(kept, write);
      continue;
    }
    // Torn: a run of it reached the disk, or all but a run.
    const size_t from = random_.chance(500'000) ? 0 : random_.below(size);
    const size_t to = random_.chance(500'000) ? size : random_.between(from, size);
    if (random_.chance(500'000)) {
      if (to > from) apply(kept, {false, write.position + from, write.bytes.slice(from, to - from)});
    } else {
      if (from > 0) apply(kept, {false, write.position, write.bytes.slice(0, from)});
      if (to < size) apply(kept, {false, write.position + to, write.bytes.slice(to)});
    }
  }
  inode.unsynced.clear();
  if (random_.chance(lost_per_million)) inode.allocated = inode.certain_allocated;
  inode.certain_allocated = inode.allocated;
  inode.cached = kept;
  inode.certain = std::move(kept);
}

void SimDisk::crash(CrashKind kind) {
  for (Front* front : fronts_) front->drop_all();
  if (kind == CrashKind::process) return;
  static constexpr uint32_t kLost[] = {0, 200'000, 500'000, 800'000, 1'000'000};
  const uint32_t lost_per_million = kLost[random_.below(std::size(kLost))];
  for (auto& [folder, changes] : unsynced_names_) {
    const size_t kept = random_.chance(lost_per_million) ? random_.below(changes.size() + 1) : changes.size();
    for (size_t i = 0; i < kept; ++i) apply(certain_names_, changes[i]);
  }
  unsynced_names_.clear();
  names_ = certain_names_;
  // What lies in a folder that is gone is gone too. Folders sort before what is in them.
  for (auto at = names_.begin(); at != names_.end();) at = is_folder(folder_of(at->first)) ? std::next(at) : names_.erase(at);
  certain_names_ = names_;
  for (auto& [path, entry] : names_) {
    if (entry.inode) cut_power(*entry.inode, lost_per_million);
  }
}

Result<Bytes> SimDisk::contents(std::string_view path) const {
  auto found = names_.find(path);
  if (found == names_.end() || !found->second.inode) return Error{Code::not_found, std::string(path)};
  return read(*found->second.inode, 0, found->second.inode->size());
}

std::vector<std::string> SimDisk::file_paths() const { return file_paths(""); }

std::vector<std::string> SimDisk::file_paths(std::string_view folder) const {
  const std::string prefix = folder.empty() ? std::string() : std::string(folder) + "/";
  std::vector<std::string> paths;
  for (const auto& [path, entry] : names_) {
    if (entry.inode && path.starts_with(prefix)) paths.push_back(path);
  }
  return paths;
}

void SimDisk::flip_bit(std::string_view path, uint64_t bit) {
  auto found = names_.find(path);
  ROBUSTMQ_CHECK(found != names_.end() && found->second.inode, "no such file");
  Inode& inode = *found->second.inode;
  for (std::vector<uint8_t>* bytes : {&inode.cached, &inode.certain}) {
    if (bit / 8 < bytes->size()) (*bytes)[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
  }
}

void SimDisk::replace(std::string_view path, Bytes contents) {
  for (size_t at = path.find('/'); at != std::string_view::npos; at = path.find('/', at + 1)) {
    const std::string part(path.substr(0, at));
    names_.insert({part, Entry{}});
    certain_names_.insert({part, Entry{}});
  }
  auto inode = std::make_shared<Inode>();
  inode->cached.assign(contents.begin(), contents.end());
  inode->certain = inode->cached;
  names_.insert_or_assign(std::string(path), Entry{inode});
  certain_names_.insert_or_assign(std::string(path), Entry{inode});
}

void SimDisk::erase(std::string_view path) {
  if (auto found = names_.find(path); found != names_.end()) names_.erase(found);
  if (auto found = certain_names_.find(path); found != certain_names_.end()) certain_names_.erase(found);
}

}  // namespace robustmq::runtime::sim
