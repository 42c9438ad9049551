// The Kafka loads, against a broker or against the bare loop (bare_loop.h). One connection a partition, each with a topic's
// partition of its own. Produce sends the same 64 KiB batch again and again with acks=all; fetch reads what a fill before it
// stored. Both report CPU seconds of the broker per GB (1e9 bytes of record batches).
#pragma once

#include "tools/bench/measure.h"

namespace robustmq::bench {

Report run_kafka_produce(const Options& options, bool is_bare);
Report run_kafka_fetch(const Options& options, bool is_bare);

// Makes the topic and produces --fill_mib into it; it stays.
Report run_kafka_fill(const Options& options);

}  // namespace robustmq::bench
