// Helper: a thread for the calls of a library that block, beside a core. The seam; runtime/posix implements it. Where the world
// is simulated there is none: what needs one has another implementation there.
#pragma once

#include "base/callback.h"

namespace robustmq::runtime {

// Lives on its core. Its destructor waits for the work under way and carries out what was queued.
class Helper {
 public:
  virtual ~Helper() = default;
  // Runs `work` on the helper's thread, in call order, one at a time; then `done` in a later turn of the core. Neither may
  // touch what lives on a core, but `done` on its own.
  virtual void run(Callback<void()> work, Callback<void()> done) = 0;
};

}  // namespace robustmq::runtime
