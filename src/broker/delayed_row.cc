#include "broker/delayed_row.h"

#include <charconv>

#include "base/batch.h"
#include "base/topic_names.h"
#include "storage/row_key.h"

namespace robustmq::broker {
namespace {

constexpr size_t kKeyBytes = kDelayedRows.size() + 4 + 8 + 8;

using storage::big_endian;
using storage::put_big_endian;
template <class T>
bool parse_number(std::string_view text, int base, T& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, base);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}
std::string hex(uint64_t value) {
  char text[17];
  const auto [end, error] = std::to_chars(text, text + sizeof text, value, 16);
  (void)error;  // 16 digits always fit
  return {text, end};
}

}  // namespace

std::string DelayedKey::row_key() const {
  std::string key(kDelayedRows);
  put_big_endian(kDefaultTenant, 4, key);
  put_big_endian(static_cast<uint64_t>(due_ms), 8, key);
  put_big_endian(number, 8, key);
  return key;
}

Result<DelayedKey> DelayedKey::of_row(std::string_view row_key) {
  if (row_key.size() != kKeyBytes || !row_key.starts_with(kDelayedRows))
    return Error{Code::malformed, "not the key of a delayed message"};
  return DelayedKey{static_cast<int64_t>(big_endian(row_key.substr(kKeyBytes - 16, 8))),
                    big_endian(row_key.substr(kKeyBytes - 8))};
}

std::string DelayedKey::to_string() const { return hex(static_cast<uint64_t>(due_ms)) + "-" + hex(number); }

Result<DelayedKey> DelayedKey::parse(std::string_view text) {
  const size_t dash = text.find('-');
  DelayedKey key;
  if (dash == std::string_view::npos || !parse_number(text.substr(0, dash), 16, key.due_ms) ||
      !parse_number(text.substr(dash + 1), 16, key.number))
    return Error{Code::invalid_argument, "not the id of a delayed message"};
  return key;
}

std::string delayed_batch_key(uint64_t number) {
  std::string key(kDelayedBatchRows);
  put_big_endian(kDefaultTenant, 4, key);
  put_big_endian(number, 8, key);
  return key;
}

Result<DelayedName> parse_delayed_name(std::string_view name, WallTime now) {
  const std::string_view rest = name.substr(kDelayedPrefix.size());
  const size_t slash = rest.find('/');
  const Error invalid{Code::invalid_topic, "a delayed message's topic is $delayed/{seconds or time}/{topic}"};
  if (slash == std::string_view::npos) return invalid;
  int64_t number = 0;
  if (!parse_number(rest.substr(0, slash), 10, number) || number < 0) return invalid;
  DelayedName out;
  out.topic = rest.substr(slash + 1);
  if (!is_valid_topic_name(out.topic) || out.topic[0] == '$') return invalid;
  if (number <= kDelayMaxS) {
    out.due_ms = now.ms + number * 1000;
    return out;
  }
  const int64_t ahead_s = number - now.ms / 1000;
  if (ahead_s < 0 || ahead_s > kDelayMaxS) return invalid;
  out.due_ms = number * 1000;
  return out;
}

Bytes age_headers(ByteSpan raw_headers, int32_t count, uint32_t expiry_left_s) {
  RecordView record;
  record.raw_headers = raw_headers;
  record.header_count = count;
  HeaderReader headers(record);
  HeaderView header;
  Buffer out;
  const std::string left = std::to_string(expiry_left_s);
  while (headers.next(header)) {
    const bool is_expiry = header.key == "mqtt.message_expiry_s";
    BatchBuilder::append_header(out, header.key, is_expiry ? std::optional(as_bytes(left)) : header.value);
  }
  return out.take();
}

}  // namespace robustmq::broker
