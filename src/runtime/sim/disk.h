// SimDisk: the simulated disk of one node. It survives crashes; each core reaches it through a front end (attach). Pure.
//
// What it enforces (runtime/disk.h): written bytes are certain only after a sync of their file, names only after a
// sync_directory of their folder. At a power cut each unsynced write is lost, kept, or torn at any byte, whatever its order;
// each folder keeps the first few of its name changes since its last sync_directory. At the end of the process alone all stays.
// After a sync error the bytes concerned still read as written (as from a page cache) and go at the next power cut.
//
// The runs of one core go in call order, one at a time, each step after a seeded delay and as an event of its own, so a crash may
// come between two steps. Its opens, reads, sizes and lists go in call order beside them. Cores interleave.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "runtime/disk.h"
#include "runtime/sim/random.h"
#include "runtime/sim/world.h"

namespace robustmq::runtime::sim {

// Switchable at any time; read at each step.
struct DiskFaults {
  uint64_t capacity_bytes = UINT64_MAX;  // of all files; over it writes and allocations fail with storage_full, maybe in part
  int32_t sync_errors = 0;               // this many syncs fail from now on; -1: every one
  int32_t write_errors = 0;              // the same for writes (not for want of space)
  int32_t read_errors = 0;               // the same for reads
  int64_t slow_factor = 1;               // every delay times this
  Duration stall{};                      // added to every step
};

struct DiskDelays {
  Duration step_max = Duration::micros(20);  // every step and read
  Duration sync_min = Duration::micros(50);  // a sync besides
  Duration sync_max = Duration::micros(500);
};

class SimDisk {
 public:
  SimDisk(SimWorld& world, SimRandom random);
  ~SimDisk();
  SimDisk(const SimDisk&) = delete;

  std::unique_ptr<Disk> attach(SimCore& core);
  void crash(CrashKind kind);

  DiskFaults& faults() { return faults_; }
  DiskDelays& delays() { return delays_; }

  // For tests: what a read would find now.
  Result<Bytes> contents(std::string_view path) const;
  std::vector<std::string> file_paths() const;  // all files, sorted
  std::vector<std::string> file_paths(std::string_view folder) const;
  uint64_t used_bytes() const;
  uint64_t sync_count() const { return sync_count_; }
  uint64_t step_count() const { return step_count_; }
  // For tests: changes what is stored, durably and unseen: bit rot, an old copy, anything. Makes the file where it is missing.
  void flip_bit(std::string_view path, uint64_t bit);
  void replace(std::string_view path, Bytes contents);
  void erase(std::string_view path);

 private:
  class Front;
  class OpenFile;
  struct Write {
    bool is_truncate = false;
    uint64_t position = 0;  // truncate: the size
    Bytes bytes;
  };
  // A file's contents: as read, and as certain to survive a power cut.
  struct Inode {
    std::vector<uint8_t> cached;
    std::vector<uint8_t> certain;
    std::vector<Write> unsynced;
    uint64_t allocated = 0;  // reserved and read as zero behind the contents
    uint64_t certain_allocated = 0;
    uint64_t size() const { return cached.size() > allocated ? cached.size() : allocated; }
  };
  using InodePtr = std::shared_ptr<Inode>;
  struct Entry {
    InodePtr inode;  // null: a folder
  };
  using Names = std::map<std::string, Entry, std::less<>>;
  struct NameChange {
    std::string path;
    std::string path_to;        // rename only
    std::optional<Entry> made;  // nullopt: removed
  };

  static std::string folder_of(std::string_view path);
  static void apply(Names& names, const NameChange& change);
  static void apply(std::vector<uint8_t>& bytes, const Write& write);
  void change_name(NameChange change);
  void cut_power(Inode& inode, uint32_t lost_per_million);
  bool is_folder(std::string_view path) const;
  bool has_room_for(uint64_t more) const;

  Result<FilePtr> open(const std::string& path, OpenOptions options);
  Status run(const DiskStep& step);
  Status write(Inode& inode, const DiskStep& step);
  Status allocate(Inode& inode, uint64_t size);
  Status sync(Inode& inode);
  Status sync_directory(const std::string& path);
  Status sync_all();
  Status make_directory(const std::string& path);
  Status remove(const std::string& path);
  Status rename(const std::string& from, const std::string& to);
  Result<std::vector<FileEntry>> list(const std::string& path) const;
  static Bytes read(const Inode& inode, uint64_t position, size_t size);
  Duration delay_of(bool is_sync);

  SimRandom random_;
  std::vector<Front*> fronts_;
  DiskFaults faults_;
  DiskDelays delays_;
  Names names_;                                                                 // as seen
  Names certain_names_;                                                         // as of the last sync_directory of each folder
  std::map<std::string, std::vector<NameChange>, std::less<>> unsynced_names_;  // by folder
  uint64_t sync_count_ = 0;
  uint64_t step_count_ = 0;
};

}  // namespace robustmq::runtime::sim
