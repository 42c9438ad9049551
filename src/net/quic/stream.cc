// The stream of a QUIC connection, and the socket it is (connection.h). Pure.
#include <ngtcp2/ngtcp2.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "net/filter.h"
#include "net/quic/connection.h"
#include "net/quic/endpoint.h"
#include "net/quic/transport.h"

namespace robustmq::net {

using runtime::IoResult;

namespace {

constexpr size_t kInputKeptBytes = 4 << 10;            // of memory, with nothing in it
constexpr Duration kLingerMax = Duration::seconds(5);  // to send what is left when the socket is gone

}  // namespace

// ---- The connection's side ----

IoResult QuicConnection::read(std::span<uint8_t> into) {
  const size_t size = std::min(into.size(), input_.size() - input_at_);
  if (size > 0) {
    std::memcpy(into.data(), input_.data() + input_at_, size);
    input_at_ += size;
    if (input_at_ == input_.size()) {
      input_at_ = 0;
      if (input_.capacity() > kInputKeptBytes)
        input_ = Buffer();
      else
        input_.clear();
    }
    if (is_alive()) {
      // RFC 9000 4.1: what was read may come again.
      if (!is_input_finished_) ngtcp2_conn_extend_max_stream_offset(transport_->conn, stream_, size);
      ngtcp2_conn_extend_max_offset(transport_->conn, size);
      endpoint_->flush_later(*this);
    }
    return {IoResult::Kind::moved, size};
  }
  if (is_input_over()) return {IoResult::Kind::end};
  if (has_failed()) return {IoResult::Kind::failed};
  return {IoResult::Kind::would_block};
}

bool QuicConnection::is_writable() const {
  if (has_failed() || is_output_refused_) return true;
  const uint64_t held = output_.held_bytes();
  return held <= endpoint_->options_.send_buffer_bytes / 2;
}

IoResult QuicConnection::write(std::span<const Piece> pieces, size_t skip) {
  if (!is_alive() || is_output_refused_ || is_output_finished_) return {IoResult::Kind::failed};
  const uint64_t held = output_.held_bytes();
  const uint64_t limit = endpoint_->options_.send_buffer_bytes;
  size_t room = held < limit ? static_cast<size_t>(limit - held) : 0;
  if (room == 0) return {IoResult::Kind::would_block};
  size_t moved = 0;
  for (const Piece& piece : pieces) {
    const size_t part = static_cast<size_t>(std::min<uint64_t>(piece.size - skip, room));
    if (piece.is_stored()) {
      const Bytes bytes = piece.stored.source->read_now(piece.stored.position + skip, part);
      output_.append(bytes);
      moved += bytes.size();
      // A range that cannot be read: nothing sensible can follow.
      if (bytes.size() < part) return {IoResult::Kind::failed, moved};
    } else {
      output_.append(piece.bytes.span().subspan(skip, part));
      moved += part;
    }
    room -= part;
    skip = 0;
    if (room == 0) break;
  }
  endpoint_->flush_later(*this);
  return {IoResult::Kind::moved, moved};
}

void QuicConnection::finish() {
  is_output_finished_ = true;
  if (is_alive()) endpoint_->flush_later(*this);
}

void QuicConnection::on_socket_gone() {
  socket_ = nullptr;
  input_ = Buffer();
  input_at_ = 0;
  is_output_finished_ = true;
  if (is_alive()) {
    if (!endpoint_->may_end_slowly(*this)) return close(0, {});
    deadline_ = endpoint_->core_.now() + kLingerMax;
    endpoint_->flush_later(*this);
  } else {
    endpoint_->settle(*this);
  }
}

std::unique_ptr<QuicSocket> QuicConnection::take_socket() {
  state_ = State::open;
  was_handed_over_ = true;
  if (!is_client_) {
    ngtcp2_conn_set_tls_native_handle(transport_->conn, nullptr);
    QuicContext::end_session(std::exchange(transport_->session, nullptr));
  }
  deadline_ = Instant::never();
  auto socket = std::make_unique<QuicSocket>(endpoint_->core_, this);
  socket_ = socket.get();
  return socket;
}

void QuicConnection::tell_socket() {
  if (socket_) socket_->tell();
}

// ---- The socket ----

QuicSocket::QuicSocket(runtime::Core& core, QuicConnection* connection) : core_(core), connection_(connection) {}

QuicSocket::~QuicSocket() {
  anchor_.cut();
  if (connection_) connection_->on_socket_gone();
}

void QuicSocket::start(runtime::SocketEvents& events) {
  events_ = &events;
  tell();
}

IoResult QuicSocket::read(std::span<uint8_t> into) {
  return connection_ ? connection_->read(into) : IoResult{IoResult::Kind::failed};
}

IoResult QuicSocket::write(std::span<const Piece> pieces, size_t skip) {
  return connection_ ? connection_->write(pieces, skip) : IoResult{IoResult::Kind::failed};
}

void QuicSocket::want_read(bool on) {
  wants_read_ = on;
  if (on) tell();
}

void QuicSocket::want_write(bool on) {
  wants_write_ = on;
  if (on) tell();
}

void QuicSocket::close_write() {
  if (connection_) connection_->finish();
}

runtime::Endpoint QuicSocket::peer() const { return connection_ ? connection_->path().peer.to_endpoint() : runtime::Endpoint{}; }
runtime::Endpoint QuicSocket::local() const {
  return connection_ ? connection_->path().local.to_endpoint() : runtime::Endpoint{};
}

std::string_view QuicSocket::failure() const { return connection_ ? connection_->failure() : std::string_view(); }

bool QuicSocket::is_event_due() const {
  if (!events_) return false;
  const bool is_readable = !connection_ || connection_->is_readable();
  const bool is_writable = !connection_ || connection_->is_writable();
  return (wants_read_ && is_readable) || (wants_write_ && is_writable);
}

void QuicSocket::tell() {
  if (is_posted_ || !is_event_due()) return;
  is_posted_ = true;
  core_.post([anchor = anchor_.anchor(this)] {
    if (QuicSocket* self = anchor.get()) self->tell_now();
  });
}

void QuicSocket::tell_now() {
  is_posted_ = false;
  const Anchor<QuicSocket> anchor = anchor_.anchor(this);
  if (wants_write_ && (!connection_ || connection_->is_writable())) events_->on_writable();
  QuicSocket* self = anchor.get();
  if (!self) return;
  if (wants_read_ && (!connection_ || connection_->is_readable())) events_->on_readable();
  self = anchor.get();
  if (self) self->tell();
}

// The connection without a core; it becomes a socket again where it is attached.
class QuicDetached final : public DetachedFilter {
 public:
  QuicDetached(std::shared_ptr<QuicGroup> group, std::unique_ptr<QuicConnection> connection)
      : group_(std::move(group)), connection_(std::move(connection)) {}
  std::unique_ptr<runtime::Socket> attach(runtime::Core& core) override {
    QuicEndpoint* endpoint = core.index() < group_->endpoints.size() ? group_->endpoints[core.index()] : nullptr;
    if (!endpoint || !connection_) return std::make_unique<QuicSocket>(core, nullptr);
    return endpoint->adopt(std::move(connection_));
  }

