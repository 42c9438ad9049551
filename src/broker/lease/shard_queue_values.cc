// ShardQueue: last values. Before records are leased, the log is read ahead, up to kLookAhead records, for newer ones with their
// keys; what one of those replaces is done without being given to anybody. A record that somebody had already comes again as
// others do only if nothing replaced it.
#include <algorithm>

#include "broker/gather.h"
#include "broker/lease/shard_queue.h"
#include "shard/record_reader.h"

namespace robustmq::broker {

// Whether something is still to be read before what is at `at` is leased; it goes on by itself then.
bool ShardQueue::look_ahead(shard::Shard& shard, Offset at) {
  if (!settings_.last_value) {
    last_values_.reset();
    return false;
  }
  if (!last_values_) {
    last_values_.emplace(kKeyBytesMax, kReplacedMax);
    last_values_->begin(queue_->start());
  }
  last_values_->forget_before(queue_->start());
  const Offset from = last_values_->seen();
  if (from >= std::min(end_, at + kLookAhead)) return false;
  is_reading_ = true;
  shard.fetch(from, kWindowBytes, true, settings_.read_committed, [self = self(), from](Result<shard::Fetched> fetched) {
    if (ShardQueue* queue = self.get()) queue->on_looked(from, std::move(fetched));
  });
  return true;
}

// What cannot be read now is not looked at: it replaces nothing. Whoever leases it hears why.
void ShardQueue::on_looked(Offset at, Result<shard::Fetched> fetched) {
  if (!fetched.ok()) {
    is_reading_ = false;
    if (last_values_) last_values_->see(end_);
    return serve();
  }
  auto taken = [self = self(), at, next = fetched->next, aborted = std::move(fetched->aborted)](Result<Bytes> bytes) {
    ShardQueue* queue = self.get();
    if (!queue) return;
    queue->is_reading_ = false;
    const Result<Window> window = bytes.ok() ? Window::of(at, next, bytes.take(), aborted) : Result<Window>(bytes.error());
    if (queue->last_values_) {
      if (window.ok()) queue->take_ahead(*window);
      // Where nothing came there is nothing up to the end that was known.
      if (!window.ok() || window->batches().empty()) queue->last_values_->see(queue->end_);
    }
    queue->serve();
  };
  gather(core_, std::move(fetched->pieces), std::move(taken));
}

void ShardQueue::take_ahead(const Window& window) {
  LastValues& values = *last_values_;
  for (const Window::Batch& batch : window.batches()) {
    if (batch.is_void || batch.next <= values.seen()) continue;
    Result<shard::OpenedRecords> opened = shard::open_records(window.bytes_of(batch), shard::kOpenedBytesMax);
    if (!opened.ok()) continue;
    RecordView record;
    while (opened->records.next(record)) {
      if (record.offset < values.seen() || !record.key) continue;
      if (!values.take(as_text(*record.key), record.offset)) ++metrics_.keys_left_out_total;
    }
  }
  values.see(window.next());
}

// Settles what was granted and has been replaced, and takes it out of `ranges`. How many records that is.
int64_t ShardQueue::pass_over_replaced(const Serving& of, std::vector<LeasedRange>& ranges) {
  if (!last_values_) return 0;
  std::vector<LeasedRange> left;
  std::vector<queue::Settlement> over;
  for (const LeasedRange& range : ranges) {
    for (Offset offset = range.first; offset <= range.last; ++offset) {
      const bool is_new = range.deliveries <= 1;  // else somebody had it
      if (is_new && last_values_->is_replaced(offset)) {
        over.push_back({.consumer = of.consumer, .first = offset, .last = offset, .outcome = queue::Outcome::accept});
      } else if (!left.empty() && left.back().last + 1 == offset && left.back().deliveries == range.deliveries) {
        left.back().last = offset;
      } else {
        left.push_back({offset, offset, range.deliveries});
      }
    }
  }
  if (over.empty()) return 0;
  queue_->settle(over, now());
  take_outputs();
  metrics_.records_replaced_total += over.size();
  ranges = std::move(left);
  return static_cast<int64_t>(over.size());
}

}  // namespace robustmq::broker
