// What the Kafka connections of one core share: the memory that requests may take, and the fetch sessions. Pure.
#pragma once

#include "protocol/kafka/fetch_sessions.h"
#include "protocol/kafka/options.h"

namespace robustmq::kafka {

struct CoreShare {
  // `cores`: of the node; its limits are split among them.
  CoreShare(const KafkaOptions& options, uint32_t cores, uint64_t seed)
      : budget(static_cast<uint64_t>(options.request_memory_bytes) / cores),
        fetch_sessions({.sessions_max = part(options.fetch_sessions_max, cores),
                        .partitions_max = part(options.fetch_session_partitions_max, cores),
                        .idle = Duration::millis(options.fetch_session_idle_ms)},
                       seed) {}

  RequestBudget budget;
  FetchSessions fetch_sessions;

 private:
  static size_t part(int32_t limit, uint32_t cores) { return (static_cast<size_t>(limit) + cores - 1) / cores; }
};

}  // namespace robustmq::kafka
