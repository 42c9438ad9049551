// See world.h.
#include "runtime/posix/world.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <barrier>
#include <cerrno>
#include <cstring>
#include <thread>

#include "runtime/posix/core.h"
#include "runtime/posix/net.h"
#include "runtime/posix/worker.h"

namespace robustmq::runtime::posix {

const int kReloadSignal = SIGHUP;

namespace {

sigset_t taken_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGHUP);
  return set;
}

// Signals as events of core 0.
class SignalSource final : public Pollable {
 public:
  SignalSource(PosixCore& core, Callback<void(int)>& on_signal) : core_(core), on_signal_(on_signal) {
    sigset_t set = taken_signals();
    descriptor_ = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (descriptor_ >= 0) core_.watch(descriptor_, EPOLLIN, *this);
  }
  ~SignalSource() {
    if (descriptor_ < 0) return;
    core_.unwatch(descriptor_);
    close(descriptor_);
  }

 private:
  void on_events(uint32_t) override {
    signalfd_siginfo what;
    while (read(descriptor_, &what, sizeof(what)) == sizeof(what)) on_signal_(static_cast<int>(what.ssi_signo));
  }

  PosixCore& core_;
  Callback<void(int)>& on_signal_;
  int descriptor_;
};

// Opens the directory, making it and its parents where they are missing.
Result<int> open_directory(const std::string& path) {
  for (size_t at = 1; at <= path.size();) {
    size_t end = std::min(path.find('/', at), path.size());
    if (mkdir(path.substr(0, end).c_str(), 0755) != 0 && errno != EEXIST) break;
    at = end + 1;
  }
  int descriptor = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  char text[128];
  if (descriptor < 0) return Error{Code::storage_failed, path + ": " + strerror_r(errno, text, sizeof(text))};
  // One process a directory; the lock goes with the process, however it ends.
  if (flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    const bool is_taken = errno == EWOULDBLOCK;
    const std::string why = is_taken ? "another process uses this directory" : strerror_r(errno, text, sizeof(text));
    close(descriptor);
    return Error{is_taken ? Code::already_exists : Code::storage_failed, path + ": " + why};
  }
  return descriptor;
}

void pin_to(CoreIndex index) {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return;
  int nth = index % CPU_COUNT(&allowed);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed) || nth-- > 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
    return;
  }
}

// As many descriptors as this process may ask for: shells and services give 1,024 where nothing is said, for the sake of
// select().
void raise_descriptors() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

PosixWorld::PosixWorld(PosixOptions options) : options_(std::move(options)) {
  if (options_.cores == 0) options_.cores = static_cast<CoreIndex>(std::max(1u, std::thread::hardware_concurrency()));
  signal(SIGPIPE, SIG_IGN);
  raise_descriptors();
  if (options_.on_signal) {
    sigset_t set = taken_signals();
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
  }
}

PosixWorld::~PosixWorld() {
  writes_.reset();
  reads_.reset();
  cores_.clear();
  if (data_directory_ >= 0) close(data_directory_);
  if (options_.on_signal) {
    sigset_t set = taken_signals();
    pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  }
}

Status PosixWorld::prepare() {
  if (!options_.data_directory.empty()) {
    Result<int> directory = open_directory(options_.data_directory);
    if (!directory.ok()) return directory.error();
    data_directory_ = *directory;
  }
  listening_ = std::make_unique<PosixListening>();
  writes_ = std::make_unique<Worker>("disk-write", 1);
  reads_ = std::make_unique<Worker>("disk-read", options_.read_threads);
  PosixCore::Shared shared{data_directory_,  writes_.get(),          reads_.get(),
                           listening_.get(), options_.ring_messages, options_.unsent_messages_max,
                           &is_stopping_};
  std::vector<PosixCore*> cores;
  for (CoreIndex i = 0; i < options_.cores; ++i) {
    cores_.push_back(std::make_unique<PosixCore>(i, options_.cores, shared));
    cores.push_back(cores_.back().get());
  }
  for (PosixCore* core : cores) core->connect_to(cores);
  return {};
}

Status PosixWorld::run(Callback<void(Core&)> setup, Callback<void(Core&)> teardown) {
  if (Status prepared = prepare(); !prepared) return prepared;
  // All cores stand before any loop turns, and all have stopped before anything is torn down.
  std::barrier together(options_.cores);
  auto run_core = [&](PosixCore& core) {
    if (options_.pin) pin_to(core.index());
    core.read_clock();
    {
      std::unique_ptr<SignalSource> signals;
      if (core.index() == 0 && options_.on_signal) signals = std::make_unique<SignalSource>(core, options_.on_signal);
      setup(core);
      together.arrive_and_wait();
      core.run();
    }
    together.arrive_and_wait();
    if (teardown) teardown(core);
  };
  std::vector<std::thread> threads;
  for (CoreIndex i = 1; i < options_.cores; ++i) {
    threads.emplace_back([&run_core, &core = *cores_[i]] { run_core(core); });
    pthread_setname_np(threads.back().native_handle(), ("core-" + std::to_string(i)).c_str());
  }
  run_core(*cores_[0]);
  for (std::thread& thread : threads) thread.join();
  return {};
}

void PosixWorld::stop() {
  is_stopping_.store(true, std::memory_order_seq_cst);
  for (auto& core : cores_) core->wake();
}

}  // namespace robustmq::runtime::posix
