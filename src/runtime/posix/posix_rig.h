// What tests of the real world share: a directory that goes with the test, a task run on a core, steps of a disk.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "runtime/core.h"
#include "runtime/disk.h"
#include "runtime/posix/world.h"
#include "runtime/task.h"

namespace robustmq::runtime::posix {

struct TempDirectory {
  TempDirectory() {
    char name[] = "/tmp/robustmq_test_XXXXXX";
    path = mkdtemp(name);
  }
  ~TempDirectory() { std::filesystem::remove_all(path); }
  std::string path;
};

inline Task<void> then_stop(Task<void> work, PosixWorld* world) {
  co_await std::move(work);
  world->stop();
}

// Runs one task on core 0 of a world and stops it.
template <class Body>
void run_on_core(PosixOptions options, Body body) {
  PosixWorld world(std::move(options));
  TaskScope scope;
  Status status = world.run([&](Core& core) {
    if (core.index() == 0) scope.spawn(then_stop(body(core), &world));
  });
  ASSERT_TRUE(status.ok()) << status.error().detail;
}

inline Task<Result<FilePtr>> open_file(Core* core, std::string path, OpenOptions options) {
  Result<FilePtr> file =
      co_await completion<Result<FilePtr>>([&](auto done) { core->disk().open(path, options, std::move(done)); });
  co_return file;
}

inline Task<std::vector<Status>> run_steps(Core* core, std::vector<DiskStep> steps) {
  std::vector<Status> statuses =
      co_await completion<std::vector<Status>>([&](auto done) { core->disk().run(std::move(steps), std::move(done)); });
  co_return statuses;
}

template <class... Steps>
std::vector<DiskStep> steps_of(Steps... steps) {
  std::vector<DiskStep> list;
  (list.push_back(std::move(steps)), ...);
  return list;
}

}  // namespace robustmq::runtime::posix
