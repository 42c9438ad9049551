#include "base/batch.h"

#include <algorithm>

#include "base/check.h"
#include "base/hash.h"
#include "base/varint.h"

namespace robustmq {
namespace {

void store16(uint8_t* at, uint16_t value) {
  at[0] = static_cast<uint8_t>(value >> 8);
  at[1] = static_cast<uint8_t>(value);
}
void store32(uint8_t* at, uint32_t value) {
  value = __builtin_bswap32(value);
  std::memcpy(at, &value, 4);
}
void store64(uint8_t* at, uint64_t value) {
  value = __builtin_bswap64(value);
  std::memcpy(at, &value, 8);
}
uint32_t load32(const uint8_t* at) {
  uint32_t value;
  std::memcpy(&value, at, 4);
  return __builtin_bswap32(value);
}

// Length-prefixed bytes, -1 for null. False when the rest is too short or the length is below -1.
bool take_bytes(ByteSpan& rest, std::optional<ByteSpan>& out) {
  int64_t length;
  if (!take_zigzag(rest, length) || length < -1 || length > static_cast<int64_t>(rest.size())) return false;
  if (length < 0) {
    out = std::nullopt;
    return true;
  }
  out = rest.first(static_cast<size_t>(length));
  rest = rest.subspan(static_cast<size_t>(length));
  return true;
}

size_t encoded_size(const std::optional<ByteSpan>& bytes) {
  return bytes ? varint_size(zigzag(static_cast<int64_t>(bytes->size()))) + bytes->size() : 1;
}

uint8_t* put_bytes(uint8_t* at, const std::optional<ByteSpan>& bytes) {
  if (!bytes) return put_varint(at, zigzag(-1));
  at = put_varint(at, zigzag(static_cast<int64_t>(bytes->size())));
  if (!bytes->empty()) std::memcpy(at, bytes->data(), bytes->size());
  return at + bytes->size();
}

}  // namespace

Status BatchView::check_shape(ByteSpan bytes) {
  if (bytes.size() < kBatchHeaderBytes) return Error{Code::corrupt_batch, "shorter than a batch header"};
  const std::optional<size_t> size = size_at(bytes);
  if (!size || *size != bytes.size()) return Error{Code::corrupt_batch, "the length field does not fit the bytes"};
  if (bytes[16] != 2) return Error{Code::unsupported_batch_format, "magic " + std::to_string(bytes[16])};
  return {};
}

std::optional<size_t> BatchView::size_at(ByteSpan bytes) {
  if (bytes.size() < kBatchLengthOverhead) return std::nullopt;
  const auto length = static_cast<int32_t>(load32(bytes.data() + 8));
  if (length < static_cast<int32_t>(kBatchHeaderBytes - kBatchLengthOverhead)) return std::nullopt;
  return static_cast<size_t>(length) + kBatchLengthOverhead;
}

bool BatchView::crc_is_right() const { return crc32c({at_ + 21, size_ - 21}) == crc(); }

void renew_batch_crc(uint8_t* batch, size_t size) {
  store32(batch + kBatchCrcAt, crc32c({batch + kBatchCrcFrom, size - kBatchCrcFrom}));
}

void patch_batch(Bytes& batch, Offset base_offset, LeaderEpoch epoch) {
  store64(batch.patchable(), static_cast<uint64_t>(base_offset));
  store32(batch.patchable() + 12, static_cast<uint32_t>(epoch));
}

bool HeaderReader::next(HeaderView& out) {
  if (left_ == 0 || malformed_) return false;
  std::optional<ByteSpan> key;
  if (!take_bytes(rest_, key) || !key || !take_bytes(rest_, out.value)) {
    malformed_ = true;
    return false;
  }
  out.key = as_text(*key);
  if (--left_ == 0 && !rest_.empty()) malformed_ = true;
  return true;
}

RecordReader::RecordReader(const BatchView& header, ByteSpan block)
    : rest_(block), base_offset_(header.base_offset()), base_timestamp_(header.base_timestamp()), left_(header.record_count()) {
  if (header.is_log_append_time()) log_append_time_ = header.max_timestamp();
}

bool RecordReader::next(RecordView& out) {
  if (left_ <= 0 || malformed_) return false;
  malformed_ = true;  // until this record is read whole
  int64_t length;
  if (!take_zigzag(rest_, length) || length < 1 || length > static_cast<int64_t>(rest_.size())) return false;
  ByteSpan record = rest_.first(static_cast<size_t>(length));
  rest_ = rest_.subspan(static_cast<size_t>(length));
  record = record.subspan(1);  // attributes, unused
  int64_t timestamp_delta;
  int64_t offset_delta;
  int64_t header_count;
  if (!take_zigzag(record, timestamp_delta) || !take_zigzag(record, offset_delta)) return false;
  if (offset_delta < 0 || offset_delta > INT32_MAX) return false;
  if (!take_bytes(record, out.key) || !take_bytes(record, out.value)) return false;
  // A header takes at least two bytes.
  if (!take_zigzag(record, header_count) || header_count < 0 || header_count > static_cast<int64_t>(record.size() / 2))
    return false;
  if (header_count == 0 && !record.empty()) return false;
  out.offset = base_offset_ + offset_delta;
  out.timestamp_ms = log_append_time_ >= 0
                         ? log_append_time_
                         : static_cast<int64_t>(static_cast<uint64_t>(base_timestamp_) + static_cast<uint64_t>(timestamp_delta));
  out.raw_headers = record;
  out.header_count = static_cast<int32_t>(header_count);
  --left_;
  malformed_ = false;
  return true;
}

void BatchBuilder::begin_record(int64_t timestamp_ms, std::optional<ByteSpan> key, std::optional<ByteSpan> value) {
  if (count_ == 0) {
    // Room for what is known now, so that a batch of one small record is one allocation.
    buffer_.reserve(kBatchHeaderBytes + 64 + (key ? key->size() : 0) + (value ? value->size() : 0));
    buffer_.extend(kBatchHeaderBytes);
    base_timestamp_ = max_timestamp_ = timestamp_ms;
  }
  max_timestamp_ = std::max(max_timestamp_, timestamp_ms);
  // The body without its length and its headers; headers are collected apart until their count is known.
  const uint64_t timestamp_delta = zigzag(timestamp_ms - base_timestamp_);
  const uint64_t offset_delta = zigzag(count_);
  record_.clear();
  const size_t size = 1 + varint_size(timestamp_delta) + varint_size(offset_delta) + encoded_size(key) + encoded_size(value);
  uint8_t* at = record_.extend(size);
  *at++ = 0;
  at = put_varint(at, timestamp_delta);
  at = put_varint(at, offset_delta);
  at = put_bytes(at, key);
  put_bytes(at, value);
  headers_.clear();
  header_count_ = 0;
}

void BatchBuilder::append_header(Buffer& to, std::string_view key, std::optional<ByteSpan> value) {
  const std::optional<ByteSpan> name = as_bytes(key);
  uint8_t* at = to.extend(encoded_size(name) + encoded_size(value));
  put_bytes(put_bytes(at, name), value);
}

void BatchBuilder::add_header(std::string_view key, std::optional<ByteSpan> value) {
  append_header(headers_, key, value);
  ++header_count_;
}

void BatchBuilder::add_encoded_headers(ByteSpan encoded, int32_t count) {
  headers_.append(encoded);
  header_count_ += count;
}

void BatchBuilder::end_record() {
  const uint64_t header_count = zigzag(header_count_);
  const size_t body = record_.size() + varint_size(header_count) + headers_.size();
  const uint64_t length = zigzag(static_cast<int64_t>(body));
  uint8_t* at = buffer_.extend(varint_size(length) + body);
  at = put_varint(at, length);
  std::memcpy(at, record_.data(), record_.size());
  at = put_varint(at + record_.size(), header_count);
  if (!headers_.empty()) std::memcpy(at, headers_.data(), headers_.size());
  ++count_;
}

void BatchBuilder::set_producer(ProducerId id, int16_t epoch, int32_t base_sequence) {
  producer_id_ = id;
  producer_epoch_ = epoch;
  base_sequence_ = base_sequence;
}

Bytes BatchBuilder::finish() {
  ROBUSTMQ_CHECK(count_ > 0, "a batch without records");
  uint8_t* at = buffer_.data();
  const size_t size = buffer_.size();
  store64(at, 0);
  store32(at + 8, static_cast<uint32_t>(size - kBatchLengthOverhead));
  store32(at + 12, static_cast<uint32_t>(-1));
  at[16] = 2;
  store16(at + 21, 0);
  store32(at + 23, static_cast<uint32_t>(count_ - 1));
  store64(at + 27, static_cast<uint64_t>(base_timestamp_));
  store64(at + 35, static_cast<uint64_t>(max_timestamp_));
  store64(at + 43, static_cast<uint64_t>(producer_id_));
  store16(at + 51, static_cast<uint16_t>(producer_epoch_));
  store32(at + 53, static_cast<uint32_t>(base_sequence_));
  store32(at + 57, static_cast<uint32_t>(count_));
  renew_batch_crc(at, size);
  count_ = 0;
  producer_id_ = -1;
  producer_epoch_ = -1;
  base_sequence_ = -1;
  return buffer_.take();
}

}  // namespace robustmq
