#include "storage/row_log.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/check.h"
#include "storage/row_key.h"

namespace robustmq::storage {
namespace {

constexpr size_t kPrefixBytes = 1 + 16;
constexpr size_t kKeyBytes = kPrefixBytes + 8;
constexpr size_t kRowsARead = 256;
constexpr size_t kRowsAWalk = 32;  // of any size

Offset last_offset_of(std::string_view key) {
  ROBUSTMQ_CHECK(key.size() == kKeyBytes, "not a key of a batch");
  uint64_t bits = 0;
  for (size_t i = kPrefixBytes; i < kKeyBytes; ++i) bits = bits << 8 | static_cast<uint8_t>(key[i]);
  return static_cast<Offset>(bits ^ (uint64_t{1} << 63));
}

// The batch of a row; empty when the row is damaged.
Bytes batch_of(const std::string& key, const std::string& value) {
  const ByteSpan bytes = as_bytes(value);
  if (!BatchView::check_shape(bytes).ok()) return {};
  const BatchView view(bytes);
  if (!view.crc_is_right() || view.last_offset() != last_offset_of(key)) return {};
  return Bytes::copy_of(bytes);
}

}  // namespace

RowLog::RowLog(Kv& kv, RowLogOwner& owner, const Uuid& id, const Known& known, const LogSettings& settings)
    : kv_(kv), owner_(owner), id_(id), known_(known), settings_(&settings), row_is_due_(!known.has_row) {}

RowLog::~RowLog() { anchor_.cut(); }

std::string RowLog::key_of(const Uuid& id, Offset last_offset) {
  std::string key;
  key.reserve(kKeyBytes);
  key += 'r';
  key.append(reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size());
  const uint64_t bits = static_cast<uint64_t>(last_offset) ^ (uint64_t{1} << 63);
  put_big_endian(bits, 8, key);
  return key;
}

std::string RowLog::end_key(const Uuid& id) { return key_of(id, INT64_MAX) + '\0'; }

Offset RowLog::end_of(const KvRows& last, Offset start) {
  return last.empty() ? start : std::max(start, last_offset_of(last.front().first) + 1);
}

void RowLog::put_row(KvBatch& batch) {
  KvBatch::Put row = owner_.row(known_.start, known_.has_producers);
  batch.put(std::move(row.key), std::move(row.value));
  row_is_due_ = false;
}

// Drops what lies wholly below.
void RowLog::cut(KvBatch& batch, Offset keep_from) {
  known_.start = keep_from;
  batch.remove_range(first_key(id_), key_of(id_, keep_from));
}

void RowLog::append(std::vector<Bytes> batches, Callback<void(Status)> done) {
  if (has_failed_) return done(Code::storage_failed);
  KvBatch rows;
  Asked asked{known_.end, known_.start, known_.start, false};
  for (const Bytes& batch : batches) {
    const BatchView view(batch);
    ROBUSTMQ_CHECK(view.base_offset() == known_.end, "an append does not continue the chain");
    if (view.producer_id() >= 0 && !known_.has_producers) known_.has_producers = row_is_due_ = true;
    if (known_.start == known_.end || known_.oldest_ms < 0 || view.max_timestamp() < known_.oldest_ms)
      known_.oldest_ms = view.max_timestamp();
    known_.end = view.next_offset();
    known_.size_bytes += batch.size();
    rows.put(key_of(id_, view.last_offset()), std::string(as_text(batch.span())));
  }
  // Ranges are deleted a quarter at a time, not with every record.
  const int64_t most = settings_->records_max;
  if (most >= 0 && known_.end - known_.start > most + most / kSlackDivisor) {
    cut(rows, known_.end - most);
    row_is_due_ = true;
  }
  asked.start = known_.start;
  asked.with_row = row_is_due_;
  if (asked.with_row) put_row(rows);
  ++under_way_;
  ++appends_;
  kv_.write(std::move(rows), [self = anchor_.anchor(this), asked, done = std::move(done)](Status status) mutable {
    if (RowLog* log = self.get()) log->on_appended(std::move(status), asked, done);
  });
}

void RowLog::on_appended(Status status, const Asked& asked, Callback<void(Status)>& done) {
  if (!status.ok()) {
    if (status.code() == Code::storage_failed) has_failed_ = true;
    if (!is_failing_) {
      known_.end = asked.begin;
      known_.start = asked.start_before;  // what it was to drop is there
    }
    is_failing_ = true;
    row_is_due_ = row_is_due_ || asked.with_row;
  } else {
    known_.has_row = known_.has_row || asked.with_row;
    // What one behind a refused one dropped is gone.
    if (is_failing_) known_.start = std::clamp(asked.start, known_.start, known_.end);
  }
  if (!is_failing_) {
    --under_way_;
    --appends_;
    return done({});
  }
  const auto finish = [this](const Status& why, Callback<void(Status)>& tell) {
    --under_way_;
    if (--appends_ == 0) is_failing_ = false;
    // Code of the first failure or of its followers: whoever appends takes the first.
    tell(why.ok() ? Status(Code::storage_full) : why);
  };
  if (!status.ok()) return finish(status, done);
  // Stored behind a hole: what is refused must not be found at the next start.
  KvBatch gone;
  gone.remove_range(key_of(id_, known_.end), end_key(id_));
  kv_.write(std::move(gone), [self = anchor_.anchor(this), finish, done = std::move(done)](Status removed) mutable {
    RowLog* log = self.get();
    if (!log) return;
    if (!removed.ok()) log->has_failed_ = true;
    finish(removed, done);
  });
}

// ---- Reading ----

// Reads rows, as many at once as what was seen so far lets expect to fit: rows are of any size. A loop where they answer inline.
class RowLog::Reading : public std::enable_shared_from_this<RowLog::Reading> {
 public:
  Reading(Kv& kv, const Uuid& id, Offset from, const ReadLimits& limits, Callback<void(Result<ReadResult>)> done)
      : kv_(kv), at_(key_of(id, from)), end_(end_key(id)), limits_(limits), done_(std::move(done)) {
    result_.next = from;
  }
  void run() {
    while (!is_over_) {
      in_call_ = true;
      came_inline_ = false;
      wanted_ = rows_that_fit();
      kv_.scan(at_, end_, wanted_, [self = shared_from_this()](Result<KvRows> rows) { self->take(std::move(rows)); });
      in_call_ = false;
      if (!came_inline_) return;
    }
    if (result_.pieces.empty() && !status_.ok()) return done_(status_.error());
    done_(std::move(result_));
  }

