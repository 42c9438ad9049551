// The shard over a log whose completions the test brings, and the producers' rules against a model.
#include "shard/shard.h"

#include <gtest/gtest.h>

#include <deque>
#include <optional>
#include <random>

#include "base/hash.h"
#include "shard/producers.h"

namespace robustmq::shard {
namespace {

class FakeCore final : public runtime::Core {
 public:
  CoreIndex index() const override { return 0; }
  CoreIndex count() const override { return 1; }
  Instant now() const override { return {}; }
  WallTime wall_now() const override { return wall; }
  uint64_t random() override { return 4; }
  void arm(runtime::Timer&, Instant) override {}
  void defer(runtime::Deferred& work) override {
    if (!work.is_linked()) deferred_.push_back(work);
  }
  void post(Callback<void()>) override {}
  void send(CoreIndex, Callback<void()>) override {}
  bool is_congested() const override { return false; }
  runtime::Disk& disk() override { std::abort(); }
  runtime::Net& net() override { std::abort(); }

  void end_turn() {
    while (!deferred_.empty()) deferred_.pop_front().run_deferred();
  }

  WallTime wall{1000};

 private:
  List<runtime::Deferred, runtime::DeferTag> deferred_;
};

// Batches in a vector; completes when told, or inline.
class FakeLog final : public storage::Log {
 public:
  struct State {
    std::vector<Bytes> batches;
    std::deque<std::pair<size_t, Callback<void(Status)>>> waiting;  // batches kept before the append, its completion
    Offset start = 0;
    Offset end = 0;
    bool is_inline = false;
    bool has_failed = false;
    Bytes sealed;
    Offset sealed_as_of = 0;

    // Completes the first append under way. A failed one takes those behind it along, as no chain can continue over it.
    void complete(Status status = {}) {
      auto [kept, done] = std::move(waiting.front());
      waiting.pop_front();
      if (!status.ok()) {
        batches.resize(std::min(kept, batches.size()));
        end = batches.empty() ? start : BatchView(batches.back()).next_offset();
      }
      done(status);
    }
    void fail_all(Code code) {
      std::deque<std::pair<size_t, Callback<void(Status)>>> all = std::exchange(waiting, {});
      batches.resize(all.front().first);
      end = batches.empty() ? start : BatchView(batches.back()).next_offset();
      for (auto& [kept, done] : all) done(code);
    }
  };
  explicit FakeLog(State& state) : state_(state) {}
  ~FakeLog() override { state_.waiting.clear(); }

  void append(std::vector<Bytes> batches, Callback<void(Status)> done) override {
    state_.waiting.emplace_back(state_.batches.size(), std::move(done));
    for (Bytes& batch : batches) {
      ASSERT_EQ(BatchView(batch).base_offset(), state_.end) << "the chain is broken";
      state_.end = BatchView(batch).next_offset();
      state_.batches.push_back(std::move(batch));
    }
    State& state = state_;  // a completion may destroy this log
    while (state.is_inline && !state.waiting.empty()) state.complete();
  }
  void read(Offset from, storage::ReadLimits limits, Callback<void(Result<storage::ReadResult>)> done) override {
    storage::ReadResult result{{}, from};
    for (const Bytes& batch : state_.batches) {
      const BatchView view(batch);
      if (view.next_offset() <= from || view.base_offset() >= limits.end) continue;
      if (!result.pieces.empty() && size_of(result.pieces) + batch.size() > limits.bytes_max) break;
      result.pieces.push_back(Piece::of(batch));
      result.next = view.next_offset();
    }
    done(std::move(result));
  }
  void find(storage::FindWhat what, Callback<void(Result<std::optional<storage::Found>>)> done) override {
    std::optional<storage::Found> found;
    for (const Bytes& batch : state_.batches) {
      if (BatchView(batch).max_timestamp() >= std::get<storage::FindByTime>(what).timestamp_ms) {
        found = storage::Found{batch};
        break;
      }
    }
    done(std::move(found));
  }
  void trim(Offset keep_from, Callback<void(Status)> done) override {
    state_.start = std::max(state_.start, keep_from);
    done({});
  }
  void truncate(Offset, Callback<void(Status)>) override { std::abort(); }
  void seal(Bytes replica_state, Offset as_of, Callback<void(Status)> done) override {
    state_.sealed = std::move(replica_state);
    state_.sealed_as_of = as_of;
    done({});
  }
  storage::Bounds bounds() const override { return {.start = state_.start, .end = state_.end, .durable = state_.end}; }
  void retain(WallTime, Offset) override {}
  void configure(const storage::LogSettings&) override {}
  bool has_failed() const override { return state_.has_failed; }

