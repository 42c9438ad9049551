#include "shard/cleaner.h"

#include <algorithm>
#include <utility>

#include "base/varint.h"
#include "compress/codec.h"
#include "shard/marker.h"
#include "shard/record_reader.h"

namespace robustmq::shard {
namespace {

constexpr uint16_t kHorizonBit = 64;

template <class T>
void store(uint8_t* at, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) at[i] = static_cast<uint8_t>(static_cast<uint64_t>(value) >> (8 * (sizeof(T) - 1 - i)));
}

// A record as it is encoded, its time moved to another base.
void append_with_base(ByteSpan encoded, int64_t delta_more, Buffer& to) {
  int64_t length = 0;
  ByteSpan rest = encoded;
  if (!take_zigzag(rest, length) || rest.empty()) return;
  const uint8_t attributes = rest[0];
  rest = rest.subspan(1);
  int64_t delta = 0;
  if (!take_zigzag(rest, delta)) return;
  const uint64_t moved = zigzag(static_cast<int64_t>(static_cast<uint64_t>(delta) + static_cast<uint64_t>(delta_more)));
  const size_t size = 1 + varint_size(moved) + rest.size();
  const uint64_t new_length = zigzag(static_cast<int64_t>(size));
  uint8_t* at = to.extend(varint_size(new_length) + size);
  at = put_varint(at, new_length);
  *at++ = attributes;
  at = put_varint(at, moved);
  std::memcpy(at, rest.data(), rest.size());
}

// The header of `batch` with other records. `horizon`: a new one; nullopt: what it has stays.
Bytes rebuilt(const Bytes& batch, ByteSpan records, int32_t count, int64_t max_timestamp, std::optional<int64_t> horizon) {
  Buffer buffer(kBatchHeaderBytes + records.size());
  buffer.append(batch.span().first(kBatchHeaderBytes));
  buffer.append(records);
  uint8_t* at = buffer.data();
  store<int32_t>(at + kBatchLengthAt, static_cast<int32_t>(buffer.size() - kBatchLengthOverhead));
  store<int64_t>(at + kBatchMaxTimestampAt, max_timestamp);
  store<int32_t>(at + kBatchRecordCountAt, count);
  if (horizon) {
    at[kBatchAttributesAt] |= kHorizonBit;
    store<int64_t>(at + kBatchBaseTimestampAt, *horizon);
  }
  renew_batch_crc(at, buffer.size());
  return buffer.take();
}

int64_t later(WallTime now, int64_t ms) { return now.ms > INT64_MAX - ms ? INT64_MAX : now.ms + ms; }

}  // namespace

AbortedBy::AbortedBy(const std::vector<AbortedRange>& aborted) {
  for (const AbortedRange& one : aborted) by_producer_[one.producer][one.first] = one.marker;
}

bool AbortedBy::has(ProducerId producer, Offset offset) const {
  const auto found = by_producer_.find(producer);
  if (found == by_producer_.end()) return false;
  const auto behind = found->second.upper_bound(offset);
  return behind != found->second.begin() && offset < std::prev(behind)->second;
}

bool AbortedBy::ends_one(ProducerId producer, Offset marker) const {
  const auto found = by_producer_.find(producer);
  if (found == by_producer_.end()) return false;
  return std::any_of(found->second.begin(), found->second.end(), [&](const auto& one) { return one.second == marker; });
}

bool map_keys(const Bytes& batch, const AbortedBy& aborted, size_t plain_bytes_max, KeyMap& keys) {
  const BatchView header(batch);
  if (header.is_control() || header.record_count() == 0) return true;
  if (header.is_transactional() && aborted.has(header.producer_id(), header.base_offset())) return true;
  Result<OpenedRecords> opened = open_records(batch, plain_bytes_max);
  if (!opened) return true;
  RecordView record;
  while (opened->records.next(record)) {
    if (record.key && record.offset >= keys.first() && !keys.put(*record.key, record.offset)) return false;
  }
  return true;
}

Cleaner::Cleaner(CleaningPlan plan, const KeyMap& keys) : plan_(std::move(plan)), keys_(keys), aborted_(plan_.aborted) {
  for (const ProducerLast& one : plan_.producers) producers_[one.id] = one;
}

std::optional<int64_t> Cleaner::horizon_of(const BatchView& header) const {
  return header.attributes() & kHorizonBit ? std::optional(header.base_timestamp()) : std::nullopt;
}

bool Cleaner::is_newest_of_producer(const BatchView& header) const {
  const auto found = producers_.find(header.producer_id());
  if (header.producer_id() < 0 || found == producers_.end()) return false;
  if (header.is_control()) return found->second.last_offset < 0 && found->second.epoch == header.producer_epoch();
  return found->second.last_offset == header.last_offset();
}

void Cleaner::keep(const Bytes& batch, std::vector<Bytes>& out) {
  flush(out);
  out.push_back(batch);
}

void Cleaner::drop(const BatchView& header, std::vector<Bytes>& out) {
  const bool joins = gap_ && gap_->leader_epoch == header.leader_epoch() && header.last_offset() - gap_->base <= INT32_MAX;
  if (joins) {
    gap_->last = header.last_offset();
    is_gap_as_it_was_ = false;
    return;
  }
  flush(out);
  gap_ = EmptyBatch{.base = header.base_offset(), .last = header.last_offset(), .leader_epoch = header.leader_epoch()};
  is_gap_as_it_was_ = header.record_count() == 0 && header.producer_id() < 0;
}