 private:
  size_t rows_that_fit() const {
    const size_t seen = result_.pieces.size();
    if (seen == 0) return 1;
    const uint64_t fit = (limits_.bytes_max - bytes_) / std::max<uint64_t>(bytes_ / seen, 1);
    return std::clamp<uint64_t>(fit, 1, std::min<size_t>(kRowsARead, 4 * seen));
  }
  void take(Result<KvRows> rows) {
    if (!rows.ok())
      status_ = rows.error();
    else
      for (const auto& [key, value] : *rows) {
        if (!take_one(key, value)) break;
      }
    is_over_ = is_over_ || !rows.ok() || rows->size() < wanted_ || bytes_ >= limits_.bytes_max;
    if (!is_over_) at_ = rows->back().first + '\0';
    came_inline_ = in_call_;
    if (!in_call_) run();
  }
  bool take_one(const std::string& key, const std::string& value) {
    Bytes batch = batch_of(key, value);
    is_over_ = true;
    if (batch.empty()) {
      status_ = Error{Code::corrupt_storage, "a batch in the rows is damaged"};
      return false;
    }
    const BatchView view(batch);
    if (view.base_offset() >= limits_.end) return false;
    const bool is_first_whole = result_.pieces.empty() && limits_.first_batch_over_limit;
    if (bytes_ + batch.size() > limits_.bytes_max && !is_first_whole) return false;
    is_over_ = false;
    bytes_ += batch.size();
    result_.next = view.next_offset();
    result_.pieces.push_back(Piece::of(std::move(batch)));
    return true;
  }

