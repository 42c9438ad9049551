// StreamReaders: reads streams for connections of this core that asked for what a stream keeps (FollowOne::stream), from a place
// of theirs on, and then whatever comes. Lives on its core.
//
// One reader a subscription: it fetches of all partitions, hands a batch on record by record while its connection takes more
// (Sink::is_ready), and fetches again. A partition's records come in their order, those of different partitions in any. Aborted
// transactions are left out. Nothing is kept of how far a reader came: it ends with its connection, and who comes back says
// where to begin; so each message carries where it was (kStreamOffsetHeader, kStreamPartitionHeader), when it came
// (kStreamTimeHeader, microseconds since 1970) and its key (kStreamKeyHeader, where it has one that is not its topic).
//
// Limits: kFetchBytes are held a reader, more where one batch is larger.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/broker.h"
#include "broker/fan_out.h"
#include "broker/fetcher.h"
#include "broker/readers.h"
#include "broker/topic_rules.h"
#include "meta/meta.h"
#include "shard/record_reader.h"

namespace robustmq::broker {

constexpr std::string_view kStreamOffsetHeader = "stream-offset";
constexpr std::string_view kStreamPartitionHeader = "stream-partition";
constexpr std::string_view kStreamTimeHeader = "ts";
constexpr std::string_view kStreamKeyHeader = "key";

// The filter that such a subscription is asked for with.
std::string as_asked(std::string_view stream, std::string_view filter);

// A subscription that reads.
struct StreamReader : ReaderState {
  static constexpr Offset kNotKnown = -1;
  StreamReader(Context& context_in, FollowOne wanted_in, std::shared_ptr<const meta::Topic> topic_in);
  FollowOne wanted;
  std::shared_ptr<const meta::Topic> topic;
  std::string fallback;    // MQTT topic of records that name none
  std::vector<Offset> at;  // by partition: what is read next
  size_t turn = 0;         // the partition that is asked for first
  // What was fetched, partition by partition, batch by batch, record by record.
  std::vector<int32_t> asked;
  FetchReply fetched;
  size_t next = 0;        // of `fetched`
  int32_t partition = 0;  // whose batches `bytes` are
  Bytes bytes;
  size_t bytes_at = 0;
  std::vector<AbortedTransaction> aborted;  // that have not ended before bytes_at
  Bytes batch;                              // that `records` are of
  Offset from = 0;                          // of them
  std::optional<shard::OpenedRecords> records;
};

class StreamReaders final : public Readers<StreamReader, ConnectionReaders<StreamReader>> {
 public:
  StreamReaders(runtime::Core& core, meta::Meta& meta, Fetcher& fetcher, const FanOut& fan_out, const TopicRules& rules,
                const BrokerOptions& options, BrokerMetrics& metrics);

  // Makes a reader, in place of one of the same stream and filter; it waits for start(). invalid_topic: no such stream;
  // quota_exceeded: its connection's readers would read more partitions than fetch_partitions_max.
  FollowResult add(Context& context, const FollowOne& wanted);
  // Whether there was one.
  bool remove(const Context& context, std::string_view filter, std::string_view stream);
  void close(const Context& context);

  bool has(const Context& context, const FollowOne& wanted) const;
  // visit(stream, filter, qos_max) for each reader of a connection.
  template <class Visit>
  void each_of(const Context& context, Visit&& visit) const {
    const auto found = connections_.find(context.connection_id);
    if (found == connections_.end()) return;
    for (const ReaderPtr& reader : found->second.readers)
      visit(reader->wanted.stream->name, reader->wanted.filter, reader->wanted.qos_max);
  }

 private:
  static constexpr int32_t kFetchBytes = 256 << 10;
  static constexpr int32_t kFetchWaitMs = 30'000;

  std::shared_ptr<const meta::Topic> find_stream(TenantId tenant, std::string_view name) const;
  bool step(const ReaderPtr& reader) override;
  void ask_starts(const ReaderPtr& reader);
  void ask_records(const ReaderPtr& reader);
  void take_partition(const ReaderPtr& reader);
  void open_batch(StreamReader& reader);
  bool is_void(StreamReader& reader, const BatchView& batch) const;
  void hand_on(StreamReader& reader, const RecordView& record);
  void fail(const ReaderPtr& reader, Code code);
  void end(const ReaderPtr& reader);

  meta::Meta& meta_;
  Fetcher& fetcher_;
  const FanOut& fan_out_;
  const TopicRules& rules_;
  const BrokerOptions& options_;
  BrokerMetrics& metrics_;
};

}  // namespace robustmq::broker
