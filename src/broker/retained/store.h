// RetainedStore: the retained messages of one core's topics, in memory. Pure.
//
// Messages lie in a tree by topic levels. A filter without `+` finds exactly what it matches there. A filter with `+` is walked
// in an index of its shape, where it has one: a second tree of the same messages whose topics are reordered, the levels that are
// literal in the filter first, those under `+` behind them; so `a/+/c` is the beginning `a/c` and finds exactly what it
// matches. A shape is: which levels are `+`, how many levels, `#` or not. An index is made where a level has many names, or
// when a lookup visited much and found little; it is filled in pieces (build_some) and kept current. The least recently used
// one gives way to a lookup's. So a lookup costs time for what matches, not for what does not, but for the first of its shape.
//
// Invariants: 1. at most one message a topic; 2. count and bytes as in the metrics, never above the limits by set(); 3. an index
// that is ready names exactly the messages of its shape. Limits: RetainedLimits.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/batch.h"
#include "base/bytes.h"
#include "base/callback.h"
#include "base/result.h"
#include "base/time.h"
#include "broker/retained/level_tree.h"
#include "broker/retained/options.h"

namespace robustmq::broker {

struct RetainedMessage {
  Bytes body;  // the record's headers, then the payload
  uint32_t header_bytes = 0;
  int32_t header_count = 0;
  int64_t timestamp_ms = 0;  // of its arrival
  uint32_t expiry_s = 0;     // after that; 0: never
  uint64_t publisher = 0;    // hash of the client id, for No Local; 0: nobody's

  static RetainedMessage make(ByteSpan payload, ByteSpan raw_headers, int32_t header_count);
  ByteSpan payload() const { return body.span().subspan(header_bytes); }
  ByteSpan raw_headers() const { return body.span().first(header_bytes); }
  // Views into `body`.
  RecordView record() const;
  // INT64_MAX: never.
  int64_t expires_at_ms() const { return expiry_s == 0 ? INT64_MAX : timestamp_ms + int64_t{expiry_s} * 1000; }
};

// This core's share of the options' limits.
struct RetainedLimits {
  int64_t messages_max = 0;
  int64_t bytes_max = 0;
  static RetainedLimits share_of(const RetainedOptions& options, size_t cores);
};

class RetainedStore {
 public:
  // What one read may cost.
  struct Pace {
    size_t visits = 2'000;
    size_t messages = 64;
    size_t bytes = 64 << 10;  // the last message may lie across
  };
  using Use = Callback<void(const std::string& topic, const RetainedMessage&)>;

  RetainedStore(const RetainedOptions& options, RetainedLimits limits, RetainedMetrics& metrics);

  // Sets or replaces. quota_exceeded: one more, or larger, than the limits; nothing changed.
  Status set(std::string_view topic, RetainedMessage message);
  // The same without limits: what was accepted before.
  void put(std::string_view topic, RetainedMessage message);
  // False: there is none.
  bool clear(std::string_view topic);
  const RetainedMessage* find(std::string_view topic);

  // What a valid filter matches and is not expired, behind `at`, in an order that stays while the position is used. True when
  // there is no more; otherwise call again. Each call ends by `pace`.
  bool read(std::string_view filter, WalkPosition& at, Pace pace, WallTime now, Use use);

  // INT64_MAX: none expires.
  int64_t next_expiry_ms() const { return by_expiry_.empty() ? INT64_MAX : by_expiry_.begin()->first.first; }
  // Clears at most `count` expired ones; calls use for each before it goes.
  void expire(WallTime now, size_t count, Use use);

  // Goes on filling indexes, visiting at most `visits` nodes. False: nothing is left to fill.
  bool build_some(size_t visits);
  bool is_building() const;
  size_t index_count() const { return indexes_.size(); }

 private:
  struct Entry {
    std::string topic;
    RetainedMessage message;
    uint64_t number = 0;  // unique a store: orders those that expire together
    size_t bytes() const { return topic.size() + message.body.size(); }
  };
  using EntryPtr = std::unique_ptr<Entry>;
  struct Shape {
    uint32_t plus = 0;    // bit i: level i is `+`
    uint32_t levels = 0;  // without the `#`
    bool has_hash = false;
    bool operator==(const Shape&) const = default;
  };
  struct Index {
    Shape shape;
    LevelTree<Entry*> tree;
    bool is_ready = false;
    WalkPosition filled;  // of the walk through the messages
    uint64_t used_at = 0;
  };
  static constexpr size_t kShapeLevelsMax = 32;

  static std::optional<Shape> shape_of(const Levels& filter);
  static bool covers(const Shape& shape, const Levels& topic);
  static Levels reorder(const Shape& shape, const Levels& levels);
  Index* index_of(const Shape& shape);
  void want_index(const Shape& shape, bool may_replace);
  void add_to_indexes(const Levels& topic, Entry& entry);
  void remove_entry(const Levels& topic, Entry& entry);
  bool fill(Index& index, size_t& visits);

  const RetainedOptions& options_;
  RetainedLimits limits_;
  RetainedMetrics& metrics_;
  LevelTree<EntryPtr> tree_;
  std::vector<std::unique_ptr<Index>> indexes_;
  std::map<std::pair<int64_t, uint64_t>, Entry*> by_expiry_;
  int64_t messages_ = 0;
  int64_t bytes_ = 0;
  uint64_t last_number_ = 0;
  uint64_t reads_ = 0;
};

}  // namespace robustmq::broker
