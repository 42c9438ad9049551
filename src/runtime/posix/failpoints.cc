#include "runtime/posix/failpoints.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <string>

#include "base/failpoint.h"

namespace robustmq::runtime::posix {

#ifdef ROBUSTMQ_NO_FAILPOINTS
bool arm_failpoint(std::string_view) { return false; }
#else
namespace {

std::string failpoint_name;
std::atomic<int> failpoint_left{0};

void on_failpoint(std::string_view name, std::string_view more) {
  const std::string_view wanted = failpoint_name;
  if (!wanted.starts_with(name) || wanted.substr(name.size()) != more) return;
  if (failpoint_left.fetch_sub(1) == 1) ::kill(::getpid(), SIGKILL);
}

}  // namespace

bool arm_failpoint(std::string_view spec) {
  const size_t colon = spec.find(':');
  int times = 1;
  if (colon != std::string_view::npos) {
    const std::string_view text = spec.substr(colon + 1);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), times);
    if (error != std::errc{} || end != text.data() + text.size()) return false;
  }
  failpoint_name = spec.substr(0, colon);
  if (failpoint_name.empty() || times < 1) return false;
  failpoint_left = times;
  failpoint_hook = on_failpoint;
  return true;
}
#endif

}  // namespace robustmq::runtime::posix
