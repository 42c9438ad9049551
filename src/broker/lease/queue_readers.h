// QueueReaders: takes messages of queues for connections of this core that follow them (FollowOne of kQueueShare): what a stream
// got since the queue was first followed goes to one of its followers each, again to another until one has acknowledged it, and
// waits while there is none (ADR 0022). Lives on its core.
//
// One reader a subscription. It leases through the Leaser, as Kafka's share groups do: a queue is the share group of its name
// (queue_group()), which core 0 knows and its tools show. It takes as much as its client may have unacknowledged, a few messages
// at a time, so that followers get their turns. A lease is as long as the connection:
//   QoS 0: done when it is handed over.  QoS 1: when its client acknowledged it.  QoS 2: when its client has received it.
// What a connection leaves behind goes to others, in its order. A reader that is taken away keeps what its client has been sent
// until that is acknowledged, and gives the rest back.
//
// A queue with a filter is one of its own; what its filter leaves out is passed over. Where there is no such record any more
// (compaction), or its batch cannot be opened, the place is passed over too; the latter as a death, which is counted.
//
// Limits: `shared_inflight_max` and the client's Receive Maximum bound what a connection holds; kAskMax messages and kAskBytes
// are leased at once; a message that kRefusalsMax deliveries could not hand over is dead.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "broker/broker.h"
#include "broker/fan_out.h"
#include "broker/lease/leaser.h"
#include "broker/readers.h"
#include "broker/topic_rules.h"
#include "meta/meta.h"
#include "runtime/core.h"
#include "shard/record_reader.h"

namespace robustmq::broker {

// Whether a subscription is one of a queue.
bool is_of_queue(const BrokerOptions& options, std::string_view share);

// What a subscription's filter names.
struct QueueName {
  std::shared_ptr<const meta::Topic> topic;  // null: no such stream
  std::string_view filter;                   // of its messages; empty: all
  std::string group() const;                 // the share group that keeps the queue: `$queue/NAME` or `$queue/NAME/FILTER`
};
QueueName queue_name_of(const meta::Meta& meta, const TopicRules& rules, TenantId tenant, std::string_view text);

// A subscription that takes messages of a queue.
struct QueueReader : ReaderState {
  QueueReader(Context& context_in, FollowOne wanted_in, const QueueName& name);
  struct Settling {
    int32_t partition = 0;
    SettleRange range;
  };
  FollowOne wanted;
  std::shared_ptr<const meta::Topic> topic;
  std::string filter;                      // of its messages
  std::string group;                       // of the queue
  std::string consumer;                    // its own name in the group
  std::string fallback;                    // MQTT topic of records that name none
  int64_t ask = 1;                         // how many are asked for at once
  int32_t turn = 0;                        // the partition that is asked first
  size_t held = 0;                         // handed over and not settled
  std::vector<Settling> settling;          // at the end of this turn
  std::vector<Callback<void(Code)>> told;  // when it is settled
  // What was leased: partition by partition, and of the one at hand, range by range, batch by batch, record by record.
  std::vector<int32_t> asked;
  LeasedRecords leased;
  size_t next = 0;  // of `leased`
  int32_t partition = 0;
  std::vector<LeasedRange> ranges;  // as far as they are not gone through
  size_t range = 0;
  Bytes bytes;
  size_t bytes_at = 0;
  Bytes batch;
  std::optional<shard::OpenedRecords> records;
  bool is_open = false;
  bool is_leaving = false;  // taken away: hands nothing over any more
  bool is_dirty = false;
};
using QueueReaderPtr = std::shared_ptr<QueueReader>;

// A message of a queue that a client was sent.
struct HeldOfQueue {
  QueueReaderPtr reader;
  int32_t partition = 0;
  Offset offset = 0;
  uint16_t deliveries = 0;
  bool is_settled = false;  // QoS 2: the client has it
};
struct ConnectionQueues : ConnectionReaders<QueueReader> {
  std::vector<QueueReaderPtr> leaving;
  std::unordered_map<uint16_t, HeldOfQueue> held;
  uint16_t next_lease = kQueueLeaseMin;
};

class QueueReaders final : public Readers<QueueReader, ConnectionQueues>, private runtime::Deferred {
 public:
  QueueReaders(runtime::Core& core, const meta::Meta& meta, Leaser& leaser, const FanOut& fan_out, const TopicRules& rules,
               const BrokerOptions& options, BrokerMetrics& metrics);
  // Who sees to it that a queue is there, begun and durable, over each partition that the stream has now.
  using Open = Callback<void(TenantId, const std::string& group, std::shared_ptr<const meta::Topic>, Callback<void(Code)> done)>;
  void set_open(Open open) { open_ = std::move(open); }

