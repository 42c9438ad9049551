// NodeRun: one simulated life of a whole node from a seed: MQTT and Kafka clients at work, crashes and faults of disk and
// network, then healing, a demand for progress, and the judgement.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/sim/disk.h"
#include "runtime/sim/net.h"
#include "runtime/sim/world.h"
#include "server/node.h"
#include "tests/sim/history.h"
#include "tests/sim/kafka_clients.h"
#include "tests/sim/mqtt_clients.h"

namespace robustmq::sim {

struct RunOptions {
  uint64_t seed = 1;
  int rounds = 3;  // each ends with a crash
  bool unsafe_skip_sync = false;
  bool prints = false;  // tells what happens, with the node's log
};

struct RunResult {
  std::vector<std::string> problems;  // empty: all is well
  uint64_t trace_hash = 0;
  size_t sent = 0;
  size_t acknowledged = 0;
  int crashes = 0;
};

RunResult run_node(const RunOptions& options);

}  // namespace robustmq::sim
