// HTTP/1.1 messages and the machines that read them from bytes (RFC 9112): requests for the server, responses for the client.
// Chunked bodies are put together; trailers are read and dropped; Upgrade is ignored, as RFC 9110 7.8 allows. Pure.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace robustmq::net {

struct HttpHeader {
  std::string name;  // lower case in what was received
  std::string value;
};

struct HttpLimits {
  size_t header_bytes_max = 16 << 10;  // target, headers and trailers; each header counts 32 more
  size_t body_bytes_max = 1 << 20;
};

struct HttpRequest {
  std::string method = "GET";
  std::string path = "/";             // as sent: percent signs and all, without the query
  std::vector<std::string> segments;  // of the path, decoded: "/topics/a%2Fb" has "topics" and "a/b"
  std::string query;                  // as sent, without the question mark
  std::vector<HttpHeader> headers;
  std::string body;
  bool keep_alive = true;
  std::string peer_host;  // who asks; set by the server, empty where it is not known

  // The first value of a header (lower case); empty when it is not there.
  std::string_view header(std::string_view name) const;
  // The first value of a query parameter, decoded; `fallback` when it is not there.
  std::string parameter(std::string_view name, std::string_view fallback = {}) const;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<HttpHeader> headers;  // besides content-type, content-length and connection

  std::string_view header(std::string_view name) const;
};

// "%2F" becomes "/", and in a query "+" a space. False when a percent sign is not followed by two hexadecimal digits.
bool percent_decode(std::string_view text, bool plus_is_space, std::string* decoded);
std::string percent_encode(std::string_view text);  // all but unreserved characters (RFC 3986 2.3)

std::string_view http_reason(int status);
// The bytes of a response; without its body when it answers HEAD.
std::string encode_response(const HttpResponse& response, bool keep_alive, bool answers_head);
std::string encode_request(const HttpRequest& request, std::string_view host);

// Reads one request after another. Fed with what arrived; stops behind each request, until it was taken.
class HttpRequestMachine {
 public:
  enum class State : uint8_t { reading, complete, refused };

  explicit HttpRequestMachine(HttpLimits limits);
  ~HttpRequestMachine();

  // Returns how many bytes were consumed: all while reading; in the other states none.
  size_t feed(ByteSpan bytes);
  State state() const;
  bool has_begun() const;  // some bytes of the present request have arrived
  // The client waits for "100 Continue" before it sends the body; true once a request.
  bool take_wants_continue();
  // The headers are there and the body is not, so that it need not be waited for where the request is refused anyway. True once a
  // request; `head` is then the request without its body.
  bool take_head(HttpRequest* head);
  // Of a complete request; the machine then reads the next one.
  HttpRequest take();
  // Of a refused one: what to answer (400, 413, 431, 501 ...) before closing.
  HttpResponse refusal() const;

 private:
  struct Parser;
  std::unique_ptr<Parser> parser_;
};

// Reads one response.
class HttpResponseMachine {
 public:
  enum class State : uint8_t { reading, complete, failed };

  HttpResponseMachine(HttpLimits limits, bool answers_head);
  ~HttpResponseMachine();
  size_t feed(ByteSpan bytes);
  void finish();  // the peer ended: completes a response without a length
  State state() const;
  HttpResponse take();

 private:
  struct Parser;
  std::unique_ptr<Parser> parser_;
};

}  // namespace robustmq::net
