// A parsed TOML document as plain values with their lines. The one door to the TOML library. Private to the room. Pure.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"
#include "config/binding.h"

namespace robustmq::config {

struct TomlNode;
using TomlTable = std::vector<std::pair<std::string, TomlNode>>;

// What no option can take: a date, a mixed list. `text` says what it is.
struct TomlOther {
  std::string text;
};

struct TomlNode {
  std::variant<Value, TomlTable, std::vector<TomlNode>, TomlOther> what = TomlOther{};  // the list is one of tables
  int line = 0;
};

// Error: invalid_config, "line 3: ..." in words.
Result<TomlNode> parse_toml(std::string_view text);

}  // namespace robustmq::config
