#include "shard/open_transactions.h"

#include <algorithm>

namespace robustmq::shard {

void OpenTransactions::note_batch(ProducerId producer, Offset base) {
  if (open_.try_emplace(producer, base).second) firsts_.insert(base);
}

void OpenTransactions::note_marker(const Marker& marker, Offset at) {
  const auto found = open_.find(marker.producer);
  if (found == open_.end()) return;
  const Offset first = found->second;
  firsts_.erase(first);
  open_.erase(found);
  ending_[at] = {marker.producer, first};
  if (marker.commits) return;
  aborted_.push_back({marker.producer, first, at, firsts_.empty() ? at + 1 : std::min(at + 1, *firsts_.begin())});
}

std::optional<Offset> OpenTransactions::open_since(ProducerId producer) const {
  const auto found = open_.find(producer);
  return found == open_.end() ? std::nullopt : std::optional(found->second);
}

Offset OpenTransactions::last_stable(Offset high_watermark) const {
  Offset stable = high_watermark;
  if (!firsts_.empty()) stable = std::min(stable, *firsts_.begin());
  // Those whose marker is not committed count as open.
  for (auto at = ending_.lower_bound(high_watermark); at != ending_.end(); ++at) stable = std::min(stable, at->second.first);
  return stable;
}

void OpenTransactions::commit(Offset high_watermark) { ending_.erase(ending_.begin(), ending_.lower_bound(high_watermark)); }

void OpenTransactions::roll_back(Offset end) {
  std::erase_if(open_, [&](const auto& each) {
    if (each.second < end) return false;
    firsts_.erase(each.second);
    return true;
  });
  for (auto at = ending_.lower_bound(end); at != ending_.end(); at = ending_.erase(at)) {
    if (at->second.first < end && open_.try_emplace(at->second.producer, at->second.first).second)
      firsts_.insert(at->second.first);
  }
  while (!aborted_.empty() && aborted_.back().marker >= end) aborted_.pop_back();
}

std::vector<AbortedRange> OpenTransactions::aborted_in(Offset from, Offset until) const {
  std::vector<AbortedRange> found;
  const auto begin =
      std::partition_point(aborted_.begin(), aborted_.end(), [&](const AbortedRow& row) { return row.marker < from; });
  for (auto at = begin; at != aborted_.end(); ++at) {
    if (at->first < until) found.push_back({at->producer, at->first, at->marker});
    // Every later one began at or past what was stable then.
    if (at->stable >= until) break;
  }
  std::sort(found.begin(), found.end(), [](const AbortedRange& a, const AbortedRange& b) { return a.first < b.first; });
  return found;
}

void OpenTransactions::forget_below(Offset log_start) {
  const auto keep =
      std::partition_point(aborted_.begin(), aborted_.end(), [&](const AbortedRow& row) { return row.marker < log_start; });
  aborted_.erase(aborted_.begin(), keep);
}

void OpenTransactions::forget_markers(const std::vector<Offset>& markers) {
  const std::set<Offset> gone(markers.begin(), markers.end());
  std::erase_if(aborted_, [&](const AbortedRow& row) { return gone.contains(row.marker); });
}

std::vector<OpenRow> OpenTransactions::open_rows(Offset as_of) const {
  std::vector<OpenRow> rows;
  for (const auto& [producer, first] : open_) {
    if (first < as_of) rows.push_back({producer, first});
  }
  for (auto at = ending_.lower_bound(as_of); at != ending_.end(); ++at) {
    if (at->second.first < as_of) rows.push_back({at->second.producer, at->second.first});
  }
  return rows;
}

std::vector<AbortedRow> OpenTransactions::aborted_rows(Offset as_of) const {
  const auto end =
      std::partition_point(aborted_.begin(), aborted_.end(), [&](const AbortedRow& row) { return row.marker < as_of; });
  return {aborted_.begin(), end};
}

std::vector<ProducerId> OpenTransactions::open_producers() const {
  std::vector<ProducerId> producers;
  for (const auto& [producer, first] : open_) producers.push_back(producer);
  return producers;
}

Status OpenTransactions::restore(const std::vector<OpenRow>& open, const std::vector<AbortedRow>& aborted) {
  for (const OpenRow& row : open) note_batch(row.producer, row.first);
  for (const AbortedRow& row : aborted) {
    if (!aborted_.empty() && aborted_.back().marker >= row.marker)
      return Error{Code::corrupt_storage, "kept transactions are not in order"};
    aborted_.push_back(row);
  }
  return {};
}

}  // namespace robustmq::shard
