// Hall: what those are told who look after the node's clients. A client is known on its session's home core.
#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "base/topic_names.h"
#include "broker/gathering.h"
#include "broker/hall.h"
#include "runtime/hosts.h"

namespace robustmq::broker {
namespace {

constexpr int32_t kClientsPageMax = 1'000;

bool is_before(const ClientFacts& a, const ClientFacts& b) { return a.id < b.id; }

}  // namespace

// ---- Who is here ----

ClientFacts Hall::facts_of(const std::string& id) const {
  ClientFacts facts;
  facts.id = id;
  const auto connected = sessions_.find(id);
  if (connected != sessions_.end()) {
    const Context& context = *connected->second;
    facts.is_connected = true;
    facts.host = context.host;
    facts.subscriptions = static_cast<int64_t>(follows_.count_of(context) + shared_.count_of(context));
  }
  if (const Session* session = stored_sessions_.look_up(id)) {
    facts.is_stored = true;
    facts.expiry_s = session->expiry_s;
    facts.left_at_ms = session->left_at_ms;
    if (!facts.is_connected) facts.subscriptions = static_cast<int64_t>(session->subscriptions.size());
  }
  return facts;
}

// The first of this core behind `after`.
std::vector<ClientFacts> Hall::clients_after(const std::string& after, size_t count) const {
  std::vector<std::string_view> ids;  // a heap, the last one on top
  const auto offer = [&](std::string_view id) {
    if (id <= after || (ids.size() == count && id >= ids.front())) return;
    ids.push_back(id);
    std::push_heap(ids.begin(), ids.end());
    if (ids.size() <= count) return;
    std::pop_heap(ids.begin(), ids.end());
    ids.pop_back();
  };
  for (const auto& [id, context] : sessions_) offer(id);
  stored_sessions_.each([&](const Session& session) {
    if (!sessions_.contains(session.client_id)) offer(session.client_id);
  });
  std::vector<ClientFacts> page;
  for (const std::string_view id : ids) page.push_back(facts_of(std::string(id)));
  return page;
}

void Hall::list_clients(const ListClients& request, ReplyTo done) {
  const auto count = static_cast<size_t>(std::clamp(request.count_max, 1, kClientsPageMax));
  auto gathering = std::make_shared<GatheringList<ClientFacts>>();
  gathering->waiting = halls_.size();
  gathering->done = [count, done = std::move(done)](std::vector<ClientFacts> all) mutable {
    std::sort(all.begin(), all.end(), is_before);
    ListedClients listed;
    if (all.size() > count) all.resize(count);
    if (all.size() == count) listed.next = all.back().id;
    listed.clients = std::move(all);
    done(std::move(listed));
  };
  for (Hall* peer : halls_) {
    if (peer == this) continue;
    core_.send(peer->core_.index(), [peer, back = core_.index(), after = request.after, count, gathering] {
      peer->core_.send(back,
                       [gathering, page = peer->clients_after(after, count)]() mutable { gathering->add(std::move(page)); });
    });
  }
  gathering->add(clients_after(request.after, count));
}

DescribedClient Hall::describe_client(const std::string& id) const {
  DescribedClient client;
  client.facts = facts_of(id);
  if (!client.facts.is_connected && !client.facts.is_stored) return client;
  client.code = Code::ok;
  const auto connected = sessions_.find(id);
  if (connected != sessions_.end()) {
    follows_.each_of(*connected->second, [&](std::string filter, uint8_t qos_max) {
      client.subscriptions.push_back({std::move(filter), {}, qos_max});
    });
    shared_.each_of(*connected->second, [&](const std::string& filter, const std::string& share, uint8_t qos_max) {
      client.subscriptions.push_back({filter, share, qos_max});
    });
    queue_readers_.each_of(*connected->second, [&](const std::string& filter, uint8_t qos_max) {
      client.subscriptions.push_back({filter, std::string(kQueueShare), qos_max});
    });
    stream_readers_.each_of(*connected->second, [&](const std::string& stream, const std::string& filter, uint8_t qos_max) {
      client.subscriptions.push_back({as_asked(stream, filter), {}, qos_max});
    });
  } else {
    for (const SessionSubscription& one : stored_sessions_.look_up(id)->subscriptions)
      client.subscriptions.push_back({one.follow.filter, one.follow.share, one.follow.qos_max});
  }
  return client;
}

void Hall::end_client(const EndClient& request, ReplyTo done) {
  const auto connected = sessions_.find(request.id);
  const bool is_stored = stored_sessions_.look_up(request.id) != nullptr;
  if (connected == sessions_.end() && !(is_stored && request.with_session)) return done(EndedClient{Code::not_found});
  if (connected != sessions_.end()) connected->second->sink->on_notice(Notice::ended);
  if (!is_stored || !request.with_session) return done(EndedClient{});
  stored_sessions_.drop(request.id, [done = std::move(done)](const Status& status) mutable { done(EndedClient{status.code()}); });
}

// Runs `ask(hall, answer)` where the client's session lives, and answers here.
template <class Ask>
void Hall::at_client(const std::string& id, Ask ask, ReplyTo done) {
  Hall* home = halls_[session_home(kDefaultTenant, id)];
  if (home == this) return ask(*this, std::move(done));
  core_.send(home->core_.index(), [home, back = core_.index(), ask = std::move(ask), done = std::move(done)]() mutable {
    ask(*home, [home, back, done = std::move(done)](Reply reply) mutable {
      home->core_.send(back, [done = std::move(done), reply = std::move(reply)]() mutable { done(std::move(reply)); });
    });
  });
}

void Hall::ask_clients(ListClients& request, ReplyTo done) { list_clients(request, std::move(done)); }

void Hall::ask_clients(DescribeClient& request, ReplyTo done) {
  at_client(request.id, [id = request.id](Hall& hall, ReplyTo answer) { answer(hall.describe_client(id)); }, std::move(done));
}

void Hall::ask_clients(EndClient& request, ReplyTo done) {
  at_client(request.id, [request](Hall& hall, ReplyTo answer) { hall.end_client(request, std::move(answer)); }, std::move(done));
}

// ---- Who may not come ----

void Hall::ask_clients(ListBans&, ReplyTo done) { done(ListedBans{bans_.list()}); }

void Hall::ask_clients(AddBan& request, ReplyTo done) {
  if (request.for_ms > 0) request.ban.until_ms = core_.wall_now().ms + request.for_ms;
  bans_.add(std::move(request.ban), [done = std::move(done)](const Status& status) mutable {
    if (status.code() == Code::invalid_argument) return done(status.error());
    done(ChangedBans{status.code()});
  });
}

void Hall::ask_clients(RemoveBan& request, ReplyTo done) {
  bans_.remove(request.by, request.who,
               [done = std::move(done)](const Status& status) mutable { done(ChangedBans{status.code()}); });
}

void Hall::enforce(const Ban& ban) {
  std::vector<Context*> concerned;
  if (ban.by == BanBy::client_id) {
    if (const auto found = sessions_.find(ban.who); found != sessions_.end()) concerned.push_back(found->second);
  } else {
    for (const auto& [id, context] : sessions_) {
      if (runtime::plain_host(context->host) == ban.who) concerned.push_back(context);
    }
  }
  ban_metrics_.ended_connections_total += concerned.size();
  for (Context* context : concerned) context->sink->on_notice(Notice::ended);
}

// A connection of the client ended.
void Hall::watch_for_flapping(const std::string& client_id) {
  if (!flapping_.note_end(client_id, core_.now())) return;
  Ban ban;
  ban.who = client_id;
  ban.author = "flapping";
  ban.reason = "its connections ended too often";
  ban.until_ms = core_.wall_now().ms + ban_options_.flapping_ban_ms;
  bans_.add(std::move(ban), [](const Status&) {});
}

// ---- Who is slow ----

void Hall::ask_clients(ListSlow&, ReplyTo done) {
  auto gathering = std::make_shared<GatheringList<SlowSubscriptions::Row>>();
  gathering->waiting = halls_.size();
  gathering->done = [count = static_cast<size_t>(extensions_.slow_subscriptions_max),
                     done = std::move(done)](std::vector<SlowSubscriptions::Row> all) mutable {
    SlowSubscriptions::rank(all, count);
    done(ListedSlow{std::move(all)});
  };
  for (Hall* peer : halls_) {
    if (peer == this) continue;
    core_.send(peer->core_.index(), [peer, back = core_.index(), gathering] {
      peer->core_.send(
          back, [gathering, rows = peer->slow_.rows(peer->core_.wall_now().ms)]() mutable { gathering->add(std::move(rows)); });
    });
  }
  gathering->add(slow_.rows(core_.wall_now().ms));
}

void Hall::ask_clients(ClearSlow&, ReplyTo done) {
  for (Hall* peer : halls_) {
    if (peer == this)
      slow_.clear();
    else
      core_.send(peer->core_.index(), [peer] { peer->slow_.clear(); });
  }
  done(ClearedSlow{});
}

// ---- What topics carry ----

// On core 0, which decides for all.
Code Hall::watch_here(const WatchTopic& request) {
  const bool is_known = watch_.has(request.topic);
  if (!request.is_on && !is_known) return Code::not_found;
  if (request.is_on && is_known) return Code::already_exists;
  if (request.is_on && !is_valid_topic_name(request.topic)) return Code::invalid_topic;
  if (request.is_on && watch_.size() >= static_cast<size_t>(extensions_.watched_topics_max)) return Code::quota_exceeded;
  const int64_t now_ms = core_.wall_now().ms;
  for (Hall* peer : halls_) {
    const auto change = [peer, request, now_ms] {
      if (request.is_on)
        peer->watch_.begin(request.topic, now_ms);
      else
        peer->watch_.end(request.topic);
    };
    if (peer == this)
      change();
    else
      core_.send(peer->core_.index(), change);
  }
  extension_metrics_.watched_topics = static_cast<int64_t>(watch_.size());
  return Code::ok;
}

void Hall::ask_clients(WatchTopic& request, ReplyTo done) {
  Hall* home = halls_[0];
  if (home == this) return done(WatchedTopic{watch_here(request)});
  core_.send(0, [home, back = core_.index(), request, done = std::move(done)]() mutable {
    const Code code = home->watch_here(request);
    home->core_.send(back, [code, done = std::move(done)]() mutable { done(WatchedTopic{code}); });
  });
}

void Hall::ask_clients(ListWatched&, ReplyTo done) {
  auto gathering = std::make_shared<GatheringList<TopicCounts>>();
  gathering->waiting = halls_.size();
  gathering->done = [done = std::move(done)](std::vector<TopicCounts> all) mutable {
    std::map<std::string, TopicCounts> sums;
    for (const TopicCounts& one : all) {
      const auto [at, is_new] = sums.try_emplace(one.topic, one);
      if (is_new) continue;
      TopicCounts& sum = at->second;
      sum.messages_in += one.messages_in;
      sum.bytes_in += one.bytes_in;
      sum.messages_out += one.messages_out;
      for (size_t qos = 0; qos < 3; ++qos) sum.messages_in_by_qos[qos] += one.messages_in_by_qos[qos];
    }
    ListedWatched listed;
    for (auto& [topic, sum] : sums) listed.topics.push_back(std::move(sum));
    done(std::move(listed));
  };
  for (Hall* peer : halls_) {
    if (peer == this) continue;
    core_.send(peer->core_.index(), [peer, back = core_.index(), gathering] {
      peer->core_.send(back, [gathering, counts = peer->watch_.counts()]() mutable { gathering->add(std::move(counts)); });
    });
  }
  gathering->add(watch_.counts());
}

}  // namespace robustmq::broker
