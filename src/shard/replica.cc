#include "shard/replica.h"

namespace robustmq::shard {

Producers& Replica::producers() {
  if (!producers_) producers_ = std::make_unique<Producers>();
  return *producers_;
}

Result<Replica::Assigned> Replica::assign(Bytes& batch, WallTime now) {
  const BatchView view(batch);
  const bool is_idempotent = view.producer_id() >= 0;
  if (is_idempotent) {
    const Result<Offset> repeat = producers().check(view);
    if (!repeat.ok()) return repeat.error();
    if (*repeat >= 0) return Assigned{*repeat, true};
  }
  const Offset base = end_;
  patch_batch(batch, base, epoch_);
  end_ = base + view.last_offset_delta() + 1;
  if (is_idempotent) producers_->note(view, base, now);
  return Assigned{base, false};
}

void Replica::commit(Offset offset) {
  ROBUSTMQ_CHECK(offset >= high_watermark_ && offset <= end_, "a commit outside what was assigned");
  high_watermark_ = offset;
}

void Replica::roll_back() {
  end_ = high_watermark_;
  if (producers_) producers_->forget_from(end_);
}

Status Replica::restore(ByteSpan state) {
  if (state.empty()) return {};
  const Status status = producers().restore(state);
  if (!status.ok()) return status;
  producers_->forget_from(end_);
  return {};
}

void Replica::replay(const BatchView& batch, WallTime now) {
  if (batch.producer_id() >= 0) producers().note(batch, batch.base_offset(), now);
}

Bytes Replica::snapshot() const { return producers_ ? producers_->snapshot(high_watermark_) : Bytes(); }

}  // namespace robustmq::shard
