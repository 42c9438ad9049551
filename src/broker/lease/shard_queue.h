// ShardQueue: one queue over one shard: who was given which records, and what became of them (ADR 0017). Lives on the shard's
// home core.
//
// The thin shell of queue::Queue: reads the log for it, keeps its rows (queue_rows.h), carries time to it, and wakes who waits
// for records. What is asked of it goes in line: one request at a time reads and leases, so that no two read the same for
// nothing. Who of those that wait is woken, and who of those in line comes next, is its settings' choice (dispatch): the first
// (round_robin), any (random), or the one that holds the fewest of its records (least_inflight).
//
// Invariants:
//  1. An answer that something was settled comes when it is durable. Leases are not stored: after a crash nobody has any.
//  2. What could not be written is not so: the queue closes with the error, and its next use reads the rows.
//  3. Nothing is leased to a consumer that has left, however long the reading took.
//  4. Where dead letters go somewhere, a record that died is dead, durably, before its letter is written, and done when that is
//     durable. A crash in between writes it again. What cannot be written is tried again for ever; the record stays dead.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/anchor.h"
#include "broker/lease/dead_letters.h"
#include "broker/lease/last_values.h"
#include "broker/lease/options.h"
#include "broker/lease/queue_rows.h"
#include "broker/lease/window.h"
#include "broker/locate.h"
#include "broker/menu/queues.h"
#include "broker/queue/queue.h"
#include "broker/rows.h"
#include "meta/topic.h"
#include "runtime/timer.h"
#include "shard/shard.h"

namespace robustmq::broker {

// Who waits: a request of a core.
struct QueueWaiter {
  CoreIndex core = 0;
  uint64_t request = 0;
  bool operator==(const QueueWaiter&) const = default;
};

// What is leased of one queue for one request.
struct LeaseAsk {
  std::string consumer;
  uint64_t origin = 0;  // the connection
  QueueWaiter waiter;
  int64_t messages_max = 1;
  bool whole_batches = false;
  uint64_t bytes_max = 0;
  bool has_bytes = false;  // the answer has batches already: none goes over the limit
  Offset behind = -1;      // nothing before this: the answer has what lies there
};
struct LeaseGot {
  Code code = Code::ok;
  int64_t lease_ms = 0;
  std::vector<LeasedRange> ranges;
  Pieces batches;
  int64_t messages = 0;
  uint64_t bytes = 0;
  Offset until = -1;         // behind its batches
  bool leaves_some = false;  // that lie before what the answer has, or go over its bytes
};
struct QueueFacts {
  Code code = Code::ok;  // not_found: it was never used
  Offset start = -1;
  LeaderEpoch leader_epoch = 0;
  int64_t lag = -1;
};

class ShardQueue;

// Where a queue's outputs go; its core's Queues.
class QueueEvents {
 public:
  // Error: group_not_found where there is to be no such queue.
  virtual void ask_settings(const QueueKey& queue, Callback<void(Result<QueueSettings>)> done) = 0;
  // There may be something for it; to be told in a later turn.
  virtual void wake(const QueueWaiter& waiter) = 0;
  // It is closed, and answers nothing any more; it is destroyed in a later turn. `owes_letters`: dead letters of it are not
  // written yet.
  virtual void on_closed(const QueueKey& queue, bool owes_letters) = 0;
  virtual void write_letters(const QueueKey& queue, const std::string& source, const QueueSettings::DeadLetters& to,
                             std::vector<DeadLetter> letters, DeadLetters::Done done) = 0;

 protected:
  ~QueueEvents() = default;
};

class ShardQueue final : private shard::Watcher {
 public:
  struct Setup {
    runtime::Core& core;
    Rows& rows;
    Locator& locator;
    queue::QueueMetrics& queue_metrics;
    LeaseMetrics& metrics;
    QueueEvents& events;
  };
  ShardQueue(const Setup& setup, QueueKey key, std::shared_ptr<const meta::Topic> topic);
  ~ShardQueue();

  // What may be done to open one that was never used.
  struct Making {
    bool is_allowed = false;
    bool from_start = false;  // it begins with what the log keeps, whatever the settings say
  };
  // Calls `use` when it is open; or with why it cannot be. not_found: it was never used, and nobody who waits may make it.
  void when_open(Making making, Callback<void(Code)> use);
  // Ends it: who waits hears `code`.
  void close(Code code);

  // ---- When it is open ----
  void lease(LeaseAsk ask, Callback<void(LeaseGot)> done);
  // not_found: some of it is not leased by the consumer; invalid_argument: no renewal here; storage_*.
  void settle(const std::string& consumer, const std::vector<SettleRange>& ranges, Callback<void(Code)> done);
  // The consumer goes, when it is this connection's still.
  void leave(const std::string& consumer, uint64_t origin, queue::Outcome outcome);
  void park(const QueueWaiter& waiter, const std::string& consumer);
  void unpark(const QueueWaiter& waiter);
  void describe(Callback<void(QueueFacts)> done);
  void seek(Offset to, Callback<void(Code)> done);
  void configure(const QueueSettings& settings);

  const QueueSettings& settings() const { return settings_; }
  bool is_open() const { return is_open_; }
  const std::shared_ptr<const meta::Topic>& topic() const { return topic_; }
  // Nobody has or wants anything of it since then.
  bool is_idle_since(Instant then) const;

