// Memory logs and the budget they share. Pure.
#include "storage/memory/memory_log.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace robustmq::storage {

// A batch, its log, and its place among all batches of the core.
struct MemoryBatch : ListHook<> {
  MemoryBatch(MemoryLog* owner, Bytes stored) : log(owner), bytes(std::move(stored)) {}
  BatchView view() const { return BatchView(bytes); }
  uint64_t memory() const { return std::max(bytes.pinned(), bytes.size()) + sizeof(MemoryBatch); }

  MemoryLog* log;
  Bytes bytes;
};

namespace {

bool are_equal(const LogSettings& a, const LogSettings& b) {
  return a.segment_bytes == b.segment_bytes && a.segment_ms == b.segment_ms && a.retention_ms == b.retention_ms &&
         a.retention_bytes == b.retention_bytes && a.records_max == b.records_max;
}

}  // namespace

MemoryBudget::MemoryBudget(int64_t bytes_max) : bytes_max_(bytes_max) {}

MemoryBudget::~MemoryBudget() { ROBUSTMQ_CHECK(oldest_first_.empty(), "a memory log outlives its budget"); }

const LogSettings* MemoryBudget::keep(const LogSettings& settings) {
  for (const auto& kept : settings_) {
    if (are_equal(*kept, settings)) return kept.get();
  }
  settings_.push_back(std::make_unique<LogSettings>(settings));
  return settings_.back().get();
}

void MemoryBudget::make_room() {
  while (metrics_.bytes > bytes_max_ && !oldest_first_.empty()) {
    const MemoryBatch& oldest = oldest_first_.front();
    metrics_.batches_dropped_by_budget_total += 1;
    metrics_.bytes_dropped_by_budget_total += oldest.bytes.size();
    oldest.log->drop_front();
  }
}

MemoryLog::MemoryLog(MemoryBudget& budget, const LogSettings& settings, Offset first_offset)
    : budget_(&budget), settings_(budget.keep(settings)), start_(first_offset), end_(first_offset) {}

MemoryLog::~MemoryLog() {
  while (count_ > 0) drop_back();
  drop_ring();
}

void MemoryLog::drop_ring() {
  if (ring_ != &only_) delete[] ring_;
  ring_ = &only_;
  head_ = 0;
  capacity_ = 1;
}

bool MemoryLog::append_now(const Bytes& batch) {
  const BatchView view(batch);
  ROBUSTMQ_CHECK(view.base_offset() == end_, "an append does not continue the chain");
  end_ = view.next_offset();
  size_bytes_ += batch.size();
  records_ += static_cast<uint64_t>(view.last_offset_delta()) + 1;
  if (max_timestamp_ != kUnknown) max_timestamp_ = std::max(max_timestamp_, view.max_timestamp());
  auto* stored = new MemoryBatch(this, batch.compact());
  budget_->metrics_.bytes += static_cast<int64_t>(stored->memory());
  budget_->oldest_first_.push_back(*stored);
  push(stored);
  if (settings_->records_max >= 0) enforce_records_max();
  if (budget_->metrics_.bytes > budget_->bytes_max_) budget_->make_room();
  return true;
}

void MemoryLog::append(std::vector<Bytes> batches, Callback<void(Status)> done) {
  for (const Bytes& batch : batches) append_now(batch);
  done({});
}

void MemoryLog::push(MemoryBatch* batch) {
  if (count_ == capacity_) {
    const uint32_t capacity = capacity_ * 2;
    auto** ring = new MemoryBatch*[capacity];
    for (uint32_t i = 0; i < count_; ++i) ring[i] = at(i);
    drop_ring();
    ring_ = ring;
    capacity_ = capacity;
  }
  slot(count_++) = batch;
}

void MemoryLog::forget(MemoryBatch* batch) {
  size_bytes_ -= batch->bytes.size();
  records_ -= static_cast<uint64_t>(batch->view().last_offset_delta()) + 1;
  budget_->metrics_.bytes -= static_cast<int64_t>(batch->memory());
  if (batch->view().max_timestamp() >= max_timestamp_) max_timestamp_ = count_ == 0 ? -1 : kUnknown;
  delete batch;
  if (count_ == 0 && capacity_ > 4) drop_ring();
}

void MemoryLog::drop_front() {
  MemoryBatch* batch = at(0);
  start_ = std::max(start_, batch->view().next_offset());
  head_ = (head_ + 1) & (capacity_ - 1);
  --count_;
  forget(batch);
}

