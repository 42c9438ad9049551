// The load of `kafka-share`: one share group (KIP-932) with many members, each a connection of its own.
#pragma once

#include "tools/bench/measure.h"

namespace robustmq::bench {

// Fills a topic of `partitions` with `records`, joins `members` to one group, and lets each fetch (ShareFetch), acknowledge what
// it got with its next fetch, and send heartbeats, until every record is acknowledged or `seconds` are over, which ends the run
// with an error. So does a record that is given to a member after its accept was answered. Reports records a second, the broker's
// CPU a record and its memory.
Report run_kafka_share(const Options& options);

}  // namespace robustmq::bench
