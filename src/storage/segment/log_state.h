// LogState: what the engine knows of one log: its segments, how far it goes, how much of it is durable. Pure.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/intrusive.h"
#include "runtime/disk.h"
#include "storage/journal.h"
#include "storage/log.h"
#include "storage/segment/checkpoint_file.h"
#include "storage/segment/index.h"

namespace robustmq::storage::segment {

struct LogState;

// An open file of a segment, in the engine's list of open files (least recently used first).
struct OpenSegment : ListHook<> {
  LogState* log = nullptr;
  Offset base = 0;
  runtime::FilePtr file;
};

struct Segment {
  Offset base = 0;
  Offset end = 0;
  uint64_t size_bytes = 0;
  int64_t max_timestamp = -1;
  int64_t begun_ms = 0;                 // wall time of its first append, or of the start that found it
  uint32_t generation = 0;              // of its file: raised each time it is rewritten (rewriting.cc)
  std::unique_ptr<SegmentIndex> index;  // null: nothing of it was needed yet
  // So many bytes at the front of `index` are known from the index file: a block there that is not verified has not been read
  // yet. Elsewhere it is damaged.
  uint64_t bytes_by_file = 0;
  uint64_t file_covers = 0;           // bytes that the index file covers as far as this life knows; 0: not written yet
  bool is_index_file_wrong = false;   // it is not asked again
  std::unique_ptr<OpenSegment> open;  // null: closed
  bool is_name_durable = false;       // its name and its folder's are synced
  bool is_dirty = false;              // written since the last checkpoint
};

// A truncation that waits for the appends before it, or is under way.
struct Truncation {
  Offset keep_until = 0;
  Callback<void(Status)> done;
  uint32_t handle = 0;
  bool is_started = false;
};

// An append that waits for a truncation.
struct AskedAppend {
  std::vector<Bytes> batches;
  Callback<void(Status)> done;
  uint32_t handle = 0;
  bool is_behind = false;
};

// Invariants: 1. segments are in order and each begins where the one before ends; the last is the active one. 2. start <= end;
// durable <= segments.back().end. 3. nothing at or past min(durable, end) is given to readers.
struct LogState {
  ShardId id;
  LogSettings settings;
  std::vector<Segment> segments;
  Offset start = 0;
  Offset start_durable = 0;  // trims up to it are done; files below may go
  Offset end = 0;            // as asked: operations that wait included
  Offset placed_end = 0;     // end of the last segment; where the first one will begin
  Offset durable = 0;
  Offset durable_base = 0;        // the segment that `durable` lies in
  uint64_t durable_position = 0;  // and where
  LeaderEpoch last_epoch = -1;    // of the last batch asked for; -1: not known
  LeaderEpoch durable_epoch = -1;
  Bytes replica_state;
  Offset state_as_of = 0;
  uint32_t handle = 0;  // of the Log object that is open; 0: none
  uint32_t appends_in_journal = 0;
  uint64_t serial_last = 0;     // of the last append placed
  uint64_t serial_rewound = 0;  // appends up to it that are still to be refused are rewound already
  // What an unfinished append of an earlier life may have left behind the end is gone. A log that the start did not walk: not
  // yet.
  bool is_settled = true;
  bool is_touched = false;   // a frame since the last checkpoint was captured
  bool is_refusing = false;  // what waits is refused when the journal has answered the rest
  bool is_opening = false;
  bool is_held = false;  // what waits does so for a log that leads
  bool is_removed = false;
  bool has_failed = false;
  bool has_folder = false;                 // made since the start, or found
  std::vector<JournalEntry> waiting;       // for their segment's file
  std::unique_ptr<Truncation> truncation;  // null: none
  std::vector<AskedAppend> asked;          // behind the truncation
  std::string report;
  uint64_t sealed_bytes = 0;     // of all segments but the active one
  Offset checkpointed_base = 0;  // segments that begin below it are in the newest checkpoint, or in a later rewrite's frame
  uint32_t truncations = 0;
  uint32_t rewrites = 0;         // places in segments that were known before another number are void
  uint32_t generation_last = 0;  // of any segment's file
  bool is_replacing = false;     // the frame of a rewrite is in the journal: no segment goes meanwhile

  std::string folder() const;
  std::string path_of(const Segment& segment) const;
  std::string index_path_of(const Segment& segment) const;
  Segment* find(Offset base);          // nullptr when there is none of this base
  Segment& segment_at(Offset offset);  // the one that holds it; there is at least one segment
  Segment& active() { return segments.back(); }
  uint64_t size_bytes() const;
  void recount();  // after segments came or went
  // What readers may see ends here.
  Offset readable_end() const { return truncation && truncation->keep_until < durable ? truncation->keep_until : durable; }

  // Begins a new active segment at the placed end.
  void roll(int64_t now_ms, uint32_t index_interval);
  // Forgets what was placed from this point on; gives the segments that go with it.
  std::vector<Segment> rewind_to(Offset segment_base, uint64_t position, Offset offset);
  // Takes out the segments that lie wholly below start, never the active one.
  std::vector<Segment> take_below_start();
  // Takes out the segments within [from, until), never the active one, and puts `segment` in their place.
  std::vector<Segment> replace(Offset from, Offset until, Segment segment);
  CheckpointLog to_checkpoint() const;
};

std::string folder_name(const ShardId& id);
// nullopt for a name that no log has.
std::optional<ShardId> parse_folder_name(std::string_view name);
// What a file in a log's folder is. A segment that is being rewritten is `unfinished` until all of its file is synced.
struct SegmentFile {
  enum class Kind : uint8_t { segment, index, unfinished };
  Kind kind = Kind::segment;
  Offset base = 0;
  uint32_t generation = 0;
};
std::string file_name_of(const SegmentFile& file);
// nullopt: no name of ours.
std::optional<SegmentFile> parse_file_name(std::string_view name);
inline std::string segment_file_name(Offset base, uint32_t generation = 0) {
  return file_name_of({SegmentFile::Kind::segment, base, generation});
}
constexpr std::string_view kLogsFolder = "logs";

}  // namespace robustmq::storage::segment
