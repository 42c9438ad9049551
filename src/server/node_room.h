// What a node has on each core, and what it has on core 0 alone. Private to the room.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "broker/hall.h"
#include "net/stream.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "protocol/driver/listener.h"
#include "runtime/core.h"
#include "server/seats.h"
#include "storage/kv.h"
#include "storage/log.h"
#include "storage/memory/memory_log.h"

namespace robustmq::server {

// One listener on one core; null where it was left out.
using Doors = std::vector<std::unique_ptr<protocol::driver::Listener>>;

// Lives on its core. Members in the order they are made.
struct NodeRoom {
  NodeRoom(runtime::Core& core_in, std::unique_ptr<observe::LogSink> sink_in, observe::Level level, int64_t memory_bytes)
      : core(core_in), sink(std::move(sink_in)), log(*sink, level), streams(core_in), budget(memory_bytes), memory(budget) {}

  // What uses other cores' or the store's parts goes.
  void close() {
    doors.clear();
    seats.clear();
    hall.reset();
    remote.reset();
    rows.reset();
  }

  runtime::Core& core;
  std::unique_ptr<observe::LogSink> sink;
  observe::Log log;
  observe::Metrics metrics;
  net::Streams streams;
  storage::MemoryBudget budget;
  storage::MemoryEngine memory;
  std::unique_ptr<storage::Engine> remote;  // the segment engine as seen from here; core 0 uses it itself
  std::unique_ptr<storage::Kv> rows;        // the same of the rows
  std::unique_ptr<broker::Hall> hall;
  std::map<std::string, std::unique_ptr<ProtocolSeat>> seats;  // by the protocol's name
  uint64_t last_link_id = 0;                                   // of the connections of all doors
  Doors doors;                                                 // as the node's plans
};

}  // namespace robustmq::server
