// Kafka loads at a rate, open loop: what a producer and a reader at the end of the log wait for, and a reader far behind them.
#pragma once

#include "tools/bench/measure.h"

namespace robustmq::bench {

// Batches of --batch_bytes with acks=all at --rate_mb MB/s over the partitions, one connection each, and a reader at the end of
// each. Each batch has a time at which it is due; p*_us count from then to its acknowledgement, end_to_end_p*_us to its arrival
// at the reader, however late it was sent.
Report run_kafka_live(const Options& options);

// Reads once what run_kafka_fill() left, from its beginning, a connection a partition, at most --rate_mb MB/s together (0: no
// limit), for at most --seconds. Never reads anything twice, so what was not in memory has to come from the disk.
Report run_kafka_catch_up(const Options& options);

}  // namespace robustmq::bench
