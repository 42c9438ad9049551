#include "admin/access.h"

#include <algorithm>

#include "admin/api.h"
#include "base/base64.h"
#include "runtime/hosts.h"

namespace robustmq::admin {
namespace {

// Takes as long however much of it is right.
bool is_same(std::string_view given, std::string_view key) {
  unsigned difference = given.size() == key.size() ? 0 : 1;
  for (size_t i = 0; i < given.size(); ++i)
    difference |= static_cast<unsigned char>(given[i]) ^ static_cast<unsigned char>(key[i % key.size()]);
  return difference == 0;
}

bool shows(std::string_view authorization, std::string_view key) {
  if (key.empty()) return false;
  const size_t space = authorization.find(' ');
  if (space == std::string_view::npos) return false;
  std::string scheme(authorization.substr(0, space));
  for (char& c : scheme) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
  std::string_view credentials = authorization.substr(space);
  while (credentials.starts_with(' ')) credentials.remove_prefix(1);
  if (scheme == "bearer") return is_same(credentials, key);
  if (scheme != "basic") return false;
  const std::optional<std::string> pair = bytes_of_base64(credentials);
  return pair && is_same(*pair, key);
}

// Whether a Host header is one that only a user of this host's own address writes: none, localhost, or an address. A name could
// be a stranger's, resolved to this host to get a browser in (DNS rebinding).
bool is_own_name(std::string_view host) {
  if (host.empty() || host.starts_with('[')) return true;
  host = host.substr(0, host.find(':'));
  if (host.find_first_not_of("0123456789.") == std::string_view::npos) return true;
  constexpr std::string_view kLocalhost = "localhost";
  return std::equal(host.begin(), host.end(), kLocalhost.begin(), kLocalhost.end(),
                    [](char c, char expected) { return (c >= 'A' && c <= 'Z' ? c | 0x20 : c) == expected; });
}

}  // namespace

std::optional<net::HttpResponse> refuse_access(const net::HttpRequest& request, std::string_view key) {
  const bool is_own = runtime::is_this_host(request.peer_host);
  if (is_own && request.header("origin").empty() && is_own_name(request.header("host"))) return std::nullopt;
  if (shows(request.header("authorization"), key)) return std::nullopt;
  if (key.empty()) {
    return error_answer(
        403, "not_authorised",
        "without admin.api_key the API is for this host alone: ask http://127.0.0.1 or http://localhost, not from a web page");
  }
  ApiAnswer answer = error_answer(401, "not_authorised", "the API key is needed: Authorization: Bearer KEY");
  answer.headers.push_back({"www-authenticate", "Basic realm=\"robustmq\""});
  return answer;
}

}  // namespace robustmq::admin
