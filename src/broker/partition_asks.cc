// Fetcher's other questions, each asked of the shard's home: offsets by time and by name, what producers it knows, what it takes,
// and that it drop its oldest records.
#include <utility>

#include "broker/at_homes.h"
#include "broker/fetcher.h"
#include "runtime/disk.h"

namespace robustmq::broker {
namespace {

using What = ListOffsetsPartition::What;
using Answer = Callback<void(ListedOffset)>;

// On the shard's home core.
void ask(shard::Shard& shard, const ListOffsetsPartition& wanted, bool read_committed, Answer answer) {
  if (const Code code = check_epoch(wanted.current_leader_epoch, shard); code != Code::ok) return answer({code, -1, -1, -1});
  const shard::ShardBounds bounds = shard.bounds();
  const Offset end = read_committed ? bounds.last_stable : bounds.high_watermark;
  const bool is_looked_up = wanted.what == What::at_time || wanted.what == What::max_timestamp;
  Callback<void(Result<shard::TimedOffset>)> done = [end, is_looked_up,
                                                     answer = std::move(answer)](Result<shard::TimedOffset> found) mutable {
    if (!found) return answer({found.code(), -1, -1, -1});
    if (is_looked_up && found->offset >= end) return answer({Code::ok, -1, -1, -1});
    answer({Code::ok, found->offset, found->timestamp_ms, found->leader_epoch});
  };
  switch (wanted.what) {
    case What::earliest:
    case What::earliest_local:
      return done(shard::TimedOffset{bounds.log_start, -1, bounds.leader_epoch});
    case What::latest:
      return done(shard::TimedOffset{end, -1, bounds.leader_epoch});
    case What::latest_tiered:  // nothing is tiered here: no such offset
    case What::earliest_pending_upload:
      return done(shard::TimedOffset{});
    case What::max_timestamp:
      return shard.find_max_time(std::move(done));
    case What::end_of_epoch: {
      const shard::Replica::EpochEnd found = shard.end_of_epoch(wanted.epoch);
      return done(shard::TimedOffset{found.end, -1, found.epoch});
    }
    case What::at_time:
      return shard.find_by_time(wanted.timestamp_ms, std::move(done));
  }
}

}  // namespace

template <class Row, class Wanted, class Ask, class Done>
void Fetcher::at_homes(const std::vector<TopicRef>& topics, const std::vector<Wanted>& partitions, Ask ask, Done done) {
  ask_at_homes<Row>(
      core_, locator_, [this](CoreIndex home) -> Locator& { return peers_[home]->locator_; }, topics, partitions, std::move(ask),
      std::move(done));
}

void Fetcher::list_offsets(ListOffsets request, ReplyTo done) {
  at_homes<ListedOffset>(
      request.topics, request.partitions,
      [read_committed = request.read_committed](shard::Shard& shard, const ListOffsetsPartition& wanted, Answer answer) {
        ask(shard, wanted, read_committed, std::move(answer));
      },
      [done = std::move(done)](std::vector<ListedOffset> rows) mutable { done(ListedOffsets{std::move(rows)}); });
}

void Fetcher::delete_records(DeleteRecords request, ReplyTo done) {
  using One = DeletedRecords::One;
  std::vector<bool> is_only_compacted;
  for (const TopicRef& ref : request.topics) {
    const Located topic = locator_.locate(ref);
    is_only_compacted.push_back(topic.stream && topic.stream->config.cleanup_policy == meta::CleanupPolicy::compact);
  }
  const auto trim = [is_only_compacted](shard::Shard& shard, const DeleteRecords::One& wanted, Callback<void(One)> answer) {
    if (is_only_compacted[static_cast<size_t>(wanted.topic_index)]) return answer({Code::not_supported, -1});
    const shard::ShardBounds bounds = shard.bounds();
    const Offset before = wanted.before == -1 ? bounds.high_watermark : wanted.before;
    if (before < 0 || before > bounds.high_watermark) return answer({Code::offset_out_of_range, -1});
    if (before <= bounds.log_start) return answer({Code::ok, bounds.log_start});
    shard.trim(before, [before, answer = std::move(answer)](Status status) mutable {
      answer({status.code(), status.ok() ? before : Offset{-1}});
    });
  };
  at_homes<One>(request.topics, request.partitions, trim,
                [done = std::move(done)](std::vector<One> rows) mutable { done(DeletedRecords{std::move(rows)}); });
}

void Fetcher::describe_producers(DescribeProducers request, ReplyTo done) {
  using One = DescribedProducers::One;
  const auto list = [](shard::Shard& shard, const PartitionRef&, Callback<void(One)> answer) {
    One row;
    for (const shard::ProducerFacts& facts : shard.producers())
      row.producers.push_back({facts.id, facts.epoch, facts.last_sequence, facts.last_ms, facts.transaction_start});
    answer(std::move(row));
  };
  at_homes<One>(request.topics, request.partitions, list,
                [done = std::move(done)](std::vector<One> rows) mutable { done(DescribedProducers{std::move(rows)}); });
}

void Fetcher::describe_logs(DescribeLogs request, ReplyTo done) {
  using One = DescribedLogs::One;
  const auto measure = [](shard::Shard& shard, const PartitionRef&, Callback<void(One)> answer) {
    answer({Code::ok, shard.bounds().size_bytes});
  };
  at_homes<One>(request.topics, request.partitions, measure, [this, done = std::move(done)](std::vector<One> rows) mutable {
    core_.disk().free_bytes([rows = std::move(rows), done = std::move(done)](Result<uint64_t> bytes) mutable {
      done(DescribedLogs{std::move(rows), bytes.ok() ? static_cast<int64_t>(*bytes) : -1});
    });
  });
}

}  // namespace robustmq::broker
