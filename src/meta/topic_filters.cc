#include "meta/topic_filters.h"

namespace robustmq::meta {
namespace {

// Filters level by level.
class Levels {
 public:
  explicit Levels(std::string_view text) : rest_(text) {}
  bool has_more() const { return has_more_; }
  std::string_view next() {
    const size_t slash = rest_.find('/');
    const std::string_view level = rest_.substr(0, slash);
    has_more_ = slash != std::string_view::npos;
    rest_.remove_prefix(has_more_ ? slash + 1 : rest_.size());
    return level;
  }

 private:
  std::string_view rest_;
  bool has_more_ = true;
};

// Topics that begin with $ are met by no filter that begins with a wildcard (MQTT5 4.7.2).
bool are_apart(std::string_view a, std::string_view b) {
  const auto is_wild = [](std::string_view text) { return text.starts_with('+') || text.starts_with('#'); };
  return (a.starts_with('$') && is_wild(b)) || (b.starts_with('$') && is_wild(a));
}

}  // namespace

bool filters_intersect(std::string_view a, std::string_view b) {
  if (are_apart(a, b)) return false;
  Levels of_a(a);
  Levels of_b(b);
  if ((a == "+" && b == "/#") || (a == "/#" && b == "+")) return false;  // the empty name alone, which is no topic
  while (of_a.has_more() && of_b.has_more()) {
    const std::string_view x = of_a.next();
    const std::string_view y = of_b.next();
    if (x == "#" || y == "#") return true;
    if (x != y && x != "+" && y != "+") return false;
  }
  if (!of_a.has_more() && !of_b.has_more()) return true;
  return (of_a.has_more() ? of_a : of_b).next() == "#";  // its parent level
}

bool filter_covers(std::string_view wide, std::string_view narrow) {
  if (are_apart(wide, narrow)) return false;
  Levels of_wide(wide);
  Levels of_narrow(narrow);
  while (of_wide.has_more() && of_narrow.has_more()) {
    const std::string_view x = of_wide.next();
    const std::string_view y = of_narrow.next();
    if (x == "#") return true;
    if (y == "#" || (x != y && x != "+")) return false;
  }
  if (!of_wide.has_more()) return !of_narrow.has_more();
  return of_wide.next() == "#";
}

std::string claimed_text(std::string_view filter, std::string_view other, std::string_view topic) {
  std::string text = "messages of ";
  text += filter;
  text += " go elsewhere already, by ";
  text += other;
  if (topic.empty()) return text + ", a topic rule without a stream";
  (text += " to the stream ") += topic;
  // A queue or a reader may have a part of a stream.
  if (filter_covers(other, filter)) ((text += ", of which ") += topic) += "/" + std::string(filter) + " is a part";
  return text;
}

}  // namespace robustmq::meta
