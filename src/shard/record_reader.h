// Opens a stored batch for reading its records: fan-out, lookup by time. Pure.
#pragma once

#include "base/batch.h"
#include "base/bytes.h"
#include "base/result.h"

namespace robustmq::shard {

// A batch whose records can be walked.
struct OpenedRecords {
  BatchView header;
  // What the records' views point into: the batch itself, or the memory its records were decompressed to. Share it to keep a
  // record past this object.
  Bytes owner;
  // The records, at their beginning. A record that is malformed ends the walk: RecordReader::is_malformed().
  RecordReader records;
};

// Opens `batch` (shape checked at append; its bytes must outlive the result's `header`). A compressed batch is decompressed, to
// at most `bytes_max`; another one is not copied. Errors: corrupt_batch or unsupported_batch_format (not one whole batch of this
// format), malformed (a block its codec does not take), too_large (over bytes_max), unsupported_compression (no such codec).
Result<OpenedRecords> open_records(const Bytes& batch, size_t bytes_max);

// The default bound where a caller has no own one.
constexpr size_t kOpenedBytesMax = 64 << 20;

}  // namespace robustmq::shard
