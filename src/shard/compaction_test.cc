// Compaction against a model, on the segment engine and the simulated disk, with crashes; and its parts alone.
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "compress/codec.h"
#include "runtime/sim/disk.h"
#include "runtime/sim/world.h"
#include "shard/cleaner.h"
#include "shard/record_reader.h"
#include "shard/shard.h"
#include "storage/segment/engine.h"

namespace robustmq::shard {
namespace {

using runtime::sim::CrashKind;

// ---- Parts ----

TEST(KeyMap, HoldsTenMillionKeysIn128MiB) {
  const KeyMap map(0, 10'000'000, 128 << 20, {1, 2});
  EXPECT_GE(map.keys_max(), 10'000'000u);
  EXPECT_LE(map.memory_bytes(), uint64_t{128} << 20);
}

TEST(KeyMap, KnowsTheNewestOffsetOfEachKeyAndWhenItIsFull) {
  KeyMap map(100, 1000, 1 << 20, {3, 4});
  for (Offset offset = 100; offset < 600; ++offset) ASSERT_TRUE(map.put(as_bytes("key" + std::to_string(offset % 50)), offset));
  EXPECT_EQ(map.size(), 50u);
  for (int key = 0; key < 50; ++key) EXPECT_EQ(map.newest(as_bytes("key" + std::to_string(key))), 550 + key);
  EXPECT_EQ(map.newest(as_bytes("another")), -1);
  EXPECT_EQ(map.newest(as_bytes("")), -1);
  Offset offset = 600;
  while (map.put(as_bytes(std::to_string(offset)), offset)) ++offset;
  EXPECT_EQ(map.size(), map.keys_max());
  EXPECT_TRUE(map.put(as_bytes("key7"), offset)) << "a key that is there needs no room";
  EXPECT_FALSE(map.put(as_bytes("key7"), 100 + (1LL << 32))) << "too far behind the first";
}

Bytes with_header(const Bytes& plain, Compression codec, bool is_transactional) {
  const BatchView header(plain);
  Bytes records = Bytes::copy_of(header.records());
  if (codec != Compression::none) records = compress::compress(codec, header.records()).take();
  Buffer buffer;
  buffer.append(plain.span().first(kBatchHeaderBytes));
  buffer.append(records);
  uint8_t* at = buffer.data();
  const auto length = static_cast<uint32_t>(buffer.size() - kBatchLengthOverhead);
  for (int i = 0; i < 4; ++i) at[8 + i] = static_cast<uint8_t>(length >> (24 - 8 * i));
  at[22] = static_cast<uint8_t>(static_cast<uint8_t>(codec) | (is_transactional ? 16 : 0));
  renew_batch_crc(at, buffer.size());
  return buffer.take();
}

struct Made {
  std::optional<std::string> key;
  std::optional<std::string> value;
  int64_t time_ms = 0;
};

Bytes batch_of(const std::vector<Made>& records, Offset base, Compression codec = Compression::none) {
  BatchBuilder builder;
  for (const Made& record : records) {
    const auto bytes = [](const std::optional<std::string>& text) {
      return text ? std::optional(as_bytes(*text)) : std::nullopt;
    };
    builder.begin_record(record.time_ms, bytes(record.key), bytes(record.value));
    builder.add_header("h", as_bytes("v"));
    builder.end_record();
  }
  Bytes batch = with_header(builder.finish(), codec, false);
  patch_batch(batch, base, 0);
  return batch;
}

std::map<Offset, Made> records_of(const std::vector<Bytes>& batches) {
  std::map<Offset, Made> found;
  for (const Bytes& batch : batches) {
    EXPECT_TRUE(BatchView(batch).crc_is_right());
    Result<OpenedRecords> opened = open_records(batch, 1 << 20);
    EXPECT_TRUE(opened.ok());
    RecordView record;
    while (opened->records.next(record)) {
      Made made{std::nullopt, std::nullopt, record.timestamp_ms};
      if (record.key) made.key = as_text(*record.key);
      if (record.value) made.value = as_text(*record.value);
      found[record.offset] = made;
    }
    EXPECT_FALSE(opened->records.is_malformed());
    EXPECT_EQ(opened->records.bytes_left(), 0u);
  }
  return found;
}

TEST(Cleaner, KeepsTheNewestOfEachKeyTheirOffsetsAndTheirCodec) {
  for (Compression codec : {Compression::none, Compression::gzip, Compression::snappy, Compression::lz4, Compression::zstd}) {
    const std::vector<Bytes> in{
        batch_of({{"a", "1", 10}, {"b", "2", 20}, {"c", "3", 30}}, 0, codec),
        batch_of({{"a", "4", 40}}, 3, codec),
        batch_of({{"b", "5", 50}, {std::nullopt, "6", 60}}, 4, codec),
    };
    KeyMap keys(0, 100, 1 << 20, {5, 6});
    const AbortedBy none({});
    for (const Bytes& batch : in) ASSERT_TRUE(map_keys(batch, none, 1 << 20, keys));
    Cleaner cleaner({.until = 6, .now = WallTime{1000}}, keys);
    std::vector<Bytes> out;
    for (const Bytes& batch : in) cleaner.clean(batch, out);
    cleaner.flush(out);
    EXPECT_TRUE(cleaner.take_changed());
    ASSERT_EQ(out.size(), 3u);
    Offset next = 0;
    for (const Bytes& batch : out) {
      EXPECT_EQ(BatchView(batch).base_offset(), next);
      EXPECT_EQ(BatchView(batch).compression(), codec);
      next = BatchView(batch).next_offset();
    }
    EXPECT_EQ(next, 6);
    EXPECT_EQ(BatchView(out[0]).max_timestamp(), 30);
    EXPECT_EQ(BatchView(out[2]).max_timestamp(), 50);
    const std::map<Offset, Made> found = records_of(out);
    ASSERT_EQ(found.size(), 3u);
    EXPECT_EQ(found.at(2).value, "3");
    EXPECT_EQ(found.at(3).value, "4");
    EXPECT_EQ(found.at(4).value, "5");
    EXPECT_EQ(found.at(4).time_ms, 50);
    EXPECT_EQ(cleaner.counts().keyless_removed, 1u);
    EXPECT_EQ(out[1], in[1]) << "byte for byte";
  }
}

TEST(Cleaner, ATombstoneStaysForItsTimeFromTheFirstRunOn) {
  KeyMap keys(0, 100, 1 << 20, {5, 6});
  const Bytes tombstone = batch_of({{"a", std::nullopt, 700}, {"b", "x", 705}}, 0);
  ASSERT_TRUE(map_keys(tombstone, AbortedBy({}), 1 << 20, keys));
  const auto run = [&](const Bytes& batch, int64_t now_ms, bool& has_changed) {
    Cleaner cleaner({.until = 2, .now = WallTime{now_ms}, .delete_retention_ms = 100}, keys);
    std::vector<Bytes> out;
    cleaner.clean(batch, out);
    cleaner.flush(out);
    has_changed = cleaner.take_changed();
    EXPECT_EQ(out.size(), 1u);
    return out.at(0);
  };
  bool has_changed = false;
  const Bytes first = run(tombstone, 1000, has_changed);
  EXPECT_TRUE(has_changed);
  EXPECT_EQ(BatchView(first).attributes() & 64, 64);
  EXPECT_EQ(BatchView(first).base_timestamp(), 1100) << "until when it stays";
  EXPECT_EQ(records_of({first}).at(0).time_ms, 700) << "times stay what they are";
  EXPECT_EQ(records_of({first}).at(1).time_ms, 705);
  EXPECT_EQ(run(first, 1099, has_changed), first);
  EXPECT_FALSE(has_changed);
  const Bytes last = run(first, 1100, has_changed);
  EXPECT_EQ(records_of({last}).size(), 1u);
  EXPECT_EQ(records_of({last}).at(1).value, "x");
}

TEST(Cleaner, JoinsWhatIsGoneAndKeepsAProducersLastSequence) {
  std::vector<Bytes> in;
  for (Offset offset = 0; offset < 6; ++offset) {
    BatchBuilder builder;
    builder.begin_record(5, as_bytes("k"), as_bytes("v"));
    builder.end_record();
    builder.set_producer(offset == 5 ? 2 : 1, 0, static_cast<int32_t>(offset));
    Bytes batch = builder.finish();
    patch_batch(batch, offset, offset < 2 ? 0 : 1);
    in.push_back(batch);
  }
  KeyMap keys(0, 100, 1 << 20, {5, 6});
  for (const Bytes& batch : in) ASSERT_TRUE(map_keys(batch, AbortedBy({}), 1 << 20, keys));
  Cleaner cleaner({.until = 6, .now = WallTime{1000}, .producers = {{1, 0, 4}, {2, 0, 5}}}, keys);
  std::vector<Bytes> out;
  for (const Bytes& batch : in) cleaner.clean(batch, out);
  cleaner.flush(out);
  ASSERT_EQ(out.size(), 4u);  // epoch 0, epoch 1, the producer's last, what is left
  EXPECT_EQ(BatchView(out[0]).last_offset(), 1);
  EXPECT_EQ(BatchView(out[0]).leader_epoch(), 0);
  EXPECT_EQ(BatchView(out[1]).base_offset(), 2);
  EXPECT_EQ(BatchView(out[1]).last_offset(), 3);
  EXPECT_EQ(BatchView(out[2]).record_count(), 0);
  EXPECT_EQ(BatchView(out[2]).producer_id(), 1);
  EXPECT_EQ(BatchView(out[2]).base_sequence(), 4);
  EXPECT_EQ(out[3], in[5]);
  // Once more: nothing changes any more.
  std::vector<Bytes> again;
  Cleaner second({.until = 6, .now = WallTime{1000}, .producers = {{1, 0, 4}, {2, 0, 5}}}, keys);
  for (const Bytes& batch : out) second.clean(batch, again);
  second.flush(again);
  EXPECT_FALSE(second.take_changed());
  EXPECT_EQ(again, out);
}

// ---- The whole, against a model ----

struct Written {
  std::optional<std::string> key;
  std::optional<std::string> value;
  int64_t time_ms = 0;
  ProducerId transactional = -1;  // of the transaction's producer
};

class CompactionRig : public CommitListener {
 public:
  explicit CompactionRig(uint64_t seed) : world({.seed = seed}), random(seed * 31 + 7) {}
  ~CompactionRig() {
    if (node.is_up()) node.crash(CrashKind::process);
    shard.reset();
    engine.reset();
  }
  void on_committed(const ShardId&, const Bytes&, uint64_t) override {}
  Offset kept_from(const ShardId&) override { return kept; }

