// Fuzzes recovery: arbitrary bytes as checkpoint, journal and segment files. Whatever they are, the start ends, every batch that
// is read is whole and continues the chain, and the logs take appends.
//
// Input: a byte that says whether to begin with a small valid image, then edits until it ends: kind (1), file (1), position (2),
// length (1), bytes. Kinds: overwrite, replace whole, truncate, remove, copy another file over, put the checkpoint's CRC right,
// put the CRC of a frame right.
#include <cstdlib>
#include <cstring>

#include "base/hash.h"
#include "runtime/sim/disk.h"
#include "runtime/sim/world.h"
#include "storage/journal_frame.h"
#include "storage/segment/engine.h"
#include "storage/segment/log_state.h"

namespace robustmq::storage {
namespace {

using runtime::sim::SimDisk;
using runtime::sim::SimWorld;

constexpr int kLogs = 2;
using Image = std::vector<std::pair<std::string, Bytes>>;

void demand(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "recovery: %s\n", what);
  std::abort();
}

StorageOptions options() {
  StorageOptions options;
  options.journal_file_bytes = 64 << 10;
  options.journal_files_max = 2;
  options.direct_bytes_min = 600;
  options.index_interval_bytes = 256;
  options.open_files_max = 2;
  return options;
}

LogSettings settings() {
  LogSettings settings;
  settings.segment_bytes = 1500;
  return settings;
}

ShardId shard(int number) { return {Uuid::random(1, static_cast<uint64_t>(number) + 1), number}; }

Bytes batch_at(Offset offset, LeaderEpoch epoch, size_t bytes) {
  BatchBuilder builder;
  builder.begin_record(1000 + offset, std::nullopt, as_bytes(std::string(bytes, 'x')));
  builder.end_record();
  Bytes batch = builder.finish();
  patch_batch(batch, offset, epoch);
  return batch;
}

// An engine on a simulated disk, for one start.
class Start {
 public:
  Start() : world_({}), node_(world_.add_node({})) {}
  ~Start() {
    node_.crash(runtime::sim::CrashKind::process);
    for (auto& log : logs_) log.reset();
    engine_.reset();
  }
  SimDisk& disk() { return node_.disk(); }

  void open() {
    bool is_done = false;
    SegmentEngine::open(node_.core(0), options(), {}, [&](auto opened) {
      is_done = true;
      // A newer format is refused by name; everything else starts.
      demand(opened.ok() || opened.code() == Code::not_supported, "the engine does not start");
      if (opened.ok()) engine_ = opened.take();
    });
    run(is_done);
  }
  bool is_open() const { return engine_ != nullptr; }

  void use(int number, bool reads) {
    bool is_done = false;
    engine_->open(shard(number), settings(), 0, [&](Result<OpenedLog> opened) {
      is_done = true;
      demand(opened.ok(), "a log does not open");
      logs_[number] = std::move(opened->log);
    });
    run(is_done);
    Log& log = *logs_[number];
    if (reads) read_all(log);
    for (int i = 0; i < 6; ++i) append(log, i % 3 == 2 ? 700 : 50);
    if (reads) read_all(log);
  }
  void close() {
    for (auto& log : logs_) log.reset();
    bool is_done = false;
    engine_->close([&](Status) { is_done = true; });
    run(is_done);
    engine_.reset();
  }

 private:
  void run(bool& is_done) {
    world_.run_until([&] { return is_done; }, Duration::seconds(1000));
    demand(is_done, "an operation does not end");
  }
  void append(Log& log, size_t bytes) {
    bool is_done = false;
    log.append({batch_at(log.bounds().end, INT32_MAX, bytes)}, [&](Status status) {
      is_done = true;
      demand(status.ok(), "an append fails");
    });
    run(is_done);
  }
  void read_all(Log& log) {
    Offset at = log.bounds().start;
    for (int reads = 0; at < log.bounds().end && reads < 200; ++reads) {
      bool is_done = false;
      Offset next = at + 1;
      log.read(at, {}, [&](Result<ReadResult> result) {
        is_done = true;
        if (!result.ok()) return demand(result.code() == Code::corrupt_storage, "a read fails");
        check(at, *result);
        if (result->next > at) next = result->next;
      });
      run(is_done);
      at = next;
    }
  }
  static void check(Offset from, const ReadResult& result) {
    Buffer all;
    for (const Piece& piece : result.pieces) {
      if (!piece.is_stored()) {
        all.append(piece.bytes);
        continue;
      }
      const auto& file = static_cast<const runtime::sim::SimFile&>(*piece.stored.source);
      const Bytes bytes = file.read_now(piece.stored.position, static_cast<size_t>(piece.size));
      demand(bytes.size() == piece.size, "a stored range is cut");
      all.append(bytes);
    }
    ByteSpan rest = all.span();
    Offset expected = -1;
    while (!rest.empty()) {
      const std::optional<size_t> size = BatchView::size_at(rest);
      demand(size && *size <= rest.size(), "a batch is cut");
      const BatchView view(rest.first(*size));
      demand(BatchView::check_shape(rest.first(*size)).ok() && view.crc_is_right(), "a damaged batch is served");
      demand(expected < 0 ? view.base_offset() <= from && view.next_offset() > from : view.base_offset() >= expected,
             "the chain is broken");
      expected = view.next_offset();
      rest = rest.subspan(*size);
    }
    demand(expected < 0 || result.next == expected, "next is not behind the last batch");
  }

