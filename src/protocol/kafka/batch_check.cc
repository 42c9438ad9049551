#include "protocol/kafka/batch_check.h"

#include <algorithm>

#include "compress/codec.h"

namespace robustmq::kafka {
namespace {

constexpr int kFirstVersionWithZstd = 7;

Error invalid(std::string_view why) { return {Code::invalid_record, std::string(why)}; }

Status check_shape(ByteSpan bytes) {
  if (bytes.size() <= kBatchMagicAt) return invalid("no record batch");
  if (bytes[kBatchMagicAt] != 2) return Error{Code::unsupported_batch_format, "magic " + std::to_string(bytes[kBatchMagicAt])};
  const std::optional<size_t> size = BatchView::size_at(bytes);
  if (!size) return Error{Code::corrupt_batch, "the batch length is below a header's"};
  if (*size > bytes.size()) return invalid("no whole record batch");
  if (*size < bytes.size()) return invalid("more than one record batch");
  return {};
}

Status check_header(const BatchView& batch, int produce_version) {
  if (batch.base_offset() != 0) return invalid("the base offset is not 0");
  if (batch.record_count() <= 0) return invalid("no records");
  if (static_cast<int64_t>(batch.last_offset_delta()) + 1 != batch.record_count())
    return invalid("the record count does not fit the offsets");
  if (batch.is_control()) return invalid("a producer may not write control batches");
  if (batch.is_transactional() && batch.producer_id() < 0) return invalid("a transaction's batch without a producer id");
  if (batch.is_log_append_time()) return Error{Code::invalid_timestamp, "the time stamp type is the broker's to set"};
  if (batch.producer_id() >= 0 && (batch.producer_epoch() < 0 || batch.base_sequence() < 0))
    return invalid("a producer id without epoch or sequence");
  if (batch.compression() > Compression::zstd) return Error{Code::unsupported_compression, "unknown codec"};
  if (batch.compression() == Compression::zstd && produce_version < kFirstVersionWithZstd) {
    return Error{Code::unsupported_compression, "zstd comes with Produce 7"};
  }
  return {};
}

void note_time(broker::RecordTimes& times, int64_t time_ms, int32_t index) {
  if (times.max_record < 0 || time_ms > times.max_ms) {
    times.max_ms = time_ms;
    times.max_record = index;
  }
  if (times.min_record < 0 || time_ms < times.min_ms) {
    times.min_ms = time_ms;
    times.min_record = index;
  }
}

// Walks all records; their largest time, and which one is at fault.
Status check_records(const BatchView& batch, ByteSpan block, int64_t& max_timestamp, BatchCheckFacts& facts) {
  RecordReader reader(batch, block);
  RecordView record;
  Offset expected = 0;
  while (reader.next(record)) {
    const auto index = static_cast<int32_t>(expected);
    facts.bad_record = index;
    if (record.offset != expected++) return invalid("record offsets do not count up by one");
    max_timestamp = std::max(max_timestamp, record.timestamp_ms);
    if (!record.key && facts.keyless_record < 0) facts.keyless_record = index;
    if (record.timestamp_ms >= 0) note_time(facts.times, record.timestamp_ms, index);
    if (record.header_count > 0) {
      HeaderReader headers(record);
      HeaderView header;
      while (headers.next(header)) {
      }
      if (headers.is_malformed()) return invalid("malformed record headers");
    }
  }
  facts.bad_record = reader.is_malformed() && expected < batch.record_count() ? static_cast<int32_t>(expected) : -1;
  if (reader.is_malformed() || expected != batch.record_count()) return invalid("malformed record");
  if (reader.bytes_left() != 0) return invalid("bytes behind the last record");
  return {};
}

void repair_max_timestamp(Bytes& batch, int64_t max_timestamp) {
  uint8_t* at = batch.patchable();
  const uint64_t value = __builtin_bswap64(static_cast<uint64_t>(max_timestamp));
  std::memcpy(at + kBatchMaxTimestampAt, &value, sizeof(value));
  renew_batch_crc(at, batch.size());
}

}  // namespace

Status check_produced_batch(Bytes& records, int produce_version, const BatchCheckLimits& limits, BatchCheckFacts* facts) {
  BatchCheckFacts unasked;
  if (!facts) facts = &unasked;
  *facts = {};
  if (Status status = check_shape(records); !status.ok()) return status;
  const BatchView batch(records);
  if (Status status = check_header(batch, produce_version); !status.ok()) {
    // What a damaged header says means nothing.
    if (!batch.crc_is_right()) return Code::corrupt_batch;
    if (status.code() == Code::invalid_timestamp) facts->bad_record = 0;  // so says every record of it
    return status;
  }
  if (!batch.crc_is_right()) return Code::corrupt_batch;
  int64_t max_timestamp = INT64_MIN;
  Status status;
  if (batch.compression() == Compression::none) {
    status = check_records(batch, batch.records(), max_timestamp, *facts);
  } else {
    const Result<Bytes> plain = compress::decompress(batch.compression(), batch.records(), limits.plain_bytes_max);
    if (!plain.ok()) {
      return plain.code() == Code::too_large ? plain.error() : invalid(plain.error().detail);
    }
    status = check_records(batch, *plain, max_timestamp, *facts);
  }
  if (status.ok() && max_timestamp != batch.max_timestamp()) repair_max_timestamp(records, max_timestamp);
  return status;
}

}  // namespace robustmq::kafka
