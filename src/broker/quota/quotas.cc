#include "broker/quota/quotas.h"

#include <algorithm>
#include <optional>

#include "base/wire.h"
#include "storage/row_key.h"

namespace robustmq::broker {
namespace {

constexpr std::string_view kQuotaPrefix = "quota/";
constexpr Duration kTidyAtMostEvery = Duration::seconds(1);  // when a bucket more is refused

void put_part(const QuotaPart& part, std::string& key) {
  key.push_back(static_cast<char>(part.is));
  if (part.is != QuotaPart::Is::named) return;
  storage::put_big_endian(part.name.size(), 2, key);
  key += part.name;
}

std::string quota_key(const QuotaEntity& entity) {
  std::string key(kQuotaPrefix);
  storage::put_big_endian(kDefaultTenant, 4, key);
  for (const QuotaPart* part : {&entity.user, &entity.client_id, &entity.host}) put_part(*part, key);
  return key;
}

// Takes a part from the front; false: it is cut, or of a kind that is not known.
bool take_part(std::string_view& key, QuotaPart& part) {
  if (key.empty() || static_cast<uint8_t>(key[0]) > static_cast<uint8_t>(QuotaPart::Is::named)) return false;
  part.is = static_cast<QuotaPart::Is>(key[0]);
  key.remove_prefix(1);
  if (part.is != QuotaPart::Is::named) return true;
  if (key.size() < 2) return false;
  const auto length = static_cast<size_t>(storage::big_endian(key.substr(0, 2)));
  if (key.size() < 2 + length) return false;
  part.name = key.substr(2, length);
  key.remove_prefix(2 + length);
  return true;
}

}  // namespace

// ---- Start ----

void Quotas::load(Callback<void(Status)> done) { load_from(std::string(kQuotaPrefix), std::move(done)); }

void Quotas::load_from(std::string from, Callback<void(Status)> done) {
  auto page = [this, alive = std::weak_ptr<bool>(alive_), done = std::move(done)](Result<storage::KvRows> rows) mutable {
    if (alive.expired()) return;
    if (!rows.ok()) return done(rows.error());
    for (const auto& [key, value] : *rows) {
      const Status status = load_row(key, value);
      if (!status.ok()) return done(Error{Code::corrupt_storage, "a row of a quota: " + status.error().detail});
    }
    if (rows->size() >= kRowsAPage) return load_from(rows->back().first + '\0', std::move(done));
    if (table_.size() > 0) tell();
    done({});
  };
  rows_.scan(std::move(from), storage::end_of(std::string(kQuotaPrefix)), kRowsAPage, std::move(page));
}

Status Quotas::load_row(std::string_view key, std::string_view value) {
  if (key.size() < kQuotaPrefix.size() + 4) return Error{Code::malformed, "its key is cut"};
  key.remove_prefix(kQuotaPrefix.size() + 4);
  AlterQuotas::One one;
  for (QuotaPart* part : {&one.entity.user, &one.entity.client_id, &one.entity.host}) {
    if (!take_part(key, *part)) return Error{Code::malformed, "its key is cut, or of a newer version"};
  }
  if (!key.empty()) return Error{Code::malformed, "its key is too long"};
  Result<QuotaRow> row = decode_described<QuotaRow>(as_bytes(value));
  if (!row.ok()) return row.error();
  for (const QuotaRow::Value& each : row->values) {
    if (static_cast<size_t>(each.kind) >= kQuotaKinds) return Error{Code::not_supported, "a kind of quota that is not known"};
    one.changes.emplace_back(each.kind, each.per_second);
  }
  if (Status status = QuotaTable::check(one); !status.ok()) return status;
  table_.set(one.entity, table_.changed(one));
  return {};
}

// ---- Asking ----

template <class Ask>
void Quotas::at_home(Ask ask, ReplyTo done) {
  if (core_.index() == 0) return ask(*this, std::move(done));
  core_.send(0, [home = home_, back = core_.index(), ask = std::move(ask), done = std::move(done)]() mutable {
    ask(*home, [home, back, done = std::move(done)](Reply reply) mutable {
      home->core_.send(back, [done = std::move(done), reply = std::move(reply)]() mutable { done(std::move(reply)); });
    });
  });
}

void Quotas::describe(DescribeQuotas request, ReplyTo done) {
  at_home([request = std::move(request)](Quotas& home, ReplyTo answer) { answer(home.table_.describe(request)); },
          std::move(done));
}

void Quotas::find(std::string user, std::string client_id, ReplyTo done) {
  at_home([user = std::move(user), client_id = std::move(client_id)](
              Quotas& home, ReplyTo answer) { home.find_here(user, client_id, std::move(answer)); },
          std::move(done));
}

void Quotas::count_connection(std::string host, ReplyTo done) {
  at_home([host = std::move(host)](Quotas& home, ReplyTo answer) { home.count_here(host, std::move(answer)); }, std::move(done));
}

void Quotas::find_here(const std::string& user, const std::string& client_id, ReplyTo done) {
  FoundQuotas found;
  found.changes = board_->changes.load(std::memory_order_relaxed);
  for (size_t kind = 0; kind < kQuotaKinds; ++kind) {
    if (static_cast<QuotaKind>(kind) == QuotaKind::connection) continue;
    const std::optional<QuotaHit> hit = table_.find(static_cast<QuotaKind>(kind), user, client_id);
    if (!hit) continue;
    found.buckets[kind] = bucket(static_cast<QuotaKind>(kind), *hit);
    if (!found.buckets[kind]) return done(Error{Code::quota_exceeded, "quota.buckets_max is reached"});
  }
  done(std::move(found));
}

void Quotas::count_here(const std::string& host, ReplyTo done) {
  const std::optional<std::string> plain = QuotaTable::plain_address(host);
  const std::optional<QuotaHit> hit = plain ? table_.find_host(*plain) : std::nullopt;
  if (!hit) return done(CountedConnection{});
  const std::shared_ptr<QuotaBucket> counted = bucket(QuotaKind::connection, *hit);
  if (!counted) return done(Error{Code::quota_exceeded, "quota.buckets_max is reached"});
  // Who is not let in is not counted: the rate is that of those who are.
  const Duration owed = counted->owed(core_.now());
  if (owed > Duration{}) {
    ++metrics_.refused_connections_total;
    return done(CountedConnection{std::min(owed, counted->saved_max())});
  }
  counted->take(core_.now(), 1);
  done(CountedConnection{});
}

std::shared_ptr<QuotaBucket> Quotas::bucket(QuotaKind kind, const QuotaHit& hit) {
  const auto known = buckets_.find({kind, hit.shared_by});
  if (known != buckets_.end()) {
    known->second->set_rate(core_.now(), hit.per_second);
    return known->second;
  }
  if (buckets_.size() >= static_cast<size_t>(options_.buckets_max)) {
    if (core_.now() - tidied_at_ >= kTidyAtMostEvery) tidy();
    if (buckets_.size() >= static_cast<size_t>(options_.buckets_max)) {
      ++metrics_.refused_buckets_total;
      return nullptr;
    }
  }
  auto made = std::make_shared<QuotaBucket>(hit.per_second, Duration::seconds(options_.saved_s()));
  buckets_.emplace(std::pair(kind, hit.shared_by), made);
  metrics_.buckets = static_cast<int64_t>(buckets_.size());
  return made;
}

void Quotas::tidy() {
  tidied_at_ = core_.now();
  std::erase_if(buckets_, [&](const auto& each) { return each.second.use_count() == 1 && each.second->is_full(core_.now()); });
  metrics_.buckets = static_cast<int64_t>(buckets_.size());
}

// ---- Changes ----

void Quotas::alter(AlterQuotas request, ReplyTo done) {
  at_home(
      [request = std::move(request)](Quotas& home, ReplyTo answer) mutable {
        home.altering_.push_back({std::move(request), std::move(answer)});
        if (home.altering_.size() == 1) home.alter_next();
      },
      std::move(done));
}

// One request at a time: each begins with what the one before has made.
void Quotas::alter_next() {
  AlterQuotas& request = altering_.front().request;
  auto altering = std::make_shared<AlteredQuotas>();
  std::map<QuotaEntity, QuotaValues> changed;
  QuotaTable table = table_;  // as the entries before have made it
  for (AlterQuotas::One& one : request.entries) {
    AlteredQuotas::One& row = altering->entries.emplace_back();
    if (Status status = QuotaTable::check(one); !status.ok()) {
      row = {status.code(), status.error().detail};
      continue;
    }
    if (one.entity.host.is == QuotaPart::Is::named) one.entity.host.name = *QuotaTable::plain_address(one.entity.host.name);
    const QuotaValues values = table.changed(one);
    const bool is_some = std::any_of(values.begin(), values.end(), [](double value) { return value != 0; });
    if (is_some && !table.has(one.entity) && table.size() >= static_cast<size_t>(options_.entities_max)) {
      ++metrics_.refused_entities_total;
      row = {Code::quota_exceeded, "there are quotas for as many as quota.entities_max allows"};
      continue;
    }
    table.set(one.entity, values);
    changed[one.entity] = values;
  }
  const bool is_asked_only = request.validate_only || changed.empty();
  auto stored = [this, alive = std::weak_ptr<bool>(alive_), altering, is_asked_only,
                 changed =
                     std::vector<std::pair<QuotaEntity, QuotaValues>>(changed.begin(), changed.end())](const Status& status) {
    if (alive.expired()) return;
    if (!status.ok()) {
      ++metrics_.row_failures_total;
      for (AlteredQuotas::One& row : altering->entries) {
        if (row.code == Code::ok) row = {status.code(), status.error().detail};
      }
    } else if (!is_asked_only) {
      altered(changed);
    }
    ReplyTo done = std::move(altering_.front().done);
    altering_.pop_front();
    done(std::move(*altering));
    if (!altering_.empty())
      core_.post([this, still = alive] {
        if (!still.expired() && !altering_.empty()) alter_next();
      });
  };
  if (is_asked_only) return stored(Status{});
  storage::KvBatch batch;
  for (const auto& [entity, values] : changed) {
    QuotaRow row;
    for (size_t kind = 0; kind < kQuotaKinds; ++kind) {
      if (values[kind] != 0) row.values.push_back({static_cast<QuotaKind>(kind), values[kind]});
    }
    if (row.values.empty())
      batch.changes.push_back(storage::KvBatch::Delete{quota_key(entity)});
    else
      batch.put(quota_key(entity), encode_described(row));
  }
  rows_.write(std::move(batch), std::move(stored));
}

void Quotas::altered(const std::vector<std::pair<QuotaEntity, QuotaValues>>& changed) {
  for (const auto& [entity, values] : changed) table_.set(entity, values);
  metrics_.altered_total += changed.size();
  tell();
}

void Quotas::tell() {
  metrics_.entities = static_cast<int64_t>(table_.size());
  board_->limits_clients.store(table_.limits_clients(), std::memory_order_relaxed);
  board_->limits_hosts.store(table_.limits_hosts(), std::memory_order_relaxed);
  board_->changes.fetch_add(1, std::memory_order_release);
}

}  // namespace robustmq::broker
