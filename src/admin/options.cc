// /api/v1/options: what the node runs with.
#include "admin/nouns.h"

namespace robustmq::admin {

namespace {

void options(ApiSeat& seat, ApiRequest, ApiDone done) { done({200, "application/json", seat.options_json() + "\n", {}}); }

}  // namespace

void append_options_routes(std::vector<Route>& to) {
  to.push_back({"GET", "/api/v1/options", "The options the node runs with; secrets read `***`.", "",
                "200 with the tree of [options.md](options.md).", options});
}

}  // namespace robustmq::admin
