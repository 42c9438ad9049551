// OpenTransactions: which producers have a transaction open in a shard, which of its records are void, and up to where every
// transaction has ended. Pure.
//
// A transaction begins with its producer's first transactional batch and ends with a marker. Below the last stable offset there
// is no record of a transaction that is open, or whose marker is not committed. An aborted one is remembered as long as the log
// has its marker: 40 bytes each, and the log has at least 139 for it.
//
// Invariant: `aborted_` is in the order of the markers, and so is each entry's stable offset.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "shard/marker.h"

namespace robustmq::shard {

struct AbortedRange {
  ProducerId producer = -1;
  Offset first = -1;
  Offset marker = -1;
};

// As kept.
struct OpenRow {
  ProducerId producer = -1;
  Offset first = -1;

  template <class V>
  static void describe(V& v) {
    v.field("producer", &OpenRow::producer);
    v.field("first", &OpenRow::first);
  }
};
struct AbortedRow {
  ProducerId producer = -1;
  Offset first = -1;
  Offset marker = -1;
  Offset stable = -1;

  template <class V>
  static void describe(V& v) {
    v.field("producer", &AbortedRow::producer);
    v.field("first", &AbortedRow::first);
    v.field("marker", &AbortedRow::marker);
    v.field("stable", &AbortedRow::stable);
  }
};

class OpenTransactions {
 public:
  // A transactional batch is stored at `base`; the first of its producer begins a transaction.
  void note_batch(ProducerId producer, Offset base);
  // A marker is stored at `at`.
  void note_marker(const Marker& marker, Offset at);
  // The first offset of the producer's open transaction.
  std::optional<Offset> open_since(ProducerId producer) const;

  // Nothing at or past it may be shown to who reads what is committed; everything below `high_watermark` is stored.
  Offset last_stable(Offset high_watermark) const;
  // Everything below `high_watermark` is stored for good.
  void commit(Offset high_watermark);
  // Nothing at or past `end` was stored after all.
  void roll_back(Offset end);
  // Aborted transactions with records in [from, until), by first offset.
  std::vector<AbortedRange> aborted_in(Offset from, Offset until) const;
  void forget_below(Offset log_start);
  // Nothing of these aborted transactions is left but their markers.
  void forget_markers(const std::vector<Offset>& markers);

  bool empty() const { return open_.empty() && ending_.empty() && aborted_.empty(); }
  size_t open_count() const { return open_.size(); }
  // What is known as of everything below `as_of`.
  std::vector<OpenRow> open_rows(Offset as_of) const;
  std::vector<AbortedRow> aborted_rows(Offset as_of) const;
  Status restore(const std::vector<OpenRow>& open, const std::vector<AbortedRow>& aborted);
  std::vector<ProducerId> open_producers() const;

 private:
  // Its marker is stored, and not yet for good.
  struct Ending {
    ProducerId producer = -1;
    Offset first = -1;
  };

  std::map<ProducerId, Offset> open_;  // and the first offset
  std::set<Offset> firsts_;            // of open_
  std::map<Offset, Ending> ending_;    // by marker
  std::vector<AbortedRow> aborted_;
};

}  // namespace robustmq::shard
