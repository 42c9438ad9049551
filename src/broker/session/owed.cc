#include "broker/session/owed.h"

#include <algorithm>
#include <utility>

namespace robustmq::broker {

// ---- Runs ----

void Runs::add(Offset offset, uint64_t bytes) {
  const bool continues = runs_.size() > gone_ && runs_.back().first + static_cast<Offset>(runs_.back().length) == offset;
  if (continues)
    ++runs_.back().length;
  else
    runs_.push_back({offset, 1, count_, bytes_});
  ++count_;
  bytes_ += bytes;
}

std::vector<Runs::Run>::const_iterator Runs::find(Offset from) const {
  return std::partition_point(runs_.begin() + static_cast<ptrdiff_t>(gone_), runs_.end(),
                              [&](const Run& run) { return run.first + static_cast<Offset>(run.length) <= from; });
}

std::optional<Offset> Runs::next(Offset from) const {
  const auto at = find(from);
  if (at == runs_.end()) return std::nullopt;
  return std::max(at->first, from);
}

uint64_t Runs::count_from(Offset from) const {
  const auto at = find(from);
  if (at == runs_.end()) return 0;
  return count_ - at->count_before - static_cast<uint64_t>(std::max<Offset>(0, from - at->first));
}

uint64_t Runs::bytes_from(Offset from) const {
  const auto at = find(from);
  if (at == runs_.end()) return 0;
  const auto behind = at + 1;
  const uint64_t in_run = (behind == runs_.end() ? bytes_ : behind->bytes_before) - at->bytes_before;
  const auto skipped = static_cast<uint64_t>(std::max<Offset>(0, from - at->first));
  return bytes_ - at->bytes_before - in_run / at->length * skipped;
}

void Runs::put_in_front(const Runs& older) {
  std::vector<Run> all(older.runs_.begin() + static_cast<ptrdiff_t>(older.gone_), older.runs_.end());
  for (size_t i = gone_; i < runs_.size(); ++i) {
    Run run = runs_[i];
    run.count_before += older.count_;
    run.bytes_before += older.bytes_;
    all.push_back(run);
  }
  runs_ = std::move(all);
  gone_ = 0;
  count_ += older.count_;
  bytes_ += older.bytes_;
}

void Runs::trim(Offset below) {
  while (gone_ < runs_.size() && runs_[gone_].first + static_cast<Offset>(runs_[gone_].length) <= below) ++gone_;
  if (gone_ > runs_.size() / 2) {
    runs_.erase(runs_.begin(), runs_.begin() + static_cast<ptrdiff_t>(gone_));
    runs_.shrink_to_fit();
    gone_ = 0;
  }
}

// ---- References ----

void RefMarks::add(const ShardId& shard, Offset at, Offset in_shard) {
  Marks& of_shard = shards_[shard];
  of_shard.last = std::max(of_shard.last, at);
  std::vector<Mark>& marks = of_shard.marks;
  // The offsets of appends that failed are given again.
  for (auto mark = marks.rbegin(); mark != marks.rend() && mark->in_shard > in_shard; ++mark) mark->in_shard = in_shard;
  if (marks.empty() || at >= marks.back().at + kEvery) marks.push_back({at, in_shard});
}

void RefMarks::put_in_front(const RefMarks& older) {
  for (const auto& [shard, before] : older.shards_) {
    Marks& here = shards_[shard];
    here.last = std::max(here.last, before.last);
    here.marks.insert(here.marks.begin(), before.marks.begin(), before.marks.end());
    Offset lowest = INT64_MAX;
    for (auto mark = here.marks.rbegin(); mark != here.marks.rend(); ++mark) {
      lowest = std::min(lowest, mark->in_shard);
      mark->in_shard = lowest;
    }
  }
}

void RefMarks::trim(Offset below) {
  for (auto at = shards_.begin(); at != shards_.end();) {
    std::vector<Mark>& marks = at->second.marks;
    if (at->second.last < below) {
      at = shards_.erase(at);
      continue;
    }
    size_t gone = 0;
    while (gone + 1 < marks.size() && marks[gone + 1].at <= below) ++gone;
    marks.erase(marks.begin(), marks.begin() + static_cast<ptrdiff_t>(gone));
    ++at;
  }
}

// ---- Readers ----

OwedReader* Owed::find(std::string_view client_id) {
  const auto found = readers_.find(client_id);
  return found == readers_.end() ? nullptr : found->second.get();
}

OwedReader& Owed::reader(std::string_view client_id) {
  if (OwedReader* known = find(client_id)) return *known;
  auto made = std::make_unique<OwedReader>();
  made->client_id = client_id;
  return *readers_.emplace(std::string(client_id), std::move(made)).first->second;
}

void Owed::forget(std::string_view client_id) {
  const auto found = readers_.find(client_id);
  if (found == readers_.end()) return;
  for (const auto& subscription : found->second->subscriptions) drop(*found->second, subscription.filter);
  readers_.erase(found);
}

bool Owed::enroll(OwedReader& reader, std::string_view filter, Offset since) {
  for (const auto& subscription : reader.subscriptions) {
    if (subscription.filter->filter == filter) return false;
  }
  auto& entries = trie_.node(filter).entries();
  if (entries.empty()) {
    entries.push_back(std::make_shared<OwedFilter>());
    entries.front()->filter = filter;
    remembered_.clear();
  }
  const std::shared_ptr<OwedFilter>& owed = entries.front();
  ++owed->readers;
  if (reader.is_connected) owed->connected.push_back(&reader);
  reader.subscriptions.push_back({owed, since});
  return true;
}

void Owed::withdraw(OwedReader& reader, std::string_view filter) {
  const auto at = std::find_if(reader.subscriptions.begin(), reader.subscriptions.end(),
                               [&](const auto& subscription) { return subscription.filter->filter == filter; });
  if (at == reader.subscriptions.end()) return;
  const std::shared_ptr<OwedFilter> gone = at->filter;
  reader.subscriptions.erase(at);
  drop(reader, gone);
}

void Owed::drop(OwedReader& reader, const std::shared_ptr<OwedFilter>& filter) {
  std::erase(filter->connected, &reader);
  if (--filter->readers > 0) return;
  auto* node = trie_.find(filter->filter);
  node->entries().clear();
  trie_.prune(*node);
  remembered_.clear();
}

void Owed::set_connected(OwedReader& reader, bool is_connected) {
  if (reader.is_connected == is_connected) return;
  reader.is_connected = is_connected;
  for (const auto& subscription : reader.subscriptions) {
    auto& connected = subscription.filter->connected;
    if (is_connected)
      connected.push_back(&reader);
    else
      std::erase(connected, &reader);
  }
}

std::shared_ptr<const OwedFilters> Owed::filters_of(std::string_view topic) {
  if (trie_.empty()) return nullptr;
  const auto found = remembered_.find(topic);
  if (found != remembered_.end()) return found->second;
  if (remembered_.size() >= kRememberedMax) remembered_.clear();
  auto filters = std::make_shared<OwedFilters>();
  trie_.match(topic, [&](const std::vector<std::shared_ptr<OwedFilter>>& entries) {
    filters->insert(filters->end(), entries.begin(), entries.end());
  });
  std::shared_ptr<const OwedFilters> result;
  if (!filters->empty()) result = std::move(filters);
  remembered_.emplace(std::string(topic), result);
  return result;
}

// ---- What a reader is owed ----

std::optional<Offset> Owed::next_of(const OwedReader& reader, const OwedReader::Subscription& subscription, Offset from) {
  from = std::max({from, reader.skip_below, subscription.since});
  while (true) {
    const std::optional<Offset> first = subscription.filter->runs.next(from);
    if (!first) return first;
    const auto gap =
        std::find_if(reader.gaps.begin(), reader.gaps.end(), [&](const OwedReader::Gap& one) { return *first < one.to; });
    if (gap == reader.gaps.end() || *first < gap->from) return first;
    from = gap->to;
  }
}

std::optional<Offset> Owed::next(const OwedReader& reader, Offset from) {
  std::optional<Offset> first;
  for (const auto& subscription : reader.subscriptions) {
    const auto at = next_of(reader, subscription, from);
    if (at && (!first || *at < *first)) first = at;
  }
  return first;
}

namespace {

// Sums what `of` says of each subscription's messages from `from` on, without the gaps.
template <class Of>
uint64_t sum_from(const OwedReader& reader, Offset from, const Of& of) {
  from = std::max(from, reader.skip_below);
  uint64_t sum = 0;
  for (const auto& subscription : reader.subscriptions) {
    const auto past = [&](Offset at) { return of(subscription.filter->runs, std::max({from, at, subscription.since})); };
    sum += past(from);
    for (const OwedReader::Gap& gap : reader.gaps) sum -= past(gap.from) - past(gap.to);
  }
  return sum;
}

}  // namespace

uint64_t Owed::count_from(const OwedReader& reader, Offset from) {
  return sum_from(reader, from, [](const Runs& runs, Offset at) { return runs.count_from(at); });
}

uint64_t Owed::bytes_from(const OwedReader& reader, Offset from) {
  return sum_from(reader, from, [](const Runs& runs, Offset at) { return runs.bytes_from(at); });
}

uint64_t Owed::drop_oldest(OwedReader& reader, Offset end, const OwedBounds& bounds) {
  const auto is_within = [&](Offset from) {
    return count_from(reader, from) <= bounds.messages_max && bytes_from(reader, from) <= bounds.bytes_max;
  };
  if (is_within(reader.cursor)) return 0;
  const uint64_t before = count_from(reader, reader.cursor);
  Offset low = reader.cursor;  // not within
  Offset high = end;           // within: nothing is left there
  while (high - low > 1) {
    const Offset middle = low + (high - low) / 2;
    (is_within(middle) ? high : low) = middle;
  }
  reader.skip_below = high;
  return before - count_from(reader, high);
}

uint64_t Owed::drop_newest(OwedReader& reader, Offset end, const OwedBounds& bounds) {
  std::erase_if(reader.gaps, [&](const OwedReader::Gap& gap) { return gap.to <= reader.cursor; });
  const uint64_t all = count_from(reader, reader.cursor);
  const uint64_t all_bytes = bytes_from(reader, reader.cursor);
  const auto fits_up_to = [&](Offset to) {
    return all - count_from(reader, to) <= bounds.messages_max && all_bytes - bytes_from(reader, to) <= bounds.bytes_max;
  };
  if (fits_up_to(end)) return 0;
  Offset low = reader.cursor;  // fits: nothing lies below it
  Offset high = end;
  while (high - low > 1) {
    const Offset middle = low + (high - low) / 2;
    (fits_up_to(middle) ? low : high) = middle;
  }
  const uint64_t dropped = count_from(reader, low);
  // Nothing that is kept lies behind the last gap: that grows.
  while (!reader.gaps.empty() && reader.gaps.back().to >= low) {
    low = std::min(low, reader.gaps.back().from);
    reader.gaps.pop_back();
  }
  reader.gaps.push_back({low, end});
  return dropped;
}

Offset Owed::floor(Offset end) {
  for_each_filter([end](OwedFilter& filter) { filter.floor = end; });
  Offset lowest = end;
  const auto note = [&](OwedFilter& filter, Offset at) {
    filter.floor = std::min(filter.floor, at);
    lowest = std::min(lowest, at);
  };
  for (const auto& [id, reader] : readers_) {
    for (const auto& subscription : reader->subscriptions) {
      OwedFilter& filter = *subscription.filter;
      // Something below the cursor may be leased, and be asked for again.
      if (reader->position < reader->cursor) {
        const auto first = filter.runs.next(std::max(reader->position, subscription.since));
        if (first && *first < reader->cursor) note(filter, *first);
      }
      if (const auto first = next_of(*reader, subscription, reader->cursor)) note(filter, *first);
    }
  }
  return lowest;
}

void Owed::trim(Offset below) {
  for_each_filter([below](OwedFilter& filter) {
    filter.runs.trim(below);
    if (!filter.refs) return;
    filter.refs->trim(filter.floor);
    if (filter.refs->empty()) filter.refs.reset();
  });
}

void Owed::fall_back(Offset end) {
  for (auto& [id, reader] : readers_) {
    reader->position = std::min(reader->position, end);
    reader->cursor = std::min(reader->cursor, end);
    reader->skip_below = std::min(reader->skip_below, end);
    for (OwedReader::Gap& gap : reader->gaps) gap = {std::min(gap.from, end), std::min(gap.to, end)};
    for (auto& subscription : reader->subscriptions) subscription.since = std::min(subscription.since, end);
  }
}

}  // namespace robustmq::broker
