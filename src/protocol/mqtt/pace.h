// Pace: how fast a client may send: its own limits and its share of its listener's. A client that is over is read no further
// until its next packet's time has come; nothing is dropped. Private to this room. Pure (base/rate.h).
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "protocol/connection.h"

namespace robustmq::mqtt {

class Pace {
 public:
  explicit Pace(std::shared_ptr<const protocol::LinkLimits> limits) : limits_(std::move(limits)) {
    if (limits_->client_messages_per_s > 0) messages_.emplace(limits_->client_messages_per_s);
    if (limits_->client_bytes_per_s > 0) bytes_.emplace(limits_->client_bytes_per_s);
  }

  // Whether the packet may be handled now; if not, it waits until due(), and may then. Each packet is taken once.
  bool may_pass(Instant now, bool is_publish, size_t bytes) {
    if (std::exchange(is_paid_, false)) return true;
    Instant due = now;
    const auto take = [&](Rate* rate, uint64_t count) {
      if (!rate) return;
      const Instant at = rate->take(now, count);
      if (at > due) due = at;
    };
    if (is_publish) {
      take(messages_ ? &*messages_ : nullptr, 1);
      take(limits_->messages.get(), 1);
    }
    take(bytes_ ? &*bytes_ : nullptr, bytes);
    take(limits_->bytes.get(), bytes);
    if (due <= now) return true;
    due_ = due;
    return false;
  }
  bool is_waiting() const { return due_ != Instant::never(); }
  Instant due() const { return due_; }
  // The time has come: the packet that waits passes.
  void go_on() {
    due_ = Instant::never();
    is_paid_ = true;
  }

 private:
  std::shared_ptr<const protocol::LinkLimits> limits_;
  std::optional<Rate> messages_;
  std::optional<Rate> bytes_;
  Instant due_ = Instant::never();
  bool is_paid_ = false;
};

}  // namespace robustmq::mqtt
