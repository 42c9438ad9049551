// Any bytes as a batch: readers stay inside them, end, and what they read whole can be built again and reads the same.
#include "base/batch.h"
#include "base/check.h"

using namespace robustmq;

namespace {

bool is_same(const std::optional<ByteSpan>& a, const std::optional<ByteSpan>& b) {
  return a.has_value() == b.has_value() && (!a || as_text(*a) == as_text(*b));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Bytes batch = Bytes::copy_of(ByteSpan(data, size));
  (void)BatchView::size_at(batch);
  if (size >= kBatchHeaderBytes) {
    // Otherwise nearly every input ends at the shape.
    const uint32_t length = __builtin_bswap32(static_cast<uint32_t>(size - kBatchLengthOverhead));
    std::memcpy(batch.patchable() + 8, &length, sizeof(length));
    batch.patchable()[16] = 2;
  }
  if (!BatchView::check_shape(batch).ok()) return 0;
  const BatchView view(batch);
  (void)view.crc_is_right();
  RecordReader reader(view, view.records());
  RecordView record;
  BatchBuilder builder;
  std::vector<RecordView> read;
  bool is_right = true;
  while (reader.next(record)) {
    HeaderReader headers(record);
    HeaderView header;
    while (headers.next(header)) {
    }
    is_right = is_right && !headers.is_malformed();
    // The builder's times are within what a delta holds.
    if (record.timestamp_ms > INT64_MAX / 4 || record.timestamp_ms < INT64_MIN / 4) is_right = false;
    if (!is_right) continue;
    builder.begin_record(record.timestamp_ms, record.key, record.value);
    builder.add_encoded_headers(record.raw_headers, record.header_count);
    builder.end_record();
    read.push_back(record);
  }
  if (!is_right || read.empty()) return 0;
  const Bytes again = builder.finish();
  ROBUSTMQ_CHECK(BatchView::check_shape(again).ok() && BatchView(again).crc_is_right(), "a built batch is not right");
  RecordReader second(BatchView(again), BatchView(again).records());
  for (const RecordView& before : read) {
    ROBUSTMQ_CHECK(second.next(record), "a built record does not read");
    ROBUSTMQ_CHECK(is_same(record.key, before.key) && is_same(record.value, before.value) &&
                       record.timestamp_ms == before.timestamp_ms && as_text(record.raw_headers) == as_text(before.raw_headers),
                   "a built record reads otherwise");
  }
  ROBUSTMQ_CHECK(!second.next(record) && second.bytes_left() == 0, "a built batch has more");
  return 0;
}
