// The MQTT loads. Each connects, warms up, measures, and reports; errors end the run.
#pragma once

#include "tools/bench/measure.h"

namespace robustmq::bench {

// Closed loop. Publisher i sends to a topic of its own (pairs) or all to one (fan-out with one publisher, fan-in with one
// subscriber); at most `window` messages a publisher are unacknowledged (QoS 1 and 2) or undelivered. Reports CPU per delivered
// message.
Report run_mqtt_pairs(const Options& options);
Report run_mqtt_fan_out(const Options& options);
Report run_mqtt_fan_in(const Options& options);
// The subscribers share one topic: each message goes to one of them.
Report run_mqtt_shared(const Options& options);
// The subscribers are stored sessions whose clients are away: counts what is acknowledged to the publishers. QoS 1 or 2.
Report run_mqtt_offline(const Options& options);

// Open loop over pairs: message k is due at start + k / rate, and its latency counts from then, whenever it was really sent.
Report run_mqtt_latency(const Options& options);

// Connections with one subscription each and nothing to do: kB of the broker's memory a connection.
Report run_mqtt_idle(const Options& options);
// Stored sessions with one subscription each, whose clients are away: kB of the broker's memory a session.
Report run_mqtt_sessions(const Options& options);

}  // namespace robustmq::bench
