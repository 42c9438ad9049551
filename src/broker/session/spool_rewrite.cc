// Spool: where few of its records are still owed to anybody, the older half is read once more; what is owed of it is written
// again at the end, and the rest goes (ADR 0007).
//
// What is written again keeps its offset in the spool: the first header of its record says it (kAtHeader), so everybody's place
// and the order stay. A copy is durable before what it was copied from is dropped; after a crash between the two the older one
// counts. Copies are written again in their turn. Expired messages are left out.
#include <algorithm>
#include <utility>

#include "broker/session/spool.h"

namespace robustmq::broker {
namespace {

constexpr uint64_t kRewriteBytes = 1 << 20;  // read at once

}  // namespace

bool Spool::is_worth_rewriting() {
  if (is_rewriting_ || options_.spool_rewrite_percent == 0 || shard_->has_failed()) return false;
  if (size_bytes() < 2 * static_cast<uint64_t>(options_.spool_segment_bytes)) return false;
  uint64_t owed = from_ledger_.size();
  for (const auto& [client_id, marks] : pinned_) owed += marks.size();  // a sum: the order does not show
  owed_.for_each_filter([&](OwedFilter& filter) { owed += filter.runs.count_from(filter.floor); });
  const auto all = static_cast<uint64_t>(shard_->bounds().high_watermark - below_);
  return owed * 100 < all * static_cast<uint64_t>(options_.spool_rewrite_percent);
}

bool Spool::is_wanted(const SpoolFacts& facts, const RecordView& record, Offset at) {
  if (!facts.delayed.empty() && from_ledger_.contains(facts.delayed)) return true;
  if (facts.packet) {
    const auto marks = pinned_.find(facts.packet->client_id);
    if (marks != pinned_.end() && marks->second.contains(facts.packet->sequence)) return true;
  }
  if (facts.topic.empty() || (facts.ref && is_void(*facts.ref, at))) return false;
  if (!facts.ref && is_expired(facts.expiry_s, record.timestamp_ms, core_.wall_now().ms)) return false;
  const auto filters = owed_.filters_of(facts.topic);
  return filters && std::any_of(filters->begin(), filters->end(), [at](const std::shared_ptr<OwedFilter>& filter) {
           return at >= filter->floor && filter->runs.next(at) == at;
         });
}

void Spool::rewrite_from(Offset from, uint64_t left) {
  is_rewriting_ = true;
  read_log(from, kRewriteBytes, [this, from, left](const Result<Batches>& read) {
    is_rewriting_ = false;
    // Trimmed meanwhile, or at the end.
    if (read.ok() && read->next > from) rewrite(*read, left);
  });
}

// Copies what is wanted of these batches; goes on behind them while some of `left` is left.
void Spool::rewrite(const Batches& batches, uint64_t left) {
  BatchBuilder builder;
  std::vector<Offset> copied;
  for (ByteSpan rest = batches.bytes.span(); !rest.empty();) {
    const auto size = BatchView::size_at(rest);
    if (!size || *size > rest.size()) return;
    const BatchView header(rest.first(*size));
    RecordReader records(header, header.records());
    RecordView record;
    while (records.next(record)) {
      const SpoolFacts facts = facts_of(record);
      const Offset at = facts.at.value_or(record.offset);
      // A copy that was copied again, or that came to nothing.
      if (facts.at && (at >= below_ || moved_.find(at) != record.offset)) continue;
      if (!is_wanted(facts, record, at)) {
        if (facts.at) moved_.forget(at);
        continue;
      }
      append_moved(builder, record, at);
      copied.push_back(at);
    }
    if (records.is_malformed()) return;  // its readers will see
    rest = rest.subspan(*size);
  }
  const uint64_t rest_left = left > batches.bytes.size() ? left - batches.bytes.size() : 0;
  const auto go_on = [this, next = batches.next, rest_left] {
    below_ = std::max(below_, next);
    shard_->trim(below_, [](Status) {});
    if (rest_left > 0 && next < shard_->bounds().high_watermark) rewrite_from(next, rest_left);
  };
  if (copied.empty()) return go_on();
  is_rewriting_ = true;
  shard_->append(builder.finish(),
                 [this, alive = alive_, copied = std::move(copied), go_on](const Result<shard::Appended>& appended) {
                   if (!*alive) return;
                   is_rewriting_ = false;
                   if (!appended.ok()) return owed_.fall_back(end());
                   metrics_.messages_rewritten_total += copied.size();
                   Offset place = appended->base_offset;
                   for (Offset at : copied) moved_.set(at, place++);
                   go_on();
                 });
}

}  // namespace robustmq::broker
