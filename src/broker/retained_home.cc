#include "broker/retained_home.h"

#include <algorithm>

#include "base/topic_names.h"
#include "base/wire.h"
#include "storage/row_key.h"

namespace robustmq::broker {
namespace {

constexpr std::string_view kRetainedPrefix = "retained/";
constexpr size_t kTenantBytes = 4;
constexpr size_t kRetainedRowsAPage = 1'000;
constexpr size_t kVisitsATurn = 2'000;  // of filling an index
constexpr size_t kExpiredATurn = 1'000;
constexpr int64_t kExpiryPauseMax = 3'600'000;  // ms
constexpr int64_t kRetryMs = 10'000;            // between two tries to remove rows of what expired

std::string row_key(std::string_view topic) {
  std::string key(kRetainedPrefix);
  for (size_t i = kTenantBytes; i-- > 0;) key.push_back(static_cast<char>(kDefaultTenant >> (8 * i)));
  key += topic;
  return key;
}

std::string row_value(const RetainedMessage& message) {
  RetainedRow row;
  row.payload = Bytes::unowned(message.payload());
  row.raw_headers = Bytes::unowned(message.raw_headers());
  row.header_count = message.header_count;
  row.timestamp_ms = message.timestamp_ms;
  row.expiry_s = message.expiry_s;
  row.publisher = message.publisher;
  return encode_described(row);
}

Result<RetainedMessage> message_of(std::string_view value) {
  Result<RetainedRow> row = decode_described<RetainedRow>(as_bytes(value));
  if (!row.ok()) return Error{Code::corrupt_storage, "a retained message: " + row.error().detail};
  RetainedMessage message = RetainedMessage::make(row->payload, row->raw_headers, row->header_count);
  message.timestamp_ms = row->timestamp_ms;
  message.expiry_s = row->expiry_s;
  message.publisher = row->publisher;
  return message;
}

}  // namespace

RetainedHome::RetainedHome(runtime::Core& core, Rows& rows, const RetainedOptions& options)
    : core_(core),
      rows_(rows),
      options_(options),
      store_(options_, RetainedLimits::share_of(options_, core.count()), metrics_),
      expiry_(&RetainedHome::on_expiry, this),
      retry_(&RetainedHome::on_retry, this) {}

CoreIndex RetainedHome::home_of(std::string_view topic) const {
  return static_cast<CoreIndex>(slot_of(kDefaultTenant, kafka_name_of_mqtt(topic)) % core_.count());
}

// ---- Start ----

void RetainedHome::start(Callback<void(Status)> ready) {
  ready_ = std::move(ready);
  if (core_.index() == 0) return load_from(std::string(kRetainedPrefix));
  if (is_loaded_) finish_loading(load_status_);
}

void RetainedHome::load_from(std::string from) {
  rows_.scan(std::move(from), storage::end_of(std::string(kRetainedPrefix)), kRetainedRowsAPage,
             [this, alive = std::weak_ptr<bool>(alive_)](Result<storage::KvRows> rows) {
               if (alive.expired()) return;
               Status status = rows.ok() ? Status() : Status(rows.error());
               struct Page {
                 size_t waiting = 1;
                 std::string next;
               };
               auto page = std::make_shared<Page>();
               std::vector<Loaded> by_core(peers_.size());
               if (rows.ok()) {
                 for (const auto& [key, value] : *rows) {
                   const std::string topic = key.substr(std::min(key.size(), kRetainedPrefix.size() + kTenantBytes));
                   Result<RetainedMessage> message = message_of(value);
                   if (!message.ok()) {
                     status = message.error();
                     break;
                   }
                   by_core[home_of(topic)].emplace_back(topic, message.take());
                 }
                 if (rows->size() == kRetainedRowsAPage) page->next = rows->back().first + '\0';
               }
               if (!status.ok()) page->next.clear();
               const auto finish_one = [this, page, status] {
                 if (--page->waiting > 0) return;
                 if (!page->next.empty()) return load_from(std::move(page->next));
                 for (RetainedHome* peer : peers_) {
                   if (peer == this) continue;
                   core_.send(peer->core_.index(), [peer, status] { peer->finish_loading(status); });
                 }
                 finish_loading(status);
               };
               for (RetainedHome* peer : peers_) {
                 Loaded& part = by_core[peer->core_.index()];
                 if (part.empty()) continue;
                 ++page->waiting;
                 core_.send(peer->core_.index(), [peer, part = std::move(part), finish_one]() mutable {
                   peer->take_loaded(std::move(part));
                   peer->core_.send(0, finish_one);
                 });
               }
               finish_one();
             });
}

void RetainedHome::take_loaded(Loaded messages) {
  for (auto& [topic, message] : messages) store_.put(topic, std::move(message));
  look_after();
}

void RetainedHome::finish_loading(const Status& status) {
  is_loaded_ = true;
  load_status_ = status;
  if (ready_) std::exchange(ready_, nullptr)(status);
}

// ---- Changes ----

Code RetainedHome::check(const Message& message) {
  if (message.payload.empty()) return Code::ok;
  const bool fits = static_cast<int64_t>(message.payload.size()) <= options_.payload_bytes_max &&
                    topic_levels(message.topic) <= static_cast<size_t>(options_.levels_max);
  if (!fits) ++metrics_.messages_refused_total;
  return fits ? Code::ok : Code::quota_exceeded;
}

template <class Work>
void RetainedHome::at_home(CoreIndex home, Work work, Callback<void(Status)> done) {
  RetainedHome* peer = peers_[home];
  if (peer == this) return work(*this, std::move(done));
  core_.send(home, [peer, back = core_.index(), work = std::move(work), done = std::move(done)]() mutable {
    work(*peer, [peer, back, done = std::move(done)](Status status) mutable {
      peer->core_.send(back, [done = std::move(done), status = std::move(status)]() mutable { done(std::move(status)); });
    });
  });
}

void RetainedHome::publish(const Message& message, uint64_t publisher, Callback<void(Status)> done) {
  std::string topic(message.topic);
  const CoreIndex home = home_of(topic);
  if (message.payload.empty()) {
    auto work = [topic = std::move(topic)](RetainedHome& at, Callback<void(Status)> answered) mutable {
      // What is not there is cleared already.
      at.remove(std::move(topic), [answered = std::move(answered)](Status status) mutable {
        answered(status.code() == Code::not_found ? Status() : std::move(status));
      });
    };
    return at_home(home, std::move(work), std::move(done));
  }
  RetainedMessage retained = RetainedMessage::make(message.payload, message.raw_headers, message.header_count);
  retained.timestamp_ms = core_.wall_now().ms;
  retained.expiry_s = message.expiry_s;
  retained.publisher = publisher;
  auto work = [topic = std::move(topic), retained = std::move(retained)](RetainedHome& at,
                                                                         Callback<void(Status)> answered) mutable {
    at.apply(std::move(topic), std::move(retained), std::move(answered));
  };
  at_home(home, std::move(work), std::move(done));
}

void RetainedHome::clear(std::string topic, Callback<void(Status)> done) {
  const CoreIndex home = home_of(topic);
  auto work = [topic = std::move(topic)](RetainedHome& at, Callback<void(Status)> answered) mutable {
    at.remove(std::move(topic), std::move(answered));
  };
  at_home(home, std::move(work), std::move(done));
}

void RetainedHome::apply(std::string topic, RetainedMessage message, Callback<void(Status)> done) {
  std::string value = row_value(message);
  const Status accepted = store_.set(topic, std::move(message));
  if (!accepted.ok()) {
    ++metrics_.messages_refused_total;
    return done(accepted);
  }
  ++metrics_.messages_set_total;
  ++under_way_[topic];
  std::string key = row_key(topic);
  rows_.put(std::move(key), std::move(value),
            [this, alive = std::weak_ptr<bool>(alive_), topic = std::move(topic), done = std::move(done)](Status status) mutable {
              if (alive.expired()) return;
              on_written(topic, status);
              done(std::move(status));
            });
  look_after();
}

void RetainedHome::remove(std::string topic, Callback<void(Status)> done) {
  // A write under way may yet put a row there, so it is removed too.
  const bool existed = store_.clear(topic);
  if (!existed && !under_way_.contains(topic)) return done(Code::not_found);
  if (existed) ++metrics_.messages_cleared_total;
  ++under_way_[topic];
  std::string key = row_key(topic);
  rows_.remove(std::move(key), [this, alive = std::weak_ptr<bool>(alive_), topic = std::move(topic),
                                done = std::move(done)](Status status) mutable {
    if (alive.expired()) return;
    on_written(topic, status);
    done(std::move(status));
  });
}

void RetainedHome::on_written(const std::string& topic, const Status& status) {
  const auto found = under_way_.find(topic);
  const bool is_last = --found->second == 0;
  if (is_last) under_way_.erase(found);
  if (status.ok()) return;
  ++metrics_.writes_failed_total;
  if (is_last) take_back(topic);
}

// What is stored is shown again.
void RetainedHome::take_back(const std::string& topic) {
  rows_.get(row_key(topic), [this, alive = std::weak_ptr<bool>(alive_), topic](Result<std::string> value) {
    if (alive.expired() || under_way_.contains(topic)) return;
    if (!value.ok()) {
      if (value.code() == Code::not_found) store_.clear(topic);
      return;
    }
    Result<RetainedMessage> message = message_of(*value);
    if (message.ok() && message->expires_at_ms() <= core_.wall_now().ms) {
      // Over, and its row could not be removed: shown to nobody.
      store_.clear(topic);
      expired_rows_.insert(topic);
      if (!retry_.is_armed()) core_.arm(retry_, core_.now() + Duration::millis(kRetryMs));
      return;
    }
    if (message.ok()) store_.put(topic, message.take());
    look_after();
  });
}

// ---- Lookups ----

RetainedHome::Piece RetainedHome::read_here(const std::string& filter, WalkPosition at, RetainedStore::Pace pace) {
  Piece piece;
  piece.at = std::move(at);
  piece.is_last =
      store_.read(filter, piece.at, pace, core_.wall_now(),
                  [&](const std::string& topic, const RetainedMessage& message) { piece.messages.emplace_back(topic, message); });
  look_after();
  return piece;
}

void RetainedHome::read(CoreIndex from, std::string filter, WalkPosition at, RetainedStore::Pace pace,
                        Callback<void(Piece)> done) {
  RetainedHome* peer = peers_[from];
  core_.send(
      from, [peer, back = core_.index(), filter = std::move(filter), at = std::move(at), pace, done = std::move(done)]() mutable {
        Piece piece = peer->read_here(filter, std::move(at), pace);
        if (back == peer->core_.index()) return done(std::move(piece));
        peer->core_.send(back, [done = std::move(done), piece = std::move(piece)]() mutable { done(std::move(piece)); });
      });
}

// ---- Time ----

void RetainedHome::look_after() {
  if (store_.next_expiry_ms() != INT64_MAX) {
    const int64_t left = std::clamp<int64_t>(store_.next_expiry_ms() - core_.wall_now().ms, 1, kExpiryPauseMax);
    const Instant due = core_.now() + Duration::millis(left);
    if (!expiry_.is_armed() || due < expiry_.due()) core_.arm(expiry_, due);
  }
  if (store_.is_building() && !is_building_) {
    is_building_ = true;
    core_.post([this, alive = std::weak_ptr<bool>(alive_)] {
      if (!alive.expired()) build();
    });
  }
}

void RetainedHome::build() {
  is_building_ = false;
  store_.build_some(kVisitsATurn);
  look_after();
}

void RetainedHome::on_expiry(void* self) {
  RetainedHome& home = *static_cast<RetainedHome*>(self);
  home.store_.expire(home.core_.wall_now(), kExpiredATurn,
                     [&home](const std::string& topic, const RetainedMessage&) { home.remove_row(topic); });
  home.look_after();
}

void RetainedHome::remove_row(const std::string& topic) {
  ++under_way_[topic];
  rows_.remove(row_key(topic), [this, alive = std::weak_ptr<bool>(alive_), topic](const Status& status) {
    if (!alive.expired()) on_written(topic, status);
  });
}

void RetainedHome::on_retry(void* self) {
  RetainedHome& home = *static_cast<RetainedHome*>(self);
  // What is written to a topic meanwhile takes the row's place; if that fails, it comes here again.
  for (const std::string& topic : std::exchange(home.expired_rows_, {})) {
    if (!home.store_.find(topic) && !home.under_way_.contains(topic)) home.remove_row(topic);
  }
}

}  // namespace robustmq::broker
