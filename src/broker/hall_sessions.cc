// The hall's part in sessions: who has one, what its end and its loss bring about, what is published and settled for it.
#include <algorithm>
#include <utility>

#include "broker/hall.h"

namespace robustmq::broker {

CoreIndex Hall::session_home(TenantId tenant, std::string_view client_id) const {
  return static_cast<CoreIndex>(slot_of(tenant, client_id) % core_.count());
}

void Hall::open_admitted(Context& context, OpenSession request, ReplyTo done) {
  context.session = request.client_id;
  context.inflight_max = request.inflight_max;
  auto [at, is_new] = sessions_.try_emplace(request.client_id, &context);
  if (!is_new && at->second != &context) {
    Context* older = std::exchange(at->second, &context);
    ++metrics_.takeovers_total;
    lose_session(*older);
    say_goodbye(*older);
    watch_for_flapping(older->session);
    older->session.clear();  // no longer its own
    stop_following(*older);
    older->sink->on_notice(Notice::taken_over);
  } else if (is_new) {
    ++metrics_.sessions;
  }
  // One that ends with its connection, and has no older one to resume or to drop, is not stored.
  std::optional<Will> will = std::move(request.will);
  // Answered when the session and the will are durable.
  struct Opening {
    ReplyTo done;
    Reply reply;
    bool is_refused = false;
    int waiting = 2;
  };
  auto opening = std::make_shared<Opening>(Opening{std::move(done), SessionOpened{}});
  context.is_opening = true;
  const auto finish_one = [this, opening, id = request.client_id, connection = context.connection_id,
                           prefix = std::move(request.prefix)] {
    if (--opening->waiting > 0) return;
    const auto mine = sessions_.find(id);
    if (mine != sessions_.end() && mine->second->connection_id == connection) {
      mine->second->is_opening = false;
      if (opening->is_refused) wills_.left(id);  // a refused client leaves no will behind
    }
    const bool is_open = !opening->is_refused;
    opening->done(std::move(opening->reply));
    const auto told = sessions_.find(id);
    if (told == sessions_.end() || told->second->connection_id != connection) return;
    stored_sessions_.begin(*told->second);
    if (is_open) welcome(*told->second, prefix);
  };
  auto opened = [opening, finish_one](Reply reply) {
    opening->is_refused |= std::holds_alternative<Error>(reply);
    if (!std::holds_alternative<Error>(opening->reply)) opening->reply = std::move(reply);
    finish_one();
  };
  if (request.expiry_s == 0 && !stored_sessions_.has(request.client_id))
    opened(SessionOpened{});
  else
    stored_sessions_.open(context, request, std::move(opened));
  wills_.opened(request.client_id, std::move(will), request.expiry_s, [opening, finish_one](const Status& status) {
    opening->is_refused |= !status.ok();
    if (!status.ok()) opening->reply = status.error();
    finish_one();
  });
}

void Hall::end_session(Context& context, const EndSession& request) {
  stored_sessions_.end(context, request);
  if (!request.without_will || context.session.empty()) return;
  const auto found = sessions_.find(context.session);
  if (found != sessions_.end() && found->second == &context) wills_.left(context.session);
}

// The connection has its session no longer; its will goes, or begins to wait.
void Hall::lose_session(Context& context) {
  const auto* session = static_cast<const Session*>(context.session_state);
  if (context.is_opening)
    wills_.left(context.session);  // it was never accepted
  else
    wills_.closed(context.session, session ? session->expiry_s : 0);
  stored_sessions_.let_go(context);
}

void Hall::send_will(const std::string& client_id, const WillRow& will, storage::KvBatch gone, Callback<void(Status)> done) {
  Context context;
  context.session = client_id;
  Code code = authorise(context, Verb::publish, will.topic);
  if (code == Code::ok) code = publisher_.refusal_of(will.topic);
  if (code == Code::ok && will.retain) {
    code = retained_.check({.topic = will.topic,
                            .payload = will.payload,
                            .raw_headers = will.raw_headers,
                            .header_count = will.header_count,
                            .qos = will.qos,
                            .retain = true,
                            .expiry_s = will.expiry_s});
  }
  if (code != Code::ok) return done(code);
  // From here on it is a message of the ledger that is due.
  DelayedRow row;
  row.topic = will.topic;
  row.payload = will.payload;
  row.raw_headers = will.raw_headers;
  row.header_count = will.header_count;
  row.qos = will.qos;
  row.retain = will.retain;
  row.expiry_s = will.expiry_s;
  row.accepted_ms = core_.wall_now().ms;
  row.client_id = client_id;
  row.is_will = true;
  delayed_.publish_once(std::move(row), std::move(gone), std::move(done));
}

void Hall::stop_following(Context& context) {
  stop_declaring(context);
  exclusive_.close(context.connection_id);
  bursts_.close(context);
  std::vector<std::string> gone;
  follows_.close(context, [&](std::string filter) { gone.push_back(std::move(filter)); });
  if (!gone.empty()) announce(std::move(gone), false, [] {});
  shared_.close(context);
  stream_readers_.close(context);
  queue_readers_.close(context);
}

void Hall::settle(Context& context, Settle request, ReplyTo done) {
  struct Settling {
    Settled settled;
    std::optional<Error> error;  // of the session
    ReplyTo done;
    size_t waiting = 1;
    void finish_one() {
      if (--waiting > 0) return;
      error ? done(std::move(*error)) : done(std::move(settled));
    }
  };
  auto settling = std::make_shared<Settling>();
  settling->done = std::move(done);
  settling->settled.leases.assign(request.leases.size(), Code::ok);
  Settle owed;                  // what is a session's, not a group's
  std::vector<size_t> owed_at;  // their places
  for (size_t i = 0; i < request.leases.size(); ++i) {
    const Settle::One& one = request.leases[i];
    if (one.lease >= kQueueLeaseMin) {
      ++settling->waiting;
      queue_readers_.settle(context, one, [settling, i](Code code) {
        settling->settled.leases[i] = code;
        settling->finish_one();
      });
    } else if (one.lease >= kSharedLeaseMin) {
      settling->settled.leases[i] = shared_.settle(context, one);
    } else {
      owed.leases.push_back(one);
      owed_at.push_back(i);
    }
  }
  if (!owed.leases.empty() && context.session_state) {
    ++settling->waiting;
    stored_sessions_.settle(context, owed, [settling, owed_at = std::move(owed_at)](Reply reply) {
      if (const auto* of_session = std::get_if<Settled>(&reply)) {
        for (size_t i = 0; i < owed_at.size(); ++i) settling->settled.leases[owed_at[i]] = of_session->leases[i];
      } else if (const auto* error = std::get_if<Error>(&reply)) {
        settling->error = *error;
      }
      settling->finish_one();
    });
  }
  settling->finish_one();
}

void Hall::on_ready(Context& context) {
  context.is_waited_for = false;
  bursts_.on_ready(context);
  stream_readers_.on_ready(context);
  queue_readers_.on_ready(context);
}

void Hall::close(Context& context) {
  authenticator_.close(context);
  fetcher_.cancel(context);
  queue_readers_.close(context);  // settles, so before what it holds goes back
  leaser_.close(context);
  stop_following(context);
  if (context.session.empty()) return stored_sessions_.let_go(context);
  const auto found = sessions_.find(context.session);
  if (found != sessions_.end() && found->second == &context) {
    sessions_.erase(found);
    --metrics_.sessions;
    lose_session(context);
    say_goodbye(context);
    watch_for_flapping(context.session);
  } else {
    stored_sessions_.let_go(context);
  }
  context.session.clear();
}

void Hall::publish(Context& context, Publish request, ReplyTo done) {
  const auto has_packet = [](const Message& message) { return message.packet_id != 0 && message.wants_reply; };
  if (context.session_state && std::any_of(request.messages.begin(), request.messages.end(), has_packet)) {
    // The session learns which of its packet ids came to something.
    std::vector<uint16_t> ids;
    for (const Message& message : request.messages) {
      if (message.wants_reply) ids.push_back(message.packet_id);
    }
    done = [this, sessions = stored_sessions_.alive(), id = context.session, ids = std::move(ids),
            done = std::move(done)](Reply reply) mutable {
      if (sessions.expired()) return done(std::move(reply));  // the node ends
      std::vector<std::pair<uint16_t, Code>> packets;
      const auto* published = std::get_if<Published>(&reply);
      for (size_t i = 0; i < ids.size(); ++i) {
        if (ids[i] != 0) packets.emplace_back(ids[i], published ? published->results[i].code : Code::internal);
      }
      stored_sessions_.finish_packets(id, packets);
      done(std::move(reply));
    };
  }
  publisher_.publish(context, std::move(request), std::move(done));
}

}  // namespace robustmq::broker
