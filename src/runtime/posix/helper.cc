#include "runtime/posix/helper.h"

#include <utility>

#include "runtime/posix/core.h"

namespace robustmq::runtime::posix {

PosixHelper::PosixHelper(Core& core, std::string name) : core_(static_cast<PosixCore&>(core)), worker_(std::move(name), 1) {}

void PosixHelper::run(Callback<void()> work, Callback<void()> done) {
  worker_.run([core = &core_, work = std::move(work), done = std::move(done)]() mutable {
    work();
    work.reset();
    core->complete(std::move(done));
  });
}

}  // namespace robustmq::runtime::posix
