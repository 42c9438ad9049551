// The load of `mqtt-topics`: light topics made by publishing.
#pragma once

#include "tools/bench/measure.h"

namespace robustmq::bench {

// Publishes one message at QoS 1 to each of `topics` new names below `topic`, over `publishers` connections with at most `window`
// of each unacknowledged, until all are acknowledged or `seconds` are over. Reports CPU and memory of the broker a topic.
Report run_mqtt_topics(const Options& options);

}  // namespace robustmq::bench
