#include "protocol/driver/link.h"

#include <algorithm>

#include "protocol/driver/listener.h"

namespace robustmq::protocol::driver {
namespace {

constexpr size_t kCopiedBytesMax = 4096;  // of one input's output

}  // namespace

Link::Link(Listener& listener, std::unique_ptr<runtime::Socket> socket, uint64_t id)
    : listener_(listener), stream_(listener.streams_, std::move(socket)) {
  context_.sink = this;
  context_.connection_id = id;
}

Link::Link(Listener& listener, MovingLink&& arriving)
    : listener_(listener),
      connection_(std::move(arriving.connection)),
      context_(std::move(arriving.context)),
      last_call_(arriving.last_call),
      stream_(listener.streams_, std::move(arriving.stream)) {
  context_.sink = this;
}

Link::~Link() = default;

size_t Link::on_bytes(const Bytes& bytes) {
  if (state_ != State::open) return state_ == State::moving ? 0 : bytes.size();
  size_t consumed = 0;
  listener_.input_ = &bytes;
  listener_.input(*this, [&](Connection& connection, Outbox& out) { consumed = connection.on_bytes(bytes, out); });
  tell_ready();
  listener_.pump();
  listener_.input_ = nullptr;
  if (state_ == State::open) stream_.want(connection_->bytes_wanted());
  return consumed;
}

void Link::on_drained() {
  if (state_ != State::open) return;
  listener_.input(*this, [](Connection& connection, Outbox& out) { connection.on_drained(out); });
  tell_ready();
  listener_.pump();
}

void Link::on_closed(net::StreamEnd end) {
  stream_is_closed_ = true;
  if (state_ == State::flushing) return listener_.let_go(*this);
  if (state_ == State::open || state_ == State::moving) {
    switch (end) {
      case net::StreamEnd::over_budget:
        listener_.end(*this, CloseWhy::over_limit, "the input budget is used up");
        break;
      case net::StreamEnd::failed:
        if (stream_.failure().empty())
          listener_.end(*this, CloseWhy::peer_closed, "reset");
        else
          listener_.end(*this, CloseWhy::protocol_error, std::string(stream_.failure()));
        break;
      case net::StreamEnd::closed:
      case net::StreamEnd::close_timed_out:
      case net::StreamEnd::peer_closed:
        listener_.end(*this, CloseWhy::peer_closed, {});
        break;
    }
  }
  listener_.pump();  // removes this link
}

void Link::on_delivery(const broker::Delivery& delivery) {
  if (state_ != State::open) return;
  listener_.input(*this, [&](Connection& connection, Outbox& out) { connection.on_delivery(delivery, out); });
  listener_.pump_later();
}

void Link::on_notice(broker::Notice notice) {
  if (state_ != State::open) return;
  listener_.input(*this, [&](Connection& connection, Outbox& out) { connection.on_notice(notice, out); });
  listener_.pump_later();
}

bool Link::is_ready() const { return state_ != State::open || (!stream_.is_congested() && connection_->takes_deliveries()); }

void Link::tell_ready() {
  if (context_.is_waited_for && state_ == State::open && is_ready()) listener_.broker_.on_ready(context_);
}

void Link::on_timer(void* self) {
  Link& link = *static_cast<Link*>(self);
  // On its way to another core: due there at once.
  if (link.state_ == State::moving) return link.listener_.core_.arm(link.timer_, link.listener_.core_.now());
  if (link.state_ != State::open) return;
  link.listener_.input(link, [](Connection& connection, Outbox& out) { connection.on_timer(out); });
  link.listener_.pump();
}

void Link::send(Outbox& out) {
  if (out.has_pieces()) {
    Pieces pieces = out.take_pieces();
    sent_bytes_ += size_of(pieces);
    stream_.send(std::move(pieces));
  } else {
    sent_bytes_ += out.out().size();
    if (out.out().size() <= kCopiedBytesMax)
      stream_.send_copy(out.out().span());  // the outbox keeps its buffer
    else
      stream_.send(out.out().take());
  }
  if (stream_.unsent_bytes() > listener_.options_.unsent_bytes_max)
    listener_.end(*this, CloseWhy::slow_reader, std::to_string(stream_.unsent_bytes()) + " bytes wait");
}

void Link::update_reading() {
  const bool waits_for_room = stream_.is_congested() || listener_.core_.is_congested();
  const bool is_read = !waits_for_room && !connection_->is_paused();
  if (is_read == stream_.is_paused()) {
    if (is_read) {
      stream_.want(connection_->bytes_wanted());
      stream_.resume_reading();
    } else {
      stream_.pause_reading();
    }
  }
  if (waits_for_room && !is_linked()) {
    rare().written_mark = written_bytes();
    rare().progress_at = listener_.core_.now();
    listener_.look_at(*this);
  }
}

bool Link::drop_cancelled(CallId id) {
  if (!rare_) return false;
  const auto found = std::find(rare_->cancelled.begin(), rare_->cancelled.end(), id);
  if (found == rare_->cancelled.end()) return false;
  rare_->cancelled.erase(found);
  return true;
}

}  // namespace robustmq::protocol::driver
