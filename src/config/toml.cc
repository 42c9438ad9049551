#include "config/toml.h"

#include <fmt/core.h>
#include <toml++/toml.h>

namespace robustmq::config {

namespace {

TomlNode convert(const toml::node& from);

TomlNode convert_table(const toml::table& from) {
  TomlTable table;
  for (const auto& [key, value] : from) table.emplace_back(std::string(key.str()), convert(value));
  TomlNode node;
  node.what = std::move(table);
  return node;
}

TomlNode convert_array(const toml::array& from) {
  TomlNode node;
  std::vector<TomlNode> tables;
  std::vector<std::string> texts;
  for (const toml::node& item : from) {
    if (item.is_table())
      tables.push_back(convert(item));
    else if (item.is_string())
      texts.push_back(item.as_string()->get());
  }
  if (!from.empty() && tables.size() == from.size())
    node.what = std::move(tables);
  else if (texts.size() == from.size())
    node.what = Value(std::move(texts));
  else
    node.what = TomlOther{"a list"};
  return node;
}

TomlNode convert(const toml::node& from) {
  TomlNode node;
  switch (from.type()) {
    case toml::node_type::table:
      node = convert_table(*from.as_table());
      break;
    case toml::node_type::array:
      node = convert_array(*from.as_array());
      break;
    case toml::node_type::string:
      node.what = Value(from.as_string()->get());
      break;
    case toml::node_type::integer:
      node.what = Value(from.as_integer()->get());
      break;
    case toml::node_type::floating_point:
      node.what = Value(from.as_floating_point()->get());
      break;
    case toml::node_type::boolean:
      node.what = Value(from.as_boolean()->get());
      break;
    default:
      node.what = TomlOther{"a date or time"};
      break;
  }
  node.line = static_cast<int>(from.source().begin.line);
  return node;
}

}  // namespace

Result<TomlNode> parse_toml(std::string_view text) {
  // The library throws; the exception ends here.
  try {
    const toml::table table = toml::parse(text);
    return convert_table(table);
  } catch (const toml::parse_error& error) {
    return Error{Code::invalid_config, fmt::format("{}: {}", error.source().begin.line, error.description())};
  }
}

}  // namespace robustmq::config
