#include "broker/session/sessions.h"

#include <algorithm>
#include <utility>

#include "base/wire.h"
#include "storage/row_key.h"

namespace robustmq::broker {

Sessions::Sessions(runtime::Core& core, Rows& rows, Spools& spools, const SessionOptions& options, SessionMetrics& metrics,
                   int64_t starts)
    : core_(core),
      rows_(rows),
      spools_(spools),
      options_(options),
      metrics_(metrics),
      timer_([](void* self) { static_cast<Sessions*>(self)->on_expiry(); }, this),
      flush_timer_([](void* self) { static_cast<Sessions*>(self)->flush(); }, this),
      sequence_(static_cast<uint64_t>(starts) << 32) {}

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
  rows_.scan(std::move(from), storage::end_of(std::string(kSessionRows)), kRowsAPage, std::move(page));
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
    session->first_sequence = row->first_sequence;
    session->user = std::move(row->user);
    session->packets.begin_at(row->first_sequence);
    session->is_restored = true;
    sessions_.emplace(std::move(at->client_id), std::move(session));
    return {};
  }
  const auto found = sessions_.find(at->client_id);
  // What a write of its session that failed has left.
  if (found == sessions_.end()) return {};
  Session& session = *found->second;
  if (at->kind == SessionRowKind::packet) {
    Result<PacketRow> row = decode_described<PacketRow>(as_bytes(value));
    if (!row.ok()) return row.error();
    session.packet_rows.push_back(row->sequence);
    early_packets_.push_back({at->client_id, row->packet_id, row->sequence});
    return {};
  }
  if (at->kind == SessionRowKind::progress) {
    Result<ProgressRow> row = decode_described<ProgressRow>(as_bytes(value));
    if (!row.ok()) return row.error();
    for (const SeenRow& seen : row->seen) session.see(seen.source, seen.seen);
    for (const LeaseRow& lease : row->leases)
      session.leases.restore({lease.id, lease.qos, lease.is_received, lease.source, lease.offset});
    session.packets.restore(*row);
    return {};
  }
  Result<SubscriptionRow> row = decode_described<SubscriptionRow>(as_bytes(value));
  if (!row.ok()) return row.error();
  session.subscriptions.push_back({follow_of(*at, *row), row->since});
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
  is_loaded_ = true;
  restore_packets(std::exchange(early_packets_, {}));
  arm();
}

Callback<void(Status)> Sessions::counted(Callback<void(Status)> done) {
  return [this, alive = std::weak_ptr<bool>(alive_), done = std::move(done)](Status status) mutable {
    if (!status.ok() && !alive.expired()) ++metrics_.row_failures_total;
    done(std::move(status));
  };
}

void Sessions::put(const Session& session, Callback<void(Status)> done) {
  const SessionRow row{session.expiry_s, session.left_at_ms, session.first_sequence, session.user};
  rows_.put(session_key(kDefaultTenant, session.client_id), encode_described(row), counted(std::move(done)));
}

void Sessions::remove(Session& session, Callback<void(Status)> done) {
  const std::string prefix = session_prefix(kDefaultTenant, session.client_id);
  storage::KvBatch batch;
  batch.remove_range(prefix, storage::end_of(prefix));
  rows_.write(std::move(batch), counted(std::move(done)));
  forget_expiry(session);
  if (session.context) {
    session.context->session_state = nullptr;
    --metrics_.connected;
  }
  --metrics_.stored;
  for (uint16_t source = 0; source < spools_.count(); ++source)
    spools_.at(source, [id = session.client_id](Spool& spool) { spool.forget(id); });
  const std::string id = session.client_id;
  sessions_.erase(sessions_.find(id));
  if (hooks_.ended) hooks_.ended(id);
}

