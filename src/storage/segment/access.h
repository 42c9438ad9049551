// Access: what the activities that read segments share. Every wait may change the log: segments are looked up anew after each.
#pragma once

#include "storage/activity.h"
#include "storage/segment/batch_walker.h"
#include "storage/segment/engine_core.h"

namespace robustmq::storage::segment {

class EngineCore::Access : public Activity {
 protected:
  static constexpr Code kRewritten = Code::not_attempted;
  Access(EngineCore& engine, LogPtr log) : engine_(engine), log_(std::move(log)), handle_(log_->handle) { ++engine_.background_; }
  ~Access() override {
    --engine_.background_;
    if (engine_.is_closing_) engine_.core_.post([engine = &engine_] { engine->finish_close_if_idle(); });
  }

  // The Log object that asked is still there.
  bool is_wanted() const { return log_->handle == handle_; }
  runtime::Task<Result<runtime::FilePtr>> open(Offset base);
  // `position` is of when the log had this number of rewrites; kRewritten when there was another one meanwhile.
  runtime::Task<Result<Bytes>> read_bytes(Offset base, uint64_t position, uint64_t size, uint32_t rewrites);
  // Reads and verifies what the segment's index does not cover yet.
  runtime::Task<Status> load_index(Offset base);
  runtime::Task<Status> scan_segment(Offset base);
  // Takes the index from its file; false where that is not to be had, upon which it is not asked again.
  runtime::Task<bool> load_index_file(Offset base);
  // Reads from a block on, about `bytes`, and marks what is whole. False: the first one is not, so the index file is not to be
  // trusted; what it said is forgotten.
  runtime::Task<Result<bool>> verify_blocks(Offset base, size_t block, uint64_t bytes);
  // The bytes of a block as far as they are durable, and where they end. Error: kRewritten, to be asked anew.
  struct BlockBytes {
    Bytes bytes;
    Offset begin = 0;
    Offset end = 0;
  };
  runtime::Task<Result<BlockBytes>> read_block(Offset base, size_t block);

  EngineCore& engine_;
  LogPtr log_;
  uint32_t handle_;
};

}  // namespace robustmq::storage::segment
