// Cleaner: what compaction keeps of each batch. Pure.
//
// It is given every batch of a log from its start on, up to where the map of keys goes and a little further, and gives batches
// that cover the same offsets:
//   - a record stays when it is its key's newest; a record without a key goes; so do records of aborted transactions;
//   - a tombstone (a null value) stays until delete_retention_ms after it was first met: its batch then says until when it stays
//     (attribute bit 6; the base timestamp is that time, as in Kafka's KIP-534);
//   - the same holds for a marker that ends a transaction of which no batch was met any more. An aborted one's may go only when
//     the shard has forgotten that transaction for good, else its readers would wait for the marker in vain;
//   - what is left of a batch keeps its header: offsets, leader epoch, producer and sequences, codec. Offsets without records are
//     an empty batch, neighbours of one leader epoch together, so the chain has no gap;
//   - the newest batch of a producer stays as an empty one with its sequence, its newest marker as it is.
// Nothing at or past `until` is changed. A batch that cannot be opened stays as it is.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <vector>

#include "base/batch.h"
#include "base/bytes.h"
#include "base/empty_batch.h"
#include "base/ids.h"
#include "base/time.h"
#include "shard/key_map.h"
#include "shard/open_transactions.h"
#include "shard/producers.h"

namespace robustmq::shard {

struct CleaningPlan {
  Offset until = 0;  // a batch boundary: the map has the keys of all that is new below it
  WallTime now;
  int64_t delete_retention_ms = 0;
  std::vector<AbortedRange> aborted;    // all with records below `until`
  std::vector<ProducerLast> producers;  // what the shard knows
  Offset forgotten_until = 0;  // aborted transactions whose marker is below it, and not in `aborted`, are forgotten for good
  size_t plain_bytes_max = 64 << 20;  // of a batch's records
};

struct CleaningCounts {
  uint64_t batches = 0;
  uint64_t records_kept = 0;
  uint64_t records_removed = 0;
  uint64_t keyless_removed = 0;     // of those removed
  uint64_t tombstones_removed = 0;  // of those removed
  uint64_t markers_removed = 0;
  uint64_t batches_unreadable = 0;
};

// Which transactions were aborted, by producer.
class AbortedBy {
 public:
  explicit AbortedBy(const std::vector<AbortedRange>& aborted);
  bool has(ProducerId producer, Offset offset) const;
  bool ends_one(ProducerId producer, Offset marker) const;

 private:
  std::map<ProducerId, std::map<Offset, Offset>> by_producer_;  // first offset and marker
};

// The keys of a batch into the map. False: no room; the map is then as of the batches before, or newer, which does no harm.
bool map_keys(const Bytes& batch, const AbortedBy& aborted, size_t plain_bytes_max, KeyMap& keys);

class Cleaner {
 public:
  Cleaner(CleaningPlan plan, const KeyMap& keys);

  // What comes in the batch's place goes behind `out`, now or with one of the next ones.
  void clean(const Bytes& batch, std::vector<Bytes>& out);
  // The rest, at the end of a part.
  void flush(std::vector<Bytes>& out);

  // Whether what came out since the last call is other than what went in.
  bool take_changed() { return std::exchange(has_changed_, false); }
  // Markers of aborted transactions of which nothing is left.
  const std::vector<Offset>& to_forget() const { return to_forget_; }
  const CleaningCounts& counts() const { return counts_; }

 private:
  void clean_marker(const Bytes& batch, std::vector<Bytes>& out);
  void keep(const Bytes& batch, std::vector<Bytes>& out);
  void drop(const BatchView& header, std::vector<Bytes>& out);
  bool is_newest_of_producer(const BatchView& header) const;
  std::optional<int64_t> horizon_of(const BatchView& header) const;

  CleaningPlan plan_;
  const KeyMap& keys_;
  AbortedBy aborted_;
  std::map<ProducerId, ProducerLast> producers_;
  std::set<ProducerId> has_data_;  // producers with a batch since their last marker
  std::optional<EmptyBatch> gap_;
  bool is_gap_as_it_was_ = false;  // one empty batch, as it was read
  bool has_changed_ = false;
  std::vector<Offset> to_forget_;
  CleaningCounts counts_;
};

}  // namespace robustmq::shard
