// PosixWorld: the real world of one process: N cores, each a thread with its loop, and the threads that do what blocks.
//
//   PosixWorld world({.cores = 2, .data_directory = "data"});
//   Status ended = world.run([&](Core& core) { ...build what lives on this core... }, [&](Core& core) { ...destroy it... });
//
// Signals: with `on_signal`, SIGINT, SIGTERM and SIGHUP are taken from the process and reported on core 0. SIGPIPE is ignored.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "base/callback.h"
#include "base/result.h"
#include "runtime/core.h"

namespace robustmq::runtime::posix {

class PosixCore;
class PosixListening;
class Worker;

extern const int kReloadSignal;  // SIGHUP: the one of them that asks for no end

struct PosixOptions {
  CoreIndex cores = 0;                    // 0: one a hardware thread
  std::string data_directory;             // made when missing; empty: no disk (every operation is refused)
  bool pin = false;                       // each core to one hardware thread
  size_t ring_messages = 1024;            // between two cores, before they wait in the sender's list; a power of two
  size_t unsent_messages_max = 16 << 10;  // in the sender's lists, before the core is congested
  size_t read_threads = 2;                // of the disk; writes and syncs have one of their own
  Callback<void(int signal)> on_signal;   // on core 0
};

// Owned by main or a test. Thread: constructor, run and destructor on one thread; stop() from anywhere.
class PosixWorld {
 public:
  explicit PosixWorld(PosixOptions options);
  PosixWorld(const PosixWorld&) = delete;
  // What was built on the cores is gone by now. Disk steps handed over are still carried out.
  ~PosixWorld();

  // Opens what the world needs, starts the cores, calls `setup` on each core's thread (on all, at the same time, before any loop
  // turns), and returns when stop() was called and every core has left its loop and run `teardown` on its thread. No loop turns
  // during teardown. Fails without starting anything when the data directory cannot be had.
  Status run(Callback<void(Core&)> setup, Callback<void(Core&)> teardown = {});
  // Cores leave their loops at the end of their present turn. Async-signal-safe; any thread.
  void stop();

  CoreIndex core_count() const { return options_.cores; }

 private:
  Status prepare();

  PosixOptions options_;
  std::atomic<bool> is_stopping_{false};
  int data_directory_ = -1;
  std::unique_ptr<PosixListening> listening_;
  std::unique_ptr<Worker> writes_;  // the one thread of Disk::run
  std::unique_ptr<Worker> reads_;   // opens, reads, lists, name look-ups
  std::vector<std::unique_ptr<PosixCore>> cores_;
};

}  // namespace robustmq::runtime::posix