void Sessions::drop(std::string_view client_id, Callback<void(Status)> done) {
  ++metrics_.discarded_total;
  remove(*sessions_.find(client_id)->second, std::move(done));
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
    if (context.proof != Proof::none) made->user = context.principal.name;
    made->first_sequence = sequence_;
    made->packets.begin_at(sequence_);
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
  session->live = std::make_unique<Session::Live>();
  session->live->sources.resize(spools_.count());
  session->live->inflight_max = std::clamp<uint16_t>(request.inflight_max, 1, kLeaseMax);
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
    if (!mine || !mine->packets.has_under_way()) return answer_open(id, connection, is_present, std::move(done));
    // Publishes of an older connection decide first which packet ids are received.
    mine->when_quiet = [this, id, connection, is_present, done = std::move(done)]() mutable {
      answer_open(id, connection, is_present, std::move(done));
    };
  };
  if (session->subscriptions.empty() || !hooks_.follow) return followed();
  std::vector<FollowOne> follows;
  for (const SessionSubscription& one : session->subscriptions) follows.push_back(one.follow);
  hooks_.follow(*session->context, follows, std::move(followed));
}

void Sessions::answer_open(const std::string& id, uint64_t connection, bool is_present, ReplyTo done) {
  Session* session = find(id, connection);
  if (!session) return done(Error{Code::connection_lost, "another connection has the session"});
  done(SessionOpened{.is_present = is_present, .expiry_s = session->expiry_s, .received = session->packets.received()});
}

void Sessions::begin(Context& context) {
  Session* session = of(context);
  if (session && !std::exchange(session->live->has_begun, true)) send_again(*session);
}

void Sessions::let_go(Context& context) {
  Session* session = of(context);
  if (!session) return;
  context.session_state = nullptr;
  session->context = nullptr;
  session->live.reset();
  --metrics_.connected;
  if (auto quiet = std::exchange(session->when_quiet, {})) quiet();  // answers that it is gone
  if (session->expiry_s == 0) return remove(*session, [](Status) {});
  session->left_at_ms = core_.wall_now().ms;
  for (uint16_t source = 0; source < spools_.count(); ++source) {
    spools_.at(source, [id = session->client_id, connection = session->connection,
                        from = session->seen_at(source)](Spool& spool) { spool.detach(id, connection, from); });
  }
  put(*session, [](Status) {});
  put_progress(*session, [](Status) {});
  touch(*session);  // the spools are told then
  if (const auto at = expires_at(*session)) expiring_.emplace(*at, session->client_id);
  arm();
}

void Sessions::end(Context& context, const EndSession& request) {
  Session* session = of(context);
  if (session && request.expiry_s) session->expiry_s = granted(*request.expiry_s);
}

// ---- Subscriptions ----

bool Sessions::is_spooled(const FollowOne& follow) const {
  return follow.share.empty() && (follow.qos_max > 0 || options_.keep_qos0);
}

Attachment Sessions::attachment(const Session& session, uint16_t source) const {
  Attachment place;
  place.client_id = session.client_id;
  place.home = core_.index();
  place.connection = session.context ? session.connection : 0;
  place.connection_id = session.context ? session.context->connection_id : 0;
  place.has_no_local = session.has_no_local();
  place.credit = std::min<uint32_t>(session.live ? session.live->inflight_max : 1, kWindowMax);
  place.from = session.seen_at(source);
  return place;
}

