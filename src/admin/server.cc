#include "admin/server.h"

namespace robustmq::admin {

AdminServer::AdminServer(net::Streams& streams, ApiSeat seat, const AdminOptions& options)
    : seat_(std::move(seat)),
      http_(streams, {.request = {.body_bytes_max = options.body_bytes_max}},
            [this](net::HttpRequest request, net::HttpAnswer answer) {
              run_api(seat_, std::move(request),
                      [answer = std::move(answer)](ApiAnswer response) mutable { answer(std::move(response)); });
            }) {
  seat_.context = &context_;
  seat_.api_key = options.api_key;
  http_.set_refuse([this](const net::HttpRequest& head) { return refuse_by_head(seat_, head); });
}

AdminServer::~AdminServer() {
  if (seat_.broker) seat_.broker->close(context_);
}

}  // namespace robustmq::admin
