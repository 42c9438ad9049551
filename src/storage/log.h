// Log: a shard's bytes on this node; Engine: what makes logs. The seam between shard/ and the engines, held by the conformance
// suite (storage/conformance), which every registered engine passes.
//
// A log is a chain of record batches (base/batch.h), back to back: each begins at the offset where the last ended, and leader
// epochs never fall. The engine neither assigns nor changes offsets. All calls and completions are on the log's core;
// completions may come inline.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/batch.h"
#include "base/bytes.h"
#include "base/callback.h"
#include "base/ids.h"
#include "base/pieces.h"
#include "base/result.h"
#include "base/time.h"

namespace robustmq::storage {

struct ReadLimits {
  uint64_t bytes_max = 1 << 20;
  // With it the first batch comes whole even when it is larger than bytes_max (KIP-74).
  bool first_batch_over_limit = true;
  Offset end = INT64_MAX;  // no batch whose base offset is at or past this
};

struct ReadResult {
  Pieces pieces;              // whole batches, from the one that holds the asked offset on
  Offset next = 0;            // the offset behind the last batch read; the asked one when there was none
  bool is_rewritten = false;  // of a part that was compacted: there may be batches without records
};

struct Bounds {
  Offset start = 0;         // first kept offset (after trims this may lie inside the first batch)
  Offset end = 0;           // offset the next batch begins at; appended, not yet necessarily durable
  Offset durable = 0;       // everything below it has this engine's durability
  uint64_t size_bytes = 0;  // of the batches kept
  // Readers begin there: behind what is left below it something is missing (storage/joined_log.h). 0: nothing is.
  Offset whole_from = 0;
};

// What an acknowledged append of a log survives; the weaker first.
enum class Durability : uint8_t {
  memory,  // nothing
  hybrid,  // all but the last window: see LogSettings
  synced,  // kill -9 and a power cut
};

// What `find` looks for.
struct FindByTime {
  int64_t timestamp_ms;
};  // first batch whose max timestamp is at or past it
struct FindMaxTime {};  // first batch that holds the largest timestamp
using FindWhat = std::variant<FindByTime, FindMaxTime>;

struct Found {
  Bytes batch;  // the whole batch; the caller looks inside for the record
};

// Settings of one log; changeable at run time with Log::configure.
struct LogSettings {
  int64_t segment_bytes = 256 << 20;
  int64_t segment_ms = 7LL * 24 * 3600 * 1000;
  int64_t retention_ms = -1;     // -1: no limit. Kept at least to the segment's granularity
  int64_t retention_bytes = -1;  // -1: no limit
  int64_t records_max = -1;      // memory engine: oldest go first
  bool leads = false;            // see Log::append_behind
  // Of an engine that has several classes (storage/joined_log.h): the class a log is opened in, and how much of a hybrid one may
  // be acknowledged and not synced: at most so many bytes and records, none older than that.
  Durability durability = Durability::synced;
  int64_t window_ms = 50;
  int64_t window_bytes = 1 << 20;
  int64_t window_records = INT64_MAX;
};

// A part of a log that takes no more appends and may be rewritten.
struct SealedPart {
  Offset begin = 0;
  Offset end = 0;
  uint64_t size_bytes = 0;
  int64_t max_timestamp = -1;  // of its batches; -1: none has one
};

// Other batches for the offsets of some parts (Log::rewrite). Destroyed before its commit(), and always before its log: nothing
// has changed.
class Rewrite {
 public:
  virtual ~Rewrite() = default;
  // Whole batches that continue the chain, from the begin of the first part on. The next call waits for `done`. Errors:
  // storage_full, storage_failed, too_large (more than a part can hold).
  virtual void add(std::vector<Bytes> batches, Callback<void(Status)> done) = 0;
  // The chain has come to the end of the last part. From `done` on the log has the new batches, with its engine's durability;
  // after any error, and after a crash before it, it has the old ones. Who reads meanwhile gets the ones or the others. Errors:
  // not_attempted (the parts are no longer what they were), storage_full, storage_failed, shutting_down.
  virtual void commit(Callback<void(Status)> done) = 0;
};

class Log {
 public:
  virtual ~Log() = default;

