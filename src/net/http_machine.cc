// The HTTP machines, on http_parser (see the header). Pure.
#include "net/http_machine.h"

#include <http_parser.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace robustmq::net {

namespace {

constexpr size_t kHeaderCost = 32;  // counted for each header besides its bytes: an empty one costs memory too

std::string_view first_value(const std::vector<HttpHeader>& headers, std::string_view name) {
  for (const HttpHeader& header : headers) {
    if (header.name == name) return header.value;
  }
  return {};
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Gathers what the parser tells, within limits.
struct Gathered {
  explicit Gathered(HttpLimits of) : limits(of) {}

  bool add_header_bytes(size_t count) {
    header_bytes += count;
    return header_bytes <= limits.header_bytes_max;
  }
  bool add_name(const char* at, size_t size) {
    if (!add_header_bytes(in_name ? size : size + kHeaderCost)) return false;
    if (!in_name) headers.emplace_back();
    in_name = true;
    for (size_t i = 0; i < size; ++i) {
      char c = at[i];
      headers.back().name.push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c);
    }
    return true;
  }
  bool add_value(const char* at, size_t size) {
    in_name = false;
    if (!add_header_bytes(size)) return false;
    // A value without a name is not what the parser gives.
    if (!headers.empty()) headers.back().value.append(at, size);
    return true;
  }
  bool add_body(const char* at, size_t size) {
    if (size > limits.body_bytes_max - body.size()) {
      is_body_too_large = true;
      return false;
    }
    body.append(at, size);
    return true;
  }
  bool is_over_header_limit() const { return header_bytes > limits.header_bytes_max; }

  HttpLimits limits;
  size_t header_bytes = 0;
  bool in_name = false;
  bool is_body_too_large = false;
  bool headers_done = false;
  bool is_complete = false;
  std::string url;
  std::vector<HttpHeader> headers;
  std::string body;
};

Gathered& gathered(http_parser* parser) { return *static_cast<Gathered*>(parser->data); }

// A callback that does not return 0 ends the parsing.
int outcome(bool ok) { return ok ? 0 : 1; }

http_parser_settings make_settings() {
  http_parser_settings settings;
  http_parser_settings_init(&settings);
  settings.on_url = [](http_parser* p, const char* at, size_t size) {
    if (!gathered(p).add_header_bytes(size)) return 1;
    gathered(p).url.append(at, size);
    return 0;
  };
  settings.on_status = [](http_parser* p, const char*, size_t size) { return outcome(gathered(p).add_header_bytes(size)); };
  settings.on_header_field = [](http_parser* p, const char* at, size_t size) {
    return gathered(p).headers_done ? outcome(gathered(p).add_header_bytes(size)) : outcome(gathered(p).add_name(at, size));
  };
  settings.on_header_value = [](http_parser* p, const char* at, size_t size) {
    return gathered(p).headers_done ? outcome(gathered(p).add_header_bytes(size)) : outcome(gathered(p).add_value(at, size));
  };
  settings.on_headers_complete = [](http_parser* p) {
    Gathered& message = gathered(p);
    message.headers_done = true;
    p->upgrade = 0;
    bool has_length = (p->flags & F_CHUNKED) == 0 && p->content_length != UINT64_MAX;
    message.is_body_too_large = has_length && p->content_length > message.limits.body_bytes_max;
    return message.is_body_too_large ? -1 : 0;  // 1 and 2 have meanings of their own
  };
  settings.on_body = [](http_parser* p, const char* at, size_t size) { return outcome(gathered(p).add_body(at, size)); };
  settings.on_message_complete = [](http_parser* p) {
    gathered(p).is_complete = true;
    http_parser_pause(p, 1);
    return 0;
  };
  return settings;
}

const http_parser_settings kSettings = make_settings();

// Path and query of a request target: origin form, absolute form, or "*" (RFC 9112 3.2).
bool split_target(const std::string& url, HttpRequest* request) {
  std::string_view target = url;
  if (target.starts_with("http://")) {
    size_t slash = target.find('/', 7);
    target = slash == std::string_view::npos ? "/" : target.substr(slash);
  }
  if (!target.starts_with('/') && target != "*") return false;
  target = target.substr(0, target.find('#'));
  size_t mark = target.find('?');
  request->path = std::string(target.substr(0, mark));
  request->query = mark == std::string_view::npos ? "" : std::string(target.substr(mark + 1));
  std::string_view path = request->path;
  for (size_t at = 1; at < path.size();) {
    size_t end = std::min(path.find('/', at), path.size());
    std::string segment;
    if (!percent_decode(path.substr(at, end - at), false, &segment)) return false;
    if (!segment.empty()) request->segments.push_back(std::move(segment));
    at = end + 1;
  }
  return true;
}

bool is_forbidden_in_header(char c) { return c == '\r' || c == '\n' || c == '\0'; }

void append_header(std::string* out, std::string_view name, std::string_view value) {
  out->append(name).append(": ");
  // What came from outside must not begin a line of its own.
  for (char c : value) out->push_back(is_forbidden_in_header(c) ? ' ' : c);
  out->append("\r\n");
}

}  // namespace

