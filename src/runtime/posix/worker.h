// Worker: threads for what blocks (disk, name look-ups), with one queue. Jobs start in order; with one thread they also run in
// order.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/callback.h"

namespace robustmq::runtime::posix {

class Worker {
 public:
  // `name`: of the threads, at most 15 characters.
  Worker(std::string name, size_t threads);
  // Carries out what was queued, then ends.
  ~Worker();
  Worker(const Worker&) = delete;

  void run(Callback<void()> job);  // any thread

 private:
  void work();

  std::mutex mutex_;
  std::condition_variable has_work_;
  std::deque<Callback<void()>> jobs_;
  bool is_ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace robustmq::runtime::posix
