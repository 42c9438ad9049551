// Rewriting: compaction's part of the engine. A file takes the place of one or more sealed segments and covers their offsets.
//
// 1. The batches are written to `<base>-<generation>.new`; the generation is larger than that of any file of the log.
// 2. It is synced, gets its name `<base>-<generation>.log`, and its folder is synced.
// 3. A journal frame `rewrite` says so: from its sync on the new file is the segment. offset: where it begins; segment base:
// where
//    it ends; position: its bytes; payload: the facts below.
// 4. Memory follows, then the old files go; who reads one of them keeps it.
//
// A crash before 3 leaves a file that is no segment's: the next walk or settling of the log removes it. One behind 3 leaves old
// files, which go the same way: the checkpoint and the frames behind it say of each base which generation counts. Without a
// readable checkpoint the newest generation of each base counts: it got its name when all of it was on the disk.
// Only segments that the newest checkpoint has from beginning to end are rewritten, so no frame behind it appends to them.
#pragma once

#include <optional>

#include "base/bytes.h"
#include "storage/segment/engine_core.h"

namespace robustmq::storage::segment {

// Payload of the frame, little-endian: generation (4), largest timestamp (8). More may follow.
struct RewriteFacts {
  uint32_t generation = 0;
  int64_t max_timestamp = -1;
};
Bytes encode_rewrite(const RewriteFacts& facts);
// nullopt: too short, or generation 0, which no rewrite has.
std::optional<RewriteFacts> decode_rewrite(ByteSpan payload);

}  // namespace robustmq::storage::segment
