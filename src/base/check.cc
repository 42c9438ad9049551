#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace robustmq {

void check_failed(const char* file, int line, const char* condition, const char* state) {
  std::fprintf(stderr, "broken invariant at %s:%d: %s (%s)\n", file, line, condition, state);
  std::fflush(stderr);
  std::abort();
}

}  // namespace robustmq