  Kv& kv_;
  std::string at_;
  std::string end_;
  ReadLimits limits_;
  Callback<void(Result<ReadResult>)> done_;
  ReadResult result_;
  Status status_;
  uint64_t bytes_ = 0;
  size_t wanted_ = 0;
  bool is_over_ = false;
  bool in_call_ = false;
  bool came_inline_ = false;
};

void RowLog::read(Offset from, ReadLimits limits, Callback<void(Result<ReadResult>)> done) {
  if (from < known_.start || from > known_.end) return done(Error{Code::offset_out_of_range, {}});
  if (from == known_.end) return done(ReadResult{{}, from});
  std::make_shared<Reading>(kv_, id_, from, limits, std::move(done))->run();
}

// Gives every batch to `each`, some rows at a time, until that says false; `done` gets how it ended. A loop where the rows answer
// inline.
class RowLog::Walk : public std::enable_shared_from_this<Walk> {
 public:
  Walk(Kv& kv, const Uuid& id, Callback<bool(const Bytes&)> each, Callback<void(Status)> done)
      : kv_(kv), at_(first_key(id)), end_(end_key(id)), each_(std::move(each)), done_(std::move(done)) {}

  void run() {
    while (!is_over_) {
      in_call_ = true;
      came_inline_ = false;
      kv_.scan(at_, end_, kRowsAWalk, [self = shared_from_this()](Result<KvRows> rows) { self->take(std::move(rows)); });
      in_call_ = false;
      if (!came_inline_) return;
    }
    done_(std::move(status_));
  }

 private:
  void take(Result<KvRows> rows) {
    if (!rows.ok()) {
      status_ = rows.error();
      is_over_ = true;
    } else {
      is_over_ = rows->size() < kRowsAWalk;
      for (const auto& [key, value] : *rows) {
        const Bytes batch = batch_of(key, value);
        if (batch.empty()) status_ = Error{Code::corrupt_storage, "a batch in the rows is damaged"};
        if (batch.empty() || !each_(batch)) {
          is_over_ = true;
          break;
        }
      }
      if (!rows->empty()) at_ = rows->back().first + '\0';
    }
    came_inline_ = in_call_;
    if (!in_call_) run();
  }

