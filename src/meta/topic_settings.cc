#include "meta/topic_settings.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <type_traits>

namespace robustmq::meta {
namespace {

// Writes a config's fields as text, and whether each differs from the default.
struct SettingsWriter {
  const TopicConfig& config;
  const TopicConfig defaults{};
  std::vector<SettingRow> out;

  static std::string text_of(bool value) { return value ? "true" : "false"; }
  static std::string text_of(Mode value) { return std::string(enum_name(value)); }
  static std::string text_of(CleanupPolicy value) { return std::string(enum_name(value)); }
  static std::string text_of(double value) {
    char text[32];
    const auto [end, error] = std::to_chars(text, text + sizeof(text), value);
    return std::string(text, end);
  }
  template <std::integral T>
  static std::string text_of(T value) {
    return std::to_string(value);
  }
  template <class T>
  void field(std::string_view name, T TopicConfig::* member, FieldFacts = {}) {
    if constexpr (std::is_same_v<T, std::vector<KeptSetting>>) {
      for (const KeptSetting& kept : config.*member) out.push_back({std::string(kKeptPrefix) + kept.name, kept.value, false});
    } else {
      out.push_back({std::string(name), text_of(config.*member), config.*member == defaults.*member});
    }
  }
};

// Elements apart by commas, in any order, with spaces around. nullopt: one is none.
std::optional<CleanupPolicy> policy_of(std::string_view list) {
  uint8_t bits = 0;
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    std::string_view element = list.substr(0, comma);
    while (element.starts_with(' ')) element.remove_prefix(1);
    while (element.ends_with(' ')) element.remove_suffix(1);
    if (element == "delete")
      bits |= static_cast<uint8_t>(CleanupPolicy::remove);
    else if (element == "compact")
      bits |= static_cast<uint8_t>(CleanupPolicy::compact);
    else if (!element.empty())
      return std::nullopt;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return static_cast<CleanupPolicy>(bits);
}

// Sets one field from text, or to its default.
struct SettingReader {
  TopicConfig& config;
  const SettingChange& change;
  const TopicConfig defaults{};
  bool found = false;
  std::string problem;

  template <class T>
  void field(std::string_view field_name, T TopicConfig::* member, FieldFacts facts = {}) {
    if constexpr (!std::is_same_v<T, std::vector<KeptSetting>>) {
      if (field_name != change.name) return;
      found = true;
      if (change.how == SettingChange::How::reset) {
        config.*member = defaults.*member;
      } else if constexpr (std::is_same_v<T, CleanupPolicy>) {
        change_policy(config.*member);
      } else if (change.how != SettingChange::How::set) {
        problem = "is no list";
      } else {
        set(config.*member, facts);
      }
    }
  }
  void change_policy(CleanupPolicy& policy) {
    const std::optional<CleanupPolicy> given = policy_of(change.value);
    if (!given) {
      problem = "must be a list of delete and compact";
      return;
    }
    const auto bits = static_cast<uint8_t>(*given);
    const auto before = static_cast<uint8_t>(policy);
    policy = *given;
    if (change.how == SettingChange::How::append) policy = static_cast<CleanupPolicy>(before | bits);
    if (change.how == SettingChange::How::subtract) policy = static_cast<CleanupPolicy>(before & ~bits);
  }
  template <class T>
  void set(T& member, const FieldFacts& facts) {
    const std::string& text = change.value;
    if constexpr (std::is_same_v<T, bool>) {
      if (text == "true" || text == "false")
        member = text == "true";
      else
        problem = "must be true or false";
    } else if constexpr (std::is_enum_v<T>) {
      if (!enum_from_name(text, member)) problem = "must be one of none, memory, hybrid, persistent";
    } else {
      T value{};
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
      if (error != std::errc{} || end != text.data() + text.size())
        problem = std::is_integral_v<T> ? "must be a whole number" : "must be a number";
      else if (!(static_cast<double>(value) <= facts.max))
        problem = "is above the largest value allowed";
      else if (static_cast<double>(value) < facts.min)
        problem = "is below the smallest value allowed, " + std::to_string(static_cast<int64_t>(facts.min));
      else
        member = value;
    }
  }
};

std::vector<std::string_view> elements_of(std::string_view list) {
  std::vector<std::string_view> elements;
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    if (comma > 0) elements.push_back(list.substr(0, comma));
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return elements;
}

std::string joined(const std::vector<std::string_view>& elements) {
  std::string list;
  for (std::string_view element : elements) {
    if (!list.empty()) list += ',';
    list += element;
  }
  return list;
}

Status apply_kept(std::vector<KeptSetting>& kept, const SettingChange& change) {
  const std::string name = change.name.substr(kKeptPrefix.size());
  auto at = std::lower_bound(kept.begin(), kept.end(), name,
                             [](const KeptSetting& one, const std::string& asked) { return one.name < asked; });
  const bool is_there = at != kept.end() && at->name == name;
  std::string value = change.value;
  if (change.how == SettingChange::How::append || change.how == SettingChange::How::subtract) {
    const std::string before = is_there ? at->value : "";
    std::vector<std::string_view> elements = elements_of(before);
    for (std::string_view element : elements_of(change.value)) {
      const auto found = std::find(elements.begin(), elements.end(), element);
      if (change.how == SettingChange::How::append && found == elements.end()) elements.push_back(element);
      if (change.how == SettingChange::How::subtract && found != elements.end()) elements.erase(found);
    }
    value = joined(elements);
  }
  if (change.how == SettingChange::How::reset) {
    if (is_there) kept.erase(at);
    return {};
  }
  if (is_there)
    at->value = std::move(value);
  else
    kept.insert(at, {name, std::move(value)});
  size_t bytes = 0;
  for (const KeptSetting& one : kept) bytes += one.name.size() + one.value.size();
  if (kept.size() > kKeptSettingsMax || bytes > kKeptBytesMax)
    return Error{Code::invalid_config, "too many settings without effect, or too long ones"};
  return {};
}

}  // namespace

Status apply_settings(TopicConfig& config, const std::vector<SettingChange>& changes) {
  for (const SettingChange& change : changes) {
    if (change.name.starts_with(kKeptPrefix)) {
      if (Status status = apply_kept(config.kept, change); !status.ok()) return status;
      continue;
    }
    SettingReader reader{.config = config, .change = change, .problem = {}};
    TopicConfig::describe(reader);
    if (!reader.found) return Error{Code::invalid_config, "no topic setting is named " + change.name};
    if (!reader.problem.empty()) return Error{Code::invalid_config, change.name + " " + reader.problem};
  }
  return {};
}

std::vector<SettingRow> settings_of(const TopicConfig& config) {
  SettingsWriter writer{config, {}, {}};
  TopicConfig::describe(writer);
  return std::move(writer.out);
}

}  // namespace robustmq::meta
