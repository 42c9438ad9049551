// Two filters held against each other: whichever way they are asked, the answers agree with each other and with what matches.
#include <string>

#include "base/check.h"
#include "base/topic_names.h"
#include "meta/topic_filters.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace robustmq;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t middle = input.find('\n');
  if (middle == std::string_view::npos) return 0;
  const std::string_view one = input.substr(0, middle);
  const std::string_view two = input.substr(middle + 1);
  if (!is_valid_topic_filter(one) || !is_valid_topic_filter(two)) return 0;
  const bool do_meet = meta::filters_intersect(one, two);
  ROBUSTMQ_CHECK(do_meet == meta::filters_intersect(two, one), "one meets the other, but not the other one");
  if (meta::filter_covers(one, two)) ROBUSTMQ_CHECK(do_meet, "what covers another meets it");
  if (one == two) ROBUSTMQ_CHECK(do_meet && meta::filter_covers(one, two), "a filter is not itself");
  if (is_valid_topic_name(two)) ROBUSTMQ_CHECK(do_meet == filter_matches(one, two), "a topic is a filter of itself");
  return 0;
}
