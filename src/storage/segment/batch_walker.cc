// Walking batches past damage. Pure.
#include "storage/segment/batch_walker.h"

namespace robustmq::storage::segment {

size_t whole_batch_size(ByteSpan bytes) {
  if (bytes.size() < kBatchHeaderBytes) return 0;
  const std::optional<size_t> size = BatchView::size_at(bytes);
  return size && *size >= kBatchHeaderBytes && *size <= bytes.size() ? *size : 0;
}

bool is_whole_batch(ByteSpan bytes) {
  if (!BatchView::check_shape(bytes).ok()) return false;
  const BatchView view(bytes);
  return view.last_offset_delta() >= 0 && view.base_offset() >= 0 && view.base_offset() < INT64_MAX - view.last_offset_delta() &&
         view.crc_is_right();
}

bool BatchWalker::continues_at(size_t position, Offset from, bool exactly) const {
  const ByteSpan rest = bytes_.subspan(position);
  const size_t size = whole_batch_size(rest);
  if (size == 0) return false;
  const BatchView view(rest.first(size));
  if (view.magic() != 2 || (exactly ? view.base_offset() != from : view.base_offset() <= from || view.base_offset() >= end_))
    return false;
  return is_whole_batch(rest.first(size)) && view.next_offset() <= end_;
}

bool BatchWalker::next(Step& out) {
  if (position_ >= bytes_.size()) return false;
  out.position = position_;
  out.offset = expected_;
  out.is_damaged = !continues_at(position_, expected_, true);
  if (!out.is_damaged) {
    const size_t size = whole_batch_size(bytes_.subspan(position_));
    const BatchView view(bytes_.subspan(position_, size));
    out.size = size;
    out.next = view.next_offset();
    out.max_timestamp = view.max_timestamp();
  } else {
    size_t at = position_ + 1;
    while (at < bytes_.size() && !continues_at(at, expected_, false)) ++at;
    out.size = at - position_;
    out.next = at < bytes_.size() ? BatchView(bytes_.subspan(at)).base_offset() : end_;
    out.max_timestamp = -1;
  }
  position_ += out.size;
  expected_ = out.next;
  return true;
}

}  // namespace robustmq::storage::segment
