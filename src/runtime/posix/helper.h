// PosixHelper: a helper (runtime/helper.h) of one thread.
#pragma once

#include <string>

#include "runtime/core.h"
#include "runtime/helper.h"
#include "runtime/posix/worker.h"

namespace robustmq::runtime::posix {

class PosixCore;

class PosixHelper final : public Helper {
 public:
  // `core`: of a PosixWorld. `name`: of the thread, at most 15 characters.
  PosixHelper(Core& core, std::string name);
  void run(Callback<void()> work, Callback<void()> done) override;

 private:
  PosixCore& core_;
  Worker worker_;
};

}  // namespace robustmq::runtime::posix
