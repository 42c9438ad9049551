#include "broker/lease/queues.h"

#include <algorithm>
#include <utility>

#include "storage/row_key.h"

namespace robustmq::broker {

// One part's items, one behind the other. A loop while queues answer inline, a continuation where one does not.
class Queues::Walk : public std::enable_shared_from_this<Walk> {
 public:
  Walk(Queues& queues, QueuePart part, Callback<void(std::vector<LeaseGot>)> done)
      : queues_(queues), part_(std::move(part)), got_(part_.items.size()), done_(std::move(done)) {}

  void run() {
    while (next_ < part_.items.size() && part_.ask.messages_max > 0) {
      in_call_ = true;
      came_inline_ = false;
      lease_one();
      in_call_ = false;
      if (!came_inline_) return;
    }
    done_(std::move(got_));
  }

 private:
  void lease_one() {
    const QueuePart::Item& item = part_.items[next_];
    queues_.with({part_.tenant, item.shard, part_.queue}, item.topic, true,
                 [self = shared_from_this()](Result<ShardQueue*> queue) {
                   if (!queue.ok()) return self->take({.code = queue.code()});
                   LeaseAsk ask = self->part_.ask;
                   ask.behind = self->part_.items[self->next_].behind;
                   (*queue)->lease(std::move(ask), [self](LeaseGot got) { self->take(std::move(got)); });
                 });
  }
  void take(LeaseGot got) {
    LeaseAsk& ask = part_.ask;
    ask.messages_max -= std::min(ask.messages_max, got.messages);
    ask.bytes_max -= std::min(ask.bytes_max, got.bytes);
    ask.has_bytes |= got.bytes > 0;
    got_[next_++] = std::move(got);
    if (in_call_)
      came_inline_ = true;
    else
      run();
  }

