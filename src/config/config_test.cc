// The promises of the configuration: each source is read, what is wrong is told with place and remedy.
#include "config/config.h"

#include <gtest/gtest.h>

namespace robustmq::config {

enum class Color : uint8_t { red, green };

}  // namespace robustmq::config

template <>
struct robustmq::EnumNames<robustmq::config::Color> {
  static constexpr std::pair<robustmq::config::Color, std::string_view> values[] = {{robustmq::config::Color::red, "red"},
                                                                                    {robustmq::config::Color::green, "green"}};
};

namespace robustmq::config {
namespace {

struct Listener {
  std::string listen = "127.0.0.1:1";
  int32_t backlog = 10;
  bool no_delay = true;
  template <class V>
  static void describe(V& v) {
    v.field("listen", &Listener::listen, {.doc = "Where to listen."});
    v.field("backlog", &Listener::backlog, {.doc = "Waiting connections.", .unit = "connections", .min = 1, .max = 4096});
    v.field("no_delay", &Listener::no_delay, {.doc = "Send at once.", .live = true});
  }
};

struct Rule {
  std::string filter;
  Color color = Color::green;
  template <class V>
  static void describe(V& v) {
    v.field("filter", &Rule::filter, {.doc = "What it takes."});
    v.field("color", &Rule::color, {.doc = "Its color | hue."});
  }
};

struct Options {
  Listener mqtt;
  Listener kafka;
  double share = 0.5;
  std::string password;
  std::vector<std::string> names = {"a"};
  std::vector<Rule> rule;
  template <class V>
  static void describe(V& v) {
    v.field("mqtt", &Options::mqtt, {.doc = "The MQTT listener."});
    v.field("kafka", &Options::kafka, {.doc = "The Kafka listener."});
    v.field("share", &Options::share, {.doc = "A share.", .min = 0, .max = 1});
    v.field("password", &Options::password, {.doc = "A secret.", .secret = true});
    v.field("names", &Options::names, {.doc = "Some names."});
    v.field("rule", &Options::rule, {.doc = "Rules, the first wins."});
  }
};

Inputs of_file(std::string text) {
  Inputs inputs;
  inputs.file = ConfigFile{"robust.toml", std::move(text)};
  return inputs;
}

std::string problem_of(const Inputs& inputs) {
  Options options;
  const Result<Origins> result = load(inputs, options);
  if (result.ok()) return "";
  EXPECT_EQ(result.code(), Code::invalid_config);
  return result.error().detail;
}

TEST(Config, ReadsEveryKindOfValueFromAFile) {
  Options options;
  const Result<Origins> origins = load(of_file(R"(
share = 1
names = ["x", "y"]
[mqtt]
listen = "0.0.0.0:1883"
backlog = 1_000
no_delay = false
[[rule]]
filter = "a/#"
color = "red"
[[rule]]
filter = "b"
)"),
                                       options);
  ASSERT_TRUE(origins.ok()) << origins.error().detail;
  EXPECT_EQ(options.share, 1);
  EXPECT_EQ(options.names, (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(options.mqtt.listen, "0.0.0.0:1883");
  EXPECT_EQ(options.mqtt.backlog, 1000);
  EXPECT_FALSE(options.mqtt.no_delay);
  EXPECT_EQ(options.kafka.listen, "127.0.0.1:1");
  ASSERT_EQ(options.rule.size(), 2u);
  EXPECT_EQ(options.rule[0].color, Color::red);
  EXPECT_EQ(options.rule[1].filter, "b");
  EXPECT_EQ(origins->of("mqtt.backlog"), "robust.toml:6");
  EXPECT_EQ(origins->of("rule[1].color"), "robust.toml:11");
  EXPECT_EQ(origins->of("kafka.listen"), "the defaults");
}

TEST(Config, LetsFlagsWinOverEnvironmentOverFile) {
  Inputs inputs = of_file("[mqtt]\nbacklog = 1\nlisten = \"file\"\nno_delay = true\n");
  inputs.environment = {
      {"ROBUSTMQ_MQTT_BACKLOG", "2"}, {"ROBUSTMQ_MQTT_NO_DELAY", "false"}, {"PATH", "/bin"}, {"ROBUSTMQ_NAMES", "p, q"}};
  inputs.flags = {"mqtt.backlog=3", "password=hush=hush"};
  Options options;
  const Result<Origins> origins = load(inputs, options);
  ASSERT_TRUE(origins.ok()) << origins.error().detail;
  EXPECT_EQ(options.mqtt.backlog, 3);
  EXPECT_FALSE(options.mqtt.no_delay);
  EXPECT_EQ(options.mqtt.listen, "file");
  EXPECT_EQ(options.password, "hush=hush");
  EXPECT_EQ(options.names, (std::vector<std::string>{"p", "q"}));
  EXPECT_EQ(origins->of("mqtt.backlog"), "flag --mqtt.backlog");
  EXPECT_EQ(origins->of("mqtt.no_delay"), "environment variable ROBUSTMQ_MQTT_NO_DELAY");
}

TEST(Config, TakesRowsByNumberFromEnvironmentAndFlags) {
  Inputs inputs = of_file("[[rule]]\nfilter = \"a\"\n");
  inputs.environment = {{"ROBUSTMQ_RULE_1_FILTER", "b"}};
  inputs.flags = {"rule.0.color=red"};
  Options options;
  ASSERT_TRUE(load(inputs, options).ok());
  ASSERT_EQ(options.rule.size(), 2u);
  EXPECT_EQ(options.rule[0].filter, "a");
  EXPECT_EQ(options.rule[0].color, Color::red);
  EXPECT_EQ(options.rule[1].filter, "b");
  inputs.flags = {"rule.99999999.color=red"};
  EXPECT_EQ(problem_of(inputs), "flag --rule.99999999.color: more than 10000 rows");
}

TEST(Config, NamesPlaceAndNearestKeyOfAWrongOne) {
  EXPECT_EQ(problem_of(of_file("[mqtt]\n\nlisen = \"x\"\n")), "robust.toml:3: there is no option lisen; did you mean listen?");
  EXPECT_EQ(problem_of(of_file("[mqt]\nlisten = \"x\"\n")), "robust.toml:1: there is no option mqt; did you mean mqtt?");
  EXPECT_EQ(problem_of(of_file("[mqtt]\nzzzzzzzzzzz = 1\n")),
            "robust.toml:2: there is no option zzzzzzzzzzz; known here: listen, backlog, no_delay");
  Inputs inputs;
  inputs.environment = {{"ROBUSTMQ_MQTT_LISEN", "x"}};
  EXPECT_EQ(
      problem_of(inputs),
      "environment variable ROBUSTMQ_MQTT_LISEN: there is no option ROBUSTMQ_MQTT_LISEN; did you mean ROBUSTMQ_MQTT_LISTEN?");
  inputs.environment = {{"ROBUSTMQ_MQT_LISTEN", "x"}};
  EXPECT_TRUE(problem_of(inputs).ends_with("did you mean ROBUSTMQ_MQTT_LISTEN?"));
  inputs.environment.clear();
  inputs.flags = {"mqtt.lisen=x"};
  EXPECT_EQ(problem_of(inputs), "flag --mqtt.lisen: there is no option mqtt.lisen; did you mean mqtt.listen?");
}

TEST(Config, NamesPlaceAndAllowedOfAWrongValue) {
  EXPECT_EQ(problem_of(of_file("[mqtt]\nbacklog = 5000\n")),
            "robust.toml:2: mqtt.backlog = 5000 is not allowed; allowed is an integer from 1 to 4096 (connections)");
  EXPECT_EQ(problem_of(of_file("[mqtt]\nbacklog = \"5\"\n")),
            "robust.toml:2: mqtt.backlog = \"5\" is not allowed; allowed is an integer from 1 to 4096 (connections)");
  EXPECT_EQ(problem_of(of_file("[[rule]]\ncolor = \"blue\"\n")),
            "robust.toml:2: rule[0].color = \"blue\" is not allowed; allowed is one of red, green");
  EXPECT_EQ(problem_of(of_file("share = 2.5\n")), "robust.toml:1: share = 2.5 is not allowed; allowed is a number from 0 to 1");
  EXPECT_EQ(problem_of(of_file("mqtt = 1\n")), "robust.toml:1: mqtt is a section: [mqtt]");
  EXPECT_EQ(problem_of(of_file("rule = 1\n")), "robust.toml:1: rule is a list of tables: [[rule]]");
  EXPECT_EQ(problem_of(of_file("share = 1979-05-27\n")), "robust.toml:1: share takes a number from 0 to 1");
  EXPECT_EQ(problem_of(of_file("password = 7\n")), "robust.toml:1: password = *** is not allowed; allowed is text");
  Inputs inputs;
  inputs.flags = {"mqtt.no_delay=yes"};
  EXPECT_EQ(problem_of(inputs), "flag --mqtt.no_delay: mqtt.no_delay = yes is not allowed; allowed is true or false");
  inputs.flags = {"mqtt.backlog=99999999999999999999"};
  EXPECT_FALSE(problem_of(inputs).empty());
  inputs.flags = {"mqtt.backlog"};
  EXPECT_EQ(problem_of(inputs), "flag --mqtt.backlog: a value is missing: --mqtt.backlog=value");
  inputs.flags = {"mqtt=1"};
  EXPECT_EQ(problem_of(inputs), "flag --mqtt: mqtt is a section: --mqtt.key=value");
}

TEST(Config, TellsEveryProblemAtOnce) {
  EXPECT_EQ(problem_of(of_file("share = 2\n[mqtt]\nbacklog = 0\n")),
            "robust.toml:3: mqtt.backlog = 0 is not allowed; allowed is an integer from 1 to 4096 (connections)\n"
            "robust.toml:1: share = 2 is not allowed; allowed is a number from 0 to 1");
}

TEST(Config, NamesTheLineOfBrokenToml) {
  EXPECT_TRUE(problem_of(of_file("share = 1\n[mqtt\n")).starts_with("robust.toml:2: "))
      << problem_of(of_file("share = 1\n[mqtt\n"));
  EXPECT_FALSE(problem_of(of_file(std::string("\0\xff = [", 5))).empty());
}

TEST(Config, PrintsAFileThatSaysTheDefaults) {
  Options options;
  const std::string text = commented_file(bind(options));
  EXPECT_NE(text.find("# Waiting connections.\n# Allowed: an integer from 1 to 4096 (connections).\n#backlog = 10\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("\n[mqtt]\n"), std::string::npos);
  EXPECT_NE(text.find("# [[rule]]\n"), std::string::npos);
  // As printed, and with each option's '#' taken away, it says the same as no file.
  std::string uncommented;
  for (size_t from = 0; from < text.size();) {
    const size_t end = text.find('\n', from);
    std::string line = text.substr(from, end - from);
    if (line.size() > 1 && line[0] == '#' && line[1] != ' ') line.erase(0, 1);
    uncommented += line + "\n";
    from = end + 1;
  }
  for (const std::string& file : {text, uncommented}) {
    Options loaded;
    const Result<Origins> result = load(of_file(file), loaded);
    ASSERT_TRUE(result.ok()) << result.error().detail;
    EXPECT_EQ(to_json(bind(loaded)), to_json(bind(options)));
  }
}

TEST(Config, HidesSecretsEverywhere) {
  Options options;
  options.password = "hush";
  options.rule.resize(1);
  EXPECT_EQ(to_json(bind(options)).find("hush"), std::string::npos);
  EXPECT_EQ(commented_file(bind(options)).find("hush"), std::string::npos);
  EXPECT_EQ(markdown_reference(bind(options)).find("hush"), std::string::npos);
  Options defaults;
  bool seen = false;
  for (const OptionRow& row : to_rows(bind(options), bind(defaults))) {
    if (row.path != "password") continue;
    seen = true;
    EXPECT_EQ(row.value, "***");
    EXPECT_FALSE(row.is_default);
  }
  EXPECT_TRUE(seen);
}

TEST(Config, WritesTheReference) {
  Options options;
  const std::string text = markdown_reference(bind(options));
  EXPECT_NE(text.find("## [mqtt]\n\nThe MQTT listener.\n"), std::string::npos) << text;
  EXPECT_NE(text.find("| `mqtt.backlog` | `10` | an integer from 1 to 4096 (connections) | Waiting connections. |"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("Its color \\| hue."), std::string::npos);
}

}  // namespace
}  // namespace robustmq::config
