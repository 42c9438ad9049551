// Delayed: messages published to `$delayed/{interval}/{topic}`, whose topics' slot is on this core, until they are due. Lives on
// its core.
//
// A message is a row (delayed_row.h), durable before its ack; in memory is only when it is due. When its time comes, by the wall
// clock, also after a restart, its row is read and the message published to its topic, once (delayed_sender.h). Its message
// expiry, when it has one, counts from its acceptance: one that is over before the message is due drops it, counted. What the
// topic refuses for now is tried again each second. Limits: DelayedOptions.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "broker/delayed_options.h"
#include "broker/delayed_row.h"
#include "broker/delayed_sender.h"
#include "broker/menu/request.h"
#include "broker/rows.h"
#include "runtime/core.h"
#include "runtime/timer.h"

namespace robustmq::broker {

class Delayed {
 public:
  // All of them outlive it.
  Delayed(runtime::Core& core, Rows& rows, meta::Meta& meta, Publisher& publisher, RetainedHome& retained,
          const DelayedOptions& options);
  Delayed(const Delayed&) = delete;
  // Every core's, by core; once, before load().
  void set_peers(std::vector<Delayed*> peers) { peers_ = std::move(peers); }

  // Reads when this core's messages are due. start(), when the halls serve, lets them go, and first finishes what was being
  // published when the node went (of streams on core 0). Errors: corrupt_storage, storage_*.
  void load(Callback<void(Status)> done);
  void start();
  // From each core, once: keys (as text) of messages of this core's topics that its spools have. start() waits for them.
  void found(const std::vector<std::string>& keys);
  // Who is told that rows are gone for good (DelayedSender::Forget).
  void set_forget(DelayedSender::Forget forget);

  // From any core: a message whose topic begins with kDelayedPrefix. `beside` takes effect together with its row, or not at all;
  // `done` on this core, when that is durable. Errors: invalid_topic, quota_exceeded, storage_*.
  void accept(const Context& context, const Message& message, storage::KvBatch beside, Callback<void(Status)> done);
  // From any core: a message to be published now, once. `gone` takes effect together with its row; `done` on this core, when that
  // is durable: from then on it is published through any crash. Errors: storage_*.
  void publish_once(DelayedRow row, storage::KvBatch gone, Callback<void(Status)> done);
  // The core that looks after messages to `topic`.
  CoreIndex home_of(std::string_view topic) const;
  // From any core. not_found: no such message, or it is being published.
  void cancel(const DelayedKey& key, Callback<void(Status)> done);
  // From any core: at most `count` messages behind `after` in the order in which they are due.
  void list(const DelayedKey& after, size_t count, Callback<void(Result<std::vector<DelayedMessage>>)> done);

  const DelayedMetrics& metrics() const { return metrics_; }

 private:
  static constexpr size_t kRowsAPage = 1000;
  static constexpr size_t kDueATurn = 200;
  static constexpr int64_t kLookEveryMs = 60'000;  // the wall clock may be set meanwhile
  static constexpr int64_t kRetryMs = 1'000;
  // When to look at it, and what it is.
  using Waiting = std::pair<int64_t, DelayedKey>;

  uint64_t next_number();
  void accept_here(DelayedRow row, int64_t due_ms, storage::KvBatch beside, Callback<void(Status)> done);
  void cancel_here(const DelayedKey& key, Callback<void(Status)> done);
  void load_batches(Callback<void(Status)> done);
  void load_rows(std::string from, Callback<void(Status)> done);
  void begin();
  void recover();
  struct Recovering;
  void read_recovered(const std::shared_ptr<Recovering>& reading, size_t index);
  void on_retry();
  void wait_for(const DelayedKey& key, int64_t at_ms);
  void on_sent(const DelayedMessage& message, const Status& status);
  void send(const DelayedKey& key);
  void arm();
  void on_timer();

  runtime::Core& core_;
  Rows& rows_;
  const DelayedOptions& options_;
  DelayedMetrics metrics_;
  DelayedSender sender_;
  std::vector<Delayed*> peers_;
  std::set<Waiting> waiting_;
  std::vector<std::pair<uint64_t, DelayedBatchRow>> batches_;  // found at the start
  std::set<DelayedKey> in_batches_;                            // their messages
  int64_t under_way_ = 0;                                      // accepted and not durable yet
  uint64_t last_number_ = 0;
  runtime::Timer timer_;
  std::vector<std::pair<std::shared_ptr<Recovering>, size_t>> unread_;  // tried again
  runtime::Timer retry_;
  DelayedSender::Forget forget_;
  std::set<DelayedKey> found_;
  size_t found_by_ = 0;  // cores that told
  bool is_started_ = false;
  bool has_begun_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace robustmq::broker
