#include "broker/group/share_start.h"

namespace robustmq::broker {
namespace {

constexpr std::string_view kByDuration = "by_duration:";
constexpr int64_t kNumberMax = 1'000'000'000;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// The milliseconds of one unit; 0: there is none of this name here.
int64_t unit_ms(char unit, bool is_time) {
  if (!is_time) return unit == 'D' ? 86'400'000 : 0;
  if (unit == 'H') return 3'600'000;
  if (unit == 'M') return 60'000;
  return unit == 'S' ? 1000 : 0;
}

// Takes digits from the front; nullopt: there are none, or too many.
std::optional<int64_t> take_number(std::string_view& text) {
  int64_t number = 0;
  size_t digits = 0;
  for (; !text.empty() && is_digit(text.front()); text.remove_prefix(1), ++digits) {
    number = number * 10 + (text.front() - '0');
    if (number > kNumberMax) return std::nullopt;
  }
  return digits > 0 ? std::optional(number) : std::nullopt;
}

// The same behind a point, in thousandths.
std::optional<int64_t> take_fraction(std::string_view& text) {
  int64_t thousandths = 0, weight = 100;
  size_t digits = 0;
  for (; !text.empty() && is_digit(text.front()); text.remove_prefix(1), ++digits, weight /= 10)
    thousandths += (text.front() - '0') * weight;
  return digits > 0 ? std::optional(thousandths) : std::nullopt;
}

std::optional<int64_t> duration_ms(std::string_view text) {
  if (!text.starts_with('P')) return std::nullopt;
  text.remove_prefix(1);
  bool is_time = false;
  int64_t total = 0;
  int64_t before = INT64_MAX;  // units only get smaller
  bool has_any = false;
  while (!text.empty()) {
    if (text.front() == 'T' && !is_time) {
      is_time = true;
      has_any = false;  // something must follow
      text.remove_prefix(1);
      continue;
    }
    const std::optional<int64_t> number = take_number(text);
    const bool has_fraction = text.starts_with('.');
    if (has_fraction) text.remove_prefix(1);
    const std::optional<int64_t> thousandths = has_fraction ? take_fraction(text) : std::optional<int64_t>(0);
    const int64_t unit = text.empty() ? 0 : unit_ms(text.front(), is_time);
    if (!number || !thousandths || unit == 0 || unit >= before || (has_fraction && unit != 1000)) return std::nullopt;
    before = unit;
    has_any = true;
    text.remove_prefix(1);
    total += *number * unit + *thousandths;
  }
  return has_any ? std::optional(total) : std::nullopt;
}

}  // namespace

std::optional<ShareStart> start_of(std::string_view value) {
  if (value == "latest") return ShareStart{QueueSettings::StartAt::latest, 0};
  if (value == "earliest") return ShareStart{QueueSettings::StartAt::earliest, 0};
  if (!value.starts_with(kByDuration)) return std::nullopt;
  const std::optional<int64_t> before = duration_ms(value.substr(kByDuration.size()));
  if (!before) return std::nullopt;
  return ShareStart{QueueSettings::StartAt::before_now, *before};
}

}  // namespace robustmq::broker
