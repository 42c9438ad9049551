#include "broker/session/sessions.h"

#include <algorithm>
#include <utility>

#include "base/wire.h"

namespace robustmq::broker {

Sessions::Sessions(runtime::Core& core, Rows& rows, const SessionOptions& options)
    : core_(core), rows_(rows), options_(options), timer_([](void* self) { static_cast<Sessions*>(self)->on_expiry(); }, this) {}

// ---- Rows ----

void Sessions::load(Callback<void(Status)> done) { load_from(std::string(kSessionRows), std::move(done)); }

void Sessions::load_from(std::string from, Callback<void(Status)> done) {
  auto page = [this, alive = std::weak_ptr<bool>(alive_), done = std::move(done)](Result<storage::KvRows> rows) mutable {
    if (alive.expired()) return;
    if (!rows.ok()) return done(rows.error());
    for (const auto& [key, value] : *rows) {
      const Status status = load_row(key, value);
      if (!status.ok()) return done(Error{Code::corrupt_storage, "a row of a session: " + status.error().detail});
    }
    if (rows->size() < kRowsAPage) {
      finish_loading();
      return done({});
    }
    load_from(rows->back().first + '\0', std::move(done));
  };
  rows_.scan(std::move(from), Rows::end_of(std::string(kSessionRows)), kRowsAPage, std::move(page));
}

Status Sessions::load_row(std::string_view key, std::string_view value) {
  Result<SessionKey> at = parse_session_key(key);
  if (!at.ok()) return at.error();
  if (slot_of(at->tenant, at->client_id) % core_.count() != core_.index()) return {};
  if (at->kind == SessionRowKind::session) {
    Result<SessionRow> row = decode_described<SessionRow>(as_bytes(value));
    if (!row.ok()) return row.error();
    auto session = std::make_unique<Session>();
    session->client_id = at->client_id;
    session->expiry_s = row->expiry_s;
    session->left_at_ms = row->left_at_ms;
    sessions_.emplace(std::move(at->client_id), std::move(session));
    return {};
  }
  const auto found = sessions_.find(at->client_id);
  // What a write of its session that failed has left.
  if (found == sessions_.end()) return {};
  Result<SubscriptionRow> row = decode_described<SubscriptionRow>(as_bytes(value));
  if (!row.ok()) return row.error();
  found->second->subscriptions.push_back(follow_of(*at, *row));
  return {};
}

void Sessions::finish_loading() {
  const int64_t now_ms = core_.wall_now().ms;
  for (auto& [id, session] : sessions_) {
    // Connected when the node went.
    if (session->left_at_ms == 0 || session->left_at_ms > now_ms) {
      session->left_at_ms = now_ms;
      put(*session, [](Status) {});
    }
    if (const auto at = expires_at(*session)) expiring_.emplace(*at, session->client_id);
  }
  metrics_.stored = static_cast<int64_t>(sessions_.size());
  arm();
}

Callback<void(Status)> Sessions::counted(Callback<void(Status)> done) {
  return [this, alive = std::weak_ptr<bool>(alive_), done = std::move(done)](Status status) mutable {
    if (!status.ok() && !alive.expired()) ++metrics_.row_failures_total;
    done(std::move(status));
  };
}

void Sessions::put(const Session& session, Callback<void(Status)> done) {
  const SessionRow row{session.expiry_s, session.left_at_ms};
  rows_.put(session_key(kDefaultTenant, session.client_id), encode_described(row), counted(std::move(done)));
}

void Sessions::remove(Session& session, Callback<void(Status)> done) {
  const std::string prefix = session_prefix(kDefaultTenant, session.client_id);
  storage::KvBatch batch;
  batch.remove_range(prefix, Rows::end_of(prefix));
  rows_.write(std::move(batch), counted(std::move(done)));
  forget_expiry(session);
  if (session.context) {
    session.context->session_state = nullptr;
    --metrics_.connected;
  }
  --metrics_.stored;
  const std::string id = std::move(session.client_id);
  sessions_.erase(sessions_.find(id));
  if (hooks_.ended) hooks_.ended(id);
}

// ---- Expiry ----

uint32_t Sessions::granted(uint32_t asked) const { return std::min(asked, options_.expiry_s_max); }

std::optional<int64_t> Sessions::expires_at(const Session& session) const {
  if (session.left_at_ms == 0 || session.expiry_s == kSessionNeverExpires) return std::nullopt;
  return session.left_at_ms + int64_t{session.expiry_s} * 1000;
}

void Sessions::forget_expiry(const Session& session) {
  if (const auto at = expires_at(session)) expiring_.erase({*at, session.client_id});
}

void Sessions::arm() {
  if (expiring_.empty()) return timer_.cancel();
  const int64_t wait_ms = std::clamp<int64_t>(expiring_.begin()->first - core_.wall_now().ms, 0, kLookEveryMs);
  core_.arm(timer_, core_.now() + Duration::millis(wait_ms));
}

void Sessions::on_expiry() {
  const int64_t now_ms = core_.wall_now().ms;
  while (!expiring_.empty() && expiring_.begin()->first <= now_ms) {
    ++metrics_.expired_total;
    remove(*sessions_.find(expiring_.begin()->second)->second, [](Status) {});
  }
  arm();
}

// ---- Connections ----

void Sessions::open(Context& context, const OpenSession& request, ReplyTo done) {
  const uint32_t expiry_s = granted(request.expiry_s);
  const auto found = sessions_.find(request.client_id);
  Session* session = found == sessions_.end() ? nullptr : found->second.get();
  // A session that is over, whose timer has not come yet, is not resumed (MQTT5 3.1.2-23).
  const auto at = session ? expires_at(*session) : std::nullopt;
  const bool is_over = at && *at <= core_.wall_now().ms;
  if (session && (is_over || request.clean_start)) {
    ++(is_over ? metrics_.expired_total : metrics_.discarded_total);
    // What was dropped must not be there again after a crash: the answer waits for it, or for the row that comes behind it.
    ReplyTo removed;
    if (expiry_s == 0) removed = std::exchange(done, {});
    remove(*session, [removed = std::move(removed)](const Status& status) mutable {
      if (!removed) return;
      if (!status.ok()) return removed(status.error());
      removed(SessionOpened{});
    });
    if (expiry_s == 0) return;
    session = nullptr;
  }
  const bool is_present = session != nullptr;
  if (!is_present) {
    if (expiry_s == 0) return done(SessionOpened{});
    if (sessions_.size() >= static_cast<size_t>(options_.sessions_max) / core_.count()) {
      ++metrics_.refused_total;
      return done(Error{Code::quota_exceeded, "the number of sessions is at its limit"});
    }
    auto made = std::make_unique<Session>();
    made->client_id = request.client_id;
    session = sessions_.emplace(request.client_id, std::move(made)).first->second.get();
    ++metrics_.stored;
  }
  ++(is_present ? metrics_.resumed_total : metrics_.opened_total);
  forget_expiry(*session);
  session->context = &context;
  session->expiry_s = expiry_s;
  session->left_at_ms = 0;
  const uint64_t connection = ++session->connection;
  context.session_state = session;
  ++metrics_.connected;
  put(*session, [this, alive = std::weak_ptr<bool>(alive_), id = request.client_id, connection, is_present,
                 done = std::move(done)](const Status& status) mutable {
    if (alive.expired()) return;
    if (!status.ok()) return done(status.error());
    resume(id, connection, is_present, std::move(done));
  });
}

Session* Sessions::find(std::string_view client_id, uint64_t connection) {
  const auto found = sessions_.find(client_id);
  if (found == sessions_.end()) return nullptr;
  Session& session = *found->second;
  return session.context && session.connection == connection ? &session : nullptr;
}

void Sessions::resume(const std::string& id, uint64_t connection, bool is_present, ReplyTo done) {
  Session* session = find(id, connection);
  if (!session) return done(Error{Code::connection_lost, "another connection has the session"});
  auto followed = [this, alive = std::weak_ptr<bool>(alive_), id, connection, is_present, done = std::move(done)]() mutable {
    if (alive.expired()) return;
    Session* mine = find(id, connection);
    if (!mine) return done(Error{Code::connection_lost, "another connection has the session"});
    done(SessionOpened{.is_present = is_present, .expiry_s = mine->expiry_s, .received = {}});
  };
  if (session->subscriptions.empty() || !hooks_.follow) return followed();
  hooks_.follow(*session->context, session->subscriptions, std::move(followed));
}

void Sessions::let_go(Context& context) {
  Session* session = of(context);
  if (!session) return;
  context.session_state = nullptr;
  session->context = nullptr;
  --metrics_.connected;
  if (session->expiry_s == 0) return remove(*session, [](Status) {});
  session->left_at_ms = core_.wall_now().ms;
  put(*session, [](Status) {});
  if (const auto at = expires_at(*session)) expiring_.emplace(*at, session->client_id);
  arm();
}

void Sessions::end(Context& context, const EndSession& request) {
  Session* session = of(context);
  if (session && request.expiry_s) session->expiry_s = granted(*request.expiry_s);
}

// ---- Subscriptions ----

void Sessions::subscribed(Context& context, std::vector<FollowOne> filters, Callback<void(Status)> done) {
  Session* session = of(context);
  if (!session || filters.empty()) return done({});
  storage::KvBatch batch;
  for (FollowOne& wanted : filters) {
    batch.put(subscription_key(kDefaultTenant, session->client_id, wanted.filter, wanted.share),
              encode_described(row_of(wanted)));
    const auto same = [&](const FollowOne& one) { return one.filter == wanted.filter && one.share == wanted.share; };
    const auto known = std::find_if(session->subscriptions.begin(), session->subscriptions.end(), same);
    if (known == session->subscriptions.end())
      session->subscriptions.push_back(std::move(wanted));
    else
      *known = std::move(wanted);
  }
  rows_.write(std::move(batch), counted(std::move(done)));
}

void Sessions::unsubscribed(Context& context, const std::vector<Unfollow::One>& filters, Callback<void(Status)> done) {
  Session* session = of(context);
  if (!session || filters.empty()) return done({});
  storage::KvBatch batch;
  for (const Unfollow::One& gone : filters) {
    batch.remove(subscription_key(kDefaultTenant, session->client_id, gone.filter, gone.share));
    std::erase_if(session->subscriptions,
                  [&](const FollowOne& one) { return one.filter == gone.filter && one.share == gone.share; });
  }
  rows_.write(std::move(batch), counted(std::move(done)));
}

}  // namespace robustmq::broker
