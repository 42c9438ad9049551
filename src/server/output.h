// Output: the process's standard output and error: what is told to people, and the log's lines. Not pure.
#pragma once

#include <string_view>

#include "observe/log.h"
#include "runtime/core.h"

namespace robustmq::server {

// To standard output, a line each.
void tell(std::string_view line);
// To standard error.
void complain(std::string_view line);

// A core's way to the log: lines go to standard error, each in one write, so those of several cores do not mix.
class CoreLogSink final : public observe::LogSink {
 public:
  explicit CoreLogSink(runtime::Core& core) : core_(core) {}
  WallTime now() override { return core_.wall_now(); }
  void write(observe::Level level, std::string_view line) override;

 private:
  runtime::Core& core_;
};

}  // namespace robustmq::server