  SimWorld world_;
  runtime::sim::SimNode& node_;
  std::unique_ptr<SegmentEngine> engine_;
  std::unique_ptr<Log> logs_[kLogs];
};

Image make_image() {
  Start start;
  start.open();
  for (int i = 0; i < kLogs; ++i) start.use(i, false);
  Image image;
  for (const std::string& path : start.disk().file_paths()) {
    Bytes contents = *start.disk().contents(path);
    // The rest of a journal file is zeros.
    image.emplace_back(path, contents.slice(0, std::min<size_t>(contents.size(), 16 << 10)));
  }
  image.emplace_back("checkpoint.new", Bytes());
  image.emplace_back("journal/00000001.jnl", Bytes());
  for (Offset base : {0, 5, 20})
    image.emplace_back("logs/" + segment::folder_name(shard(0)) + "/" + segment::segment_file_name(base), Bytes());
  return image;
}

// Frames begin at multiples of 8; `at` is rounded down.
void mend_frame(std::string& file, size_t at) {
  at -= at % kFrameAlignment;
  const std::optional<JournalFileHeader> header = decode_journal_header(as_bytes(file));
  if (!header || at + kFrameHeaderBytes > file.size()) return;
  uint32_t payload = 0;
  std::memcpy(&payload, file.data() + at + 8, 4);
  if (payload > file.size() - at - kFrameHeaderBytes) return;
  const uint32_t crc = crc32c(as_bytes(file).subspan(at + 8, kFrameHeaderBytes - 8 + payload), header->salt);
  std::memcpy(file.data() + at + 4, &crc, 4);
}

}  // namespace
}  // namespace robustmq::storage

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace robustmq;
  using namespace robustmq::storage;
  static const Image image = make_image();
  if (size < 1) return 0;
  std::vector<std::pair<std::string, std::string>> files;
  const bool is_whole = data[0] & 1;
  for (const auto& [path, bytes] : image) files.emplace_back(path, is_whole ? std::string(bytes.text()) : std::string());
  for (size_t at = 1; at + 5 <= size;) {
    const uint8_t kind = data[at] % 7;
    auto& [path, file] = files[data[at + 1] % files.size()];
    const size_t position = data[at + 2] | data[at + 3] << 8;
    const size_t length = std::min<size_t>(data[at + 4], size - at - 5);
    const std::string_view bytes(reinterpret_cast<const char*>(data + at + 5), length);
    at += 5 + length;
    switch (kind) {
      case 0:
        if (file.size() < position + length) file.resize(position + length);
        file.replace(position, length, bytes);
        break;
      case 1:
        file = bytes;
        break;
      case 2:
        file.resize(std::min(file.size(), position));
        break;
      case 3:
        file.clear();
        break;
      case 4:
        file = files[position % files.size()].second;
        break;
      case 5:
        if (file.size() >= 8) {
          const uint32_t crc = crc32c(as_bytes(file).subspan(8));
          std::memcpy(file.data() + 4, &crc, 4);
        }
        break;
      default:
        mend_frame(file, position);
        break;
    }
  }
  Start start;
  for (const auto& [path, file] : files) {
    if (!file.empty()) start.disk().replace(path, Bytes::copy_of(file));
  }
  start.open();
  if (!start.is_open()) return 0;
  for (int i = 0; i < kLogs; ++i) start.use(i, true);
  start.close();
  start.open();
  return 0;
}
