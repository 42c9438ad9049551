// Machine: what an open connection's client gets (MQTT5 3.3.4, 4.3, 4.9). Pure.
#include "protocol/mqtt/delivery.h"
#include "protocol/mqtt/machine.h"

namespace robustmq::mqtt {

void Machine::on_delivery(const broker::Delivery& delivery, Outbox& out) {
  if (state_ != State::open) return;
  if (delivery.topic.empty() || delivery.topic.size() > 65535) {
    ++metrics_->dropped_bad_topic_total;
    return;
  }
  const RecordFacts facts = facts_of(delivery.record);
  uint32_t expiry_left_s = 0;
  if (facts.expiry_s) {
    const std::optional<uint32_t> left = expiry_left(*facts.expiry_s, delivery.record.timestamp_ms, out.wall_now().ms);
    if (!left) {
      ++metrics_->dropped_expired_total;
      return;
    }
    expiry_left_s = *left;
  }
  if (delivery.qos_max > 0 && facts.qos > 0) {
    send_qos1(delivery, facts, expiry_left_s, out);
    return;
  }
  if (out.is_congested()) {
    ++metrics_->dropped_congested_total;
    return;
  }
  const Outgoing message{.topic = delivery.topic,
                         .record = delivery.record,
                         .owner = delivery.owner,
                         .qos = 0,
                         .retain = delivery.retain_as_published && facts.retain,
                         .is_plain = facts.is_plain,
                         .expiry_left_s = expiry_left_s,
                         .subscription_ids = delivery.subscription_ids,
                         .scratch = &delivery.scratch};
  if (send_publish(message, version_, 0, client_packet_max_, metrics_->headers_left_out_total, out)) {
    ++metrics_->publishes_sent_total;
  } else {
    ++metrics_->dropped_too_large_total;
  }
}

void Machine::send_qos1(const broker::Delivery& delivery, const RecordFacts& facts, uint32_t expiry_left_s, Outbox& out) {
  const bool must_wait = (waiting_ && !waiting_->empty()) || !can_take_qos1(out);
  const uint16_t id = must_wait ? 0 : ids_.take();
  if (id == 0) {
    queue(delivery, facts, out);
    return;
  }
  const Outgoing message{.topic = delivery.topic,
                         .record = delivery.record,
                         .owner = delivery.owner,
                         .qos = 1,
                         .retain = delivery.retain_as_published && facts.retain,
                         .is_plain = facts.is_plain,
                         .expiry_left_s = expiry_left_s,
                         .subscription_ids = delivery.subscription_ids,
                         .scratch = &delivery.scratch};
  if (send_publish(message, version_, id, client_packet_max_, metrics_->headers_left_out_total, out)) {
    ++metrics_->publishes_sent_total;
  } else {
    ids_.give_back(id);  // as if it had been delivered (MQTT5 3.1.2.11.4)
    ++metrics_->dropped_too_large_total;
  }
}

void Machine::queue(const broker::Delivery& delivery, const RecordFacts& facts, Outbox& out) {
  if (!waiting_) waiting_ = std::make_unique<Waiting>();
  WaitingMessage message = keep(delivery, facts);
  if (waiting_->size() >= options_->queue_messages_max || waiting_->bytes() + message.size_bytes() > options_->queue_bytes_max) {
    ++metrics_->slow_readers_total;
    ++metrics_->dropped_slow_reader_total;
    end(CloseWhy::slow_reader, "too many messages wait for the client", out, ReasonCode::quota_exceeded);
    return;
  }
  metrics_->queued_messages += 1;
  metrics_->queued_bytes += static_cast<int64_t>(message.size_bytes());
  waiting_->push(std::move(message));
}

void Machine::send_waiting(Outbox& out) {
  while (!waiting_->empty() && can_take_qos1(out)) {
    WaitingMessage& front = waiting_->front();
    uint32_t expiry_left_s = 0;
    bool is_expired = false;
    if (front.expiry_s) {
      const std::optional<uint32_t> left = expiry_left(*front.expiry_s, front.record.timestamp_ms, out.wall_now().ms);
      is_expired = !left;
      expiry_left_s = left.value_or(0);
    }
    if (is_expired) {
      ++metrics_->dropped_expired_total;
    } else {
      const uint16_t id = ids_.take();
      if (id == 0) return;
      const Outgoing message{.topic = front.topic,
                             .record = front.record,
                             .owner = front.owner,
                             .qos = 1,
                             .retain = front.retain,
                             .is_plain = front.is_plain,
                             .expiry_left_s = expiry_left_s,
                             .subscription_ids = front.subscription_ids.empty() ? nullptr : &front.subscription_ids};
      if (send_publish(message, version_, id, client_packet_max_, metrics_->headers_left_out_total, out)) {
        ++metrics_->publishes_sent_total;
      } else {
        ids_.give_back(id);
        ++metrics_->dropped_too_large_total;
      }
    }
    metrics_->queued_messages -= 1;
    metrics_->queued_bytes -= static_cast<int64_t>(front.size_bytes());
    waiting_->pop();
  }
}

void Machine::drop_waiting() {
  if (!waiting_) return;
  metrics_->queued_messages -= static_cast<int64_t>(waiting_->size());
  metrics_->queued_bytes -= static_cast<int64_t>(waiting_->bytes());
  waiting_.reset();
}

}  // namespace robustmq::mqtt
