// The stored unit: Kafka's record batch v2, byte for byte. Pure.
//
// Layout, big-endian:
//    0 base offset (8)       12 leader epoch (4)     21 attributes (2)        35 max timestamp (8)   53 base sequence (4)
//    8 length after it (4)   16 magic = 2 (1)        23 last offset delta (4) 43 producer id (8)     57 record count (4)
//                            17 CRC-32C of 21.. (4)  27 base timestamp (8)    51 producer epoch (2)  61 records
// Base offset and leader epoch lie outside the CRC and are patched in place at append. Records: varint length, attributes (1),
// varlong timestamp delta, varint offset delta, varint key length (-1 = null) and key, the same for the value, varint header
// count, and for each varint key length, key, varint value length (-1 = null), value. Varints are zigzag.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"

namespace robustmq {

constexpr size_t kBatchHeaderBytes = 61;
constexpr size_t kBatchLengthOverhead = 12;  // total size = length field + this

// Where fields of the header are, for whoever changes one and then calls renew_batch_crc().
constexpr size_t kBatchLengthAt = 8;
constexpr size_t kBatchMagicAt = 16;
constexpr size_t kBatchCrcAt = 17;
constexpr size_t kBatchCrcFrom = 21;
constexpr size_t kBatchAttributesAt = 22;  // the low byte; the high one is not used
constexpr size_t kBatchBaseTimestampAt = 27;
constexpr size_t kBatchMaxTimestampAt = 35;
constexpr size_t kBatchRecordCountAt = 57;

enum class Compression : uint8_t { none = 0, gzip = 1, snappy = 2, lz4 = 3, zstd = 4 };

// A read-only view of a batch's header. The caller ensures that the bytes outlive it; fields are read on demand.
class BatchView {
 public:
  explicit BatchView(ByteSpan bytes) : at_(bytes.data()), size_(bytes.size()) {}

  // Size and shape only: at least a header, length field equal to the bytes given, magic 2. Not the CRC.
  static Status check_shape(ByteSpan bytes);
  // Total size of the batch that begins at `bytes`, read from its length field; nullopt when fewer than 12 bytes are there
  // or the length is below the header's or negative.
  static std::optional<size_t> size_at(ByteSpan bytes);

  Offset base_offset() const { return static_cast<Offset>(u64(0)); }
  size_t total_size() const { return size_; }
  LeaderEpoch leader_epoch() const { return static_cast<LeaderEpoch>(u32(12)); }
  uint8_t magic() const { return at_[16]; }
  uint32_t crc() const { return u32(17); }
  uint16_t attributes() const { return static_cast<uint16_t>(at_[21] << 8 | at_[22]); }
  Compression compression() const { return static_cast<Compression>(attributes() & 7); }
  bool is_log_append_time() const { return attributes() & 8; }
  bool is_transactional() const { return attributes() & 16; }
  bool is_control() const { return attributes() & 32; }
  int32_t last_offset_delta() const { return static_cast<int32_t>(u32(23)); }
  Offset last_offset() const { return base_offset() + last_offset_delta(); }
  Offset next_offset() const { return last_offset() + 1; }
  int64_t base_timestamp() const { return static_cast<int64_t>(u64(27)); }
  int64_t max_timestamp() const { return static_cast<int64_t>(u64(35)); }
  ProducerId producer_id() const { return static_cast<ProducerId>(u64(43)); }
  int16_t producer_epoch() const { return static_cast<int16_t>(at_[51] << 8 | at_[52]); }
  int32_t base_sequence() const { return static_cast<int32_t>(u32(53)); }
  int32_t record_count() const { return static_cast<int32_t>(u32(57)); }
  // The records as stored: one compressed block when compression() is not none.
  ByteSpan records() const { return {at_ + kBatchHeaderBytes, size_ - kBatchHeaderBytes}; }
  bool crc_is_right() const;

