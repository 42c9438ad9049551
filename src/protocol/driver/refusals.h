// Refusals: tells the log of refused connections, for each reason at most one line a second, with how many it stands for. Not
// pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "observe/log.h"
#include "runtime/core.h"
#include "runtime/timer.h"

namespace robustmq::protocol::driver {

// Lives on a core, in a listener.
class Refusals {
 public:
  // `listener`: its name. What is given outlives it.
  Refusals(runtime::Core& core, observe::Log& log, std::string_view listener) : core_(core), log_(log), listener_(listener) {}
  ~Refusals() { write(); }

  // `why` is one of few literals; of the connections of one line the latest is described.
  void tell(std::string_view why, std::string_view detail, std::string peer);

 private:
  struct Reason {
    std::string_view why;
    uint64_t count = 0;  // since the last line
    std::string detail;
    std::string peer;
  };
  static void on_time(void* self);
  bool write();

  runtime::Core& core_;
  observe::Log& log_;
  std::string_view listener_;
  std::vector<Reason> reasons_;
  runtime::Timer timer_{&Refusals::on_time, this};
};

}  // namespace robustmq::protocol::driver
