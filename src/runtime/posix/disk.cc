// See disk.h.
#include "runtime/posix/disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "runtime/posix/core.h"

namespace robustmq::runtime::posix {

namespace {

Error error_of(int number, const char* what, const std::string& path) {
  Code code = Code::storage_failed;
  if (number == ENOENT || number == ENOTDIR) code = Code::not_found;
  if (number == EEXIST) code = Code::already_exists;
  if (number == ENOSPC || number == EDQUOT) code = Code::storage_full;
  char text[128];
  return {code, std::string(what) + " " + path + ": " + strerror_r(number, text, sizeof(text))};
}

// Below the data directory and nowhere else.
bool is_inside(const std::string& path) {
  if (path.starts_with('/') || path.find('\0') != std::string::npos) return false;
  for (size_t at = 0; at <= path.size();) {
    size_t end = std::min(path.find('/', at), path.size());
    if (path.compare(at, end - at, "..") == 0) return false;
    at = end + 1;
  }
  return true;
}

Status check_place(int directory, const std::string& path) {
  if (directory < 0) return Error{Code::storage_failed, "this process has no data directory"};
  if (!is_inside(path)) return Error{Code::invalid_argument, "a path outside the data directory: " + path};
  return {};
}

const char* name_in(const std::string& path) { return path.empty() ? "." : path.c_str(); }

int descriptor_of(const FilePtr& file) { return static_cast<const PosixFile&>(*file).descriptor(); }

Result<FilePtr> open_file(int directory, const std::string& path, OpenOptions options) {
  if (Status place = check_place(directory, path); !place) return place.error();
  int flags = O_RDWR | O_CLOEXEC;
  if (options.create) flags |= O_CREAT;
  if (options.create && options.exclusive) flags |= O_EXCL;
  int descriptor = openat(directory, path.c_str(), flags, 0644);
  if (descriptor < 0) return error_of(errno, "open", path);
  return FilePtr(std::make_shared<PosixFile>(descriptor, path));
}

Result<Bytes> read_at(int descriptor, const std::string& path, uint64_t position, size_t size) {
  BytesBlock* block = BytesBlock::allocate(size);
  Bytes bytes = Bytes::adopt(block, block->data(), size);
  size_t got = 0;
  while (got < size) {
    ssize_t n = pread(descriptor, block->data() + got, size - got, static_cast<off_t>(position + got));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return error_of(errno, "read", path);
    if (n == 0) break;
    got += static_cast<size_t>(n);
  }
  return bytes.slice(0, got);
}

Status write_pieces(const DiskStep& step) {
  constexpr size_t kVectors = 256;
  iovec vectors[kVectors];
  uint64_t position = step.position;
  size_t piece = 0, skip = 0;
  while (true) {
    while (piece < step.pieces.size() && skip == step.pieces[piece].size()) ++piece, skip = 0;
    if (piece == step.pieces.size()) return {};
    size_t count = 0;
    for (size_t i = piece; i < step.pieces.size() && count < kVectors; ++i, ++count) {
      size_t from = i == piece ? skip : 0;
      vectors[count] = {const_cast<uint8_t*>(step.pieces[i].data()) + from, step.pieces[i].size() - from};
    }
    ssize_t n = pwritev(descriptor_of(step.file), vectors, static_cast<int>(count), static_cast<off_t>(position));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return error_of(errno, "write", step.file->path());
    if (n == 0) return Error{Code::storage_failed, "write " + step.file->path() + ": nothing was written"};
    position += static_cast<uint64_t>(n);
    for (size_t left = static_cast<size_t>(n); left > 0;) {
      size_t part = std::min(left, step.pieces[piece].size() - skip);
      left -= part;
      skip += part;
      if (skip == step.pieces[piece].size()) ++piece, skip = 0;
    }
  }
}

Status allocate(const DiskStep& step) {
  // Keeping the size would leave the file short, so that a later write changes its size: a sync then writes metadata too.
  struct stat facts;
  if (fstat(descriptor_of(step.file), &facts) != 0) return error_of(errno, "stat", step.file->path());
  if (static_cast<uint64_t>(facts.st_size) >= step.position) return {};
  int failed = fallocate(descriptor_of(step.file), 0, facts.st_size, static_cast<off_t>(step.position) - facts.st_size);
  if (failed != 0 && errno == EOPNOTSUPP) {
    // A file system without allocation: the size alone, space is found by the writes.
    failed = ftruncate(descriptor_of(step.file), static_cast<off_t>(step.position));
  }
  return failed == 0 ? Status{} : error_of(errno, "allocate", step.file->path());
}

Status make_directory(int directory, const std::string& path) {
  for (size_t at = 0; at < path.size();) {
    size_t end = std::min(path.find('/', at), path.size());
    if (mkdirat(directory, path.substr(0, end).c_str(), 0755) != 0 && errno != EEXIST) {
      return error_of(errno, "make directory", path);
    }
    at = end + 1;
  }
  return {};
}

Status sync_directory(int directory, const std::string& path) {
  int descriptor = openat(directory, name_in(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return error_of(errno, "open directory", path);
  Status status;
  if (fsync(descriptor) != 0) status = error_of(errno, "sync directory", path);
  close(descriptor);
  return status;
}

Status remove_name(int directory, const std::string& path) {
  if (unlinkat(directory, path.c_str(), 0) == 0) return {};
  if (errno == EISDIR && unlinkat(directory, path.c_str(), AT_REMOVEDIR) == 0) return {};
  return error_of(errno, "remove", path);
}

Status run_step(int directory, const DiskStep& step) {
  if (Status place = check_place(directory, step.path); !place) return place;
  if (Status place = check_place(directory, step.path_to); !place) return place;
  switch (step.kind) {
    case DiskStep::Kind::write:
      return write_pieces(step);
    case DiskStep::Kind::sync:
      return fdatasync(descriptor_of(step.file)) == 0 ? Status{} : error_of(errno, "sync", step.file->path());
    case DiskStep::Kind::truncate:
      return ftruncate(descriptor_of(step.file), static_cast<off_t>(step.position)) == 0
                 ? Status{}
                 : error_of(errno, "truncate", step.file->path());
    case DiskStep::Kind::allocate:
      return allocate(step);
    case DiskStep::Kind::rename:
      return renameat(directory, step.path.c_str(), directory, step.path_to.c_str()) == 0 ? Status{}
                                                                                          : error_of(errno, "rename", step.path);
    case DiskStep::Kind::remove:
      return remove_name(directory, step.path);
    case DiskStep::Kind::sync_directory:
      return sync_directory(directory, step.path);
    case DiskStep::Kind::make_directory:
      return make_directory(directory, step.path);
    case DiskStep::Kind::sync_all:
      return syncfs(directory) == 0 ? Status{} : error_of(errno, "sync all of", ".");
  }
  return Code::internal;
}

std::vector<Status> run_steps(int directory, const std::vector<DiskStep>& steps) {
  std::vector<Status> statuses;
  statuses.reserve(steps.size());
  bool is_over = false;
  for (const DiskStep& step : steps) {
    statuses.push_back(is_over ? Status(Code::shutting_down) : run_step(directory, step));
    if (!statuses.back() && step.required) is_over = true;
  }
  return statuses;
}

Result<std::vector<FileEntry>> list_directory(int directory, const std::string& path) {
  if (Status place = check_place(directory, path); !place) return place.error();
  int descriptor = openat(directory, name_in(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return error_of(errno, "list", path);
  DIR* stream = fdopendir(descriptor);
  if (!stream) {
    Error error = error_of(errno, "list", path);
    close(descriptor);
    return error;
  }
  std::vector<FileEntry> entries;
  while (dirent* found = readdir(stream)) {
    std::string_view name = found->d_name;
    if (name == "." || name == "..") continue;
    struct stat facts;
    if (fstatat(descriptor, found->d_name, &facts, AT_SYMLINK_NOFOLLOW) != 0) continue;  // removed meanwhile
    entries.push_back({std::string(name), static_cast<uint64_t>(facts.st_size), S_ISDIR(facts.st_mode)});
    if (entries.back().is_directory) entries.back().size = 0;
  }
  closedir(stream);
  std::sort(entries.begin(), entries.end(), [](auto& a, auto& b) { return a.name < b.name; });
  return entries;
}

}  // namespace

PosixFile::~PosixFile() { close(descriptor_); }

Bytes PosixFile::read_now(uint64_t position, size_t size) const {
  Result<Bytes> bytes = read_at(descriptor_, path_, position, size);
  return bytes.ok() ? bytes.take() : Bytes();
}

// Runs `work` on the workers of reads; its result comes back to this core.
template <class T, class Work>
void PosixDisk::on_reads(Work work, Callback<void(Result<T>)> done) {
  core_.shared().reads->run([core = &core_, work = std::move(work), done = std::move(done)]() mutable {
    Result<T> result = work(core->shared().data_directory);
    core->complete([done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); });
  });
}

void PosixDisk::open(std::string path, OpenOptions options, Callback<void(Result<FilePtr>)> done) {
  on_reads<FilePtr>([path = std::move(path), options](int directory) { return open_file(directory, path, options); },
                    std::move(done));
}

void PosixDisk::read(FilePtr file, uint64_t position, size_t size, Callback<void(Result<Bytes>)> done) {
  on_reads<Bytes>(
      [file = std::move(file), position, size](int) { return read_at(descriptor_of(file), file->path(), position, size); },
      std::move(done));
}

void PosixDisk::size(FilePtr file, Callback<void(Result<uint64_t>)> done) {
  on_reads<uint64_t>(
      [file = std::move(file)](int) -> Result<uint64_t> {
        struct stat facts;
        if (fstat(descriptor_of(file), &facts) != 0) return error_of(errno, "stat", file->path());
        return static_cast<uint64_t>(facts.st_size);
      },
      std::move(done));
}

void PosixDisk::list(std::string path, Callback<void(Result<std::vector<FileEntry>>)> done) {
  on_reads<std::vector<FileEntry>>([path = std::move(path)](int directory) { return list_directory(directory, path); },
                                   std::move(done));
}

void PosixDisk::free_bytes(Callback<void(Result<uint64_t>)> done) {
  on_reads<uint64_t>(
      [](int directory) -> Result<uint64_t> {
        struct statvfs facts;
        if (directory < 0 || fstatvfs(directory, &facts) != 0) return Error{Code::storage_failed, "statvfs"};
        return static_cast<uint64_t>(facts.f_bavail) * facts.f_frsize;
      },
      std::move(done));
}

void PosixDisk::run(std::vector<DiskStep> steps, Callback<void(std::vector<Status>)> done) {
  core_.shared().writes->run([core = &core_, steps = std::move(steps), done = std::move(done)]() mutable {
    std::vector<Status> statuses = run_steps(core->shared().data_directory, steps);
    steps.clear();
    core->complete([done = std::move(done), statuses = std::move(statuses)]() mutable { done(std::move(statuses)); });
  });
}

}  // namespace robustmq::runtime::posix
