#include "protocol/driver/listener.h"

#include <algorithm>

namespace robustmq::protocol::driver {
namespace {

constexpr Duration kLookAtStalled = Duration::millis(500);
constexpr Duration kLookAtCore = Duration::millis(1);
constexpr int64_t kStopCloseMs = 500;
// For the storage: segments (StorageOptions::open_files_max), rows, journal. Without them it would fail for good.
constexpr int kKeptDescriptors = 2048;

observe::Level level_of(CloseWhy why) {
  switch (why) {
    case CloseWhy::none:
    case CloseWhy::client_left:
    case CloseWhy::peer_closed:
    case CloseWhy::taken_over:
    case CloseWhy::stopping:
      return observe::Level::debug;
    case CloseWhy::timed_out:
    case CloseWhy::ended:
    case CloseWhy::not_authorised:
      return observe::Level::info;
    case CloseWhy::protocol_error:
    case CloseWhy::not_supported:
    case CloseWhy::slow_reader:
    case CloseWhy::over_limit:
      return observe::Level::warn;
  }
  return observe::Level::warn;
}

}  // namespace

Listener::Listener(ListenerSeat seat, std::string protocol, ListenerOptions options, ListenerRules rules)
    : core_(seat.core),
      streams_(seat.streams),
      broker_(seat.broker),
      connections_(seat.connections),
      log_(seat.log),
      last_id_(seat.last_link_id),
      protocol_(std::move(protocol)),
      options_(options),
      rules_(std::move(rules)),
      refusals_(core_, log_, rules_.name),
      unsent_limit_(seat.streams.limits().drain_mark_bytes),
      clock_(seat.clock) {
  if (rules_.name.empty()) rules_.name = protocol_;
  net::QuicEvents& events = *this;
  if (rules_.quic) quic_ = std::make_unique<QuicDoor>(core_, *rules_.quic, rules_.entrance.time_max, events);
}

Listener::~Listener() {
  anchor_.cut();
  drop_waiting();
  while (!entrances_.empty()) drop(entrances_.front());
  for (Slot& slot : slots_) {
    if (!slot.link) continue;
    if (slot.link->connection_) broker_.close(slot.link->context_);
    delete slot.link;
    give_back_place();
  }
  for (; knocking_ > 0; --knocking_) give_back_place();
}

Result<runtime::Endpoint> Listener::start(const runtime::Endpoint& at) {
  if (quic_) return quic_->open(at);
  runtime::ListenOptions options;
  options.kept_descriptors = kKeptDescriptors;
  options.on_out_of_descriptors = [this] {
    ++metrics_.refused_descriptors_total;
    refusals_.tell("out_of_descriptors", {}, {});
  };
  Result<std::unique_ptr<runtime::Listener>> socket = core_.net().listen(
      at, std::move(options), [this](std::unique_ptr<runtime::Socket> accepted) { on_accept(std::move(accepted)); });
  if (!socket.ok()) return socket.error();
  socket_ = socket.take();
  return socket_->local();
}

void Listener::on_accept(std::unique_ptr<runtime::Socket> socket) {
  if (!take_place()) {
    ++metrics_.refused_limit_total;
    return refusals_.tell("connections_max", {}, socket->peer().to_string());
  }
  admit(std::move(socket), {});
}

void Listener::admit(std::unique_ptr<runtime::Socket> socket, std::string common_name) {
  if (rules_.connections_rate) {
    if (waiting_.size() >= options_.connections_waiting_max) {
      ++metrics_.refused_rate_total;
      give_back_place();
      return refusals_.tell("connections_per_s", {}, socket->peer().to_string());
    }
    const Instant due = rules_.connections_rate->take(core_.now(), 1);
    if (due > core_.now()) {
      ++metrics_.delayed_rate_total;
      waiting_.push_back({due, std::move(socket), std::move(common_name)});
      if (!turn_timer_.is_armed()) core_.arm(turn_timer_, due);
      return;
    }
  }
  enter(std::move(socket), std::move(common_name));
}

void Listener::on_turn(void* self) {
  auto& listener = *static_cast<Listener*>(self);
  while (!listener.waiting_.empty() && listener.waiting_.front().due <= listener.core_.now()) {
    Waiting next = std::move(listener.waiting_.front());
    listener.waiting_.pop_front();
    listener.enter(std::move(next.socket), std::move(next.common_name));
  }
  if (!listener.waiting_.empty()) listener.core_.arm(listener.turn_timer_, listener.waiting_.front().due);
}

void Listener::drop_waiting() {
  turn_timer_.cancel();
  for (size_t i = 0; i < waiting_.size(); ++i) give_back_place();
  waiting_.clear();
}

void Listener::enter(std::unique_ptr<runtime::Socket> socket, std::string common_name) {
  ++metrics_.accepted_total;
  if (quic_) return welcome(std::move(socket), std::move(common_name));
  if (!rules_.entrance.ask_anything()) return welcome(std::move(socket), {});
  auto* entrance = new net::Entrance(core_, rules_.entrance, std::move(socket), *this);
  entrances_.push_back(*entrance);
  ++metrics_.entering;
  entrance->start();
}

bool Listener::take_place() {
  if (!rules_.node_places && link_count_ + waiting_.size() + static_cast<size_t>(metrics_.entering) >= options_.connections_max)
    return false;
  if (rules_.places && !rules_.places->take()) return false;
  if (!rules_.node_places || rules_.node_places->take()) return true;
  if (rules_.places) rules_.places->give_back();
  return false;
}

void Listener::give_back_place() {
  if (rules_.places) rules_.places->give_back();
  if (rules_.node_places) rules_.node_places->give_back();
}

// The entrance goes; its place stays with its link when it has become one.
void Listener::on_entered(net::Entrance& entrance, std::unique_ptr<runtime::Socket> socket) {
  if (rules_.entrance.tls) ++(entrance.was_resumed() ? metrics_.tls_resumed_total : metrics_.tls_handshakes_total);
  std::string common_name = entrance.common_name();
  delete &entrance;
  --metrics_.entering;
  welcome(std::move(socket), std::move(common_name));
}

void Listener::on_refused(net::Entrance& entrance, net::EntranceStep step, std::string_view why, std::string peer) {
  ++metrics_.refused(step);
  refusals_.tell(net::entrance_step_name(step), why, std::move(peer));
  drop(entrance);
}

// ---- QUIC ----

bool Listener::on_knock(const runtime::Endpoint& peer) {
  if (!take_place()) {
    ++metrics_.refused_limit_total;
    refusals_.tell("connections_max", {}, peer.to_string());
    return false;
  }
  ++knocking_;
  ++metrics_.entering;
  return true;
}

void Listener::on_entered(std::unique_ptr<runtime::Socket> socket, std::string common_name) {
  --knocking_;
  --metrics_.entering;
  ++metrics_.tls_handshakes_total;
  const bool names_nobody = rules_.entrance.identity != net::TlsIdentity::none && common_name.empty();
  if (!names_nobody) return admit(std::move(socket), std::move(common_name));
  // As in net/entrance.cc: what the client says of itself is not to count in its place.
  ++metrics_.refused_quic_total;
  refusals_.tell("quic", "the client has no certificate with a common name, which is to tell who it is",
                 socket->peer().to_string());
  give_back_place();
}

void Listener::on_refused(std::string_view why, std::string peer) {
  --knocking_;
  --metrics_.entering;
  ++metrics_.refused_quic_total;
  refusals_.tell("quic", why, std::move(peer));
  give_back_place();
}

void Listener::drop(net::Entrance& entrance) {
  delete &entrance;
  --metrics_.entering;
  give_back_place();
}

void Listener::welcome(std::unique_ptr<runtime::Socket> socket, std::string common_name) {
  LinkFacts facts;
  facts.id = static_cast<uint64_t>(core_.index()) << 48 | ++last_id_;
  facts.seed = core_.random();
  const runtime::Endpoint peer = socket->peer();
  facts.peer = peer.to_string();
  facts.mountpoint = rules_.mountpoint;
  facts.advertised_host = rules_.advertised.host;
  facts.advertised_port = rules_.advertised.port;
  facts.limits = rules_.limits;
  facts.quotas = rules_.quotas;
  if (rules_.entrance.identity == net::TlsIdentity::user) facts.certificate_user = common_name;
  if (rules_.entrance.identity == net::TlsIdentity::client_id) facts.certificate_client_id = std::move(common_name);
  auto owned = std::make_unique<Link>(*this, std::move(socket), facts.id);
  owned->context_.host = peer.host;
  if (!facts.certificate_user.empty()) {
    owned->context_.principal.name = facts.certificate_user;
    owned->context_.proof = broker::Proof::certificate;
  }
  owned->connection_ = connections_.make(facts);
  Link& link = *owned;
  add(std::move(owned));
  link.stream_.start(link);
  input(link, [](Connection& connection, Outbox& out) { connection.on_open(out); });
  pump();
}

void Listener::add(std::unique_ptr<Link> link) {
  uint32_t slot;
  if (free_slots_.empty()) {
    slot = static_cast<uint32_t>(slots_.size());
    slots_.emplace_back();
  } else {
    slot = free_slots_.back();
    free_slots_.pop_back();
  }
  link->handle_ = {slot, slots_[slot].generation};
  slots_[slot].link = link.release();
  ++link_count_;
  ++metrics_.connections;
}

void Listener::remove(Link& link) {
  Slot& slot = slots_[link.handle_.slot];
  slot.link = nullptr;
  ++slot.generation;
  free_slots_.push_back(link.handle_.slot);
  --link_count_;
  --metrics_.connections;
  delete &link;
  if (is_stopping_ && link_count_ == 0) core_.defer(*this);
}

void Listener::let_go(Link& link) {
  give_back_place();
  remove(link);
}

void Listener::collect(Link& link) {
  if (outbox_.has_sent() && !link.stream_is_closed_ && link.state_ == Link::State::open) link.send(outbox_);
  for (Outbox::Call& call : outbox_.calls()) work_.push_back({link.handle_, call.id, std::move(call.request)});
  if (!outbox_.cancelled().empty()) {
    std::vector<CallId>& cancelled = link.rare().cancelled;
    cancelled.insert(cancelled.end(), outbox_.cancelled().begin(), outbox_.cancelled().end());
  }
  if (link.state_ == Link::State::open) {
    if (outbox_.is_closing()) {
      end(link, outbox_.close_why(), outbox_.close_detail());
    } else {
      if (outbox_.has_timer()) {
        if (outbox_.timer() == Instant::never())
          link.timer_.cancel();
        else
          core_.arm(link.timer_, outbox_.timer());
      }
      link.update_reading();
    }
  }
  outbox_.clear();
}

void Listener::end(Link& link, CloseWhy why, std::string detail) {
  link.state_ = Link::State::ending;
  link.why_ = why;
  link.timer_.cancel();
  link.unlink();
  ++metrics_.closed(why);
  tell_closed(link, detail);
  ending_.push_back(link.handle_);
}

void Listener::tell_closed(const Link& link, std::string_view detail) {
  const observe::Level level = level_of(link.why_);
  if (!log_.is_on(level)) return;
  const std::string peer = link.stream_.peer().to_string();
  const observe::LogFields fields{
      {"protocol", protocol_}, {"why", close_why_name(link.why_)}, {"detail", detail}, {"peer", peer}};
  if (level == observe::Level::warn) return log_.warn("connection_closed", fields);
  if (level == observe::Level::info) return log_.info("connection_closed", fields);
  log_.debug("connection_closed", fields);
}

void Listener::pump() {
  if (is_pumping_) return;
  is_pumping_ = true;
  for (;;) {
    if (next_work_ < work_.size()) {
      execute(std::move(work_[next_work_++]));
      continue;
    }
    work_.clear();
    next_work_ = 0;
    if (ending_.empty()) break;
    for (const LinkHandle handle : std::exchange(ending_, {})) {
      if (Link* link = find(handle)) go_on_ending(*link);
    }
  }
  is_pumping_ = false;
}

void Listener::execute(Work work) {
  Link* link = find(work.link);
  if (!link) return;
  if (link->state_ == Link::State::moving) return link->rare().work.push_back(std::move(work));
  if (must_move(*link, work)) return begin_move(*link, std::move(work));
  ++link->calls_under_way_;
  const bool is_timed = begins_timing(*link);
  const Instant from = is_timed ? clock_() : Instant{};
  broker_.execute(link->context_, std::move(work.request),
                  [self = anchor_.anchor(this), handle = work.link, id = work.id](broker::Reply reply) {
                    if (Listener* listener = self.get()) listener->on_reply(handle, id, std::move(reply));
                  });
  if (is_timed) end_timing(work.link, from);
}

void Listener::end_timing(LinkHandle handle, Instant from) {
  is_timing_ = false;
  Link* link = find(handle);
  if (link && link->connection_) link->connection_->on_spent(clock_() - from);
}

void Listener::on_reply(LinkHandle handle, CallId id, broker::Reply reply) {
  Link* link = find(handle);
  if (!link) return;
  --link->calls_under_way_;
  if (link->state_ != Link::State::open || link->drop_cancelled(id)) return;
  input(*link, [&](Connection& connection, Outbox& out) { connection.on_reply(id, std::move(reply), out); });
  pump_later();
}

void Listener::go_on_ending(Link& link) {
  if (link.state_ == Link::State::ending) {
    link.state_ = Link::State::last_calls;
    ending_.push_back(link.handle_);
    return input(link, [](Connection& connection, Outbox& out) { connection.on_peer_closed(out); });
  }
  broker_.close(link.context_);
  link.connection_.reset();
  link.rare_.reset();
  link.state_ = Link::State::flushing;
  if (link.stream_is_closed_) return let_go(link);
  if (link.why_ == CloseWhy::slow_reader) return link.stream_.close_now();
  // A stopping node sends what waits, but does not sit out peers that leave their end open.
  const int64_t limit_ms = is_stopping_ ? std::min(options_.close_ms_max, kStopCloseMs) : options_.close_ms_max;
  link.stream_.close(Duration::millis(limit_ms));
}

// ---- Moving to the session's core ----

bool Listener::must_move(const Link& link, const Work& work) const {
  const auto* open = std::get_if<broker::OpenSession>(&work.request);
  if (!open || peers_.empty() || link.state_ != Link::State::open || link.stream_is_closed_) return false;
  // Answers that are still to come, and what the broker keeps for the link, are this core's.
  if (link.calls_under_way_ > 0 || link.context_.state) return false;
  return broker_.session_home(link.context_.tenant, open->client_id) != core_.index();
}

// The stream is left alone until the end of the turn: the frame that hands its bytes over may still be below.
void Listener::begin_move(Link& link, Work open_session) {
  link.state_ = Link::State::moving;
  link.unlink();
  link.stream_.pause_reading();
  link.rare().work.push_back(std::move(open_session));
  if (input_) link.rare().input = *input_;
  moving_.push_back(link.handle_);
  core_.defer(*this);
}

void Listener::move(Link& link) {
  const auto& open = std::get<broker::OpenSession>(link.rare().work.front().request);
  const CoreIndex home = broker_.session_home(link.context_.tenant, open.client_id);
  MovingLink moving;
  moving.stream = link.stream_.detach();
  moving.connection = std::move(link.connection_);
  moving.context = std::move(link.context_);
  moving.context.sink = nullptr;
  moving.last_call = link.last_call_;
  if (link.timer_.is_armed()) moving.timer = link.timer_.due();
  moving.work = std::move(link.rare().work);
  moving.input = std::move(link.rare().input);
  connections_.leave(*moving.connection);
  ++metrics_.moved_out_total;
  remove(link);  // its place goes with it
  core_.send(home, [peer = peers_[home], moving = std::move(moving)]() mutable { peer->arrive(std::move(moving)); });
}

void Listener::arrive(MovingLink moving) {
  ++metrics_.moved_in_total;
  const Bytes input_bytes = std::move(moving.input);
  std::vector<Work> work = std::move(moving.work);
  const Instant timer = moving.timer;
  auto owned = std::make_unique<Link>(*this, std::move(moving));
  Link& link = *owned;
  add(std::move(owned));
  connections_.join(*link.connection_);
  if (timer != Instant::never()) core_.arm(link.timer_, timer);
  for (Work& each : work) work_.push_back({link.handle_, each.id, std::move(each.request)});
  link.stream_.want(link.connection_->bytes_wanted());
  link.stream_.start(link);
  link.update_reading();
  if (is_stopping_) link.on_notice(broker::Notice::stopping);
  pump();
}

void Listener::run_deferred() {
  for (const LinkHandle handle : std::exchange(moving_, {})) {
    Link* link = find(handle);
    if (link && link->state_ == Link::State::moving) move(*link);
  }
  pump();
  tell_if_stopped();
}

// ---- Output that waits ----

void Listener::look_at(Link& link) {
  stalled_.push_back(link);
  const Instant due = core_.now() + (core_.is_congested() ? kLookAtCore : kLookAtStalled);
  if (!look_timer_.is_armed() || due < look_timer_.due()) core_.arm(look_timer_, due);
}

void Listener::on_look(void* self) { static_cast<Listener*>(self)->look_after_stalled(); }

void Listener::look_after_stalled() {
  List<Link, StalledTag> all;
  all.splice_back(stalled_);
  while (!all.empty()) {
    Link& link = all.pop_front();
    const uint64_t mark = link.rare().written_mark;
    const Instant progress_at = link.rare().progress_at;
    link.update_reading();  // looks again while the link is stalled
    if (!link.is_linked()) {
      if (link.rare_->cancelled.empty()) link.rare_.reset();
      continue;
    }
    if (!link.stream_.is_congested() || link.written_bytes() != mark) continue;
    link.rare().progress_at = progress_at;
    if (core_.now() - progress_at >= Duration::millis(options_.stalled_ms_max))
      end(link, CloseWhy::slow_reader, std::to_string(link.stream_.unsent_bytes()) + " bytes wait");
  }
  pump();
}

// ---- Stopping ----

void Listener::stop(Duration limit, Callback<void()> done) {
  is_stopping_ = true;
  stop_limit_ = limit;
  stopped_ = std::move(done);
  socket_.reset();
  if (quic_) quic_->stop_accepting();
  drop_waiting();
  while (!entrances_.empty()) drop(entrances_.front());
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (Link* link = slots_[i].link) link->on_notice(broker::Notice::stopping);
  }
  core_.arm(stop_timer_, core_.now() + Duration{limit.ns / 2});
  core_.defer(*this);
}

void Listener::on_stop_timer(void* self) { static_cast<Listener*>(self)->on_stop_time(); }

// At half of the limit the connections that went on are closed, at the limit every stream.
void Listener::on_stop_time() {
  const bool is_over = std::exchange(is_ending_all_, true);
  for (size_t i = 0; i < slots_.size(); ++i) {
    Link* link = slots_[i].link;
    if (link && (link->state_ == Link::State::open || link->state_ == Link::State::moving)) end(*link, CloseWhy::stopping, {});
  }
  pump();
  for (size_t i = 0; is_over && i < slots_.size(); ++i) {
    Link* link = slots_[i].link;
    if (link && link->state_ == Link::State::flushing && !link->stream_is_closed_) link->stream_.close_now();
  }
  if (!is_over) core_.arm(stop_timer_, core_.now() + Duration{stop_limit_.ns / 2});
  core_.defer(*this);
}

void Listener::tell_if_stopped() {
  if (!is_stopping_ || link_count_ > 0 || !stopped_) return;
  stop_timer_.cancel();
  Callback<void()> done = std::move(stopped_);
  done();  // may destroy this listener
}

}  // namespace robustmq::protocol::driver
