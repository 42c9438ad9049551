// /api/v1/clients, bans, slow_subscriptions and topic_metrics: who is here, who may not come, who is slow, what topics carry.
#include <fmt/core.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "admin/nouns.h"

namespace robustmq::admin {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kBanSecondsMax = 10'000'000'000;

ApiAnswer answer_of(const Json& json, int status = 200) {
  return {status, "application/json", json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n", {}};
}
ApiAnswer no_client(const std::string& id) {
  return error_answer(Error{Code::not_found, fmt::format("there is no client {}", id)});
}

// ---- Clients ----

Json json_of(const broker::ClientFacts& client) {
  Json json = {{"id", client.id}, {"connected", client.is_connected}};
  if (client.is_connected) json["host"] = client.host;
  json["stored"] = client.is_stored;
  if (client.is_stored) json["expiry_s"] = client.expiry_s;
  if (client.left_at_ms != 0) json["left_at_ms"] = client.left_at_ms;
  json["subscriptions"] = client.subscriptions;
  return json;
}

void list_clients(ApiSeat& seat, ApiRequest api, ApiDone done) {
  const std::string text = api.http.parameter("limit", std::to_string(kPageDefault));
  broker::ListClients request;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), request.count_max);
  if (error != std::errc() || end != text.data() + text.size() || request.count_max < 1 || request.count_max > kPageMax)
    return done(error_answer(Error{Code::invalid_argument, fmt::format("limit is a number from 1 to {}", kPageMax)}));
  request.after = api.http.parameter("after");
  seat.broker->execute(*seat.context, std::move(request), [done = std::move(done)](broker::Reply reply) mutable {
    const auto* listed = std::get_if<broker::ListedClients>(&reply);
    if (!listed) return done(wrong_reply(reply));
    Json clients = Json::array();
    for (const broker::ClientFacts& each : listed->clients) clients.push_back(json_of(each));
    Json json = {{"clients", std::move(clients)}};
    if (!listed->next.empty()) json["next"] = listed->next;
    done(answer_of(json));
  });
}

void describe_client(ApiSeat& seat, ApiRequest api, ApiDone done) {
  const std::string id = api.parts["id"];
  seat.broker->execute(*seat.context, broker::DescribeClient{id}, [id, done = std::move(done)](broker::Reply reply) mutable {
    const auto* client = std::get_if<broker::DescribedClient>(&reply);
    if (!client) return done(wrong_reply(reply));
    if (client->code != Code::ok) return done(no_client(id));
    Json json = json_of(client->facts);
    Json subscriptions = Json::array();
    for (const auto& one : client->subscriptions) {
      subscriptions.push_back(
          {{"filter", one.share.empty() ? one.filter : "$share/" + one.share + "/" + one.filter}, {"qos", one.qos_max}});
    }
    json["subscriptions"] = std::move(subscriptions);
    done(answer_of(json));
  });
}

void end_client(ApiSeat& seat, ApiRequest api, ApiDone done) {
  const std::string id = api.parts["id"];
  const std::string with_session = api.http.parameter("session", "false");
  if (with_session != "true" && with_session != "false")
    return done(error_answer(Error{Code::invalid_argument, "session is true or false"}));
  seat.broker->execute(*seat.context, broker::EndClient{id, with_session == "true"},
                       [id, done = std::move(done)](broker::Reply reply) mutable {
                         const auto* ended = std::get_if<broker::EndedClient>(&reply);
                         if (!ended) return done(wrong_reply(reply));
                         if (ended->code == Code::not_found) return done(no_client(id));
                         if (ended->code != Code::ok) return done(error_answer(Error{ended->code, {}}));
                         done({204, "application/json", "", {}});
                       });
}

// ---- Bans ----

std::string_view name_of(broker::BanBy by) { return by == broker::BanBy::client_id ? "client_id" : "host"; }

bool read_by(std::string_view name, broker::BanBy& by) {
  by = name == "host" ? broker::BanBy::host : broker::BanBy::client_id;
  return name == "host" || name == "client_id";
}

Json json_of(const broker::Ban& ban) {
  Json json = {{"by", name_of(ban.by)}, {"who", ban.who}, {"author", ban.author}, {"reason", ban.reason}, {"at_ms", ban.at_ms}};
  if (ban.until_ms != 0) json["until_ms"] = ban.until_ms;
  return json;
}

void list_bans(ApiSeat& seat, ApiRequest, ApiDone done) {
  seat.broker->execute(*seat.context, broker::ListBans{}, [done = std::move(done)](broker::Reply reply) mutable {
    const auto* listed = std::get_if<broker::ListedBans>(&reply);
    if (!listed) return done(wrong_reply(reply));
    Json bans = Json::array();
    for (const broker::Ban& each : listed->bans) bans.push_back(json_of(each));
    done(answer_of({{"bans", std::move(bans)}}));
  });
}

