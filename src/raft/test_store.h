// For tests: a log and key-value rows in memory, whose completions the test brings one by one, and that lose what was not
// completed when the test says so. Pure.
#pragma once

#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/batch.h"
#include "runtime/core.h"
#include "storage/kv.h"
#include "storage/log.h"

namespace robustmq::raft::test {

class TestCore final : public runtime::Core {
 public:
  CoreIndex index() const override { return 0; }
  CoreIndex count() const override { return 1; }
  Instant now() const override { return {}; }
  WallTime wall_now() const override { return wall; }
  uint64_t random() override { return random_ = random_ * 6364136223846793005u + 1442695040888963407u; }
  void arm(runtime::Timer&, Instant) override {}
  void defer(runtime::Deferred&) override {}
  void post(Callback<void()> work) override { work(); }
  void send(CoreIndex, Callback<void()> work) override { work(); }
  bool is_congested() const override { return false; }
  runtime::Disk& disk() override { std::abort(); }
  runtime::Net& net() override { std::abort(); }

  WallTime wall{1000};

 private:
  uint64_t random_ = 1;
};

// What survives a crash, and what is under way.
struct TestStore {
  std::vector<Bytes> batches;
  Offset start = 0;
  std::map<std::string, std::string> rows;
  // Each takes effect and completes; with an error it has no effect.
  std::deque<Callback<void(Status)>> under_way;
  bool is_inline = false;
  uint64_t appends = 0;

  Offset end() const { return batches.empty() ? start : BatchView(batches.back()).next_offset(); }
  bool complete(Status status = {}) {
    if (under_way.empty()) return false;
    Callback<void(Status)> first = std::move(under_way.front());
    under_way.pop_front();
    first(std::move(status));
    return true;
  }
  void complete_all() {
    while (complete()) continue;
  }
  void add(Callback<void(Status)> work) {
    under_way.push_back(std::move(work));
    if (is_inline) complete_all();
  }
};

class TestLog final : public storage::Log {
 public:
  explicit TestLog(std::shared_ptr<TestStore> store) : store_(std::move(store)) {}
  void append(std::vector<Bytes> batches, Callback<void(Status)> done) override {
    ++store_->appends;
    TestStore& store = *store_;
    store.add([&store, batches = std::move(batches), done = std::move(done)](Status status) mutable {
      for (Bytes& batch : batches) {
        if (!status.ok()) break;
        ROBUSTMQ_CHECK(BatchView(batch).base_offset() == store.end(), "the chain is broken");
        store.batches.push_back(std::move(batch));
      }
      done(std::move(status));
    });
  }
  void read(Offset from, storage::ReadLimits limits, Callback<void(Result<storage::ReadResult>)> done) override {
    storage::ReadResult result{{}, from};
    for (const Bytes& batch : store_->batches) {
      if (BatchView(batch).next_offset() <= from) continue;
      if (!result.pieces.empty() && size_of(result.pieces) + batch.size() > limits.bytes_max) break;
      result.pieces.push_back(Piece::of(batch));
      result.next = BatchView(batch).next_offset();
    }
    done(std::move(result));
  }
  void find(storage::FindWhat, Callback<void(Result<std::optional<storage::Found>>)>) override { std::abort(); }
  void trim(Offset keep_from, Callback<void(Status)> done) override {
    store_->start = std::max(store_->start, keep_from);
    std::erase_if(store_->batches, [&](const Bytes& batch) { return BatchView(batch).next_offset() <= keep_from; });
    done({});
  }
  void truncate(Offset, Callback<void(Status)>) override { std::abort(); }
  void seal(Bytes, Offset, Callback<void(Status)> done) override { done({}); }
  storage::Bounds bounds() const override { return {.start = store_->start, .end = store_->end(), .durable = store_->end()}; }
  void retain(WallTime, Offset) override {}
  void configure(const storage::LogSettings&) override {}
  bool has_failed() const override { return false; }

 private:
  std::shared_ptr<TestStore> store_;
};

class TestKv final : public storage::Kv {
 public:
  explicit TestKv(std::shared_ptr<TestStore> store) : store_(std::move(store)) {}
  void write(storage::KvBatch batch, Callback<void(Status)> done) override {
    TestStore& store = *store_;
    store.add([&store, batch = std::move(batch), done = std::move(done)](Status status) mutable {
      for (auto& change : batch.changes) {
        if (!status.ok()) break;
        if (auto* put = std::get_if<storage::KvBatch::Put>(&change)) store.rows[put->key] = put->value;
        if (auto* remove = std::get_if<storage::KvBatch::Delete>(&change)) store.rows.erase(remove->key);
        if (auto* range = std::get_if<storage::KvBatch::DeleteRange>(&change))
          store.rows.erase(store.rows.lower_bound(range->from), store.rows.lower_bound(range->to));
      }
      done(std::move(status));
    });
  }
  void get(std::string_view key, Callback<void(Result<std::string>)> done) const override {
    const auto found = store_->rows.find(std::string(key));
    if (found == store_->rows.end()) return done(Code::not_found);
    done(found->second);
  }
  void scan(std::string_view from, std::string_view to, size_t rows_max,
            Callback<void(Result<storage::KvRows>)> done) const override {
    storage::KvRows rows;
    for (const auto& [key, value] : store_->rows) {
      if (key >= from && key < to && rows.size() < rows_max) rows.emplace_back(key, value);
    }
    done(std::move(rows));
  }

 private:
  std::shared_ptr<TestStore> store_;
};

}  // namespace robustmq::raft::test
