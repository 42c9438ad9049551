#include "admin/api.h"

#include <fmt/core.h>

#include <iterator>
#include <nlohmann/json.hpp>

#include "admin/nouns.h"

namespace robustmq::admin {

ApiAnswer error_answer(int status, std::string_view code, std::string_view detail) {
  ApiAnswer answer;
  answer.status = status;
  const nlohmann::ordered_json body = {{"code", code}, {"detail", detail}};
  answer.body = body.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  return answer;
}

ApiAnswer wrong_reply(const broker::Reply& reply) {
  if (const Error* error = std::get_if<Error>(&reply)) return error_answer(*error);
  return error_answer(Error{Code::internal, "an unexpected reply"});
}
ApiAnswer error_answer(const Error& error) {
  const std::string_view text = code_text(error.code);
  return error_answer(http_status_of(error.code), code_name(error.code),
                      error.detail.empty() ? text : std::string_view(error.detail));
}

const std::vector<Route>& routes() {
  static const std::vector<Route> all = [] {
    std::vector<Route> list;
    append_health_routes(list);
    append_metrics_routes(list);
    append_topics_routes(list);
    append_queues_routes(list);
    append_messages_routes(list);
    append_clients_routes(list);
    append_options_routes(list);
    append_publish_routes(list);
    return list;
  }();
  return all;
}

namespace {

// Segment by segment; parts in braces take one whole segment that is not empty.
bool match(std::string_view pattern, const std::vector<std::string>& segments, std::map<std::string, std::string>& parts) {
  for (const std::string& have : segments) {
    if (!pattern.starts_with('/')) return false;
    pattern.remove_prefix(1);
    const std::string_view want = pattern.substr(0, pattern.find('/'));
    pattern.remove_prefix(want.size());
    if (want.starts_with('{')) {
      if (have.empty()) return false;
      parts[std::string(want.substr(1, want.size() - 2))] = have;
    } else if (want != have) {
      return false;
    }
  }
  return pattern.empty();
}

bool answers(const Route& route, const net::HttpRequest& request) {
  // A HEAD is answered like a GET; the server leaves the body out.
  return route.method == request.method || (route.method == "GET" && request.method == "HEAD");
}

}  // namespace

std::optional<ApiAnswer> refuse_by_head(ApiSeat& seat, const net::HttpRequest& head) {
  std::optional<ApiAnswer> refusal = refuse_access(head, seat.api_key);
  if (!refusal) return std::nullopt;
  for (const Route& route : routes()) {
    std::map<std::string, std::string> parts;
    if (route.is_for_everybody && answers(route, head) && match(route.pattern, head.segments, parts)) return std::nullopt;
  }
  if (seat.metrics) {
    ++seat.metrics->requests_total;
    ++seat.metrics->requests_refused_access_total;
  }
  return refusal;
}

void run_api(ApiSeat& seat, net::HttpRequest request, ApiDone done) {
  if (seat.metrics) ++seat.metrics->requests_total;
  std::optional<ApiAnswer> refusal = refuse_access(request, seat.api_key);
  std::string allowed;
  for (const Route& route : routes()) {
    std::map<std::string, std::string> parts;
    if (!match(route.pattern, request.segments, parts)) continue;
    if (!answers(route, request)) {
      allowed += (allowed.empty() ? "" : ", ") + std::string(route.method);
      continue;
    }
    if (refusal && !route.is_for_everybody) break;
    return route.run(seat, {std::move(request), std::move(parts)}, std::move(done));
  }
  if (refusal) {
    if (seat.metrics) ++seat.metrics->requests_refused_access_total;
    return done(std::move(*refusal));
  }
  if (!allowed.empty()) {
    return done(
        error_answer(405, "invalid_argument", fmt::format("{} is not allowed here; allowed is {}", request.method, allowed)));
  }
  done(error_answer(404, "not_found",
                    fmt::format("there is nothing at {}; docs/reference/http-api.md lists what is", request.path)));
}

std::string http_reference() {
  std::string out =
      "# HTTP API\n\nOn the admin port (`admin.listen`). Bodies are JSON. An error is answered with its HTTP status and\n"
      "`{\"code\": ..., \"detail\": ...}`; the codes are those of [errors.md](errors.md).\n\n"
      "Requests of other hosts, and those of web pages (with `Origin`), need the key of `admin.api_key` (`Authorization: Bearer "
      "KEY`, "
      "or Basic), but for health and metrics: without it 401 `not_authorised`, or 403 where no key is set.\n";
  for (const Route& route : routes()) {
    fmt::format_to(std::back_inserter(out), "\n## {} {}\n\n{}\n", route.method, route.pattern, route.summary);
    if (!route.body.empty()) fmt::format_to(std::back_inserter(out), "\nBody:\n\n```json\n{}\n```\n", route.body);
    fmt::format_to(std::back_inserter(out), "\nAnswers {}\n", route.answers);
  }
  return out;
}

}  // namespace robustmq::admin
