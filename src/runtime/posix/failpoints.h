// Ends this process, as kill -9 does, when it comes by a failpoint (base/failpoint.h).
#pragma once

#include <string_view>

namespace robustmq::runtime::posix {

// `spec`: the point's name, then maybe ':' and how often it is come by, 1 when that is missing. Before threads start. False: it
// is none, or this build has no failpoints.
bool arm_failpoint(std::string_view spec);

}  // namespace robustmq::runtime::posix
