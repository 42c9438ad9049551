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
    append_options_routes(list);
    return list;
  }();
  return all;
}

namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Matches segment by segment; parts in braces take one whole segment that is not empty.
bool match(std::string_view pattern, std::string_view path, std::map<std::string, std::string>& parts) {
  while (true) {
    const std::string_view want = pattern.substr(0, pattern.find('/'));
    const std::string_view have = path.substr(0, path.find('/'));
    if (want.starts_with('{')) {
      std::string decoded;
      if (have.empty() || !percent_decode(have, decoded)) return false;
      parts[std::string(want.substr(1, want.size() - 2))] = std::move(decoded);
    } else if (want != have) {
      return false;
    }
    const bool pattern_ends = want.size() == pattern.size();
    const bool path_ends = have.size() == path.size();
    if (pattern_ends || path_ends) return pattern_ends && path_ends;
    pattern.remove_prefix(want.size() + 1);
    path.remove_prefix(have.size() + 1);
  }
}

}  // namespace

bool percent_decode(std::string_view text, std::string& out, bool plus_is_space) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus_is_space) {
      out += ' ';
    } else if (text[i] != '%') {
      out += text[i];
    } else {
      if (i + 2 >= text.size()) return false;
      const int high = hex_digit(text[i + 1]);
      const int low = hex_digit(text[i + 2]);
      if (high < 0 || low < 0) return false;
      out += static_cast<char>(high * 16 + low);
      i += 2;
    }
  }
  return true;
}

bool parse_target(std::string_view target, std::string& path, std::map<std::string, std::string>& query) {
  const size_t question = target.find('?');
  path = target.substr(0, question);
  if (question == std::string_view::npos) return true;
  std::string_view rest = target.substr(question + 1);
  while (!rest.empty()) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(pair.size() + 1, rest.size()));
    const size_t equals = pair.find('=');
    std::string name;
    std::string value;
    if (!percent_decode(pair.substr(0, equals), name, true)) return false;
    if (equals != std::string_view::npos && !percent_decode(pair.substr(equals + 1), value, true)) return false;
    if (!name.empty()) query[std::move(name)] = std::move(value);
  }
  return true;
}

void run_api(ApiSeat& seat, ApiRequest request, ApiDone done) {
  std::string allowed;
  for (const Route& route : routes()) {
    std::map<std::string, std::string> parts;
    if (!match(route.pattern, request.path, parts)) continue;
    // A HEAD is answered like a GET; the server leaves the body out.
    if (route.method != request.method && !(route.method == "GET" && request.method == "HEAD")) {
      allowed += (allowed.empty() ? "" : ", ") + std::string(route.method);
      continue;
    }
    request.parts = std::move(parts);
    return route.run(seat, std::move(request), std::move(done));
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
      "`{\"code\": ..., \"detail\": ...}`; the codes are those of [errors.md](errors.md).\n";
  for (const Route& route : routes()) {
    fmt::format_to(std::back_inserter(out), "\n## {} {}\n\n{}\n", route.method, route.pattern, route.summary);
    if (!route.body.empty()) fmt::format_to(std::back_inserter(out), "\nBody:\n\n```json\n{}\n```\n", route.body);
    fmt::format_to(std::back_inserter(out), "\nAnswers {}\n", route.answers);
  }
  return out;
}

}  // namespace robustmq::admin
