#include "protocol/kafka/batch_check.h"

#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "compress/codec.h"

namespace robustmq::kafka {
namespace {

template <class T>
void store(Bytes& batch, size_t at, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) {
    batch.patchable()[at + i] = static_cast<uint8_t>(static_cast<uint64_t>(value) >> (8 * (sizeof(T) - 1 - i)));
  }
}
void right_crc(Bytes& batch) { renew_batch_crc(batch.patchable(), batch.size()); }

Bytes plain_batch(int count = 3) {
  BatchBuilder builder;
  for (int i = 0; i < count; ++i) {
    builder.begin_record(1'000'000 + (i % 2 ? -5 : i), i == 1 ? std::nullopt : std::optional<ByteSpan>(as_bytes("k")),
                         i == 2 ? std::nullopt : std::optional<ByteSpan>(as_bytes("value")));
    if (i != 0) builder.add_header("name", as_bytes(std::string_view("\x00\xff", 2)));
    if (i == 1) builder.add_header("null", std::nullopt);
    builder.end_record();
  }
  return builder.finish();
}

// `plain`'s header before another block of records.
Bytes with_block(const Bytes& plain, ByteSpan block, Compression codec) {
  Buffer buffer;
  buffer.append(plain.span().first(kBatchHeaderBytes));
  buffer.append(block);
  Bytes batch = buffer.take();
  store<int32_t>(batch, 8, static_cast<int32_t>(batch.size() - kBatchLengthOverhead));
  store<uint16_t>(batch, 21, static_cast<uint16_t>(codec));
  right_crc(batch);
  return batch;
}
Bytes compressed(const Bytes& plain, Compression codec) {
  return with_block(plain, *compress::compress(codec, BatchView(plain).records()), codec);
}

Code check(Bytes batch, int version = 9, size_t plain_bytes_max = 1 << 20) {
  return check_produced_batch(batch, version, {plain_bytes_max}).code();
}
// A right batch but for what `damage` does; the CRC is right.
Code check_with(const std::function<void(Bytes&)>& damage, int version = 9) {
  Bytes batch = plain_batch();
  damage(batch);
  right_crc(batch);
  return check(batch, version);
}

TEST(BatchCheck, TakesWhatProducersSend) {
  EXPECT_EQ(check(plain_batch()), Code::ok);
  EXPECT_EQ(check(plain_batch(1), 3), Code::ok);
  for (Compression codec : {Compression::gzip, Compression::snappy, Compression::lz4, Compression::zstd}) {
    EXPECT_EQ(check(compressed(plain_batch(1000), codec)), Code::ok);
  }
  // Raw snappy, as librdkafka writes it: the length, then one literal.
  const Bytes one = plain_batch(1);
  const ByteSpan block = BatchView(one).records();
  ASSERT_LT(block.size(), 60u);
  std::string raw{static_cast<char>(block.size()), static_cast<char>((block.size() - 1) << 2)};
  raw += as_text(block);
  EXPECT_EQ(check(with_block(one, as_bytes(raw), Compression::snappy)), Code::ok);
  BatchBuilder builder;
  builder.begin_record(-1, std::nullopt, std::nullopt);
  builder.end_record();
  builder.set_producer(7, 0, INT32_MAX);
  EXPECT_EQ(check(builder.finish()), Code::ok);
}

TEST(BatchCheck, DoesNotTouchARightBatch) {
  Bytes batch = plain_batch();
  const Bytes before = Bytes::copy_of(batch);
  const uint8_t* at = batch.data();
  EXPECT_TRUE(check_produced_batch(batch, 9, {}).ok());
  EXPECT_EQ(batch.data(), at);
  EXPECT_TRUE(batch == before);
}

TEST(BatchCheck, SetsAWrongMaxTimestampRight) {
  for (int64_t wrong : {int64_t{-1}, int64_t{5}, INT64_MAX}) {
    for (Bytes batch : {plain_batch(), compressed(plain_batch(), Compression::gzip)}) {
      batch = Bytes::copy_of(batch);
      store<int64_t>(batch, 35, wrong);
      right_crc(batch);
      EXPECT_TRUE(check_produced_batch(batch, 9, {}).ok());
      EXPECT_EQ(BatchView(batch).max_timestamp(), 1'000'002);
      EXPECT_TRUE(BatchView(batch).crc_is_right());
    }
  }
}

TEST(BatchCheck, WantsExactlyOneBatch) {
  EXPECT_EQ(check({}), Code::invalid_record);
  const Bytes batch = plain_batch();
  Buffer two;
  two.append(batch);
  two.append(batch);
  EXPECT_EQ(check(two.take()), Code::invalid_record);
  for (size_t cut = 0; cut < batch.size(); ++cut)
    EXPECT_EQ(check(Bytes::copy_of(batch.span().first(cut))), Code::invalid_record) << cut;
  EXPECT_EQ(check_with([](Bytes& b) { store<int32_t>(b, 8, 48); }), Code::corrupt_batch);
  EXPECT_EQ(check_with([](Bytes& b) { store<int32_t>(b, 8, -1); }), Code::corrupt_batch);
}

TEST(BatchCheck, RefusesOldFormatsAndDamage) {
  EXPECT_EQ(check_with([](Bytes& b) { b.patchable()[16] = 0; }), Code::unsupported_batch_format);
  EXPECT_EQ(check_with([](Bytes& b) { b.patchable()[16] = 1; }), Code::unsupported_batch_format);
  const Bytes batch = plain_batch();
  for (size_t i = 17; i < batch.size(); ++i) {
    Bytes damaged = Bytes::copy_of(batch);
    damaged.patchable()[i] ^= 0x10;
    EXPECT_EQ(check(damaged), Code::corrupt_batch) << i;
  }
}

TEST(BatchCheck, ChecksTheHeader) {
  EXPECT_EQ(check_with([](Bytes& b) { store<int64_t>(b, 0, 1); }), Code::invalid_record);
  EXPECT_EQ(check_with([](Bytes& b) { store<int32_t>(b, 23, 3); }), Code::invalid_record);
  EXPECT_EQ(check_with([](Bytes& b) { store<int32_t>(b, 57, 0), store<int32_t>(b, 23, -1); }), Code::invalid_record);
  EXPECT_EQ(check_with([](Bytes& b) { store<int32_t>(b, 57, 2), store<int32_t>(b, 23, 1); }), Code::invalid_record);
  EXPECT_EQ(check_with([](Bytes& b) { store<int32_t>(b, 57, 4), store<int32_t>(b, 23, 3); }), Code::invalid_record);
  EXPECT_EQ(check_with([](Bytes& b) { store<int32_t>(b, 57, INT32_MIN), store<int32_t>(b, 23, INT32_MAX); }),
            Code::invalid_record);
  EXPECT_EQ(check_with([](Bytes& b) { b.patchable()[22] = 8; }), Code::invalid_timestamp);
  EXPECT_EQ(check_with([](Bytes& b) { b.patchable()[22] = 16; }), Code::invalid_record);
  EXPECT_EQ(check_with([](Bytes& b) { b.patchable()[22] = 32; }), Code::invalid_record);
  EXPECT_EQ(check_with([](Bytes& b) { b.patchable()[22] = 5; }), Code::unsupported_compression);
}

TEST(BatchCheck, WantsEpochAndSequenceWithAProducerIdOnly) {
  EXPECT_EQ(check_with([](Bytes& b) { store<int64_t>(b, 43, 5); }), Code::invalid_record);
  EXPECT_EQ(check_with([](Bytes& b) { store<int64_t>(b, 43, 5), store<int16_t>(b, 51, 0); }), Code::invalid_record);
  EXPECT_EQ(check_with([](Bytes& b) { store<int64_t>(b, 43, 5), store<int16_t>(b, 51, 0), store<int32_t>(b, 53, 0); }), Code::ok);
  EXPECT_EQ(check_with([](Bytes& b) { store<int32_t>(b, 53, 0); }), Code::ok);
}

TEST(BatchCheck, TakesZstdFromProduce7On) {
  EXPECT_EQ(check(compressed(plain_batch(), Compression::zstd), 6), Code::unsupported_compression);
  EXPECT_EQ(check(compressed(plain_batch(), Compression::zstd), 7), Code::ok);
  EXPECT_EQ(check(compressed(plain_batch(), Compression::lz4), 3), Code::ok);
}

// One record of these bytes behind its length.
Code check_record(std::string record, std::string behind = {}) {
  std::string block;
  block.push_back(static_cast<char>(record.size() * 2));
  block += record + behind;
  Bytes header = plain_batch(1);
  EXPECT_EQ(check(with_block(header, *compress::compress(Compression::gzip, as_bytes(block)), Compression::gzip)),
            check(with_block(header, as_bytes(block), Compression::none)));
  return check(with_block(header, as_bytes(block), Compression::none));
}

TEST(BatchCheck, ChecksTheRecordsAlsoInsideCompressedBatches) {
  using namespace std::string_literals;
  EXPECT_EQ(check_record("\0\0\0\x01\x01\0"s), Code::ok);                // null key, null value, no headers
  EXPECT_EQ(check_record("\0\0\x02\x01\x01\0"s), Code::invalid_record);  // offset 1
  EXPECT_EQ(check_record("\0\0\x01\x01\x01\0"s), Code::invalid_record);  // offset -1
  EXPECT_EQ(check_record("\0\0\0\x01\x01\0"s, "x"), Code::invalid_record);
  EXPECT_EQ(check_record("\0\0\0\x01\x01\0x"s), Code::invalid_record);
  EXPECT_EQ(check_record("\0\0\0\x03\x01\0"s), Code::invalid_record);              // key length -2
  EXPECT_EQ(check_record("\0\0\0\x01\x06\0"s), Code::invalid_record);              // value longer than the record
  EXPECT_EQ(check_record("\0\0\0\x01\x01\x01"s), Code::invalid_record);            // header count -1
  EXPECT_EQ(check_record("\0\0\0\x01\x01\x02\x02h\x01"s), Code::ok);               // header "h", null
  EXPECT_EQ(check_record("\0\0\0\x01\x01\x02\x01\x01"s), Code::invalid_record);    // header key null
  EXPECT_EQ(check_record("\0\0\0\x01\x01\x04\x02h\x01"s), Code::invalid_record);   // one header short
  EXPECT_EQ(check_record("\0\0\0\x01\x01\x02\x02h\x01z"s), Code::invalid_record);  // bytes behind the headers
  EXPECT_EQ(check_record("\0\0\0\x01\x01"s), Code::invalid_record);
  EXPECT_EQ(check_record(""), Code::invalid_record);
}

TEST(BatchCheck, BoundsWhatACompressedBatchBecomes) {
  BatchBuilder builder;
  const std::string zeros(1 << 20, '\0');
  builder.begin_record(1, std::nullopt, as_bytes(zeros));
  builder.end_record();
  const Bytes batch = builder.finish();
  for (Compression codec : {Compression::gzip, Compression::snappy, Compression::lz4, Compression::zstd}) {
    EXPECT_EQ(check(compressed(batch, codec), 9, 1 << 20), Code::too_large);
    EXPECT_EQ(check(compressed(batch, codec), 9, (1 << 20) + 20), Code::ok);
  }
  EXPECT_EQ(check(batch, 9, 0), Code::ok);
  EXPECT_EQ(check(with_block(batch, as_bytes("not gzip"), Compression::gzip)), Code::invalid_record);
}

TEST(BatchCheck, SurvivesDamageBehindARightCrc) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 20'000; ++round) {
    Bytes batch = plain_batch(4);
    for (int i = 0; i < 2; ++i) batch.patchable()[21 + random() % (batch.size() - 21)] = static_cast<uint8_t>(random());
    right_crc(batch);
    (void)check(batch, 9, 1 << 16);
  }
}

}  // namespace
}  // namespace robustmq::kafka
