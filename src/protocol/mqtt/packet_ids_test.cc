#include "protocol/mqtt/packet_ids.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace robustmq::mqtt {
namespace {

TEST(PacketIds, GoRoundAndSkipWhatIsInUse) {
  PacketIds<Sent> ids;
  EXPECT_EQ(ids.get(1), Sent::none);
  EXPECT_EQ(ids.take(Sent::qos1), 1);
  EXPECT_EQ(ids.take(Sent::qos2), 2);
  EXPECT_EQ(ids.take(Sent::qos1), 3);
  ids.set(2, Sent::none);
  EXPECT_EQ(ids.get(2), Sent::none);
  EXPECT_EQ(ids.get(0), Sent::none);
  EXPECT_EQ(ids.in_use(), 2u);
  // 1 stays in use: the window reaches round to it.
  for (uint32_t i = 4; i <= 65535; ++i) {
    ASSERT_EQ(ids.take(Sent::qos1), i);
    ids.set(static_cast<uint16_t>(i), Sent::none);
  }
  EXPECT_EQ(ids.take(Sent::qos1), 2);  // 1 and 3 are in use
  EXPECT_EQ(ids.take(Sent::qos1), 4);
  ids.set(1, Sent::none);
  EXPECT_EQ(ids.take(Sent::qos1), 1);
  EXPECT_EQ(ids.take(Sent::qos1), 5);
  EXPECT_EQ(ids.in_use(), 5u);
}

TEST(PacketIds, AreExhaustedWhenAllAreInUse) {
  PacketIds<Sent> ids;
  for (uint32_t i = 1; i <= 65535; ++i) ASSERT_EQ(ids.take(Sent::qos1), i);
  EXPECT_EQ(ids.take(Sent::qos1), 0);
  ids.set(40'000, Sent::none);
  EXPECT_EQ(ids.take(Sent::qos2), 40'000);
  EXPECT_EQ(ids.take(Sent::qos1), 0);
}

TEST(PacketIds, StayInTheirRange) {
  PacketIds<Sent> ids(32'768, 65'535);
  for (int round = 0; round < 2; ++round) {
    for (uint32_t i = 32'768; i <= 65'535; ++i) {
      ASSERT_EQ(ids.take(Sent::qos1), i);
      ids.set(static_cast<uint16_t>(i), Sent::none);
    }
  }
  EXPECT_EQ(ids.get(5), Sent::none);
}

// Whoever chooses the ids, from wherever: the same as a map, in bounded memory.
TEST(PacketIds, AgreeWithAMap) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 20; ++round) {
    const auto low = static_cast<uint16_t>(round % 2 ? 1 : 32'768);
    PacketIds<Received> ids(low);
    std::map<uint16_t, Received> known;
    const uint32_t spread = 1u << (random() % 16);
    for (int i = 0; i < 20'000; ++i) {
      if (random() % 4 == 0) {
        const uint16_t id = ids.take(Received::asked);
        if (known.size() == 65'536u - low) {
          ASSERT_EQ(id, 0);
        } else {
          ASSERT_GE(id, low);
          ASSERT_TRUE(known.emplace(id, Received::asked).second);
        }
      } else {
        const uint32_t from = known.empty() ? low : known.begin()->first;
        const uint32_t id = low + (from + random() % spread) % (65'536u - low);
        const auto state = static_cast<Received>(random() % 4);
        ids.set(static_cast<uint16_t>(id), state);
        known.erase(static_cast<uint16_t>(id));
        if (state != Received::none) known.emplace(id, state);
      }
      ASSERT_EQ(ids.in_use(), known.size());
      ASSERT_LE(ids.bytes(), 16'384u);
      const auto asked = static_cast<uint16_t>(random());
      const auto found = known.find(asked);
      ASSERT_EQ(ids.get(asked), found == known.end() ? Received::none : found->second);
    }
    for (const auto& [id, state] : known) {
      ASSERT_EQ(ids.get(id), state);
      ids.set(id, Received::none);
    }
    ASSERT_EQ(ids.in_use(), 0u);
    ASSERT_LE(ids.bytes(), 256u);
  }
}

}  // namespace
}  // namespace robustmq::mqtt
