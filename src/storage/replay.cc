#include "storage/replay.h"

#include <memory>
#include <string>

#include "runtime/disk.h"

namespace robustmq::storage {
namespace {

constexpr uint64_t kReplayReadBytes = 1 << 20;

// One replay under way. Held by the completion it waits for, so it goes with its log when nobody completes it.
class Replay : public std::enable_shared_from_this<Replay> {
 public:
  Replay(runtime::Core& core, Log& log, Offset from, Callback<bool()> is_wanted, Callback<Status(ByteSpan)> each,
         Callback<void(Status)> done)
      : core_(core), log_(log), at_(from), is_wanted_(std::move(is_wanted)), each_(std::move(each)), done_(std::move(done)) {}

  // Goes on until something does not complete inline: a loop, not a recursion.
  void run() {
    go_on_ = true;
    if (is_running_) return;
    is_running_ = true;
    while (go_on_) {
      go_on_ = false;
      step();
    }
    is_running_ = false;
  }

 private:
  void step() {
    if (next_piece_ < pieces_.size()) return take_piece(pieces_[next_piece_++]);
    if (!walk()) return;
    if (at_ >= log_.bounds().end) return done_(Status());
    log_.read(at_, {.bytes_max = kReplayReadBytes}, [self = shared_from_this()](Result<ReadResult> read) {
      if (self->is_wanted_()) self->on_read(std::move(read));
    });
  }

  void on_read(Result<ReadResult> read) {
    if (!read.ok()) return done_(read.error());
    if (read->next <= at_) return done_(Error{Code::corrupt_storage, "the log ends before its end"});
    at_ = read->next;
    pieces_ = std::move(read->pieces);
    next_piece_ = 0;
    run();
  }

  void take_piece(const Piece& piece) {
    if (!piece.is_stored()) {
      batches_.append(piece.bytes.span());
      return run();
    }
    // A stored range of a log is always of a file of the runtime.
    auto file = std::static_pointer_cast<runtime::File>(std::const_pointer_cast<ByteSource>(piece.stored.source));
    core_.disk().read(std::move(file), piece.stored.position, piece.size,
                      [self = shared_from_this(), size = piece.size](Result<Bytes> bytes) {
                        if (!self->is_wanted_()) return;
                        if (!bytes.ok()) return self->done_(bytes.error());
                        if (bytes->size() != size) return self->done_(Error{Code::corrupt_storage, "a stored range is cut"});
                        self->batches_.append(bytes->span());
                        self->run();
                      });
  }

  // Hands out what was read. False when it is not a chain of whole batches, or nobody wants more.
  bool walk() {
    for (ByteSpan rest = batches_.span(); !rest.empty();) {
      const std::optional<size_t> size = BatchView::size_at(rest);
      if (!size || *size > rest.size()) {
        done_(Error{Code::corrupt_storage, "a stored batch is cut"});
        return false;
      }
      const Status status = each_(rest.first(*size));
      if (!status.ok()) {
        done_(status);
        return false;
      }
      rest = rest.subspan(*size);
    }
    batches_.clear();
    return true;
  }

  runtime::Core& core_;
  Log& log_;
  Offset at_;
  Callback<bool()> is_wanted_;
  Callback<Status(ByteSpan)> each_;
  Callback<void(Status)> done_;
  Pieces pieces_;
  size_t next_piece_ = 0;
  Buffer batches_;
  bool is_running_ = false;
  bool go_on_ = false;
};

}  // namespace

void replay_batches(runtime::Core& core, Log& log, Offset from, Callback<bool()> is_wanted, Callback<Status(ByteSpan)> each,
                    Callback<void(Status)> done) {
  std::make_shared<Replay>(core, log, from, std::move(is_wanted), std::move(each), std::move(done))->run();
}

}  // namespace robustmq::storage
