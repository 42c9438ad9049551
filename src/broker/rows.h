// Rows: the node's key-value rows (storage/kv.h) as one core of the broker sees them. Lives on its core.
//
// What a core changes within a turn is one batch: it takes effect together, in the order of the calls, and costs
// at most one sync. Completions come on this core, in order.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/callback.h"
#include "runtime/core.h"
#include "storage/kv.h"

namespace robustmq::broker {

class Rows final : private runtime::Deferred {
 public:
  // `kv`: of this core; outlives it. A core without one asks core 0's; a core 0 without one keeps nothing (tests): writes
  // succeed, reads are empty.
  Rows(runtime::Core& core, storage::Kv* kv) : core_(core), kv_(kv) {}
  // Core 0's rows; once, before the first call.
  void set_home(Rows* home) { home_ = home; }

  // Durable when `done` says ok. Errors: as storage::Kv::write, for everything of this turn. After the node's stop it may never
  // come.
  void put(std::string key, std::string value, Callback<void(Status)> done);
  void remove(std::string key, Callback<void(Status)> done);
  void write(storage::KvBatch changes, Callback<void(Status)> done);

  // As storage::Kv; what this core wrote shows once its write is done.
  void get(std::string key, Callback<void(Result<std::string>)> done);
  void scan(std::string from, std::string to, size_t rows_max, Callback<void(Result<storage::KvRows>)> done);

 private:
  void run_deferred() override;
  // On core 0.
  void write_here(storage::KvBatch batch, Callback<void(Status)> done);

  runtime::Core& core_;
  storage::Kv* kv_;
  Rows* home_ = nullptr;
  storage::KvBatch batch_;  // of this turn
  std::vector<Callback<void(Status)>> waiting_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace robustmq::broker
