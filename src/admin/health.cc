// /health: whether the process lives, and whether it serves.
#include "admin/nouns.h"

namespace robustmq::admin {

namespace {

void live(ApiSeat&, ApiRequest, ApiDone done) { done({200, "application/json", "{\"status\":\"live\"}\n", {}}); }

void ready(ApiSeat& seat, ApiRequest, ApiDone done) {
  if (seat.is_ready()) return done({200, "application/json", "{\"status\":\"ready\"}\n", {}});
  done({503, "application/json", "{\"status\":\"not ready\"}\n", {}});
}

}  // namespace

void append_health_routes(std::vector<Route>& to) {
  to.push_back({"GET", "/health/live", "The process runs.", "", "200 `{\"status\":\"live\"}`.", live, true});
  to.push_back({"GET", "/health/ready", "The node serves: storage recovered, listeners open, no failed disk.", "",
                "200 `{\"status\":\"ready\"}`, or 503 while it starts, stops or after its disk failed.", ready, true});
}

}  // namespace robustmq::admin
