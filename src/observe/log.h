// Log: the node's structured log. An event is a fixed lower-case name and key-values; one event is one line of text:
//   2026-11-21T21:30:15.123Z info listener_opened at=127.0.0.1:1883 core=0
// Values with spaces, quotes, '=' or control characters are quoted ("a b") and escaped, so a line never breaks.
//
// Levels: error = someone must act; warn = something was refused or lost and is counted; info = starts, stops, changes, never
// per message; debug = off unless asked for. Secrets are the caller's to leave out.
//
// One Log a core, owned by the node and used on that core only, so nothing locks. The clock and the way out are a LogSink given
// by the server. Repeats are limited: of one event name at most kLinesPerWindow lines come in a window of kWindowMs; the rest is
// counted and told as `suppressed=n` on the name's next line. Pure.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/describe.h"
#include "base/result.h"
#include "base/time.h"

namespace robustmq::observe {

enum class Level : uint8_t { debug, info, warn, error };

}  // namespace robustmq::observe

template <>
struct robustmq::EnumNames<robustmq::observe::Level> {
  using L = robustmq::observe::Level;
  static constexpr std::pair<L, std::string_view> values[] = {
      {L::debug, "debug"}, {L::info, "info"}, {L::warn, "warn"}, {L::error, "error"}};
};

namespace robustmq::observe {

// Where lines go and what time it is. Given by the server; used on the log's core.
class LogSink {
 public:
  virtual ~LogSink() = default;
  virtual WallTime now() = 0;
  // `line` ends with a newline.
  virtual void write(Level level, std::string_view line) = 0;
};

// A value of a key: text, a number or a truth value. Views text, so it lives within the call only.
class LogValue {
 public:
  LogValue(std::string_view text) : kind_(Kind::text), text_(text) {}    // NOLINT: any value is a log value
  LogValue(const char* text) : kind_(Kind::text), text_(text) {}         // NOLINT
  LogValue(const std::string& text) : kind_(Kind::text), text_(text) {}  // NOLINT
  LogValue(bool value) : kind_(Kind::truth), signed_(value) {}           // NOLINT
  LogValue(double value) : kind_(Kind::real), real_(value) {}            // NOLINT
  LogValue(Code code) : kind_(Kind::text), text_(code_name(code)) {}     // NOLINT
  template <class T>
    requires(std::is_integral_v<T> && !std::is_same_v<T, bool>)
  LogValue(T value)  // NOLINT
      : kind_(std::is_signed_v<T> ? Kind::signed_number : Kind::unsigned_number) {
    if constexpr (std::is_signed_v<T>)
      signed_ = value;
    else
      unsigned_ = value;
  }

  void append_to(std::string& line) const;

 private:
  enum class Kind : uint8_t { text, signed_number, unsigned_number, real, truth };
  Kind kind_;
  std::string_view text_;
  int64_t signed_ = 0;
  uint64_t unsigned_ = 0;
  double real_ = 0;
};

struct LogField {
  std::string_view key;
  LogValue value;
};
using LogFields = std::initializer_list<LogField>;

class Log {
 public:
  static constexpr uint32_t kLinesPerWindow = 20;
  static constexpr int64_t kWindowMs = 10'000;
  static constexpr size_t kValueBytesMax = 1024;  // longer text values are cut and end in "..."

  explicit Log(LogSink& sink, Level least = Level::info) : sink_(sink), least_(least) {}
  Log(const Log&) = delete;

  // `event` is a literal: "listener_opened". Usage: log.info("listener_opened", {{"at", endpoint}, {"core", index}});
  void debug(std::string_view event, LogFields fields = {}) { write(Level::debug, event, fields); }
  void info(std::string_view event, LogFields fields = {}) { write(Level::info, event, fields); }
  void warn(std::string_view event, LogFields fields = {}) { write(Level::warn, event, fields); }
  void error(std::string_view event, LogFields fields = {}) { write(Level::error, event, fields); }
  bool is_on(Level level) const { return level >= least_; }
  void set_level(Level least) { least_ = least; }

  uint64_t suppressed_total() const { return suppressed_total_; }

 private:
  struct Repeats {
    int64_t window_start_ms = 0;
    uint32_t lines = 0;
    uint64_t suppressed = 0;
  };

  void write(Level level, std::string_view event, LogFields fields);

  LogSink& sink_;
  Level least_;
  std::map<std::string, Repeats, std::less<>> repeats_;  // by event name: as many as the code has names
  std::string line_;
  uint64_t suppressed_total_ = 0;
};

// "2026-11-21T21:30:15.123Z", appended.
void append_utc(std::string& to, WallTime time);

}  // namespace robustmq::observe
