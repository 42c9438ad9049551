// For tests: an engine whose appends fail, or wait, as the test says; for the rest what it is made around.
#pragma once

#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "storage/log.h"

namespace robustmq::broker::test {

// What becomes of an append, asked with its first batch.
struct AppendFaults {
  enum class Fate : uint8_t { goes, fails, waits };
  Callback<Fate(const ShardId&, const BatchView&)> fate = [](const ShardId&, const BatchView&) { return Fate::goes; };
  Code code = Code::storage_full;
  int failed = 0;
  int reads = 0;
  std::deque<Callback<void(Status)>> waiting;

  // What waits is not stored.
  void fail_waiting() {
    for (auto& done : std::exchange(waiting, {})) done(code);
  }
};

class FaultyLog final : public storage::Log {
 public:
  FaultyLog(ShardId id, std::unique_ptr<storage::Log> log, AppendFaults& faults)
      : id_(id), log_(std::move(log)), faults_(faults) {}

  void append(std::vector<Bytes> batches, Callback<void(Status)> done) override {
    if (goes(batches, done)) log_->append(std::move(batches), std::move(done));
  }
  void append_behind(std::vector<Bytes> batches, Callback<void(Status)> done) override {
    if (goes(batches, done)) log_->append_behind(std::move(batches), std::move(done));
  }
  bool append_now(const Bytes& batch) override {
    return faults_.fate(id_, BatchView(batch)) == AppendFaults::Fate::goes && log_->append_now(batch);
  }
  void read(Offset from, storage::ReadLimits limits, Callback<void(Result<storage::ReadResult>)> done) override {
    ++faults_.reads;
    log_->read(from, limits, std::move(done));
  }
  void find(storage::FindWhat what, Callback<void(Result<std::optional<storage::Found>>)> done) override {
    log_->find(what, std::move(done));
  }
  void trim(Offset keep_from, Callback<void(Status)> done) override { log_->trim(keep_from, std::move(done)); }
  void truncate(Offset keep_until, Callback<void(Status)> done) override { log_->truncate(keep_until, std::move(done)); }
  void seal(Bytes state, Offset as_of, Callback<void(Status)> done) override {
    log_->seal(std::move(state), as_of, std::move(done));
  }
  storage::Bounds bounds() const override { return log_->bounds(); }
  void retain(WallTime now, Offset keep_from) override { log_->retain(now, keep_from); }
  void configure(const storage::LogSettings& settings) override { log_->configure(settings); }
  void list_parts(Callback<void(std::vector<storage::SealedPart>)> done) override { log_->list_parts(std::move(done)); }
  void rewrite(Offset from, Offset until, Callback<void(Result<std::unique_ptr<storage::Rewrite>>)> done) override {
    log_->rewrite(from, until, std::move(done));
  }
  bool has_failed() const override { return log_->has_failed(); }

 private:
  bool goes(const std::vector<Bytes>& batches, Callback<void(Status)>& done) {
    const AppendFaults::Fate fate = faults_.fate(id_, BatchView(batches.front()));
    if (fate == AppendFaults::Fate::goes) return true;
    if (fate == AppendFaults::Fate::waits) {
      faults_.waiting.push_back(std::move(done));
      return false;
    }
    ++faults_.failed;
    done(faults_.code);
    return false;
  }
  ShardId id_;
  std::unique_ptr<storage::Log> log_;
  AppendFaults& faults_;
};

class FaultyEngine final : public storage::Engine {
 public:
  FaultyEngine(storage::Engine& engine, AppendFaults& faults) : engine_(engine), faults_(faults) {}

  storage::EngineTraits traits() const override { return engine_.traits(); }
  void open(ShardId id, const storage::LogSettings& settings, Offset first_offset,
            Callback<void(Result<storage::OpenedLog>)> done) override {
    engine_.open(id, settings, first_offset,
                 [&faults = faults_, id, done = std::move(done)](Result<storage::OpenedLog> opened) mutable {
                   if (opened.ok()) opened->log = std::make_unique<FaultyLog>(id, std::move(opened->log), faults);
                   done(std::move(opened));
                 });
  }
  std::vector<ShardId> list() const override { return engine_.list(); }
  void remove(ShardId id, Callback<void(Status)> done) override { engine_.remove(id, std::move(done)); }

 private:
  storage::Engine& engine_;
  AppendFaults& faults_;
};

}  // namespace robustmq::broker::test