  void start() {
    bool is_open = false;
    storage::StorageOptions options;
    options.journal_file_bytes = 1 << 16;
    options.checkpoint_ms = 20;
    options.direct_bytes_min = 3000;
    options.index_interval_bytes = 512;
    options.open_files_max = 4;
    storage::SegmentEngine::open(node.core(0), options, {}, [&](auto opened) {
      ASSERT_TRUE(opened.ok()) << opened.error().to_string();
      engine = opened.take();
      log_settings.segment_bytes = 2000;
      engine->open(id, log_settings, 0, [&](Result<storage::OpenedLog> log) {
        ASSERT_TRUE(log.ok());
        shard = std::make_unique<Shard>(node.core(0), id, log.take(), ++epoch, ShardSettings{.log = log_settings});
        shard->set_commit_listener(this);
        shard->recover([&](Status status) {
          ASSERT_TRUE(status.ok());
          is_open = true;
        });
      });
    });
    world.run_until([&] { return is_open; }, Duration::seconds(60));
    ASSERT_TRUE(is_open);
  }
  void crash(CrashKind kind) {
    node.crash(kind);
    shard.reset();
    engine.reset();
    node.restart();
    start();
  }

  // Waits for the answer; what has no answer when the node goes is not written.
  bool append(Bytes batch, const std::vector<Written>& records) {
    std::optional<Result<Appended>> answer;
    shard->append(std::move(batch), [&](Result<Appended> appended) { answer = std::move(appended); });
    world.run_until([&] { return answer.has_value(); }, Duration::seconds(60));
    if (!answer || !answer->ok()) {
      ADD_FAILURE() << (answer ? answer->error().to_string() : "no answer");
      return false;
    }
    Offset at = (*answer)->base_offset;
    for (const Written& record : records) written[at++] = record;
    return true;
  }

