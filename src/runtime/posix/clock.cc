#include "runtime/posix/clock.h"

#include <time.h>

namespace robustmq::runtime::posix {

Instant monotonic_now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return {time.tv_sec * 1'000'000'000 + time.tv_nsec};
}

}  // namespace robustmq::runtime::posix
