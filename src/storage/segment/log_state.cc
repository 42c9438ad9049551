// LogState and the names of its files. Pure.
#include "storage/segment/log_state.h"

#include <algorithm>
#include <charconv>
#include <iterator>

#include "base/check.h"

namespace robustmq::storage::segment {
namespace {

constexpr std::string_view kEndings[] = {".log", ".idx", ".new"};  // by kind
constexpr size_t kOffsetDigits = 20;

template <class T>
bool parse_whole(std::string_view text, T& out) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

std::string folder_name(const ShardId& id) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string name;
  name.reserve(48);
  for (uint8_t byte : id.topic.bytes) {
    name += kDigits[byte >> 4];
    name += kDigits[byte & 15];
  }
  return name + "-" + std::to_string(id.partition);
}

std::optional<ShardId> parse_folder_name(std::string_view name) {
  if (name.size() < 34 || name[32] != '-') return std::nullopt;
  ShardId id;
  for (size_t i = 0; i < 16; ++i) {
    unsigned byte = 0;
    auto [end, error] = std::from_chars(name.data() + 2 * i, name.data() + 2 * i + 2, byte, 16);
    if (error != std::errc() || end != name.data() + 2 * i + 2) return std::nullopt;
    id.topic.bytes[i] = static_cast<uint8_t>(byte);
  }
  if (!parse_whole(name.substr(33), id.partition) || folder_name(id) != name) return std::nullopt;
  return id;
}

std::string file_name_of(const SegmentFile& file) {
  std::string name = std::to_string(file.base);
  if (name.size() < kOffsetDigits) name.insert(0, kOffsetDigits - name.size(), '0');
  if (file.generation > 0) name += "-" + std::to_string(file.generation);
  return name + std::string(kEndings[static_cast<size_t>(file.kind)]);
}

std::optional<SegmentFile> parse_file_name(std::string_view name) {
  SegmentFile file;
  const size_t dot = name.find('.');
  if (dot == std::string_view::npos || dot < kOffsetDigits) return std::nullopt;
  const auto* ending = std::find(std::begin(kEndings), std::end(kEndings), name.substr(dot));
  if (ending == std::end(kEndings)) return std::nullopt;
  file.kind = static_cast<SegmentFile::Kind>(ending - std::begin(kEndings));
  if (!parse_whole(name.substr(0, kOffsetDigits), file.base) || file.base < 0) return std::nullopt;
  if (dot > kOffsetDigits && !parse_whole(name.substr(kOffsetDigits + 1, dot - kOffsetDigits - 1), file.generation))
    return std::nullopt;
  return file_name_of(file) == name ? std::optional(file) : std::nullopt;
}

std::string LogState::folder() const { return std::string(kLogsFolder) + "/" + folder_name(id); }

std::string LogState::path_of(const Segment& segment) const {
  return folder() + "/" + segment_file_name(segment.base, segment.generation);
}
std::string LogState::index_path_of(const Segment& segment) const {
  return folder() + "/" + file_name_of({SegmentFile::Kind::index, segment.base, segment.generation});
}

Segment* LogState::find(Offset base) {
  auto at =
      std::lower_bound(segments.begin(), segments.end(), base, [](const Segment& s, Offset asked) { return s.base < asked; });
  return at != segments.end() && at->base == base ? &*at : nullptr;
}

Segment& LogState::segment_at(Offset offset) {
  auto behind =
      std::upper_bound(segments.begin(), segments.end(), offset, [](Offset asked, const Segment& s) { return asked < s.base; });
  return behind == segments.begin() ? segments.front() : *std::prev(behind);
}

uint64_t LogState::size_bytes() const { return segments.empty() ? 0 : sealed_bytes + segments.back().size_bytes; }

void LogState::recount() {
  sealed_bytes = 0;
  for (size_t i = 0; i + 1 < segments.size(); ++i) sealed_bytes += segments[i].size_bytes;
}

void LogState::roll(int64_t now_ms, uint32_t index_interval) {
  Segment segment;
  segment.base = segment.end = placed_end;
  segment.begun_ms = now_ms;
  segment.index = std::make_unique<SegmentIndex>(placed_end, 0, index_interval);
  segments.push_back(std::move(segment));
  recount();
}

std::vector<Segment> LogState::take_below_start() {
  std::vector<Segment> taken;
  size_t count = 0;
  while (count + 1 < segments.size() && segments[count].end <= start_durable && segments[count].base < durable_base) ++count;
  for (size_t i = 0; i < count; ++i) taken.push_back(std::move(segments[i]));
  segments.erase(segments.begin(), segments.begin() + static_cast<ptrdiff_t>(count));
  recount();
  return taken;
}

std::vector<Segment> LogState::replace(Offset from, Offset until, Segment segment) {
  if (segments.empty()) return {};
  const auto active = std::prev(segments.end());
  const auto first = std::find_if(segments.begin(), active, [&](const Segment& one) { return one.base >= from; });
  const auto behind = std::find_if(first, active, [&](const Segment& one) { return one.end > until; });
  std::vector<Segment> taken(std::make_move_iterator(first), std::make_move_iterator(behind));
  generation_last = std::max(generation_last, segment.generation);
  if (!taken.empty()) segments.insert(segments.erase(first, behind), std::move(segment));
  recount();
  return taken;
}

std::vector<Segment> LogState::rewind_to(Offset segment_base, uint64_t position, Offset offset) {
  std::vector<Segment> taken;
  while (!segments.empty() && segments.back().base > segment_base) {
    taken.push_back(std::move(segments.back()));
    segments.pop_back();
  }
  placed_end = end = offset;
  last_epoch = durable_epoch;
  recount();
  if (segments.empty()) return taken;
  Segment& segment = segments.back();
  ROBUSTMQ_CHECK(segment.base == segment_base, "a rewind into a segment that is gone");
  segment.end = offset;
  segment.size_bytes = position;
  segment.file_covers = 0;
  if (segment.index) {
    segment.index->shorten_to(position);
    segment.bytes_by_file = std::min(segment.bytes_by_file, position);
    if (segment.index->covered_from() == 0) segment.max_timestamp = segment.index->max_timestamp();
  }
  return taken;
}

CheckpointLog LogState::to_checkpoint() const {
  CheckpointLog log;
  log.id = id;
  log.last_epoch = durable_epoch;
  log.start = std::min(start, durable);
  log.end = durable;
  log.state_as_of = state_as_of;
  log.is_being_cut = truncation && truncation->is_started;
  log.replica_state = replica_state;
  for (const Segment& segment : segments) {
    if (segment.base > durable_base) break;
    const bool is_last = segment.base == durable_base;
    // Nothing of it is durable, not even its name; but one that was rewritten has another name than it would get.
    if (is_last && durable_position == 0 && segment.generation == 0) break;
    log.segments.push_back({segment.base, is_last ? durable : segment.end, is_last ? durable_position : segment.size_bytes,
                            segment.max_timestamp, segment.generation});
  }
  return log;
}

}  // namespace robustmq::storage::segment
