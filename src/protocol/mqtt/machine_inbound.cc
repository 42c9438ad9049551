// Machine: what an open connection's client sends (MQTT5 3.3, 3.4, 3.8, 3.10, 3.12, 3.14). Pure.
#include "base/topic_names.h"
#include "protocol/mqtt/errors.h"
#include "protocol/mqtt/machine.h"
#include "protocol/mqtt/names.h"

namespace robustmq::mqtt {
namespace {

constexpr std::string_view kShared = "$share/";

// `$share/group/filter` as MQTT5 4.8.2 wants it.
bool is_valid_shared(std::string_view filter) {
  filter.remove_prefix(kShared.size());
  const size_t slash = filter.find('/');
  if (slash == 0 || slash == std::string_view::npos) return false;
  return filter.substr(0, slash).find_first_of("+#") == std::string_view::npos && is_valid_topic_filter(filter.substr(slash + 1));
}

// Why a filter cannot be served; success when it can.
ReasonCode filter_fault(std::string_view filter, uint16_t levels_max) {
  if (filter.starts_with(kShared)) {
    return is_valid_shared(filter) ? ReasonCode::shared_subscriptions_not_supported : ReasonCode::topic_filter_invalid;
  }
  const bool is_good = filter != "$share" && is_valid_topic_filter(filter) && topic_levels(filter) <= levels_max;
  return is_good ? ReasonCode::success : ReasonCode::topic_filter_invalid;
}

char as_char(ReasonCode code) { return static_cast<char>(code); }

}  // namespace

void Machine::on_packet(const Frame& frame, Outbox& out) {
  switch (frame.type) {
    case PacketType::publish:
      on_publish(frame, out);
      return;
    case PacketType::puback:
    case PacketType::pubrec:
    case PacketType::pubrel:
    case PacketType::pubcomp:
      on_ack(frame, out);
      return;
    case PacketType::subscribe:
      on_subscribe(frame, out);
      return;
    case PacketType::unsubscribe:
      on_unsubscribe(frame, out);
      return;
    case PacketType::disconnect:
      on_disconnect(frame, out);
      return;
    case PacketType::pingreq:
      if (frame.flags != 0 || !frame.body.empty()) {
        fail({ReasonCode::malformed_packet, "a PINGREQ with flags or a body"}, out);
      } else {
        encode_pingresp(out.out());
      }
      return;
    case PacketType::connect:
      fail({ReasonCode::protocol_error, "a second CONNECT"}, out);
      return;
    case PacketType::auth: {
      // No connection has an authentication method here: with one, CONNECT is refused (MQTT5 4.12).
      Auth auth;
      const Fault fault = decode_auth(frame, version_, auth);
      fail(fault ? fault : Fault{ReasonCode::protocol_error, "an AUTH without an authentication method"}, out);
      return;
    }
    case PacketType::connack:
    case PacketType::suback:
    case PacketType::unsuback:
    case PacketType::pingresp:
      fail({ReasonCode::protocol_error, "a packet that only a server sends"}, out);
      return;
  }
}

// ---- PUBLISH ----

void Machine::on_publish(const Frame& frame, Outbox& out) {
  Publish publish;
  if (const Fault fault = decode_publish(frame, version_, Side::client, publish)) {
    fail(fault, out);
    return;
  }
  if (!check_publish(publish, out)) return;
  ++metrics_->publishes_received_total;
  if (publish.topic[0] == '$' || topic_levels(publish.topic) > options_->topic_levels_max) {
    refuse_publish(publish, Code::invalid_topic, out);
    return;
  }
  hand_on(publish, out);
}

// False: the connection has ended over it.
bool Machine::check_publish(const Publish& publish, Outbox& out) {
  const auto refused = [&](ReasonCode reason, const char* why) {
    ++metrics_->features_refused_total;
    end(CloseWhy::not_supported, why, out, reason);
    return false;
  };
  const auto broken = [&](ReasonCode reason, const char* why) {
    fail({reason, why}, out);
    return false;
  };
  if (publish.qos == 2) return refused(ReasonCode::qos_not_supported, "QoS 2 is not supported");
  if (publish.retain) return refused(ReasonCode::retain_not_supported, "retained messages are not supported");
  if (is_v5() && publish.properties.present != 0) {
    if (publish.properties.has(PropertyId::topic_alias))
      return broken(ReasonCode::topic_alias_invalid, "a topic alias over the maximum of 0");
    if (publish.properties.has(PropertyId::response_topic) &&
        !is_valid_topic_name(publish.properties.text(PropertyId::response_topic))) {
      return broken(ReasonCode::protocol_error, "the response topic is no topic name");  // MQTT5 3.3.2.3.5
    }
  }
  if (publish.topic.empty()) return broken(ReasonCode::protocol_error, "a PUBLISH without a topic");
  if (!is_valid_topic_name(publish.topic)) return broken(ReasonCode::topic_name_invalid, "the topic is no topic name");
  if (publish.qos > 0 && inbound_ && inbound_->acks.size() >= options_->receive_maximum) {
    return broken(ReasonCode::receive_maximum_exceeded, "more PUBLISHes under way than the Receive Maximum");
  }
  return true;
}

// A PUBLISH that is not asked for: 5.0 says so in the PUBACK; before, only QoS 0 can be passed over.
void Machine::refuse_publish(const Publish& publish, Code code, Outbox& out) {
  if (publish.qos > 0) {
    inbound().acks.push_refused(publish.packet_id, code);
    if (building_.messages.empty()) send_pubacks(out);
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
  message.payload = publish.payload;
  message.wants_reply = publish.qos > 0;
  if (publish.properties.raw.empty()) {
    message.raw_headers = plain_headers(publish.qos);
    message.header_count = 1;
  } else {
    Inbound& in = inbound();
    // The memory of a request made earlier in this turn must stay where it is until that is executed.
    if (in.header_bytes == 0 && !in.headers.empty()) in.held.push_back(in.headers.take());
    message.header_count = append_headers(publish.qos, publish.retain, publish.properties, in.headers);
    // The buffer may still move; flush_publishes() gives the spans their place. Until then they have a size only.
    message.raw_headers = {static_cast<const uint8_t*>(nullptr), in.headers.size() - in.header_bytes};
    in.header_bytes = in.headers.size();
  }
  if (publish.qos > 0) {
    inbound().acks.push(publish.packet_id);
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

void Machine::on_published(CallId id, broker::Reply& reply, Outbox& out) {
  if (!inbound_) return;
  bool is_known = false;
  if (const auto* published = std::get_if<broker::Published>(&reply)) {
    is_known = inbound_->acks.answer(id, *published);
  } else {
    const auto* error = std::get_if<Error>(&reply);
    is_known = inbound_->acks.fail(id, error ? error->code : Code::internal);
  }
  if (is_known) send_pubacks(out);
}

void Machine::send_pubacks(Outbox& out) {
  for (AckOrder::Entry entry; state_ != State::closed && inbound_->acks.pop(entry);) {
    if (entry.code != Code::ok) {
      ++metrics_->publishes_failed_total;
      if (!is_v5()) {
        // 3.1.1 has no PUBACK that says no, and one that says yes would be a lie (MQTT3 3.3.5).
        end(entry.code == Code::invalid_topic ? CloseWhy::not_supported : CloseWhy::over_limit, code_text(entry.code).data(),
            out);
        return;
      }
    }
    send_puback(entry, out);
  }
}

void Machine::send_puback(const AckOrder::Entry& entry, Outbox& out) {
  ++metrics_->pubacks_sent_total;
  if (!is_v5() || (entry.code == Code::ok && entry.has_followers)) {
    uint8_t* at = out.out().extend(4);
    at[0] = 0x40;
    at[1] = 2;
    at[2] = static_cast<uint8_t>(entry.packet_id >> 8);
    at[3] = static_cast<uint8_t>(entry.packet_id);
    return;
  }
  Ack ack{.type = PacketType::puback, .packet_id = entry.packet_id};
  ack.reason = entry.code == Code::ok ? ReasonCode::no_matching_subscribers : puback_reason_of(entry.code);
  Buffer properties;
  if (is_failure(ack.reason) && wants_problems_) put_text(properties, PropertyId::reason_string, code_text(entry.code));
  ack.properties.raw = properties.span();
  if (send_if_fits(ack, out)) return;
  ack.properties.raw = {};  // MQTT5 3.4.2.2.2: the reason string is what gives way
  send_if_fits(ack, out);
}

Machine::Inbound& Machine::inbound() {
  if (!inbound_) inbound_ = std::make_unique<Inbound>();
  return *inbound_;
}

// ---- acknowledgements ----

void Machine::on_ack(const Frame& frame, Outbox& out) {
  Ack ack;
  if (const Fault fault = decode_ack(frame, version_, ack)) {
    fail(fault, out);
    return;
  }
  if (ack.type == PacketType::puback) {
    // Whatever its reason, the message is the client's now (MQTT5 4.4).
    if (ids_.give_back(ack.packet_id)) {
      ++metrics_->pubacks_received_total;
    } else {
      ++metrics_->pubacks_stray_total;
    }
    return;
  }
  // The rest belongs to QoS 2, of which nothing is ever under way here.
  if (ack.type != PacketType::pubrel && ids_.is_in_use(ack.packet_id)) {
    fail({ReasonCode::protocol_error, "an acknowledgement of QoS 2 for a message of QoS 1"}, out);
    return;
  }
  ++metrics_->pubacks_stray_total;
  if (ack.type == PacketType::pubcomp || is_failure(ack.reason)) return;
  const PacketType answer = ack.type == PacketType::pubrel ? PacketType::pubcomp : PacketType::pubrel;
  send_if_fits(Ack{.type = answer, .packet_id = ack.packet_id, .reason = ReasonCode::packet_identifier_not_found}, out);
}

// ---- SUBSCRIBE and UNSUBSCRIBE ----

void Machine::on_subscribe(const Frame& frame, Outbox& out) {
  Subscribe packet;
  if (const Fault fault = decode_subscribe(frame, version_, packet)) {
    fail(fault, out);
    return;
  }
  Pending pending{.packet_id = packet.packet_id, .is_subscribe = true};
  broker::Follow follow;
  const uint32_t subscription_id = packet.properties.number(PropertyId::subscription_id);
  SubscriptionReader reader(packet, version_);
  for (Subscription asked; reader.next(asked);) {
    if (asked.no_local && asked.filter.starts_with(kShared)) {
      fail({ReasonCode::protocol_error, "No Local on a shared subscription"}, out);  // MQTT5 3.8.3.1
      return;
    }
    const bool is_over = follow.filters.size() >= options_->subscribe_filters_max;
    const ReasonCode fault = is_over ? ReasonCode::quota_exceeded : filter_fault(asked.filter, options_->topic_levels_max);
    if (fault != ReasonCode::success) {
      pending.codes += is_v5() ? as_char(fault) : as_char(ReasonCode::unspecified_error);
      continue;
    }
    const uint8_t granted = asked.qos > 1 ? 1 : asked.qos;
    pending.codes += kAsked;
    pending.granted += static_cast<char>(granted);
    follow.filters.push_back({.filter = std::string(asked.filter),
                              .share = {},
                              .qos_max = granted,
                              .no_local = asked.no_local,
                              .retain_as_published = asked.retain_as_published,
                              .subscription_id = subscription_id});
  }
  metrics_->subscribes_total += follow.filters.size();
  if (follow.filters.empty()) {
    send_suback(pending, out);
    return;
  }
  flush_publishes(out);
  pending.call = out.call(std::move(follow));
  if (!pending_) pending_ = std::make_unique<std::vector<Pending>>();
  pending_->push_back(std::move(pending));
}

void Machine::on_unsubscribe(const Frame& frame, Outbox& out) {
  Unsubscribe packet;
  if (const Fault fault = decode_unsubscribe(frame, version_, packet)) {
    fail(fault, out);
    return;
  }
  Pending pending{.packet_id = packet.packet_id};
  broker::Unfollow unfollow;
  FilterReader reader(packet);
  for (std::string_view filter; reader.next(filter);) {
    const bool is_over = unfollow.filters.size() >= options_->subscribe_filters_max;
    const ReasonCode fault = is_over ? ReasonCode::unspecified_error : filter_fault(filter, options_->topic_levels_max);
    if (fault == ReasonCode::success) {
      pending.codes += kAsked;
      unfollow.filters.push_back({.filter = std::string(filter), .share = {}});
    } else {
      // A shared subscription cannot exist; what is no filter at all is said to be none.
      const bool is_shared = fault == ReasonCode::shared_subscriptions_not_supported;
      pending.codes += as_char(is_shared ? ReasonCode::no_subscription_existed : fault);
    }
  }
  metrics_->unsubscribes_total += unfollow.filters.size();
  if (unfollow.filters.empty()) {
    send_suback(pending, out);
    return;
  }
  flush_publishes(out);
  pending.call = out.call(std::move(unfollow));
  if (!pending_) pending_ = std::make_unique<std::vector<Pending>>();
  pending_->push_back(std::move(pending));
}

void Machine::on_pending_reply(Pending pending, broker::Reply& reply, Outbox& out) {
  const auto* followed = std::get_if<broker::Followed>(&reply);
  const auto* unfollowed = std::get_if<broker::Unfollowed>(&reply);
  const auto* error = std::get_if<Error>(&reply);
  const Code whole = error ? error->code : Code::internal;
  size_t next = 0;
  for (char& code : pending.codes) {
    if (code != kAsked) continue;
    if (pending.is_subscribe) {
      const Code result = followed && next < followed->results.size() ? followed->results[next].code : whole;
      if (result == Code::ok) {
        code = pending.granted[next];
      } else {
        code = is_v5() ? as_char(suback_reason_of(result)) : as_char(ReasonCode::unspecified_error);
      }
    } else if (unfollowed && next < unfollowed->existed.size()) {
      code = unfollowed->existed[next] ? as_char(ReasonCode::success) : as_char(ReasonCode::no_subscription_existed);
    } else {
      code = as_char(unsuback_reason_of(whole));
    }
    ++next;
  }
  send_suback(pending, out);
}

void Machine::send_suback(const Pending& pending, Outbox& out) {
  SubscribeAck ack{.type = pending.is_subscribe ? PacketType::suback : PacketType::unsuback, .packet_id = pending.packet_id};
  ack.codes = as_bytes(pending.codes);
  send_if_fits(ack, out);
}

// ---- DISCONNECT ----

void Machine::on_disconnect(const Frame& frame, Outbox& out) {
  Disconnect packet;
  if (const Fault fault = decode_disconnect(frame, version_, Side::client, packet)) {
    fail(fault, out);
    return;
  }
  // A session that was to end with its connection cannot be made to last at the end (MQTT5 3.14.2.2.2).
  if (!asked_expiry_ && packet.properties.number(PropertyId::session_expiry) > 0) {
    fail({ReasonCode::protocol_error, "a session expiry raised from 0 in DISCONNECT"}, out);
    return;
  }
  if (packet.reason == ReasonCode::success) will_.reset();  // MQTT5 3.14.4-3
  end(CloseWhy::client_left, "", out);
}

}  // namespace robustmq::mqtt
