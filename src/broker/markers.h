// Markers: ends producers' transactions in shards, wherever their homes are. Lives on its core.
//
// What a transaction that commits wrote is handed to its followers, and owed to stored sessions, before its marker is appended:
// the outcome is decided by then, and a crash in between must not lose a message for them. The marker comes when what sessions
// are owed is stored. A long transaction is handed out in parts, a turn each, and where followers do not take more at once, after
// a pause. What was handed out is remembered until then, so a marker that is tried again brings nothing twice; after a crash it
// may come again, as any QoS 1 message may.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "broker/fan_out.h"
#include "broker/locate.h"
#include "broker/transaction/options.h"
#include "runtime/timer.h"
#include "shard/marker.h"

namespace robustmq::broker {

class Markers {
 public:
  // All of them outlive it.
  Markers(runtime::Core& core, Locator& locator, FanOut& fan_out, Streams& streams, LightTopics& lights,
          TransactionMetrics& metrics);
  ~Markers();
  // Every core's, by core; once.
  void set_peers(std::vector<Markers*> peers) { peers_ = std::move(peers); }

  // `done` on this core. Errors: unknown_topic, unknown_topic_id, fenced_producer (a newer epoch is known there), storage_* (also
  // where what sessions are owed cannot be stored: to be tried again), shutting_down. Ending what has ended does nothing.
  void write(const Located& topic, int32_t partition, const shard::Marker& marker, Callback<void(Status)> done);

  // Of one transaction in one partition, handed out in a turn; whole batches.
  static constexpr size_t kTurnRecordsMax = 1'000;
  static constexpr size_t kTurnBytesMax = 256 << 10;
  // Followers that do not take more are waited for: this long, and so often for one marker.
  static constexpr int64_t kPauseMs = 5;
  static constexpr int kPausesMax = 200;

 private:
  // A marker that is to be appended here.
  struct Job {
    Located topic;
    int32_t partition = 0;
    shard::Marker marker;
    Offset until = -1;  // where the log ended when it came, as far as that is stored
    Callback<void(Status)> done;
    ShardId id{};
    // Of what is being handed out.
    size_t waiting = 1;  // for the spool, and the reading
    Offset read = -1;
    size_t turn_records = 0;  // handed out in this turn
    size_t turn_bytes = 0;
    bool is_part = false;  // there is more
    int pauses_left = kPausesMax;
    Offset not_owed = INT64_MAX;  // the first batch of which the spool could not store what sessions are owed
    Status status;                // why
  };
  struct Waiter;  // for what is being appended
  // How far a transaction that is not ended yet was handed out.
  struct HandedOut {
    Offset first = -1;  // where the transaction begins
    Offset told = -1;   // followers had what lies below
    Offset owed = -1;   // of what lies below it is stored what sessions are owed
  };
  using Open = std::pair<ShardId, ProducerId>;

  static std::shared_ptr<Job> make_job(const Located& topic, int32_t partition, const shard::Marker& marker,
                                       Callback<void(Status)> done);
  void begin(const std::shared_ptr<Job>& job);
  void go_on(shard::Shard& shard, const std::shared_ptr<Job>& job);
  void hand_out(const std::shared_ptr<Job>& job, ByteSpan bytes);
  void pause(const std::shared_ptr<Job>& job);
  void on_timer();
  void finish_part(const std::shared_ptr<Job>& job);
  void append(const std::shared_ptr<Job>& job);
  void finish(Job& job, Status status);
  bool is_wanted(const Located& topic, const ShardId& id) const;

  runtime::Core& core_;
  Locator& locator_;
  FanOut& fan_out_;
  Streams& streams_;
  LightTopics& lights_;
  TransactionMetrics& metrics_;
  std::vector<Markers*> peers_;
  std::list<std::unique_ptr<Waiter>> waiters_;
  std::vector<std::shared_ptr<Job>> paused_;
  runtime::Timer timer_;
  std::map<Open, HandedOut> handed_out_;  // at most one for each transaction that is open here
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace robustmq::broker
