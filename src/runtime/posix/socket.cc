// See socket.h.
#include "runtime/posix/socket.h"

#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "base/check.h"
#include "runtime/posix/address.h"
#include "runtime/posix/disk.h"
#include "runtime/posix/read_ahead.h"

namespace robustmq::runtime::posix {

namespace {

constexpr size_t kVectors = 64;
constexpr size_t kWriteAtOnce = 1 << 20;  // a socket's share of a turn

IoResult outcome_of(ssize_t n) {
  if (n > 0) return {IoResult::Kind::moved, static_cast<size_t>(n)};
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR || errno == ENOBUFS) return {IoResult::Kind::would_block};
  return {IoResult::Kind::failed};
}

// Sends the memory pieces at the front, up to the first stored range.
ssize_t send_memory(int descriptor, std::span<const Piece> pieces, size_t skip, size_t* asked) {
  iovec vectors[kVectors];
  size_t count = 0;
  *asked = 0;
  for (const Piece& piece : pieces) {
    if (piece.is_stored() || count == kVectors || *asked >= kWriteAtOnce) break;
    vectors[count++] = {const_cast<uint8_t*>(piece.bytes.data()) + skip, piece.bytes.size() - skip};
    *asked += piece.bytes.size() - skip;
    skip = 0;
  }
  bool more_follows = count < pieces.size();
  if (*asked == 0) return 0;
  if (count == 1)
    return ::send(descriptor, vectors[0].iov_base, vectors[0].iov_len, MSG_NOSIGNAL | (more_follows ? MSG_MORE : 0));
  msghdr message{};
  message.msg_iov = vectors;
  message.msg_iovlen = count;
  return sendmsg(descriptor, &message, MSG_NOSIGNAL | (more_follows ? MSG_MORE : 0));
}

int descriptor_of(const Piece& piece) {
  const auto* file = dynamic_cast<const PosixFile*>(piece.stored.source.get());
  ROBUSTMQ_CHECK(file != nullptr, "a stored range of another disk");
  return file->descriptor();
}

// Sends what is in the page cache. `*asked` is 0 when nothing of it is there.
ssize_t send_stored(int descriptor, const Piece& piece, size_t skip, size_t* asked) {
  const int file = descriptor_of(piece);
  off_t position = static_cast<off_t>(piece.stored.position + skip);
  *asked = resident_bytes(file, piece.stored.position + skip, std::min<uint64_t>(piece.size - skip, kWriteAtOnce));
  if (*asked == 0) return 0;
  ssize_t n = sendfile(descriptor, file, &position, *asked);
  // The file ends before the range does: it was cut, and the peer can get nothing sensible any more.
  if (n == 0) errno = EIO;
  return n == 0 ? -1 : n;
}

}  // namespace

struct PosixSocket::Ahead {
  explicit Ahead(PosixSocket& owner) : socket(&owner) {}
  ~Ahead() {
    if (socket) socket->ahead_ = nullptr;
  }
  PosixSocket* socket;  // null once it has ended or left the core
};

PosixDetachedSocket::~PosixDetachedSocket() {
  if (descriptor_ >= 0) close(descriptor_);
}

int PosixDetachedSocket::take() { return std::exchange(descriptor_, -1); }

PosixSocket::~PosixSocket() {
  if (descriptor_ < 0) return;
  leave_core();
  close(descriptor_);
}

void PosixSocket::leave_core() {
  if (ahead_) ahead_->socket = nullptr;
  ahead_ = nullptr;
  core_.forget(this);
  if (watched_ != 0) core_.unwatch(descriptor_);
  watched_ = 0;
}

uint32_t PosixSocket::wanted_events() const { return (wants_read_ ? EPOLLIN : 0u) | (wants_write_ && !ahead_ ? EPOLLOUT : 0u); }

void PosixSocket::read_ahead(const Piece& piece, size_t skip) {
  auto ahead = std::make_unique<Ahead>(*this);
  ahead_ = ahead.get();
  const size_t size = std::min<uint64_t>(piece.size - skip, kReadAheadBytes);
  // The piece keeps the file open.
  core_.shared().reads->run(
      [core = &core_, piece = piece, position = piece.stored.position + skip, size, ahead = std::move(ahead)]() mutable {
        bring_in(descriptor_of(piece), position, size);
        core->complete([ahead = std::move(ahead)] {
          if (PosixSocket* socket = ahead->socket) socket->on_read_ahead();
        });
      });
}

