// Result<T>: a value or an Error with a code of the one table (codes.def). Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "base/check.h"

namespace robustmq {

enum class Code : uint16_t {
#define X(name, text, retriable, outcome_unknown, http_status) name,
#include "base/codes.def"
#undef X
};

std::string_view code_name(Code code);  // "unknown_topic"
std::string_view code_text(Code code);  // "the topic or partition does not exist"
bool is_retriable(Code code);           // the same request may succeed later
bool is_outcome_unknown(Code code);     // it may or may not have taken effect
int http_status_of(Code code);

struct Error {
  Code code = Code::internal;
  std::string detail;  // for people: which name, which limit; may be empty

  std::string to_string() const;
};

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: a value is a result
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: an error is a result
  Result(Code code) : state_(std::in_place_index<1>, Error{code, {}}) {}     // NOLINT

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& value() {
    ROBUSTMQ_CHECK(ok(), "value() of an error");
    return std::get<0>(state_);
  }
  const T& value() const {
    ROBUSTMQ_CHECK(ok(), "value() of an error");
    return std::get<0>(state_);
  }
  T& operator*() { return value(); }
  const T& operator*() const { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  T take() { return std::move(value()); }
  const Error& error() const {
    ROBUSTMQ_CHECK(!ok(), "error() of a value");
    return std::get<1>(state_);
  }
  Code code() const { return ok() ? Code::ok : std::get<1>(state_).code; }

 private:
  std::variant<T, Error> state_;
};

// The result of what gives nothing back.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code) { error_.code = code; }          // NOLINT
  Status(Error error) : error_(std::move(error)) {}  // NOLINT

  bool ok() const { return error_.code == Code::ok; }
  explicit operator bool() const { return ok(); }
  Code code() const { return error_.code; }
  const Error& error() const { return error_; }

 private:
  Error error_{Code::ok, {}};
};

}  // namespace robustmq
