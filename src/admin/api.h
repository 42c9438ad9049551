// The admin API as plain requests and answers: what a route sees, and the table of routes. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "admin/access.h"
#include "base/callback.h"
#include "base/result.h"
#include "broker/broker.h"
#include "net/http_machine.h"

namespace robustmq::admin {

using ApiAnswer = net::HttpResponse;
using ApiDone = Callback<void(ApiAnswer)>;

struct ApiRequest {
  net::HttpRequest http;
  std::map<std::string, std::string> parts;  // of the path, by the names in the route's pattern; decoded
};

ApiAnswer error_answer(const Error& error);  // {"code": "unknown_topic", "detail": "..."}
ApiAnswer error_answer(int status, std::string_view code, std::string_view detail);
// To a reply that is not the one asked for: its error, or an internal one.
ApiAnswer wrong_reply(const broker::Reply& reply);

// Of routes that answer a page: what `limit` is unless given, and its most.
constexpr int32_t kPageDefault = 100;
constexpr int32_t kPageMax = 1'000;

// What the routes reach; given by server. Callbacks may answer in a later turn.
struct ApiSeat {
  broker::Broker* broker = nullptr;
  broker::Context* context = nullptr;
  Callback<bool()> is_ready;
  Callback<void(Callback<void(std::string)>)> metrics_text;  // Prometheus text of all cores
  Callback<std::string()> options_json;                      // secrets hidden
  Callback<std::string()> message_id;                        // another one each time
  std::string api_key;
  AdminMetrics* metrics = nullptr;  // nullptr: nothing is counted
};

// One route. `pattern` has parts in braces: "/api/v1/topics/{name}".
struct Route {
  std::string_view method;
  std::string_view pattern;
  std::string_view summary;  // for the reference
  std::string_view body;     // what is sent, for the reference; empty: nothing
  std::string_view answers;  // for the reference
  void (*run)(ApiSeat& seat, ApiRequest request, ApiDone done);
  bool is_for_everybody = false;  // from other hosts too, without the key
};

// All routes, in the order of the reference.
const std::vector<Route>& routes();

// What to answer to who may not ask this, from the headers alone, so that no body is waited for. Counts what it refuses.
std::optional<ApiAnswer> refuse_by_head(ApiSeat& seat, const net::HttpRequest& head);

// Finds the route and runs it, where the asker may (admin/access.h). Unknown path: 404; known path, other method: 405.
void run_api(ApiSeat& seat, net::HttpRequest request, ApiDone done);

// docs/reference/http-api.md without its first line.
std::string http_reference();

}  // namespace robustmq::admin
