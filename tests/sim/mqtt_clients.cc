#include "tests/sim/mqtt_clients.h"

namespace robustmq::sim {

void MqttClient::on_connected() {
  mqtt::Connect connect;
  connect.version = mqtt::Version::v3_1_1;
  connect.keep_alive_s = 60;
  connect.client_id = id_;
  Buffer out;
  mqtt::encode(connect, out);
  send(out.take());
}

size_t MqttClient::on_bytes(const Bytes& bytes) {
  size_t taken = 0;
  mqtt::Frame frame;
  while (is_connected() && mqtt::frame_at(bytes.span().subspan(taken), frame) == mqtt::FrameState::whole) {
    taken += frame.size;
    if (frame.type != mqtt::PacketType::connack) {
      on_packet(frame);
      continue;
    }
    mqtt::Connack connack;
    if (mqtt::decode_connack(frame, mqtt::Version::v3_1_1, connack) || connack.code != 0) {
      drop();
      break;
    }
    is_open_ = true;
    on_open();
  }
  return taken;
}

void MqttPublisher::pump() {
  while (is_open_ && number_ < wanted_ && in_flight_.size() < kWindow) {
    const std::string message = History::message(id_, ++number_);
    do packet_id_ = packet_id_ == UINT16_MAX ? 1 : packet_id_ + 1;
    while (in_flight_.contains(packet_id_));
    in_flight_.emplace(packet_id_, message);
    history_.sent(message);
    mqtt::Publish publish;
    publish.qos = 1;
    publish.packet_id = packet_id_;
    publish.topic = topic_;
    publish.payload = as_bytes(message);
    Buffer out;
    mqtt::encode(publish, mqtt::Version::v3_1_1, out);
    send(out.take());
  }
}

void MqttPublisher::on_packet(const mqtt::Frame& frame) {
  mqtt::Ack ack;
  if (frame.type != mqtt::PacketType::puback || mqtt::decode_ack(frame, mqtt::Version::v3_1_1, ack)) return drop();
  const auto found = in_flight_.find(ack.packet_id);
  if (found == in_flight_.end()) return drop();
  history_.acknowledged(found->second);
  ++acknowledged_;
  in_flight_.erase(found);
  pump();
}

void MqttFollower::on_open() {
  Buffer filters;
  mqtt::put_subscription(filters, {.filter = filter_, .qos = 1}, mqtt::Version::v3_1_1);
  mqtt::Subscribe subscribe;
  subscribe.packet_id = 1;
  subscribe.subscriptions = filters.span();
  Buffer out;
  mqtt::encode(subscribe, mqtt::Version::v3_1_1, out);
  send(out.take());
}

void MqttFollower::on_packet(const mqtt::Frame& frame) {
  if (frame.type == mqtt::PacketType::suback) {
    is_subscribed_ = true;
    return;
  }
  mqtt::Publish publish;
  if (frame.type != mqtt::PacketType::publish || mqtt::decode_publish(frame, mqtt::Version::v3_1_1, mqtt::Side::server, publish))
    return drop();
  history_.delivered(std::string(as_text(publish.payload)));
  ++delivered_;
  if (publish.qos == 0) return;
  Buffer out;
  mqtt::encode(mqtt::Ack{mqtt::PacketType::puback, publish.packet_id, mqtt::ReasonCode::success, {}}, mqtt::Version::v3_1_1, out);
  send(out.take());
}

}  // namespace robustmq::sim
