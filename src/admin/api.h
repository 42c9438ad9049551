// The admin API as plain requests and answers: what a route sees, and the table of routes. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/callback.h"
#include "base/result.h"
#include "broker/broker.h"

namespace robustmq::admin {

struct ApiRequest {
  std::string method;                        // "GET"
  std::string path;                          // "/api/v1/topics/plant.line1", still percent-encoded
  std::map<std::string, std::string> query;  // decoded
  std::map<std::string, std::string> parts;  // of the path, by the names in the route's pattern; decoded
  std::string body;
};

struct ApiAnswer {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
};
using ApiDone = Callback<void(ApiAnswer)>;

ApiAnswer error_answer(const Error& error);  // {"code": "unknown_topic", "detail": "..."}
ApiAnswer error_answer(int status, std::string_view code, std::string_view detail);

// What the routes reach; given by server. Callbacks may answer in a later turn.
struct ApiSeat {
  broker::Broker* broker = nullptr;
  broker::Context* context = nullptr;
  Callback<bool()> is_ready;
  Callback<void(Callback<void(std::string)>)> metrics_text;  // Prometheus text of all cores
  Callback<std::string()> options_json;                      // secrets hidden
  std::string version;
};

// One route. `pattern` has parts in braces: "/api/v1/topics/{name}".
struct Route {
  std::string_view method;
  std::string_view pattern;
  std::string_view summary;  // for the reference
  std::string_view body;     // what is sent, for the reference; empty: nothing
  std::string_view answers;  // for the reference
  void (*run)(ApiSeat& seat, ApiRequest request, ApiDone done);
};

// All routes, in the order of the reference.
const std::vector<Route>& routes();

// Finds the route and runs it. Unknown path: 404; known path, other method: 405.
void run_api(ApiSeat& seat, ApiRequest request, ApiDone done);

// Splits "/path?a=b" into path and decoded query. False when an escape is malformed.
bool parse_target(std::string_view target, std::string& path, std::map<std::string, std::string>& query);
// Percent-decoding; false when malformed.
bool percent_decode(std::string_view text, std::string& out, bool plus_is_space = false);

// docs/reference/http-api.md without its first line.
std::string http_reference();

}  // namespace robustmq::admin
