#include "broker/extensions/slow.h"

#include <algorithm>
#include <tuple>

namespace robustmq::broker {

void SlowSubscriptions::report(std::string_view client_id, std::string_view topic, int64_t waited_ms, int64_t now_ms) {
  ++metrics_.slow_reports_total;
  drop_old(now_ms);
  const auto known =
      std::find_if(rows_.begin(), rows_.end(), [&](const Row& row) { return row.client_id == client_id && row.topic == topic; });
  if (known != rows_.end()) {
    known->waited_ms = waited_ms;
    known->at_ms = now_ms;
    return;
  }
  if (rows_.size() >= static_cast<size_t>(options_.slow_subscriptions_max)) {
    const auto fastest =
        std::min_element(rows_.begin(), rows_.end(), [](const Row& a, const Row& b) { return a.waited_ms < b.waited_ms; });
    if (fastest->waited_ms >= waited_ms) return;
    rows_.erase(fastest);
  }
  rows_.push_back({std::string(client_id), std::string(topic), waited_ms, now_ms});
}

void SlowSubscriptions::rank(std::vector<Row>& rows, size_t count) {
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
    return std::tie(b.waited_ms, a.client_id, a.topic) < std::tie(a.waited_ms, b.client_id, b.topic);
  });
  if (rows.size() > count) rows.resize(count);
}

}  // namespace robustmq::broker
