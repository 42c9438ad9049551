#include "shard/marker.h"

#include <array>

namespace robustmq::shard {
namespace {

constexpr uint8_t kTransactionalAndControl = 0x30;

}  // namespace

Bytes marker_batch(const Marker& marker, WallTime now) {
  const std::array<uint8_t, 4> key{0, 0, 0, static_cast<uint8_t>(marker.commits ? 1 : 0)};
  const std::array<uint8_t, 6> value{};
  BatchBuilder builder;
  builder.begin_record(now.ms, ByteSpan(key), ByteSpan(value));
  builder.end_record();
  builder.set_producer(marker.producer, marker.epoch, -1);
  Bytes batch = builder.finish();
  uint8_t* at = batch.patchable();
  at[kBatchAttributesAt] |= kTransactionalAndControl;
  renew_batch_crc(at, batch.size());
  return batch;
}

std::optional<Marker> marker_of(const BatchView& batch) {
  if (!batch.is_control() || !batch.is_transactional() || batch.compression() != Compression::none) return std::nullopt;
  RecordReader records(batch, batch.records());
  RecordView record;
  if (!records.next(record) || !record.key || record.key->size() < 4) return std::nullopt;
  const ByteSpan key = *record.key;
  const int type = key[2] << 8 | key[3];
  if (type > 1) return std::nullopt;
  return Marker{batch.producer_id(), batch.producer_epoch(), type == 1};
}

}  // namespace robustmq::shard
