// Machine: authentication by AUTH, before CONNACK and on an open connection (MQTT5 4.12). Pure.
//
// The method's messages go to the broker as they are, and its answers to the client. Before CONNACK the CONNECT waits, and
// nothing but AUTH and DISCONNECT is taken; a client that does not go on is closed when its time for CONNECT is over. On an open
// connection everything else goes on meanwhile, under the rights it had.
#include "protocol/mqtt/errors.h"
#include "protocol/mqtt/machine.h"

namespace robustmq::mqtt {
namespace {

struct Refusal {
  ReasonCode reason;
  ReturnCode code;
  const char* why;
};

// A wrong password has a reason of its own (MQTT5 3.2.2.2, MQTT3 3.2.2.3); of a method it is not told apart.
Refusal refusal_of(broker::LoginRefused::Why why, bool is_method) {
  using Why = broker::LoginRefused::Why;
  switch (why) {
    case Why::wrong:
      if (is_method) return {ReasonCode::not_authorized, ReturnCode::not_authorized, "the login failed"};
      return {ReasonCode::bad_user_name_or_password, ReturnCode::bad_user_name_or_password, "the user name or password is wrong"};
    case Why::missing:
      return {ReasonCode::not_authorized, ReturnCode::not_authorized, "a login is needed"};
    case Why::mechanism:
      return {ReasonCode::bad_authentication_method, ReturnCode::not_authorized, "the authentication method is not supported"};
    case Why::busy:
      return {ReasonCode::server_busy, ReturnCode::server_unavailable, "too many logins are being checked"};
    case Why::not_own:
      return {ReasonCode::not_authorized, ReturnCode::not_authorized, "another user's client has this client id"};
  }
  return {ReasonCode::not_authorized, ReturnCode::not_authorized, "the login failed"};
}

}  // namespace

void Machine::begin_login(const Connect& connect, ByteSpan packet, Outbox& out) {
  if (!facts_) facts_ = std::make_unique<ClientFacts>("", "", "");
  facts_->login = std::make_unique<Login>();
  login()->method = std::string(connect.properties.text(PropertyId::authentication_method));
  login()->connect = Bytes::copy_of(packet);
  state_ = State::authenticating;
  ask_login(connect.properties.text(PropertyId::authentication_data), true, out);
}

void Machine::ask_login(std::string_view data, bool is_first, Outbox& out) {
  login()->is_under_way = true;
  login()->call = out.call(broker::Authenticate{login()->method, std::string(data), is_first});
}

// What comes between CONNECT and CONNACK (MQTT5 3.1.2-30).
size_t Machine::on_login_bytes(const Bytes& bytes, Outbox& out) {
  if (bytes.empty()) return 0;
  Frame frame;
  const FrameState found = frame_at(bytes.span(), frame);
  if (found == FrameState::needs_more && frame.size <= options_->connect_bytes_max) {
    wanted_ = static_cast<uint32_t>(frame.size);
    return 0;
  }
  Fault fault;
  CloseWhy why = CloseWhy::protocol_error;
  Disconnect goodbye;
  if (found == FrameState::bad) {
    fault = {ReasonCode::malformed_packet, "no packet begins like this"};
  } else if (frame.size > options_->connect_bytes_max) {
    fault = {ReasonCode::packet_too_large, "an AUTH over the limit of a CONNECT"};
    why = CloseWhy::over_limit;
  } else if (frame.type == PacketType::auth) {
    fault = take_auth(frame, out);
  } else if (frame.type == PacketType::disconnect) {
    fault = decode_disconnect(frame, version_, Side::client, goodbye);
    if (!fault) end(CloseWhy::client_left, "", out);
  } else {
    fault = {ReasonCode::protocol_error, "neither AUTH nor DISCONNECT before CONNACK"};
  }
  if (fault) {
    ++metrics_->protocol_errors_total;
    refuse(fault.reason, ReturnCode::not_authorized, why, fault.why, out);
  }
  return state_ == State::closed ? bytes.size() : frame.size;
}

// An AUTH of the client, before CONNACK or after it.
Fault Machine::take_auth(const Frame& frame, Outbox& out) {
  const auto wrong = [](const char* why) { return Fault{ReasonCode::protocol_error, why}; };
  Auth auth;
  if (const Fault fault = decode_auth(frame, version_, auth)) return fault;
  if (!login()) return wrong("an AUTH without an authentication method");
  if (auth.reason == ReasonCode::success) return wrong("an AUTH of success, which only a server sends");
  if (auth.properties.text(PropertyId::authentication_method) != login()->method)
    return wrong("an AUTH of another authentication method");
  const bool is_first = auth.reason == ReasonCode::re_authenticate;
  if (login()->call != 0) return wrong("an AUTH before the answer to the one before");
  if (is_first && state_ != State::open) return wrong("a re-authentication before CONNACK");
  if (is_first && login()->is_under_way) return wrong("a re-authentication within another one");
  if (!is_first && !login()->is_under_way) return wrong("an AUTH that continues nothing");
  flush_calls(out);
  ask_login(auth.properties.text(PropertyId::authentication_data), is_first, out);
  return {};
}

void Machine::on_login(broker::Reply& reply, Outbox& out) {
  login()->call = 0;
  auto* answer = std::get_if<broker::Authenticated>(&reply);
  if (!answer) return end_login(reply, out);
  login()->is_under_way = !answer->is_done;
  if (!answer->is_done) return send_auth(ReasonCode::continue_authentication, answer->data, out);
  if (state_ == State::open) return send_auth(ReasonCode::success, answer->data, out);
  login()->user = std::move(answer->user);
  login()->data = std::move(answer->data);
  // It was decoded before.
  const Bytes packet = std::exchange(login()->connect, {});
  Frame frame;
  Connect connect;
  uint8_t level = 0;
  if (frame_at(packet, frame) != FrameState::whole || decode_connect(frame, connect, level))
    return end_login(Error{Code::internal, {}}, out);
  take_connect(connect, out);
}

// The broker does not let the client in, or not go on (MQTT5 4.12.1-2).
void Machine::end_login(const broker::Reply& reply, Outbox& out) {
  Refusal refusal{ReasonCode::server_unavailable, ReturnCode::server_unavailable, "the login could not be looked at"};
  CloseWhy why = CloseWhy::not_authorised;
  if (const auto* refused = std::get_if<broker::LoginRefused>(&reply)) {
    refusal = refusal_of(refused->why, login() != nullptr);
    if (refused->why == broker::LoginRefused::Why::busy) why = CloseWhy::over_limit;
  } else if (const auto* error = std::get_if<Error>(&reply)) {
    refusal.reason = state_ == State::open ? ReasonCode::unspecified_error : connack_reason_of(error->code);
    refusal.code = return_code_of(error->code);
    if (error->code == Code::shutting_down) why = CloseWhy::stopping;
  }
  if (state_ == State::open)
    end(why, refusal.why, out, refusal.reason);
  else
    refuse(refusal.reason, refusal.code, why, refusal.why, out);
}

void Machine::send_auth(ReasonCode reason, std::string_view data, Outbox& out) {
  Buffer properties;
  put_text(properties, PropertyId::authentication_method, login()->method);
  if (!data.empty()) put_text(properties, PropertyId::authentication_data, data);
  Auth auth{.reason = reason};
  auth.properties.raw = properties.span();
  if (send_if_fits(auth, out)) return;
  constexpr const char* kNoRoom = "the client's maximum packet size leaves no room for AUTH";
  if (state_ == State::open)
    end(CloseWhy::not_supported, kNoRoom, out, ReasonCode::implementation_specific_error);
  else
    refuse(ReasonCode::implementation_specific_error, ReturnCode::server_unavailable, CloseWhy::not_supported, kNoRoom, out);
}

}  // namespace robustmq::mqtt
