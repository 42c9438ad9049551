#include "base/hash.h"

#include <nmmintrin.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace robustmq {
namespace {

// Three streams of the CRC instruction run in parallel (its latency is three cycles); their remainders are joined by
// shifting through a table of x^(8 n) mod P. kBlock bytes a stream.
constexpr size_t kBlock = 1024;
constexpr uint32_t kPolynomial = 0x82F63B78;  // reflected

struct ShiftTable {
  uint32_t rows[4][256];

  constexpr explicit ShiftTable(size_t bytes) : rows{} {
    uint32_t basis[32] = {};
    for (int bit = 0; bit < 32; ++bit) {
      uint32_t value = 1u << bit;
      for (size_t i = 0; i < bytes * 8; ++i) value = (value >> 1) ^ ((value & 1) ? kPolynomial : 0);
      basis[bit] = value;
    }
    for (int row = 0; row < 4; ++row) {
      for (uint32_t n = 0; n < 256; ++n) {
        uint32_t value = 0;
        for (int bit = 0; bit < 8; ++bit) {
          if (n & (1u << bit)) value ^= basis[row * 8 + bit];
        }
        rows[row][n] = value;
      }
    }
  }
  uint32_t shift(uint32_t crc) const {
    return rows[0][crc & 0xff] ^ rows[1][(crc >> 8) & 0xff] ^ rows[2][(crc >> 16) & 0xff] ^ rows[3][crc >> 24];
  }
};

const ShiftTable kShift(kBlock);

uint64_t load64(const uint8_t* at) {
  uint64_t value;
  std::memcpy(&value, at, 8);
  return value;
}

}  // namespace

uint32_t crc32c(ByteSpan bytes, uint32_t crc) {
  const uint8_t* at = bytes.data();
  size_t left = bytes.size();
  uint64_t a = crc ^ 0xFFFFFFFFu;
  while (left >= 3 * kBlock) {
    uint64_t b = 0;
    uint64_t c = 0;
    for (size_t i = 0; i < kBlock; i += 8) {
      a = _mm_crc32_u64(a, load64(at + i));
      b = _mm_crc32_u64(b, load64(at + kBlock + i));
      c = _mm_crc32_u64(c, load64(at + 2 * kBlock + i));
    }
    a = kShift.shift(static_cast<uint32_t>(a)) ^ b;
    a = kShift.shift(static_cast<uint32_t>(a)) ^ c;
    at += 3 * kBlock;
    left -= 3 * kBlock;
  }
  for (; left >= 8; at += 8, left -= 8) a = _mm_crc32_u64(a, load64(at));
  auto tail = static_cast<uint32_t>(a);
  for (; left > 0; ++at, --left) tail = _mm_crc32_u8(tail, *at);
  return tail ^ 0xFFFFFFFFu;
}

uint32_t murmur2(ByteSpan key) {
  constexpr uint32_t kM = 0x5bd1e995;
  const auto length = static_cast<uint32_t>(key.size());
  uint32_t h = 0x9747b28c ^ length;
  size_t i = 0;
  for (; i + 4 <= key.size(); i += 4) {
    uint32_t k;
    std::memcpy(&k, key.data() + i, 4);
    k *= kM;
    k ^= k >> 24;
    k *= kM;
    h = h * kM ^ k;
  }
  switch (key.size() - i) {
    case 3:
      h ^= static_cast<uint32_t>(key[i + 2]) << 16;
      [[fallthrough]];
    case 2:
      h ^= static_cast<uint32_t>(key[i + 1]) << 8;
      [[fallthrough]];
    case 1:
      h = (h ^ key[i]) * kM;
      break;
    default:
      break;
  }
  h ^= h >> 13;
  h *= kM;
  h ^= h >> 15;
  return h;
}

int32_t partition_of(ByteSpan key, int32_t partitions) {
  return static_cast<int32_t>((murmur2(key) & 0x7fffffffu) % static_cast<uint32_t>(partitions));
}

uint64_t hash64(ByteSpan bytes) { return XXH64(bytes.data(), bytes.size(), 0); }

}  // namespace robustmq
