// Pattern: a regular expression over topic names, in RE2's syntax (KIP-848). Pure; the door of RE2.
//
// Matching takes time linear in the name. Limits: kPatternMemoryMax of a compiled expression; their number is its owner's to
// bound (GroupOptions::consumer_patterns_max).
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace re2 {
class RE2;
}

namespace robustmq::broker {

constexpr size_t kPatternMemoryMax = 1 << 20;

class Pattern {
 public:
  // Error: invalid_pattern, with RE2's reason.
  static Result<Pattern> compile(std::string_view text);

  // Of the whole name.
  bool matches(std::string_view name) const;

 private:
  explicit Pattern(std::shared_ptr<const re2::RE2> compiled) : compiled_(std::move(compiled)) {}
  std::shared_ptr<const re2::RE2> compiled_;
};

}  // namespace robustmq::broker