 private:
  std::shared_ptr<QuicGroup> group_;
  std::unique_ptr<QuicConnection> connection_;
};

std::unique_ptr<runtime::DetachedSocket> QuicSocket::detach() {
  anchor_.cut();
  if (!connection_) return std::make_unique<QuicDetached>(std::make_shared<QuicGroup>(0), nullptr);
  QuicEndpoint& endpoint = *connection_->endpoint();
  QuicConnection& connection = *std::exchange(connection_, nullptr);
  return std::make_unique<QuicDetached>(endpoint.group(), endpoint.release(connection));
}

std::unique_ptr<runtime::Socket> QuicEndpoint::adopt(std::unique_ptr<QuicConnection> connection) {
  QuicConnection& here = *connection;
  for (const CoreIndex former : here.former_homes) {
    core_.send(former, [group = group_, former, id = here.id(), home = core_.index()] {
      if (QuicEndpoint* endpoint = group->endpoints[former]) endpoint->on_arrived(id, home);
    });
  }
  for (const QuicCid& cid : here.cids()) add_route(cid, here);
  add(std::move(connection));
  auto socket = std::make_unique<QuicSocket>(core_, &here);
  here.on_socket_moved(*socket);
  here.come_to(*this);
  return socket;
}

}  // namespace robustmq::net