  Kv& kv_;
  std::string at_;
  std::string end_;
  Callback<bool(const Bytes&)> each_;
  Callback<void(Status)> done_;
  Status status_;
  bool is_over_ = false;
  bool in_call_ = false;
  bool came_inline_ = false;
};

void RowLog::find(FindWhat what, Callback<void(Result<std::optional<Found>>)> done) {
  auto found = std::make_shared<std::optional<Found>>();
  const auto* by_time = std::get_if<FindByTime>(&what);
  const std::optional<int64_t> wanted = by_time ? std::optional<int64_t>(by_time->timestamp_ms) : std::nullopt;
  auto each = [found, wanted](const Bytes& batch) {
    const int64_t time = BatchView(batch).max_timestamp();
    if (wanted ? time >= *wanted : !*found || time > BatchView((*found)->batch).max_timestamp()) *found = Found{batch};
    return !(wanted && *found);
  };
  std::make_shared<Walk>(kv_, id_, std::move(each), [found, done = std::move(done)](Status status) mutable {
    if (!status.ok()) return done(status.error());
    done(std::move(*found));
  })->run();
}

// ---- Dropping ----

void RowLog::trim(Offset keep_from, Callback<void(Status)> done) {
  if (keep_from > known_.end) return done(Code::offset_out_of_range);
  if (keep_from <= known_.start) return done({});
  KvBatch rows;
  const Known before = known_;
  cut(rows, keep_from);
  if (known_.start == known_.end) known_.size_bytes = 0;
  put_row(rows);
  ++under_way_;
  kv_.write(std::move(rows), [self = anchor_.anchor(this), before, keep_from, done = std::move(done)](Status status) mutable {
    RowLog* log = self.get();
    if (!log) return;
    --log->under_way_;
    if (!status.ok()) {
      log->row_is_due_ = true;
      // What it was to drop is there. Nothing else moved the start meanwhile.
      if (log->known_.start == keep_from) log->known_.start = before.start;
      if (log->known_.size_bytes == 0) log->known_.size_bytes = before.size_bytes;
    }
    done(std::move(status));
  });
}

void RowLog::truncate(Offset keep_until, Callback<void(Status)> done) {
  if (keep_until < known_.start) return done(Code::offset_out_of_range);
  if (keep_until >= known_.end) return done({});
  known_.end = keep_until;
  KvBatch rows;
  rows.remove_range(key_of(id_, keep_until), end_key(id_));
  put_row(rows);
  ++under_way_;
  kv_.write(std::move(rows), [self = anchor_.anchor(this), done = std::move(done)](Status status) mutable {
    if (RowLog* log = self.get()) --log->under_way_;
    done(std::move(status));
  });
}

void RowLog::retain(WallTime now, Offset floor) {
  const int64_t age = settings_->retention_ms;
  const int64_t bytes = settings_->retention_bytes;
  const bool is_old = age >= 0 && known_.start < known_.end && known_.oldest_ms < now.ms - age;
  const bool is_large = bytes >= 0 && known_.size_bytes > static_cast<uint64_t>(bytes);
  if (is_retaining_ || appends_ > 0 || !(is_old || is_large)) return;
  is_retaining_ = true;
  ++under_way_;
  struct Seen {
    struct Batch {
      Offset base;
      Offset next;
      int64_t time;
      uint64_t size;
    };
    std::vector<Batch> batches;
  };
  auto seen = std::make_shared<Seen>();
  auto each = [seen](const Bytes& batch) {
    const BatchView view(batch);
    seen->batches.push_back({view.base_offset(), view.next_offset(), view.max_timestamp(), batch.size()});
    return true;
  };
  std::make_shared<Walk>(kv_, id_, std::move(each), [self = anchor_.anchor(this), seen, now, floor, age, bytes](Status status) {
    RowLog* log = self.get();
    if (!log) return;
    --log->under_way_;
    log->is_retaining_ = false;
    if (!status.ok()) return;  // the next look tries again
    uint64_t size = 0;
    for (const Seen::Batch& batch : seen->batches) size += batch.size;
    Offset keep_from = log->known_.start;
    size_t at = 0;
    for (; at < seen->batches.size(); ++at) {
      const Seen::Batch& batch = seen->batches[at];
      const bool is_last = at + 1 == seen->batches.size();
      const bool too_old = age >= 0 && batch.time < now.ms - age;
      const bool too_much = bytes >= 0 && !is_last && size > static_cast<uint64_t>(bytes);
      if ((!too_old && !too_much) || batch.next > floor) break;
      keep_from = batch.next;
      size -= batch.size;
    }
    if (log->appends_ > 0) return;  // what is known moved on; the next look tries again
    log->known_.size_bytes = size;
    log->known_.oldest_ms = at < seen->batches.size() ? seen->batches[at].time : now.ms;
    for (size_t i = at; i < seen->batches.size(); ++i)
      log->known_.oldest_ms = std::min(log->known_.oldest_ms, seen->batches[i].time);
    if (keep_from > log->known_.start) log->trim(keep_from, [](Status) {});
  })->run();
}

void RowLog::seal(Bytes, Offset, Callback<void(Status)> done) { done({}); }

Bounds RowLog::bounds() const { return {known_.start, known_.end, known_.end, known_.size_bytes}; }

}  // namespace robustmq::storage