std::string_view HttpRequest::header(std::string_view name) const { return first_value(headers, name); }
std::string_view HttpResponse::header(std::string_view name) const { return first_value(headers, name); }

std::string HttpRequest::parameter(std::string_view name, std::string_view fallback) const {
  std::string_view rest = query;
  while (!rest.empty()) {
    std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(pair.size() + 1, rest.size()));
    size_t equals = pair.find('=');
    std::string key, value;
    if (!percent_decode(pair.substr(0, equals), true, &key) || key != name) continue;
    if (equals != std::string_view::npos && !percent_decode(pair.substr(equals + 1), true, &value)) continue;
    return value;
  }
  return std::string(fallback);
}

bool percent_decode(std::string_view text, bool plus_is_space, std::string* decoded) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      if (i + 2 >= text.size()) return false;
      int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
      if (high < 0 || low < 0) return false;
      decoded->push_back(static_cast<char>(high * 16 + low));
      i += 2;
    } else {
      decoded->push_back(text[i] == '+' && plus_is_space ? ' ' : text[i]);
    }
  }
  return true;
}

std::string percent_encode(std::string_view text) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string encoded;
  for (char c : text) {
    bool is_unreserved = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
                         c == '_' || c == '~';
    if (is_unreserved) {
      encoded.push_back(c);
    } else {
      auto byte = static_cast<uint8_t>(c);
      encoded += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return encoded;
}

std::string_view http_reason(int status) {
  switch (status) {
#define REASON(number, name, text) \
  case number:                     \
    return #text;
    HTTP_STATUS_MAP(REASON)
#undef REASON
    default:
      return "Unknown";
  }
}

std::string encode_response(const HttpResponse& response, bool keep_alive, bool answers_head) {
  std::string out = "HTTP/1.1 " + std::to_string(response.status) + " ";
  out.append(http_reason(response.status)).append("\r\n");
  bool has_body = response.status >= 200 && response.status != 204 && response.status != 304;
  if (has_body) {
    if (!response.content_type.empty()) append_header(&out, "content-type", response.content_type);
    append_header(&out, "content-length", std::to_string(response.body.size()));
  }
  for (const HttpHeader& header : response.headers) append_header(&out, header.name, header.value);
  append_header(&out, "connection", keep_alive ? "keep-alive" : "close");
  out.append("\r\n");
  if (has_body && !answers_head) out.append(response.body);
  return out;
}

std::string encode_request(const HttpRequest& request, std::string_view host) {
  std::string out = request.method + " " + request.path;
  if (!request.query.empty()) out.append("?").append(request.query);
  out.append(" HTTP/1.1\r\n");
  append_header(&out, "host", host);
  for (const HttpHeader& header : request.headers) append_header(&out, header.name, header.value);
  if (!request.body.empty() || (request.method != "GET" && request.method != "HEAD")) {
    append_header(&out, "content-length", std::to_string(request.body.size()));
  }
  append_header(&out, "connection", request.keep_alive ? "keep-alive" : "close");
  out.append("\r\n").append(request.body);
  return out;
}

// ---- requests ----

struct HttpRequestMachine::Parser {
  explicit Parser(HttpLimits limits) : message(limits) {
    http_parser_init(&parser, HTTP_REQUEST);
    parser.data = &message;
  }
  void refuse(int status, std::string text) {
    state = State::refused;
    refusal = {.status = status, .content_type = "text/plain", .body = std::move(text) + "\n"};
  }

  http_parser parser;
  Gathered message;
  State state = State::reading;
  // True once the headers are there, and right.
  bool read_head(HttpRequest* into) {
    if (parser.http_major != 1) {
      refuse(505, "HTTP/1.1 is spoken here");
      return false;
    }
    const auto& headers = message.headers;
    // RFC 9112 3.2: who looks at the first one and who looks at the last one would not agree on where the request goes.
    if (std::count_if(headers.begin(), headers.end(), [](const HttpHeader& header) { return header.name == "host"; }) > 1) {
      refuse(400, "a request has one Host header");
      return false;
    }
    into->method = http_method_str(static_cast<http_method>(parser.method));
    into->keep_alive = http_should_keep_alive(&parser) != 0;
    if (split_target(message.url, into)) return true;
    refuse(400, "the target of the request is malformed");
    return false;
  }

  bool has_begun = false;
  bool wants_continue = false;
  bool has_head = false;  // take_head() is due
  HttpRequest head;       // while it is
  HttpRequest request;
  HttpResponse refusal;
};

HttpRequestMachine::HttpRequestMachine(HttpLimits limits) : parser_(std::make_unique<Parser>(limits)) {}
HttpRequestMachine::~HttpRequestMachine() = default;

HttpRequestMachine::State HttpRequestMachine::state() const { return parser_->state; }
bool HttpRequestMachine::has_begun() const { return parser_->has_begun; }
bool HttpRequestMachine::take_wants_continue() { return std::exchange(parser_->wants_continue, false); }
HttpResponse HttpRequestMachine::refusal() const { return parser_->refusal; }

size_t HttpRequestMachine::feed(ByteSpan bytes) {
  Parser& at = *parser_;
  if (at.state != State::reading || bytes.empty()) return 0;
  at.has_begun = true;
  bool had_headers = at.message.headers_done;
  size_t used = http_parser_execute(&at.parser, &kSettings, reinterpret_cast<const char*>(bytes.data()), bytes.size());
  http_errno error = HTTP_PARSER_ERRNO(&at.parser);
  if (!at.message.is_complete && error != HPE_OK) {
    if (at.message.is_body_too_large)
      at.refuse(413, "the body is too large");
    else if (at.message.is_over_header_limit() || error == HPE_HEADER_OVERFLOW)
      at.refuse(431, "the headers are too large");
    else
      at.refuse(400, std::string("not HTTP: ") + http_errno_description(error));
    return used;
  }
  if (!at.message.is_complete) {
    if (had_headers || !at.message.headers_done) return used;
    at.head = {};
    if (!at.read_head(&at.head)) return used;
    at.head.headers = at.message.headers;
    at.has_head = true;
    const std::string_view expect = first_value(at.message.headers, "expect");
    at.wants_continue = expect == "100-continue" || expect == "100-Continue";
    return used;
  }
  at.request = {};
  if (!at.read_head(&at.request)) return used;
  at.request.headers = std::move(at.message.headers);
  at.request.body = std::move(at.message.body);
  at.has_head = false;
  at.head = {};
  at.state = State::complete;
  return used;
}

bool HttpRequestMachine::take_head(HttpRequest* head) {
  if (!std::exchange(parser_->has_head, false)) return false;
  *head = std::exchange(parser_->head, {});
  return true;
}

HttpRequest HttpRequestMachine::take() {
  Parser& at = *parser_;
  ROBUSTMQ_CHECK(at.state == State::complete, "no request is complete");
  HttpLimits limits = at.message.limits;
  at.message = Gathered(limits);
  http_parser_init(&at.parser, HTTP_REQUEST);
  at.parser.data = &at.message;
  at.state = State::reading;
  at.has_begun = false;
  at.wants_continue = false;
  return std::move(at.request);
}

// ---- responses ----

struct HttpResponseMachine::Parser {
  Parser(HttpLimits limits, bool head) : message(limits), answers_head(head) { begin(); }
  void begin() {
    http_parser_init(&parser, HTTP_RESPONSE);
    parser.data = &message;
    // http_parser knows of HEAD only by being told that there is no body.
    settings = kSettings;
    if (answers_head) {
      settings.on_headers_complete = [](http_parser* p) {
        gathered(p).headers_done = true;
        p->upgrade = 0;
        return 1;
      };
    }
  }

  http_parser parser;
  http_parser_settings settings;
  Gathered message;
  bool answers_head;
  State state = State::reading;
};

HttpResponseMachine::HttpResponseMachine(HttpLimits limits, bool answers_head)
    : parser_(std::make_unique<Parser>(limits, answers_head)) {}
HttpResponseMachine::~HttpResponseMachine() = default;

HttpResponseMachine::State HttpResponseMachine::state() const { return parser_->state; }

size_t HttpResponseMachine::feed(ByteSpan bytes) {
  Parser& at = *parser_;
  size_t used = 0;
  while (at.state == State::reading && used < bytes.size()) {
    used +=
        http_parser_execute(&at.parser, &at.settings, reinterpret_cast<const char*>(bytes.data()) + used, bytes.size() - used);
    if (at.message.is_complete && at.parser.status_code / 100 == 1) {
      HttpLimits limits = at.message.limits;
      at.message = Gathered(limits);
      at.begin();
    } else if (at.message.is_complete) {
      at.state = State::complete;
    } else if (HTTP_PARSER_ERRNO(&at.parser) != HPE_OK) {
      at.state = State::failed;
    }
  }
  return used;
}

void HttpResponseMachine::finish() {
  Parser& at = *parser_;
  if (at.state != State::reading) return;
  http_parser_execute(&at.parser, &at.settings, nullptr, 0);
  at.state = at.message.is_complete ? State::complete : State::failed;
}

HttpResponse HttpResponseMachine::take() {
  Parser& at = *parser_;
  HttpResponse response;
  response.status = static_cast<int>(at.parser.status_code);
  response.headers = std::move(at.message.headers);
  response.content_type = std::string(response.header("content-type"));
  response.body = std::move(at.message.body);
  return response;
}

}  // namespace robustmq::net