  void write_some() {
    const uint64_t dice = random() % 10;
    const bool is_transactional = dice >= 7;
    const bool is_idempotent = dice >= 4;
    const ProducerId producer =
        is_transactional ? 10 + static_cast<ProducerId>(random() % 2) : static_cast<ProducerId>(random() % 3);
    BatchBuilder builder;
    std::vector<Written> records;
    for (uint64_t count = random() % 4 + 1; count > 0; --count) {
      Written record;
      if (random() % 30 != 0) record.key = "key" + std::to_string(random() % 12);
      if (random() % 8 != 0) record.value = std::string(random() % 200, 'x') + std::to_string(++serial);
      record.time_ms = node.core(0).wall_now().ms - static_cast<int64_t>(random() % 20);
      if (is_transactional) record.transactional = producer;
      const auto bytes = [](const std::optional<std::string>& text) {
        return text ? std::optional(as_bytes(*text)) : std::nullopt;
      };
      builder.begin_record(record.time_ms, bytes(record.key), bytes(record.value));
      builder.end_record();
      records.push_back(std::move(record));
    }
    int32_t& sequence = sequences[producer];
    if (is_idempotent) builder.set_producer(producer, 0, sequence);
    Bytes batch = with_header(builder.finish(), static_cast<Compression>(random() % 2 ? 0 : random() % 5), is_transactional);
    if (!append(std::move(batch), records)) return;
    if (is_idempotent) sequence += static_cast<int32_t>(records.size());
    if (is_transactional) open.insert(producer);
  }

