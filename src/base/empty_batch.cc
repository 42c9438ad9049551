#include "base/empty_batch.h"

#include "base/check.h"

namespace robustmq {
namespace {

constexpr uint8_t kTransactionalBit = 16;

template <class T>
void store(uint8_t* at, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) at[i] = static_cast<uint8_t>(static_cast<uint64_t>(value) >> (8 * (sizeof(T) - 1 - i)));
}

}  // namespace

Bytes encode_empty_batch(const EmptyBatch& batch) {
  ROBUSTMQ_CHECK(batch.last >= batch.base && batch.last - batch.base <= INT32_MAX,
                 "an empty batch of no offsets, or of too many");
  Buffer buffer(kBatchHeaderBytes);
  uint8_t* at = buffer.extend(kBatchHeaderBytes);
  store<int64_t>(at, batch.base);
  store<int32_t>(at + 8, kBatchHeaderBytes - kBatchLengthOverhead);
  store<int32_t>(at + 12, batch.leader_epoch);
  at[16] = 2;
  at[21] = 0;
  at[22] = batch.is_transactional ? kTransactionalBit : 0;
  store<int32_t>(at + 23, static_cast<int32_t>(batch.last - batch.base));
  store<int64_t>(at + 27, -1);
  store<int64_t>(at + 35, -1);
  store<int64_t>(at + 43, batch.producer);
  store<int16_t>(at + 51, batch.producer_epoch);
  store<int32_t>(at + 53, batch.base_sequence);
  store<int32_t>(at + 57, 0);
  renew_batch_crc(at, kBatchHeaderBytes);
  return buffer.take();
}

}  // namespace robustmq
