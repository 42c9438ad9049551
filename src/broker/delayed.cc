#include "broker/delayed.h"

#include <algorithm>

#include "base/topic_names.h"
#include "base/wire.h"
#include "storage/row_key.h"

namespace robustmq::broker {
namespace {

// A message's number: milliseconds of its acceptance, its core, a count.
constexpr int kCountBits = 16;
constexpr int kCoreBits = 6;

Result<DelayedMessage> message_of(std::string_view key, std::string_view value) {
  Result<DelayedKey> at = DelayedKey::of_row(key);
  if (!at.ok()) return Error{Code::corrupt_storage, at.error().detail};
  Result<DelayedRow> row = decode_described<DelayedRow>(as_bytes(value));
  if (!row.ok()) return Error{Code::corrupt_storage, "a delayed message: " + row.error().detail};
  return DelayedMessage{*at, row.take()};
}

}  // namespace

Delayed::Delayed(runtime::Core& core, Rows& rows, meta::Meta& meta, Publisher& publisher, RetainedHome& retained,
                 const DelayedOptions& options)
    : core_(core),
      rows_(rows),
      options_(options),
      sender_(core, rows, meta, publisher, retained),
      timer_([](void* self) { static_cast<Delayed*>(self)->on_timer(); }, this),
      retry_([](void* self) { static_cast<Delayed*>(self)->on_retry(); }, this) {
  sender_.set_done([this](const DelayedMessage& message, const Status& status) { on_sent(message, status); });
}

CoreIndex Delayed::home_of(std::string_view topic) const {
  return static_cast<CoreIndex>(slot_of(kDefaultTenant, kafka_name_of_mqtt(topic)) % core_.count());
}

uint64_t Delayed::next_number() {
  const uint64_t first = static_cast<uint64_t>(core_.wall_now().ms) << (kCoreBits + kCountBits) | uint64_t{core_.index()}
                                                                                                      << kCountBits;
  last_number_ = std::max(last_number_ + 1, first);
  return last_number_;
}

// ---- Start ----

void Delayed::load(Callback<void(Status)> done) {
  // Batches first: one that is over meanwhile took its messages' rows with it.
  load_batches([this, alive = std::weak_ptr<bool>(alive_), done = std::move(done)](Status status) mutable {
    if (alive.expired()) return;
    if (!status.ok()) return done(std::move(status));
    load_rows(std::string(kDelayedRows), std::move(done));
  });
}

void Delayed::load_batches(Callback<void(Status)> done) {
  const std::string from(kDelayedBatchRows);
  rows_.scan(from, storage::end_of(from), SIZE_MAX,
             [this, alive = std::weak_ptr<bool>(alive_), done = std::move(done)](Result<storage::KvRows> rows) mutable {
               if (alive.expired()) return;
               if (!rows.ok()) return done(rows.error());
               for (const auto& [key, value] : *rows) {
                 Result<DelayedBatchRow> batch = decode_described<DelayedBatchRow>(as_bytes(value));
                 if (!batch.ok() || batch->due_ms.size() != batch->numbers.size() || batch->numbers.empty())
                   return done(Error{Code::corrupt_storage, "a batch of delayed messages is malformed"});
                 for (size_t i = 0; i < batch->numbers.size(); ++i) in_batches_.insert({batch->due_ms[i], batch->numbers[i]});
                 const uint64_t number = batch->numbers.front();
                 const CoreIndex home = batch->light.empty() ? CoreIndex{0} : home_of(batch->light);
                 if (home == core_.index()) batches_.emplace_back(number, batch.take());
               }
               done({});
             });
}

void Delayed::load_rows(std::string from, Callback<void(Status)> done) {
  auto page = [this, alive = std::weak_ptr<bool>(alive_), done = std::move(done)](Result<storage::KvRows> rows) mutable {
    if (alive.expired()) return;
    if (!rows.ok()) return done(rows.error());
    for (const auto& [key, value] : *rows) {
      Result<DelayedMessage> message = message_of(key, value);
      if (!message.ok()) return done(message.error());
      last_number_ = std::max(last_number_, message->key.number);
      if (home_of(message->row.topic) != core_.index() || in_batches_.contains(message->key)) continue;
      wait_for(message->key, message->key.due_ms);
    }
    if (rows->size() < kRowsAPage) return done({});
    load_rows(rows->back().first + '\0', std::move(done));
  };
  rows_.scan(std::move(from), storage::end_of(std::string(kDelayedRows)), kRowsAPage, std::move(page));
}

void Delayed::start() {
  is_started_ = true;
  begin();
}

void Delayed::set_forget(DelayedSender::Forget forget) {
  forget_ = std::move(forget);
  sender_.set_forget([this](const std::vector<std::string>& keys) { forget_(keys); });
}

void Delayed::found(const std::vector<std::string>& keys) {
  for (const std::string& text : keys) {
    const Result<DelayedKey> key = DelayedKey::parse(text);
    if (key.ok()) found_.insert(*key);
  }
  ++found_by_;
  begin();
}

// When this core's rows are read and every core's spools.
void Delayed::begin() {
  if (!is_started_ || found_by_ < peers_.size() || std::exchange(has_begun_, true)) return;
  // What a spool has was published; at most its row outlived the crash.
  for (const DelayedKey& key : found_) {
    if (in_batches_.contains(key)) continue;
    if (waiting_.erase({key.due_ms, key}) == 0) {
      if (forget_) forget_({key.to_string()});
      continue;
    }
    --metrics_.waiting;
    ++metrics_.published_total;
    rows_.remove(key.row_key(), [this, alive = std::weak_ptr<bool>(alive_), key](const Status& removed) {
      if (!alive.expired() && removed.ok() && forget_) forget_({key.to_string()});
    });
  }
  sender_.set_spooled(std::move(found_));
  recover();
  arm();
}

// What was being appended: its messages are read again, and it goes on.
struct Delayed::Recovering {
  uint64_t number = 0;
  DelayedBatchRow row;
  std::vector<DelayedMessage> messages;
  size_t waiting = 0;
};

void Delayed::recover() {
  in_batches_.clear();
  for (auto& [number, row] : std::exchange(batches_, {})) {
    auto reading = std::make_shared<Recovering>();
    reading->number = number;
    reading->row = std::move(row);
    reading->waiting = reading->row.numbers.size();
    reading->messages.resize(reading->waiting);
    for (size_t i = 0; i < reading->row.numbers.size(); ++i) read_recovered(reading, i);
  }
}

void Delayed::read_recovered(const std::shared_ptr<Recovering>& reading, size_t index) {
  const DelayedKey key{reading->row.due_ms[index], reading->row.numbers[index]};
  rows_.get(key.row_key(), [this, alive = std::weak_ptr<bool>(alive_), reading, key, index](Result<std::string> value) {
    if (alive.expired()) return;
    if (!value.ok() && value.code() != Code::not_found) {
      unread_.emplace_back(reading, index);
      if (!retry_.is_armed()) core_.arm(retry_, core_.now() + Duration::millis(kRetryMs));
      return;
    }
    // Rows of a batch go with it, so all of them are there; if the disk lost one, an empty message keeps the count.
    Result<DelayedMessage> message = value.ok() ? message_of(key.row_key(), *value) : Result<DelayedMessage>(value.error());
    reading->messages[index] = message.ok() ? message.take() : DelayedMessage{key, {}};
    if (--reading->waiting == 0) sender_.recover(reading->number, std::move(reading->row), std::move(reading->messages));
  });
}

void Delayed::on_retry() {
  for (const auto& [reading, index] : std::exchange(unread_, {})) read_recovered(reading, index);
}

// ---- Requests ----

void Delayed::accept(const Context& context, const Message& message, storage::KvBatch beside, Callback<void(Status)> done) {
  Result<DelayedName> name = parse_delayed_name(message.topic, core_.wall_now());
  const bool is_large = static_cast<int64_t>(message.payload.size()) > options_.payload_bytes_max;
  if (!name.ok() || is_large) {
    ++metrics_.refused_total;
    return done(name.ok() ? Error{Code::quota_exceeded, "the payload is too large for a delayed message"} : name.error());
  }
  DelayedRow row;
  row.topic = name->topic;
  row.payload = Bytes::copy_of(message.payload);
  row.raw_headers = Bytes::copy_of(message.raw_headers);
  row.header_count = message.header_count;
  row.qos = message.qos;
  row.retain = message.retain;
  row.expiry_s = message.expiry_s;
  row.accepted_ms = core_.wall_now().ms;
  row.client_id = context.session;
  const CoreIndex home = home_of(row.topic);
  if (home == core_.index()) return accept_here(std::move(row), name->due_ms, std::move(beside), std::move(done));
  Delayed* peer = peers_[home];
  core_.send(home, [peer, back = core_.index(), row = std::move(row), due_ms = name->due_ms, beside = std::move(beside),
                    done = std::move(done)]() mutable {
    peer->accept_here(std::move(row), due_ms, std::move(beside), [peer, back, done = std::move(done)](Status status) mutable {
      peer->core_.send(back, [done = std::move(done), status = std::move(status)]() mutable { done(std::move(status)); });
    });
  });
}

void Delayed::accept_here(DelayedRow row, int64_t due_ms, storage::KvBatch beside, Callback<void(Status)> done) {
  const int64_t share = (options_.messages_max + core_.count() - 1) / core_.count();
  if (metrics_.waiting + under_way_ >= share) {
    ++metrics_.refused_total;
    return done(Error{Code::quota_exceeded, "the number of delayed messages is at its limit"});
  }
  const DelayedKey key{due_ms, next_number()};
  ++under_way_;
  beside.put(key.row_key(), encode_described(row));
  rows_.write(std::move(beside), [this, alive = std::weak_ptr<bool>(alive_), key, done = std::move(done)](Status status) mutable {
    if (alive.expired()) return;
    --under_way_;
    ++(status.ok() ? metrics_.accepted_total : metrics_.refused_total);
    if (status.ok()) {
      wait_for(key, key.due_ms);
      arm();
    }
    done(std::move(status));
  });
}

void Delayed::publish_once(DelayedRow row, storage::KvBatch gone, Callback<void(Status)> done) {
  DelayedMessage message{{core_.wall_now().ms, next_number()}, std::move(row)};
  gone.put(message.key.row_key(), encode_described(message.row));
  rows_.write(std::move(gone), [this, alive = std::weak_ptr<bool>(alive_), message = std::move(message),
                                done = std::move(done)](Status status) mutable {
    if (alive.expired()) return;
    if (status.ok()) {
      Delayed* home = peers_[home_of(message.row.topic)];
      if (home == this)
        sender_.send(std::move(message));
      else
        core_.send(home->core_.index(),
                   [home, message = std::move(message)]() mutable { home->sender_.send(std::move(message)); });
    }
    done(std::move(status));
  });
}

void Delayed::cancel(const DelayedKey& key, Callback<void(Status)> done) {
  // Its row says whose it is.
  rows_.get(
      key.row_key(), [this, alive = std::weak_ptr<bool>(alive_), key, done = std::move(done)](Result<std::string> value) mutable {
        if (alive.expired()) return;
        if (!value.ok()) return done(value.error());
        Result<DelayedMessage> message = message_of(key.row_key(), *value);
        if (!message.ok()) return done(message.error());
        const CoreIndex home = home_of(message->row.topic);
        if (home == core_.index()) return cancel_here(key, std::move(done));
        Delayed* peer = peers_[home];
        core_.send(home, [peer, back = core_.index(), key, done = std::move(done)]() mutable {
          peer->cancel_here(key, [peer, back, done = std::move(done)](Status status) mutable {
            peer->core_.send(back, [done = std::move(done), status = std::move(status)]() mutable { done(std::move(status)); });
          });
        });
      });
}

void Delayed::cancel_here(const DelayedKey& key, Callback<void(Status)> done) {
  auto found = waiting_.find({key.due_ms, key});
  if (found == waiting_.end())  // one that is tried again
    found = std::find_if(waiting_.begin(), waiting_.end(), [&](const Waiting& each) { return each.second == key; });
  if (found == waiting_.end()) return done(Code::not_found);
  waiting_.erase(found);
  --metrics_.waiting;
  ++metrics_.cancelled_total;
  rows_.remove(key.row_key(), std::move(done));
}

void Delayed::list(const DelayedKey& after, size_t count, Callback<void(Result<std::vector<DelayedMessage>>)> done) {
  rows_.scan(after.row_key() + '\0', storage::end_of(std::string(kDelayedRows)), count,
             [alive = std::weak_ptr<bool>(alive_), done = std::move(done)](Result<storage::KvRows> rows) mutable {
               if (alive.expired()) return;
               if (!rows.ok()) return done(rows.error());
               std::vector<DelayedMessage> messages;
               for (const auto& [key, value] : *rows) {
                 Result<DelayedMessage> message = message_of(key, value);
                 if (!message.ok()) return done(message.error());
                 messages.push_back(message.take());
               }
               done(std::move(messages));
             });
}

// ---- Their time ----

void Delayed::wait_for(const DelayedKey& key, int64_t at_ms) {
  waiting_.emplace(at_ms, key);
  ++metrics_.waiting;
}

void Delayed::arm() {
  if (!has_begun_) return;
  if (waiting_.empty()) return timer_.cancel();
  const int64_t wait_ms = std::clamp<int64_t>(waiting_.begin()->first - core_.wall_now().ms, 0, kLookEveryMs);
  core_.arm(timer_, core_.now() + Duration::millis(wait_ms));
}

void Delayed::on_timer() {
  const int64_t now_ms = core_.wall_now().ms;
  for (size_t i = 0; i < kDueATurn && !waiting_.empty() && waiting_.begin()->first <= now_ms; ++i) {
    const DelayedKey key = waiting_.begin()->second;
    waiting_.erase(waiting_.begin());
    --metrics_.waiting;
    send(key);
  }
  arm();
}

void Delayed::send(const DelayedKey& key) {
  rows_.get(key.row_key(), [this, alive = std::weak_ptr<bool>(alive_), key](Result<std::string> value) {
    if (alive.expired()) return;
    if (value.code() == Code::not_found) return;
    Result<DelayedMessage> message = value.ok() ? message_of(key.row_key(), *value) : Result<DelayedMessage>(value.error());
    if (!message.ok())
      return on_sent({key, {}}, message.code() == Code::corrupt_storage ? Code::corrupt_storage : Code::overloaded);
    const DelayedRow& row = message->row;
    if (row.expiry_s != 0 && row.accepted_ms + int64_t{row.expiry_s} * 1000 <= core_.wall_now().ms) {
      ++metrics_.expired_total;
      return rows_.remove(key.row_key(), [](const Status&) {});
    }
    sender_.send(message.take());
  });
}

void Delayed::on_sent(const DelayedMessage& message, const Status& status) {
  if (status.ok()) {
    metrics_.published_total += message.row.is_will ? 0 : 1;
  } else if (is_retriable(status.code())) {
    ++metrics_.retries_total;
    // Of what was recovered here some belongs to other cores.
    Delayed* home = message.row.topic.empty() ? this : peers_[home_of(message.row.topic)];
    const int64_t at_ms = core_.wall_now().ms + kRetryMs;
    if (home != this) {
      return core_.send(home->core_.index(), [home, key = message.key, at_ms] {
        home->wait_for(key, at_ms);
        home->arm();
      });
    }
    wait_for(message.key, at_ms);
    arm();
  } else {
    ++metrics_.dropped_total;
  }
}

}  // namespace robustmq::broker
