// The clock between turns, for who measures how long something takes: a core's own (core.h) stands still during a turn.
#pragma once

#include "base/time.h"

namespace robustmq::runtime::posix {

// Thread: any.
Instant monotonic_now();

}  // namespace robustmq::runtime::posix