void MemoryLog::drop_back() {
  MemoryBatch* batch = at(count_ - 1);
  end_ = batch->view().base_offset();
  --count_;
  forget(batch);
}

void MemoryLog::enforce_records_max() {
  while (count_ > 1 && records_ > static_cast<uint64_t>(settings_->records_max)) {
    budget_->metrics_.batches_dropped_by_limit_total += 1;
    drop_front();
  }
}

// The batch that holds `offset`, which lies in [start, end) and so in a batch kept.
uint32_t MemoryLog::index_of(Offset offset) const {
  uint32_t low = 0;
  uint32_t high = count_;
  while (high - low > 1) {
    const uint32_t middle = low + (high - low) / 2;
    (at(middle)->view().base_offset() <= offset ? low : high) = middle;
  }
  return low;
}

void MemoryLog::read(Offset from, ReadLimits limits, Callback<void(Result<ReadResult>)> done) {
  if (from < start_ || from > end_) return done(Error{Code::offset_out_of_range, {}});
  ReadResult result;
  result.next = from;
  if (from == end_ || count_ == 0) return done(std::move(result));
  uint64_t bytes = 0;
  for (uint32_t i = index_of(from); i < count_; ++i) {
    const MemoryBatch& batch = *at(i);
    if (batch.view().base_offset() >= limits.end) break;
    const bool is_first_whole = result.pieces.empty() && limits.first_batch_over_limit;
    if (bytes + batch.bytes.size() > limits.bytes_max && !is_first_whole) break;
    bytes += batch.bytes.size();
    result.pieces.push_back(Piece::of(batch.bytes));
    result.next = batch.view().next_offset();
  }
  done(std::move(result));
}

void MemoryLog::find(FindWhat what, Callback<void(Result<std::optional<Found>>)> done) {
  const MemoryBatch* found = nullptr;
  const auto* by_time = std::get_if<FindByTime>(&what);
  for (uint32_t i = 0; i < count_; ++i) {
    const MemoryBatch* batch = at(i);
    const int64_t time = batch->view().max_timestamp();
    if (by_time && time >= by_time->timestamp_ms) {
      found = batch;
      break;
    }
    if (!by_time && (!found || time > found->view().max_timestamp())) found = batch;
  }
  if (!found) return done(std::optional<Found>());
  done(std::optional<Found>(Found{found->bytes}));
}

void MemoryLog::trim(Offset keep_from, Callback<void(Status)> done) {
  if (keep_from > end_) return done(Code::offset_out_of_range);
  while (count_ > 0 && at(0)->view().next_offset() <= keep_from) drop_front();
  start_ = std::max(start_, keep_from);
  done({});
}

void MemoryLog::truncate(Offset keep_until, Callback<void(Status)> done) {
  if (keep_until < start_) return done(Code::offset_out_of_range);
  while (count_ > 0 && at(count_ - 1)->view().base_offset() >= keep_until) drop_back();
  done({});
}

void MemoryLog::seal(Bytes, Offset, Callback<void(Status)> done) { done({}); }

Bounds MemoryLog::bounds() const { return {start_, end_, end_, size_bytes_}; }

void MemoryLog::retain(WallTime now, Offset keep_from) {
  const auto drop = [this] {
    budget_->metrics_.batches_dropped_by_limit_total += 1;
    drop_front();
  };
  const auto may_drop = [this, keep_from] { return count_ > 0 && at(0)->view().next_offset() <= keep_from; };
  if (settings_->retention_ms >= 0) {
    while (may_drop() && at(0)->view().max_timestamp() < now.ms - settings_->retention_ms) drop();
  }
  if (settings_->retention_bytes >= 0) {
    while (count_ > 1 && may_drop() && size_bytes_ > static_cast<uint64_t>(settings_->retention_bytes)) drop();
  }
}

void MemoryLog::configure(const LogSettings& settings) {
  settings_ = budget_->keep(settings);
  if (settings_->records_max >= 0) enforce_records_max();
}

void MemoryEngine::open(ShardId, const LogSettings& settings, Offset first_offset, Callback<void(Result<OpenedLog>)> done) {
  OpenedLog opened;
  opened.log = std::make_unique<MemoryLog>(budget_, settings, first_offset);
  opened.state_as_of = first_offset;
  done(std::move(opened));
}

void MemoryEngine::remove(ShardId, Callback<void(Status)> done) { done({}); }

}  // namespace robustmq::storage
