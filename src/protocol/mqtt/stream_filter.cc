#include "protocol/mqtt/stream_filter.h"

#include <charconv>

#include "base/topic_names.h"

namespace robustmq::mqtt {
namespace {

constexpr std::string_view kStream = "$stream/";
constexpr std::string_view kDeprecated = "$s/";
constexpr std::string_view kOffsetProperty = "stream-offset";
constexpr int64_t kTimesFrom = 1'000'000'000'000'000;  // us since 1970: September 2001

template <class Number>
bool read_number(std::string_view text, Number& to) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), to);
  return error == std::errc() && end == text.data() + text.size() && to >= 0;
}

std::optional<StreamStart> start_of(std::string_view text) {
  using At = StreamStart::At;
  StreamStart start;
  if (const size_t colon = text.find(':'); colon != std::string_view::npos) {
    if (!read_number(text.substr(0, colon), start.partition)) return std::nullopt;
    text.remove_prefix(colon + 1);
  }
  if (text == "latest") return start;
  start.at = At::earliest;
  if (text == "earliest") return start;
  if (!read_number(text, start.value)) return std::nullopt;
  start.at = start.value < kTimesFrom ? At::offset : At::time;
  if (start.at == At::time) start.value /= 1000;
  return start;
}

}  // namespace

std::shared_ptr<const broker::StreamRead> StreamFilter::read_from(const std::vector<StreamStart>& starts) const {
  auto read = std::make_shared<broker::StreamRead>();
  read->name = name;
  read->starts = start ? std::vector{*start} : starts;
  return read;
}

bool is_of_stream(std::string_view text) { return text.starts_with(kStream) || text.starts_with(kDeprecated); }

std::optional<StreamFilter> stream_filter_of(std::string_view text) {
  StreamFilter found;
  const bool is_deprecated = !text.starts_with(kStream);
  text.remove_prefix(is_deprecated ? kDeprecated.size() : kStream.size());
  const size_t slash = text.find('/');
  const std::string_view first = text.substr(0, slash);
  if (first.empty() || first.find_first_of("+#") != std::string_view::npos) return std::nullopt;
  if (slash != std::string_view::npos) {
    found.filter = text.substr(slash + 1);
    if (!is_valid_topic_filter(found.filter)) return std::nullopt;
  }
  if (!is_deprecated) {
    found.name = first;
    return found;
  }
  found.start = start_of(first);
  if (!found.start || found.filter.empty()) return std::nullopt;
  found.name = "/" + std::string(found.filter);
  return found;
}

std::optional<std::vector<StreamStart>> stream_starts_of(const Properties& properties) {
  std::vector<StreamStart> starts;
  PropertyReader reader(properties.raw);
  Property property;
  while (properties.has(PropertyId::user_property) && reader.next(property)) {
    if (property.id != PropertyId::user_property || property.name != kOffsetProperty) continue;
    const std::optional<StreamStart> start = start_of(property.text);
    if (!start || starts.size() == kStreamStartsMax) return std::nullopt;
    starts.push_back(*start);
  }
  return starts;
}

}  // namespace robustmq::mqtt
