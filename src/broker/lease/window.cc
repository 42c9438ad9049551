#include "broker/lease/window.h"

#include <optional>
#include <utility>

namespace robustmq::broker {
namespace {

bool is_aborted(const BatchView& batch, const std::vector<shard::AbortedRange>& aborted) {
  return batch.is_transactional() && std::any_of(aborted.begin(), aborted.end(), [&](const shard::AbortedRange& each) {
           return each.producer == batch.producer_id() && each.first <= batch.base_offset() && batch.base_offset() < each.marker;
         });
}

}  // namespace

Result<Window> Window::of(Offset from, Offset next, Bytes bytes, const std::vector<shard::AbortedRange>& aborted) {
  Window window;
  window.from_ = from;
  window.next_ = from;
  for (size_t at = 0; at < bytes.size();) {
    const ByteSpan rest = bytes.span().subspan(at);
    const std::optional<size_t> size = BatchView::size_at(rest);
    if (!size || *size > rest.size()) return Error{Code::corrupt_storage, "a stored batch is cut"};
    const BatchView batch(rest.first(*size));
    window.batches_.push_back({batch.base_offset(), batch.next_offset(), at, *size,
                               batch.record_count() == 0 || batch.is_control() || is_aborted(batch, aborted)});
    window.next_ = std::max(window.next_, batch.next_offset());
    at += *size;
  }
  // Behind the last batch there may be offsets that a log has no more batches for.
  if (!window.batches_.empty()) window.next_ = std::max(window.next_, next);
  window.bytes_ = std::move(bytes);
  return window;
}

size_t Window::find(Offset offset) const {
  const auto at = std::partition_point(batches_.begin(), batches_.end(), [&](const Batch& each) { return each.next <= offset; });
  return static_cast<size_t>(at - batches_.begin());
}

Offset Window::end_within(Offset offset, uint64_t bytes) const {
  const size_t first = find(offset);
  uint64_t size = 0;
  for (size_t i = first; i < batches_.size(); ++i) {
    size += batches_[i].size;
    if (i > first && size > bytes) return batches_[i].base;
  }
  return next_;
}

void Window::add_batches(const std::vector<LeasedRange>& ranges, Pieces& to) const {
  size_t from = 0, until = 0;  // of bytes_, not added yet
  const auto flush = [&] {
    if (until > from) to.push_back(Piece::of(bytes_.slice(from, until - from)));
  };
  size_t next = 0;  // the first batch that may be wanted still
  for (const LeasedRange& range : ranges) {
    for (next = std::max(next, find(range.first)); next < batches_.size() && batches_[next].base <= range.last; ++next) {
      const Batch& batch = batches_[next];
      if (batch.is_void) continue;
      if (batch.at != until) {
        flush();
        from = batch.at;
      }
      until = batch.at + batch.size;
    }
  }
  flush();
}

}  // namespace robustmq::broker
