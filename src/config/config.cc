#include "config/config.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <iterator>

#include "config/toml.h"

namespace robustmq::config {

// ---- texts to values ----

namespace detail {

std::optional<bool> bool_of_text(std::string_view text) {
  if (text == "true") return true;
  if (text == "false") return false;
  return std::nullopt;
}

std::optional<int64_t> integer_of_text(std::string_view text) {
  std::string digits;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool is_separator = text[i] == '_' && i > 0 && i + 1 < text.size() && text[i - 1] != '_' && text[i - 1] != '-';
    if (!is_separator) digits += text[i];
  }
  int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size() || digits.empty()) return std::nullopt;
  return value;
}

std::optional<double> real_of_text(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

std::vector<std::string> list_of_text(std::string_view text) {
  std::vector<std::string> items;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    std::string_view item = text.substr(0, comma);
    while (!item.empty() && item.front() == ' ') item.remove_prefix(1);
    while (!item.empty() && item.back() == ' ') item.remove_suffix(1);
    if (!item.empty()) items.emplace_back(item);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return items;
}

namespace {
std::string range(std::string_view what, std::string least, std::string most, std::string_view unit) {
  std::string text(what);
  if (!least.empty() && !most.empty())
    text += fmt::format(" from {} to {}", least, most);
  else if (!least.empty())
    text += fmt::format(", at least {}", least);
  else if (!most.empty())
    text += fmt::format(", at most {}", most);
  if (!unit.empty()) text += fmt::format(" ({})", unit);
  return text;
}
}  // namespace

std::string integer_range(double least, double most, std::string_view unit) {
  // The edges of 64 bits are no limits worth telling.
  auto edge = [](double value) { return value <= -9e18 || value >= 9e18 ? std::string() : fmt::format("{:.0f}", value); };
  return range("an integer", edge(least), edge(most), unit);
}

std::string real_range(double least, double most, std::string_view unit) {
  auto edge = [](double value) { return std::isinf(value) ? std::string() : fmt::format("{:g}", value); };
  return range("a number", edge(least), edge(most), unit);
}

}  // namespace detail

namespace {

std::string toml_quoted(std::string_view text) {
  std::string out = "\"";
  for (unsigned char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c < ' ' || c == 0x7f) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", c);
    } else {
      out += static_cast<char>(c);
    }
  }
  out += '"';
  return out;
}

}  // namespace

std::string value_to_toml(const Value& value) {
  if (const bool* truth = std::get_if<bool>(&value)) return *truth ? "true" : "false";
  if (const int64_t* whole = std::get_if<int64_t>(&value)) return fmt::format("{}", *whole);
  if (const double* real = std::get_if<double>(&value)) {
    std::string text = fmt::format("{}", *real);
    if (text.find_first_of(".e") == std::string::npos) text += ".0";
    return text;
  }
  if (const std::string* text = std::get_if<std::string>(&value)) return toml_quoted(*text);
  std::string list = "[";
  for (const std::string& item : std::get<std::vector<std::string>>(value)) {
    if (list.size() > 1) list += ", ";
    list += toml_quoted(item);
  }
  return list + "]";
}

// ---- nearest known key ----

std::string_view nearest(std::string_view name, const std::vector<std::string>& candidates) {
  std::string_view best;
  size_t best_distance = std::max<size_t>(2, name.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    // Levenshtein, one row at a time.
    std::vector<size_t> row(candidate.size() + 1);
    for (size_t j = 0; j <= candidate.size(); ++j) row[j] = j;
    for (size_t i = 1; i <= name.size(); ++i) {
      size_t diagonal = row[0];
      row[0] = i;
      for (size_t j = 1; j <= candidate.size(); ++j) {
        const size_t above = row[j];
        row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (name[i - 1] == candidate[j - 1] ? 0 : 1)});
        diagonal = above;
      }
    }
    if (row.back() < best_distance) {
      best_distance = row.back();
      best = candidate;
    }
  }
  return best;
}

std::string Origins::of(std::string_view path) const {
  while (true) {
    const auto it = by_path_.find(path);
    if (it != by_path_.end()) return it->second;
    const size_t dot = path.find_last_of(".[");
    if (dot == std::string_view::npos) return "the defaults";
    path = path.substr(0, dot);
  }
}

// ---- sources onto options ----

std::string dotted_path(std::string_view path, std::string_view key) {
  return path.empty() ? std::string(key) : fmt::format("{}.{}", path, key);
}

namespace {

std::string environment_name(std::string_view path) {
  std::string name(kEnvironmentPrefix);
  for (char c : path) {
    if (c == '.' || c == '[')
      name += '_';
    else if (c != ']')
      name += static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
  }
  return name;
}

// Applies one source after the other and gathers what is wrong.
class Applier {
 public:
  void file(const ConfigFile& file, Binding& options) {
    if (file.text.size() > kFileBytesMax)
      return problem(fmt::format("{}: the file is larger than {} bytes", file.name, kFileBytesMax));
    Result<TomlNode> parsed = parse_toml(file.text);
    if (!parsed) return problem(fmt::format("{}:{}", file.name, parsed.error().detail));
    file_name_ = file.name;
    table(std::get<TomlTable>(parsed->what), options, "");
  }

