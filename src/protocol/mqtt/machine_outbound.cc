// Machine: what an open connection's client gets (MQTT5 3.3.4, 4.3, 4.4, 4.6, 4.9). Pure.
#include "protocol/mqtt/machine.h"

namespace robustmq::mqtt {

void Machine::on_delivery(const broker::Delivery& delivery, Outbox& out) {
  if (!is_mounted()) return on_delivery_as_told(delivery, out);
  broker::Delivery told = delivery;
  told.topic = unmounted(facts_->mountpoint, delivery.topic);
  if (told.topic.empty() && !delivery.is_received) return pass_over_foreign(delivery, out);
  on_delivery_as_told(told, out);
}

// A message outside of the mountpoint: for another member of a shared subscription, otherwise nobody's.
void Machine::pass_over_foreign(const broker::Delivery& delivery, Outbox& out) {
  if (state_ != State::open) return;
  ++metrics_->dropped_foreign_total;
  if (delivery.lease == 0) return;
  outbound();
  settle(delivery.lease, broker::Settle::Outcome::refused);
  flush_calls(out);
}

// `delivery.topic` is the one that the client is told.
void Machine::on_delivery_as_told(const broker::Delivery& delivery, Outbox& out) {
  if (state_ != State::open) return;
  if (delivery.is_received) {  // of the message only the release is left to send
    outbound();
    ids_of(delivery.lease).set(delivery.lease, Sent::released);
    send_ack(PacketType::pubrel, delivery.lease, ReasonCode::success, out);
    return;
  }
  if (delivery.topic.empty() || delivery.topic.size() > 65535) {
    ++metrics_->dropped_bad_topic_total;
    if (delivery.lease) give_up(delivery.lease);
    flush_calls(out);
    return;
  }
  const RecordFacts facts = facts_of(delivery.record);
  uint32_t expiry_left_s = 0;
  if (facts.expiry_s) {
    const std::optional<uint32_t> left = expiry_left(*facts.expiry_s, delivery.record.timestamp_ms, out.wall_now().ms);
    // What was sent once is sent until it is acknowledged (MQTT5 4.3.3-7).
    if (!left && !delivery.is_again) {
      ++metrics_->dropped_expired_total;
      if (delivery.lease) give_up(delivery.lease);
      flush_calls(out);
      return;
    }
    expiry_left_s = left.value_or(0);
  }
  const uint8_t qos = delivery.qos_max < facts.qos ? delivery.qos_max : facts.qos;
  if (qos > 0) {
    deliver(delivery, facts, qos, expiry_left_s, out);
    return;
  }
  if (delivery.lease) {
    give_up(delivery.lease);
    flush_calls(out);
  }
  if (out.is_congested()) {
    ++metrics_->dropped_congested_total;
    return;
  }
  Outgoing message{.topic = delivery.topic,
                   .record = delivery.record,
                   .owner = delivery.owner,
                   .qos = 0,
                   .retain = is_sent_retained(delivery, facts),
                   .is_plain = facts.is_plain,
                   .expiry_left_s = expiry_left_s,
                   .subscription_ids = delivery.subscription_ids,
                   .scratch = scratch_of(delivery)};
  if (send_message(message, 0, out)) {
    ++metrics_->publishes_sent_total;
  } else {
    ++metrics_->dropped_too_large_total;
  }
}

void Machine::deliver(const broker::Delivery& delivery, const RecordFacts& facts, uint8_t qos, uint32_t expiry_left_s,
                      Outbox& out) {
  Outbound& to = outbound();
  const uint16_t id = to.waiting.empty() && can_take(out) ? take_id(delivery.lease, qos) : 0;
  if (id == 0) {
    queue(delivery, facts, qos, out);
    return;
  }
  Outgoing message{.topic = delivery.topic,
                   .record = delivery.record,
                   .owner = delivery.owner,
                   .qos = qos,
                   .retain = is_sent_retained(delivery, facts),
                   .dup = delivery.is_again,
                   .is_plain = facts.is_plain,
                   .expiry_left_s = expiry_left_s,
                   .subscription_ids = delivery.subscription_ids,
                   .scratch = scratch_of(delivery)};
  if (send_message(message, id, out)) {
    ++metrics_->publishes_sent_total;
    if (!delivery.is_retained) note_wait(delivery.topic, delivery.record.timestamp_ms, out);
    return;
  }
  // As if it had been delivered, but for a shared one, which others may have (MQTT5 3.1.2.11.4).
  free_id(id, broker::Settle::Outcome::refused);
  ++metrics_->dropped_too_large_total;
  if (!to.to_settle.empty()) flush_settles(out);
}

// A lease is its packet id.
uint16_t Machine::take_id(uint16_t lease, uint8_t qos) {
  const Sent state = qos == 2 ? Sent::qos2 : Sent::qos1;
  if (lease == 0) return outbound_->own.take(state);
  if (ids_of(lease).get(lease) != Sent::none) return 0;
  ids_of(lease).set(lease, state);
  return lease;
}

void Machine::free_id(uint16_t id, broker::Settle::Outcome outcome) {
  ids_of(id).free(id);
  if (is_lease(id)) settle(id, broker::Settle::Outcome::done);
  if (id >= broker::kSharedLeaseMin) settle(id, outcome);
}

// A leased delivery that the client can never have.
void Machine::give_up(uint16_t lease) {
  outbound();
  settle(lease, broker::Settle::Outcome::done);
}

void Machine::queue(const broker::Delivery& delivery, const RecordFacts& facts, uint8_t qos, Outbox& out) {
  WaitingMessage message = keep(delivery, facts, qos);
  Waiting& waiting = outbound_->waiting;
  // Leased ones are bounded by the broker.
  if (delivery.lease == 0 &&
      (waiting.size() >= options_->queue_messages_max || waiting.bytes() + message.size_bytes() > options_->queue_bytes_max)) {
    ++metrics_->slow_readers_total;
    ++metrics_->dropped_slow_reader_total;
    end(CloseWhy::slow_reader, "too many messages wait for the client", out, ReasonCode::quota_exceeded);
    return;
  }
  metrics_->queued_messages += 1;
  metrics_->queued_bytes += static_cast<int64_t>(message.size_bytes());
  waiting.push(std::move(message));
}

void Machine::send_waiting(Outbox& out) {
  Waiting& waiting = outbound_->waiting;
  while (!waiting.empty() && can_take(out)) {
    WaitingMessage& front = waiting.front();
    uint32_t expiry_left_s = 0;
    bool is_expired = false;
    if (front.expiry_s) {
      const std::optional<uint32_t> left = expiry_left(*front.expiry_s, front.record.timestamp_ms, out.wall_now().ms);
      is_expired = !left && !front.dup;
      expiry_left_s = left.value_or(0);
    }
    if (is_expired) {
      ++metrics_->dropped_expired_total;
      if (front.lease) give_up(front.lease);
    } else {
      const uint16_t id = take_id(front.lease, front.qos);
      if (id == 0) break;
      send_first_waiting(id, expiry_left_s, out);
    }
    metrics_->queued_messages -= 1;
    metrics_->queued_bytes -= static_cast<int64_t>(front.size_bytes());
    waiting.pop();
  }
  if (!outbound_->to_settle.empty()) flush_settles(out);
}

void Machine::send_first_waiting(uint16_t id, uint32_t expiry_left_s, Outbox& out) {
  const WaitingMessage& front = outbound_->waiting.front();
  Outgoing message{.topic = front.topic,
                   .record = front.record,
                   .owner = front.owner,
                   .qos = front.qos,
                   .retain = front.retain,
                   .dup = front.dup,
                   .is_plain = front.is_plain,
                   .expiry_left_s = expiry_left_s,
                   .subscription_ids = front.subscription_ids.empty() ? nullptr : &front.subscription_ids};
  if (send_message(message, id, out)) {
    ++metrics_->publishes_sent_total;
    note_wait(front.topic, front.record.timestamp_ms, out);
  } else {
    free_id(id, broker::Settle::Outcome::refused);
    ++metrics_->dropped_too_large_total;
  }
}

// Tells the broker of a message that waited long for this client, at most once a second.
void Machine::note_wait(std::string_view topic, int64_t timestamp_ms, Outbox& out) {
  if (options_->slow_ms_min == 0) return;
  constexpr Duration kTellEvery = Duration::seconds(1);
  Outbound& to = *outbound_;
  if (to.since_ms == 0) to.since_ms = out.wall_now().ms;
  const int64_t waited_ms = out.wall_now().ms - (timestamp_ms > to.since_ms ? timestamp_ms : to.since_ms);
  if (waited_ms < options_->slow_ms_min || out.now() - to.slow_told_at < kTellEvery) return;
  to.slow_told_at = out.now();
  out.call(broker::ReportSlow{.topic = std::string(topic), .waited_ms = waited_ms});
}

// An alias is bound by a packet that is sent, never by one that is dropped.
bool Machine::send_aliased(Outgoing& message, uint16_t packet_id, Outbox& out) {
  const AliasesOut::Choice choice = aliases_->choose(message.topic);
  const std::string_view topic = message.topic;
  message.alias = choice.alias;
  if (choice.is_bound) message.topic = topic.substr(0, 0);
  if (!send_publish(message, version_, packet_id, client_packet_max_, metrics_->headers_left_out_total, out)) return false;
  if (choice.alias != 0 && !choice.is_bound) aliases_->bind(topic, choice.alias);
  return true;
}

void Machine::drop_waiting() {
  if (!outbound_) return;
  metrics_->queued_messages -= static_cast<int64_t>(outbound_->waiting.size());
  metrics_->queued_bytes -= static_cast<int64_t>(outbound_->waiting.bytes());
  outbound_.reset();
}

Machine::Outbound& Machine::outbound() {
  if (!outbound_) outbound_ = std::make_unique<Outbound>(is_durable_ ? true : false);
  return *outbound_;
}

}  // namespace robustmq::mqtt
