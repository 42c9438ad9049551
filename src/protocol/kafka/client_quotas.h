// LinkQuotas: the client quotas that a connection is under. Pure.
//
// A connection asks the broker once which buckets are its client's, and again when quotas have changed or a request has another
// client id; while no quota of clients is set it asks nothing. What a request did is taken from a bucket; where that overdraws
// it, the answer says for how long (throttle_time_ms) and the connection is read no further until then (KIP-219).
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "base/quota_bucket.h"
#include "broker/menu/quotas.h"
#include "protocol/kafka/options.h"

namespace robustmq::kafka {

using broker::QuotaKind;

// How long a request delays its connection, and what of it its client is told.
struct Delay {
  Instant until{};  // the start of time: not at all
  Instant told_until{};

  void add(const Delay& other) {
    until = std::max(until, other.until);
    told_until = std::max(told_until, other.told_until);
  }
  // Whole milliseconds, rounded up.
  int32_t told_ms(Instant now) const {
    return told_until <= now ? 0 : static_cast<int32_t>(((told_until - now).ns + 999'999) / 1'000'000);
  }
};

class LinkQuotas {
 public:
  // `board`: null where the connection is under no quotas.
  LinkQuotas(std::shared_ptr<const broker::QuotaBoard> board, KafkaMetrics& metrics)
      : board_(std::move(board)), metrics_(metrics) {}

  bool limits_hosts() const { return board_ && board_->limits_hosts.load(std::memory_order_relaxed); }
  // Whether a request with this client id may begin; false: ask() first, and take() the answer.
  bool is_known(std::string_view client_id) {
    if (!board_) return true;
    const uint64_t changes = board_->changes.load(std::memory_order_acquire);
    if (changes == found_.changes && (!limits_ || client_id == client_id_)) return true;
    limits_ = board_->limits_clients.load(std::memory_order_relaxed);
    if (limits_) return false;
    found_ = {};
    found_.changes = changes;
    return true;
  }
  broker::FindQuotas ask(std::string_view client_id) {
    client_id_ = client_id;
    return {client_id_};
  }
  void take(broker::FoundQuotas found) { found_ = std::move(found); }

  // null: no limit.
  QuotaBucket* bucket(QuotaKind kind) const { return found_.buckets[static_cast<size_t>(kind)].get(); }
  bool is_timed() const { return bucket(QuotaKind::request) != nullptr; }
  // A time of the core that requests took.
  void spend(Instant now, Duration time) {
    if (QuotaBucket* spent = bucket(QuotaKind::request)) spent->take(now, static_cast<double>(time.ns) / 1e7);
  }
  // Takes `count` of this kind.
  Delay take(QuotaKind kind, Instant now, double count) {
    QuotaBucket* taken = bucket(kind);
    return taken ? delay(kind, now, *taken, taken->take(now, count)) : Delay{};
  }
  // The same, and nobody waits for it.
  void take_silently(QuotaKind kind, Instant now, double count) {
    if (QuotaBucket* taken = bucket(kind)) taken->take(now, count);
  }
  // What is owed already.
  Delay owed(QuotaKind kind, Instant now) {
    const QuotaBucket* taken = bucket(kind);
    return taken ? delay(kind, now, *taken, taken->owed(now)) : Delay{};
  }

 private:
  Delay delay(QuotaKind kind, Instant now, const QuotaBucket& taken, Duration owed) {
    if (owed <= Duration{}) return {};
    metrics_.count_throttled(kind, owed);
    return {now + owed, now + std::min(owed, taken.saved_max())};
  }

  std::shared_ptr<const broker::QuotaBoard> board_;
  KafkaMetrics& metrics_;
  bool limits_ = false;  // as the board said when it was asked last
  std::string client_id_;
  broker::FoundQuotas found_;
};

}  // namespace robustmq::kafka
