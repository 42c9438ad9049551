// Reads: at once and without a copy where the index knows batch boundaries, else by reading one block.
#include <algorithm>
#include <map>
#include <utility>

#include "storage/segment/access.h"

namespace robustmq::storage::segment {

using runtime::FilePtr;
using runtime::Task;

// What a read needs next.
struct EngineCore::ReadPlan {
  enum class Need : uint8_t { nothing, index, file, verification, bytes };
  Need need = Need::nothing;
  Offset base = 0;
  size_t block = 0;
  Status refused;
  ReadResult result;
};

EngineCore::ReadPlan EngineCore::plan_read(LogState& log, Offset from, const ReadLimits& limits) {
  ReadPlan plan;
  plan.result.next = from;
  if (from < log.start || from > log.end) {
    plan.refused = Error{Code::offset_out_of_range, {}};
    return plan;
  }
  const Offset end = std::min(limits.end, log.readable_end());
  if (from >= end || log.segments.empty()) return plan;
  Segment& segment = log.segment_at(from);
  if (from < segment.base || from >= segment.end) {
    plan.refused = Error{Code::corrupt_storage, "no segment holds offset " + std::to_string(from)};
    return plan;
  }
  plan.base = segment.base;
  const std::optional<size_t> at = segment.index ? segment.index->block_at(from) : std::nullopt;
  if (!at) {
    plan.need = ReadPlan::Need::index;
    return plan;
  }
  const SegmentIndex& index = *segment.index;
  plan.block = *at;
  if (!index.is_verified(*at) && index.position_of(*at) < segment.bytes_by_file) {
    plan.need = ReadPlan::Need::verification;
    return plan;
  }
  const bool begins_there = index.is_sole(*at) || from == index.offset_of(*at);
  if (!index.is_verified(*at) || !begins_there) {
    plan.need = ReadPlan::Need::bytes;
    return plan;
  }

  const uint64_t position = index.position_of(*at);
  const bool holds_durable_end = segment.base == log.durable_base;
  uint64_t stop = position;
  for (size_t i = *at; i < index.block_count() && index.is_verified(i) && index.offset_of(i) < end; ++i) {
    uint64_t block_stop = index.end_of(i);
    Offset block_end = i + 1 < index.block_count() ? index.offset_of(i + 1) : segment.end;
    if (holds_durable_end && block_stop > log.durable_position) {
      block_stop = log.durable_position;
      block_end = log.durable;
    }
    if (block_end > end && !index.is_sole(i)) break;
    const bool is_first_whole = i == *at && index.is_sole(i) && limits.first_batch_over_limit;
    if (block_stop - position > limits.bytes_max && !is_first_whole) break;
    stop = block_stop;
    plan.result.next = block_end;
  }
  if (stop == position) {
    if (!index.is_sole(*at)) plan.need = ReadPlan::Need::bytes;
    return plan;
  }
  if (FilePtr file = file_if_open(segment)) {
    metrics_.read_stored_bytes_total += stop - position;
    plan.result.is_rewritten = segment.generation > 0;
    plan.result.pieces.push_back(Piece::of(StoredRange{std::move(file), position}, stop - position));
  } else {
    plan.need = ReadPlan::Need::file;
    plan.result.next = from;
  }
  return plan;
}

// A read that needs the disk.
class EngineCore::Reading final : public Access {
 public:
  Reading(EngineCore& engine, LogPtr log, Offset from, ReadLimits limits, Callback<void(Result<ReadResult>)> done)
      : Access(engine, std::move(log)), from_(from), limits_(limits), done_(std::move(done)) {}

  Task<> run() {
    Result<ReadResult> result = co_await read();
    // Trimmed or truncated while the disk was asked.
    const bool is_gone = from_ < log_->start || from_ >= log_->readable_end();
    if (!result.ok() && is_gone) result = Error{Code::offset_out_of_range, {}};
    if (is_wanted()) done_(std::move(result));
  }

 private:
  Task<Result<ReadResult>> read() {
    while (true) {
      ReadPlan plan = engine_.plan_read(*log_, from_, limits_);
      if (!plan.refused.ok()) co_return plan.refused.error();
      if (plan.need == ReadPlan::Need::nothing) co_return std::move(plan.result);
      if (plan.need == ReadPlan::Need::index) {
        Status loaded = co_await load_index(plan.base);
        if (!loaded.ok()) co_return loaded.error();
      } else if (plan.need == ReadPlan::Need::file) {
        Result<FilePtr> file = co_await open(plan.base);
        if (!file.ok()) co_return missing(file.error());
      } else if (plan.need == ReadPlan::Need::verification) {
        Result<bool> verified = co_await verify_blocks(plan.base, plan.block, limits_.bytes_max);
        if (!verified.ok()) co_return missing(verified.error());
      } else {
        Result<ReadResult> result = co_await read_from_block(plan.base, plan.block);
        if (!result.ok() && result.code() == kRewritten) continue;
        co_return result;
      }
    }
  }

