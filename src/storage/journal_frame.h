// The journal's frames: what is written to its recycled files, and how it is told from what an earlier use left there. Pure.
//
// File: a header of 4,096 bytes (the same 40 bytes at 0 and at 2,048, so one damaged sector does not cost the file), then frames
// back to back, each beginning at a multiple of 8. Integers are little-endian.
//
//   header:  0 magic "RMQJ" (4)   4 CRC-32C of 8..40 (4)   8 format version (4)   12 salt (4)   16 file epoch (8)
//            24 first sequence (8)   32 file bytes (8)
//   frame:   0 magic "RMQF" (4)   4 CRC (4)   8 payload length (4)   12 kind (1)   13 reserved, zero (3)   16 file epoch (8)
//            24 sequence (8)   32 topic id (16)   48 partition (4)   52 leader epoch (4)   56 offset (8)   64 segment base (8)
//            72 position (8)   80 payload
//
// A frame's CRC-32C covers all behind the CRC field, payload included, and starts from the file's salt. File epochs rise with
// each use of a file and sequences with each frame, over all files; the salt is random at each use. So a valid frame (or a
// batch that looks like one) of an earlier use, or in a client's payload, is never taken for one of this use: an old batch alone
// would pass, since a batch's own CRC leaves its base offset out.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"

namespace robustmq::storage {

constexpr size_t kJournalHeaderBytes = 4096;
constexpr size_t kFrameHeaderBytes = 80;
constexpr size_t kFrameAlignment = 8;

enum class FrameKind : uint8_t {
  append = 1,    // payload: whole batches that begin at `offset`, at `position` of the segment `segment_base`
  create = 2,    // the log begins at `offset`
  trim = 3,      // start is now `offset`
  truncate = 4,  // end is now `offset`, which is `position` of the segment `segment_base`
  seal = 5,      // payload: the replica state as of `offset`
  remove = 6,    // the log is gone
  touch = 7,     // the log's segments go on past the checkpoint without frames
  rewrite = 8,   // one segment of `position` bytes is in the place of those from `offset` to `segment_base` (segment/rewriting.h)
};

struct JournalFileHeader {
  uint64_t file_epoch = 0;
  uint32_t salt = 0;
  uint64_t first_sequence = 0;
  uint64_t file_bytes = 0;
};

struct FrameHeader {
  FrameKind kind = FrameKind::append;
  uint64_t file_epoch = 0;
  uint64_t sequence = 0;
  ShardId shard;
  LeaderEpoch leader_epoch = 0;
  Offset offset = 0;
  Offset segment_base = 0;
  uint64_t position = 0;
  uint32_t payload_bytes = 0;
};

// Bytes that a frame takes in the file.
constexpr uint64_t frame_bytes(uint64_t payload_bytes) {
  return (kFrameHeaderBytes + payload_bytes + kFrameAlignment - 1) / kFrameAlignment * kFrameAlignment;
}

Bytes encode_journal_header(const JournalFileHeader& header);
// `start`: the first kJournalHeaderBytes of the file, or fewer. nullopt when neither copy is right.
std::optional<JournalFileHeader> decode_journal_header(ByteSpan start);

// Appends the 80 bytes of the frame's header to `to`; the CRC runs over `payload` too. payload_bytes is set from `payload`.
void encode_frame_header(FrameHeader header, const std::vector<Bytes>& payload, uint32_t salt, Buffer& to);

struct Frame {
  FrameHeader header;
  Bytes payload;
  std::string file;  // for reports
};

// Walks the frames of one file in order. After a damaged stretch it goes on with the next frame of this use whose sequence is
// higher, so that damage costs the frames it lies in and not those behind.
class FrameScanner {
 public:
  // `contents`: the whole file.
  FrameScanner(const JournalFileHeader& header, Bytes contents) : header_(header), contents_(std::move(contents)) {}
  // False at the end.
  bool next(Frame& out);
  // Bytes passed over between valid frames.
  uint64_t damaged_bytes() const { return damaged_bytes_; }

 private:
  bool decode_at(size_t position, Frame& out) const;

  JournalFileHeader header_;
  Bytes contents_;
  size_t position_ = kJournalHeaderBytes;
  uint64_t last_sequence_ = 0;
  bool has_last_ = false;
  uint64_t damaged_bytes_ = 0;
};

}  // namespace robustmq::storage
