// SegmentLog: the Log of a shard; hands every verb to the engine. Destroyed at any time: what is under way is not called back.
#pragma once

#include "storage/log.h"
#include "storage/segment/engine_core.h"

namespace robustmq::storage::segment {

class SegmentLog final : public Log {
 public:
  SegmentLog(EngineCore& core, LogPtr log) : core_(core), log_(std::move(log)) {}
  ~SegmentLog() override { log_->handle = 0; }

  void append(std::vector<Bytes> batches, Callback<void(Status)> done) override {
    core_.append(log_, std::move(batches), false, std::move(done));
  }
  void append_behind(std::vector<Bytes> batches, Callback<void(Status)> done) override {
    core_.append(log_, std::move(batches), true, std::move(done));
  }
  void read(Offset from, ReadLimits limits, Callback<void(Result<ReadResult>)> done) override {
    core_.read(log_, from, limits, std::move(done));
  }
  void find(FindWhat what, Callback<void(Result<std::optional<Found>>)> done) override {
    core_.find(log_, what, std::move(done));
  }
  void trim(Offset keep_from, Callback<void(Status)> done) override { core_.trim(log_, keep_from, std::move(done)); }
  void truncate(Offset keep_until, Callback<void(Status)> done) override { core_.truncate(log_, keep_until, std::move(done)); }
  void seal(Bytes replica_state, Offset as_of, Callback<void(Status)> done) override {
    core_.seal(log_, std::move(replica_state), as_of, std::move(done));
  }
  Bounds bounds() const override { return {log_->start, log_->end, log_->readable_end(), log_->size_bytes()}; }
  void retain(WallTime now, Offset keep_from) override { core_.retain(log_, now, keep_from); }
  void list_parts(Callback<void(std::vector<SealedPart>)> done) override { core_.list_parts(log_, std::move(done)); }
  void rewrite(Offset from, Offset until, Callback<void(Result<std::unique_ptr<Rewrite>>)> done) override {
    core_.rewrite(log_, from, until, std::move(done));
  }
  void configure(const LogSettings& settings) override { log_->settings = settings; }
  bool has_failed() const override { return core_.has_failed() || log_->has_failed; }

 private:
  EngineCore& core_;
  LogPtr log_;
};

}  // namespace robustmq::storage::segment