// The body of a POST, or why it is wrong.
Result<broker::AddBan> ban_of(const std::string& body) {
  const Json json = Json::parse(body, nullptr, false);
  if (json.is_discarded() || !json.is_object()) return Error{Code::malformed, "the body is no JSON object"};
  broker::AddBan add;
  broker::Ban& ban = add.ban;
  bool has_kind = false;
  for (const auto& [key, value] : json.items()) {
    if (key == "for_s") {
      if (!value.is_number_unsigned() || value.get<uint64_t>() == 0 || value.get<uint64_t>() > kBanSecondsMax)
        return Error{Code::invalid_argument, fmt::format("for_s is a number of seconds from 1 to {}", kBanSecondsMax)};
      add.for_ms = value.get<int64_t>() * 1000;
      continue;
    }
    if (key == "until_ms") {
      if (!value.is_number_unsigned() || value.get<uint64_t>() > INT64_MAX)
        return Error{Code::invalid_argument, "until_ms is a time in milliseconds since 1970; 0 or left out: for ever"};
      ban.until_ms = value.get<int64_t>();
      continue;
    }
    if (!value.is_string()) return Error{Code::invalid_argument, fmt::format("{} is a text", key)};
    const auto& text = value.get_ref<const std::string&>();
    if (key == "by") {
      if (!read_by(text, ban.by)) return Error{Code::invalid_argument, "by is client_id or host"};
      has_kind = true;
    } else if (key == "who") {
      ban.who = text;
    } else if (key == "author") {
      ban.author = text;
    } else if (key == "reason") {
      ban.reason = text;
    } else {
      return Error{Code::invalid_argument,
                   fmt::format("there is no key {}; known are by, who, author, reason, until_ms, for_s", key)};
    }
  }
  if (!has_kind || ban.who.empty()) return Error{Code::invalid_argument, "by and who are needed"};
  return add;
}

void add_ban(ApiSeat& seat, ApiRequest api, ApiDone done) {
  Result<broker::AddBan> add = ban_of(api.http.body);
  if (!add) return done(error_answer(add.error()));
  seat.broker->execute(*seat.context, add.take(), [done = std::move(done)](broker::Reply reply) mutable {
    const auto* changed = std::get_if<broker::ChangedBans>(&reply);
    if (!changed) return done(wrong_reply(reply));
    if (changed->code != Code::ok) return done(error_answer(Error{changed->code, {}}));
    done({204, "application/json", "", {}});
  });
}

void remove_ban(ApiSeat& seat, ApiRequest api, ApiDone done) {
  broker::RemoveBan request;
  request.who = api.parts["who"];
  if (!read_by(api.parts["by"], request.by))
    return done(error_answer(Error{Code::invalid_argument, "a ban is of a client_id or of a host"}));
  seat.broker->execute(*seat.context, std::move(request),
                       [who = api.parts["who"], done = std::move(done)](broker::Reply reply) mutable {
                         const auto* changed = std::get_if<broker::ChangedBans>(&reply);
                         if (!changed) return done(wrong_reply(reply));
                         if (changed->code == Code::not_found)
                           return done(error_answer(Error{Code::not_found, fmt::format("{} is not banned", who)}));
                         if (changed->code != Code::ok) return done(error_answer(Error{changed->code, {}}));
                         done({204, "application/json", "", {}});
                       });
}

// ---- Slow subscriptions ----

void list_slow(ApiSeat& seat, ApiRequest, ApiDone done) {
  seat.broker->execute(*seat.context, broker::ListSlow{}, [done = std::move(done)](broker::Reply reply) mutable {
    const auto* listed = std::get_if<broker::ListedSlow>(&reply);
    if (!listed) return done(wrong_reply(reply));
    Json rows = Json::array();
    for (const auto& one : listed->subscriptions) {
      rows.push_back({{"client_id", one.client_id}, {"topic", one.topic}, {"waited_ms", one.waited_ms}, {"at_ms", one.at_ms}});
    }
    done(answer_of({{"slow_subscriptions", std::move(rows)}}));
  });
}

void clear_slow(ApiSeat& seat, ApiRequest, ApiDone done) {
  seat.broker->execute(*seat.context, broker::ClearSlow{}, [done = std::move(done)](broker::Reply reply) mutable {
    if (!std::holds_alternative<broker::ClearedSlow>(reply)) return done(wrong_reply(reply));
    done({204, "application/json", "", {}});
  });
}

// ---- What topics carry ----

void list_watched(ApiSeat& seat, ApiRequest, ApiDone done) {
  seat.broker->execute(*seat.context, broker::ListWatched{}, [done = std::move(done)](broker::Reply reply) mutable {
    const auto* listed = std::get_if<broker::ListedWatched>(&reply);
    if (!listed) return done(wrong_reply(reply));
    Json rows = Json::array();
    for (const broker::TopicCounts& one : listed->topics) {
      rows.push_back({{"topic", one.topic},
                      {"since_ms", one.since_ms},
                      {"messages_in", one.messages_in},
                      {"messages_in_qos0", one.messages_in_by_qos[0]},
                      {"messages_in_qos1", one.messages_in_by_qos[1]},
                      {"messages_in_qos2", one.messages_in_by_qos[2]},
                      {"bytes_in", one.bytes_in},
                      {"messages_out", one.messages_out}});
    }
    done(answer_of({{"topics", std::move(rows)}}));
  });
}

