#include "broker/gather.h"

#include <memory>
#include <utility>

#include "runtime/disk.h"

namespace robustmq::broker {
namespace {

// Reads pieces to memory, one behind the other.
class Gatherer : public std::enable_shared_from_this<Gatherer> {
 public:
  Gatherer(runtime::Core& core, Pieces pieces, Callback<void(Result<Bytes>)> done)
      : core_(core), pieces_(std::move(pieces)), done_(std::move(done)) {}
  void run() {
    for (; next_ < pieces_.size(); ++next_) {
      const Piece& piece = pieces_[next_];
      if (piece.is_stored()) return read(piece);
      if (pieces_.size() == 1) return done_(piece.bytes);
      bytes_.append(piece.bytes.span());
    }
    done_(bytes_.take());
  }

 private:
  void read(const Piece& piece) {
    // A stored range of a log is always of a file of the runtime.
    auto file = std::static_pointer_cast<runtime::File>(std::const_pointer_cast<ByteSource>(piece.stored.source));
    core_.disk().read(std::move(file), piece.stored.position, piece.size,
                      [self = shared_from_this(), size = piece.size](Result<Bytes> bytes) {
                        if (!bytes.ok()) return self->done_(bytes.error());
                        if (bytes->size() != size) return self->done_(Error{Code::corrupt_storage, "a stored range is cut"});
                        self->bytes_.append(bytes->span());
                        ++self->next_;
                        self->run();
                      });
  }

  runtime::Core& core_;
  Pieces pieces_;
  size_t next_ = 0;
  Buffer bytes_;
  Callback<void(Result<Bytes>)> done_;
};

}  // namespace

void gather(runtime::Core& core, Pieces pieces, Callback<void(Result<Bytes>)> done) {
  std::make_shared<Gatherer>(core, std::move(pieces), std::move(done))->run();
}

}  // namespace robustmq::broker