 private:
  uint32_t u32(size_t i) const { return static_cast<uint32_t>(at_[i]) << 24 | at_[i + 1] << 16 | at_[i + 2] << 8 | at_[i + 3]; }
  uint64_t u64(size_t i) const { return static_cast<uint64_t>(u32(i)) << 32 | u32(i + 4); }
  const uint8_t* at_;
  size_t size_;
};

// Writes base offset and leader epoch into a batch that nobody else sees yet.
void patch_batch(Bytes& batch, Offset base_offset, LeaderEpoch epoch);
// Writes the CRC anew into a batch of `size` bytes, at least a header, whose fields or records were changed.
void renew_batch_crc(uint8_t* batch, size_t size);

struct HeaderView {
  std::string_view key;
  std::optional<ByteSpan> value;  // nullopt is null
};

// One record; views into the batch (or its decompressed block).
struct RecordView {
  Offset offset = 0;
  int64_t timestamp_ms = 0;
  std::optional<ByteSpan> key;
  std::optional<ByteSpan> value;
  ByteSpan raw_headers;  // the encoded headers without their count, walked by HeaderReader
  int32_t header_count = 0;
};

// Walks the headers of one record. Never reads past what the record holds.
class HeaderReader {
 public:
  explicit HeaderReader(const RecordView& record) : rest_(record.raw_headers), left_(record.header_count) {}
  // False at the end or at a malformed header; is_malformed() tells which.
  bool next(HeaderView& out);
  bool is_malformed() const { return malformed_; }

 private:
  ByteSpan rest_;
  int32_t left_;
  bool malformed_ = false;
};

// Walks the records of an uncompressed block. `header` gives base offset, base timestamp and count.
class RecordReader {
 public:
  // `block`: the records, decompressed where the batch was compressed.
  RecordReader(const BatchView& header, ByteSpan block);
  // False at the end or at a malformed record; is_malformed() tells which. Header bytes are bounded but not walked.
  bool next(RecordView& out);
  bool is_malformed() const { return malformed_; }
  // Bytes left behind the last record; not zero means a malformed batch.
  size_t bytes_left() const { return rest_.size(); }

 private:
  ByteSpan rest_;
  Offset base_offset_;
  int64_t base_timestamp_;
  int64_t log_append_time_ = -1;
  int32_t left_;
  bool malformed_ = false;
};

// Builds an uncompressed batch. Records are added in order; finish() gives a batch with base offset 0 and epoch -1.
//
//   BatchBuilder builder;
//   builder.begin_record(now_ms, key, value); builder.add_header(name, value); builder.end_record();
//   Bytes batch = builder.finish();
class BatchBuilder {
 public:
  BatchBuilder() = default;
  // Starts a record: `key` may be nullopt (null); `value` nullopt is null. At most one record is open.
  void begin_record(int64_t timestamp_ms, std::optional<ByteSpan> key, std::optional<ByteSpan> value);
  void add_header(std::string_view key, std::optional<ByteSpan> value);
  // Headers already in the record's encoding (append_header), `count` of them.
  void add_encoded_headers(ByteSpan encoded, int32_t count);
  // Writes one header in the record's encoding.
  static void append_header(Buffer& to, std::string_view key, std::optional<ByteSpan> value);
  void end_record();
  int32_t record_count() const { return count_; }
  size_t size_bytes() const { return buffer_.size(); }
  // The finished batch, CRC included; the builder is empty again. The caller ensures that there is at least one record.
  Bytes finish();
  // Sets the producer fields that finish() writes (-1, -1, -1 unless called).
  void set_producer(ProducerId id, int16_t epoch, int32_t base_sequence);

 private:
  Buffer buffer_;
  Buffer headers_;
  Buffer record_;
  int32_t count_ = 0;
  int32_t header_count_ = 0;
  int64_t base_timestamp_ = 0;
  int64_t max_timestamp_ = 0;
  ProducerId producer_id_ = -1;
  int16_t producer_epoch_ = -1;
  int32_t base_sequence_ = -1;
};

}  // namespace robustmq
