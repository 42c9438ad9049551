#include "shard/producers.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/wire.h"

namespace robustmq::shard {
namespace {

int32_t last_sequence_of(const BatchView& batch) { return sequence_after(batch.base_sequence(), batch.last_offset_delta()); }

}  // namespace

void Producers::Producer::remember(const Batch& batch) {
  if (count == kProducerBatches) {
    std::move(batches.begin() + 1, batches.end(), batches.begin());
    --count;
  }
  batches[count++] = batch;
  next_sequence = sequence_after(batch.last_sequence, 1);
}

Result<Offset> Producers::check(const BatchView& batch) const {
  const auto found = by_id_.find(batch.producer_id());
  if (found == by_id_.end()) return Offset{-1};
  const Producer& producer = *found->second;
  const int32_t first = batch.base_sequence();
  if (batch.producer_epoch() < producer.epoch)
    return Error{Code::fenced_producer,
                 "epoch " + std::to_string(batch.producer_epoch()) + ", the newest is " + std::to_string(producer.epoch)};
  if (batch.producer_epoch() > producer.epoch) {
    if (first != 0) return Error{Code::out_of_order_sequence, "a new epoch begins at sequence 0, not " + std::to_string(first)};
    return Offset{-1};
  }
  const int32_t last = last_sequence_of(batch);
  for (int i = producer.count - 1; i >= 0; --i) {
    const Batch& known = producer.batches[i];
    if (known.is_aborted && known.first_sequence == first) return Offset{-1};
    if (known.first_sequence == first && known.last_sequence == last) return known.base_offset;
  }
  // What it sent in between may have been acknowledged and lost.
  constexpr uint32_t kHalf = uint32_t{1} << 30;
  const uint32_t ahead = (static_cast<uint32_t>(first) - static_cast<uint32_t>(producer.next_sequence)) & 0x7fff'ffff;
  const Offset last_known = producer.count > 0 ? producer.batches[producer.count - 1].last_offset : -1;
  if (ahead < kHalf && lost_until_ > 0 && last_known < lost_until_) return Offset{-1};
  if (first != producer.next_sequence)
    return Error{Code::out_of_order_sequence,
                 "sequence " + std::to_string(first) + ", expected " + std::to_string(producer.next_sequence)};
  return Offset{-1};
}

void Producers::note(const BatchView& batch, Offset base_offset, WallTime now) {
  Producer& producer = touch(batch.producer_id(), now);
  if (producer.epoch != batch.producer_epoch()) {
    producer.epoch = batch.producer_epoch();
    producer.count = 0;
  }
  producer.remember(
      {base_offset, base_offset + batch.last_offset_delta(), batch.base_sequence(), last_sequence_of(batch), false});
  expire(now);
}

void Producers::note_end(ProducerId id, int16_t epoch, Offset aborted_from, WallTime now) {
  Producer& producer = touch(id, now);
  if (producer.epoch != epoch) {
    producer.epoch = epoch;
    producer.count = 0;
    producer.next_sequence = 0;
  } else if (aborted_from >= 0) {
    for (int i = 0; i < producer.count; ++i) producer.batches[i].is_aborted |= producer.batches[i].base_offset >= aborted_from;
  }
  expire(now);
}

int16_t Producers::epoch_of(ProducerId id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? int16_t{-1} : found->second->epoch;
}

void Producers::forget_from(Offset end) {
  for (Producer& producer : by_age_) {
    while (producer.count > 0 && producer.batches[producer.count - 1].last_offset >= end)
      producer.next_sequence = producer.batches[--producer.count].first_sequence;
  }
}

Producers::Producer& Producers::touch(ProducerId id, WallTime now) {
  const auto [at, is_new] = by_id_.try_emplace(id);
  if (is_new) {
    by_age_.push_back({.id = id});
    at->second = std::prev(by_age_.end());
  } else {
    by_age_.splice(by_age_.end(), by_age_, at->second);
  }
  at->second->last_ms = now.ms;
  return *at->second;
}

void Producers::expire(WallTime now) {
  // The newest stays whatever the clock does.
  auto at = by_age_.begin();
  while (by_age_.size() > 1 && std::next(at) != by_age_.end() &&
         (by_age_.size() > limits_.producers_max || at->last_ms + limits_.idle_ms_max < now.ms)) {
    if (stays_ && stays_(at->id)) {
      ++at;
      continue;
    }
    by_id_.erase(at->id);
    at = by_age_.erase(at);
  }
}

std::vector<ProducerFacts> Producers::facts() const {
  std::vector<ProducerFacts> facts;
  for (const auto& [id, at] : by_id_)
    facts.push_back({id, at->epoch, at->count > 0 ? at->batches[at->count - 1].last_sequence : -1, at->last_ms, -1});
  return facts;
}

std::vector<ProducerLast> Producers::lasts() const {
  std::vector<ProducerLast> lasts;
  for (const auto& [id, at] : by_id_)
    lasts.push_back({id, at->epoch, at->count > 0 ? at->batches[at->count - 1].last_offset : -1});
  return lasts;
}

std::vector<ProducerRow> Producers::snapshot(Offset as_of) const {
  std::vector<ProducerRow> rows;
  for (const Producer& producer : by_age_) {
    ProducerRow row{.id = producer.id, .last_ms = producer.last_ms, .epoch = producer.epoch, .batches = {}};
    for (int i = 0; i < producer.count; ++i) {
      const Batch& batch = producer.batches[i];
      if (batch.last_offset < as_of)
        row.batches.push_back(
            {batch.base_offset, batch.last_offset, batch.first_sequence, batch.last_sequence, batch.is_aborted});
    }
    // One without batches was told its epoch by a marker.
    if (!row.batches.empty() || producer.count == 0) rows.push_back(std::move(row));
  }
  return rows;
}

Status Producers::restore(const std::vector<ProducerRow>& rows) {
  by_age_.clear();
  by_id_.clear();
  for (const ProducerRow& row : rows) {
    if (row.batches.size() > kProducerBatches || row.id < 0 || by_id_.contains(row.id))
      return Error{Code::corrupt_storage, "a kept producer is not valid"};
    Producer& producer = touch(row.id, WallTime{row.last_ms});
    producer.epoch = row.epoch;
    for (const ProducerBatchRow& batch : row.batches)
      producer.remember({batch.base_offset, batch.last_offset, batch.first_sequence, batch.last_sequence, batch.is_aborted});
  }
  return {};
}

}  // namespace robustmq::shard