  void end_transaction(ProducerId producer, bool commits) {
    std::optional<Status> answer;
    shard->end_transaction({producer, 0, commits}, [&](Status status) { answer = std::move(status); });
    world.run_until([&] { return answer.has_value(); }, Duration::seconds(60));
    ASSERT_TRUE(answer && answer->ok());
    const Offset marker = shard->bounds().high_watermark - 1;
    markers.insert(marker);
    for (auto& [offset, record] : written) {
      if (record.transactional != producer) continue;
      record.transactional = -1;
      if (!commits) aborted.insert(offset);
    }
    open.erase(producer);
  }

  // What has to be there: everything but what a newer one of its key, an abort or a missing key allows to go; exactly that where
  // `until` says that it was compacted.
  void check(Offset until) {
    std::map<std::string, Offset> newest;        // of all that counts
    std::map<std::string, Offset> newest_below;  // of what was compacted
    for (const auto& [offset, record] : written) {
      if (!record.key || aborted.contains(offset) || record.transactional >= 0) continue;
      newest[*record.key] = offset;
      if (offset < until) newest_below[*record.key] = offset;
    }
    std::set<ProducerId> void_now;
    std::map<ProducerId, std::vector<Offset>> aborts;
    std::set<Offset> seen;
    std::set<Offset> seen_committed;
    const ShardBounds bounds = shard->bounds();
    Offset expected = -1;
    for (Offset at = bounds.log_start; at < bounds.last_stable;) {
      bool has_records = false;
      std::optional<Result<Fetched>> fetched;
      shard->fetch(at, 700 + random() % 3000, true, true, [&](Result<Fetched> result) { fetched = std::move(result); });
      world.run_until([&] { return fetched.has_value(); }, Duration::seconds(10));
      ASSERT_TRUE(fetched && fetched->ok()) << at << ": " << (fetched ? fetched->error().to_string() : "no answer");
      std::vector<AbortedRange> list = (*fetched)->aborted;
      Buffer bytes;
      for (const Piece& piece : (*fetched)->pieces) {
        if (piece.is_stored()) {
          const auto* file = dynamic_cast<const runtime::sim::SimFile*>(piece.stored.source.get());
          bytes.append(file->read_now(piece.stored.position, piece.size).span());
        } else {
          bytes.append(piece.bytes.span());
        }
      }
      const Bytes all = bytes.take();
      for (size_t position = 0; position < all.size();) {
        const Bytes batch = all.slice(position, *BatchView::size_at(all.span().subspan(position)));
        position += batch.size();
        const BatchView header(batch);
        ASSERT_TRUE(header.crc_is_right());
        // Empty batches in front are left out.
        ASSERT_TRUE(expected < 0 || header.base_offset() == expected || (!has_records && header.base_offset() > expected));
        expected = header.next_offset();
        has_records = has_records || header.record_count() > 0;
        // As a Kafka consumer does it.
        while (!list.empty() && list.front().first <= header.last_offset()) {
          void_now.insert(list.front().producer);
          list.erase(list.begin());
        }
        if (header.is_control()) {
          ASSERT_TRUE(markers.contains(header.base_offset()));
          if (const auto marker = marker_of(header); marker && !marker->commits) void_now.erase(header.producer_id());
          continue;
        }
        const bool is_void = header.is_transactional() && void_now.contains(header.producer_id());
        for (const auto& [offset, record] : records_of({batch})) {
          ASSERT_TRUE(written.contains(offset)) << offset;
          EXPECT_EQ(record.key, written[offset].key);
          EXPECT_EQ(record.value, written[offset].value);
          EXPECT_EQ(record.time_ms, written[offset].time_ms);
          EXPECT_EQ(is_void, aborted.contains(offset)) << "offset " << offset;
          seen.insert(offset);
          if (!is_void) seen_committed.insert(offset);
        }
      }
      ASSERT_GT((*fetched)->next, at);
      ASSERT_TRUE(has_records || (*fetched)->next >= bounds.last_stable) << "empty batches alone";
      at = (*fetched)->next;
      ASSERT_EQ(at, expected);
    }
    for (const auto& [offset, record] : written) {
      if (offset < bounds.log_start || offset >= bounds.last_stable) continue;
      const bool is_aborted = aborted.contains(offset);
      const bool is_newest = record.key && !is_aborted && newest[*record.key] == offset;
      const bool may_be_over = !record.value && offset < tombstones_until;
      if ((is_newest && !may_be_over) || offset >= touched_until)
        EXPECT_TRUE(seen.contains(offset)) << "offset " << offset << " is gone, its key " << record.key.value_or("-");
      if (offset >= until) continue;
      const bool stays = record.key && !is_aborted && newest_below[*record.key] == offset;
      if (!stays) EXPECT_FALSE(seen.contains(offset)) << "offset " << offset << " is still there";
    }
    check_times(seen, bounds);
  }