  static Error missing(const Error& error) {
    return error.code == Code::not_found ? Error{Code::corrupt_storage, "a segment's file is missing"} : error;
  }

  std::string name_of(Offset base) const {
    const Segment* segment = log_->find(base);
    return segment ? log_->path_of(*segment) : log_->folder();
  }

  Task<Result<ReadResult>> read_from_block(Offset base, size_t block) {
    const uint32_t rewrites = log_->rewrites;
    Result<BlockBytes> read = co_await read_block(base, block);
    if (!read.ok()) co_return missing(read.error());
    const Offset end = std::min(limits_.end, log_->readable_end());
    ReadResult result;
    result.next = from_;
    size_t begin = 0;
    size_t stop = 0;
    BatchWalker walker(read->bytes, read->begin, read->end);
    BatchWalker::Step step;
    bool is_whole = false;
    while (walker.next(step)) {
      is_whole = false;
      if (step.next <= from_) continue;
      if (step.offset >= end) break;
      const bool is_first = stop == begin;
      if (step.is_damaged) {
        if (!is_first) break;
        engine_.metrics_.corrupt_batches_total += 1;
        co_return Error{Code::corrupt_storage, "offset " + std::to_string(from_) + " of " + name_of(base) + " is damaged"};
      }
      if (is_first) begin = stop = step.position;
      if (step.position + step.size - begin > limits_.bytes_max && !(is_first && limits_.first_batch_over_limit)) break;
      stop = step.position + step.size;
      result.next = step.next;
      is_whole = true;
    }
    if (stop == begin) {
      if (read->bytes.empty())
        co_return Error{Code::corrupt_storage,
                        "the bytes of offset " + std::to_string(from_) + " are missing from " + name_of(base)};
      co_return result;
    }
    engine_.metrics_.read_copied_bytes_total += stop - begin;
    const Segment* segment = log_->find(base);
    result.is_rewritten = log_->rewrites != rewrites || (segment && segment->generation > 0);
    result.pieces.push_back(Piece::of(read->bytes.slice(begin, stop - begin)));
    // What follows in the file may go without a copy.
    if (is_whole && stop == read->bytes.size() && stop - begin < limits_.bytes_max && log_->rewrites == rewrites) {
      ReadLimits rest = limits_;
      rest.bytes_max -= stop - begin;
      rest.first_batch_over_limit = false;
      ReadPlan plan = engine_.plan_read(*log_, result.next, rest);
      if (plan.refused.ok() && plan.need == ReadPlan::Need::nothing) {
        result.next = plan.result.next;
        for (Piece& piece : plan.result.pieces) result.pieces.push_back(std::move(piece));
      }
    }
    co_return result;
  }

  Offset from_;
  ReadLimits limits_;
  Callback<void(Result<ReadResult>)> done_;
};

void EngineCore::read(const LogPtr& log, Offset from, ReadLimits limits, Callback<void(Result<ReadResult>)> done) {
  ReadPlan plan = plan_read(*log, from, limits);
  if (!plan.refused.ok()) return done(plan.refused.error());
  if (plan.need == ReadPlan::Need::nothing) return done(std::move(plan.result));
  if (is_closing_) return done(Code::shutting_down);
  auto reading = std::make_shared<Reading>(*this, log, from, limits, std::move(done));
  reading->start(reading->run());
}

// Looks for a time, block by block.
class EngineCore::Finding final : public Access {
 public:
  using Answer = Result<std::optional<Found>>;
  Finding(EngineCore& engine, LogPtr log, FindWhat what, Callback<void(Answer)> done)
      : Access(engine, std::move(log)), what_(what), done_(std::move(done)) {}

  Task<> run() {
    const auto* by_time = std::get_if<FindByTime>(&what_);
    while (true) {
      Answer answer = by_time ? co_await first_at_or_past(by_time->timestamp_ms) : co_await largest();
      if (!answer.ok() && answer.code() == kRewritten) continue;
      if (is_wanted()) done_(std::move(answer));
      co_return;
    }
  }

 private:
  bool is_visible(Offset begin, Offset end) const { return end > log_->start && begin < log_->readable_end(); }

