// The factories of DiskStep. Pure.
#include "runtime/disk.h"

namespace robustmq::runtime {

DiskStep DiskStep::write(FilePtr file, uint64_t position, std::vector<Bytes> pieces) {
  DiskStep step;
  step.kind = Kind::write;
  step.file = std::move(file);
  step.position = position;
  step.pieces = std::move(pieces);
  return step;
}

DiskStep DiskStep::sync(FilePtr file) {
  DiskStep step;
  step.kind = Kind::sync;
  step.file = std::move(file);
  return step;
}

DiskStep DiskStep::truncate(FilePtr file, uint64_t size) {
  DiskStep step;
  step.kind = Kind::truncate;
  step.file = std::move(file);
  step.position = size;
  return step;
}

DiskStep DiskStep::allocate(FilePtr file, uint64_t size) {
  DiskStep step;
  step.kind = Kind::allocate;
  step.file = std::move(file);
  step.position = size;
  return step;
}

DiskStep DiskStep::rename(std::string from, std::string to) {
  DiskStep step;
  step.kind = Kind::rename;
  step.path = std::move(from);
  step.path_to = std::move(to);
  return step;
}

DiskStep DiskStep::remove(std::string path) {
  DiskStep step;
  step.kind = Kind::remove;
  step.path = std::move(path);
  return step;
}

DiskStep DiskStep::sync_directory(std::string path) {
  DiskStep step;
  step.kind = Kind::sync_directory;
  step.path = std::move(path);
  return step;
}

DiskStep DiskStep::make_directory(std::string path) {
  DiskStep step;
  step.kind = Kind::make_directory;
  step.path = std::move(path);
  return step;
}

DiskStep DiskStep::sync_all() {
  DiskStep step;
  step.kind = Kind::sync_all;
  return step;
}

}  // namespace robustmq::runtime