  // ListOffsets by time over what is left.
  void check_times(const std::set<Offset>& seen, const ShardBounds& bounds) {
    if (bounds.last_stable != bounds.high_watermark) return;
    const int64_t newest_ms = node.core(0).wall_now().ms;
    for (int i = 0; i < 5; ++i) {
      const int64_t asked = newest_ms - static_cast<int64_t>(random() % 3000);
      std::optional<Result<TimedOffset>> found;
      shard->find_by_time(asked, [&](Result<TimedOffset> result) { found = std::move(result); });
      world.run_until([&] { return found.has_value(); }, Duration::seconds(10));
      ASSERT_TRUE(found && found->ok());
      Offset expected = -1;
      for (Offset offset : seen) {
        if (expected < 0 && written[offset].time_ms >= asked) expected = offset;
      }
      // Markers have times too.
      if ((*found)->offset >= 0 && markers.contains((*found)->offset)) continue;
      EXPECT_EQ((*found)->offset, expected) << "at " << asked;
    }
  }

  std::optional<Result<Compacted>> compact(CompactionSettings settings) {
    std::optional<Result<Compacted>> answer;
    touched_until = std::max(touched_until, std::min({shard->bounds().last_stable, kept}));
    shard->compact(settings, [&answer](Result<Compacted> result) { answer = std::move(result); });
    world.run_until([&] { return answer.has_value(); }, Duration::seconds(60));
    return answer;
  }
  void settle() { world.run_for(Duration::millis(60)); }

