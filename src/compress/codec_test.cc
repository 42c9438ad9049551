#include "compress/codec.h"

#include <gtest/gtest.h>

#include <random>

namespace robustmq::compress {
namespace {

using namespace std::string_literals;

constexpr Compression kCodecs[] = {Compression::gzip, Compression::snappy, Compression::lz4, Compression::zstd};
const std::string kPlain = "robust robust robust robust!";
// Made by gzip, zstd and lz4 themselves; snappy by hand from its format description.
const std::string kGzip(
    "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x2b\xca\x4f\x2a\x2d\x2e\x51\x28\xc2\x42\x29\x02\x00\x76\x1d\x89\xba\x1c\x00\x00"
    "\x00",
    31);
const std::string kZstd(
    "\x28\xb5\x2f\xfd\x04\x58\x75\x00\x00\x40\x72\x6f\x62\x75\x73\x74\x20\x21\x01\x00\xa2\x8b\x11\x0b\x43\x2f\x0e", 27);
const std::string kLz4(
    "\x04\x22\x4d\x18\x64\x40\xa7\x10\x00\x00\x00\x7c\x72\x6f\x62\x75\x73\x74\x20\x07\x00\x50\x62\x75\x73\x74\x21\x00\x00\x00"
    "\x00\xa2\x01\xe2\xc7",
    35);
const std::string kLz4BlockChecksums(
    "\x04\x22\x4d\x18\x74\x40\xbd\x10\x00\x00\x00\x7c\x72\x6f\x62\x75\x73\x74\x20\x07\x00\x50\x62\x75\x73\x74\x21\x56\xc3\x97"
    "\x23\x00\x00\x00\x00\xa2\x01\xe2\xc7",
    39);
const std::string kLz4ContentSize(
    "\x04\x22\x4d\x18\x6c\x40\x1c\x00\x00\x00\x00\x00\x00\x00\x54\x10\x00\x00\x00\x7c\x72\x6f\x62\x75\x73\x74\x20\x07\x00\x50\x62"
    "\x75\x73\x74\x21\x00\x00\x00\x00\xa2\x01\xe2\xc7",
    43);
const std::string kSnappyRaw("\x1c\x18robust \x4e\x07\x00\x00!", 14);
const std::string kXerialHeader("\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01", 16);
const std::string kXerialBlock = "\x00\x00\x00\x0e"s + kSnappyRaw;

const std::string& golden(Compression codec) {
  switch (codec) {
    case Compression::gzip:
      return kGzip;
    case Compression::snappy:
      return kSnappyRaw;
    case Compression::lz4:
      return kLz4;
    default:
      return kZstd;
  }
}

// Text of the result, or its error.
std::string plain_of(Compression codec, const std::string& input, size_t bytes_max = 1 << 20) {
  Result<Bytes> result = decompress(codec, as_bytes(input), bytes_max);
  return result.ok() ? std::string(result->text()) : result.error().to_string();
}
Code code_of(Compression codec, const std::string& input, size_t bytes_max = 1 << 20) {
  return decompress(codec, as_bytes(input), bytes_max).code();
}

TEST(Codec, ReadsWhatOthersWrote) {
  EXPECT_EQ(plain_of(Compression::gzip, kGzip), kPlain);
  EXPECT_EQ(plain_of(Compression::zstd, kZstd), kPlain);
  EXPECT_EQ(plain_of(Compression::lz4, kLz4), kPlain);
  EXPECT_EQ(plain_of(Compression::lz4, kLz4BlockChecksums), kPlain);
  EXPECT_EQ(plain_of(Compression::lz4, kLz4ContentSize), kPlain);
  EXPECT_EQ(plain_of(Compression::snappy, kSnappyRaw), kPlain);
  EXPECT_EQ(plain_of(Compression::none, kPlain), kPlain);
}

TEST(Codec, ReadsXerialBlocksWhateverTheVersionsSay) {
  EXPECT_EQ(plain_of(Compression::snappy, kXerialHeader), "");
  EXPECT_EQ(plain_of(Compression::snappy, kXerialHeader + kXerialBlock + kXerialBlock), kPlain + kPlain);
  EXPECT_EQ(plain_of(Compression::snappy, kXerialHeader + kXerialBlock + kXerialHeader + kXerialBlock), kPlain + kPlain);
  std::string odd = kXerialHeader;
  for (size_t i = 8; i < 16; ++i) odd[i] = '\xee';
  EXPECT_EQ(plain_of(Compression::snappy, odd + kXerialBlock), kPlain);
  EXPECT_EQ(code_of(Compression::snappy, kXerialHeader + "\xff\xff\xff\xff"), Code::malformed);
  EXPECT_EQ(code_of(Compression::snappy, kXerialHeader + "\x00\x00"s), Code::malformed);
}

TEST(Codec, ReadsSeveralGzipMembersAndZstdFramesButOneLz4Frame) {
  EXPECT_EQ(plain_of(Compression::gzip, kGzip + kGzip + kGzip), kPlain + kPlain + kPlain);
  EXPECT_EQ(plain_of(Compression::zstd, kZstd + kZstd), kPlain + kPlain);
  EXPECT_EQ(plain_of(Compression::zstd, "\x50\x2a\x4d\x18\x02\x00\x00\x00xx"s + kZstd), kPlain);  // skippable
  EXPECT_EQ(code_of(Compression::lz4, kLz4 + kLz4), Code::malformed);
}

TEST(Codec, VerifiesChecksums) {
  std::string gzip = kGzip;
  gzip[24] ^= 1;  // CRC-32
  EXPECT_EQ(code_of(Compression::gzip, gzip), Code::malformed);
  std::string lz4 = kLz4;
  lz4[6] ^= 1;  // header checksum
  EXPECT_EQ(code_of(Compression::lz4, lz4), Code::malformed);
  lz4 = kLz4;
  lz4.back() ^= 1;  // content checksum
  EXPECT_EQ(code_of(Compression::lz4, lz4), Code::malformed);
  std::string zstd = kZstd;
  zstd.back() ^= 1;
  EXPECT_EQ(code_of(Compression::zstd, zstd), Code::malformed);
}

TEST(Codec, RefusesEveryCutAndWhatFollowsTheEnd) {
  for (Compression codec : kCodecs) {
    const std::string& whole = golden(codec);
    for (size_t cut = 0; cut < whole.size(); ++cut) {
      EXPECT_EQ(code_of(codec, whole.substr(0, cut)), Code::malformed) << static_cast<int>(codec) << " " << cut;
    }
    EXPECT_EQ(code_of(codec, whole + "z"), Code::malformed) << static_cast<int>(codec);
  }
}

TEST(Codec, KeepsTheLimitToTheByte) {
  for (Compression codec : kCodecs) {
    EXPECT_EQ(plain_of(codec, golden(codec), kPlain.size()), kPlain);
    EXPECT_EQ(code_of(codec, golden(codec), kPlain.size() - 1), Code::too_large);
    EXPECT_EQ(code_of(codec, golden(codec), 0), Code::too_large);
  }
  EXPECT_EQ(code_of(Compression::none, kPlain, kPlain.size() - 1), Code::too_large);
}

TEST(Codec, StopsABombAtTheLimit) {
  const std::string zeros(64 << 20, '\0');
  for (Compression codec : kCodecs) {
    Result<Bytes> packed = compress(codec, as_bytes(zeros));
    ASSERT_TRUE(packed.ok());
    EXPECT_EQ(decompress(codec, *packed, 1 << 20).code(), Code::too_large);
    EXPECT_EQ(decompress(codec, *packed, 64 << 20)->size(), zeros.size());
  }
}

TEST(Codec, DoesNotBelieveASnappyLength) {
  EXPECT_EQ(code_of(Compression::snappy, "\xff\xff\xff\x7f\x00z"s, 1u << 31), Code::malformed);  // 256 MiB in 6 bytes
}

TEST(Codec, RefusesAZstdWindowOverTheLimit) {
  // Frame header: no content size, window of 2^30; then nothing.
  EXPECT_EQ(code_of(Compression::zstd, "\x28\xb5\x2f\xfd\x00\xa0\x01\x00\x00"s), Code::too_large);
}

TEST(Codec, RefusesCodecsNobodyKnows) {
  EXPECT_EQ(code_of(static_cast<Compression>(5), kPlain), Code::unsupported_compression);
  EXPECT_EQ(compress(static_cast<Compression>(7), {}).code(), Code::unsupported_compression);
}

TEST(Codec, ReturnsWhatItCompressed) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (size_t size : {size_t{0}, size_t{1}, size_t{100}, size_t{32768}, size_t{32769}, size_t{65536}, size_t{700'001}}) {
    std::string plain(size, 'x');
    for (char& c : plain) c = static_cast<char>('a' + random() % (size % 2 ? 3 : 250));
    for (Compression codec : kCodecs) {
      Result<Bytes> packed = compress(codec, as_bytes(plain));
      ASSERT_TRUE(packed.ok());
      EXPECT_EQ(plain_of(codec, std::string(packed->text()), size), plain) << size << " " << static_cast<int>(codec);
    }
  }
  EXPECT_EQ(compress(Compression::snappy, as_bytes(kPlain))->text(), kXerialHeader + kXerialBlock);
}

}  // namespace
}  // namespace robustmq::compress