void Sessions::subscribed(Context& context, std::vector<FollowOne> filters, Callback<void(Status)> done) {
  Session* session = of(context);
  if (!session || filters.empty()) return done({});
  // Each spool says from where on it owes; then the subscription is stored.
  struct Subscribing {
    std::vector<SessionSubscription> subscriptions;
    Callback<void(Status)> done;
    size_t waiting = 1;
  };
  auto subscribing = std::make_shared<Subscribing>();
  subscribing->done = std::move(done);
  for (FollowOne& wanted : filters) {
    const auto same = [&](const SessionSubscription& one) {
      return one.follow.filter == wanted.filter && one.follow.share == wanted.share;
    };
    const auto known = std::find_if(session->subscriptions.begin(), session->subscriptions.end(), same);
    if (known == session->subscriptions.end())
      session->subscriptions.push_back({wanted, {}});
    else
      known->follow = wanted;
    subscribing->subscriptions.push_back({std::move(wanted), {}});
  }
  session->live->has_match = false;
  auto finish_one = [this, alive = std::weak_ptr<bool>(alive_), id = session->client_id, connection = session->connection,
                     subscribing] {
    if (--subscribing->waiting > 0 || alive.expired()) return;
    if (!find(id, connection)) return subscribing->done(Error{Code::connection_lost, {}});
    storage::KvBatch batch;
    for (const SessionSubscription& one : subscribing->subscriptions) {
      SubscriptionRow row = row_of(one.follow);
      row.since = one.since;
      batch.put(subscription_key(kDefaultTenant, id, one.follow.filter, one.follow.share), encode_described(row));
    }
    // Whoever asked is gone when this is.
    rows_.write(std::move(batch), [alive, done = counted(std::move(subscribing->done))](Status status) mutable {
      if (!alive.expired()) done(std::move(status));
    });
  };
  for (uint16_t source = 0; source < spools_.count(); ++source) {
    std::vector<size_t> indexes;
    std::vector<std::string> wanted;
    std::vector<std::string> unwanted;
    for (size_t i = 0; i < subscribing->subscriptions.size(); ++i) {
      const FollowOne& follow = subscribing->subscriptions[i].follow;
      if (!follow.share.empty()) continue;
      if (!is_spooled(follow)) {
        unwanted.push_back(follow.filter);
        continue;
      }
      indexes.push_back(i);
      wanted.push_back(follow.filter);
    }
    if (wanted.empty() && unwanted.empty()) continue;
    ++subscribing->waiting;
    spools_.at(source, [place = attachment(*session, source), wanted = std::move(wanted), unwanted = std::move(unwanted),
                        indexes = std::move(indexes), spools = &spools_.on(source), home = core_.index(), source, subscribing,
                        finish_one](Spool& spool) mutable {
      for (const std::string& filter : unwanted) spool.withdraw(place.client_id, filter);
      std::vector<Offset> since;
      for (const std::string& filter : wanted) since.push_back(spool.enroll(place, filter));
      spools->use();
      spools->back(home, [since = std::move(since), indexes = std::move(indexes), source, subscribing, finish_one] {
        for (size_t i = 0; i < indexes.size(); ++i) subscribing->subscriptions[indexes[i]].since.push_back({source, since[i]});
        finish_one();
      });
    });
  }
  finish_one();
}

std::optional<FollowOne> Sessions::subscription_of(const Context& context, std::string_view filter,
                                                   std::string_view share) const {
  const Session* session = of(context);
  if (!session) return std::nullopt;
  for (const SessionSubscription& one : session->subscriptions) {
    if (one.follow.filter == filter && one.follow.share == share) return one.follow;
  }
  return std::nullopt;
}

void Sessions::unsubscribed(Context& context, const std::vector<Unfollow::One>& filters, Callback<void(Status)> done) {
  Session* session = of(context);
  if (!session || filters.empty()) return done({});
  storage::KvBatch batch;
  for (const Unfollow::One& gone : filters) {
    batch.remove(subscription_key(kDefaultTenant, session->client_id, gone.filter, gone.share));
    std::erase_if(session->subscriptions, [&](const SessionSubscription& one) {
      return one.follow.filter == gone.filter && one.follow.share == gone.share;
    });
    if (!gone.share.empty()) continue;
    for (uint16_t source = 0; source < spools_.count(); ++source)
      spools_.at(source, [id = session->client_id, filter = gone.filter](Spool& spool) { spool.withdraw(id, filter); });
  }
  session->live->has_match = false;
  rows_.write(std::move(batch), counted(std::move(done)));
}

}  // namespace robustmq::broker
