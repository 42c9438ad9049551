// Runs a node in this process until it is told to stop.
#pragma once

#include "server/node.h"
#include "server/options.h"

namespace robustmq::server {

// Returns the exit code: 0 after a clean stop, 1 when the node could not start or failed.
int run_server(const ServerOptions& options, NodeSwitches switches);

}  // namespace robustmq::server
