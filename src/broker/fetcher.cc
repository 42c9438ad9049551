#include "broker/fetcher.h"

#include <algorithm>
#include <utility>

namespace robustmq::broker {

// Reads the items one after the other, so that an earlier partition has the first claim on the bytes. A loop while reads
// complete inline, a continuation where one does not.
class Fetcher::Reading : public std::enable_shared_from_this<Fetcher::Reading> {
 public:
  Reading(Locator& locator, std::shared_ptr<const std::vector<Item>> items, uint64_t bytes_max, Callback<void(PartRead)> done)
      : locator_(locator), items_(std::move(items)), bytes_left_(bytes_max), done_(std::move(done)) {
    result_.partitions.resize(items_->size());
  }

  void run() {
    while (next_ < items_->size()) {
      in_call_ = true;
      came_inline_ = false;
      read_one();
      in_call_ = false;
      if (!came_inline_) return;
    }
    done_(std::move(result_));
  }

 private:
  void read_one() {
    const Item& item = (*items_)[next_];
    locator_.with_shard(item.topic, item.wanted.partition, [self = shared_from_this()](Result<shard::Shard*> shard) {
      const Item& wanted = (*self->items_)[self->next_];
      if (!shard) return self->finish_one(shard.code());
      const shard::ShardBounds bounds = (*shard)->bounds();
      FetchedPartition& row = self->result_.partitions[self->next_];
      row.leader_epoch = bounds.leader_epoch;
      if (const Code code = check_epoch(wanted.wanted.current_leader_epoch, **shard); code != Code::ok)
        return self->finish_one(code);
      row.high_watermark = bounds.high_watermark;
      row.log_start = bounds.log_start;
      row.last_stable = bounds.last_stable;
      if (wanted.wanted.last_fetched_epoch >= 0) {
        const shard::Replica::EpochEnd ended = (*shard)->end_of_epoch(wanted.wanted.last_fetched_epoch);
        if (ended.epoch < 0) return self->finish_one(Code::offset_out_of_range);
        if (ended.epoch < wanted.wanted.last_fetched_epoch || ended.end < wanted.wanted.from) {
          row.diverging_epoch = ended.epoch;
          row.diverging_end = ended.end;
          return self->finish_one(Code::ok);
        }
      }
      const uint64_t limit = std::min<uint64_t>(self->bytes_left_, static_cast<uint64_t>(std::max(wanted.wanted.bytes_max, 0)));
      // An empty answer needs no read; the order of limits is KIP-74's.
      if (wanted.wanted.from == bounds.high_watermark || (self->bytes_left_ == 0 && self->has_data_))
        return self->finish_one(Code::ok);
      (*shard)->fetch(wanted.wanted.from, limit, !self->has_data_, wanted.read_committed, [self](Result<shard::Fetched> fetched) {
        FetchedPartition& into = self->result_.partitions[self->next_];
        if (!fetched) return self->finish_one(fetched.code());
        into.high_watermark = fetched->high_watermark;
        into.log_start = fetched->log_start;
        into.last_stable = fetched->last_stable;
        for (const shard::AbortedRange& each : fetched->aborted) into.aborted.push_back({each.producer, each.first});
        const uint64_t size = size_of(fetched->pieces);
        self->bytes_left_ -= std::min(self->bytes_left_, size);
        self->has_data_ |= size > 0;
        into.batches = std::move(fetched->pieces);
        self->finish_one(Code::ok);
      });
    });
  }
  void finish_one(Code code) {
    result_.partitions[next_++].code = code;
    if (in_call_)
      came_inline_ = true;
    else
      run();
  }

  Locator& locator_;
  std::shared_ptr<const std::vector<Item>> items_;
  uint64_t bytes_left_;
  Callback<void(PartRead)> done_;
  PartRead result_;
  size_t next_ = 0;
  bool has_data_ = false;
  bool in_call_ = false;
  bool came_inline_ = false;
};

// Watches the shards of one part; tells the asking core once.
class Fetcher::Park {
 public:
  explicit Park(Callback<void()> moved) : moved_(std::move(moved)) {}

  void watch(shard::Shard& shard) {
    watchers_.push_back(std::make_unique<One>(*this));
    shard.watch(*watchers_.back());
  }
  void tell() {
    if (std::exchange(told_, true)) return;
    moved_();
  }

