// Binding: a described struct seen as a tree of options: names, docs, limits, and doors to read and write each value. This is
// all the rest of the room works on, so nothing here knows an option. Pure.
//
// A struct's described members become fields: a described struct is a table, a std::vector of described structs an array of
// tables ([[name]] in TOML), everything else a value: bool, integers, double, std::string, enums with names, and std::vector of
// std::string.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "base/describe.h"

namespace robustmq::config {

// A value as the sources spell it.
using Value = std::variant<bool, int64_t, double, std::string, std::vector<std::string>>;

// TOML's spelling of a value.
std::string value_to_toml(const Value& value);

// A key inside the table at `path`, which is empty at the top.
std::string dotted_path(std::string_view path, std::string_view key);

// One value of an options struct. Refers into the struct, which outlives it.
class Cell {
 public:
  virtual ~Cell() = default;
  virtual Value get() const = 0;
  // False when the value is of the wrong type or not allowed; nothing is changed then.
  virtual bool set(const Value& value) = 0;
  // From text of a source without types.
  virtual bool set_text(std::string_view text) = 0;
  // "an integer from 1 to 65535", "one of none, memory, persistent".
  virtual std::string allowed() const = 0;
  virtual std::string_view type() const = 0;  // "integer", "text", ...
};

struct Binding {
  enum class Kind : uint8_t { value, table, rows };
  // An array of tables.
  class Rows {
   public:
    virtual ~Rows() = default;
    virtual size_t size() const = 0;
    virtual Binding row(size_t index) = 0;  // the caller ensures index < size()
    virtual void resize(size_t size) = 0;   // invalidates bindings of rows
    virtual Binding blank() = 0;            // a row of defaults that belongs to nothing
  };

  std::string key;
  FieldFacts facts;
  Kind kind = Kind::value;
  std::unique_ptr<Cell> cell;       // value
  std::vector<Binding> fields;      // table, in the order described
  std::unique_ptr<Rows> rows;       // rows
  std::shared_ptr<void> keepalive;  // of a blank row
};

namespace detail {

std::optional<bool> bool_of_text(std::string_view text);
std::optional<int64_t> integer_of_text(std::string_view text);  // digits, '_' between them allowed
std::optional<double> real_of_text(std::string_view text);
std::vector<std::string> list_of_text(std::string_view text);  // by commas, spaces around left out
std::string integer_range(double least, double most, std::string_view unit);
std::string real_range(double least, double most, std::string_view unit);

template <class T>
class CellOf final : public Cell {
 public:
  CellOf(T& at, const FieldFacts& facts) : at_(at), facts_(facts) {}

  Value get() const override {
    if constexpr (std::is_same_v<T, bool>)
      return at_;
    else if constexpr (NamedEnum<T>)
      return std::string(enum_name(at_));
    else if constexpr (std::is_integral_v<T>)
      return static_cast<int64_t>(at_);
    else
      return at_;
  }

  bool set(const Value& value) override {
    if constexpr (std::is_same_v<T, bool>) {
      const bool* given = std::get_if<bool>(&value);
      if (!given) return false;
      at_ = *given;
      return true;
    } else if constexpr (NamedEnum<T>) {
      const std::string* given = std::get_if<std::string>(&value);
      return given && enum_from_name(*given, at_);
    } else if constexpr (std::is_integral_v<T>) {
      const int64_t* given = std::get_if<int64_t>(&value);
      if (!given || !std::in_range<T>(*given) || !is_within(static_cast<double>(*given))) return false;
      at_ = static_cast<T>(*given);
      return true;
    } else if constexpr (std::is_same_v<T, double>) {
      const double* real = std::get_if<double>(&value);
      const int64_t* whole = std::get_if<int64_t>(&value);
      if (!real && !whole) return false;
      const double given = real ? *real : static_cast<double>(*whole);
      if (!std::isfinite(given) || !is_within(given)) return false;
      at_ = given;
      return true;
    } else {
      const T* given = std::get_if<T>(&value);
      if (!given) return false;
      at_ = *given;
      return true;
    }
  }

