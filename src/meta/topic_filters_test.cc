// The promises of topic filters held against each other.
#include "meta/topic_filters.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "base/topic_names.h"

namespace robustmq::meta {
namespace {

TEST(TopicFilters, MeetWhereOneTopicMatchesBoth) {
  const auto meet = [](std::string_view a, std::string_view b) {
    EXPECT_EQ(filters_intersect(a, b), filters_intersect(b, a)) << a << " " << b;
    return filters_intersect(a, b);
  };
  EXPECT_TRUE(meet("plant/+/temp", "plant/line1/#"));
  EXPECT_TRUE(meet("plant/+/temp", "+/line1/+"));
  EXPECT_TRUE(meet("a/#", "a"));
  EXPECT_TRUE(meet("#", "a/b/c"));
  EXPECT_TRUE(meet("a/+", "a/"));
  EXPECT_FALSE(meet("a/+", "a"));
  EXPECT_FALSE(meet("plant/+/temp", "plant/+/rpm"));
  EXPECT_FALSE(meet("a/b", "a/b/c"));
  EXPECT_FALSE(meet("#", "$SYS/x"));
  EXPECT_FALSE(meet("+/x", "$SYS/x"));
  EXPECT_TRUE(meet("$SYS/#", "$SYS/x"));
}

TEST(TopicFilters, CoverWhatTheyMatchAllOf) {
  EXPECT_TRUE(filter_covers("plant/#", "plant/+/temp"));
  EXPECT_TRUE(filter_covers("plant/#", "plant"));
  EXPECT_TRUE(filter_covers("plant/#", "plant/#"));
  EXPECT_TRUE(filter_covers("+/+", "a/+"));
  EXPECT_FALSE(filter_covers("plant/+/temp", "plant/#"));
  EXPECT_FALSE(filter_covers("a/+", "+/b"));
  EXPECT_FALSE(filter_covers("+", "#"));
  EXPECT_FALSE(filter_covers("#", "$SYS/x"));
}

// All filters and topics of up to three levels of a small alphabet.
TEST(TopicFilters, AgreeWithWhatTheyMatch) {
  std::vector<std::string> topics = {"a", "b", ""};
  std::vector<std::string> filters = {"a", "b", "", "+", "#"};
  const auto grow = [](std::vector<std::string>& all, const std::vector<std::string>& levels) {
    size_t from = 0;
    for (int round = 0; round < 2; ++round) {
      const size_t end = all.size();
      for (; from < end; ++from) {
        if (all[from].ends_with('#')) continue;
        for (const std::string& level : levels) all.push_back(all[from] + "/" + level);
      }
    }
  };
  grow(topics, {"a", "b", ""});
  grow(filters, {"a", "b", "", "+", "#"});
  topics.push_back("a/b/a/b");
  std::erase(topics, "");
  std::erase(filters, "");
  for (const std::string& one : filters) {
    for (const std::string& two : filters) {
      bool do_meet = false;
      bool does_cover = true;
      for (const std::string& topic : topics) {
        do_meet |= filter_matches(one, topic) && filter_matches(two, topic);
        does_cover &= filter_matches(one, topic) || !filter_matches(two, topic);
      }
      EXPECT_EQ(filters_intersect(one, two), do_meet) << one << " " << two;
      if (filter_covers(one, two)) {
        EXPECT_TRUE(does_cover) << one << " " << two;
      }
    }
  }
}

}  // namespace
}  // namespace robustmq::meta
