// The durable part of a Queue: snapshot, restore, replay. Pure.
//
// Format of a snapshot: the described struct Image. Its rows are ordered, do not overlap and lie between start and end; offsets
// without a row are open, never delivered, without facts. A leased message is written as open.
#include <algorithm>

#include "base/describe.h"
#include "base/hash.h"
#include "base/wire.h"
#include "broker/queue/queue.h"
#include "broker/queue/range_change.h"

namespace robustmq::queue {
namespace {

enum class RowState : uint8_t { open, dead, done };

struct Row {
  Offset first = 0;
  Offset last = 0;
  RowState state = RowState::open;
  uint16_t acquired = 0;
  uint16_t failed = 0;
  uint8_t cause = 0;
  uint8_t lane = 0;
  int64_t not_before_ms = 0;
  int64_t expires_ms = 0;
  std::string group;
  std::string annotations;

  template <class V>
  static void describe(V& v) {
    v.field("first", &Row::first);
    v.field("last", &Row::last);
    v.field("state", &Row::state);
    v.field("acquired", &Row::acquired);
    v.field("failed", &Row::failed);
    v.field("cause", &Row::cause);
    v.field("lane", &Row::lane);
    v.field("not_before_ms", &Row::not_before_ms);
    v.field("expires_ms", &Row::expires_ms);
    v.field("group", &Row::group);
    v.field("annotations", &Row::annotations);
  }
  bool is_plain() const {
    return state == RowState::open && acquired == 0 && failed == 0 && lane == 0 && not_before_ms == 0 && expires_ms == 0 &&
           group.empty() && annotations.empty();
  }
  bool continues(const Row& before) const {
    return before.last + 1 == first && before.state == state && before.acquired == acquired && before.failed == failed &&
           before.cause == cause && before.lane == lane && before.not_before_ms == not_before_ms &&
           before.expires_ms == expires_ms && before.group.empty() && group.empty() && before.annotations.empty() &&
           annotations.empty();
  }
};

struct Image {
  Offset start = 0;
  Offset arrived = 0;
  Offset end = 0;
  bool is_paused = false;
  std::vector<Row> rows;