  // Adds or replaces. ok: `done` comes, maybe inline, when all that is appended from then on reaches the queue, or with why it
  // does not; the reader is gone then. Else (invalid_topic: no such stream) it does not come. What is added waits for start().
  FollowResult add(Context& context, const FollowOne& wanted, Callback<void(Code)> done);
  // False: there was none.
  bool remove(const Context& context, std::string_view filter);
  void close(const Context& context);

  bool has(const Context& context, std::string_view filter) const;
  // visit(filter, qos_max) for each subscription of a connection.
  template <class Visit>
  void each_of(const Context& context, Visit&& visit) const {
    const auto found = connections_.find(context.connection_id);
    if (found == connections_.end()) return;
    for (const ReaderPtr& reader : found->second.readers) visit(reader->wanted.filter, reader->wanted.qos_max);
  }

  // What became of a delivery. `received` is answered when it is durable. not_found: no such lease.
  void settle(const Context& context, const Settle::One& one, Callback<void(Code)> done);

  static constexpr int64_t kAskMax = 64;
  static constexpr uint16_t kRefusalsMax = 16;

 private:
  static constexpr int64_t kAskBytes = 256 << 10;
  static constexpr int32_t kAskWaitMs = 30'000;
  using What = SettleRange::What;

  void open(const ReaderPtr& reader, Callback<void(Code)> done);
  void open_what_grew(const ReaderPtr& reader, std::shared_ptr<const meta::Topic> now);
  bool step(const ReaderPtr& reader) override;
  int64_t room(const QueueReader& reader) const;
  void ask(const ReaderPtr& reader);
  void take_partition(const ReaderPtr& reader);
  void open_batch(QueueReader& reader);
  void take_record(const ReaderPtr& reader, const RecordView& record);
  void hand_on(const ReaderPtr& reader, const RecordView& record, std::string_view topic, uint16_t deliveries);
  // What is leased before `end` and was not met.
  void pass_over(const ReaderPtr& reader, Offset end, What what);
  void put_back_rest(const ReaderPtr& reader);
  void mark(const ReaderPtr& reader);
  void settle_one(const ReaderPtr& reader, int32_t partition, Offset first, Offset last, What what);
  void run_deferred() override;
  void send_settlements(const ReaderPtr& reader);
  void send_settlement(const ReaderPtr& reader, std::vector<SettlePartition> settled, std::vector<Callback<void(Code)>> told);
  void fail(const ReaderPtr& reader, Code code);
  void end(const ReaderPtr& reader);
  void give_up(const QueueReader& reader);
  void leave_when_empty(const ReaderPtr& reader);
  ReaderPtr find(const Context& context, std::string_view filter) const;

  const meta::Meta& meta_;
  Leaser& leaser_;
  const FanOut& fan_out_;
  const TopicRules& rules_;
  const BrokerOptions& options_;
  BrokerMetrics& metrics_;
  Open open_;
  std::vector<ReaderPtr> dirty_;  // have something to settle
  uint64_t last_reader_ = 0;
};

}  // namespace robustmq::broker
