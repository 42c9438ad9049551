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

// Makes the connections of one core's listener and takes over those that move to it.
class Connections final : public protocol::Connections {
 public:
  // Both outlive every connection that is made or joins.
  Connections(const MqttOptions& options, MqttMetrics& metrics) : options_(options), metrics_(metrics) {}
  std::unique_ptr<protocol::Connection> make(const protocol::LinkFacts& link) override;
  void leave(protocol::Connection& connection) override;
  void join(protocol::Connection& connection) override;

 private:
  const MqttOptions& options_;
  MqttMetrics& metrics_;
};

}  // namespace robustmq::mqtt
