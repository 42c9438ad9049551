#include "broker/retained/store.h"

#include <algorithm>

namespace robustmq::broker {
namespace {

// A lookup that visited this many nodes more than eight for each message it found wants an index.
constexpr size_t kVainVisits = 512;
constexpr size_t kVisitsAMessage = 8;

}  // namespace

RetainedMessage RetainedMessage::make(ByteSpan payload, ByteSpan raw_headers, int32_t header_count) {
  RetainedMessage message;
  Buffer body(payload.size() + raw_headers.size());
  body.append(raw_headers);
  body.append(payload);
  message.body = body.take();
  message.header_bytes = static_cast<uint32_t>(raw_headers.size());
  message.header_count = header_count;
  return message;
}

RecordView RetainedMessage::record() const {
  RecordView view;
  view.timestamp_ms = timestamp_ms;
  view.value = payload();
  view.raw_headers = raw_headers();
  view.header_count = header_count;
  return view;
}

RetainedLimits RetainedLimits::share_of(const RetainedOptions& options, size_t cores) {
  const auto share = [cores](int64_t whole) { return (whole + static_cast<int64_t>(cores) - 1) / static_cast<int64_t>(cores); };
  return {share(options.messages_max), share(options.bytes_max)};
}

RetainedStore::RetainedStore(const RetainedOptions& options, RetainedLimits limits, RetainedMetrics& metrics)
    : options_(options), limits_(limits), metrics_(metrics) {}

// ---- Messages ----

Status RetainedStore::set(std::string_view topic, RetainedMessage message) {
  const Levels levels = levels_of(topic);
  const auto* node = tree_.find(levels);
  const Entry* before = node && node->value ? node->value.get() : nullptr;
  const int64_t more_bytes =
      static_cast<int64_t>(topic.size() + message.body.size()) - (before ? static_cast<int64_t>(before->bytes()) : 0);
  if (!before && messages_ >= limits_.messages_max)
    return Error{Code::quota_exceeded, "the number of retained messages is at its limit"};
  if (more_bytes > 0 && bytes_ + more_bytes > limits_.bytes_max)
    return Error{Code::quota_exceeded, "the bytes of retained messages are at their limit"};
  put(topic, std::move(message));
  return {};
}

void RetainedStore::put(std::string_view topic, RetainedMessage message) {
  message.body = message.body.compact();
  const Levels levels = levels_of(topic);
  std::vector<Shape> wanted;
  auto& node = tree_.node(levels, [&](size_t depth, size_t names) {
    if (depth + 1 < levels.size() && levels.size() <= kShapeLevelsMax && names >= static_cast<size_t>(options_.index_names_min) &&
        !(depth == 0 && topic.starts_with('$')))
      wanted.push_back({uint32_t{1} << depth, static_cast<uint32_t>(levels.size()), false});
  });
  const bool is_new = !node.value;
  if (is_new) {
    node.value = std::make_unique<Entry>();
    node.value->topic = topic;
    ++messages_;
  } else {
    bytes_ -= static_cast<int64_t>(node.value->bytes());
    by_expiry_.erase({node.value->message.expires_at_ms(), node.value->number});
  }
  Entry& entry = *node.value;
  entry.message = std::move(message);
  entry.number = ++last_number_;
  bytes_ += static_cast<int64_t>(entry.bytes());
  if (entry.message.expiry_s != 0) by_expiry_.emplace(std::pair(entry.message.expires_at_ms(), entry.number), &entry);
  metrics_.messages = messages_;
  metrics_.message_bytes = bytes_;
  for (const Shape& shape : wanted) want_index(shape, false);
  if (is_new) add_to_indexes(levels_of(entry.topic), entry);
}

bool RetainedStore::clear(std::string_view topic) {
  const Levels levels = levels_of(topic);
  auto* node = tree_.find(levels);
  if (!node || !node->value) return false;
  remove_entry(levels, *node->value);
  return true;
}

void RetainedStore::remove_entry(const Levels& topic, Entry& entry) {
  for (const auto& index : indexes_) {
    if (covers(index->shape, topic)) index->tree.remove(reorder(index->shape, topic));
  }
  by_expiry_.erase({entry.message.expires_at_ms(), entry.number});
  --messages_;
  bytes_ -= static_cast<int64_t>(entry.bytes());
  metrics_.messages = messages_;
  metrics_.message_bytes = bytes_;
  tree_.remove(topic);
}

const RetainedMessage* RetainedStore::find(std::string_view topic) {
  const auto* node = tree_.find(levels_of(topic));
  return node && node->value ? &node->value->message : nullptr;
}

void RetainedStore::expire(WallTime now, size_t count, Use use) {
  for (; count > 0 && next_expiry_ms() <= now.ms; --count) {
    Entry& entry = *by_expiry_.begin()->second;
    use(entry.topic, entry.message);
    const std::string topic = entry.topic;
    remove_entry(levels_of(topic), entry);
    ++metrics_.messages_expired_total;
  }
}

// ---- Lookups ----

bool RetainedStore::read(std::string_view filter, WalkPosition& at, Pace pace, WallTime now, Use use) {
  const Levels levels = levels_of(filter);
  const std::optional<Shape> shape = shape_of(levels);
  Index* index = shape ? index_of(*shape) : nullptr;
  // A position belongs to the tree it was made in; an index that became ready meanwhile serves the next lookup.
  const bool uses_index = index && index->is_ready && (!at.is_begun || at.is_in_index);
  const size_t visits_before = pace.visits;
  size_t visits = pace.visits;
  size_t found = 0;
  size_t bytes = 0;
  const auto take = [&](const Entry& entry) {
    if (entry.message.expires_at_ms() <= now.ms) return true;
    use(entry.topic, entry.message);
    bytes += entry.bytes();
    return ++found < pace.messages && bytes < pace.bytes;
  };
  bool is_over = false;
  if (uses_index) {
    index->used_at = ++reads_;
    is_over = index->tree.walk(reorder(*shape, levels), at, visits, take);
  } else if (at.is_in_index) {
    // The index gave way. What is left is found from the start; some messages come twice.
    at = {};
    is_over = tree_.walk(levels, at, visits, take);
  } else {
    is_over = tree_.walk(levels, at, visits, take);
    if (shape && visits_before - visits > kVainVisits + kVisitsAMessage * found) want_index(*shape, true);
  }
  at.is_in_index = uses_index;
  ++metrics_.lookups_total;
  metrics_.nodes_visited_total += visits_before - visits;
  return is_over;
}

// ---- Indexes ----

std::optional<RetainedStore::Shape> RetainedStore::shape_of(const Levels& filter) {
  Shape shape;
  shape.has_hash = filter.back() == "#";
  const size_t levels = filter.size() - (shape.has_hash ? 1 : 0);
  if (levels > kShapeLevelsMax) return std::nullopt;
  shape.levels = static_cast<uint32_t>(levels);
  for (size_t i = 0; i < levels; ++i) {
    if (filter[i] == "+") shape.plus |= uint32_t{1} << i;
  }
  if (shape.plus == 0) return std::nullopt;
  return shape;
}

bool RetainedStore::covers(const Shape& shape, const Levels& topic) {
  if ((shape.plus & 1) != 0 && topic[0].starts_with('$')) return false;
  return shape.has_hash ? topic.size() >= shape.levels : topic.size() == shape.levels;
}

Levels RetainedStore::reorder(const Shape& shape, const Levels& levels) {
  Levels out;
  out.reserve(levels.size());
  for (size_t i = 0; i < shape.levels; ++i) {
    if ((shape.plus >> i & 1) == 0) out.push_back(levels[i]);
  }
  for (size_t i = 0; i < shape.levels; ++i) {
    if ((shape.plus >> i & 1) != 0) out.push_back(levels[i]);
  }
  for (size_t i = shape.levels; i < levels.size(); ++i) out.push_back(levels[i]);
  return out;
}

RetainedStore::Index* RetainedStore::index_of(const Shape& shape) {
  const auto found = std::find_if(indexes_.begin(), indexes_.end(), [&](const auto& index) { return index->shape == shape; });
  return found == indexes_.end() ? nullptr : found->get();
}

void RetainedStore::want_index(const Shape& shape, bool may_replace) {
  if (index_of(shape)) return;
  if (indexes_.size() >= static_cast<size_t>(options_.indexes_max)) {
    if (!may_replace || indexes_.empty()) return;
    const auto oldest =
        std::min_element(indexes_.begin(), indexes_.end(), [](const auto& a, const auto& b) { return a->used_at < b->used_at; });
    indexes_.erase(oldest);
  }
  indexes_.push_back(std::make_unique<Index>());
  indexes_.back()->shape = shape;
  indexes_.back()->used_at = ++reads_;
  metrics_.indexes = static_cast<int64_t>(indexes_.size());
}

void RetainedStore::add_to_indexes(const Levels& topic, Entry& entry) {
  for (const auto& index : indexes_) {
    if (covers(index->shape, topic)) index->tree.node(reorder(index->shape, topic), [](size_t, size_t) {}).value = &entry;
  }
}

bool RetainedStore::is_building() const {
  return std::any_of(indexes_.begin(), indexes_.end(), [](const auto& index) { return !index->is_ready; });
}

bool RetainedStore::build_some(size_t visits) {
  for (const auto& index : indexes_) {
    if (index->is_ready) continue;
    if (visits == 0) return true;
    index->is_ready = fill(*index, visits);
    if (!index->is_ready) return true;
  }
  return false;
}

bool RetainedStore::fill(Index& index, size_t& visits) {
  return tree_.walk_all(index.filled, visits, [&](Entry& entry) {
    const Levels topic = levels_of(entry.topic);
    if (covers(index.shape, topic)) index.tree.node(reorder(index.shape, topic), [](size_t, size_t) {}).value = &entry;
    return true;
  });
}

}  // namespace robustmq::broker
