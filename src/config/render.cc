// The options written down: as a commented file, as a reference, as JSON, as rows. Pure.
#include <fmt/core.h>

#include <iterator>
#include <nlohmann/json.hpp>

#include "config/config.h"

namespace robustmq::config {

namespace {

constexpr std::string_view kHidden = "***";

// `text` in lines of at most 100 characters behind `lead`.
void append_prose(std::string& out, std::string_view lead, std::string_view text) {
  while (!text.empty()) {
    size_t cut = text.size();
    if (cut > 100) {
      cut = text.rfind(' ', 100);
      if (cut == std::string_view::npos) cut = std::min(text.find(' '), text.size());
    }
    fmt::format_to(std::back_inserter(out), "{}{}\n", lead, text.substr(0, cut));
    text.remove_prefix(std::min(cut + 1, text.size()));
  }
}

std::string shown(const Binding& field) {
  const Value value = field.cell->get();
  if (!field.facts.secret) return value_to_toml(value);
  const std::string* text = std::get_if<std::string>(&value);
  return text && text->empty() ? "\"\"" : fmt::format("\"{}\"", kHidden);
}

void append_values(std::string& out, const Binding& table) {
  for (const Binding& field : table.fields) {
    if (field.kind != Binding::Kind::value) continue;
    append_prose(out, "# ", field.facts.doc);
    append_prose(out, "# ", fmt::format("Allowed: {}.", field.cell->allowed()));
    fmt::format_to(std::back_inserter(out), "#{} = {}\n\n", field.key, shown(field));
  }
}

// A row of defaults, all of it prose; tables in it by dotted keys.
void append_row(std::string& out, const Binding& row, std::string_view path) {
  for (const Binding& inner : row.fields) {
    const std::string at = dotted_path(path, inner.key);
    if (inner.kind == Binding::Kind::table) append_row(out, inner, at);
    if (inner.kind != Binding::Kind::value) continue;
    append_prose(out, "#   ", fmt::format("{} Allowed: {}.", inner.facts.doc, inner.cell->allowed()));
    fmt::format_to(std::back_inserter(out), "# {} = {}\n", at, shown(inner));
  }
}

void append_file(std::string& out, Binding& table, std::string_view path) {
  append_values(out, table);
  for (Binding& field : table.fields) {
    const std::string at = dotted_path(path, field.key);
    if (field.kind == Binding::Kind::table) {
      append_prose(out, "# ", field.facts.doc);
      fmt::format_to(std::back_inserter(out), "[{}]\n", at);
      append_file(out, field, at);
    } else if (field.kind == Binding::Kind::rows) {
      append_prose(out, "# ", field.facts.doc);
      fmt::format_to(std::back_inserter(out), "# One for each:\n# [[{}]]\n", at);
      append_row(out, field.rows->blank(), "");
      out += '\n';
    }
  }
}

// Cells of a Markdown table: the bar is escaped.
std::string cell_text(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '|')
      out += "\\|";
    else
      out += c;
  }
  return out;
}

void append_markdown(std::string& out, Binding& table, std::string_view path) {
  bool has_values = false;
  for (const Binding& field : table.fields) has_values |= field.kind == Binding::Kind::value;
  if (has_values) {
    out += "| option | default | allowed | meaning |\n|---|---|---|---|\n";
    for (const Binding& field : table.fields) {
      if (field.kind != Binding::Kind::value) continue;
      fmt::format_to(std::back_inserter(out), "| `{}` | `{}` | {} | {}{} |\n", dotted_path(path, field.key),
                     cell_text(shown(field)), cell_text(field.cell->allowed()), cell_text(field.facts.doc),
                     field.facts.live ? " May change while the node runs." : "");
    }
    out += '\n';
  }
  for (Binding& field : table.fields) {
    const std::string at = dotted_path(path, field.key);
    if (field.kind == Binding::Kind::table) {
      fmt::format_to(std::back_inserter(out), "## [{}]\n\n{}\n\n", at, field.facts.doc);
      append_markdown(out, field, at);
    } else if (field.kind == Binding::Kind::rows) {
      fmt::format_to(std::back_inserter(out), "## [[{}]]\n\n{}\n\n", at, field.facts.doc);
      Binding blank = field.rows->blank();
      append_markdown(out, blank, at);
    }
  }
}

nlohmann::ordered_json json_of(Binding& table) {
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  for (Binding& field : table.fields) {
    if (field.kind == Binding::Kind::table) {
      out[field.key] = json_of(field);
    } else if (field.kind == Binding::Kind::rows) {
      auto& list = out[field.key] = nlohmann::ordered_json::array();
      for (size_t i = 0; i < field.rows->size(); ++i) {
        Binding row = field.rows->row(i);
        list.push_back(json_of(row));
      }
    } else {
      const Value value = field.cell->get();
      const std::string* text = std::get_if<std::string>(&value);
      if (field.facts.secret && !(text && text->empty()))
        out[field.key] = std::string(kHidden);
      else
        std::visit([&](const auto& v) { out[field.key] = v; }, value);
    }
  }
  return out;
}

std::string plain(const Binding& field) {
  const Value value = field.cell->get();
  if (const std::string* text = std::get_if<std::string>(&value)) {
    return field.facts.secret && !text->empty() ? std::string(kHidden) : *text;
  }
  return field.facts.secret ? std::string(kHidden) : value_to_toml(value);
}

void append_rows(std::vector<OptionRow>& out, Binding& table, Binding* defaults, const std::string& path) {
  for (size_t i = 0; i < table.fields.size(); ++i) {
    Binding& field = table.fields[i];
    Binding* other = defaults ? &defaults->fields[i] : nullptr;
    const std::string at = dotted_path(path, field.key);
    if (field.kind == Binding::Kind::table) {
      append_rows(out, field, other, at);
    } else if (field.kind == Binding::Kind::rows) {
      for (size_t r = 0; r < field.rows->size(); ++r) {
        Binding row = field.rows->row(r);
        append_rows(out, row, nullptr, fmt::format("{}[{}]", at, r));
      }
    } else {
      out.push_back({at, plain(field), other && other->cell->get() == field.cell->get()});
    }
  }
}

}  // namespace

std::string commented_file(Binding options) {
  std::string out;
  append_file(out, options, "");
  while (out.ends_with("\n\n")) out.pop_back();
  return out;
}

std::string markdown_reference(Binding options) {
  std::string out;
  append_markdown(out, options, "");
  while (out.ends_with("\n\n")) out.pop_back();
  return out;
}

std::string to_json(Binding options) {
  return json_of(options).dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::vector<OptionRow> to_rows(Binding options, Binding defaults) {
  std::vector<OptionRow> rows;
  append_rows(rows, options, &defaults, "");
  return rows;
}

}  // namespace robustmq::config
