// KvLog: rows in a map, changes in a log, a snapshot now and then.
#include "storage/kv_log.h"

#include <algorithm>
#include <utility>

#include "base/batch.h"
#include "base/hash.h"
#include "base/wire.h"
#include "storage/activity.h"

namespace robustmq::storage {

using runtime::DiskStep;
using runtime::FilePtr;
using runtime::Task;

const ShardId kKvLogId{Uuid{{'k', 'v', '.', 'r', 'o', 'w', 's', 0, 0, 0, 0, 0, 0, 0, 0, 1}}, 0};

namespace {

constexpr std::string_view kKvFolder = "kv";
constexpr std::string_view kSnapshotPath = "kv/snapshot";
constexpr std::string_view kOldSnapshotPath = "kv/snapshot.old";
constexpr std::string_view kNewSnapshotPath = "kv/snapshot.new";
constexpr uint64_t kSnapshotMagic = 0x4B514D52;  // "RMQK"
constexpr uint64_t kSnapshotVersion = 1;
constexpr size_t kSnapshotCrcAt = 8;
constexpr size_t kSnapshotCrcEnd = 12;
constexpr uint64_t kReadBytes = 1 << 20;

enum class Change : uint8_t { put = 1, remove = 2, remove_range = 3 };

void put_text(std::string_view text, Buffer& to) {
  wire::put_uvarint(text.size(), to);
  to.append(text);
}

Bytes encode_changes(const KvBatch& batch) {
  Buffer buffer;
  for (const auto& change : batch.changes) {
    if (const auto* put = std::get_if<KvBatch::Put>(&change)) {
      buffer.append_u8(static_cast<uint8_t>(Change::put));
      put_text(put->key, buffer);
      put_text(put->value, buffer);
    } else if (const auto* remove = std::get_if<KvBatch::Delete>(&change)) {
      buffer.append_u8(static_cast<uint8_t>(Change::remove));
      put_text(remove->key, buffer);
    } else {
      const auto& range = std::get<KvBatch::DeleteRange>(change);
      buffer.append_u8(static_cast<uint8_t>(Change::remove_range));
      put_text(range.from, buffer);
      put_text(range.to, buffer);
    }
  }
  return buffer.take();
}

std::string_view take_text(wire::Reader& reader) { return as_text(reader.take(reader.uvarint())); }

}  // namespace

KvLog::KvLog(runtime::Core& core, const StorageOptions& options) : core_(core), log_bytes_max_(options.kv_log_bytes_max) {}
KvLog::~KvLog() = default;

bool KvLog::apply(ByteSpan changes) {
  wire::Reader reader(changes);
  while (reader.left() > 0) {
    const auto kind = static_cast<Change>(reader.fixed(1));
    const std::string_view key = take_text(reader);
    const std::string_view second = kind == Change::remove ? std::string_view() : take_text(reader);
    if (reader.failed()) return false;
    switch (kind) {
      case Change::put:
        rows_.insert_or_assign(std::string(key), std::string(second));
        break;
      case Change::remove:
        if (auto found = rows_.find(key); found != rows_.end()) rows_.erase(found);
        break;
      case Change::remove_range:
        if (key < second) rows_.erase(rows_.lower_bound(key), rows_.lower_bound(second));
        break;
      default:
        return false;
    }
  }
  return true;
}

bool KvLog::apply_batch(ByteSpan batch) {
  const BatchView view(batch);
  RecordReader records(view, view.records());
  RecordView record;
  while (records.next(record)) {
    if (!record.value || !apply(*record.value)) return false;
  }
  return !records.is_malformed();
}

void KvLog::write(KvBatch batch, Callback<void(Status)> done) {
  if (batch.changes.empty()) return done({});
  const Bytes changes = encode_changes(batch);
  BatchBuilder builder;
  builder.begin_record(core_.wall_now().ms, std::nullopt, changes.span());
  builder.end_record();
  Bytes stored = builder.finish();
  const Offset offset = log_->bounds().end;
  patch_batch(stored, offset, 0);
  auto kept = std::make_unique<Callback<void(Status)>>(std::move(done));
  log_->append({stored}, [this, changes, offset, kept = std::move(kept)](Status status) {
    if (status.ok()) {
      apply(changes);
      applied_ = offset + 1;
    }
    (*kept)(std::move(status));
    if (!is_snapshotting_ && applied_ - snapshot_as_of_ > 0 &&
        log_->bounds().size_bytes > static_cast<uint64_t>(log_bytes_max_) + snapshot_base_bytes_) {
      start_snapshot();
    }
  });
}

void KvLog::get(std::string_view key, Callback<void(Result<std::string>)> done) const {
  auto found = rows_.find(key);
  if (found == rows_.end()) return done(Code::not_found);
  done(std::string(found->second));
}

void KvLog::scan(std::string_view from, std::string_view to, size_t rows_max, Callback<void(Result<KvRows>)> done) const {
  KvRows rows;
  for (auto at = rows_.lower_bound(from); at != rows_.end() && at->first < to && rows.size() < rows_max; ++at)
    rows.push_back(*at);
  done(std::move(rows));
}

void KvLog::last(std::string_view from, std::string_view to, Callback<void(Result<KvRows>)> done) const {
  KvRows rows;
  auto at = rows_.lower_bound(to);
  if (from < to && at != rows_.begin() && (--at)->first >= from) rows.push_back(*at);
  done(std::move(rows));
}

Bytes KvLog::encode_snapshot() const {
  Buffer buffer;
  wire::put_fixed(kSnapshotMagic, 4, buffer);
  wire::put_fixed(kSnapshotVersion, 4, buffer);
  wire::put_fixed(0, 4, buffer);
  wire::put_fixed(static_cast<uint64_t>(applied_), 8, buffer);
  wire::put_fixed(rows_.size(), 8, buffer);
  for (const auto& [key, value] : rows_) {
    put_text(key, buffer);
    put_text(value, buffer);
  }
  const uint32_t crc = crc32c(buffer.span().subspan(kSnapshotCrcEnd));
  std::memcpy(buffer.data() + kSnapshotCrcAt, &crc, 4);
  return buffer.take();
}

Status KvLog::load_snapshot(ByteSpan bytes) {
  wire::Reader reader(bytes);
  const uint64_t magic = reader.fixed(4);
  const uint64_t version = reader.fixed(4);
  const uint64_t crc = reader.fixed(4);
  if (reader.failed() || magic != kSnapshotMagic || crc != crc32c(bytes.subspan(kSnapshotCrcEnd))) return Code::corrupt_storage;
  if (version != kSnapshotVersion) return Error{Code::not_supported, "row snapshot format " + std::to_string(version)};
  const auto as_of = static_cast<Offset>(reader.fixed(8));
  const uint64_t count = reader.fixed(8);
  std::map<std::string, std::string, std::less<>> rows;
  for (uint64_t i = 0; i < count; ++i) {
    const std::string_view key = take_text(reader);
    const std::string_view value = take_text(reader);
    if (reader.failed()) return Code::corrupt_storage;
    rows.emplace_hint(rows.end(), key, value);
  }
  if (reader.left() != 0 || as_of < 0) return Code::corrupt_storage;
  rows_ = std::move(rows);
  applied_ = snapshot_as_of_ = as_of;
  return {};
}

// Writes the rows to a file, puts it in the place of the snapshot and trims the log to what the one before covers.
class KvLog::Snapshotting final : public Activity {
 public:
  explicit Snapshotting(KvLog& kv) : kv_(kv) {}