void Cleaner::flush(std::vector<Bytes>& out) {
  if (!gap_) return;
  out.push_back(encode_empty_batch(*gap_));
  has_changed_ = has_changed_ || !is_gap_as_it_was_;
  gap_.reset();
}

// A control batch has one record. Others than the ends of transactions are not ours to judge.
void Cleaner::clean_marker(const Bytes& batch, std::vector<Bytes>& out) {
  const BatchView header(batch);
  const std::optional<Marker> marker = marker_of(header);
  if (!marker) return keep(batch, out);
  const bool had_data = has_data_.erase(marker->producer) > 0;
  if (had_data || is_newest_of_producer(header)) return keep(batch, out);
  const bool is_remembered = !marker->commits && aborted_.ends_one(marker->producer, header.base_offset());
  if (is_remembered) to_forget_.push_back(header.base_offset());
  const std::optional<int64_t> horizon = horizon_of(header);
  if (horizon) {
    const bool may_go = marker->commits || (!is_remembered && header.base_offset() < plan_.forgotten_until);
    if (*horizon > plan_.now.ms || !may_go) return keep(batch, out);
    ++counts_.markers_removed;
    return drop(header, out);
  }
  flush(out);
  const int64_t until = later(plan_.now, plan_.delete_retention_ms);
  Buffer records;
  append_with_base(header.records(), header.base_timestamp() - until, records);
  out.push_back(rebuilt(batch, records.span(), header.record_count(), header.max_timestamp(), until));
  has_changed_ = true;
}

void Cleaner::clean(const Bytes& batch, std::vector<Bytes>& out) {
  const BatchView header(batch);
  ++counts_.batches;
  if (header.base_offset() >= plan_.until) return keep(batch, out);
  if (header.is_control()) return clean_marker(batch, out);
  if (header.is_transactional()) has_data_.insert(header.producer_id());

  const bool is_aborted = header.is_transactional() && aborted_.has(header.producer_id(), header.base_offset());
  const std::optional<int64_t> horizon = horizon_of(header);
  int32_t count = 0;
  int64_t max_timestamp = -1;
  bool has_tombstone = false;
  std::vector<ByteSpan> kept;  // encoded
  Bytes owner;
  if (!is_aborted && header.record_count() > 0) {
    Result<OpenedRecords> opened = open_records(batch, plan_.plain_bytes_max);
    if (!opened) {
      ++counts_.batches_unreadable;
      return keep(batch, out);
    }
    owner = opened->owner;
    const ByteSpan block = header.compression() == Compression::none ? header.records() : owner.span();
    RecordView record;
    size_t from = 0;
    while (opened->records.next(record)) {
      const size_t behind = block.size() - opened->records.bytes_left();
      const ByteSpan encoded = block.subspan(from, behind - from);
      from = behind;
      const bool is_newest = record.key && keys_.newest(*record.key) <= record.offset;
      const bool is_over = !record.value && horizon && *horizon <= plan_.now.ms;
      if (!is_newest || is_over) {
        counts_.keyless_removed += record.key ? 0 : 1;
        counts_.tombstones_removed += is_newest ? 1 : 0;
        continue;
      }
      ++count;
      has_tombstone = has_tombstone || !record.value;
      max_timestamp = std::max(max_timestamp, record.timestamp_ms);
      kept.push_back(encoded);
    }
    if (opened->records.is_malformed()) {
      ++counts_.batches_unreadable;
      return keep(batch, out);
    }
  }
  counts_.records_kept += static_cast<uint64_t>(count);
  counts_.records_removed += static_cast<uint64_t>(std::max(header.record_count() - count, 0));
  if (count == 0) {
    if (!is_newest_of_producer(header)) return drop(header, out);
    if (header.record_count() == 0) return keep(batch, out);
    flush(out);
    out.push_back(encode_empty_batch({.base = header.base_offset(),
                                      .last = header.last_offset(),
                                      .leader_epoch = header.leader_epoch(),
                                      .producer = header.producer_id(),
                                      .producer_epoch = header.producer_epoch(),
                                      .base_sequence = header.base_sequence(),
                                      .is_transactional = header.is_transactional()}));
    has_changed_ = true;
    return;
  }
  const bool begins_horizon = has_tombstone && !horizon;
  if (count == header.record_count() && !begins_horizon) return keep(batch, out);

  std::optional<int64_t> until;
  if (begins_horizon) until = later(plan_.now, plan_.delete_retention_ms);
  Buffer records;
  for (ByteSpan encoded : kept) {
    if (until)
      append_with_base(encoded, header.base_timestamp() - *until, records);
    else
      records.append(encoded);
  }
  Bytes block = records.take();
  if (header.compression() != Compression::none) {
    Result<Bytes> compressed = compress::compress(header.compression(), block);
    if (!compressed) {
      ++counts_.batches_unreadable;
      return keep(batch, out);
    }
    block = compressed.take();
  }
  flush(out);
  out.push_back(rebuilt(batch, block, count, header.is_log_append_time() ? header.max_timestamp() : max_timestamp, until));
  has_changed_ = true;
}

}  // namespace robustmq::shard