  void environment(const std::string& name, const std::string& text, Binding& options) {
    std::string_view rest = name;
    if (!rest.starts_with(kEnvironmentPrefix)) return;
    rest.remove_prefix(kEnvironmentPrefix.size());
    const std::string where = fmt::format("environment variable {}", name);
    std::vector<std::string> known;
    if (!environment_field(rest, text, options, "", where, known)) unknown(where, name, known);
  }

  void flag(const std::string& flag, Binding& options) {
    const size_t equals = flag.find('=');
    const std::string path = flag.substr(0, equals);
    const std::string where = fmt::format("flag --{}", path);
    if (equals == std::string::npos) return problem(fmt::format("{}: a value is missing: --{}=value", where, path));
    flag_field(path, flag.substr(equals + 1), options, "", where);
  }

  Result<Origins> finish() {
    if (problems_.empty()) return std::move(origins_);
    std::string all;
    for (size_t i = 0; i < problems_.size() && i < kProblemsMax; ++i) all += (i ? "\n" : "") + problems_[i];
    if (problems_.size() > kProblemsMax) all += fmt::format("\nand {} more", problems_.size() - kProblemsMax);
    return Error{Code::invalid_config, std::move(all)};
  }

 private:
  void problem(std::string text) { problems_.push_back(std::move(text)); }

  void unknown(std::string_view where, std::string_view given, const std::vector<std::string>& known) {
    const std::string_view near = nearest(given, known);
    std::string text = fmt::format("{}: there is no option {}", where, given);
    if (!near.empty())
      text += fmt::format("; did you mean {}?", near);
    else if (!known.empty() && known.size() <= 12)
      text += fmt::format("; known here: {}", fmt_join(known));
    problem(std::move(text));
  }

  static std::string fmt_join(const std::vector<std::string>& items) {
    std::string text;
    for (const std::string& item : items) text += (text.empty() ? "" : ", ") + item;
    return text;
  }

  void wrong(std::string_view where, std::string_view path, std::string_view given, const Cell& cell, bool secret) {
    problem(fmt::format("{}: {} = {} is not allowed; allowed is {}", where, path, secret ? "***" : given, cell.allowed()));
  }

  static std::vector<std::string> keys_of(const Binding& table) {
    std::vector<std::string> keys;
    for (const Binding& field : table.fields) keys.push_back(field.key);
    return keys;
  }

  // A section and rows may go by one name when that is a former one of the section: what was given tells them apart.
  static Binding* find(Binding& table, std::string_view key, bool wants_section) {
    Binding* found = nullptr;
    for (Binding& field : table.fields) {
      if (field.key == key && !(found && wants_section)) found = &field;
      if (wants_section && field.facts.formerly == key) found = &field;
    }
    return found;
  }

  void table(const TomlTable& from, Binding& options, const std::string& path) {
    for (const auto& [key, node] : from) {
      const std::string at = dotted_path(path, key);
      const std::string where = fmt::format("{}:{}", file_name_, node.line);
      Binding* field = find(options, key, std::holds_alternative<TomlTable>(node.what));
      if (!field) {
        unknown(where, key, keys_of(options));
        continue;
      }
      origins_.set(at, where);
      if (field->kind == Binding::Kind::table) {
        const auto* inner = std::get_if<TomlTable>(&node.what);
        if (inner)
          table(*inner, *field, at);
        else
          problem(fmt::format("{}: {} is a section: [{}]", where, at, at));
      } else if (field->kind == Binding::Kind::rows) {
        rows(node, *field, at, where);
      } else {
        const auto* value = std::get_if<Value>(&node.what);
        if (!value)
          problem(fmt::format("{}: {} takes {}", where, at, field->cell->allowed()));
        else if (!field->cell->set(*value))
          wrong(where, at, value_to_toml(*value), *field->cell, field->facts.secret);
      }
    }
  }

  void rows(const TomlNode& node, Binding& field, const std::string& at, const std::string& where) {
    const auto* list = std::get_if<std::vector<TomlNode>>(&node.what);
    const auto* none = std::get_if<Value>(&node.what);
    if (none && std::holds_alternative<std::vector<std::string>>(*none) && std::get<std::vector<std::string>>(*none).empty()) {
      return field.rows->resize(0);
    }
    if (!list) return problem(fmt::format("{}: {} is a list of tables: [[{}]]", where, at, at));
    if (list->size() > kRowsMax) return problem(fmt::format("{}: more than {} of [[{}]]", where, kRowsMax, at));
    field.rows->resize(list->size());
    for (size_t i = 0; i < list->size(); ++i) {
      const std::string row_path = fmt::format("{}[{}]", at, i);
      origins_.set(row_path, fmt::format("{}:{}", file_name_, (*list)[i].line));
      Binding row = field.rows->row(i);
      table(std::get<TomlTable>((*list)[i].what), row, row_path);
    }
  }

