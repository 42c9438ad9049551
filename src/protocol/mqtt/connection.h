// The server's side of one MQTT connection, as the driver gets it. Pure.
#pragma once

#include <memory>

#include "protocol/connection.h"
#include "protocol/mqtt/metrics.h"
#include "protocol/mqtt/options.h"

namespace robustmq::mqtt {

// `options` and `metrics` outlive the connection; both belong to its core.
std::unique_ptr<protocol::Connection> make_connection(const MqttOptions& options, MqttMetrics& metrics,
                                                      const protocol::LinkFacts& link);

}  // namespace robustmq::mqtt
