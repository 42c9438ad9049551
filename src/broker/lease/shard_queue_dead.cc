// ShardQueue: dead letters. One writing is under way at a time; which records died meanwhile is in the next one.
#include <algorithm>

#include "broker/gather.h"
#include "broker/lease/shard_queue.h"
#include "shard/record_reader.h"

namespace robustmq::broker {

// Records died, or died before a restart.
void ShardQueue::owe(std::vector<queue::Outputs::Death> deaths) {
  for (queue::Outputs::Death& each : deaths) {
    // Without a place for letters the machine is through with it at once, but for what died when there was one.
    if (!options_.is_death_confirmed) {
      const std::vector<queue::View> there = queue_->browse(each.first, 1);
      if (there.empty() || there[0].state != queue::State::dead || there[0].first > each.first) continue;
    }
    letters_owed_ += each.last - each.first + 1;
    metrics_.dead_letters_waiting += each.last - each.first + 1;
    owed_.push_back(each);
  }
  if (owed_.empty()) return;
  core_.post([self = self()] {
    if (ShardQueue* queue = self.get()) queue->settle_letters();
  });
}

void ShardQueue::settle_letters() {
  if (is_over_ || !is_open_ || is_lettering_ || owed_.empty() || core_.now() < letters_not_before_) return;
  if (settings_.dead_letters.topic.empty()) {
    for (const queue::Outputs::Death& each : std::exchange(owed_, {})) pay(each.first, each.last);
    return take_outputs();
  }
  is_lettering_ = true;
  // First it is dead for good: a record that is told dead must not be given to anybody again.
  flush([self = self()](Code code) {
    ShardQueue* queue = self.get();
    if (queue && code == Code::ok) queue->begin_letters();
  });
}

void ShardQueue::begin_letters() {
  take_letters();
  if (letters_.empty()) {  // sought elsewhere meanwhile
    is_lettering_ = false;
    return;
  }
  copied_bytes_ = 0;
  copied_ = settings_.dead_letters.copies ? 0 : letters_.size();
  copy_next();
}

void ShardQueue::take_letters() {
  while (!owed_.empty() && letters_.size() < kLettersMax) {
    queue::Outputs::Death& death = owed_.front();
    for (; death.first <= death.last && letters_.size() < kLettersMax; ++death.first)
      letters_.push_back({death.first, death.acquired, death.cause, std::nullopt, std::nullopt});
    if (death.first > death.last) owed_.pop_front();
  }
}

// Looks up the records of the letters, one read after the other.
void ShardQueue::copy_next() {
  if (copied_ == letters_.size() || copied_bytes_ >= kLetterBytesMax) return write_letters();
  const Offset at = letters_[copied_].offset;
  auto read = [self = self(), at](Result<Bytes> bytes) {
    ShardQueue* queue = self.get();
    if (!queue) return;
    const Code code = bytes.code();
    if (bytes.ok()) {
      queue->copy_from(at, *bytes);
    } else if (code == Code::offset_out_of_range) {
      ++queue->copied_;
      ++queue->metrics_.dead_letters_without_copy_total;
    } else {
      return queue->finish_letters(code, 0);
    }
    queue->copy_next();
  };
  with_shard([self = self(), at, read = std::move(read)](Result<shard::Shard*> shard) mutable {
    ShardQueue* queue = self.get();
    if (!queue) return;
    if (!shard) return read(shard.error());
    (*shard)->fetch(at, kWindowBytes, true, false, [self, read = std::move(read)](Result<shard::Fetched> fetched) mutable {
      ShardQueue* again = self.get();
      if (!again) return;
      if (!fetched.ok()) return read(fetched.error());
      gather(again->core_, std::move(fetched->pieces), std::move(read));
    });
  });
}

// The letters that are next and lie behind each other, as far as these batches, read at `at`, have their records.
void ShardQueue::copy_from(Offset at, const Bytes& bytes) {
  Offset floor = at;  // records before it were passed over
  const auto is_next_below = [&](Offset upto) {
    return copied_ < letters_.size() && floor <= letters_[copied_].offset && letters_[copied_].offset < upto;
  };
  const auto miss = [&] {
    floor = letters_[copied_++].offset + 1;
    ++metrics_.dead_letters_without_copy_total;
  };
  for (size_t from = 0; from < bytes.size();) {
    const Bytes rest = bytes.slice(from);
    const std::optional<size_t> size = BatchView::size_at(rest.span());
    if (!size || *size > rest.size()) break;
    from += *size;
    const Bytes batch = rest.slice(0, *size);
    const Offset next = BatchView(batch.span()).next_offset();
    if (!is_next_below(next)) continue;
    Result<shard::OpenedRecords> opened = shard::open_records(batch, shard::kOpenedBytesMax);
    RecordView record;
    while (opened.ok() && is_next_below(next) && opened->records.next(record)) {
      while (is_next_below(record.offset)) miss();
      if (!is_next_below(record.offset + 1)) continue;
      DeadLetter& letter = letters_[copied_++];
      floor = record.offset + 1;
      if (record.key) letter.key = Bytes::copy_of(*record.key);
      if (record.value) letter.value = Bytes::copy_of(*record.value);
      copied_bytes_ += (record.key ? record.key->size() : 0) + (record.value ? record.value->size() : 0);
      if (copied_bytes_ >= kLetterBytesMax) return;
    }
  }
  // What is not where it was read for is nowhere any more.
  if (is_next_below(at + 1)) miss();
}

void ShardQueue::write_letters() {
  // What has no room goes back.
  for (size_t i = letters_.size(); i-- > copied_;) {
    const DeadLetter& each = letters_[i];
    owed_.push_front({each.offset, each.offset, each.cause, static_cast<uint16_t>(each.deliveries), 0});
  }
  letters_.resize(copied_);
  events_.write_letters(key_, topic_->name, settings_.dead_letters, letters_,
                        [self = self()](const Status& status, size_t written) {
                          if (ShardQueue* queue = self.get()) queue->finish_letters(status, written);
                        });
}

void ShardQueue::finish_letters(const Status& status, size_t written) {
  for (size_t i = letters_.size(); i-- > written;) {
    const DeadLetter& each = letters_[i];
    owed_.push_front({each.offset, each.offset, each.cause, static_cast<uint16_t>(each.deliveries), 0});
  }
  letters_.resize(written);
  for (const DeadLetter& each : std::exchange(letters_, {})) pay(each.offset, each.offset);
  is_lettering_ = false;
  if (status.ok()) {
    letter_pause_ = kLetterPause;
  } else {
    ++metrics_.dead_letters_failed_total;
    letters_not_before_ = core_.now() + letter_pause_;
    letter_pause_ = std::min(letter_pause_ + letter_pause_, kLetterPauseMax);
  }
  take_outputs();
  if (is_over_) return;
  settle_letters();
  wake_next();
}

// The letters lie where they belong, or nobody wants them. Who sought elsewhere meanwhile has no dead records any more.
void ShardQueue::pay(Offset first, Offset last) {
  letters_owed_ -= last - first + 1;
  metrics_.dead_letters_waiting -= last - first + 1;
  queue_->confirm_dead(first, last, now());
}

}  // namespace robustmq::broker
