// Encoding and scanning of journal frames. Pure.
#include "storage/journal_frame.h"

#include <cstring>

#include "base/hash.h"

namespace robustmq::storage {
namespace {

constexpr uint32_t kFileMagic = 0x4A514D52;   // "RMQJ"
constexpr uint32_t kFrameMagic = 0x46514D52;  // "RMQF"
constexpr uint32_t kFormatVersion = 1;
constexpr size_t kHeaderCopyAt = 2048;
constexpr size_t kHeaderFields = 40;

template <class T>
void put(uint8_t* at, T value) {
  std::memcpy(at, &value, sizeof value);
}
template <class T>
T get(const uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

std::optional<JournalFileHeader> decode_copy(ByteSpan fields) {
  const uint8_t* at = fields.data();
  if (get<uint32_t>(at) != kFileMagic || get<uint32_t>(at + 8) != kFormatVersion) return std::nullopt;
  if (get<uint32_t>(at + 4) != crc32c(fields.subspan(8, kHeaderFields - 8))) return std::nullopt;
  JournalFileHeader header;
  header.salt = get<uint32_t>(at + 12);
  header.file_epoch = get<uint64_t>(at + 16);
  header.first_sequence = get<uint64_t>(at + 24);
  header.file_bytes = get<uint64_t>(at + 32);
  return header;
}

}  // namespace

Bytes encode_journal_header(const JournalFileHeader& header) {
  Buffer buffer(kJournalHeaderBytes);
  uint8_t* page = buffer.extend(kJournalHeaderBytes);
  std::memset(page, 0, kJournalHeaderBytes);
  put(page, kFileMagic);
  put(page + 8, kFormatVersion);
  put(page + 12, header.salt);
  put(page + 16, header.file_epoch);
  put(page + 24, header.first_sequence);
  put(page + 32, header.file_bytes);
  put(page + 4, crc32c(ByteSpan(page + 8, kHeaderFields - 8)));
  std::memcpy(page + kHeaderCopyAt, page, kHeaderFields);
  return buffer.take();
}

std::optional<JournalFileHeader> decode_journal_header(ByteSpan start) {
  for (size_t at : {size_t{0}, kHeaderCopyAt}) {
    if (start.size() < at + kHeaderFields) break;
    if (std::optional<JournalFileHeader> header = decode_copy(start.subspan(at, kHeaderFields))) return header;
  }
  return std::nullopt;
}

void encode_frame_header(FrameHeader header, const std::vector<Bytes>& payload, uint32_t salt, Buffer& to) {
  header.payload_bytes = 0;
  for (const Bytes& piece : payload) header.payload_bytes += static_cast<uint32_t>(piece.size());
  uint8_t* at = to.extend(kFrameHeaderBytes);
  put(at, kFrameMagic);
  put(at + 8, header.payload_bytes);
  put(at + 12, static_cast<uint32_t>(header.kind));
  put(at + 16, header.file_epoch);
  put(at + 24, header.sequence);
  std::memcpy(at + 32, header.shard.topic.bytes.data(), 16);
  put(at + 48, header.shard.partition);
  put(at + 52, header.leader_epoch);
  put(at + 56, header.offset);
  put(at + 64, header.segment_base);
  put(at + 72, header.position);
  uint32_t crc = crc32c(ByteSpan(at + 8, kFrameHeaderBytes - 8), salt);
  for (const Bytes& piece : payload) crc = crc32c(piece, crc);
  put(at + 4, crc);
}

bool FrameScanner::decode_at(size_t position, Frame& out) const {
  if (position + kFrameHeaderBytes > contents_.size()) return false;
  const uint8_t* at = contents_.data() + position;
  if (get<uint32_t>(at) != kFrameMagic || get<uint64_t>(at + 16) != header_.file_epoch) return false;
  const auto payload_bytes = get<uint32_t>(at + 8);
  if (payload_bytes > contents_.size() - position - kFrameHeaderBytes) return false;
  const auto sequence = get<uint64_t>(at + 24);
  if (sequence < header_.first_sequence || (has_last_ && sequence <= last_sequence_)) return false;
  if (get<uint32_t>(at + 4) != crc32c(ByteSpan(at + 8, kFrameHeaderBytes - 8 + payload_bytes), header_.salt)) return false;
  const auto kind = get<uint32_t>(at + 12);
  if (kind < static_cast<uint32_t>(FrameKind::append) || kind > static_cast<uint32_t>(FrameKind::rewrite)) return false;
  FrameHeader& header = out.header;
  header.kind = static_cast<FrameKind>(kind);
  header.file_epoch = header_.file_epoch;
  header.sequence = sequence;
  std::memcpy(header.shard.topic.bytes.data(), at + 32, 16);
  header.shard.partition = get<int32_t>(at + 48);
  header.leader_epoch = get<int32_t>(at + 52);
  header.offset = get<int64_t>(at + 56);
  header.segment_base = get<int64_t>(at + 64);
  header.position = get<uint64_t>(at + 72);
  header.payload_bytes = payload_bytes;
  out.payload = contents_.slice(position + kFrameHeaderBytes, payload_bytes);
  return true;
}

bool FrameScanner::next(Frame& out) {
  const uint8_t* bytes = contents_.data();
  const size_t end = contents_.size();
  for (size_t at = position_; at + kFrameHeaderBytes <= end; at += kFrameAlignment) {
    // Most of what is passed over is the unused rest of a file.
    if (get<uint32_t>(bytes + at) != kFrameMagic || !decode_at(at, out)) continue;
    damaged_bytes_ += at - position_;
    position_ = at + frame_bytes(out.header.payload_bytes);
    last_sequence_ = out.header.sequence;
    has_last_ = true;
    return true;
  }
  position_ = contents_.size();
  return false;
}

}  // namespace robustmq::storage
