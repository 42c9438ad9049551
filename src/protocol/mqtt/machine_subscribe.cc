// Machine: SUBSCRIBE and UNSUBSCRIBE (MQTT5 3.8 to 3.11). Pure.
#include "base/topic_names.h"
#include "protocol/mqtt/errors.h"
#include "protocol/mqtt/machine.h"
#include "protocol/mqtt/stream_filter.h"

namespace robustmq::mqtt {
namespace {

constexpr std::string_view kShared = "$share/";
constexpr std::string_view kQueue = "$queue/";  // of the group that has its name; or a queue
constexpr std::string_view kRuleQueue = "$q/";  // where there are queues: deprecated

// A filter as it was sent, taken apart: `$share/group/filter`, `$queue/filter`, `$queue/name/filter`, `$q/filter`,
// `$stream/name/filter`, or a filter. Of a queue it is what names it (broker::kQueueShare).
struct Asked {
  std::string_view share;
  std::string_view filter;
  std::optional<StreamFilter> stream;
  bool is_queue = false;
  bool is_good = false;
};

// MQTT5 4.7.1, 4.8.2
Asked asked_of(std::string_view text, const MqttOptions& options) {
  Asked asked{.filter = text};
  if (options.streams_available && is_of_stream(text)) {
    asked.stream = stream_filter_of(text);
    asked.filter = asked.stream ? asked.stream->filter : text;
    asked.is_good = asked.stream && topic_levels(asked.filter) <= options.topic_levels_max;
    return asked;
  }
  if (text == "$share" || text == "$queue") return asked;
  const bool is_of_rule = options.queues_available && text.starts_with(kRuleQueue);
  if (text.starts_with(kShared)) {
    text.remove_prefix(kShared.size());
    const size_t slash = text.find('/');
    if (slash == 0 || slash == std::string_view::npos) return asked;
    asked.share = text.substr(0, slash);
    if (asked.share.find_first_of("+#") != std::string_view::npos) return asked;
    asked.filter = text.substr(slash + 1);
  } else if (is_of_rule || text.starts_with(kQueue)) {
    asked.share = broker::kQueueShare;
    asked.filter = text.substr(is_of_rule ? kRuleQueue.size() - 1 : kQueue.size());
  }
  asked.is_queue = options.queues_available && asked.share == broker::kQueueShare;
  asked.is_good = is_valid_topic_filter(asked.filter) && topic_levels(asked.filter) <= options.topic_levels_max;
  return asked;
}

// Whether what it names is made over its filter, where it is not there.
bool has_filter(const Asked& asked) {
  if (asked.stream) return !asked.filter.empty();
  const size_t slash = asked.filter.find('/');
  return slash != std::string_view::npos && slash + 1 < asked.filter.size();
}

char as_char(ReasonCode code) { return static_cast<char>(code); }

}  // namespace

void Machine::on_subscribe(const Frame& frame, Outbox& out) {
  Subscribe packet;
  if (const Fault fault = decode_subscribe(frame, version_, packet)) {
    fail(fault, out);
    return;
  }
  Pending pending{.packet_id = packet.packet_id, .is_subscribe = true};
  broker::Follow follow;
  const uint32_t subscription_id = packet.properties.number(PropertyId::subscription_id);
  if (subscription_id != 0 && !options_->subscription_ids_available) {
    fail({ReasonCode::subscription_identifiers_not_supported, "subscription identifiers are not available"}, out);
    return;
  }
  const std::optional<std::vector<StreamStart>> starts = stream_starts_of(packet.properties);
  SubscriptionReader reader(packet, version_);
  for (Subscription wanted; reader.next(wanted);) {
    Asked asked = asked_of(wanted.filter, *options_);
    if (wanted.no_local && (!asked.share.empty() || wanted.filter.starts_with(kShared))) {
      fail({ReasonCode::protocol_error, "No Local on a shared subscription"}, out);  // MQTT5 3.8.3.1
      return;
    }
    if (is_mounted() && asked.filter.size() + facts_->mountpoint.size() > kTopicNameBytes) asked.is_good = false;
    const bool is_over = follow.filters.size() >= options_->subscribe_filters_max;
    if (is_over || !asked.is_good) {
      const ReasonCode reason = is_over ? ReasonCode::quota_exceeded : ReasonCode::topic_filter_invalid;
      pending.codes += is_v5() ? as_char(reason) : as_char(ReasonCode::unspecified_error);
      continue;
    }
    if (const Fault fault = unavailable(!asked.share.empty() && !asked.is_queue, asked.filter)) {
      if (is_v5()) {  // it was told (MQTT5 3.2.2.3.11, 3.2.2.3.13)
        fail(fault, out);
        return;
      }
      pending.codes += as_char(ReasonCode::unspecified_error);
      continue;
    }
    // Who published what a stream keeps is not known any more.
    if (asked.stream && (wanted.no_local || !starts)) {
      pending.codes += as_char(is_v5() ? ReasonCode::implementation_specific_error : ReasonCode::unspecified_error);
      continue;
    }
    const uint8_t granted = wanted.qos > options_->qos_max ? options_->qos_max : wanted.qos;
    pending.codes += kAsked;
    pending.granted += static_cast<char>(granted);
    follow.filters.push_back({.filter = filter_under_mount(asked.filter, asked.is_queue),
                              .share = std::string(asked.share),
                              .stream = asked.stream ? asked.stream->read_from(*starts) : nullptr,
                              .qos_max = granted,
                              .no_local = wanted.no_local,
                              .retain_as_published = wanted.retain_as_published,
                              .retain_handling = static_cast<broker::RetainHandling>(wanted.retain_handling),
                              .subscription_id = subscription_id,
                              .may_make = has_filter(asked) && ((asked.is_queue && options_->queues_made) ||
                                                                (asked.stream && options_->streams_made))});
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

// Under a mountpoint all of a stream, or of a queue, is what lies there.
std::string Machine::filter_under_mount(std::string_view filter, bool is_queue) const {
  if (!is_mounted()) return std::string(filter);
  std::string name;
  if (is_queue) {
    const size_t slash = filter.find('/');
    (name = filter.substr(0, slash)) += '/';
    filter = slash == std::string_view::npos ? std::string_view() : filter.substr(slash + 1);
  }
  return name + mounted(facts_->mountpoint, filter.empty() ? "#" : filter);
}

// What an option has switched off.
Fault Machine::unavailable(bool is_shared, std::string_view filter) const {
  if (is_shared && !options_->shared_available)
    return {ReasonCode::shared_subscriptions_not_supported, "shared subscriptions are not available"};
  if (!options_->wildcards_available && filter.find_first_of("+#") != std::string_view::npos)
    return {ReasonCode::wildcard_subscriptions_not_supported, "wildcard subscriptions are not available"};
  return {};
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
    const Asked asked = asked_of(filter, *options_);
    if (unfollow.filters.size() >= options_->subscribe_filters_max) {
      pending.codes += as_char(ReasonCode::unspecified_error);
    } else if (!asked.is_good) {
      pending.codes += as_char(ReasonCode::topic_filter_invalid);
    } else {
      pending.codes += kAsked;
      unfollow.filters.push_back({.filter = filter_under_mount(asked.filter, asked.is_queue),
                                  .share = std::string(asked.share),
                                  .stream = asked.stream ? asked.stream->name : std::string()});
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
        if (followed && next < followed->results.size() && pending.reason.empty())
          pending.reason = followed->results[next].detail;
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
  if (is_v5() && wants_problems_ && !pending.reason.empty()) {
    Buffer properties;
    put_text(properties, PropertyId::reason_string, pending.reason);
    ack.properties.raw = properties.span();
    if (send_if_fits(ack, out)) return;
    ack.properties.raw = {};  // MQTT5 3.9.2.1.2: the reason string is what gives way
  }
  if (!send_if_fits(ack, out))
    end(CloseWhy::over_limit, "an acknowledgement over the client's maximum packet size", out, ReasonCode::packet_too_large);
}

}  // namespace robustmq::mqtt