  Task<Answer> first_at_or_past(int64_t timestamp_ms) {
    Offset from = log_->start;
    const uint32_t rewrites = log_->rewrites;
    while (Segment* segment = next_segment(from)) {
      const Offset base = segment->base;
      from = segment->end;
      if (segment->max_timestamp < timestamp_ms || !is_visible(base, segment->end)) continue;
      for (size_t block = 0;; ++block) {
        // Again for each block: the index may have gone while the disk was asked.
        Status loaded = co_await load_index(base);
        if (!loaded.ok()) co_return loaded.error();
        if (log_->rewrites != rewrites) co_return kRewritten;
        segment = log_->find(base);
        if (!segment || !segment->index || block >= segment->index->block_count()) break;
        if (segment->index->max_timestamp_of(block) < timestamp_ms) continue;
        Answer found = co_await find_in(base, block, timestamp_ms);
        if (!found.ok() || found->has_value()) co_return found;
      }
    }
    co_return std::optional<Found>();
  }

  // The segment, then the block, that claims the largest time. A claim may be of a batch that readers do not see (trimmed, or not
  // durable yet): then what is seen counts, for this search only.
  Task<Answer> largest() {
    std::map<Offset, int64_t> of_segment;
    std::map<std::pair<Offset, size_t>, int64_t> of_block;
    const uint32_t rewrites = log_->rewrites;
    while (true) {
      if (log_->rewrites != rewrites) co_return kRewritten;
      std::optional<Offset> base;
      int64_t most = kNothing;
      for (const Segment& segment : log_->segments) {
        auto known = of_segment.find(segment.base);
        const int64_t claimed = known != of_segment.end() ? known->second : segment.max_timestamp;
        if (!is_visible(segment.base, segment.end) || segment.size_bytes == 0 || claimed == kNothing) continue;
        if (!base || claimed > most) base = segment.base;
        most = std::max(most, claimed);
      }
      if (!base) co_return std::optional<Found>();
      Status loaded = co_await load_index(*base);
      if (!loaded.ok()) co_return loaded.error();
      if (log_->rewrites != rewrites) co_return kRewritten;
      const Segment* segment = log_->find(*base);
      if (!segment || !segment->index) continue;
      const SegmentIndex& index = *segment->index;
      std::optional<size_t> block;
      int64_t block_most = kNothing;
      for (size_t i = 0; i < index.block_count(); ++i) {
        const Offset end = i + 1 < index.block_count() ? index.offset_of(i + 1) : segment->end;
        auto known = of_block.find({*base, i});
        const int64_t claimed = known != of_block.end() ? known->second : index.max_timestamp_of(i);
        if (!is_visible(index.offset_of(i), end) || claimed == kNothing) continue;
        if (!block || claimed > block_most) block = i;
        block_most = std::max(block_most, claimed);
      }
      if (!block || block_most < most) {
        of_segment[*base] = block ? block_most : kNothing;
        continue;
      }
      Answer found = co_await find_in(*base, *block, block_most);
      if (!found.ok() || found->has_value()) co_return found;
      of_block[{*base, *block}] = seen_largest_;
    }
  }

  Task<Answer> find_in(Offset base, size_t block, int64_t timestamp_ms) {
    seen_largest_ = kNothing;
    Result<BlockBytes> read = co_await read_block(base, block);
    if (!read.ok()) co_return read.error();
    BatchWalker walker(read->bytes, read->begin, read->end);
    BatchWalker::Step step;
    while (walker.next(step)) {
      if (step.is_damaged || !is_visible(step.offset, step.next)) continue;
      seen_largest_ = std::max(seen_largest_, step.max_timestamp);
      if (step.max_timestamp < timestamp_ms) continue;
      co_return std::optional<Found>(Found{read->bytes.slice(step.position, step.size).compact()});
    }
    co_return std::optional<Found>();
  }

  Segment* next_segment(Offset from) {
    for (Segment& segment : log_->segments) {
      if (segment.end > from) return &segment;
    }
    return nullptr;
  }

  static constexpr int64_t kNothing = INT64_MIN;
  FindWhat what_;
  Callback<void(Answer)> done_;
  int64_t seen_largest_ = kNothing;
};

void EngineCore::find(const LogPtr& log, FindWhat what, Callback<void(Result<std::optional<Found>>)> done) {
  if (is_closing_) return done(Code::shutting_down);
  if (log->readable_end() <= log->start) return done(std::optional<Found>());
  auto finding = std::make_shared<Finding>(*this, log, what, std::move(done));
  finding->start(finding->run());
}

}  // namespace robustmq::storage::segment
