#include "observe/log.h"

#include <fmt/core.h>

#include <iterator>

namespace robustmq::observe {

namespace {

bool is_plain(std::string_view text) {
  if (text.empty()) return false;
  for (unsigned char c : text) {
    if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c == 0x7f) return false;
  }
  return true;
}

void append_text(std::string& line, std::string_view text) {
  const bool cut = text.size() > Log::kValueBytesMax;
  if (cut) text = text.substr(0, Log::kValueBytesMax);
  if (is_plain(text)) {
    line += text;
  } else {
    line += '"';
    for (unsigned char c : text) {
      if (c == '"' || c == '\\') {
        line += '\\';
        line += static_cast<char>(c);
      } else if (c == '\n') {
        line += "\\n";
      } else if (c < ' ' || c == 0x7f) {
        fmt::format_to(std::back_inserter(line), "\\x{:02x}", c);
      } else {
        line += static_cast<char>(c);
      }
    }
    line += '"';
  }
  if (cut) line += "...";
}

}  // namespace

void LogValue::append_to(std::string& line) const {
  switch (kind_) {
    case Kind::text:
      append_text(line, text_);
      return;
    case Kind::signed_number:
      fmt::format_to(std::back_inserter(line), "{}", signed_);
      return;
    case Kind::unsigned_number:
      fmt::format_to(std::back_inserter(line), "{}", unsigned_);
      return;
    case Kind::real:
      fmt::format_to(std::back_inserter(line), "{:g}", real_);
      return;
    case Kind::truth:
      line += signed_ ? "true" : "false";
      return;
  }
}

void append_utc(std::string& to, WallTime time) {
  // Days to a date, after Howard Hinnant's civil_from_days: exact for every day of the proleptic Gregorian calendar.
  int64_t days = time.ms / 86'400'000;
  int64_t ms = time.ms % 86'400'000;
  if (ms < 0) {
    ms += 86'400'000;
    --days;
  }
  days += 719'468;
  const int64_t era = (days >= 0 ? days : days - 146'096) / 146'097;
  const int64_t day_of_era = days - era * 146'097;
  const int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t month_from_march = (5 * day_of_year + 2) / 153;
  const int64_t day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
  const int64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
  const int64_t year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);
  fmt::format_to(std::back_inserter(to), "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", year, month, day, ms / 3'600'000,
                 ms / 60'000 % 60, ms / 1000 % 60, ms % 1000);
}

void Log::write(Level level, std::string_view event, LogFields fields) {
  if (!is_on(level)) return;
  const WallTime now = sink_.now();
  auto it = repeats_.find(event);
  if (it == repeats_.end()) it = repeats_.emplace(std::string(event), Repeats{now.ms, 0, 0}).first;
  Repeats& repeats = it->second;
  // A clock that was set back opens a new window as well.
  if (now.ms - repeats.window_start_ms >= kWindowMs || now.ms < repeats.window_start_ms) {
    repeats.window_start_ms = now.ms;
    repeats.lines = 0;
  }
  if (repeats.lines >= kLinesPerWindow) {
    ++repeats.suppressed;
    ++suppressed_total_;
    return;
  }
  ++repeats.lines;
  line_.clear();
  append_utc(line_, now);
  line_ += ' ';
  line_ += enum_name(level);
  line_ += ' ';
  line_ += event;
  for (const LogField& field : fields) {
    line_ += ' ';
    line_ += field.key;
    line_ += '=';
    field.value.append_to(line_);
  }
  if (repeats.suppressed > 0) {
    fmt::format_to(std::back_inserter(line_), " suppressed={}", repeats.suppressed);
    repeats.suppressed = 0;
  }
  line_ += '\n';
  sink_.write(level, line_);
}

}  // namespace robustmq::observe
