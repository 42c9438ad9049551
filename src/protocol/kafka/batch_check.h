// What a produced record batch must be before it is stored, as Kafka checks it (Produce 3 and later). Pure.
//
// One pass for the CRC and one over the records, without a copy or an allocation; a compressed batch is decompressed for it, to a
// limit, and stored as it came.
#pragma once

#include "base/batch.h"
#include "base/bytes.h"
#include "base/result.h"
#include "broker/menu/request.h"

namespace robustmq::kafka {

struct BatchCheckLimits {
  size_t plain_bytes_max = 64 << 20;  // of a compressed batch's records
};

// Checks the records of one partition of a Produce request of `produce_version`:
//   exactly one batch, whole                                 invalid_record; corrupt_batch when its length cannot be
//   magic 2                                                  unsupported_batch_format
//   CRC                                                      corrupt_batch
//   base offset 0, count = last offset delta + 1 > 0         invalid_record
//   no control bit                                           invalid_record
//   no time stamp type of the broker                         invalid_timestamp
//   transactional: with a producer id                        invalid_record
//   a codec that exists; zstd from Produce 7 on              unsupported_compression
//   with a producer id: epoch and sequence not negative      invalid_record
//   records: offsets 0, 1, ... n-1, sizes right, headers well-formed with keys, nothing left over     invalid_record
//   a compressed block its codec takes                       invalid_record; too_large over the limit
// A producer may leave the batch's max timestamp wrong (some never set it): it is set right in place, with the CRC. The caller
// therefore owns the memory: nobody else reads these bytes yet.
struct BatchCheckFacts {
  int32_t bad_record = -1;      // the index of the one at fault; -1: it is the batch as a whole
  int32_t keyless_record = -1;  // the first one without a key; -1: none
  broker::RecordTimes times;
};
Status check_produced_batch(Bytes& records, int produce_version, const BatchCheckLimits& limits,
                            BatchCheckFacts* facts = nullptr);

}  // namespace robustmq::kafka
