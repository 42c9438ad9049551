// SlowSubscriptions: the clients of one core that messages waited longest for, of late. Pure.
//
// A protocol tells of a message that waited; of each client and topic the last word holds. Limits: slow_subscriptions_max rows,
// the fastest goes when a slower one comes; a row that nothing renews goes after slow_keep_ms.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "broker/extensions/options.h"
#include "broker/menu/request.h"

namespace robustmq::broker {

class SlowSubscriptions {
 public:
  using Row = ListedSlow::One;
  SlowSubscriptions(const ExtensionOptions& options, ExtensionMetrics& metrics) : options_(options), metrics_(metrics) {}

  void report(std::string_view client_id, std::string_view topic, int64_t waited_ms, int64_t now_ms);
  // In no order.
  std::vector<Row> rows(int64_t now_ms) {
    drop_old(now_ms);
    return rows_;
  }
  void clear() { rows_.clear(); }
  // The slowest first, and no more than `count`.
  static void rank(std::vector<Row>& rows, size_t count);

 private:
  void drop_old(int64_t now_ms) {
    std::erase_if(rows_, [&](const Row& row) { return now_ms - row.at_ms >= options_.slow_keep_ms; });
  }

  const ExtensionOptions& options_;
  ExtensionMetrics& metrics_;
  std::vector<Row> rows_;
};

}  // namespace robustmq::broker
