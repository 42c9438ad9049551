// The routes by noun: one .cc file each. Private to the room.
#pragma once

#include <vector>

#include "admin/api.h"

namespace robustmq::admin {

void append_clients_routes(std::vector<Route>& to);
void append_health_routes(std::vector<Route>& to);
void append_messages_routes(std::vector<Route>& to);
void append_metrics_routes(std::vector<Route>& to);
void append_options_routes(std::vector<Route>& to);
void append_publish_routes(std::vector<Route>& to);
void append_queues_routes(std::vector<Route>& to);
void append_topics_routes(std::vector<Route>& to);

}  // namespace robustmq::admin
