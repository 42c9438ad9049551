// Seats: what the connections of one protocol share on one core: their options, what they count, their budgets. Not pure only by
// what it is made of; it decides nothing.
#pragma once

#include <memory>
#include <string>

#include "observe/metrics.h"
#include "protocol/connection.h"
#include "protocol/kafka/connection.h"
#include "protocol/mqtt/connection.h"
#include "server/options.h"

namespace robustmq::server {

// Lives on its core.
class ProtocolSeat {
 public:
  virtual ~ProtocolSeat() = default;
  virtual protocol::Connections& connections() = 0;
  virtual void add_metrics(observe::Metrics& to) const = 0;
};

class MqttSeat final : public ProtocolSeat {
 public:
  MqttSeat(const ServerOptions& options, CoreIndex) : connections_(options.mqtt, metrics_) {}
  protocol::Connections& connections() override { return connections_; }
  void add_metrics(observe::Metrics& to) const override { to.add("mqtt", metrics_); }

 private:
  mqtt::MqttMetrics metrics_;
  mqtt::Connections connections_;
};

class KafkaSeat final : public ProtocolSeat, private protocol::Connections {
 public:
  KafkaSeat(const ServerOptions& options, CoreIndex cores) : options_(options.kafka), cores_(cores) {}
  protocol::Connections& connections() override { return *this; }
  void add_metrics(observe::Metrics& to) const override { to.add("kafka", metrics_); }

 private:
  std::unique_ptr<protocol::Connection> make(const protocol::LinkFacts& link) override {
    // The first link brings the randomness that the session ids are drawn from.
    if (!share_) share_ = std::make_unique<kafka::CoreShare>(options_, cores_, link.seed);
    return kafka::make_connection(options_, metrics_, *share_, link);
  }

  const kafka::KafkaOptions& options_;
  kafka::KafkaMetrics metrics_;
  CoreIndex cores_;
  std::unique_ptr<kafka::CoreShare> share_;
};

}  // namespace robustmq::server
