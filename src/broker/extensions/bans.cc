#include "broker/extensions/bans.h"

#include <utility>

#include "base/wire.h"
#include "runtime/hosts.h"
#include "storage/row_key.h"

namespace robustmq::broker {
namespace {

constexpr std::string_view kBanPrefix = "ban/";
constexpr size_t kKindAt = kBanPrefix.size() + 4;
constexpr size_t kWhoBytesMax = 65'535;

std::string row_key(BanBy by, std::string_view who) {
  std::string key(kBanPrefix);
  storage::put_big_endian(kDefaultTenant, 4, key);
  key.push_back(static_cast<char>(by));
  key += who;
  return key;
}

}  // namespace

// ---- Start ----

void Bans::load(Callback<void(Status)> done) { load_from(std::string(kBanPrefix), std::move(done)); }

void Bans::load_from(std::string from, Callback<void(Status)> done) {
  auto page = [this, alive = std::weak_ptr<bool>(alive_), done = std::move(done)](Result<storage::KvRows> rows) mutable {
    if (alive.expired()) return;
    if (!rows.ok()) return done(rows.error());
    for (const auto& [key, value] : *rows) {
      const Status status = load_row(key, value);
      if (!status.ok()) return done(Error{Code::corrupt_storage, "a row of a ban: " + status.error().detail});
    }
    if (rows->size() < kRowsAPage) return done({});
    load_from(rows->back().first + '\0', std::move(done));
  };
  rows_.scan(std::move(from), storage::end_of(std::string(kBanPrefix)), kRowsAPage, std::move(page));
}

Status Bans::load_row(std::string_view key, std::string_view value) {
  if (key.size() <= kKindAt + 1 || static_cast<uint8_t>(key[kKindAt]) >= kKinds) return Error{Code::malformed, "its key is cut"};
  Result<BanRow> row = decode_described<BanRow>(as_bytes(value));
  if (!row.ok()) return row.error();
  Change change;
  change.ban = {static_cast<BanBy>(key[kKindAt]),
                std::string(key.substr(kKindAt + 1)),
                row->author,
                row->reason,
                row->at_ms,
                row->until_ms};
  learn(change);
  return {};
}

// ---- Looking up ----

bool Bans::holds(BanBy by, std::string_view who) const {
  const auto& bans = bans_[static_cast<size_t>(by)];
  const auto found = bans.find(who);
  return found != bans.end() && !is_over(found->second);
}

bool Bans::concerns(std::string_view client_id, std::string_view host) const {
  return holds(BanBy::client_id, client_id) || holds(BanBy::host, runtime::plain_host(host));
}

std::vector<Ban> Bans::list() const {
  std::vector<Ban> all;
  for (const auto& bans : bans_) {
    for (const auto& [who, ban] : bans) {
      if (!is_over(ban)) all.push_back(ban);
    }
  }
  return all;
}

// ---- Changes ----

void Bans::add(Ban ban, Callback<void(Status)> done) {
  if (ban.by == BanBy::host) ban.who = std::string(runtime::plain_host(ban.who));
  if (ban.who.empty() || ban.who.size() > kWhoBytesMax) return done(Error{Code::invalid_argument, "a ban names somebody"});
  if (ban.at_ms == 0) ban.at_ms = core_.wall_now().ms;
  if (is_over(ban)) return done(Error{Code::invalid_argument, "the time of the ban is over"});
  change({true, std::move(ban)}, std::move(done));
}

void Bans::remove(BanBy by, const std::string& who, Callback<void(Status)> done) {
  Change gone{false, {}};
  gone.ban.by = by;
  gone.ban.who = by == BanBy::host ? std::string(runtime::plain_host(who)) : who;
  change(std::move(gone), std::move(done));
}

void Bans::change(Change wanted, Callback<void(Status)> done) {
  if (core_.index() == 0) return change_here(std::move(wanted), std::move(done));
  Bans* home = peers_[0];
  core_.send(0, [home, back = core_.index(), wanted = std::move(wanted), done = std::move(done)]() mutable {
    home->change_here(std::move(wanted), [home, back, done = std::move(done)](Status status) mutable {
      home->core_.send(back, [done = std::move(done), status = std::move(status)]() mutable { done(std::move(status)); });
    });
  });
}

void Bans::change_here(Change wanted, Callback<void(Status)> done) {
  const auto& bans = bans_[static_cast<size_t>(wanted.ban.by)];
  const bool is_known = bans.contains(wanted.ban.who);
  if (!wanted.is_made && !is_known) return done(Error{Code::not_found, "there is no such ban"});
  if (wanted.is_made && !is_known && size() >= static_cast<size_t>(options_.bans_max))
    return done(Error{Code::quota_exceeded, "there are as many bans as bans_max allows"});
  std::string key = row_key(wanted.ban.by, wanted.ban.who);
  changing_.insert(key);
  auto stored = [this, alive = std::weak_ptr<bool>(alive_), key, wanted, done = std::move(done)](Status status) mutable {
    if (alive.expired()) return;
    changing_.erase(changing_.find(key));
    if (!status.ok()) {
      ++metrics_.row_failures_total;
      return done(std::move(status));
    }
    tell(wanted, std::move(done));
  };
  if (!wanted.is_made) return rows_.remove(std::move(key), std::move(stored));
  const BanRow row{wanted.ban.author, wanted.ban.reason, wanted.ban.at_ms, wanted.ban.until_ms};
  rows_.put(std::move(key), encode_described(row), std::move(stored));
}

void Bans::tell(const Change& change, Callback<void(Status)> done) {
  struct Telling {
    Callback<void(Status)> done;
    size_t waiting;
  };
  auto telling = std::make_shared<Telling>(Telling{std::move(done), peers_.size()});
  for (Bans* peer : peers_) {
    if (peer == this) continue;
    core_.send(peer->core_.index(), [this, peer, change, telling] {
      peer->learn(change);
      peer->core_.send(core_.index(), [telling] {
        if (--telling->waiting == 0) telling->done({});
      });
    });
  }
  learn(change);
  if (--telling->waiting == 0) telling->done({});
}

void Bans::learn(const Change& change) {
  auto& bans = bans_[static_cast<size_t>(change.ban.by)];
  if (change.is_made)
    bans.insert_or_assign(change.ban.who, change.ban);
  else
    bans.erase(change.ban.who);
  if (core_.index() == 0) metrics_.bans = static_cast<int64_t>(size());
  if (change.is_made && enforce_) enforce_(change.ban);
}

void Bans::tidy() {
  for (auto& bans : bans_) {
    for (auto at = bans.begin(); at != bans.end();) {
      const std::string key = row_key(at->second.by, at->first);
      // One that is made anew just now has its row already.
      if (!is_over(at->second) || changing_.contains(key)) {
        ++at;
        continue;
      }
      if (core_.index() == 0) {
        rows_.remove(key, [this, alive = std::weak_ptr<bool>(alive_)](const Status& status) {
          if (!alive.expired() && !status.ok()) ++metrics_.row_failures_total;
        });
      }
      at = bans.erase(at);
    }
  }
  if (core_.index() == 0) metrics_.bans = static_cast<int64_t>(size());
}

}  // namespace robustmq::broker
