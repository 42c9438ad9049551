// Simulated MQTT clients: one publishes with QoS 1 and a window, one follows.
#pragma once

#include <map>
#include <string>

#include "protocol/mqtt/codec.h"
#include "tests/sim/client.h"
#include "tests/sim/history.h"

namespace robustmq::sim {

// What both share: CONNECT (3.1.1, clean session), frames, packet ids.
class MqttClient : public Client {
 public:
  MqttClient(runtime::Core& core, runtime::Endpoint server, std::string id)
      : Client(core, std::move(server)), id_(std::move(id)) {}

 protected:
  void on_connected() override;
  size_t on_bytes(const Bytes& bytes) override;
  void on_lost() override { is_open_ = false; }
  virtual void on_open() = 0;
  virtual void on_packet(const mqtt::Frame& frame) = 0;

  std::string id_;
  bool is_open_ = false;
};

// Publishes numbered messages to its own topic `<prefix>/<id>`. A message whose link is lost before its PUBACK is never sent
// again: its outcome is unknown.
class MqttPublisher final : public MqttClient {
 public:
  MqttPublisher(runtime::Core& core, runtime::Endpoint server, std::string prefix, std::string id, History& history)
      : MqttClient(core, std::move(server), id), topic_(prefix + "/" + id), history_(history) {}
  void publish_more(int count) {
    wanted_ += static_cast<uint64_t>(count);
    pump();
  }
  uint64_t acknowledged() const { return acknowledged_; }

 private:
  static constexpr size_t kWindow = 5;
  void on_open() override { pump(); }
  void on_packet(const mqtt::Frame& frame) override;
  void on_lost() override {
    MqttClient::on_lost();
    in_flight_.clear();
  }
  void pump();

  std::string topic_;
  History& history_;
  uint64_t wanted_ = 0;
  uint64_t number_ = 0;
  uint64_t acknowledged_ = 0;
  uint16_t packet_id_ = 0;
  std::map<uint16_t, std::string> in_flight_;
};

// Follows a filter with QoS 1 and notes what it gets.
class MqttFollower final : public MqttClient {
 public:
  MqttFollower(runtime::Core& core, runtime::Endpoint server, std::string filter, std::string id, History& history)
      : MqttClient(core, std::move(server), std::move(id)), filter_(std::move(filter)), history_(history) {}
  uint64_t delivered() const { return delivered_; }
  bool is_subscribed() const { return is_subscribed_; }

 private:
  void on_open() override;
  void on_packet(const mqtt::Frame& frame) override;
  void on_lost() override {
    MqttClient::on_lost();
    is_subscribed_ = false;
  }

  std::string filter_;
  History& history_;
  uint64_t delivered_ = 0;
  bool is_subscribed_ = false;
};

}  // namespace robustmq::sim
