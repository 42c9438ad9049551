// Config: file, environment and flags onto an options struct, the later winning over the earlier. Mechanism only: it knows no
// option and opens no file; texts and variables are given. Pure.
//
//   file         TOML; [section] key = value, [[rows]]
//   environment  ROBUSTMQ_SECTION_KEY=value; rows by number: ROBUSTMQ_TOPIC_RULE_0_FILTER
//   flags        section.key=value; rows by number: topic_rule.0.filter=...
//
// Whatever is wrong is refused, all of it at once, a line each: where it stands, what was given, what is allowed, and for an
// unknown key the nearest known one. A variable that begins with ROBUSTMQ_ and names no option is wrong as well.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "config/binding.h"

namespace robustmq::config {

constexpr std::string_view kEnvironmentPrefix = "ROBUSTMQ_";
constexpr size_t kRowsMax = 10'000;  // of one array of tables
constexpr size_t kProblemsMax = 20;  // told at once
constexpr size_t kFileBytesMax = 4 << 20;

struct ConfigFile {
  std::string name;  // for messages
  std::string text;
};

struct Inputs {
  std::optional<ConfigFile> file;
  std::vector<std::pair<std::string, std::string>> environment;  // variables of other programs are passed over
  std::vector<std::string> flags;                                // "mqtt.listen=0.0.0.0:1883"
};

// Where each given option came from: "robust.toml:12", "environment variable ROBUSTMQ_MQTT_LISTEN", "flag --mqtt.listen".
// What was not given is not in it. Rows are spelled "topic_rule[0].filter".
class Origins {
 public:
  void set(std::string path, std::string where) { by_path_[std::move(path)] = std::move(where); }
  // The origin of `path`, or of the nearest table above it; "the defaults" when nothing of it was given.
  std::string of(std::string_view path) const;

 private:
  std::map<std::string, std::string, std::less<>> by_path_;
};

// Puts `inputs` onto `options`. Error: invalid_config with every problem on a line of its own; `options` is half-changed then.
Result<Origins> apply(const Inputs& inputs, Binding options);

template <Described T>
Result<Origins> load(const Inputs& inputs, T& options) {
  return apply(inputs, bind(options));
}

// The commented file of the defaults in `options`: prose behind "# ", options behind "#", so a file with every "#" before an
// option taken away says the same as no file.
std::string commented_file(Binding options);

// The reference as a Markdown document body: one table a section.
std::string markdown_reference(Binding options);

// The options as JSON; secrets that are set read "***".
std::string to_json(Binding options);

// Names and values, one a leaf, "mqtt.listen" = "127.0.0.1:1883"; secrets "***"; `is_default` against `defaults`.
struct OptionRow {
  std::string path;
  std::string value;
  bool is_default = true;
};
std::vector<OptionRow> to_rows(Binding options, Binding defaults);

// The candidate nearest to `name` by edit distance, or empty when none is near.
std::string_view nearest(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace robustmq::config
