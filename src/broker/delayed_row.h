// What is stored of delayed messages, and the names `$delayed/{interval}/{topic}`. Pure.
//
// Row of a message: "delayed/", big-endian tenant (4), due (8, milliseconds since 1970), number (8): DelayedRow in the wire
// codec, so rows lie in the order in which they are due. Row of a batch that is being appended: "delayed.batch/", tenant (4),
// number (8): DelayedBatchRow.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/describe.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"

namespace robustmq::broker {

constexpr std::string_view kDelayedPrefix = "$delayed/";
constexpr std::string_view kDelayedRows = "delayed/";
constexpr std::string_view kDelayedBatchRows = "delayed.batch/";
// The longest interval, and how far ahead a time may lie; a larger number is a time, in seconds since 1970.
constexpr int64_t kDelayMaxS = 42'949'669;

struct DelayedKey {
  int64_t due_ms = 0;
  uint64_t number = 0;  // unique a node
  auto operator<=>(const DelayedKey&) const = default;

  std::string row_key() const;
  static Result<DelayedKey> of_row(std::string_view row_key);
  // "18c2a5f0b7e-1f": what the API names a message by.
  std::string to_string() const;
  static Result<DelayedKey> parse(std::string_view text);
};

struct DelayedRow {
  std::string topic;
  Bytes payload;
  Bytes raw_headers;
  int32_t header_count = 0;
  uint8_t qos = 0;
  bool retain = false;
  uint32_t expiry_s = 0;
  int64_t accepted_ms = 0;
  std::string client_id;  // empty: unknown
  bool is_will = false;   // a will whose time has come: it only takes this way to be published once

  template <class V>
  static void describe(V& v) {
    using D = DelayedRow;
    v.field("topic", &D::topic);
    v.field("payload", &D::payload);
    v.field("raw_headers", &D::raw_headers);
    v.field("header_count", &D::header_count);
    v.field("qos", &D::qos);
    v.field("retain", &D::retain);
    v.field("expiry_s", &D::expiry_s);
    v.field("accepted_ms", &D::accepted_ms);
    v.field("client_id", &D::client_id);
    v.field("is_will", &D::is_will);
  }
};

struct DelayedMessage {
  DelayedKey key;
  DelayedRow row;
};

// The record that is about to be written: after a crash it is written again under the same sequence, so once.
struct DelayedBatchRow {
  Uuid topic;  // of a stream
  int32_t partition = 0;
  int64_t producer_id = -1;
  int32_t sequence = 0;
  std::vector<int64_t> due_ms;
  std::vector<uint64_t> numbers;
  std::string light;  // a light topic's MQTT name; empty: a stream's batch

  template <class V>
  static void describe(V& v) {
    using D = DelayedBatchRow;
    v.field("topic", &D::topic);
    v.field("partition", &D::partition);
    v.field("producer_id", &D::producer_id);
    v.field("sequence", &D::sequence);
    v.field("due_ms", &D::due_ms);
    v.field("numbers", &D::numbers);
    v.field("light", &D::light);
  }
};

std::string delayed_batch_key(uint64_t number);

// A name that begins with kDelayedPrefix, taken apart. invalid_topic: no interval, one too long, a time that is over or too far
// ahead, or no topic that may be published to behind it.
struct DelayedName {
  int64_t due_ms = 0;
  std::string_view topic;
};
Result<DelayedName> parse_delayed_name(std::string_view name, WallTime now);

// The headers with `mqtt.message_expiry_s` as it is after `waited_s`; `count` stays.
Bytes age_headers(ByteSpan raw_headers, int32_t count, uint32_t expiry_left_s);

}  // namespace robustmq::broker