void PosixSocket::on_read_ahead() {
  ahead_->socket = nullptr;
  ahead_ = nullptr;
  if (wants_write_) want_write(true);
}

void PosixSocket::start(SocketEvents& events) {
  events_ = &events;
  if (watched_ != 0 || wanted_events() == 0) return;
  watched_ = wanted_events();
  core_.watch(descriptor_, watched_, *this);
}

void PosixSocket::want_read(bool on) {
  wants_read_ = on;
  if (!on || !events_ || (watched_ & EPOLLIN)) return;
  uint32_t wanted = watched_ | EPOLLIN;
  if (watched_ == 0)
    core_.watch(descriptor_, wanted, *this);
  else
    core_.rewatch(descriptor_, wanted, *this);
  watched_ = wanted;
}

void PosixSocket::want_write(bool on) {
  wants_write_ = on;
  if (!on || !events_ || ahead_ || (watched_ & EPOLLOUT)) return;
  uint32_t wanted = watched_ | EPOLLOUT;
  if (watched_ == 0)
    core_.watch(descriptor_, wanted, *this);
  else
    core_.rewatch(descriptor_, wanted, *this);
  watched_ = wanted;
}

void PosixSocket::on_events(uint32_t events) {
  constexpr uint32_t kDead = EPOLLERR | EPOLLHUP;
  uint32_t wanted = wanted_events();
  if ((events & kDead) && !wants_read_) {
    // A dead connection reports itself for ever: its owner hears of it once, and again when it reads.
    core_.unwatch(descriptor_);
    watched_ = 0;
    events_->on_readable();
    return;
  }
  if ((events & ~wanted & (EPOLLIN | EPOLLOUT)) != 0) {
    watched_ = wanted;
    if (wanted == 0)
      core_.unwatch(descriptor_);
    else
      core_.rewatch(descriptor_, wanted, *this);
  }
  bool is_writable = (events & (EPOLLOUT | kDead)) && wants_write_ && !ahead_;
  bool is_readable = (events & (EPOLLIN | kDead)) && wants_read_;
  PosixCore& core = core_;
  Pollable* self = this;
  if (is_writable) events_->on_writable();
  // The owner may have destroyed this socket in that call.
  if (is_readable && (!is_writable || core.is_dispatching(self))) events_->on_readable();
}

IoResult PosixSocket::read(std::span<uint8_t> into) {
  ssize_t n = ::recv(descriptor_, into.data(), into.size(), 0);
  if (n == 0) return {IoResult::Kind::end};
  return outcome_of(n);
}

IoResult PosixSocket::write(std::span<const Piece> pieces, size_t skip_bytes_of_first) {
  size_t moved = 0;
  size_t skip = skip_bytes_of_first;
  if (ahead_) return {IoResult::Kind::would_block};
  while (!pieces.empty() && moved < kWriteAtOnce) {
    size_t asked = 0;
    ssize_t n = pieces[0].is_stored() ? send_stored(descriptor_, pieces[0], skip, &asked)
                                      : send_memory(descriptor_, pieces, skip, &asked);
    if (asked == 0 && pieces[0].is_stored() && pieces[0].size > skip) {
      read_ahead(pieces[0], skip);
      return {moved > 0 ? IoResult::Kind::moved : IoResult::Kind::would_block, moved};
    }
    if (n < 0) {
      IoResult result = outcome_of(n);
      if (moved > 0 && result.kind == IoResult::Kind::would_block) return {IoResult::Kind::moved, moved};
      return {result.kind, moved};
    }
    size_t left = static_cast<size_t>(n);
    moved += left;
    bool is_short = left < asked;
    while (!pieces.empty() && pieces[0].size - skip <= left) {
      left -= pieces[0].size - skip;
      pieces = pieces.subspan(1);
      skip = 0;
    }
    skip += left;
    if (is_short) break;
  }
  return {IoResult::Kind::moved, moved};
}

void PosixSocket::close_write() { shutdown(descriptor_, SHUT_WR); }
Endpoint PosixSocket::peer() const { return peer_endpoint(descriptor_); }
Endpoint PosixSocket::local() const { return local_endpoint(descriptor_); }

std::unique_ptr<DetachedSocket> PosixSocket::detach() {
  leave_core();
  events_ = nullptr;
  return std::make_unique<PosixDetachedSocket>(std::exchange(descriptor_, -1));
}

}  // namespace robustmq::runtime::posix