 private:
  State& state_;
};

struct Sent {
  ProducerId producer = -1;
  int16_t epoch = -1;
  int32_t sequence = -1;
  int records = 1;
  int64_t time_ms = 5;
};

Bytes batch_of(Sent sent) {
  BatchBuilder builder;
  for (int i = 0; i < sent.records; ++i) {
    builder.begin_record(sent.time_ms + i, std::nullopt, as_bytes("value"));
    builder.end_record();
  }
  builder.set_producer(sent.producer, sent.epoch, sent.sequence);
  return builder.finish();
}

class ShardTest : public ::testing::Test, public CommitListener {
 protected:
  ShardTest() { open({}); }
  ~ShardTest() override { shard.reset(); }  // answers what waits
  void open(ShardSettings settings) {
    shard.reset();
    storage::OpenedLog opened;
    opened.log = std::make_unique<FakeLog>(log);
    opened.replica_state = log.sealed;
    opened.state_as_of = log.sealed_as_of;
    shard = std::make_unique<Shard>(core, ShardId{}, std::move(opened), 3, settings);
    shard->set_commit_listener(this);
    Status status = Code::internal;
    shard->recover([&](Status result) { status = result; });
    ASSERT_TRUE(status.ok()) << status.error().to_string();
  }
  void on_committed(const ShardId&, const Bytes& batch, uint64_t origin) override {
    committed.push_back(BatchView(batch).base_offset());
    origins.push_back(origin);
  }
  // Answers by the order of the appends.
  size_t append(Bytes batch, uint64_t origin = 0) {
    const size_t i = answers.size();
    answers.emplace_back();
    shard->append(std::move(batch), origin, [this, i](Result<Appended> result) { answers[i] = std::move(result); });
    return i;
  }
  Code code(size_t i) { return answers[i] ? answers[i]->code() : Code::timed_out; }
  Offset offset(size_t i) { return answers[i]->value().base_offset; }

