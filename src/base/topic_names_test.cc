#include "base/topic_names.h"

#include <gtest/gtest.h>

#include <set>

namespace robustmq {
namespace {

TEST(TopicNames, SlashIsDotBothWays) {
  EXPECT_EQ(kafka_name_of_mqtt("plant/line1/temp"), "plant.line1.temp");
  EXPECT_EQ(mqtt_name_of_kafka("plant.line1.temp"), "plant/line1/temp");
  EXPECT_EQ(kafka_name_of_mqtt("a//b/"), "a..b.");
  EXPECT_EQ(mqtt_name_of_kafka("a..b."), "a//b/");
  EXPECT_EQ(kafka_name_of_mqtt("_x-Y_0"), "_x-Y_0");
  EXPECT_EQ(kafka_name_of_mqtt("///"), "...");
}

bool is_legal_kafka_name(std::string_view name) {
  if (name.empty() || name.size() > 249 || name == "." || name == ".." || name.starts_with("__")) return false;
  return name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == std::string_view::npos;
}

TEST(TopicNames, MakesUnusualNamesLegalAndDistinct) {
  const std::string made_once = kafka_name_of_mqtt("a b");
  const std::vector<std::string> unusual = {"a b",
                                            "a.b",
                                            "a_b.",
                                            "/",
                                            "//",
                                            "__consumer_offsets",
                                            "\xC3\xA9\xC3\xA9/x",
                                            "$SYS",
                                            std::string(201, 'x'),
                                            std::string(65535, '/'),
                                            std::string(201, 'x') + "y",
                                            made_once};
  std::set<std::string> made;
  for (const std::string& name : unusual) {
    EXPECT_FALSE(is_plain_mqtt_name(name)) << name;
    const std::string kafka = kafka_name_of_mqtt(name);
    EXPECT_TRUE(is_legal_kafka_name(kafka)) << kafka;
    EXPECT_TRUE(made.insert(kafka).second) << name;
    EXPECT_EQ(kafka[kafka.size() - 17], '-');
    const std::string longer = kafka_name_of_mqtt(name, 2);
    EXPECT_TRUE(is_legal_kafka_name(longer));
    EXPECT_EQ(longer.size(), kafka.size() + 32);
    EXPECT_TRUE(longer.starts_with(kafka));
  }
  EXPECT_EQ(made_once.substr(0, 4), "a_b-");
  EXPECT_TRUE(is_plain_mqtt_name(std::string(200, 'x')));
  EXPECT_EQ(kafka_name_of_mqtt(std::string(200, 'x')), std::string(200, 'x'));
  EXPECT_TRUE(is_plain_mqtt_name("x-0123456789abcde"));
  EXPECT_FALSE(is_plain_mqtt_name("x-0123456789abcdef"));
}

TEST(TopicNames, Utf8IsStrict) {
  for (std::string_view good : {"", "abc", "\xC2\x80",
                                "\xEF\xBB\xBF"
                                "bom",
                                "\xF4\x8F\xBF\xBF", "\xED\x9F\xBF", "\x01\x7F"}) {
    EXPECT_TRUE(is_utf8(good)) << good;
  }
  using namespace std::string_view_literals;
  for (std::string_view bad :
       {"\0"sv, "a\0b"sv, "\xC0\x80"sv, "\xC1\xBF"sv, "\xE0\x9F\xBF"sv, "\xED\xA0\x80"sv, "\xED\xBF\xBF"sv, "\xF0\x8F\xBF\xBF"sv,
        "\xF4\x90\x80\x80"sv, "\xF5\x80\x80\x80"sv, "\x80"sv, "\xC2"sv, "\xE2\x82"sv, "\xF0\x9F\x98"sv,
        "\xC2"
        "a"sv,
        "\xFF"sv}) {
    EXPECT_FALSE(is_utf8(bad)) << bad;
  }
}

// Texts are read eight bytes at a time where that can be: a bad byte is seen at every place.
TEST(TopicNames, BadBytesAreSeenAnywhere) {
  for (size_t length = 1; length < 40; ++length) {
    for (size_t at = 0; at < length; ++at) {
      std::string text(length, 'a');
      EXPECT_TRUE(is_utf8(text) && is_valid_topic_name(text));
      for (const char bad : {'\0', '\x80', '\xff'}) {
        text[at] = bad;
        EXPECT_FALSE(is_utf8(text));
        EXPECT_FALSE(is_valid_topic_name(text));
      }
      for (const char odd : {'\x01', '\x7f'}) {
        text[at] = odd;
        EXPECT_TRUE(is_utf8(text));
        EXPECT_FALSE(is_valid_topic_name(text));
      }
    }
  }
}

TEST(TopicNames, ValidTopics) {
  for (std::string_view good : {"a", "/", "a//b", " ", "$SYS/x", "\xC3\xA9", "\xEF\xBB\xBF"})
    EXPECT_TRUE(is_valid_topic_name(good)) << good;
  for (std::string_view bad : {"", "+", "a/#", "a+b", "#", "a\x01", "\x7F", "\xC2\x85", "\xEF\xBF\xBF", "\xEF\xB7\x90", "\xFF"}) {
    EXPECT_FALSE(is_valid_topic_name(bad)) << bad;
  }
  EXPECT_TRUE(is_valid_topic_name(std::string(65535, 'a')));
  EXPECT_FALSE(is_valid_topic_name(std::string(65536, 'a')));
}

TEST(TopicNames, ValidFilters) {
  for (std::string_view good : {"#", "+", "/", "+/+", "/+", "+/", "a/+/b", "a/#", "/#", "+/#", "a//#", "$SYS/#", "$share/g/t"}) {
    EXPECT_TRUE(is_valid_topic_filter(good)) << good;
  }
  for (std::string_view bad : {"", "a#", "a/#/b", "+a", "a+", "a/b+", "#/", "##", "++", "+#", "a/+#", "\xC0\x80"})
    EXPECT_FALSE(is_valid_topic_filter(bad)) << bad;
}

TEST(TopicNames, FilterMatches) {
  struct Case {
    std::string_view filter, topic;
    bool matches;
  };
  const Case cases[] = {
      {"a", "a", true},           {"a", "b", false},        {"a", "aa", false},
      {"aa", "a", false},         {"a/b", "a/b", true},     {"a/b", "a", false},
      {"a", "a/b", false},        {"+", "a", true},         {"+", "a/b", false},
      {"+", "/a", false},         {"/+", "/a", true},       {"+/+", "/a", true},
      {"+/+", "/", true},         {"a/+", "a/", true},      {"a/+", "a", false},
      {"a/+/c", "a//c", true},    {"a/+/c", "a/b/c", true}, {"a/+/c", "a/b/d", false},
      {"#", "a", true},           {"#", "/", true},         {"#", "a/b/c", true},
      {"a/#", "a", true},         {"a/#", "a/", true},      {"a/#", "a/b/c", true},
      {"a/#", "ab", false},       {"a/+/#", "a/b", true},   {"a/+/#", "a", false},
      {"/#", "/a", true},         {"/#", "a", false},       {"/#", "/", true},
      {"#", "$SYS", false},       {"#", "$SYS/a", false},   {"+/a", "$SYS/a", false},
      {"$SYS/#", "$SYS/a", true}, {"$SYS/#", "$SYS", true}, {"$SYS/+", "$SYS/a", true},
      {"a/+", "a/$b", true},      {"a/#", "a/$b", true},    {"sport/tennis/player1/#", "sport/tennis/player1", true},
      {"+/b/#", "a/b", true},     {"+/b/#", "a/c", false},  {"a/", "a", false},
      {"a", "a/", false},         {"a/b/", "a/b/", true},
  };
  for (const Case& c : cases) EXPECT_EQ(filter_matches(c.filter, c.topic), c.matches) << c.filter << " ~ " << c.topic;
  const std::string deep(65535, '/');
  EXPECT_TRUE(filter_matches(deep, deep));
  EXPECT_TRUE(filter_matches("#", deep));
  EXPECT_EQ(topic_levels(deep), 65536u);
  EXPECT_EQ(topic_levels("a"), 1u);
}

}  // namespace
}  // namespace robustmq
