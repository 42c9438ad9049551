// Wills: the wills of the sessions whose home is this core, stored from CONNECT on, published when their connections end (MQTT5
// 3.1.2.5, 3.1.3.2.2). Lives on its core.
//
// A will is armed while its connection lives, waits once that has ended without a goodbye, and goes when its delay, or its
// session, is over. A connection that comes back to the session in time cancels it. The row is there from before the answer to
// CONNECT, so the will of a clean session too is published after a crash; the delay runs by the wall clock, also over a restart;
// a connection that lived when the node went ended at the next start. When its time comes it becomes a
// message of the ledger that is due (delayed.h), in one write with the end of its row: so it is published once.
//
// Row key: "will/", big-endian tenant (4), length of the client id (2), client id, a number of this will (8). Row value: WillRow
// in the wire codec. Limits: one armed will a connection; what waits is bounded by the sessions.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/describe.h"
#include "broker/menu/request.h"
#include "broker/rows.h"
#include "runtime/core.h"
#include "runtime/timer.h"

namespace robustmq::broker {

struct WillRow {
  std::string topic;
  Bytes payload;
  Bytes raw_headers;
  int32_t header_count = 0;
  uint8_t qos = 0;
  bool retain = false;
  uint32_t expiry_s = 0;
  uint32_t delay_s = 0;           // as asked
  int64_t due_ms = 0;             // wall time; 0: its connection lives
  uint32_t session_expiry_s = 0;  // bounds the delay

  template <class V>
  static void describe(V& v) {
    using W = WillRow;
    v.field("topic", &W::topic);
    v.field("payload", &W::payload);
    v.field("raw_headers", &W::raw_headers);
    v.field("header_count", &W::header_count);
    v.field("qos", &W::qos);
    v.field("retain", &W::retain);
    v.field("expiry_s", &W::expiry_s);
    v.field("delay_s", &W::delay_s);
    v.field("due_ms", &W::due_ms);
    v.field("session_expiry_s", &W::session_expiry_s);
  }
};

// Counted per core.
struct WillMetrics {
  int64_t stored = 0;
  int64_t waiting = 0;
  uint64_t published_total = 0;
  uint64_t cancelled_total = 0;
  uint64_t refused_total = 0;
  uint64_t retries_total = 0;
  uint64_t row_failures_total = 0;

  template <class V>
  static void describe(V& v) {
    using M = WillMetrics;
    v.field("stored", &M::stored, {.doc = "Wills of live connections, and those that wait."});
    v.field("waiting", &M::waiting, {.doc = "Wills whose connection has ended and whose delay runs."});
    v.field("published_total", &M::published_total, {.doc = "Wills published."});
    v.field("cancelled_total", &M::cancelled_total, {.doc = "Wills dropped by a goodbye or by a return in time."});
    v.field("refused_total", &M::refused_total, {.doc = "Wills that the broker refused to publish, as it would the client."});
    v.field("retries_total", &M::retries_total, {.doc = "Times a will could not be published yet and was tried again later."});
    v.field("row_failures_total", &M::row_failures_total, {.doc = "Changes of wills that could not be stored."});
  }
};

class Wills {
 public:
  // Publishes for a client, once through any crash; `gone` (the will's row goes) takes effect with what makes that sure, then
  // comes the answer. Else why not.
  using Send =
      Callback<void(const std::string& client_id, const WillRow& will, storage::KvBatch gone, Callback<void(Status)> done)>;

  Wills(runtime::Core& core, Rows& rows);
  Wills(const Wills&) = delete;
  void set_send(Send send) { send_ = std::move(send); }

  // Reads this core's wills; before any connection. start() lets them go when their time comes: when the halls serve.
  void load(Callback<void(Status)> done);
  void start();

  // A connection opened the session of `client_id`: one that waits is cancelled (where the session ended instead, ended() came
  // before), the new one is armed. `stored` when that is durable.
  void opened(const std::string& client_id, std::optional<Will> will, uint32_t expiry_s, Callback<void(Status)> stored);
  // The connection said goodbye: nothing is published.
  void left(const std::string& client_id);
  // The connection ended without a goodbye, or was taken over. `expiry_s`: of its session.
  void closed(const std::string& client_id, uint32_t expiry_s);
  // The session is over: what waits goes now.
  void ended(const std::string& client_id);

  const WillMetrics& metrics() const { return metrics_; }

 private:
  static constexpr size_t kRowsAPage = 1000;
  static constexpr int64_t kLookEveryMs = 60'000;  // the wall clock may be set meanwhile
  static constexpr int64_t kRetryMs = 1'000;

  struct Stored {
    std::string client_id;
    uint64_t number = 0;
    WillRow row;
    bool is_sending = false;
  };
  using StoredPtr = std::unique_ptr<Stored>;

  void load_from(std::string from, Callback<void(Status)> done);
  Status load_row(std::string_view key, std::string_view value);
  std::string key_of(const Stored& will) const;
  void wait_until(Stored& will, int64_t due_ms);
  void cancel(Stored& will, Callback<void(Status)> done);
  void forget(uint64_t number);
  void fire(Stored& will);
  void on_sent(uint64_t number, const Status& status);
  void arm();
  void on_timer();
  Callback<void(Status)> counted(Callback<void(Status)> done);

  runtime::Core& core_;
  Rows& rows_;
  Send send_;
  WillMetrics metrics_;
  std::unordered_map<uint64_t, StoredPtr> wills_;                                 // by number
  std::unordered_map<std::string, uint64_t, TextHash, std::equal_to<>> current_;  // armed or waiting, by client id
  std::set<std::pair<int64_t, uint64_t>> due_;                                    // those that wait, by wall time
  runtime::Timer timer_;
  bool is_started_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace robustmq::broker