  runtime::sim::SimWorld world;
  runtime::sim::SimNode& node = world.add_node();
  std::mt19937_64 random;
  ShardId id{Uuid::random(1, 2), 0};
  std::unique_ptr<storage::SegmentEngine> engine;
  std::unique_ptr<Shard> shard;
  LeaderEpoch epoch = 0;
  std::map<Offset, Written> written;
  std::set<Offset> aborted;
  std::set<Offset> markers;
  std::set<ProducerId> open;
  std::map<ProducerId, int32_t> sequences;
  uint64_t serial = 0;
  Offset kept = INT64_MAX;
  storage::LogSettings log_settings;
  Offset touched_until = 0;
  Offset tombstones_until = 0;  // tombstones below it may be gone
};

class CompactionModel : public ::testing::TestWithParam<int> {};

TEST_P(CompactionModel, LosesNothingThatCountsWhereverTheNodeCrashes) {
  CompactionRig rig(static_cast<uint64_t>(GetParam()));
  rig.start();
  Offset until = 0;
  int runs = 0;
  for (int round = 0; round < 14 && !::testing::Test::HasFailure(); ++round) {
    for (int i = 0; i < 60; ++i) {
      rig.write_some();
      if (rig.random() % 5 == 0 && !rig.open.empty()) rig.end_transaction(*rig.open.begin(), rig.random() % 2 == 0);
    }
    if (rig.random() % 2 == 0) {
      while (!rig.open.empty()) rig.end_transaction(*rig.open.begin(), rig.random() % 2 == 0);
    }
    rig.settle();
    rig.kept = rig.random() % 4 == 0 ? static_cast<Offset>(rig.random() % static_cast<uint64_t>(rig.shard->bounds().log_end + 1))
                                     : INT64_MAX;
    CompactionSettings settings;
    settings.delete_retention_ms = 3'600'000;
    settings.part_bytes_max = 2000 + rig.random() % 6000;
    if (rig.random() % 4 == 0) settings.map_bytes_max = 12 * 8;
    if (rig.random() % 3 == 0) settings.bytes_per_second = 100'000;
    if (rig.random() % 3 != 0) {
      const auto answer = rig.compact(settings);
      ASSERT_TRUE(answer.has_value());
      ASSERT_TRUE(answer->ok()) << answer->error().to_string();
      until = std::max(until, (*answer)->until);
      ++runs;
      rig.check(until);
    } else {
      rig.touched_until = std::max(rig.touched_until, std::min(rig.shard->bounds().last_stable, rig.kept));
      rig.shard->compact(settings, [](Result<Compacted> result) {
        EXPECT_TRUE(result.ok() || result.code() == Code::shutting_down) << result.error().to_string();
      });
      rig.world.run_for(Duration::micros(static_cast<int64_t>(rig.random() % 15'000)));
      rig.crash(rig.random() % 2 == 0 ? CrashKind::process : CrashKind::power);
      rig.check(0);
    }
    if (rig.random() % 3 == 0) rig.crash(rig.random() % 2 == 0 ? CrashKind::process : CrashKind::power);
    rig.check(0);
  }
  EXPECT_GT(runs, 2);
}

INSTANTIATE_TEST_SUITE_P(Seeds, CompactionModel, ::testing::Range(1, 17));

TEST(Compaction, TombstonesAndMarkersGoAfterTheirTimeAndCommittedRecordsStay) {
  CompactionRig rig(77);
  rig.start();
  CompactionSettings settings;
  settings.delete_retention_ms = 10'000;
  uint64_t removed = 0;
  for (int round = 0; round < 12 && !::testing::Test::HasFailure(); ++round) {
    for (int i = 0; i < 40; ++i) {
      rig.write_some();
      if (rig.random() % 3 == 0 && !rig.open.empty()) rig.end_transaction(*rig.open.begin(), rig.random() % 3 == 0);
    }
    while (!rig.open.empty()) rig.end_transaction(*rig.open.begin(), false);
    rig.settle();
    rig.tombstones_until = rig.shard->bounds().high_watermark;
    const auto answer = rig.compact(settings);
    ASSERT_TRUE(answer && answer->ok()) << answer->error().to_string();
    removed += (*answer)->counts.markers_removed + (*answer)->counts.tombstones_removed;
    rig.check((*answer)->until);
    if (round % 4 == 3) rig.crash(CrashKind::power);
    rig.check(0);
    rig.world.run_for(Duration::seconds(7));
  }
  EXPECT_GT(removed, 20u);
}

TEST(Compaction, LeavesWhatStoredSessionsWaitForAndTheNewestPart) {
  CompactionRig rig(5);
  rig.start();
  for (int i = 0; i < 100; ++i) rig.write_some();
  while (!rig.open.empty()) rig.end_transaction(*rig.open.begin(), true);
  rig.settle();
  rig.kept = 40;
  auto answer = rig.compact({});
  ASSERT_TRUE(answer && answer->ok());
  EXPECT_LE((*answer)->until, 40);
  EXPECT_GT((*answer)->until, 30);
  rig.check((*answer)->until);
  CompactionDirt dirt;
  rig.shard->measure_dirt(0, [&](CompactionDirt measured) { dirt = measured; });
  rig.settle();
  EXPECT_LT(dirt.ratio(), 0.5) << "what may not be touched does not count";
  rig.kept = INT64_MAX;
  rig.shard->measure_dirt(0, [&](CompactionDirt measured) { dirt = measured; });
  rig.settle();
  EXPECT_GT(dirt.ratio(), 0.5);
  answer = rig.compact({});
  ASSERT_TRUE(answer && answer->ok());
  EXPECT_LT((*answer)->until, rig.shard->bounds().high_watermark) << "the part that is written to";
  EXPECT_LT((*answer)->bytes_after, (*answer)->bytes_before);
  rig.check((*answer)->until);
}

TEST(Compaction, YoungRecordsWaitForTheirLag) {
  CompactionRig rig(6);
  rig.start();
  for (int i = 0; i < 100; ++i) rig.write_some();
  while (!rig.open.empty()) rig.end_transaction(*rig.open.begin(), true);
  rig.settle();
  CompactionSettings settings;
  settings.min_lag_ms = 60'000;
  auto answer = rig.compact(settings);
  ASSERT_TRUE(answer && answer->ok());
  EXPECT_EQ((*answer)->until, 0);
  rig.world.run_for(Duration::seconds(61));
  answer = rig.compact(settings);
  ASSERT_TRUE(answer && answer->ok());
  EXPECT_GT((*answer)->until, 50);
  rig.check((*answer)->until);
}

}  // namespace
}  // namespace robustmq::shard
