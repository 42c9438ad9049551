#include "protocol/mqtt/machine.h"

#include "protocol/mqtt/errors.h"

namespace robustmq::mqtt {

std::unique_ptr<protocol::Connection> make_connection(const MqttOptions& options, MqttMetrics& metrics,
                                                      const protocol::LinkFacts& link) {
  return std::make_unique<Machine>(options, metrics, link);
}

std::unique_ptr<protocol::Connection> Connections::make(const protocol::LinkFacts& link) {
  return make_connection(options_, metrics_, link);
}

void Connections::leave(protocol::Connection& connection) { static_cast<Machine&>(connection).leave(); }

void Connections::join(protocol::Connection& connection) { static_cast<Machine&>(connection).join(options_, metrics_); }

Machine::Machine(const MqttOptions& options, MqttMetrics& metrics, const protocol::LinkFacts& link)
    : options_(&options), metrics_(&metrics), link_id_(link.id), seed_(link.seed) {
  if (link.limits || !link.mountpoint.empty() || !link.certificate_user.empty() || !link.certificate_client_id.empty()) {
    facts_ = std::make_unique<ClientFacts>(link.mountpoint, link.certificate_user, link.certificate_client_id);
    if (link.limits) facts_->pace.emplace(link.limits);
  }
  ++metrics_->connections;
}

Machine::~Machine() {
  if (!metrics_) return;  // on its way between cores: counted nowhere
  drop_waiting();
  --metrics_->connections;
}

void Machine::join(const MqttOptions& options, MqttMetrics& metrics) {
  options_ = &options;
  metrics_ = &metrics;
  ++metrics_->connections;
}

void Machine::on_open(Outbox& out) { out.arm(out.now() + Duration::millis(options_->connect_timeout_ms)); }

bool Machine::is_paused() const {
  if (state_ == State::opening) return true;
  if (state_ == State::authenticating) return login()->call != 0;
  if (const Pace* pace = this->pace(); pace && pace->is_waiting()) return true;
  if (pending_ && pending_->size() >= options_->requests_max) return true;
  // A 5.0 client knows the limit and is held to it, but what comes again does not count; an older one is just read no further.
  const size_t acks_max = is_v5() ? size_t{options_->receive_maximum} * 2 : options_->receive_maximum;
  return inbound_ && inbound_->acks.size() >= acks_max;
}

size_t Machine::on_bytes(const Bytes& bytes, Outbox& out) {
  wanted_ = 0;
  if (state_ == State::closed) return bytes.size();
  if (state_ == State::waiting) return on_first_bytes(bytes, out);
  if (state_ == State::authenticating) return on_login_bytes(bytes, out);
  if (inbound_) {
    inbound_->headers.clear();
    inbound_->held.clear();
  }
  size_t at = 0;
  while (state_ == State::open && at < bytes.size() && !is_paused()) {
    Frame frame;
    const FrameState found = frame_at(bytes.span().subspan(at), frame);
    if (found == FrameState::bad) {
      fail({ReasonCode::malformed_packet, "no packet begins like this"}, out);
      break;
    }
    if (frame.size > options_->packet_bytes_max) {
      end(CloseWhy::over_limit, "a packet over the limit", out, ReasonCode::packet_too_large);
      break;
    }
    if (found == FrameState::needs_more) {
      wanted_ = static_cast<uint32_t>(frame.size);
      break;
    }
    if (Pace* pace = this->pace();
        pace && !pace->may_pass(out.now(), bytes[at] >> 4 == static_cast<uint8_t>(PacketType::publish), frame.size)) {
      ++metrics_->reads_delayed_total;
      out.arm(pace->due());
      break;
    }
    last_packet_ = out.now();
    turn_bytes_left_ = static_cast<uint32_t>(bytes.size() - at);
    on_packet(frame, out);
    at += frame.size;
  }
  if (state_ == State::closed) return bytes.size();
  flush_calls(out);
  if (inbound_) send_publish_acks(out);  // of PUBLISHes answered without asking
  if (outbound_ && !outbound_->waiting.empty() && state_ == State::open) send_waiting(out);
  return state_ == State::closed ? bytes.size() : at;
}

void Machine::on_reply(CallId id, broker::Reply reply, Outbox& out) {
  if (state_ == State::closed) return;
  if (state_ == State::opening) {
    if (id == open_call_) on_session(reply, out);
    return;
  }
  if (login() && login()->call == id) return on_login(reply, out);
  if (pending_) {
    for (size_t i = 0; i < pending_->size(); ++i) {
      if ((*pending_)[i].call != id) continue;
      Pending pending = std::move((*pending_)[i]);
      pending_->erase(pending_->begin() + static_cast<ptrdiff_t>(i));
      if (pending_->empty()) pending_.reset();
      on_pending_reply(std::move(pending), reply, out);
      return;
    }
  }
  if (on_published(id, reply, out) || on_settled(id, reply, out)) return;
  on_released(id, reply, out);
}

void Machine::on_notice(broker::Notice notice, Outbox& out) {
  switch (notice) {
    case broker::Notice::taken_over:
      ++metrics_->takeovers_total;
      end(CloseWhy::taken_over, "the client id connected again", out, ReasonCode::session_taken_over);
      return;
    case broker::Notice::stopping:
      end(CloseWhy::stopping, "the node stops", out, ReasonCode::server_shutting_down);
      return;
    case broker::Notice::over_limit:
      end(CloseWhy::over_limit, "more waits for the session than it may keep", out, ReasonCode::quota_exceeded);
      return;
    case broker::Notice::ended:
      if (state_ == State::opening)  // its ban came meanwhile
        return refuse(ReasonCode::banned, ReturnCode::not_authorized, CloseWhy::ended, "ended by the operator", out);
      end(CloseWhy::ended, "ended by the operator", out, ReasonCode::administrative_action);
      return;
    case broker::Notice::topic_deleted:
      return;
  }
}

void Machine::on_timer(Outbox& out) {
  switch (state_) {
    case State::waiting:
      ++metrics_->connect_timeouts_total;
      end(CloseWhy::timed_out, "no CONNECT in time", out);
      return;
    case State::authenticating:
      ++metrics_->connect_timeouts_total;
      refuse(ReasonCode::not_authorized, ReturnCode::not_authorized, CloseWhy::timed_out,
             "the authentication did not end in time", out);
      return;
    case State::opening:
      refuse(ReasonCode::server_unavailable, ReturnCode::server_unavailable, CloseWhy::timed_out,
             "the session did not open in time", out);
      return;
    case State::open: {
      if (Pace* pace = this->pace(); pace && pace->is_waiting()) {
        if (out.now() < pace->due()) return out.arm(pace->due());
        pace->go_on();
        last_packet_ = out.now();  // the packet is there
        if (keep_alive_s_ > 0) out.arm(last_packet_ + keep_alive_limit());
        return;
      }
      if (keep_alive_s_ == 0) return;
      // Nothing was read while this side was busy: the client may well have sent.
      if (is_paused() || !out.is_read()) last_packet_ = out.now();
      const Instant due = last_packet_ + keep_alive_limit();
      if (out.now() < due) {
        out.arm(due);
        return;
      }
      ++metrics_->keep_alive_timeouts_total;
      end(CloseWhy::timed_out, "silent for 1.5 times the keep-alive", out, ReasonCode::keep_alive_timeout);
      return;
    }
    case State::closed:
      return;
  }
}

void Machine::on_drained(Outbox& out) {
  last_packet_ = out.now();  // it was not read meanwhile, and is from now on
  if (state_ == State::open && outbound_) send_waiting(out);
}

void Machine::on_peer_closed(Outbox& out) { end(CloseWhy::peer_closed, "", out); }

void Machine::fail(const Fault& fault, Outbox& out) {
  ++metrics_->protocol_errors_total;
  end(CloseWhy::protocol_error, fault.why, out, fault.reason);
}

// What was collected goes to the broker, PUBLISHes first.
void Machine::flush_calls(Outbox& out) {
  flush_publishes(out);
  if (inbound_ && inbound_->qos2) flush_releases(out);
  if (outbound_ && !outbound_->to_settle.empty()) flush_settles(out);
}

void Machine::end(CloseWhy why, std::string_view detail, Outbox& out, ReasonCode reason) {
  if (state_ == State::closed) return;
  flush_calls(out);
  if (state_ == State::open && is_v5() && is_failure(reason) && why != CloseWhy::peer_closed) {
    Buffer properties;
    put_text(properties, PropertyId::reason_string, detail);
    Disconnect disconnect{.reason = reason};
    disconnect.properties.raw = properties.span();
    if (!send_if_fits(disconnect, out)) send_if_fits(Disconnect{.reason = reason}, out);
  }
  drop_waiting();
  pending_.reset();
  state_ = State::closed;
  out.arm(Instant::never());
  out.close(why, std::string(detail));
}

}  // namespace robustmq::mqtt
