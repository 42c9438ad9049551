#include "base/result.h"

namespace robustmq {
namespace {

struct Row {
  std::string_view name;
  std::string_view text;
  bool retriable;
  bool outcome_unknown;
  int http_status;
};

constexpr Row kRows[] = {
#define X(name, text, retriable, outcome_unknown, http_status) {#name, text, retriable, outcome_unknown, http_status},
#include "base/codes.def"
#undef X
};

const Row& row_of(Code code) { return kRows[static_cast<size_t>(code)]; }

}  // namespace

std::string_view code_name(Code code) { return row_of(code).name; }
std::string_view code_text(Code code) { return row_of(code).text; }
bool is_retriable(Code code) { return row_of(code).retriable; }
bool is_outcome_unknown(Code code) { return row_of(code).outcome_unknown; }
int http_status_of(Code code) { return row_of(code).http_status; }

std::string Error::to_string() const {
  std::string text(code_text(code));
  if (!detail.empty()) text += ": " + detail;
  return text;
}

}  // namespace robustmq