  Task<> run() {
    const Offset as_of = kv_.applied_;
    const Offset keep_from = kv_.has_snapshot_ ? kv_.snapshot_as_of_ : 0;
    Bytes encoded = kv_.encode_snapshot();
    Status status = co_await replace(std::move(encoded));
    if (status.ok()) {
      kv_.has_snapshot_ = true;
      kv_.snapshot_as_of_ = as_of;
      kv_.snapshots_ += 1;
      Status trimmed = co_await wait<Status>([&](auto done) { kv_.log_->trim(keep_from, std::move(done)); });
      static_cast<void>(trimmed);  // the next snapshot trims again
    }
    // What the log still holds counts as given: segments go as a whole only.
    kv_.snapshot_base_bytes_ = kv_.log_->bounds().size_bytes;
    kv_.is_snapshotting_ = false;
  }

 private:
  Task<Status> replace(Bytes encoded) {
    const std::string path(kNewSnapshotPath);
    Result<FilePtr> file =
        co_await wait<Result<FilePtr>>([&](auto done) { kv_.core_.disk().open(path, {.create = true}, std::move(done)); });
    if (!file.ok()) co_return file.error();
    std::vector<DiskStep> steps;
    const uint64_t size = encoded.size();
    steps.push_back(DiskStep::write(*file, 0, {std::move(encoded)}));
    steps.push_back(DiskStep::truncate(*file, size));
    steps.push_back(DiskStep::sync(file.take()));
    if (kv_.has_snapshot_) steps.push_back(DiskStep::rename(std::string(kSnapshotPath), std::string(kOldSnapshotPath)));
    steps.push_back(DiskStep::rename(path, std::string(kSnapshotPath)));
    steps.push_back(DiskStep::sync_directory(std::string(kKvFolder)));
    std::vector<Status> statuses =
        co_await wait<std::vector<Status>>([&](auto done) { kv_.core_.disk().run(std::move(steps), std::move(done)); });
    for (const Status& each : statuses) {
      if (!each.ok()) co_return each;
    }
    co_return Status();
  }

  KvLog& kv_;
};

void KvLog::start_snapshot() {
  is_snapshotting_ = true;
  auto snapshotting = std::make_shared<Snapshotting>(*this);
  snapshotting_ = snapshotting;
  snapshotting->start(snapshotting->run());
}

class KvLog::Opening final : public Activity {
 public:
  Opening(runtime::Core& core, Engine& engine, const StorageOptions& options, Callback<void(Result<std::unique_ptr<KvLog>>)> done)
      : engine_(engine), options_(options), kv_(new KvLog(core, options)), done_(std::move(done)) {}

