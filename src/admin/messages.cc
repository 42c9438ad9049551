// /api/v1/retained and /api/v1/delayed: retained messages listed and cleared, delayed ones listed and cancelled.
#include <fmt/core.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "admin/nouns.h"
#include "base/base64.h"
#include "base/topic_names.h"

namespace robustmq::admin {

namespace {

using Json = nlohmann::ordered_json;

std::string text_of(const Json& json) { return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"; }

// Text where it is one.
void add_payload(Json& to, const Bytes& payload) {
  if (is_utf8(payload.text()))
    to["payload"] = payload.text();
  else
    to["payload_base64"] = base64_of(payload);
}

// What `limit` asks for; nullopt: it is no number from 1 to kPageMax.
std::optional<int32_t> limit_of(const net::HttpRequest& http) {
  const std::string text = http.parameter("limit", std::to_string(kPageDefault));
  int32_t limit = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), limit);
  if (error != std::errc() || end != text.data() + text.size() || limit < 1 || limit > kPageMax) return std::nullopt;
  return limit;
}

ApiAnswer wrong_limit() {
  return error_answer(Error{Code::invalid_argument, fmt::format("limit is a number from 1 to {}", kPageMax)});
}

void list_retained(ApiSeat& seat, ApiRequest api, ApiDone done) {
  const std::optional<int32_t> limit = limit_of(api.http);
  if (!limit) return done(wrong_limit());
  broker::ListRetained request;
  request.filter = api.http.parameter("filter", "#");
  request.after = api.http.parameter("after");
  request.count_max = *limit;
  seat.broker->execute(*seat.context, std::move(request), [done = std::move(done)](broker::Reply reply) mutable {
    const auto* listed = std::get_if<broker::ListedRetained>(&reply);
    if (!listed) return done(wrong_reply(reply));
    Json messages = Json::array();
    for (const auto& one : listed->messages) {
      Json row = {{"topic", one.topic}, {"qos", one.qos}, {"timestamp_ms", one.timestamp_ms}};
      if (one.expiry_s != 0) row["expiry_s"] = one.expiry_s;
      add_payload(row, one.payload);
      messages.push_back(std::move(row));
    }
    Json json = {{"messages", std::move(messages)}};
    if (!listed->next.empty()) json["next"] = listed->next;
    done({200, "application/json", text_of(json), {}});
  });
}

void clear_retained(ApiSeat& seat, ApiRequest api, ApiDone done) {
  broker::ClearRetained request;
  request.filter = api.http.parameter("filter");
  if (request.filter.empty()) return done(error_answer(Error{Code::invalid_argument, "a filter is needed: ?filter=a/b"}));
  seat.broker->execute(*seat.context, std::move(request), [done = std::move(done)](broker::Reply reply) mutable {
    const auto* cleared = std::get_if<broker::ClearedRetained>(&reply);
    if (!cleared) return done(wrong_reply(reply));
    done({200, "application/json", text_of({{"cleared", cleared->count}}), {}});
  });
}

void list_delayed(ApiSeat& seat, ApiRequest api, ApiDone done) {
  const std::optional<int32_t> limit = limit_of(api.http);
  if (!limit) return done(wrong_limit());
  broker::ListDelayed request;
  request.after = api.http.parameter("after");
  request.count_max = *limit;
  seat.broker->execute(*seat.context, std::move(request), [done = std::move(done)](broker::Reply reply) mutable {
    const auto* listed = std::get_if<broker::ListedDelayed>(&reply);
    if (!listed) return done(wrong_reply(reply));
    Json messages = Json::array();
    for (const auto& one : listed->messages) {
      Json row = {{"id", one.id},   {"topic", one.topic},   {"due_ms", one.due_ms},      {"accepted_ms", one.accepted_ms},
                  {"qos", one.qos}, {"retain", one.retain}, {"client_id", one.client_id}};
      add_payload(row, one.payload);
      messages.push_back(std::move(row));
    }
    Json json = {{"messages", std::move(messages)}};
    if (!listed->next.empty()) json["next"] = listed->next;
    done({200, "application/json", text_of(json), {}});
  });
}

void cancel_delayed(ApiSeat& seat, ApiRequest api, ApiDone done) {
  const std::string id = api.parts["id"];
  seat.broker->execute(*seat.context, broker::CancelDelayed{id}, [id, done = std::move(done)](broker::Reply reply) mutable {
    const auto* cancelled = std::get_if<broker::CancelledDelayed>(&reply);
    if (!cancelled) return done(wrong_reply(reply));
    if (cancelled->code == Code::not_found)
      return done(
          error_answer(Error{Code::not_found, fmt::format("there is no delayed message {}, or it is being published", id)}));
    if (cancelled->code != Code::ok) return done(error_answer(Error{cancelled->code, {}}));
    done({204, "application/json", "", {}});
  });
}

}  // namespace

void append_messages_routes(std::vector<Route>& to) {
  to.push_back({"GET", "/api/v1/retained",
                "Retained messages, a page. Query: `filter` (an MQTT topic filter; left out: all), `limit` (1 to 1,000, 100), "
                "`after` (the `next` of the page before). A page ends with 4 MiB too.",
                "",
                "200 `{\"messages\": [{\"topic\", \"qos\", \"timestamp_ms\", \"expiry_s\", \"payload\" or \"payload_base64\"}], "
                "\"next\"}`; no "
                "`next`: there is no more; 400 `invalid_argument`.",
                list_retained});
  to.push_back({"DELETE", "/api/v1/retained", "Clears the retained messages that the query's `filter` matches.", "",
                "200 `{\"cleared\": 3}`; 400 `invalid_argument`.", clear_retained});
  to.push_back(
      {"GET", "/api/v1/delayed",
       "Delayed messages in the order in which they are due, a page. Query: `limit` (1 to 1,000, 100), `after`. A page ends "
       "with 4 MiB too.",
       "",
       "200 `{\"messages\": [{\"id\", \"topic\", \"due_ms\", \"accepted_ms\", \"qos\", \"retain\", \"client_id\", \"payload\" or "
       "\"payload_base64\"}], \"next\"}`; 400 `invalid_argument`.",
       list_delayed});
  to.push_back({"DELETE", "/api/v1/delayed/{id}", "Cancels a delayed message.", "",
                "204; 404 `not_found`: there is none, or it is being published; 400 `invalid_argument`.", cancel_delayed});
}

}  // namespace robustmq::admin
