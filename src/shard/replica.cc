#include "shard/replica.h"

#include <algorithm>

#include "base/wire.h"

namespace robustmq::shard {

Producers& Replica::producers() {
  if (!producers_) {
    producers_ = std::make_unique<Producers>();
    producers_->set_stays([this](ProducerId id) { return open_since(id).has_value(); });
  }
  return *producers_;
}

OpenTransactions& Replica::transactions() {
  if (!transactions_) transactions_ = std::make_unique<OpenTransactions>();
  return *transactions_;
}

Result<Replica::Assigned> Replica::assign(Bytes& batch, WallTime now) {
  const BatchView view(batch);
  const bool is_idempotent = view.producer_id() >= 0;
  if (is_idempotent) {
    const Result<Offset> repeat = producers().check(view);
    if (!repeat.ok()) return repeat.error();
    if (*repeat >= 0) return Assigned{*repeat, true};
    if (!view.is_transactional() && open_since(view.producer_id()))
      return Error{Code::invalid_transaction_state, "the producer has a transaction open"};
  }
  const Offset base = end_;
  patch_batch(batch, base, epoch_);
  note_epoch(epoch_, base);
  end_ = base + view.last_offset_delta() + 1;
  // Begun before the producer is noted: one with an open transaction stays.
  if (is_idempotent && view.is_transactional()) transactions().note_batch(view.producer_id(), base);
  if (is_idempotent) producers_->note(view, base, now);
  return Assigned{base, false};
}

Result<Replica::Assigned> Replica::assign_marker(Bytes& batch, const Marker& marker, WallTime now) {
  const int16_t known = producers_ ? producers_->epoch_of(marker.producer) : int16_t{-1};
  if (known > marker.epoch)
    return Error{Code::fenced_producer,
                 "a marker of epoch " + std::to_string(marker.epoch) + ", the newest is " + std::to_string(known)};
  const std::optional<Offset> first = open_since(marker.producer);
  if (!first && known == marker.epoch) return Assigned{-1, true};
  const Offset base = end_;
  patch_batch(batch, base, epoch_);
  note_epoch(epoch_, base);
  end_ = base + 1;
  if (first) transactions_->note_marker(marker, base);
  producers().note_end(marker.producer, marker.epoch, first && !marker.commits ? *first : Offset{-1}, now);
  return Assigned{base, false};
}

std::vector<ProducerFacts> Replica::producer_facts() const {
  if (!producers_) return {};
  std::vector<ProducerFacts> facts = producers_->facts();
  for (ProducerFacts& each : facts) each.transaction_start = open_since(each.id).value_or(-1);
  return facts;
}

void Replica::commit(Offset offset) {
  ROBUSTMQ_CHECK(offset >= high_watermark_ && offset <= end_, "a commit outside what was assigned");
  high_watermark_ = offset;
  if (transactions_) transactions_->commit(offset);
}

void Replica::roll_back() {
  end_ = high_watermark_;
  while (!epochs_.empty() && epochs_.back().start >= end_) epochs_.pop_back();
  if (transactions_) transactions_->roll_back(end_);
  if (producers_) producers_->forget_from(end_);
}

std::vector<Marker> Replica::markers_to_abort() const {
  std::vector<Marker> markers;
  if (!transactions_) return markers;
  for (const ProducerId id : transactions_->open_producers())
    markers.push_back({id, producers_ ? producers_->epoch_of(id) : int16_t{-1}, false});
  return markers;
}

Status Replica::restore(ByteSpan bytes, Offset as_of) {
  if (bytes.empty()) return {};
  const Offset limit = std::min(end_, as_of);
  Result<State> state = decode_described<State>(bytes);
  if (!state.ok()) return state.error();
  if (!state->open.empty() || !state->aborted.empty()) {
    // Of one that was aborted behind the limit the beginning is there: it is open.
    std::erase_if(state->aborted, [&](const AbortedRow& row) {
      if (row.marker < limit) return false;
      if (row.first < limit) state->open.push_back({row.producer, row.first});
      return true;
    });
    const Status status = transactions().restore(state->open, state->aborted);
    if (!status.ok()) return status;
    transactions_->roll_back(limit);
  }
  if (!state->producers.empty()) {
    const Status status = producers().restore(state->producers);
    if (!status.ok()) return status;
    producers_->forget_from(limit);
  }
  for (const EpochStart& one : state->epochs) {
    if (one.start < limit) note_epoch(one.epoch, one.start);
  }
  trim(state->start);
  clean_until_ = std::min(state->clean_until, high_watermark_);
  return {};
}

void Replica::replay(const BatchView& batch, WallTime now) {
  note_epoch(batch.leader_epoch(), batch.base_offset());
  if (batch.producer_id() < 0) return;
  if (batch.is_control()) {
    const std::optional<Marker> marker = marker_of(batch);
    if (!marker) return;
    const std::optional<Offset> first = open_since(marker->producer);
    if (first) {
      transactions_->note_marker(*marker, batch.base_offset());
      transactions_->commit(high_watermark_);
    }
    return producers().note_end(marker->producer, marker->epoch, first && !marker->commits ? *first : Offset{-1}, now);
  }
  if (batch.is_transactional()) transactions().note_batch(batch.producer_id(), batch.base_offset());
  producers().note(batch, batch.base_offset(), now);
}

Bytes Replica::snapshot() const {
  State state;
  if (producers_) state.producers = producers_->snapshot(high_watermark_);
  for (const EpochStart& one : epochs_) {
    if (one.start < high_watermark_) state.epochs.push_back(one);
  }
  state.start = start_;
  if (transactions_) {
    state.open = transactions_->open_rows(high_watermark_);
    state.aborted = transactions_->aborted_rows(high_watermark_);
  }
  state.clean_until = clean_until_;
  if (state.producers.empty() && state.epochs.empty() && start_ == 0 && state.open.empty() && state.aborted.empty() &&
      clean_until_ == 0)
    return {};
  Buffer buffer;
  encode_described(state, buffer);
  return buffer.take();
}

void Replica::note_epoch(LeaderEpoch epoch, Offset start) {
  if (!epochs_.empty() && epochs_.back().epoch >= epoch) return;
  if (epochs_.size() == kEpochsMax) epochs_.erase(epochs_.begin());
  epochs_.push_back({epoch, start});
}

Replica::EpochEnd Replica::end_of_epoch(LeaderEpoch epoch) const {
  if (epoch < 0 || epoch > epoch_) return {};
  if (epoch == epoch_) return {epoch, high_watermark_};
  const auto above = std::upper_bound(epochs_.begin(), epochs_.end(), epoch,
                                      [](LeaderEpoch asked, const EpochStart& one) { return asked < one.epoch; });
  const Offset end = above == epochs_.end() ? high_watermark_ : std::min(above->start, high_watermark_);
  // Nothing is known of so old a one: it ends where the known ones begin.
  return {above == epochs_.begin() ? epoch : std::prev(above)->epoch, end};
}

LeaderEpoch Replica::epoch_at(Offset offset) const {
  const auto above = std::upper_bound(epochs_.begin(), epochs_.end(), offset,
                                      [](Offset asked, const EpochStart& one) { return asked < one.start; });
  return above == epochs_.begin() ? LeaderEpoch{-1} : std::prev(above)->epoch;
}

}  // namespace robustmq::shard
