#include "base/batch.h"

#include <gtest/gtest.h>

#include <random>

#include "base/varint.h"

namespace robustmq {
namespace {

constexpr int64_t kTime = 1'700'000'000'000;

// Three records written by an independent encoder: ("key", "value", headers h = 00 ff, n = null), (null, null, 150 ms earlier),
// ("", 70 times x, 70 ms later); producer 12345, epoch 6, sequence 789.
const std::string_view kGoldenHex =
    "0000000000000000000000a0ffffffff027181ed210000000000020000018bcfe568000000018bcfe5684600000000000030"
    "39000600000315000000032c000000066b65790a76616c75650402680400ff026e010e00ab02020101009c01008c0104008c"
    "0178787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878"
    "78787878787878787878787878787878787878787800";

Bytes from_hex(std::string_view hex) {
  Buffer out;
  for (size_t i = 0; i < hex.size(); i += 2)
    out.append_u8(static_cast<uint8_t>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  return out.take();
}

std::string text_of(const std::optional<ByteSpan>& bytes) { return bytes ? std::string(as_text(*bytes)) : "<null>"; }

// Every record, its headers and what is wrong, as text.
std::string print(const BatchView& header, ByteSpan block) {
  std::string out;
  RecordReader reader(header, block);
  RecordView record;
  while (reader.next(record)) {
    out += std::to_string(record.offset) + "@" + std::to_string(record.timestamp_ms) + " " + text_of(record.key) + "=" +
           text_of(record.value);
    HeaderReader headers(record);
    HeaderView entry;
    while (headers.next(entry)) out += " " + std::string(entry.key) + ":" + text_of(entry.value);
    if (headers.is_malformed()) out += " bad headers";
    out += "\n";
  }
  if (reader.is_malformed()) out += "malformed\n";
  if (reader.bytes_left()) out += std::to_string(reader.bytes_left()) + " left\n";
  return out;
}
std::string print(const Bytes& batch) { return print(BatchView(batch), BatchView(batch).records()); }

TEST(Batch, ReadsWhatAnIndependentEncoderWrote) {
  Bytes batch = from_hex(kGoldenHex);
  ASSERT_TRUE(BatchView::check_shape(batch).ok());
  const BatchView view(batch);
  EXPECT_TRUE(view.crc_is_right());
  EXPECT_EQ(view.record_count(), 3);
  EXPECT_EQ(view.last_offset_delta(), 2);
  EXPECT_EQ(view.base_timestamp(), kTime);
  EXPECT_EQ(view.max_timestamp(), kTime + 70);
  EXPECT_EQ(view.producer_id(), 12345);
  EXPECT_EQ(view.producer_epoch(), 6);
  EXPECT_EQ(view.base_sequence(), 789);
  EXPECT_EQ(view.leader_epoch(), -1);
  EXPECT_EQ(view.compression(), Compression::none);
  EXPECT_EQ(print(batch), "0@1700000000000 key=value h:" + std::string("\0\xff", 2) +
                              " n:<null>\n1@1699999999850 <null>=<null>\n2@1700000000070 =" + std::string(70, 'x') + "\n");
}

TEST(Batch, BuildsTheSameBytes) {
  BatchBuilder builder;
  builder.begin_record(kTime, as_bytes("key"), as_bytes("value"));
  builder.add_header("h", as_bytes(std::string_view("\0\xff", 2)));
  builder.add_header("n", std::nullopt);
  builder.end_record();
  builder.begin_record(kTime - 150, std::nullopt, std::nullopt);
  builder.end_record();
  builder.begin_record(kTime + 70, as_bytes(""),
                       as_bytes(std::string_view("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")));
  builder.end_record();
  builder.set_producer(12345, 6, 789);
  EXPECT_EQ(builder.record_count(), 3);
  EXPECT_TRUE(builder.finish() == from_hex(kGoldenHex));
  EXPECT_EQ(builder.record_count(), 0);
}

TEST(Batch, BuilderStartsAnewAfterFinish) {
  BatchBuilder builder;
  builder.begin_record(5, std::nullopt, as_bytes("a"));
  builder.add_header("h", std::nullopt);
  builder.end_record();
  builder.set_producer(1, 2, 3);
  builder.finish();
  builder.begin_record(9, std::nullopt, as_bytes("b"));
  builder.end_record();
  const Bytes batch = builder.finish();
  EXPECT_EQ(print(batch), "0@9 <null>=b\n");
  EXPECT_EQ(BatchView(batch).producer_id(), -1);
  EXPECT_EQ(BatchView(batch).base_sequence(), -1);
  EXPECT_EQ(BatchView(batch).max_timestamp(), 9);
  EXPECT_TRUE(BatchView(batch).crc_is_right());
}

TEST(Batch, TakesHeadersAlreadyEncoded) {
  Buffer encoded;
  BatchBuilder::append_header(encoded, "a", as_bytes("1"));
  BatchBuilder::append_header(encoded, "b", std::nullopt);
  BatchBuilder builder;
  builder.begin_record(0, std::nullopt, std::nullopt);
  builder.add_header("first", as_bytes(""));
  builder.add_encoded_headers(encoded.span(), 2);
  builder.end_record();
  EXPECT_EQ(print(builder.finish()), "0@0 <null>=<null> first: a:1 b:<null>\n");
}

TEST(Batch, PatchingOffsetAndEpochKeepsTheCrc) {
  Bytes batch = from_hex(kGoldenHex);
  patch_batch(batch, 0x0102030405060708, 77);
  const BatchView view(batch);
  EXPECT_TRUE(view.crc_is_right());
  EXPECT_EQ(view.base_offset(), 0x0102030405060708);
  EXPECT_EQ(view.next_offset(), 0x0102030405060708 + 3);
  EXPECT_EQ(view.leader_epoch(), 77);
  RecordReader reader(view, view.records());
  RecordView record;
  ASSERT_TRUE(reader.next(record));
  EXPECT_EQ(record.offset, 0x0102030405060708);
}

TEST(Batch, ReadersSeeTheAppendTimeWhereItIsTheBrokers) {
  Bytes batch = from_hex(kGoldenHex);
  batch.patchable()[22] |= 8;
  RecordReader reader(BatchView(batch), BatchView(batch).records());
  RecordView record;
  while (reader.next(record)) EXPECT_EQ(record.timestamp_ms, kTime + 70);
}

TEST(Batch, ChecksItsShape) {
  const Bytes batch = from_hex(kGoldenHex);
  for (size_t cut = 0; cut < batch.size(); ++cut)
    EXPECT_EQ(BatchView::check_shape(batch.slice(0, cut)).code(), Code::corrupt_batch);
  Bytes old = Bytes::copy_of(batch);
  old.patchable()[16] = 1;
  EXPECT_EQ(BatchView::check_shape(old).code(), Code::unsupported_batch_format);
  EXPECT_EQ(BatchView::size_at(batch.slice(0, 11)), std::nullopt);
  EXPECT_EQ(BatchView::size_at(batch.slice(0, 12)), batch.size());
  for (uint32_t length : {0u, 48u, 0x80000000u, 0xffffffffu}) {
    Bytes bad = Bytes::copy_of(batch);
    for (int i = 0; i < 4; ++i) bad.patchable()[8 + i] = static_cast<uint8_t>(length >> (24 - 8 * i));
    EXPECT_EQ(BatchView::size_at(bad), std::nullopt) << length;
  }
}

TEST(Batch, FindsEveryFlippedBitBehindTheEpoch) {
  const Bytes batch = from_hex(kGoldenHex);
  for (size_t i = 17; i < batch.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      Bytes damaged = Bytes::copy_of(batch);
      damaged.patchable()[i] ^= static_cast<uint8_t>(1 << bit);
      EXPECT_FALSE(BatchView(damaged).crc_is_right());
    }
  }
}

// The golden header with one record of these bytes.
std::string print_record(const std::string& record, const std::string& behind = {}) {
  Bytes header = from_hex(kGoldenHex);
  header.patchable()[60] = 1;
  uint8_t length[10];
  std::string block(as_text(ByteSpan(length, put_varint(length, zigzag(static_cast<int64_t>(record.size()))))));
  block += record + behind;
  return print(BatchView(header), as_bytes(block));
}

TEST(Batch, RefusesMalformedRecords) {
  using namespace std::string_literals;
  EXPECT_EQ(print_record("\0\0\0\x01\x01\0"s), "0@1700000000000 <null>=<null>\n");
  EXPECT_EQ(print_record("\0\0\0\x01\x01\0"s, "zz"), "0@1700000000000 <null>=<null>\n2 left\n");
  for (const std::string& bad : {
           ""s, "\0"s,
           "\0\0\x01\x01\x01\0"s,                                          // offset delta -1
           "\0\0\x80\x80\x80\x80\x20\x01\x01\0"s,                          // offset delta over 32 bits
           "\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\0\x01\x01\0"s,  // varint of eleven bytes
           "\0\0\0\x03\x01\0"s,                                            // key length -2
           "\0\0\0\x14\x01\0"s,                                            // key longer than the record
           "\0\0\0\x01\x01\x01"s,                                          // header count -1
           "\0\0\0\x01\x01\xfe\xff\xff\xff\x0f"s,                          // header count 2^31 - 1
           "\0\0\0\x01\x01\0z"s,                                           // bytes where there are no headers
       }) {
    EXPECT_EQ(print_record(bad).substr(0, 9), "malformed");
  }
  EXPECT_EQ(print_record("\0\0\0\x01\x01\x02\x01\x01"s), "0@1700000000000 <null>=<null> bad headers\n");             // null key
  EXPECT_EQ(print_record("\0\0\0\x01\x01\x02\x02h\x04z"s), "0@1700000000000 <null>=<null> bad headers\n");           // cut value
  EXPECT_EQ(print_record("\0\0\0\x01\x01\x02\x02h\x01z"s), "0@1700000000000 <null>=<null> h:<null> bad headers\n");  // left over
}

TEST(Batch, EndsAtARecordThatIsCut) {
  const Bytes batch = from_hex(kGoldenHex);
  const ByteSpan block = BatchView(batch).records();
  for (size_t cut = 0; cut < block.size(); ++cut) {
    EXPECT_NE(print(BatchView(batch), block.first(cut)).find("malformed"), std::string::npos) << cut;
  }
}

TEST(Batch, ReturnsWhatWasBuilt) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  BatchBuilder builder;
  for (int round = 0; round < 300; ++round) {
    std::string expected;
    const int count = 1 + static_cast<int>(random() % 20);
    for (int i = 0; i < count; ++i) {
      const int64_t time = kTime + static_cast<int64_t>(random() % 2'000'000) - 1'000'000;
      const std::string key(random() % 100, 'k');
      const std::string value(random() % (round % 10 == 0 ? 30'000 : 300), 'v');
      const bool has_key = random() % 2;
      builder.begin_record(time, has_key ? std::optional<ByteSpan>(as_bytes(key)) : std::nullopt, as_bytes(value));
      expected += std::to_string(i) + "@" + std::to_string(time) + " " + (has_key ? key : "<null>") + "=" + value;
      for (unsigned h = random() % 4; h > 0; --h) {
        builder.add_header(key, as_bytes(value.substr(0, 200)));
        expected += " " + key + ":" + value.substr(0, 200);
      }
      expected += "\n";
      builder.end_record();
    }
    const Bytes batch = builder.finish();
    EXPECT_TRUE(BatchView::check_shape(batch).ok());
    EXPECT_TRUE(BatchView(batch).crc_is_right());
    EXPECT_EQ(print(batch), expected);
  }
}

}  // namespace
}  // namespace robustmq
