// Disk: asynchronous files. The seam; runtime/posix and runtime/sim implement it. Completions come on the calling core, in a
// later turn, never inline. Paths are relative to the node's data directory, '/'-separated, without "..".
//
// Durability contract (what the simulated disk enforces): written bytes may be lost, torn or reordered by a crash until a
// sync of their file completed; a created, renamed or removed name is durable only after sync_directory of its folder.
// After a sync of a file failed, nothing written to it since its last good sync may be trusted, and no later sync mends that.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/callback.h"
#include "base/pieces.h"
#include "base/result.h"

namespace robustmq::runtime {

// An open file; closed when the last reference goes. Shared with stored ranges on their way to a socket.
class File : public ByteSource {
 public:
  virtual const std::string& path() const = 0;
};
using FilePtr = std::shared_ptr<File>;

struct OpenOptions {
  bool create = false;     // made when missing
  bool exclusive = false;  // with create: refused (already_exists) when there
};

// One step of a run: executed in order on the disk's own thread.
struct DiskStep {
  enum class Kind : uint8_t { write, sync, truncate, allocate, rename, remove, sync_directory, make_directory, sync_all };
  Kind kind = Kind::write;
  FilePtr file;               // write, sync, truncate, allocate
  uint64_t position = 0;      // write: where; truncate and allocate: the size
  std::vector<Bytes> pieces;  // write
  std::string path;           // rename: from; remove, sync_directory, make_directory
  std::string path_to;        // rename
  // A failed step with `required` ends the run: later steps are not tried and report shutting_down.
  bool required = true;

  static DiskStep write(FilePtr file, uint64_t position, std::vector<Bytes> pieces);
  static DiskStep sync(FilePtr file);  // data and size (fdatasync)
  static DiskStep truncate(FilePtr file, uint64_t size);
  // Reserves blocks, so that later writes below `size` find space; the file grows to it and reads as zeros there.
  static DiskStep allocate(FilePtr file, uint64_t size);
  static DiskStep rename(std::string from, std::string to);  // replaces `to`
  static DiskStep remove(std::string path);
  static DiskStep sync_directory(std::string path);
  static DiskStep make_directory(std::string path);  // with its parents; fine when there
  // All files and names, as sync and sync_directory of each. The system knows this of a whole file system only (syncfs), whoever
  // writes there: for where very many files are to be synced.
  static DiskStep sync_all();
};

struct FileEntry {
  std::string name;  // within the folder
  uint64_t size = 0;
  bool is_directory = false;
};

// Error codes: not_found, already_exists, storage_full (ENOSPC, EDQUOT), storage_failed (everything else).
class Disk {
 public:
  virtual ~Disk() = default;
  virtual void open(std::string path, OpenOptions options, Callback<void(Result<FilePtr>)> done) = 0;
  // Fewer bytes than asked only at the end of the file.
  virtual void read(FilePtr file, uint64_t position, size_t size, Callback<void(Result<Bytes>)> done) = 0;
  // One status a step, in order. A write is complete or failed, never short.
  virtual void run(std::vector<DiskStep> steps, Callback<void(std::vector<Status>)> done) = 0;
  virtual void size(FilePtr file, Callback<void(Result<uint64_t>)> done) = 0;
  virtual void list(std::string path, Callback<void(Result<std::vector<FileEntry>>)> done) = 0;  // sorted by name
  virtual void free_bytes(Callback<void(Result<uint64_t>)> done) = 0;
};

}  // namespace robustmq::runtime
