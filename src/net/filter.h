// FilterSocket: a socket made of another one, whose bytes it changes on their way (TLS, WebSocket), or of which it knows more
// (PROXY protocol). A ByteStream on top does not notice. Pure (the socket at the bottom is the world's).
//
// A filter keeps the promises of runtime::Socket. on_readable comes again while bytes wait, also those that wait inside the
// filter (read_again()); a write that the socket below did not take whole is finished by the filter, which asks for on_writable
// by itself; what the filter has to say of its own (a pong, a goodbye) goes between the writes of its owner.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "base/anchor.h"
#include "runtime/core.h"
#include "runtime/net.h"

namespace robustmq::net {

// A filter away from any core: makes itself anew over the socket below.
class DetachedFilter : public runtime::DetachedSocket {
 public:
  virtual std::unique_ptr<runtime::Socket> attach(runtime::Core& core) = 0;
};

// Net::adopt for sockets with and without filters.
std::unique_ptr<runtime::Socket> adopt(runtime::Core& core, std::unique_ptr<runtime::DetachedSocket> socket);

class FilterSocket : public runtime::Socket, protected runtime::SocketEvents {
 public:
  FilterSocket(runtime::Core& core, std::unique_ptr<runtime::Socket> below) : core_(core), below_(std::move(below)) {}

  void start(runtime::SocketEvents& events) override;
  void want_read(bool on) override;
  void want_write(bool on) override;
  void close_write() override;
  runtime::Endpoint peer() const override { return below_->peer(); }
  runtime::Endpoint local() const override { return below_->local(); }

 protected:
  runtime::Core& core() { return core_; }
  runtime::Socket& below() { return *below_; }
  const runtime::Socket& below() const { return *below_; }
  std::unique_ptr<runtime::DetachedSocket> detach_below() { return below_->detach(); }
  // on_readable comes once more in the next turn (so that a busy peer does not keep this one going): bytes, the end or a failure
  // wait inside the filter.
  void read_again() {
    is_due_ = true;
    post_read();
  }
  // What waits is being read.
  void read_is_done() { is_due_ = false; }

  // Writes what the filter holds of its own. True when nothing is left; a failure counts as nothing left.
  virtual bool write_own() = 0;
  // The goodbye goes to what write_own() writes.
  virtual void say_goodbye() {}

 private:
  void on_readable() override { events_->on_readable(); }
  void on_writable() override;
  void post_read();
  void finish_close();

  runtime::Core& core_;
  std::unique_ptr<runtime::Socket> below_;
  runtime::SocketEvents* events_ = nullptr;
  bool wants_read_ = true;
  bool wants_write_ = false;
  AnchorOwner<FilterSocket> anchor_;
  bool is_due_ = false;  // read_again() was called
  bool is_posted_ = false;
  bool is_closing_ = false;  // close_write() waits for write_own()
};

// A socket whose peer speaks for another one, as the PROXY protocol tells.
class ProxiedSocket final : public runtime::Socket {
 public:
  ProxiedSocket(std::unique_ptr<runtime::Socket> below, runtime::Endpoint peer)
      : below_(std::move(below)), peer_(std::move(peer)) {}

  void start(runtime::SocketEvents& events) override { below_->start(events); }
  runtime::IoResult read(std::span<uint8_t> into) override { return below_->read(into); }
  runtime::IoResult write(std::span<const Piece> pieces, size_t skip) override { return below_->write(pieces, skip); }
  void want_read(bool on) override { below_->want_read(on); }
  void want_write(bool on) override { below_->want_write(on); }
  void close_write() override { below_->close_write(); }
  runtime::Endpoint peer() const override { return peer_; }
  runtime::Endpoint local() const override { return below_->local(); }
  std::unique_ptr<runtime::DetachedSocket> detach() override;

 private:
  std::unique_ptr<runtime::Socket> below_;
  runtime::Endpoint peer_;
};

}  // namespace robustmq::net
