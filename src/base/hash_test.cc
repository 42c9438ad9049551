// Hashes that are stored, or that clients compute too: their values never change.
#include "base/hash.h"

#include <gtest/gtest.h>

#include <string>

namespace robustmq {
namespace {

// As Kafka's own clients and brokers have them.
TEST(Hash, Murmur2IsKafkas) {
  const auto hash = [](std::string_view key) { return static_cast<int32_t>(murmur2(as_bytes(key))); };
  EXPECT_EQ(hash("21"), -973932308);
  EXPECT_EQ(hash("foobar"), -790332482);
  EXPECT_EQ(hash("a-little-bit-long-string"), -985981536);
  EXPECT_EQ(hash("a-little-bit-longer-string"), -1486304829);
  EXPECT_EQ(hash("abc"), 479470107);
}

TEST(Hash, APartitionIsTheHashWithoutItsSign) {
  EXPECT_EQ(partition_of(as_bytes("abc"), 10), 479470107 % 10);
  EXPECT_EQ(partition_of(as_bytes("foobar"), 12), (-790332482 & 0x7fffffff) % 12);
  EXPECT_EQ(partition_of(as_bytes("anything"), 1), 0);
}

// RFC 3720 B.4.
TEST(Hash, Crc32cIsTheStandards) {
  EXPECT_EQ(crc32c(as_bytes(std::string(32, '\0'))), 0x8A9136AAu);
  EXPECT_EQ(crc32c(as_bytes(std::string(32, '\xff'))), 0x62A8AB43u);
  EXPECT_EQ(crc32c(as_bytes("123456789")), 0xE3069283u);
  EXPECT_EQ(crc32c(as_bytes("6789"), crc32c(as_bytes("12345"))), 0xE3069283u) << "in two pieces";
}

TEST(Hash, SlotsFollowFromXxHash64) {
  EXPECT_EQ(hash64(as_bytes("")), 0xEF46DB3751D8E999u);
  EXPECT_EQ(hash64(as_bytes("a")), 0xD24EC4F1A98C6E5Bu);
}

}  // namespace
}  // namespace robustmq
