// DelayedSender: publishes messages whose time has come, each once through any crash (ADR 0013). Lives on its core.
//
// A topic that survives a crash: messages for one partition go as batches, one at a time, of an idempotent producer of its own (a
// new one each life). What is in a batch and its sequence are written first (DelayedBatchRow), then the batch is appended, then
// all of its rows are removed together. After a crash the batch is appended again under the same producer id and sequence, and
// the shard knows a repeat; so it is there once. Everything else (a topic in memory, one that is not kept) ends with the process:
// the message is published, then its row removed; a crash between the two publishes it again. Sessions that outlive the crash do
// not get it again: the spool has the message's key (kDelayedHeader) for as long as the row may be there. The same key says which
// messages of a light topic's batch the spool has where the batch is a repeat: the others are owed now.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "broker/delayed_row.h"
#include "broker/publisher.h"
#include "broker/retained_home.h"
#include "broker/rows.h"
#include "meta/meta.h"
#include "runtime/core.h"
#include "runtime/timer.h"

namespace robustmq::broker {

class DelayedSender {
 public:
  // ok: published, its row is gone. A retriable error: its row is there, send it again later. Any other: refused for good, its
  // row is gone.
  using Done = Callback<void(const DelayedMessage&, Status)>;

  // All of them outlive it.
  DelayedSender(runtime::Core& core, Rows& rows, meta::Meta& meta, Publisher& publisher, RetainedHome& retained);
  DelayedSender(const DelayedSender&) = delete;
  void set_done(Done done) { done_ = std::move(done); }
  // Told of keys (DelayedKey::to_string) whose rows are gone for good.
  using Forget = Callback<void(const std::vector<std::string>&)>;
  void set_forget(Forget forget) { forget_ = std::move(forget); }
  // What spools had of the ledger when the node started; before recover().
  void set_spooled(std::set<DelayedKey> spooled) { spooled_ = std::move(spooled); }

  void send(DelayedMessage message);
  // Appends again what was being appended when the node went. Its messages are answered like sent ones.
  void recover(uint64_t number, DelayedBatchRow batch, std::vector<DelayedMessage> messages);

 private:
  static constexpr size_t kBatchMessages = 100;
  static constexpr size_t kBatchBytes = 256 << 10;
  static constexpr int64_t kRetryMs = 1'000;

  // A stream's partition, or a light topic's name.
  using LaneKey = std::tuple<TopicId, int32_t, std::string>;
  struct Lane {
    enum class Stage : uint8_t { idle, writing, appending, removing };
    LaneKey key;
    std::shared_ptr<const meta::Topic> stream;
    bool is_recovered = false;  // of an earlier life: it ends with its batch
    ProducerId producer = -1;
    int32_t sequence = 0;  // of the next batch
    std::deque<DelayedMessage> queue;
    Stage stage = Stage::idle;
    uint64_t number = 0;  // of the batch's row
    std::vector<DelayedMessage> batch;
    bool waits = false;      // for another try
    bool is_fenced = false;  // the shard knows its producer otherwise than it should
  };

  void publish(DelayedMessage message);
  void remove_row(std::shared_ptr<DelayedMessage> message, Code code);
  void pump(Lane& lane);
  void write_intent(Lane& lane);
  void append(Lane& lane);
  void on_appended(Lane& lane, Result<shard::Appended> appended);
  void owe_repeated(Lane& lane);
  void remove_rows(Lane& lane, Status result);
  void finish(Lane& lane, const Status& result);
  void retry_later(Lane& lane);
  void on_timer();
  void retain(const DelayedMessage& each);
  void wait_for_producer();
  void end_lane(Lane& lane);

  runtime::Core& core_;
  Rows& rows_;
  meta::Meta& meta_;
  Publisher& publisher_;
  RetainedHome& retained_;
  Done done_;
  Forget forget_;
  std::set<DelayedKey> spooled_;
  ProducerId next_producer_ = 0;
  ProducerId producers_end_ = 0;
  bool is_waiting_for_producer_ = false;
  std::vector<DelayedMessage> waiting_;  // for the producer id
  std::map<LaneKey, std::unique_ptr<Lane>> lanes_;
  std::vector<std::unique_ptr<Lane>> recovered_;
  runtime::Timer timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace robustmq::broker
