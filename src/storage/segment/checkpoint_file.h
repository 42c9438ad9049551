// The checkpoint: which logs there are and up to where their segments are synced. Pure.
//
// File (little-endian): 0 magic "RMQC" (4)   4 CRC-32C of all behind it (4)   8 format version (4)   12 reserved (4)
//   16 generation (8)   24 covered sequence (8): journal frames up to it are in here   32 last journal file epoch (8)
//   40 number of logs (8)   48 logs
// Log: topic id (16), partition (4), last leader epoch (4), start (8), end (8), state as of (8), length of the replica state (4),
//   number of segments (4), flags (4; 1: a truncation was under way, so there may be bytes behind the end), replica state,
//   segments. Segment: base (8), end (8), bytes (8), max timestamp (8), and since version 2 the generation of its file (4).
// The last segment's bytes are where recovery goes on. A log without segments begins (and ends) at `end`.
#pragma once

#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"

namespace robustmq::storage::segment {

struct CheckpointSegment {
  Offset base = 0;
  Offset end = 0;
  uint64_t size_bytes = 0;
  int64_t max_timestamp = -1;
  uint32_t generation = 0;
};

struct CheckpointLog {
  ShardId id;
  LeaderEpoch last_epoch = -1;
  Offset start = 0;
  Offset end = 0;
  Offset state_as_of = 0;
  bool is_being_cut = false;
  Bytes replica_state;
  std::vector<CheckpointSegment> segments;
};

struct Checkpoint {
  uint64_t generation = 0;
  uint64_t covered_sequence = 0;
  uint64_t file_epoch_last = 0;
  std::vector<CheckpointLog> logs;
};

Bytes encode_checkpoint(const Checkpoint& checkpoint);
// Errors: corrupt_storage (with what is wrong), not_supported (a newer format). Bounded by the input.
Result<Checkpoint> decode_checkpoint(ByteSpan bytes);

}  // namespace robustmq::storage::segment