  Task<> run() {
    Status status = co_await open();
    if (status.ok()) {
      done_(std::move(kv_));
    } else {
      done_(status.error());
    }
  }

 private:
  runtime::Disk& disk() { return kv_->core_.disk(); }

  Task<Status> open() {
    std::vector<Status> made = co_await wait<std::vector<Status>>([&](auto done) {
      disk().run({DiskStep::make_directory(std::string(kKvFolder)), DiskStep::sync_directory(".")}, std::move(done));
    });
    for (const Status& status : made) {
      if (!status.ok()) co_return status;
    }
    Status current = co_await load(std::string(kSnapshotPath));
    kv_->has_snapshot_ = current.ok();
    if (!current.ok() && current.code() != Code::not_found && current.code() != Code::corrupt_storage) co_return current;
    if (!current.ok()) {
      Status old = co_await load(std::string(kOldSnapshotPath));
      if (old.ok() || current.code() == Code::corrupt_storage)
        kv_->report_ += "kv/snapshot is missing or damaged; the one before is used\n";
      if (!old.ok() && old.code() != Code::not_found && old.code() != Code::corrupt_storage) co_return old;
    }
    LogSettings settings;
    settings.segment_bytes = std::max<int64_t>(options_.kv_log_bytes_max / 2, 1 << 16);
    settings.segment_ms = INT64_MAX;
    Result<OpenedLog> opened =
        co_await wait<Result<OpenedLog>>([&](auto done) { engine_.open(kKvLogId, settings, 0, std::move(done)); });
    if (!opened.ok()) co_return opened.error();
    kv_->log_ = std::move(opened->log);
    Status replayed = co_await replay();
    co_return replayed;
  }

  Task<Status> load(std::string path) {
    Result<FilePtr> file = co_await wait<Result<FilePtr>>([&](auto done) { disk().open(path, {}, std::move(done)); });
    if (!file.ok()) co_return file.error();
    Result<uint64_t> size = co_await wait<Result<uint64_t>>([&](auto done) { disk().size(*file, std::move(done)); });
    if (!size.ok()) co_return size.error();
    Result<Bytes> bytes =
        co_await wait<Result<Bytes>>([&](auto done) { disk().read(*file, 0, static_cast<size_t>(*size), std::move(done)); });
    if (!bytes.ok()) co_return bytes.error();
    co_return kv_->load_snapshot(*bytes);
  }

  Task<Status> replay() {
    const Bounds bounds = kv_->log_->bounds();
    if (kv_->applied_ < bounds.start || kv_->applied_ > bounds.end) {
      co_return Error{Code::corrupt_storage, "no snapshot of the rows meets their log: snapshot to " +
                                                 std::to_string(kv_->applied_) + ", log from " + std::to_string(bounds.start) +
                                                 " to " + std::to_string(bounds.end)};
    }
    while (kv_->applied_ < bounds.end) {
      ReadLimits limits;
      limits.bytes_max = kReadBytes;
      Result<ReadResult> read =
          co_await wait<Result<ReadResult>>([&](auto done) { kv_->log_->read(kv_->applied_, limits, std::move(done)); });
      if (!read.ok()) co_return read.error();
      if (read->next <= kv_->applied_) co_return Error{Code::corrupt_storage, "the rows' log ends early"};
      for (Piece& piece : read->pieces) {
        Bytes bytes = piece.bytes;
        if (piece.is_stored()) {
          auto source =
              std::const_pointer_cast<runtime::File>(std::static_pointer_cast<const runtime::File>(piece.stored.source));
          Result<Bytes> stored = co_await wait<Result<Bytes>>(
              [&](auto done) { disk().read(source, piece.stored.position, static_cast<size_t>(piece.size), std::move(done)); });
          if (!stored.ok()) co_return stored.error();
          bytes = stored.take();
        }
        while (!bytes.empty()) {
          const std::optional<size_t> size = BatchView::size_at(bytes);
          if (!size || *size > bytes.size()) co_return Error{Code::corrupt_storage, "a batch of the rows' log is cut"};
          const Offset next = BatchView(bytes.span().first(*size)).next_offset();
          // A batch below the snapshot may lead the first read.
          if (next > kv_->applied_) {
            if (!kv_->apply_batch(bytes.span().first(*size)))
              co_return Error{Code::corrupt_storage, "a change of the rows is malformed"};
            kv_->applied_ = next;
          }
          bytes = bytes.slice(*size);
        }
      }
    }
    co_return Status();
  }

  Engine& engine_;
  StorageOptions options_;
  std::unique_ptr<KvLog> kv_;
  Callback<void(Result<std::unique_ptr<KvLog>>)> done_;
};

void KvLog::open(runtime::Core& core, Engine& engine, const StorageOptions& options,
                 Callback<void(Result<std::unique_ptr<KvLog>>)> done) {
  auto opening = std::make_shared<Opening>(core, engine, options, std::move(done));
  opening->start(opening->run());
}

}  // namespace robustmq::storage