  static constexpr uint64_t kWindowBytes = 256 << 10;  // read at once
  static constexpr Duration kWindowKept = Duration::seconds(1);
  static constexpr Offset kLookAhead = 100'000;  // records, of a queue of last values
  static constexpr size_t kKeyBytesMax = 16 << 20;
  static constexpr size_t kReplacedMax = 200'000;
  static constexpr uint64_t kSnapshotEveryBytes = 16 << 10;  // of changes, at least
  // Of one writing of dead letters: letters, and bytes of their copies; and the pause behind one that failed, at first and at
  // most.
  static constexpr size_t kLettersMax = 500;
  static constexpr size_t kLetterBytesMax = 1 << 20;
  static constexpr Duration kLetterPause = Duration::seconds(1);
  static constexpr Duration kLetterPauseMax = Duration::seconds(30);

 private:
  struct Consumer {
    queue::ConsumerId id = 0;
    uint64_t origin = 0;
  };
  struct Serving {
    LeaseAsk ask;
    queue::ConsumerId consumer = 0;
    LeaseGot got;
    Offset until = -1;  // behind the batches that it has
    Callback<void(LeaseGot)> done;
  };
  struct Waiting {
    QueueWaiter who;
    std::string consumer;
    bool is_woken = false;
  };
  struct Opening {
    Making making;
    Callback<void(Code)> use;
  };

  // shard_queue.cc
  void open();
  void read_rows(std::string from);
  void restore();
  void make();
  void begin_at(Offset start);
  void finish_opening(Code code);
  void take_outputs();
  void flush(Callback<void(Code)> done);
  void write();
  void on_written(const Status& status);
  void wake_next();
  void watch();
  void on_shard_moved() override;
  void arm();
  void on_timer();
  queue::Now now() const { return {core_.now(), core_.wall_now()}; }
  Anchor<ShardQueue> self() { return anchor_.anchor(this); }
  void with_shard(Callback<void(Result<shard::Shard*>)> use);
  void look_at(const shard::Shard& shard);

  // shard_queue_serve.cc
  void serve();
  void step();
  void on_shard(Result<shard::Shard*> shard);
  void on_fetched(Offset at, Result<shard::Fetched> fetched);
  void use_window(Offset at);
  void take_in();
  int64_t grant(Serving& to, int64_t messages, Offset below, std::vector<LeasedRange>& ranges);
  void answer();
  void answer_with(Code code);
  std::optional<Offset> next_offset() const;
  bool is_known(const Serving& one) const;
  void put_next_first();

  // dispatch.cc
  size_t choose(const std::vector<const std::string*>& consumers);

  // shard_queue_values.cc
  bool look_ahead(shard::Shard& shard, Offset at);
  void on_looked(Offset at, Result<shard::Fetched> fetched);
  void take_ahead(const Window& window);
  int64_t pass_over_replaced(const Serving& of, std::vector<LeasedRange>& ranges);

  // shard_queue_dead.cc
  void owe(std::vector<queue::Outputs::Death> deaths);
  void settle_letters();
  void begin_letters();
  void take_letters();
  void copy_next();
  void copy_from(Offset at, const Bytes& bytes);
  void write_letters();
  void finish_letters(const Status& status, size_t written);
  void pay(Offset first, Offset last);

  runtime::Core& core_;
  Rows& rows_;
  Locator& locator_;
  queue::QueueMetrics& queue_metrics_;
  LeaseMetrics& metrics_;
  QueueEvents& events_;
  const QueueKey key_;
  const std::shared_ptr<const meta::Topic> topic_;

  bool is_open_ = false;
  bool is_over_ = false;
  std::vector<Opening> opening_;
  std::optional<SnapshotRow> snapshot_;                    // while it opens
  std::vector<std::pair<uint64_t, std::string>> changes_;  // while it opens

  QueueSettings settings_;
  queue::QueueOptions options_;
  std::unique_ptr<queue::Queue> queue_;
  std::map<std::string, Consumer, std::less<>> consumers_;
  queue::ConsumerId last_consumer_ = 0;
  std::deque<Serving> line_;
  bool is_serving_ = false;
  bool is_reading_ = false;
  std::optional<Window> window_;
  Instant window_until_{};
  std::optional<LastValues> last_values_;  // where the settings ask for it
  Offset end_ = 0;                         // of what may be read, when the shard was looked at last
  std::list<Waiting> waiters_;
  Instant used_at_{};

  std::vector<queue::Delta> pending_;          // not being written yet
  std::vector<Callback<void(Code)>> writing_;  // who waits for the write under way
  std::vector<Callback<void(Code)>> behind_;   // for the next one
  bool is_writing_ = false;
  uint64_t next_change_ = 0;
  uint64_t first_change_ = 0;  // whose row may be there
  uint64_t changed_bytes_ = 0;
  uint64_t snapshot_bytes_ = 0;

  std::deque<queue::Outputs::Death> owed_;  // whose letters are not being written
  std::vector<DeadLetter> letters_;         // being written
  size_t copied_ = 0;                       // of them were looked up in the log
  size_t copied_bytes_ = 0;
  bool is_lettering_ = false;
  int64_t letters_owed_ = 0;  // in both
  Instant letters_not_before_{};
  Duration letter_pause_ = kLetterPause;
  Offset log_start_ = 0;  // when the shard was looked at last

  runtime::Timer timer_;
  AnchorOwner<ShardQueue> anchor_;
};

}  // namespace robustmq::broker
