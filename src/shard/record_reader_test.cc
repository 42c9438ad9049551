#include "shard/record_reader.h"

#include <gtest/gtest.h>

#include "compress/codec.h"

namespace robustmq::shard {
namespace {

Bytes plain_batch(int records) {
  BatchBuilder builder;
  for (int i = 0; i < records; ++i) {
    const std::string value = "value " + std::to_string(i);
    builder.begin_record(1000 + i, i % 2 ? std::optional<ByteSpan>(as_bytes("key")) : std::nullopt, as_bytes(value));
    builder.add_header("h", as_bytes(value));
    builder.end_record();
  }
  return builder.finish();
}

// The same batch with its records compressed, as a producer sends it.
Bytes compressed(const Bytes& plain, Compression codec) {
  Buffer buffer;
  buffer.append(plain.span().first(kBatchHeaderBytes));
  buffer.append(compress::compress(codec, BatchView(plain).records())->span());
  uint8_t* at = buffer.data();
  const uint32_t length = __builtin_bswap32(static_cast<uint32_t>(buffer.size() - kBatchLengthOverhead));
  std::memcpy(at + 8, &length, 4);
  at[22] = static_cast<uint8_t>(codec);
  renew_batch_crc(at, buffer.size());
  return buffer.take();
}

TEST(RecordReader, ReadsEveryCodec) {
  for (uint8_t codec = 0; codec <= 4; ++codec) {
    Bytes batch = plain_batch(100);
    if (codec != 0) batch = compressed(batch, static_cast<Compression>(codec));
    patch_batch(batch, 5000, 3);
    Result<OpenedRecords> opened = open_records(batch, 1 << 20);
    ASSERT_TRUE(opened.ok()) << opened.error().to_string();
    RecordView record;
    int i = 0;
    while (opened->records.next(record)) {
      EXPECT_EQ(record.offset, 5000 + i);
      EXPECT_EQ(record.timestamp_ms, 1000 + i);
      EXPECT_EQ(record.key.has_value(), i % 2 == 1);
      EXPECT_EQ(as_text(*record.value), "value " + std::to_string(i));
      EXPECT_GE(record.value->data(), opened->owner.begin());
      EXPECT_LE(record.value->data() + record.value->size(), opened->owner.end());
      ++i;
    }
    EXPECT_EQ(i, 100);
    EXPECT_FALSE(opened->records.is_malformed());
    EXPECT_EQ(opened->records.bytes_left(), 0u);
  }
}

TEST(RecordReader, SharesAnUncompressedBatchInsteadOfCopyingIt) {
  const Bytes batch = plain_batch(1);
  EXPECT_EQ(open_records(batch, 0)->owner.data(), batch.data());
}

TEST(RecordReader, RefusesWhatIsOverTheLimitDamagedOrUnknown) {
  for (uint8_t codec = 1; codec <= 4; ++codec) {
    const Bytes batch = compressed(plain_batch(1000), static_cast<Compression>(codec));
    EXPECT_EQ(open_records(batch, 1000).code(), Code::too_large);
    Bytes damaged = Bytes::copy_of(batch);
    std::memset(damaged.patchable() + kBatchHeaderBytes, 0xff, 30);
    EXPECT_EQ(open_records(damaged, 1 << 20).code(), Code::malformed);
    damaged.patchable()[22] = 5;
    EXPECT_EQ(open_records(damaged, 1 << 20).code(), Code::unsupported_compression);
    EXPECT_EQ(open_records(batch.slice(0, batch.size() - 1), 1 << 20).code(), Code::corrupt_batch);
  }
}

}  // namespace
}  // namespace robustmq::shard
