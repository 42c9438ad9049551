// Markers: ends producers' transactions in shards, wherever their homes are. Lives on its core.
//
// What a transaction that commits wrote is handed to its followers, and owed to stored sessions, before its marker is appended:
// the outcome is decided by then, and a crash in between must not lose a message for them. So after such a crash it may be handed
// out again, as any QoS 1 message may.
#pragma once

#include <list>
#include <memory>
#include <vector>

#include "broker/fan_out.h"
#include "broker/locate.h"
#include "broker/transaction/options.h"
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

  // `done` on this core. Errors: unknown_topic, unknown_topic_id, fenced_producer (a newer epoch is known there), storage_*,
  // shutting_down. Ending what has ended does nothing.
  void write(const Located& topic, int32_t partition, const shard::Marker& marker, Callback<void(Status)> done);

 private:
  // A marker that is to be appended here.
  struct Job {
    Located topic;
    int32_t partition = 0;
    shard::Marker marker;
    Offset until = -1;  // where the log ended when it came
    Callback<void(Status)> done;
  };
  struct Waiter;  // for what is being appended

  void begin(const std::shared_ptr<Job>& job);
  void go_on(shard::Shard& shard, const std::shared_ptr<Job>& job);
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
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace robustmq::broker
