// PosixDisk: the files below the node's data directory, as one core sees them. What blocks runs on the world's two workers:
// runs of steps on the one of writes, in order over all cores; the rest on those of reads, so a read never waits for a sync.
#pragma once

#include <string>

#include "runtime/disk.h"

namespace robustmq::runtime::posix {

class PosixCore;

class PosixFile final : public File {
 public:
  PosixFile(int descriptor, std::string path) : descriptor_(descriptor), path_(std::move(path)) {}
  ~PosixFile() override;
  const std::string& path() const override { return path_; }
  Bytes read_now(uint64_t position, size_t size) const override;
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
  std::string path_;
};

class PosixDisk final : public Disk {
 public:
  explicit PosixDisk(PosixCore& core) : core_(core) {}

  void open(std::string path, OpenOptions options, Callback<void(Result<FilePtr>)> done) override;
  void read(FilePtr file, uint64_t position, size_t size, Callback<void(Result<Bytes>)> done) override;
  void run(std::vector<DiskStep> steps, Callback<void(std::vector<Status>)> done) override;
  void size(FilePtr file, Callback<void(Result<uint64_t>)> done) override;
  void list(std::string path, Callback<void(Result<std::vector<FileEntry>>)> done) override;
  void free_bytes(Callback<void(Result<uint64_t>)> done) override;

 private:
  template <class T, class Work>
  void on_reads(Work work, Callback<void(Result<T>)> done);

  PosixCore& core_;
};

}  // namespace robustmq::runtime::posix
