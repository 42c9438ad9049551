#include "broker/wills.h"

#include <algorithm>
#include <vector>

#include "base/wire.h"
#include "storage/row_key.h"

namespace robustmq::broker {
namespace {

constexpr std::string_view kWillPrefix = "will/";
constexpr size_t kClientAt = kWillPrefix.size() + 4 + 2;
constexpr size_t kNumberBytes = 8;

using storage::big_endian;
using storage::put_big_endian;

}  // namespace

Wills::Wills(runtime::Core& core, Rows& rows)
    : core_(core), rows_(rows), timer_([](void* self) { static_cast<Wills*>(self)->on_timer(); }, this) {}

std::string Wills::key_of(const Stored& will) const {
  std::string key(kWillPrefix);
  put_big_endian(kDefaultTenant, 4, key);
  put_big_endian(will.client_id.size(), 2, key);
  key += will.client_id;
  put_big_endian(will.number, kNumberBytes, key);
  return key;
}

// ---- Start ----

void Wills::load(Callback<void(Status)> done) { load_from(std::string(kWillPrefix), std::move(done)); }

void Wills::load_from(std::string from, Callback<void(Status)> done) {
  auto page = [this, alive = std::weak_ptr<bool>(alive_), done = std::move(done)](Result<storage::KvRows> rows) mutable {
    if (alive.expired()) return;
    if (!rows.ok()) return done(rows.error());
    for (const auto& [key, value] : *rows) {
      const Status status = load_row(key, value);
      if (!status.ok()) return done(Error{Code::corrupt_storage, "a row of a will: " + status.error().detail});
    }
    if (rows->size() < kRowsAPage) return done({});
    load_from(rows->back().first + '\0', std::move(done));
  };
  rows_.scan(std::move(from), storage::end_of(std::string(kWillPrefix)), kRowsAPage, std::move(page));
}

Status Wills::load_row(std::string_view key, std::string_view value) {
  if (key.size() < kClientAt + kNumberBytes) return Error{Code::malformed, "its key is cut"};
  const std::string_view client_id = key.substr(kClientAt, key.size() - kClientAt - kNumberBytes);
  if (client_id.size() != big_endian(key.substr(kClientAt - 2, 2))) return Error{Code::malformed, "its key is cut"};
  if (slot_of(kDefaultTenant, client_id) % core_.count() != core_.index()) return {};
  Result<WillRow> row = decode_described<WillRow>(as_bytes(value));
  if (!row.ok()) return row.error();
  auto will = std::make_unique<Stored>();
  will->client_id = client_id;
  will->number = big_endian(key.substr(key.size() - kNumberBytes));
  will->row = row.take();
  ++metrics_.stored;
  Stored& loaded = *wills_.emplace(will->number, std::move(will)).first->second;
  // One a client waits; of several the others were being sent when the node went.
  current_[loaded.client_id] = loaded.number;
  if (loaded.row.due_ms != 0) {
    due_.emplace(loaded.row.due_ms, loaded.number);
    ++metrics_.waiting;
  } else {
    const uint32_t delay_s = std::min(loaded.row.delay_s, loaded.row.session_expiry_s);
    wait_until(loaded, core_.wall_now().ms + int64_t{delay_s} * 1000);
  }
  return {};
}

void Wills::start() {
  is_started_ = true;
  arm();
}

// ---- Connections ----

Callback<void(Status)> Wills::counted(Callback<void(Status)> done) {
  return [this, alive = std::weak_ptr<bool>(alive_), done = std::move(done)](Status status) mutable {
    if (!status.ok() && !alive.expired()) ++metrics_.row_failures_total;
    done(std::move(status));
  };
}

void Wills::opened(const std::string& client_id, std::optional<Will> will, uint32_t expiry_s, Callback<void(Status)> stored) {
  const auto older = current_.find(client_id);
  if (older != current_.end()) {
    Stored& waiting = *wills_[older->second];
    if (!will) return cancel(waiting, std::move(stored));
    cancel(waiting, [](const Status&) {});  // in the batch of the new one's row
  }
  if (!will) return stored({});
  auto made = std::make_unique<Stored>();
  made->client_id = client_id;
  made->number = core_.random();
  WillRow& row = made->row;
  row.topic = std::move(will->topic);
  row.payload = std::move(will->payload);
  row.raw_headers = std::move(will->raw_headers);
  row.header_count = will->header_count;
  row.qos = will->qos;
  row.retain = will->retain;
  row.expiry_s = will->expiry_s;
  row.delay_s = will->delay_s;
  row.session_expiry_s = expiry_s;
  current_[client_id] = made->number;
  ++metrics_.stored;
  Stored& armed = *wills_.emplace(made->number, std::move(made)).first->second;
  rows_.put(key_of(armed), encode_described(armed.row), counted(std::move(stored)));
}

void Wills::left(const std::string& client_id) {
  const auto found = current_.find(client_id);
  if (found != current_.end()) cancel(*wills_[found->second], [](const Status&) {});
}

void Wills::closed(const std::string& client_id, uint32_t expiry_s) {
  const auto found = current_.find(client_id);
  if (found == current_.end()) return;
  Stored& will = *wills_[found->second];
  if (will.row.due_ms != 0) return;  // waits already
  const uint32_t delay_s = std::min(will.row.delay_s, expiry_s);
  if (delay_s == 0) return fire(will);
  wait_until(will, core_.wall_now().ms + int64_t{delay_s} * 1000);
  arm();
}

void Wills::ended(const std::string& client_id) {
  const auto found = current_.find(client_id);
  // An armed one belongs to a connection that lives: closed() comes for it.
  if (found == current_.end() || wills_[found->second]->row.due_ms == 0) return;
  fire(*wills_[found->second]);
}

void Wills::wait_until(Stored& will, int64_t due_ms) {
  will.row.due_ms = due_ms;
  due_.emplace(due_ms, will.number);
  ++metrics_.waiting;
  rows_.put(key_of(will), encode_described(will.row), counted([](const Status&) {}));
}

void Wills::cancel(Stored& will, Callback<void(Status)> done) {
  ++metrics_.cancelled_total;
  rows_.remove(key_of(will), counted(std::move(done)));
  current_.erase(will.client_id);
  forget(will.number);
}

void Wills::forget(uint64_t number) {
  const auto found = wills_.find(number);
  if (due_.erase({found->second->row.due_ms, number}) != 0) --metrics_.waiting;
  wills_.erase(found);
  --metrics_.stored;
}

// ---- Their time ----

void Wills::fire(Stored& will) {
  if (due_.erase({will.row.due_ms, will.number}) != 0) --metrics_.waiting;
  const auto current = current_.find(will.client_id);
  if (current != current_.end() && current->second == will.number) current_.erase(current);
  if (std::exchange(will.is_sending, true)) return;
  storage::KvBatch gone;
  gone.remove(key_of(will));
  send_(will.client_id, will.row, std::move(gone),
        [this, alive = std::weak_ptr<bool>(alive_), number = will.number](const Status& status) {
          if (!alive.expired()) on_sent(number, status);
        });
}

void Wills::on_sent(uint64_t number, const Status& status) {
  Stored& will = *wills_[number];
  will.is_sending = false;
  if (!status.ok() && is_retriable(status.code()) && status.code() != Code::quota_exceeded) {
    ++metrics_.retries_total;
    will.row.due_ms = core_.wall_now().ms + kRetryMs;
    due_.emplace(will.row.due_ms, number);
    ++metrics_.waiting;
    return arm();
  }
  ++(status.ok() ? metrics_.published_total : metrics_.refused_total);
  if (!status.ok()) rows_.remove(key_of(will), counted([](const Status&) {}));
  forget(number);
}

void Wills::arm() {
  if (!is_started_) return;
  if (due_.empty()) return timer_.cancel();
  const int64_t wait_ms = std::clamp<int64_t>(due_.begin()->first - core_.wall_now().ms, 0, kLookEveryMs);
  core_.arm(timer_, core_.now() + Duration::millis(wait_ms));
}

void Wills::on_timer() {
  const int64_t now_ms = core_.wall_now().ms;
  while (!due_.empty() && due_.begin()->first <= now_ms) fire(*wills_[due_.begin()->second]);
  arm();
}

}  // namespace robustmq::broker
