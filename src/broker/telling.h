// Telling: several announcements to other cores, and what comes when all of them are known.
#pragma once

#include <cstddef>

#include "base/callback.h"

namespace robustmq::broker {

struct Telling {
  Callback<void()> then;
  size_t waiting = 1;  // whoever makes it finishes one, behind its last announcement
  void finish_one() {
    if (--waiting == 0) then();
  }
};

}  // namespace robustmq::broker