  template <class V>
  static void describe(V& v) {
    v.field("start", &Image::start);
    v.field("arrived", &Image::arrived);
    v.field("end", &Image::end);
    v.field("is_paused", &Image::is_paused);
    v.field("rows", &Image::rows);
  }
};

bool is_death_cause(uint8_t cause) { return cause <= static_cast<uint8_t>(DeathCause::delivery_limit); }

}  // namespace

Bytes Queue::snapshot() const {
  Image image{start_, arrived_, end_, is_paused_, {}};
  for (const auto& [first, range] : ranges_) {
    Row row;
    row.first = first;
    row.last = range.last;
    row.state = range.state == State::done ? RowState::done : range.state == State::dead ? RowState::dead : RowState::open;
    row.acquired = range.acquired;
    row.failed = range.failed;
    row.cause = static_cast<uint8_t>(range.cause);
    row.lane = range.lane;
    row.not_before_ms = range.not_before.ms;
    row.expires_ms = range.expires.ms;
    if (range.extra) {
      if (range.extra->group) row.group = range.extra->group->name;
      row.annotations = range.extra->annotations;
    }
    if (row.is_plain()) continue;
    if (!image.rows.empty() && row.continues(image.rows.back()))
      image.rows.back().last = row.last;
    else
      image.rows.push_back(std::move(row));
  }
  Buffer to;
  encode_described(image, to);
  return Bytes::copy_of(to.span());
}

uint64_t Queue::fingerprint() const { return hash64(snapshot().span()); }

Result<std::unique_ptr<Queue>> Queue::restore(const QueueOptions& options, QueueMetrics& metrics, Reader* reader,
                                              ByteSpan snapshot, Now now) {
  auto queue = std::make_unique<Queue>(options, metrics, reader, 0);
  if (Status status = queue->load(snapshot, now); !status.ok()) return status.error();
  return queue;
}

Status Queue::load(ByteSpan snapshot, Now now) {
  Result<Image> image = decode_described<Image>(snapshot);
  if (!image) return image.error();
  const auto malformed = [](std::string_view what) { return Error{Code::malformed, std::string(what)}; };
  if (image->start < 0 || image->arrived < image->start || image->end < image->arrived || image->end == INT64_MAX)
    return malformed("start, arrived and end do not fit");
  if (static_cast<int64_t>(image->rows.size()) > 4 * (options_.ranges_max + options_.in_flight_max))
    return Error{Code::quota_exceeded, "too many ranges"};
  clear(image->start);
  is_paused_ = image->is_paused;
  for (Row& row : image->rows) {
    if (row.first < end_ || row.last < row.first || row.last >= image->end) return malformed("ranges out of order");
    if (row.lane >= kLanes || row.state > RowState::done || !is_death_cause(row.cause) || row.not_before_ms < 0 ||
        row.expires_ms < 0)
      return malformed("a range's facts");
    const bool has_extra = !row.group.empty() || !row.annotations.empty();
    if (has_extra && (row.first != row.last || row.state != RowState::open)) return malformed("a range's extras");
    if (static_cast<int64_t>(row.annotations.size()) > options_.annotation_bytes_max ||
        (has_extra && extras_ >= options_.extras_max))
      return Error{Code::quota_exceeded, "too many extras"};
    append(row.first - 1, Range{});
    Range range;
    if (row.state == RowState::done) {
      range.state = State::done;
    } else {
      range.state = row.state == RowState::dead ? State::dead : State::available;
      range.acquired = row.acquired;
      range.failed = row.failed;
    }
    if (row.state == RowState::dead) {
      range.cause = static_cast<DeathCause>(row.cause);
      owes_deaths_ = true;
    }
    if (row.state == RowState::open) {
      range.lane = row.lane;
      range.expires = {row.expires_ms};
      if (row.not_before_ms > now.wall.ms) {
        range.state = State::waiting;
        range.not_before = {row.not_before_ms};
      }
      annotate(range, row.annotations);
      if (!row.group.empty()) join_group(range, row.group);
    }
    append(row.last, std::move(range));
  }
  append(image->end - 1, Range{});
  arrived_ = std::max(start_, image->arrived);  // start_ has moved over what is done
  return {};
}

Status Queue::replay(const Delta& delta, Now now) {
  using Kind = Delta::Kind;
  const auto malformed = [](std::string_view what) { return Error{Code::malformed, std::string(what)}; };
  switch (delta.kind) {
    case Kind::pause:
    case Kind::resume:
      is_paused_ = delta.kind == Kind::pause;
      return {};
    case Kind::reset:
      if (delta.first < 0 || delta.first == INT64_MAX) return malformed("where it begins anew");
      clear(delta.first);
      return {};
    case Kind::open:
    case Kind::dead:
    case Kind::done:
      break;
    default:
      return malformed("an unknown kind of change");
  }
  if (delta.first < 0 || delta.last < delta.first || delta.last == INT64_MAX || !is_death_cause(delta.cause) ||
      delta.not_before_ms < 0)
    return malformed("a change's range");
  if (!delta.annotations.empty() &&
      (delta.first != delta.last || static_cast<int64_t>(delta.annotations.size()) > options_.annotation_bytes_max))
    return malformed("a change's annotations");
  append(delta.last, Range{});  // what came after the snapshot; its facts come by arrive()
  const Offset first = std::max(delta.first, start_);
  if (first > delta.last) return {};
  change(first, delta.last, [&](Offset, Range& range) {
    if (delta.kind != Kind::open) {
      become_done(range);
      if (delta.kind == Kind::done) return;
      range.state = State::dead;
      range.cause = static_cast<DeathCause>(delta.cause);
      owes_deaths_ = true;
    } else {
      // A message that is done does not come back.
      if (!range.is_open()) return;
      range.state = delta.not_before_ms > now.wall.ms ? State::waiting : State::available;
      range.not_before = {range.state == State::waiting ? delta.not_before_ms : 0};
      annotate(range, delta.annotations);
    }
    range.acquired = delta.acquired;
    range.failed = delta.failed;
  });
  return {};
}

}  // namespace robustmq::queue
