// Who may use the admin API: whoever asks from this host, and from other hosts whoever shows the key. Pure.
//
// Without a key other hosts see health and metrics alone. A browser names the page that makes it ask (Origin), and the host it
// believes to ask (Host): a request of a page, or to another name than localhost or an address, needs the key from this host too,
// so that no page a user of this host looks at can use the API, not even one whose name was made to lead here (DNS rebinding).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/describe.h"
#include "net/http_machine.h"

namespace robustmq::admin {

struct AdminOptions {
  std::string api_key;
  uint64_t body_bytes_max = 4 << 20;

  template <class V>
  static void describe(V& v) {
    using O = AdminOptions;
    v.field(
        "api_key", &O::api_key,
        {.doc = "What requests of other hosts have to show, as `Authorization: Bearer KEY`, or with Basic where the key reads "
                "name:secret. Empty: other hosts are refused everything but health and metrics.",
         .secret = true});
    v.field("body_bytes_max", &O::body_bytes_max,
            {.doc = "Longest body of a request.", .unit = "bytes", .min = 1024, .max = 256 << 20});
  }
};

// Counted on core 0, where the API is.
struct AdminMetrics {
  uint64_t requests_total = 0;
  uint64_t requests_refused_access_total = 0;
  uint64_t messages_published_total = 0;

  template <class V>
  static void describe(V& v) {
    using M = AdminMetrics;
    v.field("requests_total", &M::requests_total, {.doc = "Requests to the admin API, health and metrics among them."});
    v.field("requests_refused_access_total", &M::requests_refused_access_total,
            {.doc = "Requests refused because they came from another host, or a web page, without the key."});
    v.field("messages_published_total", &M::messages_published_total, {.doc = "Messages handed in by HTTP."});
  }
};

// nullopt: go on. Otherwise what to answer: 401 where a key would do, 403 where none is set.
std::optional<net::HttpResponse> refuse_access(const net::HttpRequest& request, std::string_view key);

}  // namespace robustmq::admin
