// Queues: the queues over the shards whose home is this core: opened with their first use, closed when nobody uses them. Lives on
// its core.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "broker/lease/options.h"
#include "broker/lease/queue_rows.h"
#include "broker/lease/shard_queue.h"
#include "broker/locate.h"
#include "broker/rows.h"
#include "meta/meta.h"

namespace robustmq::broker {

// What is asked of the queues of one core.
struct QueuePart {
  struct Item {
    size_t index = 0;  // into what the request asked
    ShardId shard;
    std::shared_ptr<const meta::Topic> topic;
    std::vector<SettleRange> ranges;  // to be settled
    Offset behind = -1;               // see LeaseAsk
  };
  TenantId tenant = kDefaultTenant;
  std::string queue;
  LeaseAsk ask;
  std::vector<Item> items;
};

class Queues final : private QueueEvents {
 public:
  Queues(runtime::Core& core, Rows& rows, Locator& locator, LeaseMetrics& metrics);
  ~Queues();

  // Who knows the settings of a queue, and whether it is to be.
  void set_settings(Callback<void(const QueueKey&, Callback<void(Result<QueueSettings>)>)> ask) { ask_ = std::move(ask); }
  // Who writes dead letters.
  void set_letters(DeadLetters* letters) { letters_ = letters; }
  // Who is told that there may be something for a request.
  void set_wake(Callback<void(const QueueWaiter&)> wake) { wake_ = std::move(wake); }

  // Leases of the items, one behind the other, as far as the limits go; those behind have no ranges. In the order of the items.
  void lease(QueuePart part, Callback<void(std::vector<LeaseGot>)> done);
  // Settles each item's ranges; answered when all of it is durable. `done` with a code an item, and how long leases last (0: not
  // known).
  using Settled = Callback<void(std::vector<Code>, int64_t)>;
  void settle(QueuePart part, Settled done);
  void park(const QueuePart& part);
  void unpark(const QueuePart& part);
  void leave(TenantId tenant, const std::string& name, const std::vector<ShardId>& shards, const std::string& consumer,
             uint64_t origin, queue::Outcome outcome);

  // Sees to it that the queue is there, durably when `done` says ok. `from_start`: one that is new begins with what the log
  // keeps, whatever the settings say.
  void make(const QueueKey& key, const std::shared_ptr<const meta::Topic>& topic, bool from_start, Callback<void(Code)> done);
  void describe(QueueKey key, std::shared_ptr<const meta::Topic> topic, Callback<void(QueueFacts)> done);
  void seek(QueueKey key, std::shared_ptr<const meta::Topic> topic, Offset to, Callback<void(Code)> done);
  // The queue was never there, durably when `done` says ok.
  void remove(const QueueKey& key, Callback<void(Code)> done);
  // New settings of the queues of this name.
  void configure(TenantId tenant, const std::string& name, const QueueSettings& settings);

  // The topic is gone, and so is what is known of its partitions whose home is here.
  void remove_topic(const meta::Topic& topic);
  // Closes what nobody uses any more.
  void tidy();
  // Removes rows of topics that are not there any more: a crash came between their end and that of their rows.
  void sweep(const meta::Meta& meta);
  // Opens the queues that may owe dead letters since before the start.
  void resume_letters(const meta::Meta& meta) { resume_from(meta, std::string(kQueueRows)); }

  const queue::QueueMetrics& queue_metrics() const { return queue_metrics_; }
  size_t size() const { return queues_.size(); }

  static constexpr Duration kIdle = Duration::seconds(60);

 private:
  class Walk;

  void ask_settings(const QueueKey& queue, Callback<void(Result<QueueSettings>)> done) override;
  void wake(const QueueWaiter& waiter) override { wake_(waiter); }
  void on_closed(const QueueKey& queue, bool owes_letters) override;
  void write_letters(const QueueKey& queue, const std::string& source, const QueueSettings::DeadLetters& to,
                     std::vector<DeadLetter> letters, DeadLetters::Done done) override;

  void with(const QueueKey& key, const std::shared_ptr<const meta::Topic>& topic, bool may_make,
            Callback<void(Result<ShardQueue*>)> use, bool from_start = false);
  ShardQueue* find_open(const QueueKey& key) const;
  void remove_rows(const meta::Topic& topic);
  void sweep_from(const meta::Meta& meta, std::string from);
  void resume_from(const meta::Meta& meta, std::string from);
  void open_again(const QueueKey& key, std::shared_ptr<const meta::Topic> topic);

  runtime::Core& core_;
  Rows& rows_;
  Locator& locator_;
  LeaseMetrics& metrics_;
  queue::QueueMetrics queue_metrics_;
  Callback<void(const QueueKey&, Callback<void(Result<QueueSettings>)>)> ask_;
  Callback<void(const QueueWaiter&)> wake_;
  std::map<QueueKey, std::unique_ptr<ShardQueue>> queues_;
  std::multiset<QueueKey> removing_;
  DeadLetters* letters_ = nullptr;
  std::map<QueueKey, std::shared_ptr<const meta::Topic>> owing_;  // that closed while they owed letters: opened again by tidy()
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace robustmq::broker
