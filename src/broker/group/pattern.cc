#include "broker/group/pattern.h"

#include <re2/re2.h>

namespace robustmq::broker {

Result<Pattern> Pattern::compile(std::string_view text) {
  re2::RE2::Options options(re2::RE2::Quiet);
  options.set_max_mem(static_cast<int64_t>(kPatternMemoryMax));
  auto compiled = std::make_shared<const re2::RE2>(re2::StringPiece(text.data(), text.size()), options);
  if (!compiled->ok()) return Error{Code::invalid_pattern, compiled->error()};
  return Pattern(std::move(compiled));
}

bool Pattern::matches(std::string_view name) const {
  return re2::RE2::FullMatch(re2::StringPiece(name.data(), name.size()), *compiled_);
}

}  // namespace robustmq::broker
