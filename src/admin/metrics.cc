// /metrics: all counters of all cores.
#include "admin/nouns.h"

namespace robustmq::admin {

namespace {

void metrics(ApiSeat& seat, ApiRequest, ApiDone done) {
  seat.metrics_text([done = std::move(done)](std::string text) mutable {
    done({200, "text/plain; version=0.0.4; charset=utf-8", std::move(text), {}});
  });
}

}  // namespace

void append_metrics_routes(std::vector<Route>& to) {
  to.push_back({"GET", "/metrics", "Metrics in the Prometheus text format; [metrics.md](metrics.md) lists them.", "",
                "200 with text.", metrics, true});
}

}  // namespace robustmq::admin