  // Text of a source without types into a value.
  void text_value(Binding& field, const std::string& at, std::string_view text, const std::string& where) {
    origins_.set(at, where);
    if (!field.cell->set_text(text)) wrong(where, at, text, *field.cell, field.facts.secret);
  }

  // Grows rows to hold `index`; false (and told) when over the limit.
  bool reach(Binding& rows, size_t index, const std::string& where) {
    if (index >= kRowsMax) {
      problem(fmt::format("{}: more than {} rows", where, kRowsMax));
      return false;
    }
    if (index >= rows.rows->size()) rows.rows->resize(index + 1);
    return true;
  }

  // `rest` is what of the variable's name is left. Gathers known names for a suggestion. True when it named an option.
  bool environment_field(std::string_view rest, std::string_view text, Binding& table, const std::string& path,
                         const std::string& where, std::vector<std::string>& known) {
    for (Binding& field : table.fields) {
      const std::string at = dotted_path(path, field.key);
      std::string name = environment_name(field.key).substr(kEnvironmentPrefix.size());
      const std::string former = environment_name(field.facts.formerly).substr(kEnvironmentPrefix.size()) + '_';
      if (field.kind == Binding::Kind::value) {
        known.push_back(environment_name(at));
        if (rest != name) continue;
        text_value(field, at, text, where);
        return true;
      }
      name += '_';
      std::string_view inner = rest;
      if (!field.facts.formerly.empty() && inner.starts_with(former)) {
        name = former;
      } else if (!inner.starts_with(name)) {
        // Only for the suggestion: an option with a misspelled section.
        if (field.kind == Binding::Kind::table) collect(field, at, known);
        continue;
      }
      inner.remove_prefix(name.size());
      if (field.kind == Binding::Kind::table) {
        if (environment_field(inner, text, field, at, where, known)) return true;
        continue;
      }
      size_t index = 0;
      const auto [end, error] = std::from_chars(inner.data(), inner.data() + inner.size(), index);
      if (error != std::errc() || end == inner.data() + inner.size() || *end != '_') continue;
      if (!reach(field, index, where)) return true;
      inner.remove_prefix(static_cast<size_t>(end - inner.data()) + 1);
      Binding row = field.rows->row(index);
      if (environment_field(inner, text, row, fmt::format("{}[{}]", at, index), where, known)) return true;
    }
    return false;
  }

  static void collect(const Binding& table, const std::string& path, std::vector<std::string>& known) {
    for (const Binding& field : table.fields) {
      const std::string at = dotted_path(path, field.key);
      if (field.kind == Binding::Kind::value)
        known.push_back(environment_name(at));
      else if (field.kind == Binding::Kind::table)
        collect(field, at, known);
    }
  }

  void flag_field(std::string_view rest, std::string_view text, Binding& table, const std::string& path,
                  const std::string& where) {
    const size_t dot = rest.find('.');
    const std::string_view key = rest.substr(0, dot);
    const bool has_number =
        dot != std::string_view::npos && dot + 1 < rest.size() && rest[dot + 1] >= '0' && rest[dot + 1] <= '9';
    Binding* field = find(table, key, !has_number);
    if (!field) return unknown(where, dotted_path(path, key), known_paths(table, path));
    const std::string at = dotted_path(path, key);
    if (field->kind == Binding::Kind::value) {
      if (dot != std::string_view::npos) return problem(fmt::format("{}: {} has no parts", where, at));
      return text_value(*field, at, text, where);
    }
    if (dot == std::string_view::npos) return problem(fmt::format("{}: {} is a section: --{}.key=value", where, at, at));
    rest.remove_prefix(dot + 1);
    if (field->kind == Binding::Kind::table) return flag_field(rest, text, *field, at, where);
    size_t index = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), index);
    if (error != std::errc() || end == rest.data() + rest.size() || *end != '.') {
      return problem(fmt::format("{}: {} has rows by number: --{}.0.key=value", where, at, at));
    }
    if (!reach(*field, index, where)) return;
    rest.remove_prefix(static_cast<size_t>(end - rest.data()) + 1);
    Binding row = field->rows->row(index);
    flag_field(rest, text, row, fmt::format("{}[{}]", at, index), where);
  }

  static std::vector<std::string> known_paths(const Binding& table, const std::string& path) {
    std::vector<std::string> known;
    for (const Binding& field : table.fields) known.push_back(dotted_path(path, field.key));
    return known;
  }

  std::string file_name_;
  std::vector<std::string> problems_;
  Origins origins_;
};

}  // namespace

Result<Origins> apply(const Inputs& inputs, Binding options) {
  Applier applier;
  if (inputs.file) applier.file(*inputs.file, options);
  auto environment = inputs.environment;
  std::sort(environment.begin(), environment.end());
  for (const auto& [name, text] : environment) applier.environment(name, text, options);
  for (const std::string& flag : inputs.flags) applier.flag(flag, options);
  return applier.finish();
}

}  // namespace robustmq::config
