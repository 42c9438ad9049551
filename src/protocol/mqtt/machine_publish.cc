// Machine: PUBLISHes of an open connection's client, and their acknowledgements (MQTT5 3.3, 3.4, 4.3). Pure.
#include <algorithm>

#include "base/topic_names.h"
#include "protocol/mqtt/errors.h"
#include "protocol/mqtt/machine.h"
#include "protocol/mqtt/names.h"

namespace robustmq::mqtt {
namespace {

AckOrder::Kind kind_of(uint8_t qos) { return qos == 2 ? AckOrder::Kind::qos2 : AckOrder::Kind::qos1; }

}  // namespace

void Machine::on_publish(const Frame& frame, Outbox& out) {
  Publish publish;
  if (const Fault fault = decode_publish(frame, version_, Side::client, publish)) {
    fail(fault, out);
    return;
  }
  // The same as the last one's, which was looked at: publishers repeat themselves.
  const bool is_same_topic = !building_.messages.empty() && building_.messages.back().topic == publish.topic;
  if (!check_publish(publish, is_same_topic, out)) return;
  ++metrics_->publishes_received_total;
  if (publish.qos > 0 && !take_inbound_id(publish, out)) return;
  const bool is_servers_own = publish.topic[0] == '$' && !publish.topic.starts_with("$delayed/");
  const bool is_too_long = is_mounted() && publish.topic.size() + facts_->mountpoint.size() > kTopicNameBytes;
  if (!is_same_topic && (is_servers_own || is_too_long || topic_levels(publish.topic) > options_->topic_levels_max)) {
    refuse_publish(publish, Code::invalid_topic);
    return;
  }
  hand_on(publish, out);
}

// False: the connection has ended over it.
bool Machine::check_publish(Publish& publish, bool is_same_topic, Outbox& out) {
  const auto refused = [&](ReasonCode reason, const char* why) {
    ++metrics_->features_refused_total;
    end(CloseWhy::not_supported, why, out, reason);
    return false;
  };
  const auto broken = [&](ReasonCode reason, const char* why) {
    fail({reason, why}, out);
    return false;
  };
  if (publish.qos > options_->qos_max) return refused(ReasonCode::qos_not_supported, "a QoS over the maximum");
  if (publish.retain && !options_->retain_available)
    return refused(ReasonCode::retain_not_supported, "retained messages are not supported");
  if (is_v5() && publish.properties.present != 0) {
    if (publish.properties.has(PropertyId::response_topic) &&
        !is_valid_topic_name(publish.properties.text(PropertyId::response_topic))) {
      return broken(ReasonCode::protocol_error, "the response topic is no topic name");  // MQTT5 3.3.2.3.5
    }
  }
  const bool has_alias = publish.properties.has(PropertyId::topic_alias);
  if (!is_same_topic && !publish.topic.empty() && !is_valid_topic_name(publish.topic))
    return broken(ReasonCode::topic_name_invalid, "the topic is no topic name");
  if (has_alias) {
    if (const Fault fault = resolve_alias(publish)) return broken(fault.reason, fault.why);
  }
  if (publish.topic.empty()) return broken(ReasonCode::protocol_error, "a PUBLISH without a topic");
  return true;
}

// Binds the alias where the topic is given, and gives the topic where it is not (MQTT5 3.3.2.3.4).
Fault Machine::resolve_alias(Publish& publish) {
  const auto alias = static_cast<uint16_t>(publish.properties.number(PropertyId::topic_alias));
  if (alias == 0 || alias > options_->topic_alias_max)
    return {ReasonCode::topic_alias_invalid, "a topic alias of 0 or over the maximum"};
  Inbound& in = inbound();
  if (publish.topic.empty()) {
    if (in.aliases) publish.topic = in.aliases->topic_of(alias);
    return publish.topic.empty() ? Fault{ReasonCode::protocol_error, "a topic alias that stands for nothing"} : Fault{};
  }
  if (!in.aliases) in.aliases = std::make_unique<AliasesIn>();
  Bytes before = in.aliases->bind(alias, publish.topic);
  if (!before.empty()) in.held.push_back(std::move(before));
  return {};
}

// Counts a PUBLISH of QoS 1 or 2 against the Receive Maximum. False: it is dealt with, or the connection has ended over it.
bool Machine::take_inbound_id(const Publish& publish, Outbox& out) {
  Inbound& in = inbound();
  const Received state = in.qos2 ? in.qos2->ids.get(publish.packet_id) : Received::none;
  if (state != Received::none) {
    ++metrics_->publishes_again_total;
    if (publish.qos == 2) {  // MQTT5 4.3.3-10
      in.acks.push_answered(publish.packet_id, AckOrder::Kind::again, Code::ok);
      return false;
    }
    if (is_v5()) {
      send_ack(PacketType::puback, publish.packet_id, ReasonCode::packet_identifier_in_use, out);
    } else {
      fail({ReasonCode::protocol_error, "a PUBLISH of QoS 1 with the packet id of one of QoS 2"}, out);
    }
    return false;
  }
  // An older client does not know the limit; it is read no further while too many wait for their answers.
  if (is_v5() && in.under_way >= options_->receive_maximum) {
    fail({ReasonCode::receive_maximum_exceeded, "more PUBLISHes under way than the Receive Maximum"}, out);
    return false;
  }
  ++in.under_way;
  if (publish.qos == 2) inbound_qos2().ids.set(publish.packet_id, Received::asked);
  return true;
}

// A PUBLISH that is not asked for: 5.0 says so in the answer; before, only QoS 0 can be passed over.
void Machine::refuse_publish(const Publish& publish, Code code) {
  if (publish.qos > 0) {
    inbound_->acks.push_answered(publish.packet_id, kind_of(publish.qos), code);
  } else {
    ++metrics_->publishes_failed_total;
  }
}

void Machine::hand_on(const Publish& publish, Outbox& out) {
  if (building_.messages.empty()) {
    const size_t guess = turn_bytes_left_ / (publish.topic.size() + publish.payload.size() + 4) + 1;
    building_.messages.reserve(guess < options_->publish_batch_messages ? guess : options_->publish_batch_messages);
  }
  broker::Message& message = building_.messages.emplace_back();
  message.topic = publish.topic;
  if (is_mounted()) {
    Inbound& in = inbound();
    const std::string topic = mounted(facts_->mountpoint, publish.topic);
    message.topic = as_text(in.held.emplace_back(Bytes::copy_of(as_bytes(topic))).span());
  }
  message.payload = publish.payload;
  message.wants_reply = publish.qos > 0;
  message.qos = publish.qos;
  message.retain = publish.retain;
  if (publish.qos == 2 && is_durable_) {
    message.packet_id = publish.packet_id;
    message.is_repeat = publish.dup;
  }
  if (publish.properties.raw.empty() && !publish.retain) {
    message.raw_headers = plain_headers(publish.qos);
    message.header_count = 1;
  } else {
    message.expiry_s = expiry_of(publish.properties);
    Inbound& in = inbound();
    // The memory of a request made earlier in this turn must stay where it is until that is executed.
    if (in.header_bytes == 0 && !in.headers.empty()) in.held.push_back(in.headers.take());
    message.header_count = append_headers(publish.qos, publish.retain, publish.properties, in.headers);
    // The buffer may still move; flush_publishes() gives the spans their place. Until then they have a size only.
    message.raw_headers = {static_cast<const uint8_t*>(nullptr), in.headers.size() - in.header_bytes};
    in.header_bytes = in.headers.size();
  }
  if (publish.qos > 0) {
    inbound_->acks.push(publish.packet_id, kind_of(publish.qos));
    ++building_replies_;
  }
  building_bytes_ += static_cast<uint32_t>(publish.payload.size() + publish.topic.size());
  if (building_.messages.size() >= options_->publish_batch_messages || building_bytes_ >= options_->publish_batch_bytes)
    flush_publishes(out);
}

void Machine::flush_publishes(Outbox& out) {
  if (building_.messages.empty()) return;
  if (inbound_ && inbound_->header_bytes > 0) {
    const uint8_t* at = inbound_->headers.data();
    for (broker::Message& message : building_.messages) {
      if (message.raw_headers.data() != nullptr) continue;
      message.raw_headers = {at, message.raw_headers.size()};
      at += message.raw_headers.size();
    }
    inbound_->header_bytes = 0;
  }
  const CallId id = out.call(std::move(building_));
  if (building_replies_ > 0) inbound_->acks.requested(id);
  building_.messages.clear();
  building_bytes_ = 0;
  building_replies_ = 0;
}

bool Machine::on_published(CallId id, const broker::Reply& reply, Outbox& out) {
  if (!inbound_) return false;
  bool is_known = false;
  if (const auto* published = std::get_if<broker::Published>(&reply)) {
    is_known = inbound_->acks.answer(id, *published);
  } else if (const auto* error = std::get_if<Error>(&reply)) {
    is_known = inbound_->acks.fail(id, error->code);
  }
  if (is_known) send_publish_acks(out);
  return is_known;
}

void Machine::send_publish_acks(Outbox& out) {
  for (AckOrder::Entry entry; state_ != State::closed && inbound_->acks.pop(entry);) {
    if (entry.kind == AckOrder::Kind::forgotten) continue;
    if (entry.kind == AckOrder::Kind::again) {
      // Its first one went before it. Where that failed, the id is free, and this one failed too.
      const Received state = inbound_->qos2->ids.get(entry.packet_id);
      if (state == Received::asked) continue;  // names the next message already, whose answer is on its way
      if (state == Received::none) entry.code = Code::internal;
    } else if (entry.kind == AckOrder::Kind::qos2 && entry.code == Code::ok) {
      inbound_->qos2->ids.set(entry.packet_id, Received::owned);
    } else {
      free_inbound_id(entry.packet_id, entry.kind);
    }
    if (entry.code != Code::ok) {
      ++metrics_->publishes_failed_total;
      if (!is_v5()) {
        // Before 5.0 there is no acknowledgement that says no, and one that says yes would be a lie (MQTT3 3.3.5).
        end(entry.code == Code::invalid_topic ? CloseWhy::not_supported : CloseWhy::over_limit, code_text(entry.code), out);
        return;
      }
    }
    send_publish_ack(entry, out);
  }
}

// The message of this id is over: it counts no more, and the id may name another.
void Machine::free_inbound_id(uint16_t packet_id, AckOrder::Kind kind) {
  Inbound& in = *inbound_;
  if (kind == AckOrder::Kind::qos2) {
    in.qos2->ids.set(packet_id, Received::none);
    std::vector<uint16_t>& restored = in.qos2->restored;
    const auto found = std::find(restored.begin(), restored.end(), packet_id);
    if (found != restored.end()) {
      *found = restored.back();
      restored.pop_back();
      return;
    }
  }
  --in.under_way;
}

void Machine::send_publish_ack(const AckOrder::Entry& entry, Outbox& out) {
  const PacketType type = entry.kind == AckOrder::Kind::qos1 ? PacketType::puback : PacketType::pubrec;
  ++(type == PacketType::puback ? metrics_->pubacks_sent_total : metrics_->pubrecs_sent_total);
  if (entry.code == Code::ok) {
    send_ack(type, entry.packet_id, entry.has_followers ? ReasonCode::success : ReasonCode::no_matching_subscribers, out);
    return;
  }
  Ack ack{.type = type, .packet_id = entry.packet_id, .reason = puback_reason_of(entry.code)};
  Buffer properties;
  if (wants_problems_) put_text(properties, PropertyId::reason_string, code_text(entry.code));
  ack.properties.raw = properties.span();
  if (send_if_fits(ack, out)) return;
  ack.properties.raw = {};  // MQTT5 3.4.2.2.2: the reason string is what gives way
  send_if_fits(ack, out);
}

// ---- PUBREL ----

void Machine::on_pubrel(const Ack& ack, Outbox& out) {
  // A PUBLISH that came again just before is answered first, while it is known what it was.
  if (inbound_) send_publish_acks(out);
  if (state_ != State::open) return;
  InboundQos2* in = inbound_ ? inbound_->qos2.get() : nullptr;
  switch (in ? in->ids.get(ack.packet_id) : Received::none) {
    case Received::none:
    case Received::asked:
      // Nothing to release; in 5.0 the client is told, and stays (MQTT5 3.7.2.1).
      ++metrics_->pubacks_stray_total;
      send_ack(PacketType::pubcomp, ack.packet_id, ReasonCode::packet_identifier_not_found, out);
      return;
    case Received::releasing:  // it came again, and is answered once
      return;
    case Received::owned:
      break;
  }
  ++metrics_->pubrels_received_total;
  if (is_durable_) {
    in->ids.set(ack.packet_id, Received::releasing);
    in->released.push_back(ack.packet_id);
    return;
  }
  free_released_id(ack.packet_id);
  send_ack(PacketType::pubcomp, ack.packet_id, ReasonCode::success, out);
}

// Who says PUBREL waits for no PUBREC any more, and one that came behind PUBCOMP would be taken for the next message's.
void Machine::free_released_id(uint16_t packet_id) {
  inbound_->acks.forget_again(packet_id);
  free_inbound_id(packet_id, AckOrder::Kind::qos2);
}

void Machine::flush_releases(Outbox& out) {
  InboundQos2& in = *inbound_->qos2;
  if (in.released.empty()) return;
  broker::Release release{in.released};
  in.releasing.push_back({out.call(std::move(release)), std::exchange(in.released, {})});
}

bool Machine::on_released(CallId id, const broker::Reply& reply, Outbox& out) {
  if (!inbound_ || !inbound_->qos2) return false;
  std::vector<InboundQos2::Releasing>& releasing = inbound_->qos2->releasing;
  for (size_t i = 0; i < releasing.size(); ++i) {
    if (releasing[i].call != id) continue;
    const std::vector<uint16_t> packet_ids = std::move(releasing[i].packet_ids);
    releasing.erase(releasing.begin() + static_cast<ptrdiff_t>(i));
    if (const auto* error = std::get_if<Error>(&reply)) {
      // Not released for good: the client says it again on its next connection.
      end(CloseWhy::over_limit, code_text(error->code), out, ReasonCode::unspecified_error);
      return true;
    }
    for (const uint16_t packet_id : packet_ids) {
      free_released_id(packet_id);
      send_ack(PacketType::pubcomp, packet_id, ReasonCode::success, out);
    }
    return true;
  }
  return false;
}

Machine::Inbound& Machine::inbound() {
  if (!inbound_) inbound_ = std::make_unique<Inbound>();
  return *inbound_;
}

Machine::InboundQos2& Machine::inbound_qos2() {
  Inbound& in = inbound();
  if (!in.qos2) in.qos2 = std::make_unique<InboundQos2>();
  return *in.qos2;
}

}  // namespace robustmq::mqtt
