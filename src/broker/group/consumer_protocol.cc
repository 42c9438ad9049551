#include "broker/group/consumer_protocol.h"

#include <limits>

namespace robustmq::broker {
namespace {

class Cursor {
 public:
  explicit Cursor(ByteSpan from) : rest_(from) {}
  bool ok() const { return ok_; }

  int64_t number(size_t width) {
    if (rest_.size() < width) return fail();
    uint64_t value = 0;
    for (size_t i = 0; i < width; ++i) value = value << 8 | rest_[i];
    rest_ = rest_.subspan(width);
    return width == 2 ? static_cast<int16_t>(value) : static_cast<int32_t>(value);
  }
  std::string text(bool may_be_null = false) {
    const int64_t length = number(2);
    if (length < 0 && may_be_null) return {};
    return std::string(as_text(take(length)));
  }
  void skip_bytes() {
    const int64_t length = number(4);
    if (length >= 0) take(length);
  }
  // How many elements follow, each of at least `least` bytes; null counts as none.
  int64_t count(size_t least) {
    const int64_t count = number(4);
    if (count < -1 || (count > 0 && static_cast<size_t>(count) > rest_.size() / least)) return fail();
    return ok_ && count > 0 ? count : 0;
  }
  NamedPartitions partitions() {
    NamedPartitions all;
    for (int64_t left = count(6); left > 0 && ok_; --left) {
      auto& [topic, numbers] = all.emplace_back();
      topic = text();
      for (int64_t each = count(4); each > 0 && ok_; --each) numbers.push_back(static_cast<int32_t>(number(4)));
    }
    return all;
  }

 private:
  int64_t fail() {
    ok_ = false;
    rest_ = {};
    return 0;
  }
  ByteSpan take(int64_t length) {
    if (length < 0 || static_cast<size_t>(length) > rest_.size()) {
      fail();
      return {};
    }
    const ByteSpan taken = rest_.first(static_cast<size_t>(length));
    rest_ = rest_.subspan(static_cast<size_t>(length));
    return taken;
  }
  ByteSpan rest_;
  bool ok_ = true;
};

void put(uint64_t value, size_t width, Buffer& to) {
  for (size_t i = width; i-- > 0;) to.append_u8(static_cast<uint8_t>(value >> (8 * i)));
}

}  // namespace

std::optional<ConsumerSubscription> read_subscription(ByteSpan from) {
  Cursor at(from);
  ConsumerSubscription out;
  const int64_t version = at.number(2);
  for (int64_t left = at.count(2); left > 0 && at.ok(); --left) out.topics.push_back(at.text());
  if (!at.ok() || version < 0) return std::nullopt;
  at.skip_bytes();
  if (version >= 1) out.owned = at.partitions();
  if (version >= 2) at.number(4);
  if (version >= 3) out.rack = at.text(true);
  out.is_whole = at.ok();
  if (!out.is_whole) out.owned.clear();
  return out;
}

std::optional<NamedPartitions> read_assignment(ByteSpan from) {
  Cursor at(from);
  const int64_t version = at.number(2);
  NamedPartitions out = at.partitions();
  if (!at.ok() || version < 0) return std::nullopt;
  return out;
}

Bytes write_assignment(const NamedPartitions& assignment) {
  constexpr uint64_t kVersion = 0;
  constexpr size_t kTextMax = std::numeric_limits<int16_t>::max();
  Buffer to;
  put(kVersion, 2, to);
  put(assignment.size(), 4, to);
  for (const auto& [topic, partitions] : assignment) {
    const std::string_view name = std::string_view(topic).substr(0, kTextMax);
    put(name.size(), 2, to);
    to.append(name);
    put(partitions.size(), 4, to);
    for (const int32_t partition : partitions) put(static_cast<uint32_t>(partition), 4, to);
  }
  put(UINT32_MAX, 4, to);  // no user data
  return to.take();
}

}  // namespace robustmq::broker
