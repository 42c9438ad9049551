// See mount.h. Pure.
#include "protocol/mqtt/mount.h"

namespace robustmq::mqtt {
namespace {

constexpr std::string_view kDelayed = "$delayed/";
constexpr std::string_view kExclusive = "$exclusive/";

bool fill(std::string& text, std::string_view placeholder, std::string_view value) {
  for (size_t at = text.find(placeholder); at != std::string::npos; at = text.find(placeholder, at + value.size())) {
    if (value.empty() || value.find_first_of("/+#") != std::string_view::npos) return false;
    text.replace(at, placeholder.size(), value);
  }
  return true;
}

}  // namespace

std::optional<std::string> mountpoint_of(std::string_view pattern, std::string_view client_id, std::string_view user) {
  std::string prefix(pattern);
  if (!fill(prefix, "${clientid}", client_id) || !fill(prefix, "${username}", user)) return std::nullopt;
  return prefix;
}

std::string mounted(std::string_view prefix, std::string_view topic) {
  size_t at = 0;
  if (topic.starts_with(kExclusive)) {
    at = kExclusive.size();
  } else if (topic.starts_with(kDelayed)) {
    const size_t slash = topic.find('/', kDelayed.size());
    at = slash == std::string_view::npos ? topic.size() : slash + 1;
  }
  std::string whole(topic.substr(0, at));
  whole += prefix;
  whole += topic.substr(at);
  return whole;
}

std::string_view unmounted(std::string_view prefix, std::string_view topic) {
  if (topic.size() <= prefix.size() || !topic.starts_with(prefix)) return {};
  return topic.substr(prefix.size());
}

}  // namespace robustmq::mqtt
