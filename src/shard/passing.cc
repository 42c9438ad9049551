#include "shard/passing.h"

#include <algorithm>
#include <utility>

#include "runtime/disk.h"

namespace robustmq::shard {

using runtime::Task;

namespace {

constexpr uint64_t kHeadBytes = 4096;

// Bytes at the front that are empty batches. `has_records`: a batch with records is behind them, or something that is none.
uint64_t empty_bytes(ByteSpan head, bool& has_records) {
  size_t at = 0;
  has_records = false;
  while (at + kBatchHeaderBytes <= head.size()) {
    const ByteSpan rest = head.subspan(at);
    const std::optional<size_t> size = BatchView::size_at(rest);
    has_records = !size || *size != kBatchHeaderBytes || BatchView(rest.first(kBatchHeaderBytes)).record_count() != 0;
    if (has_records) break;
    at += *size;
  }
  return at;
}

}  // namespace

Task<bool> Shard::Compacting::Passing::leave_out_empty(Pieces& pieces) {
  while (!pieces.empty()) {
    Piece& front = pieces.front();
    Bytes head = front.bytes;
    if (front.is_stored()) {
      // A stored range of a log is always of a file of the runtime.
      auto file = std::static_pointer_cast<runtime::File>(std::const_pointer_cast<ByteSource>(front.stored.source));
      const auto size = static_cast<size_t>(std::min(front.size, kHeadBytes));
      const uint64_t position = front.stored.position;
      Result<Bytes> read =
          co_await wait<Result<Bytes>>([&](auto done) { core_.disk().read(std::move(file), position, size, std::move(done)); });
      if (!read.ok()) co_return true;  // who reads it will see
      head = read.take();
    }
    bool has_records = false;
    const uint64_t empty = empty_bytes(head, has_records);
    if (front.is_stored())
      front.stored.position += empty;
    else
      front.bytes = front.bytes.slice(empty);
    front.size -= empty;
    if (has_records || (empty == 0 && front.size > 0)) co_return true;
    if (front.size == 0) pieces.erase(pieces.begin());
  }
  co_return false;
}

Task<> Shard::Compacting::Passing::run(storage::ReadResult read) {
  while (true) {
    const Offset from = fetched_.next;
    Pieces pieces = read.pieces;
    const bool has_records = co_await leave_out_empty(pieces);
    if (!shard_.get()) co_return;
    const bool is_end = read.next >= limits_.end || read.next <= from;
    fetched_.next = read.next;
    if (has_records || is_end) {
      fetched_.pieces = has_records ? std::move(pieces) : std::move(read.pieces);
      std::erase_if(fetched_.aborted, [&](const AbortedRange& each) { return each.first >= fetched_.next; });
      done_(std::move(fetched_));
      co_return;
    }
    Result<storage::ReadResult> more = co_await wait<Result<storage::ReadResult>>(
        [&](auto done) { shard_.get()->log_->read(fetched_.next, limits_, std::move(done)); });
    if (!shard_.get()) co_return;
    if (!more.ok()) {
      done_(more.error());
      co_return;
    }
    read = more.take();
  }
}

}  // namespace robustmq::shard