 private:
  struct One final : shard::Watcher {
    explicit One(Park& park_in) : park(park_in) {}
    void on_shard_moved() override { park.tell(); }
    Park& park;
  };
  Callback<void()> moved_;
  bool told_ = false;
  std::vector<std::unique_ptr<One>> watchers_;
};

Fetcher::Fetcher(runtime::Core& core, Locator& locator, const BrokerOptions& options, BrokerMetrics& metrics)
    : core_(core), locator_(locator), options_(options), metrics_(metrics) {}
Fetcher::~Fetcher() = default;

void Fetcher::fetch(const Context& asker, Fetch request, ReplyTo done) {
  ++metrics_.fetches_total;
  if (request.partitions.size() > static_cast<size_t>(options_.fetch_partitions_max)) {
    return done(Error{Code::too_large, "more partitions than fetch_partitions_max"});
  }
  auto made = std::make_unique<Operation>(*this, asker, ++last_id_);
  Operation& operation = *made;
  operations_.emplace(operation.id, std::move(made));
  by_asker_.emplace(&asker, operation.id);
  operation.done = std::move(done);
  operation.deadline = core_.now() + Duration::millis(std::max(request.wait_max_ms, 0));
  std::vector<Located> topics;
  topics.reserve(request.topics.size());
  for (const TopicRef& topic : request.topics) topics.push_back(locator_.locate(topic));
  for (size_t i = 0; i < request.partitions.size(); ++i) {
    const FetchPartition& wanted = request.partitions[i];
    const Located& topic = topics[static_cast<size_t>(wanted.topic_index)];
    const CoreIndex home = locator_.home(topic, wanted.partition);
    auto part = std::find_if(operation.parts.begin(), operation.parts.end(), [&](const Part& p) { return p.home == home; });
    if (part == operation.parts.end()) part = operation.parts.insert(part, Part{home, {}});
    part->items.push_back({i, topic, wanted, -1, request.read_committed});
  }
  operation.request = std::move(request);
  read(operation);
}

void Fetcher::read(Operation& operation) {
  operation.is_parked = false;
  operation.moved_meanwhile = false;
  operation.reply.partitions.assign(operation.request.partitions.size(), {});
  const auto wanted = static_cast<uint64_t>(std::max(operation.request.bytes_max, 0));
  const uint64_t bytes_max = std::min<uint64_t>(wanted, static_cast<uint64_t>(options_.fetch_bytes_max));
  if (operation.parts.empty()) return settle(operation);
  operation.waiting = operation.parts.size();
  const uint64_t id = operation.id;
  const size_t parts = operation.parts.size();
  for (size_t i = 0; i < parts; ++i) {
    const Part& part = operation.parts[i];
    auto items = std::make_shared<const std::vector<Item>>(part.items);
    if (part.home == core_.index()) {
      read_part(std::move(items), bytes_max, [this, id, i](PartRead read) { take(id, i, std::move(read)); });
      if (!operations_.contains(id)) return;  // answered inline
      continue;
    }
    Fetcher* peer = peers_[part.home];
    core_.send(part.home, [this, peer, id, i, items = std::move(items), bytes_max] {
      peer->read_part(items, bytes_max, [this, peer, id, i](PartRead read) {
        peer->core_.send(core_.index(), [this, id, i, read = std::move(read)]() mutable { take(id, i, std::move(read)); });
      });
    });
  }
}

void Fetcher::read_part(std::shared_ptr<const std::vector<Item>> items, uint64_t bytes_max, Callback<void(PartRead)> done) {
  std::make_shared<Reading>(locator_, std::move(items), bytes_max, std::move(done))->run();
}

void Fetcher::take(uint64_t id, size_t part_index, PartRead read) {
  const auto found = operations_.find(id);
  if (found == operations_.end()) return;
  Operation& operation = *found->second;
  Part& part = operation.parts[part_index];
  for (size_t i = 0; i < part.items.size(); ++i) {
    part.items[i].seen = read.partitions[i].high_watermark;
    operation.reply.partitions[part.items[i].index] = std::move(read.partitions[i]);
  }
  if (--operation.waiting == 0) settle(operation);
}

// All parts are there: answer, or park.
void Fetcher::settle(Operation& operation) {
  uint64_t bytes = 0;
  bool has_error = false;
  const auto bytes_max = static_cast<uint64_t>(std::max(operation.request.bytes_max, 0));
  for (FetchedPartition& partition : operation.reply.partitions) {
    has_error |= partition.code != Code::ok || partition.diverging_epoch >= 0;
    const uint64_t size = size_of(partition.batches);
    // Parts of several cores may add up to more than was asked; what is over comes with the next fetch.
    if (bytes > 0 && bytes + size > bytes_max)
      partition.batches.clear();  // and what it says of aborted transactions is true all the same
    else
      bytes += size;
  }
  const bool is_enough = has_error || bytes >= static_cast<uint64_t>(std::max(operation.request.bytes_min, 0));
  if (is_enough || operation.request.partitions.empty() || core_.now() >= operation.deadline) return finish(operation);
  if (!std::exchange(operation.has_parked, true)) {
    ++metrics_.fetches_parked_total;
    ++metrics_.fetches_waiting;
    core_.arm(operation.timer, operation.deadline);
  }
  operation.is_parked = true;
  const uint64_t id = operation.id;
  const CoreIndex asker = core_.index();
  for (const Part& part : operation.parts) {
    auto items = std::make_shared<const std::vector<Item>>(part.items);
    Fetcher* peer = peers_[part.home];
    if (peer == this)
      park_part(asker, id, std::move(items));
    else
      core_.send(part.home, [peer, asker, id, items = std::move(items)] { peer->park_part(asker, id, items); });
  }
}

void Fetcher::park_part(CoreIndex asker, uint64_t id, std::shared_ptr<const std::vector<Item>> items) {
  Fetcher* to = peers_[asker];
  // Told in a later turn, also on the same core: the shard is in the middle of a commit.
  auto park = std::make_unique<Park>([this, asker, id, to] { core_.send(asker, [to, id] { to->on_moved(id); }); });
  Park& watching = *park;
  parks_[{asker, id}] = std::move(park);
  for (const Item& item : *items) {
    locator_.with_shard(item.topic, item.wanted.partition, [this, asker, id, seen = item.seen](Result<shard::Shard*> shard) {
      const auto found = parks_.find({asker, id});
      if (found == parks_.end()) return;
      // Gone, or moved between the read and now.
      if (!shard || (*shard)->bounds().high_watermark != seen) return found->second->tell();
      found->second->watch(**shard);
    });
    if (!parks_.contains({asker, id}) || parks_[{asker, id}].get() != &watching) return;
  }
}

void Fetcher::unpark_part(CoreIndex asker, uint64_t id) { parks_.erase({asker, id}); }

void Fetcher::on_moved(uint64_t id) {
  const auto found = operations_.find(id);
  if (found == operations_.end() || !found->second->is_parked) return;
  read(*found->second);
}

void Fetcher::Operation::on_timer(void* self) {
  auto& operation = *static_cast<Operation*>(self);
  if (operation.is_parked) operation.fetcher.finish(operation);
  // Else its parts are being read: settle() sees that the time is over.
}

std::unique_ptr<Fetcher::Operation> Fetcher::take_out(uint64_t id) {
  const auto found = operations_.find(id);
  std::unique_ptr<Operation> gone = std::move(found->second);
  operations_.erase(found);
  by_asker_.erase({gone->asker, id});
  const CoreIndex asker = core_.index();
  if (gone->has_parked) {
    --metrics_.fetches_waiting;
    for (const Part& part : gone->parts) {
      Fetcher* peer = peers_[part.home];
      if (peer == this)
        unpark_part(asker, id);
      else
        core_.send(part.home, [peer, asker, id] { peer->unpark_part(asker, id); });
    }
  }
  return gone;
}

void Fetcher::finish(Operation& operation) {
  const std::unique_ptr<Operation> gone = take_out(operation.id);
  gone->done(std::move(gone->reply));
}

void Fetcher::cancel(const Context& asker) {
  while (true) {
    const auto first = by_asker_.lower_bound({&asker, 0});
    if (first == by_asker_.end() || first->first != &asker) return;
    const std::unique_ptr<Operation> gone = take_out(first->second);
  }
}

}  // namespace robustmq::broker
