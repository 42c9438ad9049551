// Leaser: what connections of this core ask of queues, wherever those are: goes from home core to home core, joins what they
// give, and waits where there is nothing. Lives on its core.
//
// A request goes along the partitions in their order, those of one home core together, with what is left of its limits: what was
// leased cannot be handed back. Where there is nothing at all it is parked: each queue knows that it waits, and wakes one of
// those who wait for each record that comes; who was woken asks all its queues anew. Settlements go first, and are answered when
// they are durable.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "broker/broker.h"
#include "broker/lease/options.h"
#include "broker/lease/queues.h"
#include "broker/locate.h"
#include "broker/options.h"
#include "runtime/timer.h"

namespace robustmq::broker {

class Leaser {
 public:
  Leaser(runtime::Core& core, Locator& locator, Queues& queues, const BrokerOptions& options, LeaseMetrics& metrics);
  ~Leaser();
  void set_peers(std::vector<Leaser*> peers) { peers_ = std::move(peers); }

  // `asker`: whose connection asks; its end cancels.
  void lease(const Context& asker, LeaseRecords request, ReplyTo done);
  void settle(const Context& asker, const SettleLeases& request, ReplyTo done);
  // What the consumer holds goes back, by `outcome`.
  void leave(const Context& asker, const LeaveQueue& request, queue::Outcome outcome);
  // The consumer's requests that wait for records are answered with what there is: nothing.
  void stop_waiting(const Context& asker, const std::string& queue, const std::string& consumer);
  // The connection is gone: its requests are not answered, and what its consumers hold goes back.
  void close(const Context& asker);
  // There may be something for this request.
  void on_woken(uint64_t request);

  Queues& queues() { return queues_; }

 private:
  using Part = QueuePart;
  struct Home {
    CoreIndex core = 0;
    std::shared_ptr<Part> part;
  };
  struct Operation {
    Operation(Leaser& leaser_in, const Context& asker_in, uint64_t id_in)
        : leaser(leaser_in), asker(&asker_in), id(id_in), timer(&Operation::on_timer, this) {}
    static void on_timer(void* self);
    Leaser& leaser;
    const Context* asker;
    uint64_t id;
    int64_t messages_max = 0;
    int64_t bytes_max = 0;
    int64_t bytes_min = 0;
    std::vector<Offset> behind;  // of each row: where its batches end
    std::vector<Home> homes;
    LeasedRecords reply;
    ReplyTo done;
    Instant deadline{};
    size_t at = 0;         // into `homes`, of the walk
    int64_t messages = 0;  // leased so far
    uint64_t bytes = 0;    // of batches
    size_t settling = 0;   // homes that have not answered
    bool has_error = false;
    bool is_enough = false;  // what else there is cannot be had with what it has
    bool is_walking = false;
    bool is_parked = false;
    bool has_parked = false;  // at least once: queues may know that it waits
    bool was_woken = false;   // while it walked
    runtime::Timer timer;
  };
  using Joined = std::map<std::pair<std::string, std::string>, std::map<ShardId, CoreIndex>>;  // by queue and consumer

  // The stream's shard and home; or why it has no queue.
  struct Place {
    Code code = Code::ok;
    CoreIndex home = 0;
    Part::Item item;
  };
  Place place(const std::vector<TopicRef>& topics, int32_t topic_index, int32_t partition, size_t index) const;
  Part& part_of(std::vector<Home>& homes, CoreIndex core, const Context& asker, const std::string& queue, LeaseAsk ask) const;
  void settle_at(std::vector<Home> homes, Callback<void(const Part&, std::vector<Code>, int64_t)> done);
  void begin_settling(Operation& operation, LeaseRecords& request);
  void walk(Operation& operation);
  void go_on(Operation& operation);
  void take(uint64_t id, std::vector<LeaseGot> got);
  void settle_operation(Operation& operation);
  void park(Operation& operation);
  void finish(Operation& operation);
  std::unique_ptr<Operation> take_out(uint64_t id);
  void go_back(const Context& asker, const Joined::value_type& joined, queue::Outcome outcome);
  // Calls `use(Queues&)` on the core.
  template <class Use>
  void at(CoreIndex core, Use use);

  runtime::Core& core_;
  Locator& locator_;
  Queues& queues_;
  const BrokerOptions& options_;
  LeaseMetrics& metrics_;
  std::vector<Leaser*> peers_;
  std::map<uint64_t, std::unique_ptr<Operation>> operations_;
  std::set<std::pair<const Context*, uint64_t>> by_asker_;
  std::map<const Context*, Joined> joined_;
  uint64_t last_id_ = 0;
};

}  // namespace robustmq::broker
