// LogState and the names of its files. Pure.
#include "storage/segment/log_state.h"

#include <algorithm>
#include <charconv>

#include "base/check.h"

namespace robustmq::storage::segment {
namespace {

constexpr std::string_view kEnding = ".log";
constexpr std::string_view kIndexEnding = ".idx";
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

namespace {

std::string file_name(Offset base, std::string_view ending) {
  std::string digits = std::to_string(base);
  if (digits.size() < kOffsetDigits) digits.insert(0, kOffsetDigits - digits.size(), '0');
  return digits + std::string(ending);
}

std::optional<Offset> parse_file_name(std::string_view name, std::string_view ending) {
  Offset base = 0;
  if (name.size() != kOffsetDigits + ending.size() || !name.ends_with(ending)) return std::nullopt;
  if (!parse_whole(name.substr(0, kOffsetDigits), base) || base < 0 || file_name(base, ending) != name) return std::nullopt;
  return base;
}

}  // namespace

std::string segment_file_name(Offset base) { return file_name(base, kEnding); }
std::optional<Offset> parse_segment_file_name(std::string_view name) { return parse_file_name(name, kEnding); }
std::string index_file_name(Offset base) { return file_name(base, kIndexEnding); }
std::optional<Offset> parse_index_file_name(std::string_view name) { return parse_file_name(name, kIndexEnding); }

std::string LogState::folder() const { return std::string(kLogsFolder) + "/" + folder_name(id); }

std::string LogState::path_of(Offset base) const { return folder() + "/" + segment_file_name(base); }
std::string LogState::index_path_of(Offset base) const { return folder() + "/" + index_file_name(base); }

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
    if (is_last && durable_position == 0) break;  // nothing of it is durable, not even its name
    log.segments.push_back(
        {segment.base, is_last ? durable : segment.end, is_last ? durable_position : segment.size_bytes, segment.max_timestamp});
  }
  return log;
}

}  // namespace robustmq::storage::segment
