// The promises of last values, against a plain list of all records.
#include "broker/lease/last_values.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace robustmq::broker {
namespace {

TEST(LastValues, KnowsWhatANewerOneReplaced) {
  LastValues values(1 << 20, 100);
  values.begin(10);
  EXPECT_TRUE(values.take("a", 10));
  EXPECT_TRUE(values.take("b", 11));
  EXPECT_TRUE(values.take("a", 14));
  EXPECT_TRUE(values.is_replaced(10));
  EXPECT_FALSE(values.is_replaced(11));
  EXPECT_FALSE(values.is_replaced(14));
  EXPECT_EQ(values.seen(), 15);
  values.forget_before(12);
  EXPECT_FALSE(values.is_replaced(10));
  EXPECT_TRUE(values.take("b", 15)) << "replaces what is done";
  EXPECT_FALSE(values.is_replaced(11));
  values.begin(20);
  EXPECT_TRUE(values.take("a", 20));
  EXPECT_FALSE(values.is_replaced(14));
}

TEST(LastValues, DeliversWhatItHasNoRoomFor) {
  LastValues values(2 * (LastValues::kKeyCost + 1), 1);
  values.begin(0);
  EXPECT_TRUE(values.take("a", 0));
  EXPECT_TRUE(values.take("b", 1));
  EXPECT_FALSE(values.take("c", 2)) << "keys";
  EXPECT_FALSE(values.take("c", 3));
  EXPECT_FALSE(values.is_replaced(2));
  EXPECT_TRUE(values.take("a", 4));
  EXPECT_FALSE(values.take("b", 5)) << "replaced records";
  EXPECT_FALSE(values.is_replaced(1));
  values.forget_before(5);
  EXPECT_TRUE(values.take("d", 6)) << "a is done";
  EXPECT_LE(values.key_bytes(), 2 * (LastValues::kKeyCost + 1));
}

TEST(LastValues, AgreeWithAPlainList) {
  for (const size_t room : {size_t{1} << 20, 5 * (LastValues::kKeyCost + 1)}) {
    std::mt19937 random(5);
    LastValues values(room, 50);
    values.begin(0);
    std::vector<char> keys;
    Offset start = 0;
    for (int step = 0; step < 3000; ++step) {
      const char key = static_cast<char>('a' + random() % 10);
      values.take(std::string_view(&key, 1), static_cast<Offset>(keys.size()));
      keys.push_back(key);
      if (random() % 4 == 0)
        values.forget_before(start =
                                 std::min<Offset>(start + static_cast<Offset>(random() % 9), static_cast<Offset>(keys.size())));
      for (size_t at = static_cast<size_t>(start); at < keys.size(); ++at) {
        const bool is_old = std::find(keys.begin() + static_cast<std::ptrdiff_t>(at) + 1, keys.end(), keys[at]) != keys.end();
        if (values.is_replaced(static_cast<Offset>(at))) {
          EXPECT_TRUE(is_old) << "never the newest";
        }
      }
      EXPECT_LE(values.key_bytes(), room);
    }
  }
}

}  // namespace
}  // namespace robustmq::broker