  // Appends batches that continue the chain. Completes in append order when they have the engine's durability: in memory, or
  // synced. Errors: storage_full (nothing of this call is kept; later appends may succeed), storage_failed (final: the log
  // takes no more appends and the end is unknown until reopened).
  virtual void append(std::vector<Bytes> batches, Callback<void(Status)> done) = 0;
  // The same, behind what was asked before of the engine's logs that lead (LogSettings): it is stored only if that is. Engines
  // that are not durable make no difference.
  virtual void append_behind(std::vector<Bytes> batches, Callback<void(Status)> done) {
    append(std::move(batches), std::move(done));
  }
  // append() for one batch, without a callback, where the engine completes at once (memory). False: nothing was done.
  virtual bool append_now(const Bytes& batch) {
    (void)batch;
    return false;
  }
  // Reads whole batches from the one that holds `from`. `from` == end gives none; below start or past end: offset_out_of_range.
  // corrupt_storage when the batch asked for is damaged. A batch is verified at its first read after a start.
  virtual void read(Offset from, ReadLimits limits, Callback<void(Result<ReadResult>)> done) = 0;
  // nullopt when no batch qualifies.
  virtual void find(FindWhat what, Callback<void(Result<std::optional<Found>>)> done) = 0;
  // Drops what lies wholly below `keep_from`; start becomes max(start, keep_from). Durable when done (engine's class).
  virtual void trim(Offset keep_from, Callback<void(Status)> done) = 0;
  // Drops every batch whose base offset is at or past `keep_until`, which is a batch boundary.
  virtual void truncate(Offset keep_until, Callback<void(Status)> done) = 0;
  // Keeps `replica_state` (opaque to the engine) as of everything below `as_of`; open() returns the newest one kept.
  virtual void seal(Bytes replica_state, Offset as_of, Callback<void(Status)> done) = 0;
  virtual Bounds bounds() const = 0;
  // Applies retention by time and size now; the shard calls it periodically. Never the active segment, and nothing at or past
  // `keep_from`.
  virtual void retain(WallTime now, Offset keep_from) = 0;
  virtual void configure(const LogSettings& settings) = 0;
  // The parts that may be rewritten, in order; each begins where the one before ends. None where the engine does not rewrite.
  virtual void list_parts(Callback<void(std::vector<SealedPart>)> done) { done({}); }
  // Begins to rewrite the parts from the begin of one to the end of one, which become one part; one such at a time.
  virtual void rewrite(Offset from, Offset until, Callback<void(Result<std::unique_ptr<Rewrite>>)> done) {
    (void)from, (void)until, done(Code::not_supported);
  }
  // True once storage_failed happened.
  virtual bool has_failed() const = 0;
  // When `done` says ok, what is readable has the class, and so has what is appended from then on; appends asked meanwhile wait
  // or have the class before. After an error it is as it was. One at a time. Errors: not_supported, not_attempted (one is under
  // way), storage_full, storage_failed.
  virtual void change(Durability to, Callback<void(Status)> done) { (void)to, done(Code::not_supported); }
  // When what is acknowledged will be synced, where it is to be, without waiting for the window.
  virtual void flush(Callback<void(Status)> done) { done({}); }
};

struct OpenedLog {
  std::unique_ptr<Log> log;
  Bytes replica_state;     // of the newest seal; empty when there is none
  Offset state_as_of = 0;  // the shard replays batches from here to rebuild its state
  std::string report;      // what recovery cut or could not read, for the log; empty when nothing
  // Above 0: records from the end of what is stored to here may have been lost; the log goes on there.
  Offset lost_until = 0;
  bool is_volatile = false;  // what is appended now does not outlive the process, whatever the rest does
};

struct EngineTraits {
  std::string_view name;    // "memory", "segment"
  bool is_durable = false;  // completed appends survive kill -9 and a power cut
};

// One an engine kind and node core group; lives on its core.
class Engine {
 public:
  virtual ~Engine() = default;
  virtual EngineTraits traits() const = 0;
  // Opens or makes the log of `id`. A log that is made begins at `first_offset`.
  virtual void open(ShardId id, const LogSettings& settings, Offset first_offset, Callback<void(Result<OpenedLog>)> done) = 0;
  // Ids of the logs that exist. After recovery; completes inline.
  virtual std::vector<ShardId> list() const = 0;
  // Removes a log and its bytes; the id is not reused. The log must not be open (its object destroyed).
  virtual void remove(ShardId id, Callback<void(Status)> done) = 0;
};

}  // namespace robustmq::storage