  FakeCore core;
  FakeLog::State log;
  std::unique_ptr<Shard> shard;
  std::vector<Offset> committed;
  std::vector<uint64_t> origins;
  std::deque<std::optional<Result<Appended>>> answers;
};

TEST_F(ShardTest, GivesOffsetsAndEpochAndCommitsInline) {
  log.is_inline = true;
  EXPECT_EQ(offset(append(batch_of({.records = 3}), 77)), 0);
  EXPECT_EQ(offset(append(batch_of({}))), 3);
  EXPECT_EQ(shard->bounds().high_watermark, 4);
  EXPECT_EQ(BatchView(log.batches[1]).leader_epoch(), 3);
  EXPECT_TRUE(BatchView(log.batches[1]).crc_is_right());
  EXPECT_EQ(committed, (std::vector<Offset>{0, 3}));
  EXPECT_EQ(origins, (std::vector<uint64_t>{77, 0}));
}

TEST_F(ShardTest, PipelinesAndShowsNobodyWhatIsNotCommitted) {
  const size_t a = append(batch_of({})), b = append(batch_of({.records = 2})), c = append(batch_of({}));
  EXPECT_EQ(code(a), Code::timed_out);
  std::optional<Result<Fetched>> fetched;
  shard->fetch(0, 1 << 20, true, [&](auto result) { fetched = std::move(result); });
  EXPECT_TRUE(fetched->value().pieces.empty());
  log.complete();
  EXPECT_EQ(offset(a), 0);
  EXPECT_EQ(code(b), Code::timed_out);
  shard->fetch(0, 1 << 20, true, [&](auto result) { fetched = std::move(result); });
  EXPECT_EQ(fetched->value().next, 1);
  EXPECT_EQ(fetched->value().high_watermark, 1);
  log.complete();
  log.complete();
  EXPECT_EQ(offset(b), 1);
  EXPECT_EQ(offset(c), 3);
  shard->fetch(5, 1 << 20, true, [&](auto result) { fetched = std::move(result); });
  EXPECT_EQ(fetched->code(), Code::offset_out_of_range);
}

struct CountingWatcher : Watcher {
  int woken = 0;
  void on_shard_moved() override { ++woken; }
};

TEST_F(ShardTest, WakesAWatcherOnceATurn) {
  CountingWatcher watcher;
  append(batch_of({}));
  append(batch_of({}));
  shard->watch(watcher);
  core.end_turn();
  EXPECT_EQ(watcher.woken, 0);
  log.complete();
  log.complete();
  core.end_turn();
  EXPECT_EQ(watcher.woken, 1);
  append(batch_of({}));
  log.complete();
  core.end_turn();
  EXPECT_EQ(watcher.woken, 1);
  shard->watch(watcher);
  shard.reset();
  EXPECT_EQ(watcher.woken, 2);
}

TEST_F(ShardTest, WakesAWatcherWhenAnAppendFails) {
  CountingWatcher watcher;
  append(batch_of({}));
  shard->watch(watcher);
  log.fail_all(Code::storage_full);
  core.end_turn();
  EXPECT_EQ(watcher.woken, 1);
  EXPECT_EQ(shard->bounds().log_end, 0);
}

TEST_F(ShardTest, FailsWaitingAppendsWhenItGoes) {
  const size_t a = append(batch_of({})), b = append(batch_of({}));
  shard.reset();
  EXPECT_EQ(code(a), Code::shutting_down);
  EXPECT_EQ(code(b), Code::shutting_down);
}

TEST_F(ShardTest, MayBeDestroyedByACompletion) {
  bool told = false;
  shard->append(batch_of({}), [&](Result<Appended> result) {
    told = result.ok();
    shard.reset();
  });
  const size_t b = append(batch_of({}));
  log.complete();
  EXPECT_TRUE(told);
  EXPECT_EQ(code(b), Code::shutting_down);
  open({});
  log.is_inline = true;
  shard->append(batch_of({}), [&](Result<Appended>) { shard.reset(); });
  EXPECT_EQ(shard, nullptr);
}

TEST_F(ShardTest, TakesAppendsFromInsideACompletionInOrder) {
  log.is_inline = true;
  Offset nested = -1;
  shard->append(batch_of({}), [&](Result<Appended>) {
    shard->append(batch_of({}), [&](Result<Appended> result) { nested = result->base_offset; });
  });
  EXPECT_EQ(nested, 1);
  EXPECT_EQ(committed, (std::vector<Offset>{0, 1}));
}

TEST_F(ShardTest, RefusesABatchOverTheLimit) {
  ShardSettings settings;
  settings.batch_bytes_max = 100;
  open(settings);
  EXPECT_EQ(code(append(batch_of({.records = 20}))), Code::too_large);
  EXPECT_EQ(shard->bounds().log_end, 0);
}

TEST_F(ShardTest, StampsRecordsWithItsOwnTime) {
  ShardSettings settings;
  settings.log_append_time = true;
  open(settings);
  log.is_inline = true;
  core.wall = {123456789};
  const size_t a = append(batch_of({.records = 2}));
  EXPECT_EQ(answers[a]->value().append_time_ms, 123456789);
  const BatchView view(log.batches[0]);
  EXPECT_TRUE(view.crc_is_right());
  EXPECT_TRUE(view.is_log_append_time());
  EXPECT_EQ(view.max_timestamp(), 123456789);
  RecordReader records(view, view.records());
  RecordView record;
  ASSERT_TRUE(records.next(record));
  EXPECT_EQ(record.timestamp_ms, 123456789);
}

TEST_F(ShardTest, FindsTheFirstRecordAtATimeInsideItsBatch) {
  log.is_inline = true;
  append(batch_of({.records = 3, .time_ms = 100}));
  append(batch_of({.records = 3, .time_ms = 200}));
  const auto find = [&](int64_t time_ms) {
    TimedOffset found;
    shard->find_by_time(time_ms, [&](Result<TimedOffset> result) { found = result.take(); });
    return found.offset;
  };
  EXPECT_EQ(find(0), 0);
  EXPECT_EQ(find(101), 1);
  EXPECT_EQ(find(103), 3);
  EXPECT_EQ(find(202), 5);
  EXPECT_EQ(find(203), -1);
  log.is_inline = false;
  append(batch_of({.records = 1, .time_ms = 300}));
  EXPECT_EQ(find(203), -1) << "not committed yet";
}

TEST_F(ShardTest, AnswersARepeatWithTheFirstOffset) {
  log.is_inline = true;
  for (int i = 0; i < 6; ++i) append(batch_of({.producer = 9, .epoch = 0, .sequence = i * 2, .records = 2}));
  const size_t repeat = append(batch_of({.producer = 9, .epoch = 0, .sequence = 2, .records = 2}));
  EXPECT_EQ(offset(repeat), 2);
  EXPECT_TRUE(answers[repeat]->value().is_repeat);
  EXPECT_EQ(log.batches.size(), 6u);
  EXPECT_EQ(committed.size(), 6u);
  EXPECT_EQ(code(append(batch_of({.producer = 9, .epoch = 0, .sequence = 0, .records = 2}))), Code::out_of_order_sequence);
  EXPECT_EQ(code(append(batch_of({.producer = 9, .epoch = 0, .sequence = 14, .records = 2}))), Code::out_of_order_sequence);
  EXPECT_EQ(code(append(batch_of({.producer = 9, .epoch = 0, .sequence = 12, .records = 2}))), Code::ok);
}

TEST_F(ShardTest, ARepeatWaitsForItsFirstTime) {
  const size_t first = append(batch_of({.producer = 9, .epoch = 0, .sequence = 0}));
  const size_t repeat = append(batch_of({.producer = 9, .epoch = 0, .sequence = 0}));
  const size_t next = append(batch_of({.producer = 9, .epoch = 0, .sequence = 1}));
  EXPECT_EQ(code(repeat), Code::timed_out);
  log.complete();
  EXPECT_EQ(offset(first), 0);
  EXPECT_EQ(offset(repeat), 0);
  EXPECT_EQ(code(next), Code::timed_out);
  log.complete();
  EXPECT_EQ(offset(next), 1);
}

TEST_F(ShardTest, GivesTheOffsetsOfAFullDiskAgain) {
  append(batch_of({.producer = 9, .epoch = 0, .sequence = 0}));
  log.complete();
  const size_t a = append(batch_of({.producer = 9, .epoch = 0, .sequence = 1}));
  const size_t b = append(batch_of({.producer = 9, .epoch = 0, .sequence = 2}));
  const size_t repeat = append(batch_of({.producer = 9, .epoch = 0, .sequence = 1}));
  log.fail_all(Code::storage_full);
  EXPECT_EQ(code(a), Code::storage_full);
  EXPECT_EQ(code(b), Code::storage_full);
  EXPECT_EQ(code(repeat), Code::storage_full);
  EXPECT_FALSE(shard->has_failed());
  EXPECT_EQ(shard->bounds().log_end, 1);
  log.is_inline = true;
  EXPECT_EQ(offset(append(batch_of({.producer = 9, .epoch = 0, .sequence = 1}))), 1);
  EXPECT_EQ(offset(append(batch_of({.producer = 9, .epoch = 0, .sequence = 2}))), 2);
}

TEST_F(ShardTest, TakesNothingWhileAFullDiskIsSettled) {
  const size_t a = append(batch_of({})), b = append(batch_of({}));
  log.complete(Code::storage_full);
  EXPECT_EQ(code(a), Code::storage_full);
  EXPECT_EQ(code(append(batch_of({}))), Code::storage_full);
  log.complete(Code::storage_full);
  EXPECT_EQ(code(b), Code::storage_full);
  EXPECT_FALSE(shard->has_failed());
  log.is_inline = true;
  EXPECT_EQ(offset(append(batch_of({}))), 0);
}

TEST_F(ShardTest, RemembersProducersOverARestart) {
  log.is_inline = true;
  append(batch_of({.producer = 9, .epoch = 1, .sequence = 0}));
  append(batch_of({.producer = 9, .epoch = 1, .sequence = 1}));
  shard->seal([](Status) {});
  append(batch_of({.producer = 9, .epoch = 1, .sequence = 2}));
  append(batch_of({.producer = 7, .epoch = 0, .sequence = 5}));
  EXPECT_EQ(log.sealed_as_of, 2);
  open({});
  EXPECT_EQ(shard->bounds().high_watermark, 4);
  EXPECT_EQ(offset(append(batch_of({.producer = 9, .epoch = 1, .sequence = 0}))), 0);
  EXPECT_EQ(offset(append(batch_of({.producer = 9, .epoch = 1, .sequence = 2}))), 2);
  EXPECT_EQ(offset(append(batch_of({.producer = 7, .epoch = 0, .sequence = 5}))), 3);
  EXPECT_EQ(code(append(batch_of({.producer = 9, .epoch = 0, .sequence = 3}))), Code::fenced_producer);
  EXPECT_EQ(offset(append(batch_of({.producer = 9, .epoch = 1, .sequence = 3}))), 4);
}

TEST_F(ShardTest, ASealAtTheEndLeavesNothingToReplay) {
  log.is_inline = true;
  EXPECT_FALSE(shard->wants_seal());
  append(batch_of({.producer = 9, .epoch = 1, .sequence = 0}));
  append(batch_of({}));
  EXPECT_TRUE(shard->wants_seal());
  shard->seal([](Status status) { EXPECT_TRUE(status.ok()); });
  EXPECT_FALSE(shard->wants_seal());
  EXPECT_EQ(log.sealed_as_of, shard->bounds().log_end);
}

TEST(Producers, WrapSequencesAndTakeNewEpochsFromZero) {
  Producers producers;
  auto send = [&, next = Offset{0}](Sent sent) mutable {
    const Bytes batch = batch_of(sent);
    const Result<Offset> checked = producers.check(BatchView(batch));
    if (!checked.ok() || *checked >= 0) return checked.ok() ? Code::already_exists : checked.code();
    producers.note(BatchView(batch), next, {});
    next += sent.records;
    return Code::ok;
  };
  EXPECT_EQ(send({1, 0, INT32_MAX - 1, 3}), Code::ok);  // 2^31-2, 2^31-1, 0
  EXPECT_EQ(send({1, 0, 1, 1}), Code::ok);
  EXPECT_EQ(send({1, 0, INT32_MAX - 1, 3}), Code::already_exists);
  EXPECT_EQ(send({1, 0, 3, 1}), Code::out_of_order_sequence);
  EXPECT_EQ(send({1, 1, 2, 1}), Code::out_of_order_sequence);
  EXPECT_EQ(send({1, 1, 0, 1}), Code::ok);
  EXPECT_EQ(send({1, 0, 2, 1}), Code::fenced_producer);
  EXPECT_EQ(send({2, 4, 77, 1}), Code::ok);
}

TEST(Producers, AreBoundedByCountAndTime) {
  Producers producers({.producers_max = 3, .idle_ms_max = 1000});
  for (ProducerId id = 0; id < 10; ++id) producers.note(BatchView(batch_of({id, 0, 0})), id, {id});
  EXPECT_EQ(producers.size(), 3u);
  EXPECT_EQ(*producers.check(BatchView(batch_of({7, 0, 0}))), 7);
  EXPECT_EQ(*producers.check(BatchView(batch_of({6, 0, 0}))), -1);
  producers.note(BatchView(batch_of({20, 0, 0})), 20, {5000});
  EXPECT_EQ(producers.size(), 1u);
}

TEST(Producers, RefuseADamagedSnapshot) {
  Producers producers;
  for (ProducerId id = 0; id < 10; ++id) producers.note(BatchView(batch_of({id, 0, 0})), id, {id});
  const std::vector<ProducerRow> rows = producers.snapshot(100);
  ASSERT_EQ(rows.size(), 10u);
  Producers again;
  ASSERT_TRUE(again.restore(rows).ok());
  EXPECT_EQ(again.snapshot(100).size(), 10u);
  std::vector<ProducerRow> twice = rows;
  twice.push_back(rows[0]);
  EXPECT_FALSE(Producers().restore(twice).ok());
}

TEST(Replica, RefusesADamagedState) {
  Replica replica(0, 1);
  for (ProducerId id = 0; id < 10; ++id) {
    Bytes batch = batch_of({id, 0, 0});
    ASSERT_TRUE(replica.assign(batch, {}).ok());
  }
  replica.commit(replica.end());
  const Bytes state = replica.snapshot();
  for (size_t length = 1; length < state.size(); ++length)
    EXPECT_FALSE(Replica(10, 2).restore(state.span().first(length)).ok()) << length;
  Replica again(10, 2);
  ASSERT_TRUE(again.restore(state).ok());
  EXPECT_EQ(again.snapshot(), state);
}

// The end of the largest epoch at or below the one asked for.
TEST(Case32Replica, KnowsWhereEachEpochEnds) {
  Replica first(100, 3);
  for (int i = 0; i < 5; ++i) {
    Bytes batch = batch_of({});
    ASSERT_TRUE(first.assign(batch, {}).ok());
  }
  first.commit(105);
  Replica second(105, 7);  // two starts in between wrote nothing
  ASSERT_TRUE(second.restore(first.snapshot()).ok());
  Bytes batch = batch_of({});
  ASSERT_TRUE(second.assign(batch, {}).ok());
  second.commit(106);
  const auto end = [&](LeaderEpoch epoch) {
    const Replica::EpochEnd found = second.end_of_epoch(epoch);
    return std::pair(found.epoch, found.end);
  };
  EXPECT_EQ(end(-1), std::pair(-1, Offset{-1}));
  EXPECT_EQ(end(2), std::pair(2, Offset{100}));
  EXPECT_EQ(end(3), std::pair(3, Offset{105}));
  EXPECT_EQ(end(5), std::pair(3, Offset{105}));
  EXPECT_EQ(end(7), std::pair(7, Offset{106}));
  EXPECT_EQ(end(8), std::pair(-1, Offset{-1}));
}

// Random producers with retries, restarts and full disks: what is stored is each producer's sequence without gap or repeat.
TEST_F(ShardTest, StoresEachSequenceOnceWhateverHappens) {
  const auto seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  struct Client {
    int32_t next = 0;
    std::vector<std::pair<int32_t, size_t>> unanswered;  // sequence, answer
  };
  std::map<ProducerId, Client> clients;
  for (int step = 0; step < 5000; ++step) {
    const ProducerId id = random() % 3;
    Client& client = clients[id];
    switch (random() % 8) {
      case 0: {  // sends what is not answered well again, in order
        for (auto& [sequence, answer] : client.unanswered) {
          if (code(answer) != Code::ok) answer = append(batch_of({.producer = id, .epoch = 0, .sequence = sequence}));
        }
        break;
      }
      case 1:
        if (!log.waiting.empty()) log.fail_all(Code::storage_full);
        break;
      case 2:
        if (random() % 4 == 0) {
          while (!log.waiting.empty()) log.complete();
          // A producer whose every batch failed is unknown after a restart: its next batch would be taken.
          bool all_ok = true;
          for (const auto& [each, state] : clients) {
            for (const auto& [sequence, answer] : state.unanswered) all_ok &= code(answer) == Code::ok;
          }
          if (!all_ok) break;
          if (random() % 2) shard->seal([](Status) {});
          open({});
        }
        break;
      case 3:
      case 4:
        if (client.unanswered.size() < kProducerBatches) {
          client.unanswered.emplace_back(client.next, append(batch_of({.producer = id, .epoch = 0, .sequence = client.next})));
          ++client.next;
        }
        break;
      default:
        if (!log.waiting.empty()) log.complete();
    }
    for (auto& [each, state] : clients) {
      while (!state.unanswered.empty() && code(state.unanswered.front().second) == Code::ok)
        state.unanswered.erase(state.unanswered.begin());
    }
    core.end_turn();
  }
  while (!log.waiting.empty()) log.complete();
  std::map<ProducerId, int32_t> stored;
  Offset next = 0;
  for (const Bytes& batch : log.batches) {
    const BatchView view(batch);
    EXPECT_EQ(view.base_offset(), next++);
    EXPECT_EQ(view.base_sequence(), stored[view.producer_id()]++);
  }
  EXPECT_GT(next, 100);
  EXPECT_FALSE(shard->has_failed());
}

TEST(Shard, IsSmall) { EXPECT_LE(sizeof(Shard), 256u); }

}  // namespace
}  // namespace robustmq::shard