  bool set_text(std::string_view text) override {
    if constexpr (std::is_same_v<T, bool>) {
      const std::optional<bool> given = bool_of_text(text);
      return given && set(*given);
    } else if constexpr (std::is_integral_v<T>) {
      const std::optional<int64_t> given = integer_of_text(text);
      return given && set(*given);
    } else if constexpr (std::is_same_v<T, double>) {
      const std::optional<double> given = real_of_text(text);
      return given && set(*given);
    } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
      return set(list_of_text(text));
    } else {
      return set(std::string(text));
    }
  }

  std::string allowed() const override {
    if constexpr (std::is_same_v<T, bool>) {
      return "true or false";
    } else if constexpr (NamedEnum<T>) {
      std::string names = "one of ";
      bool first = true;
      for (const auto& [value, name] : EnumNames<T>::values) {
        if (!first) names += ", ";
        first = false;
        names += name;
      }
      return names;
    } else if constexpr (std::is_integral_v<T>) {
      return integer_range(std::max(facts_.min, static_cast<double>(std::numeric_limits<T>::min())),
                           std::min(facts_.max, static_cast<double>(std::numeric_limits<T>::max())), facts_.unit);
    } else if constexpr (std::is_same_v<T, double>) {
      return real_range(facts_.min, facts_.max, facts_.unit);
    } else if constexpr (std::is_same_v<T, std::string>) {
      return "text";
    } else {
      return "a list of texts";
    }
  }

  std::string_view type() const override {
    if constexpr (std::is_same_v<T, bool>)
      return "true or false";
    else if constexpr (NamedEnum<T>)
      return "name";
    else if constexpr (std::is_integral_v<T>)
      return "integer";
    else if constexpr (std::is_same_v<T, double>)
      return "number";
    else if constexpr (std::is_same_v<T, std::string>)
      return "text";
    else
      return "list of texts";
  }

 private:
  static_assert(std::is_same_v<T, bool> || NamedEnum<T> || std::is_integral_v<T> || std::is_same_v<T, double> ||
                    std::is_same_v<T, std::string> || std::is_same_v<T, std::vector<std::string>>,
                "an option has no reader for this type");
  bool is_within(double given) const { return given >= facts_.min && given <= facts_.max; }

  T& at_;
  FieldFacts facts_;
};

template <class T>
struct RowType {};
template <Described T>
struct RowType<std::vector<T>> {
  using type = T;
};

}  // namespace detail

template <Described T>
Binding bind(T& options, std::string key = {}, FieldFacts facts = {});

namespace detail {

template <Described T>
class RowsOf final : public Binding::Rows {
 public:
  explicit RowsOf(std::vector<T>& at) : at_(at) {}
  size_t size() const override { return at_.size(); }
  Binding row(size_t index) override { return bind(at_[index]); }
  void resize(size_t size) override { at_.resize(size); }
  Binding blank() override {
    auto owned = std::make_shared<T>();
    Binding binding = bind(*owned);
    binding.keepalive = owned;
    return binding;
  }

 private:
  std::vector<T>& at_;
};

template <class Owner>
struct BindVisitor {
  Owner& owner;
  std::vector<Binding>& to;

  // A section may add to an options struct by deriving from it and describing both.
  template <class T, class Part>
    requires std::is_base_of_v<Part, Owner>
  void field(std::string_view name, T Part::* member, FieldFacts facts = {}) {
    T& at = owner.*member;
    if constexpr (Described<T>) {
      to.push_back(bind(at, std::string(name), facts));
    } else if constexpr (requires { typename RowType<T>::type; }) {
      Binding binding;
      binding.key = name;
      binding.facts = facts;
      binding.kind = Binding::Kind::rows;
      binding.rows = std::make_unique<RowsOf<typename RowType<T>::type>>(at);
      to.push_back(std::move(binding));
    } else {
      Binding binding;
      binding.key = name;
      binding.facts = facts;
      binding.cell = std::make_unique<CellOf<T>>(at, facts);
      to.push_back(std::move(binding));
    }
  }
};

}  // namespace detail

// The tree of `options`, which outlives it.
template <Described T>
Binding bind(T& options, std::string key, FieldFacts facts) {
  Binding binding;
  binding.key = std::move(key);
  binding.facts = facts;
  binding.kind = Binding::Kind::table;
  detail::BindVisitor<T> visitor{options, binding.fields};
  T::describe(visitor);
  return binding;
}

}  // namespace robustmq::config
