// What the Kafka connections of one core share: the memory that requests may take, the fetch sessions, and how many share
// sessions there may be. Pure.
#pragma once

#include "protocol/kafka/fetch_sessions.h"
#include "protocol/kafka/options.h"
#include "protocol/kafka/share_sessions.h"

namespace robustmq::kafka {

struct CoreShare {
  // `cores`: of the node; its limits are split among them.
  CoreShare(const KafkaOptions& options, uint32_t cores, uint64_t seed)
      : budget(static_cast<uint64_t>(options.request_memory_bytes) / cores),
        fetch_sessions({.sessions_max = part(options.fetch_sessions_max, cores),
                        .partitions_max = part(options.fetch_session_partitions_max, cores),
                        .idle = Duration::millis(options.fetch_session_idle_ms)},
                       seed),
        share_sessions{part(options.share_sessions_max, cores), 0} {}

  RequestBudget budget;
  FetchSessions fetch_sessions;
  ShareSessionPlaces share_sessions;

 private:
  static size_t part(int32_t limit, uint32_t cores) { return (static_cast<size_t>(limit) + cores - 1) / cores; }
};

}  // namespace robustmq::kafka
