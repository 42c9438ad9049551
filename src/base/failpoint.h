// Failpoints: named places at which a test ends the process, or notes that it came by, so that a crash between two steps is
// chosen and not met by luck. They are in every build but the release, and do nothing there until somebody sets the hook
// (runtime/posix/failpoints.h for processes). The hook is set before threads start, and may be called on any of them.
#pragma once

#include <string_view>

namespace robustmq {

#ifdef ROBUSTMQ_NO_FAILPOINTS
constexpr bool kHasFailpoints = false;
inline void failpoint(std::string_view, std::string_view = {}) {}
#else
constexpr bool kHasFailpoints = true;
using FailpointHook = void (*)(std::string_view name, std::string_view more);
inline FailpointHook failpoint_hook = nullptr;
// The point's name is `name` and `more` together.
inline void failpoint(std::string_view name, std::string_view more = {}) {
  if (failpoint_hook) failpoint_hook(name, more);
}
#endif

}  // namespace robustmq
