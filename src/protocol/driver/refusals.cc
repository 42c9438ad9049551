#include "protocol/driver/refusals.h"

#include <algorithm>

namespace robustmq::protocol::driver {
namespace {

constexpr Duration kBetweenLines = Duration::seconds(1);

}  // namespace

void Refusals::tell(std::string_view why, std::string_view detail, std::string peer) {
  auto reason = std::find_if(reasons_.begin(), reasons_.end(), [&](const Reason& each) { return each.why == why; });
  if (reason == reasons_.end()) reason = reasons_.insert(reasons_.end(), Reason{why});
  ++reason->count;
  reason->detail = detail;
  reason->peer = std::move(peer);
  if (timer_.is_armed()) return;
  write();
  core_.arm(timer_, core_.now() + kBetweenLines);
}

void Refusals::on_time(void* self) {
  auto& refusals = *static_cast<Refusals*>(self);
  if (refusals.write()) refusals.core_.arm(refusals.timer_, refusals.core_.now() + kBetweenLines);
}

bool Refusals::write() {
  bool has_written = false;
  for (Reason& reason : reasons_) {
    if (reason.count == 0) continue;
    log_.warn("connection_refused", {{"listener", listener_},
                                     {"why", reason.why},
                                     {"detail", reason.detail},
                                     {"peer", reason.peer},
                                     {"count", std::exchange(reason.count, 0)}});
    has_written = true;
  }
  return has_written;
}

}  // namespace robustmq::protocol::driver
