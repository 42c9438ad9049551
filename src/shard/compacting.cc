#include "shard/compacting.h"

#include <algorithm>
#include <utility>

#include "runtime/disk.h"

namespace robustmq::shard {

using runtime::Task;
using storage::SealedPart;

namespace {

constexpr int64_t kPartOffsetsMax = INT32_MAX;
constexpr int64_t kSleepMinNs = 1'000'000;
constexpr uint64_t kCompressedWeight = 8;  // what opening and writing a compressed batch costs of a step

// The batch at the front of bytes that hold whole ones.
Bytes batch_at(const Bytes& bytes, size_t at) {
  const std::optional<size_t> size = BatchView::size_at(bytes.span().subspan(at));
  return size && *size <= bytes.size() - at ? bytes.slice(at, *size) : Bytes();
}

}  // namespace

Task<> Shard::Compacting::run() {
  Result<Compacted> result = co_await compact();
  rewrite_.reset();
  keys_.reset();
  if (!shard_) co_return;
  core_.post([kept = std::move(shard_->compaction_->running)] {});  // this is still on the stack
  shard_ = nullptr;
  done_(std::move(result));
}

void Shard::Compacting::cancel() {
  shard_ = nullptr;
  rewrite_.reset();
  timer_.cancel();
  const Callback<void(bool)> dropped = std::move(on_timer_);
  std::exchange(done_, {})(Code::shutting_down);
}

Task<Result<Compacted>> Shard::Compacting::compact() {
  std::vector<SealedPart> parts =
      co_await wait<std::vector<SealedPart>>([&](auto done) { shard_->log_->list_parts(std::move(done)); });
  if (!shard_) co_return Code::shutting_down;
  const Offset log_start = shard_->log_->bounds().start;
  const Offset limit = shard_->compaction_limit(parts, settings_.min_lag_ms);
  const Offset first = std::max(shard_->replica_.clean_until(), log_start);
  result_.until = first;
  if (parts.empty() || first >= limit) co_return result_;

  CleaningPlan plan;
  plan.now = core_.wall_now();
  plan.delete_retention_ms = settings_.delete_retention_ms;
  plan.aborted = shard_->replica_.aborted_in(log_start, limit);
  plan.producers = shard_->replica_.producer_lasts();
  plan.forgotten_until = shard_->compaction_->durable_until;
  keys_ = std::make_unique<KeyMap>(first, static_cast<uint64_t>(limit - first), settings_.map_bytes_max,
                                   KeyMap::Secret{core_.random(), core_.random()});
  const AbortedBy aborted(plan.aborted);
  Status mapped = co_await map_new(first, limit, aborted);
  if (!mapped.ok()) co_return mapped.error();
  if (result_.until <= first) {
    if (!result_.is_map_full) co_return result_;
    co_return Error{Code::too_large, "the keys of one batch have no room in the memory for them"};
  }
  plan.until = result_.until;
  std::erase_if(parts, [&](const SealedPart& part) { return part.begin >= result_.until; });
  Cleaner cleaner(std::move(plan), *keys_);
  for (const Group& group : groups_of(parts)) {
    Status cleaned = co_await clean(group, cleaner);
    if (!cleaned.ok()) co_return cleaned.error();
  }
  result_.counts = cleaner.counts();
  shard_->replica_.set_clean(result_.until, cleaner.to_forget());
  // Where it is not kept now, it is with the next seal.
  Status sealed = co_await wait<Status>([&](auto done) { shard_->seal(std::move(done)); });
  static_cast<void>(sealed);
  co_return result_;
}

std::vector<Shard::Compacting::Group> Shard::Compacting::groups_of(const std::vector<SealedPart>& parts) const {
  std::vector<Group> groups;
  for (const SealedPart& part : parts) {
    const bool joins = !groups.empty() && groups.back().bytes + part.size_bytes <= settings_.part_bytes_max &&
                       part.end - groups.back().from <= kPartOffsetsMax;
    if (!joins) groups.push_back({part.begin, part.end, 0, 0});
    groups.back().until = part.end;
    groups.back().bytes += part.size_bytes;
    ++groups.back().parts;
  }
  return groups;
}

Task<Status> Shard::Compacting::map_new(Offset from, Offset limit, const AbortedBy& aborted) {
  for (Offset at = from; at < limit;) {
    Status status = co_await read(at, limit);
    if (!status.ok()) co_return status;
    for (size_t position = 0; position < step_.size();) {
      const Bytes batch = batch_at(step_, position);
      if (batch.empty()) co_return Error{Code::corrupt_storage, "a stored batch is cut"};
      const BatchView header(batch);
      if (header.next_offset() > limit) co_return Status();
      if (!map_keys(batch, aborted, CleaningPlan{}.plain_bytes_max, *keys_)) {
        result_.is_map_full = true;
        co_return Status();
      }
      result_.until = std::max(result_.until, header.next_offset());
      position += batch.size();
    }
    at = step_next_;
    status = co_await pause(step_.size());
    if (!status.ok()) co_return status;
  }
  co_return Status();
}

Task<Status> Shard::Compacting::begin_rewrite(Group group) {
  Result<std::unique_ptr<storage::Rewrite>> begun = co_await wait<Result<std::unique_ptr<storage::Rewrite>>>(
      [&](auto done) { shard_->log_->rewrite(group.from, group.until, std::move(done)); });
  if (!shard_) co_return Code::shutting_down;
  if (!begun.ok()) co_return begun.error();
  rewrite_ = begun.take();
  co_return Status();
}

// Several parts become one in any case; of a single one nothing is written until something changes.
Task<Status> Shard::Compacting::clean(Group group, Cleaner& cleaner) {
  result_.bytes_before += group.bytes;
  written_ = 0;
  static_cast<void>(cleaner.take_changed());
  if (group.parts > 1) {
    Status begun = co_await begin_rewrite(group);
    if (!begun.ok()) co_return begun;
  }
  std::vector<Bytes> out;
  const Offset begin = std::max(group.from, shard_->log_->bounds().start);
  Offset expected = group.from;
  for (Offset at = begin; at < group.until;) {
    Status status = co_await read(at, group.until);
    if (!status.ok()) co_return status;
    bool has_changed = false;
    uint64_t worked = 0;
    for (size_t position = 0; position < step_.size();) {
      const Bytes batch = batch_at(step_, position);
      if (batch.empty()) co_return Error{Code::corrupt_storage, "a stored batch is cut"};
      const BatchView header(batch);
      // Below the log's start nothing is read any more.
      if (header.base_offset() > expected) {
        out.push_back(
            encode_empty_batch({.base = expected, .last = header.base_offset() - 1, .leader_epoch = header.leader_epoch()}));
        has_changed = true;
      }
      cleaner.clean(batch, out);
      expected = header.next_offset();
      position += batch.size();
      worked += batch.size() * (header.compression() == Compression::none ? 1 : kCompressedWeight);
      if (worked < kStepBytes || position >= step_.size()) continue;
      worked = 0;
      status = co_await pause(0);
      if (!status.ok()) co_return status;
    }
    const Offset step_begin = std::exchange(at, step_next_);
    const uint64_t read_bytes = step_.size();
    if (!rewrite_ || at >= group.until) cleaner.flush(out);
    has_changed = cleaner.take_changed() || has_changed;
    if (!rewrite_ && has_changed) {
      status = co_await begin_rewrite(group);
      if (!status.ok()) co_return status;
      status = co_await copy(begin, step_begin);
      if (!status.ok()) co_return status;
    }
    if (rewrite_) {
      status = co_await add(std::exchange(out, {}));
      if (!status.ok()) co_return status;
    }
    out.clear();
    status = co_await pause(read_bytes);
    if (!status.ok()) co_return status;
  }
  if (!rewrite_) {
    result_.bytes_after += group.bytes;
    co_return Status();
  }
  Status committed = co_await wait<Status>([&](auto done) { rewrite_->commit(std::move(done)); });
  if (!shard_) co_return Code::shutting_down;
  rewrite_.reset();
  result_.bytes_after += written_;
  co_return committed;
}

// What has not changed, as it is.
Task<Status> Shard::Compacting::copy(Offset from, Offset until) {
  for (Offset at = from; at < until;) {
    Status status = co_await read(at, until);
    if (!status.ok()) co_return status;
    std::vector<Bytes> batches;
    for (size_t position = 0; position < step_.size();) {
      batches.push_back(batch_at(step_, position));
      if (batches.back().empty()) co_return Error{Code::corrupt_storage, "a stored batch is cut"};
      position += batches.back().size();
    }
    at = step_next_;
    const uint64_t read_bytes = step_.size();
    status = co_await add(std::move(batches));
    if (!status.ok()) co_return status;
    status = co_await pause(read_bytes);
    if (!status.ok()) co_return status;
  }
  co_return Status();
}

Task<Status> Shard::Compacting::add(std::vector<Bytes> batches) {
  if (batches.empty()) co_return Status();
  for (const Bytes& batch : batches) written_ += batch.size();
  Status added = co_await wait<Status>([&](auto done) { rewrite_->add(std::move(batches), std::move(done)); });
  if (!shard_) co_return Code::shutting_down;
  co_return added;
}

// Reads about a step of whole batches.
Task<Status> Shard::Compacting::read(Offset from, Offset until) {
  const storage::ReadLimits limits{.bytes_max = kStepBytes, .first_batch_over_limit = true, .end = until};
  Result<storage::ReadResult> result =
      co_await wait<Result<storage::ReadResult>>([&](auto done) { shard_->log_->read(from, limits, std::move(done)); });
  if (!shard_) co_return Code::shutting_down;
  // Trimmed meanwhile: another time.
  if (!result.ok() && result.code() == Code::offset_out_of_range) co_return Code::not_attempted;
  if (!result.ok()) co_return result.error();
  if (result->next <= from) co_return Error{Code::corrupt_storage, "the log ends before its end"};
  Buffer bytes;
  for (const Piece& piece : result->pieces) {
    if (!piece.is_stored()) {
      bytes.append(piece.bytes.span());
      continue;
    }
    // A stored range of a log is always of a file of the runtime.
    auto file = std::static_pointer_cast<runtime::File>(std::const_pointer_cast<ByteSource>(piece.stored.source));
    Result<Bytes> stored = co_await wait<Result<Bytes>>([&](auto done) {
      core_.disk().read(std::move(file), piece.stored.position, static_cast<size_t>(piece.size), std::move(done));
    });
    if (!shard_) co_return Code::shutting_down;
    if (!stored.ok()) co_return stored.error();
    if (stored->size() != piece.size) co_return Error{Code::corrupt_storage, "a stored range is cut"};
    bytes.append(stored->span());
  }
  step_ = bytes.take();
  step_next_ = result->next;
  result_.bytes_read += step_.size();
  co_return Status();
}

// Between two steps: the core has its turn, and the disk its rest.
Task<Status> Shard::Compacting::pause(uint64_t bytes) {
  if (settings_.bytes_per_second > 0)
    owed_ns_ += static_cast<int64_t>(static_cast<double>(bytes) * 1e9 / static_cast<double>(settings_.bytes_per_second));
  if (owed_ns_ >= kSleepMinNs) {
    const Instant until{core_.now().ns + std::exchange(owed_ns_, 0)};
    bool is_over = co_await wait<bool>([&](auto done) {
      on_timer_ = std::move(done);
      core_.arm(timer_, until);
    });
    static_cast<void>(is_over);
  } else {
    bool is_over = co_await wait<bool>([&](auto done) { core_.post([done = std::move(done)]() mutable { done(true); }); });
    static_cast<void>(is_over);
  }
  co_return shard_ ? Status() : Status(Code::shutting_down);
}

}  // namespace robustmq::shard