  Queues& queues_;
  QueuePart part_;
  std::vector<LeaseGot> got_;
  Callback<void(std::vector<LeaseGot>)> done_;
  size_t next_ = 0;
  bool in_call_ = false;
  bool came_inline_ = false;
};

Queues::Queues(runtime::Core& core, Rows& rows, Locator& locator, LeaseMetrics& metrics)
    : core_(core), rows_(rows), locator_(locator), metrics_(metrics) {}

Queues::~Queues() { *alive_ = false; }

void Queues::ask_settings(const QueueKey& queue, Callback<void(Result<QueueSettings>)> done) { ask_(queue, std::move(done)); }

void Queues::write_letters(const QueueKey& queue, const std::string& source, const QueueSettings::DeadLetters& to,
                           std::vector<DeadLetter> letters, DeadLetters::Done done) {
  if (!letters_) return done(Code::not_supported, 0);
  letters_->write(queue, source, to, std::move(letters), std::move(done));
}

void Queues::on_closed(const QueueKey& key, bool owes_letters) {
  const auto found = queues_.find(key);
  if (owes_letters) owing_[key] = found->second->topic();
  std::unique_ptr<ShardQueue> gone = std::move(found->second);
  queues_.erase(found);
  core_.post([gone = std::move(gone)] {});  // it is on the stack
}

void Queues::with(const QueueKey& key, const std::shared_ptr<const meta::Topic>& topic, bool may_make,
                  Callback<void(Result<ShardQueue*>)> use, bool from_start) {
  if (removing_.contains(key)) return use(Code::group_not_found);
  std::unique_ptr<ShardQueue>& made = queues_[key];
  if (!made) {
    const ShardQueue::Setup setup{core_, rows_, locator_, queue_metrics_, metrics_, *this};
    made = std::make_unique<ShardQueue>(setup, key, topic);
  }
  ShardQueue* const queue = made.get();
  queue->when_open({may_make, from_start},
                   [queue, use = std::move(use)](Code code) mutable { code == Code::ok ? use(queue) : use(code); });
}

void Queues::make(const QueueKey& key, const std::shared_ptr<const meta::Topic>& topic, bool from_start,
                  Callback<void(Code)> done) {
  with(key, topic, true, [done = std::move(done)](const Result<ShardQueue*>& queue) mutable { done(queue.code()); }, from_start);
}

ShardQueue* Queues::find_open(const QueueKey& key) const {
  const auto found = queues_.find(key);
  return found != queues_.end() && found->second->is_open() ? found->second.get() : nullptr;
}

// ---- What requests ask ----

void Queues::lease(QueuePart part, Callback<void(std::vector<LeaseGot>)> done) {
  std::make_shared<Walk>(*this, std::move(part), std::move(done))->run();
}

void Queues::settle(QueuePart part, Settled done) {
  struct Gather {
    std::vector<Code> codes;
    int64_t lease_ms = 0;
    Settled done;
    size_t waiting = 1;
    void finish_one() {
      if (--waiting == 0) done(std::move(codes), lease_ms);
    }
  };
  auto gather = std::make_shared<Gather>();
  gather->codes.assign(part.items.size(), Code::ok);
  gather->done = std::move(done);
  gather->waiting += part.items.size();
  for (size_t i = 0; i < part.items.size(); ++i) {
    QueuePart::Item& item = part.items[i];
    with({part.tenant, item.shard, part.queue}, item.topic, false,
         [gather, i, consumer = part.ask.consumer, ranges = std::move(item.ranges)](Result<ShardQueue*> queue) {
           if (!queue.ok()) {
             gather->codes[i] = queue.code();
             return gather->finish_one();
           }
           gather->lease_ms = (*queue)->settings().lease_ms;
           (*queue)->settle(consumer, ranges, [gather, i](Code code) {
             gather->codes[i] = code;
             gather->finish_one();
           });
         });
  }
  gather->finish_one();
}

void Queues::park(const QueuePart& part) {
  for (const QueuePart::Item& item : part.items) {
    if (ShardQueue* queue = find_open({part.tenant, item.shard, part.queue})) {
      queue->park(part.ask.waiter, part.ask.consumer);
    } else {
      wake(part.ask.waiter);  // it closed since it was asked
    }
  }
}

void Queues::unpark(const QueuePart& part) {
  for (const QueuePart::Item& item : part.items) {
    if (ShardQueue* queue = find_open({part.tenant, item.shard, part.queue})) queue->unpark(part.ask.waiter);
  }
}

void Queues::leave(TenantId tenant, const std::string& name, const std::vector<ShardId>& shards, const std::string& consumer,
                   uint64_t origin, queue::Outcome outcome) {
  for (const ShardId& shard : shards) {
    if (ShardQueue* queue = find_open({tenant, shard, name})) queue->leave(consumer, origin, outcome);
  }
}

// ---- Who looks after them ----

void Queues::describe(QueueKey key, std::shared_ptr<const meta::Topic> topic, Callback<void(QueueFacts)> done) {
  // One that is opened for this alone is closed behind it: looks at the lag come often, and to many queues.
  const bool was_open = find_open(key) != nullptr;
  auto told = [this, alive = alive_, key, was_open, done = std::move(done)](QueueFacts facts) mutable {
    if (!was_open && *alive) {
      core_.post([this, alive, key] {
        ShardQueue* queue = *alive ? find_open(key) : nullptr;
        if (queue && queue->is_idle_since(core_.now())) queue->close(Code::shutting_down);
      });
    }
    done(std::move(facts));
  };
  with(key, topic, false, [told = std::move(told)](Result<ShardQueue*> queue) mutable {
    if (!queue.ok()) return told({.code = queue.code()});
    (*queue)->describe(std::move(told));
  });
}

void Queues::seek(QueueKey key, std::shared_ptr<const meta::Topic> topic, Offset to, Callback<void(Code)> done) {
  with(key, topic, true, [to, done = std::move(done)](Result<ShardQueue*> queue) mutable {
    if (!queue.ok()) return done(queue.code());
    (*queue)->seek(to, std::move(done));
  });
}

void Queues::remove(const QueueKey& key, Callback<void(Code)> done) {
  if (const auto found = queues_.find(key); found != queues_.end()) found->second->close(Code::group_not_found);
  owing_.erase(key);
  removing_.insert(key);
  const std::string first = queue_rows_of(key);
  storage::KvBatch batch;
  batch.remove_range(first, storage::end_of(first));
  rows_.write(std::move(batch), [this, alive = alive_, key, done = std::move(done)](const Status& status) mutable {
    if (!*alive) return;
    removing_.erase(removing_.find(key));
    done(status.code());
  });
}

void Queues::configure(TenantId tenant, const std::string& name, const QueueSettings& settings) {
  for (const auto& [key, queue] : queues_) {
    if (key.tenant == tenant && key.name == name) queue->configure(settings);
  }
}

void Queues::remove_topic(const meta::Topic& topic) {
  std::vector<QueueKey> gone;
  for (auto at = queues_.lower_bound({topic.tenant, {topic.id, 0}, {}});
       at != queues_.end() && at->first.tenant == topic.tenant && at->first.shard.topic == topic.id; ++at)
    gone.push_back(at->first);
  for (const QueueKey& key : gone) {
    if (const auto found = queues_.find(key); found != queues_.end()) found->second->close(Code::unknown_topic_id);
    owing_.erase(key);
  }
  if (!gone.empty()) return remove_rows(topic);
  const std::string first = queue_rows_of(topic.tenant, topic.id);
  rows_.scan(first, storage::end_of(first), 1, [this, alive = alive_, topic](const Result<storage::KvRows>& rows) {
    if (*alive && rows.ok() && !rows->empty()) remove_rows(topic);
  });
}

void Queues::remove_rows(const meta::Topic& topic) {
  storage::KvBatch batch;
  for (int32_t partition = 0; partition < topic.partitions; ++partition) {
    const ShardId shard{topic.id, partition};
    if (home_of(shard, core_.count()) != core_.index()) continue;
    const std::string first = queue_rows_of(topic.tenant, shard);
    batch.remove_range(first, storage::end_of(first));
  }
  // Rows that stay are found at the next start (sweep).
  if (!batch.changes.empty()) rows_.write(std::move(batch), [](const Status&) {});
}

void Queues::tidy() {
  const Instant then = core_.now() - kIdle;
  std::vector<QueueKey> idle;
  for (const auto& [key, queue] : queues_) {
    if (queue->is_idle_since(then)) idle.push_back(key);
  }
  for (const QueueKey& key : idle) queues_.at(key)->close(Code::shutting_down);
  for (const auto& [key, topic] : std::exchange(owing_, {})) open_again(key, topic);
}

void Queues::open_again(const QueueKey& key, std::shared_ptr<const meta::Topic> topic) {
  with(key, topic, false, [this, alive = alive_, key, topic](const Result<ShardQueue*>& queue) {
    const bool is_gone = queue.ok() || queue.code() == Code::not_found || queue.code() == Code::group_not_found ||
                         queue.code() == Code::unknown_topic || queue.code() == Code::unknown_topic_id;
    if (*alive && !is_gone) owing_[key] = topic;
  });
}

// From queue to queue: one row of each is looked at.
void Queues::resume_from(const meta::Meta& meta, std::string from) {
  rows_.scan(std::move(from), storage::end_of(std::string(kQueueRows)), 1,
             [this, alive = alive_, &meta](Result<storage::KvRows> rows) {
               if (!*alive || !rows.ok() || rows->empty()) return;
               const std::optional<QueueKey> key = queue_of_row(rows->front().first);
               if (!key) return;
               const auto topic = meta.find(key->shard.topic);
               if (topic && home_of(key->shard, core_.count()) == core_.index()) {
                 ask_(*key, [this, alive, key, topic](const Result<QueueSettings>& settings) {
                   if (!*alive) return;
                   if (settings.code() == Code::coordinator_loading) owing_[*key] = topic;
                   if (settings.ok() && !settings->dead_letters.topic.empty()) open_again(*key, topic);
                 });
               }
               resume_from(meta, storage::end_of(queue_rows_of(*key)));
             });
}

void Queues::sweep(const meta::Meta& meta) { sweep_from(meta, std::string(kQueueRows)); }

// From topic to topic: one row of each is looked at.
void Queues::sweep_from(const meta::Meta& meta, std::string from) {
  rows_.scan(std::move(from), storage::end_of(std::string(kQueueRows)), 1,
             [this, alive = alive_, &meta](Result<storage::KvRows> rows) {
               if (!*alive || !rows.ok() || rows->empty()) return;
               const auto topic = topic_of_queue_row(rows->front().first);
               if (!topic) return;
               const std::string first = queue_rows_of(topic->first, topic->second);
               const std::string end = storage::end_of(first);
               if (!meta.find(topic->second)) {
                 storage::KvBatch batch;
                 batch.remove_range(first, end);
                 rows_.write(std::move(batch), [](const Status&) {});
               }
               sweep_from(meta, end);
             });
}

}  // namespace robustmq::broker