void watch(ApiSeat& seat, std::string topic, bool is_on, ApiDone done) {
  seat.broker->execute(*seat.context, broker::WatchTopic{std::move(topic), is_on},
                       [done = std::move(done)](broker::Reply reply) mutable {
                         const auto* watched = std::get_if<broker::WatchedTopic>(&reply);
                         if (!watched) return done(wrong_reply(reply));
                         if (watched->code != Code::ok) return done(error_answer(Error{watched->code, {}}));
                         done({204, "application/json", "", {}});
                       });
}

void begin_watch(ApiSeat& seat, ApiRequest api, ApiDone done) {
  const Json json = Json::parse(api.http.body, nullptr, false);
  if (json.is_discarded() || !json.is_object() || json.size() != 1 || !json.contains("topic") || !json["topic"].is_string())
    return done(error_answer(Error{Code::invalid_argument, "the body is an object with a topic"}));
  watch(seat, json["topic"].get<std::string>(), true, std::move(done));
}

void end_watch(ApiSeat& seat, ApiRequest api, ApiDone done) { watch(seat, api.parts["topic"], false, std::move(done)); }

}  // namespace

void append_clients_routes(std::vector<Route>& to) {
  to.push_back(
      {"GET", "/api/v1/clients",
       "Clients that are connected, and stored sessions of those that are away, by their ids, a page. Query: `limit` (1 to "
       "1,000, 100), `after` (the `next` of the page before).",
       "",
       "200 `{\"clients\": [{\"id\", \"connected\", \"host\", \"stored\", \"expiry_s\", \"left_at_ms\", "
       "\"subscriptions\"}], \"next\"}`; no `next`: there is no more; 400 `invalid_argument`.",
       list_clients});
  to.push_back({"GET", "/api/v1/clients/{id}", "A client and its subscriptions.", "",
                "200 with the client, `subscriptions` as `[{\"filter\", \"qos\"}]`; 404 `not_found`.", describe_client});
  to.push_back(
      {"DELETE", "/api/v1/clients/{id}",
       "Ends the connection of a client (MQTT 5: 0x98). With the query `session=true` its stored session is dropped too.", "",
       "204; 404 `not_found`.", end_client});
  to.push_back(
      {"GET", "/api/v1/bans", "Who may not connect.", "",
       "200 `{\"bans\": [{\"by\", \"who\", \"author\", \"reason\", \"at_ms\", \"until_ms\"}]}`; no `until_ms`: for ever.",
       list_bans});
  to.push_back({"POST", "/api/v1/bans",
                "Bans a client id, or a host by its address; replaces a ban of the same. Connections that it concerns are ended. "
                "`by` and `who` are needed; `until_ms`, or `for_s` in its place, says how long it holds: left out, for ever.",
                "{\"by\": \"client_id\", \"who\": \"meter-7\", \"author\": \"me\", \"reason\": \"floods\", \"until_ms\": "
                "1900000000000}",
                "204; 400 `invalid_argument`; 429 `quota_exceeded`.", add_ban});
  to.push_back({"DELETE", "/api/v1/bans/{by}/{who}", "Takes a ban back; `by` is client_id or host.", "",
                "204; 404 `not_found`; 400 `invalid_argument`.", remove_ban});
  to.push_back(
      {"GET", "/api/v1/slow_subscriptions",
       "The clients for which messages of QoS 1 and 2 waited longest of late, the slowest first; `mqtt.slow_ms_min` says "
       "from when on.",
       "", "200 `{\"slow_subscriptions\": [{\"client_id\", \"topic\", \"waited_ms\", \"at_ms\"}]}`.", list_slow});
  to.push_back({"DELETE", "/api/v1/slow_subscriptions", "Begins that list anew.", "", "204.", clear_slow});
  to.push_back({"GET", "/api/v1/topic_metrics", "What the topics carried that are counted on demand, since each was begun.", "",
                "200 `{\"topics\": [{\"topic\", \"since_ms\", \"messages_in\", \"messages_in_qos0\", \"messages_in_qos1\", "
                "\"messages_in_qos2\", \"bytes_in\", \"messages_out\"}]}`.",
                list_watched});
  to.push_back({"POST", "/api/v1/topic_metrics", "Counts a topic from now on, until the node stops.", "{\"topic\": \"a/b\"}",
                "204; 409 `already_exists`; 400 `invalid_topic`, `invalid_argument`; 429 `quota_exceeded`.", begin_watch});
  to.push_back({"DELETE", "/api/v1/topic_metrics/{topic}", "Counts a topic no longer; its slashes are written %2F.", "",
                "204; 404 `not_found`.", end_watch});
}

}  // namespace robustmq::admin
