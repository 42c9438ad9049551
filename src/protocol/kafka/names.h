// Kafka's names of topic settings, and ours (the fields of meta::TopicConfig). Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace robustmq::kafka {

// Kinds of what has settings, and where a setting's value comes from, as DescribeConfigs numbers them.
constexpr int8_t kTopicResource = 2;
constexpr int8_t kBrokerResource = 4;
constexpr int8_t kDynamicTopicConfig = 1;
constexpr int8_t kDefaultConfig = 5;
// The isolation level of fetches and of the questions for offsets that sees no open transaction.
constexpr int8_t kReadCommitted = 1;

enum class ConfigType : int8_t { boolean = 1, string = 2, int32 = 3, int64 = 5, real = 6, list = 7 };

// A topic setting that can be given. Its value is the same text in both spellings, but for message.timestamp.type.
struct TopicSetting {
  std::string_view kafka_name;
  std::string_view our_name;
  ConfigType type;
  std::string_view synonym;  // Kafka's name of the default among the broker's settings
  std::string_view doc;
};
// One that Kafka has and that has no effect here: it takes what Kafka takes, and is kept and shown.
struct KeptTopicSetting {
  std::string_view kafka_name;
  std::string_view value;  // the default
  ConfigType type;
  double min;  // of numbers
  double max;
  std::string_view doc;
};
// One that Kafka has and that has one value here: it may be given that value, and is shown read-only.
struct FixedSetting {
  std::string_view kafka_name;
  std::string_view value;
  ConfigType type;
  std::string_view doc;
};

extern const TopicSetting kTopicSettings[17];
extern const KeptTopicSetting kKeptTopicSettings[15];
extern const FixedSetting kFixedTopicSettings[3];

const TopicSetting* topic_setting_of_kafka(std::string_view kafka_name);
const TopicSetting* topic_setting_of_ours(std::string_view our_name);
const FixedSetting* fixed_topic_setting(std::string_view kafka_name);

// Our name of a kept one is this and Kafka's name.
constexpr std::string_view kKeptPrefix = "kept.";
const KeptTopicSetting* kept_topic_setting(std::string_view kafka_name);
bool is_valid_kept(const KeptTopicSetting& setting, std::string_view value);

// A setting as a client names it, in our spelling.
struct NamedSetting {
  std::string our_name;  // empty: it has the one value it can have
  std::string value;
  std::string problem;  // why it is refused; empty: it is not
};
NamedSetting read_topic_setting(std::string_view kafka_name, std::string_view value);

// A value in our spelling; nullopt where it cannot be one.
std::optional<std::string> setting_from_kafka(const TopicSetting& setting, std::string_view value);
std::string setting_to_kafka(const TopicSetting& setting, std::string_view value);

}  // namespace robustmq::kafka
