// How many places one SUBSCRIBE may name; how they are spelled is in the transcripts.
#include "protocol/mqtt/stream_filter.h"

#include <gtest/gtest.h>

#include <string>

namespace robustmq::mqtt {
namespace {

TEST(StreamFilter, TakesAStartForEachPartitionThatAStreamMayHave) {
  Buffer block;
  const auto starts = [&] {
    Properties properties;
    properties.raw = block.span();
    properties.present = uint64_t{1} << static_cast<unsigned>(PropertyId::user_property);
    return stream_starts_of(properties);
  };
  for (size_t i = 0; i < kStreamStartsMax; ++i) put_user_property(block, "stream-offset", std::to_string(i) + ":7");
  ASSERT_TRUE(starts());
  EXPECT_EQ(starts()->size(), kStreamStartsMax);
  EXPECT_EQ(starts()->back().partition, static_cast<int32_t>(kStreamStartsMax) - 1);
  put_user_property(block, "another", "one");
  EXPECT_TRUE(starts());
  put_user_property(block, "stream-offset", "latest");
  EXPECT_FALSE(starts()) << "one too many";
}

}  // namespace
}  // namespace robustmq::mqtt
