// AdminServer: the HTTP listener in front of the routes. Lives on its core.
#pragma once

#include "admin/api.h"
#include "net/http.h"
#include "runtime/net.h"

namespace robustmq::admin {

class AdminServer {
 public:
  // `seat` without its context, which is the server's own. The broker outlives the server.
  AdminServer(net::Streams& streams, ApiSeat seat, const AdminOptions& options);
  ~AdminServer();

  Status listen(const runtime::Endpoint& at) { return http_.listen(at); }
  runtime::Endpoint local() const { return http_.local(); }
  void stop_listening() { http_.stop_listening(); }
  const net::HttpServerCounters& counters() const { return http_.counters(); }

 private:
  broker::Context context_;
  ApiSeat seat_;
  net::HttpServer http_;
};

}  // namespace robustmq::admin
