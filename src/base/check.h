// Broken invariants: a check that is always on and ends the process with its state. Untrusted input never reaches one.
#pragma once

namespace robustmq {

// Writes file, line, the condition and `state` to standard error and aborts. Thread: any.
[[noreturn]] void check_failed(const char* file, int line, const char* condition, const char* state);

}  // namespace robustmq

#define ROBUSTMQ_CHECK(condition, state) \
  (static_cast<bool>(condition) ? void(0) : ::robustmq::check_failed(__FILE__, __LINE__, #condition, state))
