// Owed: who waits for which messages of one source (ADR 0007). Pure.
//
// At each distinct filter of the stored sessions lie the offsets of the source's messages that match it (Runs), once, however
// many sessions have the filter; a reader is a session's place in the source. So a message costs an entry a filter that matches
// it, not an entry a session. What a reader is owed follows: from its position on, every offset of any of its filters that is not
// older than the subscription.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "broker/filter_trie.h"

namespace robustmq::broker {

// Ascending offsets with their sizes; neighbours share an entry. Counts and bytes from an offset on are found in the logarithm of
// the entries (bytes inside one entry by its average).
class Runs {
 public:
  // `offset`: larger than any before.
  void add(Offset offset, uint64_t bytes);
  // The first one at or past `from`.
  std::optional<Offset> next(Offset from) const;
  uint64_t count_from(Offset from) const;
  uint64_t bytes_from(Offset from) const;
  // Those of `older` lie below all that are here.
  void put_in_front(const Runs& older);
  // Forgets what lies below, as far as whole entries do.
  void trim(Offset below);
  size_t entry_count() const { return runs_.size() - gone_; }

 private:
  struct Run {
    Offset first = 0;
    uint64_t length = 0;
    uint64_t count_before = 0;
    uint64_t bytes_before = 0;
  };
  // The first run that ends at or past `from`.
  std::vector<Run>::const_iterator find(Offset from) const;
  std::vector<Run> runs_;
  size_t gone_ = 0;  // of runs_, at its front
  uint64_t count_ = 0;
  uint64_t bytes_ = 0;
};

struct OwedReader;

// Where references into the shards of streams begin: for each shard some of the pairs (offset in the source, offset in the
// shard). The first one of a shard lies at or below everything that trim() left.
class RefMarks {
 public:
  static constexpr Offset kEvery = 64;  // offsets of the source between two marks of a shard
  // `at`: not below any before.
  void add(const ShardId& shard, Offset at, Offset in_shard);
  // The references of `older` lie below all that are here.
  void put_in_front(const RefMarks& older);
  // Nothing below is wanted.
  void trim(Offset below);
  bool empty() const { return shards_.empty(); }
  // Calls `use(shard, the lowest offset in it)`.
  template <class Use>
  void for_each(Use&& use) const {
    for (const auto& [shard, marks] : shards_) use(shard, marks.marks.front().in_shard);
  }

 private:
  struct Mark {
    Offset at = 0;
    Offset in_shard = 0;  // of no reference at or past `at` it is lower
  };
  struct Marks {
    std::vector<Mark> marks;
    Offset last = 0;  // where the last reference lies
  };
  std::map<ShardId, Marks> shards_;
};

// A distinct filter. Shared with messages that are on their way to the disk.
struct OwedFilter {
  std::string filter;
  Runs runs;
  uint32_t readers = 0;
  uint32_t visit = 0;                  // of Owed::for_each_filter
  Offset floor = 0;                    // as Owed::floor() found it: nobody is owed anything of this filter below it
  std::unique_ptr<RefMarks> refs;      // nullptr: none
  std::vector<OwedReader*> connected;  // those of `readers` whose session is connected
};
using OwedFilters = std::vector<std::shared_ptr<OwedFilter>>;

// What a session may keep waiting; what goes over it.
struct OwedBounds {
  uint64_t messages_max = UINT64_MAX;
  uint64_t bytes_max = UINT64_MAX;
};

// A session's place in one source. What is behind the bounds is its owner's.
struct OwedReader {
  struct Subscription {
    std::shared_ptr<OwedFilter> filter;
    Offset since = 0;
  };
  std::string client_id;
  std::vector<Subscription> subscriptions;
  Offset position = 0;    // all below it is settled
  Offset cursor = 0;      // what lies below it was handed over, or settled
  Offset skip_below = 0;  // dropped, because newer messages came when the session was full
  // Left out, because it came when the session was full; ascending, apart from each other.
  struct Gap {
    Offset from = 0;
    Offset to = 0;
  };
  std::vector<Gap> gaps;

  bool is_connected = false;
  bool is_reading = false;
  bool is_noted = false;
  bool has_no_local = false;
  bool was_told = false;  // that it is over its limit
  CoreIndex home = 0;
  uint32_t credit = 0;
  uint64_t connection = 0;     // which of the session's connections
  uint64_t connection_id = 0;  // Context::connection_id
};

class Owed {
 public:
  OwedReader* find(std::string_view client_id);
  OwedReader& reader(std::string_view client_id);  // made when missing
  void forget(std::string_view client_id);
  // The reader's subscription; one that is there stays as it is. False: it was there.
  bool enroll(OwedReader& reader, std::string_view filter, Offset since);
  void withdraw(OwedReader& reader, std::string_view filter);
  // In and out of its filters' lists of the connected.
  void set_connected(OwedReader& reader, bool is_connected);

  // Filters that match `topic`; nullptr when none. Remembered until a filter comes or goes.
  std::shared_ptr<const OwedFilters> filters_of(std::string_view topic);
  bool empty() const { return trie_.empty(); }
  // Whether some filter and `filter` have a topic in common.
  bool overlaps(std::string_view filter) const { return trie_.overlaps(filter); }
  size_t reader_count() const { return readers_.size(); }

  // The first offset at or past `from` that the reader is still to get.
  static std::optional<Offset> next(const OwedReader& reader, Offset from);
  // Messages and bytes from `from` on; one that several of its filters match counts for each.
  static uint64_t count_from(const OwedReader& reader, Offset from);
  static uint64_t bytes_from(const OwedReader& reader, Offset from);
  // Of what was not handed over: drops the oldest until the rest is within the bounds; how many that were.
  static uint64_t drop_oldest(OwedReader& reader, Offset end, const OwedBounds& bounds);
  // The same, the other way: what lies past the bounds is left out, up to `end`.
  static uint64_t drop_newest(OwedReader& reader, Offset end, const OwedBounds& bounds);

  // Below it nobody is owed anything; `end` when nobody is owed anything at all. Finds that of each filter, too.
  Offset floor(Offset end);
  // Forgets what lies below, and of each filter's references what lies below its floor.
  void trim(Offset below);
  // The source's end fell back to `end` (appends that failed): no subscription begins later.
  void fall_back(Offset end);
  template <class Use>
  void for_each(Use&& use) {
    for (auto& [id, reader] : readers_) use(*reader);
  }
  template <class Use>
  void for_each_filter(Use&& use) {
    ++visit_;
    for (auto& [id, reader] : readers_) {
      for (auto& subscription : reader->subscriptions) {
        if (std::exchange(subscription.filter->visit, visit_) != visit_) use(*subscription.filter);
      }
    }
  }

 private:
  static constexpr size_t kRememberedMax = 65'536;
  void drop(OwedReader& reader, const std::shared_ptr<OwedFilter>& filter);
  static std::optional<Offset> next_of(const OwedReader& reader, const OwedReader::Subscription& subscription, Offset from);

  FilterTrie<std::shared_ptr<OwedFilter>> trie_;
  std::map<std::string, std::unique_ptr<OwedReader>, std::less<>> readers_;
  std::unordered_map<std::string, std::shared_ptr<const OwedFilters>, TextHash, std::equal_to<>> remembered_;
  uint32_t visit_ = 0;
};

}  // namespace robustmq::broker
