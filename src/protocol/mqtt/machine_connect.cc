// Machine: from the first byte to CONNACK (MQTT5 3.1, 3.2, 4.13.1); what lies between in machine_login.cc. Pure.
#include <charconv>
#include <utility>

#include "base/topic_names.h"
#include "protocol/mqtt/errors.h"
#include "protocol/mqtt/machine.h"
#include "protocol/mqtt/names.h"

namespace robustmq::mqtt {
namespace {

// 3.1.1 and older know only that a CONNECT is not answered.
constexpr ReturnCode kNoConnack = static_cast<ReturnCode>(0xFF);

bool is_will_topic(std::string_view topic, uint16_t levels_max) {
  return is_valid_topic_name(topic) && topic[0] != '$' && topic_levels(topic) <= levels_max;
}

broker::Will will_of(const Will& sent, std::string_view prefix) {
  broker::Will will;
  Buffer headers;
  will.topic = mounted(prefix, sent.topic);
  will.payload = Bytes::copy_of(sent.payload);
  will.qos = sent.qos;
  will.retain = sent.retain;
  will.expiry_s = expiry_of(sent.properties);
  will.delay_s = sent.properties.number(PropertyId::will_delay);
  will.header_count = append_headers(sent.qos, sent.retain, sent.properties, headers);
  will.raw_headers = Bytes::copy_of(headers.span());
  return will;
}

}  // namespace

size_t Machine::on_first_bytes(const Bytes& bytes, Outbox& out) {
  if (bytes.empty()) return 0;
  Frame frame;
  const FrameState found = frame_at(bytes.span(), frame);
  // Whoever does not begin with a CONNECT is no MQTT client: no word to it (MQTT5 3.1.0-1).
  const char* why = nullptr;
  if (found == FrameState::bad || bytes[0] != 0x10) {
    why = "the first packet is no CONNECT";
  } else if (frame.size > options_->connect_bytes_max) {
    why = "a CONNECT over the limit";
  }
  if (why) {
    ++metrics_->connects_refused_total;
    end(frame.size > options_->connect_bytes_max ? CloseWhy::over_limit : CloseWhy::protocol_error, why, out);
    return bytes.size();
  }
  if (found == FrameState::needs_more) {
    wanted_ = static_cast<uint32_t>(frame.size);
    return 0;
  }
  Connect connect;
  uint8_t level = 0;
  if (const Fault fault = decode_connect(frame, connect, level)) {
    on_connect_fault(fault, connect, level, out);
  } else {
    version_ = connect.version;
    if (!check_connect(connect, out)) return bytes.size();
    if (is_v5() && connect.properties.has(PropertyId::authentication_method))
      begin_login(connect, bytes.span().first(frame.size), out);
    else
      take_connect(connect, out);
  }
  return state_ == State::closed ? bytes.size() : frame.size;
}

void Machine::on_connect_fault(const Fault& fault, const Connect& connect, uint8_t level, Outbox& out) {
  if (fault.reason == ReasonCode::unsupported_protocol_version && level != 0) {
    // An answer that the asker can read: 5.0's to what is newer than it. Bridges set the top bit of an older level.
    version_ = level > 5 && level < 0x80 ? Version::v5 : Version::v3_1_1;
    refuse(fault.reason, ReturnCode::unacceptable_protocol_version, CloseWhy::not_supported, fault.why, out);
    return;
  }
  ++metrics_->protocol_errors_total;
  version_ = level == 5 ? connect.version : Version::v3_1_1;
  refuse(fault.reason, kNoConnack, CloseWhy::protocol_error, fault.why, out);
}

bool Machine::check_connect(const Connect& connect, Outbox& out) {
  const bool is_v3_1 = connect.version == Version::v3_1;
  const uint16_t id_max = is_v3_1 && options_->client_id_bytes_max_v3_1 < options_->client_id_bytes_max
                              ? options_->client_id_bytes_max_v3_1
                              : options_->client_id_bytes_max;
  if (connect.client_id.size() > id_max) {
    refuse(ReasonCode::client_identifier_not_valid, ReturnCode::identifier_rejected, CloseWhy::over_limit,
           "the client id is too long", out);
    return false;
  }
  return is_v5() ? check_connect_v5(connect, out) : check_connect_v3(connect, out);
}

bool Machine::check_connect_v3(const Connect& connect, Outbox& out) {
  const auto no = [&](ReturnCode code, const char* why) {
    refuse(ReasonCode::success, code, CloseWhy::not_supported, why, out);
    return false;
  };
  if (connect.client_id.empty() && !(facts_ && !facts_->client_id.empty())) {
    if (connect.version == Version::v3_1) return no(ReturnCode::identifier_rejected, "no client id");
    if (!connect.clean_start) return no(ReturnCode::identifier_rejected, "no client id for a lasting session");
  }
  if (!connect.will) return true;
  if (connect.will->qos > options_->qos_max) return no(kNoConnack, "a will with a QoS over the maximum");
  if (connect.will->retain && !options_->retain_available) return no(kNoConnack, "a retained will is not supported");
  if (!is_will_topic(connect.will->topic, options_->topic_levels_max)) return no(kNoConnack, "the will's topic is not allowed");
  return true;
}

bool Machine::check_connect_v5(const Connect& connect, Outbox& out) {
  const auto no = [&](ReasonCode reason, const char* why, CloseWhy kind = CloseWhy::not_supported) {
    refuse(reason, kNoConnack, kind, why, out);
    return false;
  };
  client_packet_max_ = connect.properties.number(PropertyId::maximum_packet_size, UINT32_MAX);
  if (!connect.will) return true;
  if (connect.will->qos > options_->qos_max) return no(ReasonCode::qos_not_supported, "a will with a QoS over the maximum");
  if (connect.will->retain && !options_->retain_available)
    return no(ReasonCode::retain_not_supported, "a retained will is not supported");
  if (!is_will_topic(connect.will->topic, options_->topic_levels_max)) {
    return no(ReasonCode::topic_name_invalid, "the will's topic is not allowed", CloseWhy::protocol_error);
  }
  const Properties& properties = connect.will->properties;
  if (properties.has(PropertyId::response_topic) && !is_valid_topic_name(properties.text(PropertyId::response_topic))) {
    return no(ReasonCode::protocol_error, "the will's response topic is no topic name", CloseWhy::protocol_error);
  }
  return true;
}

void Machine::take_connect(const Connect& connect, Outbox& out) {
  keep_alive_s_ = connect.keep_alive_s;
  if (is_v5()) {
    const uint16_t cap = options_->keep_alive_max_s;
    if (cap > 0 && (keep_alive_s_ == 0 || keep_alive_s_ > cap)) {
      keep_alive_s_ = cap;
      is_keep_alive_capped_ = true;
    }
    client_receive_max_ = static_cast<uint16_t>(connect.properties.number(PropertyId::receive_maximum, UINT16_MAX));
    session_expiry_s_ = connect.properties.number(PropertyId::session_expiry);
    wants_response_information_ = connect.properties.number(PropertyId::request_response_information) == 1;
    const uint32_t aliases = connect.properties.number(PropertyId::topic_alias_maximum);
    const uint16_t aliases_max = options_->topic_alias_out_max;
    if (aliases > 0 && aliases_max > 0)
      aliases_ = std::make_unique<AliasesOut>(static_cast<uint16_t>(aliases < aliases_max ? aliases : aliases_max));
    wants_problems_ = connect.properties.number(PropertyId::request_problem_information, 1) == 1;
  } else if (!connect.clean_start) {
    session_expiry_s_ = options_->clean_session_0_expiry_s;
  }
  asked_expiry_ = session_expiry_s_ > 0;
  std::string user = facts_ && !facts_->user.empty() ? facts_->user
                     : login()                       ? login()->user
                                                     : std::string(connect.user_name.value_or(""));
  std::string client_id = client_id_of(connect);
  if (is_mounted()) {
    std::optional<std::string> prefix = mountpoint_of(facts_->mountpoint, client_id, user);
    if (!prefix) {
      refuse(ReasonCode::client_identifier_not_valid, ReturnCode::identifier_rejected, CloseWhy::not_supported,
             "the client id or the user does not fit into the listener's mountpoint", out);
      return;
    }
    facts_->mountpoint = std::move(*prefix);
  }
  has_will_ = connect.will.has_value();
  was_assigned_ = connect.client_id.empty();
  state_ = State::opening;
  const uint32_t inflight = inflight_max();
  open_call_ = out.call(broker::OpenSession{
      .client_id = std::move(client_id),
      .clean_start = connect.clean_start,
      .expiry_s = session_expiry_s_,
      .inflight_max = inflight < broker::kLeaseMax ? static_cast<uint16_t>(inflight) : broker::kLeaseMax,
      .will = has_will_ ? std::optional(will_of(*connect.will, is_mounted() ? facts_->mountpoint : std::string_view{}))
                        : std::nullopt,
      .user = std::move(user),
      .prefix = is_mounted() ? facts_->mountpoint : std::string(),
      .password = connect.password && !login() ? std::optional<std::string>(as_text(*connect.password)) : std::nullopt,
  });
}

// Refuses a CONNECT: with `reason` in 5.0, with `code` before. kNoConnack, and `success` in 5.0, only close.
void Machine::refuse(ReasonCode reason, ReturnCode code, CloseWhy why, const char* detail, Outbox& out) {
  ++metrics_->connects_refused_total;
  if (is_v5()) {
    Buffer properties;
    put_text(properties, PropertyId::reason_string, detail);
    Connack connack{.code = static_cast<uint8_t>(reason)};
    connack.properties.raw = properties.span();
    if (!send_if_fits(connack, out)) send_if_fits(Connack{.code = connack.code}, out);
  } else if (code != kNoConnack) {
    send_if_fits(Connack{.code = static_cast<uint8_t>(code)}, out);
  }
  end(why, detail, out);
}

void Machine::on_session(broker::Reply& reply, Outbox& out) {
  if (std::holds_alternative<broker::ClientBanned>(reply))
    return refuse(ReasonCode::banned, ReturnCode::not_authorized, CloseWhy::ended, "the client is banned", out);
  if (std::holds_alternative<broker::LoginRefused>(reply)) return end_login(reply, out);
  const auto* opened = std::get_if<broker::SessionOpened>(&reply);
  if (!opened) {
    const auto* error = std::get_if<Error>(&reply);
    const Code code = error ? error->code : Code::internal;
    const CloseWhy why = code == Code::shutting_down ? CloseWhy::stopping : CloseWhy::over_limit;
    refuse(connack_reason_of(code), return_code_of(code), why, "the session could not be opened", out);
    return;
  }
  if (!is_v5() && session_expiry_s_ > 0 && opened->expiry_s == 0) {
    // Such a client cannot be told otherwise that its session will not last.
    out.call(broker::EndSession{});
    refuse(ReasonCode::success, ReturnCode::server_unavailable, CloseWhy::not_supported,
           "lasting sessions are not supported: connect with clean session 1", out);
    return;
  }
  ++metrics_->connects_total;
  is_durable_ = opened->expiry_s > 0 || opened->is_present;
  for (const uint16_t packet_id : opened->received) {
    if (packet_id == 0 || inbound_qos2().ids.get(packet_id) != Received::none) continue;
    inbound_qos2().ids.set(packet_id, Received::owned);
    inbound_qos2().restored.push_back(packet_id);
  }
  const bool is_capped = opened->expiry_s != session_expiry_s_;
  session_expiry_s_ = opened->expiry_s;
  state_ = State::open;
  send_connack(opened->is_present, is_capped, out);
  if (state_ != State::open) return;
  last_packet_ = out.now();
  out.arm(keep_alive_s_ > 0 ? last_packet_ + keep_alive_limit() : Instant::never());
}

void Machine::send_connack(bool session_present, bool is_expiry_capped, Outbox& out) {
  Connack connack{.session_present = session_present && version_ != Version::v3_1};  // a reserved bit in 3.1
  Buffer properties;
  if (is_v5()) {
    // Only what differs from the default: clients choke on the rest (MQTT5 3.2.2.3).
    if (is_expiry_capped) put_four_bytes(properties, PropertyId::session_expiry, session_expiry_s_);
    put_two_bytes(properties, PropertyId::receive_maximum, options_->receive_maximum);
    if (options_->qos_max < 2) put_byte(properties, PropertyId::maximum_qos, options_->qos_max);
    if (!options_->retain_available) put_byte(properties, PropertyId::retain_available, 0);
    put_four_bytes(properties, PropertyId::maximum_packet_size, options_->packet_bytes_max);
    if (was_assigned_) put_text(properties, PropertyId::assigned_client_id, client_id_of({}));
    if (options_->topic_alias_max > 0) put_two_bytes(properties, PropertyId::topic_alias_maximum, options_->topic_alias_max);
    if (!options_->wildcards_available) put_byte(properties, PropertyId::wildcard_subscription_available, 0);
    if (!options_->subscription_ids_available) put_byte(properties, PropertyId::subscription_id_available, 0);
    if (!options_->shared_available) put_byte(properties, PropertyId::shared_subscription_available, 0);
    if (is_keep_alive_capped_) put_two_bytes(properties, PropertyId::server_keep_alive, keep_alive_s_);
    if (wants_response_information_ && !options_->response_information.empty())
      put_text(properties, PropertyId::response_information, options_->response_information);
    if (login()) {  // MQTT5 4.12.0-5
      put_text(properties, PropertyId::authentication_method, login()->method);
      if (!login()->data.empty()) put_text(properties, PropertyId::authentication_data, std::exchange(login()->data, {}));
    }
    connack.properties.raw = properties.span();
  }
  if (!send_if_fits(connack, out)) {
    out.call(broker::EndSession{});
    end(CloseWhy::not_supported, "the client's maximum packet size leaves no room for CONNACK", out);
  }
}

std::string Machine::client_id_of(const Connect& connect) const {
  if (facts_ && !facts_->client_id.empty()) return facts_->client_id;
  return connect.client_id.empty() ? assigned_client_id() : std::string(connect.client_id);
}

std::string Machine::assigned_client_id() const {
  char digits[40];
  char* at = std::to_chars(digits, digits + sizeof digits, seed_, 16).ptr;
  *at++ = '-';
  at = std::to_chars(at, digits + sizeof digits, link_id_, 16).ptr;
  return "auto-" + std::string(digits, at);
}

}  // namespace robustmq::mqtt
