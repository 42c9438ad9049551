// PosixSocket: a connected TCP socket on one core. 56 bytes.
//
// A stored range that is not in the page cache is brought in by a thread of the reads' worker before it is sent (read_ahead.h);
// until then the socket would block. So a reader far behind waits for the disk, and its core does not.
//
// Interest is lazy: switching reading or writing off costs no system call until an event comes that nobody wants.
#pragma once

#include "runtime/net.h"
#include "runtime/posix/core.h"

namespace robustmq::runtime::posix {

class PosixDetachedSocket final : public DetachedSocket {
 public:
  explicit PosixDetachedSocket(int descriptor) : descriptor_(descriptor) {}
  ~PosixDetachedSocket() override;
  int take();

 private:
  int descriptor_;
};

class PosixSocket final : public Socket, private Pollable {
 public:
  // Takes the descriptor, which is non-blocking.
  PosixSocket(PosixCore& core, int descriptor) : core_(core), descriptor_(descriptor) {}
  ~PosixSocket() override;

  void start(SocketEvents& events) override;
  IoResult read(std::span<uint8_t> into) override;
  IoResult write(std::span<const Piece> pieces, size_t skip_bytes_of_first) override;
  void want_read(bool on) override;
  void want_write(bool on) override;
  void close_write() override;
  Endpoint peer() const override;
  Endpoint local() const override;
  std::unique_ptr<DetachedSocket> detach() override;

 private:
  struct Ahead;  // a range being brought in for this socket

  void on_events(uint32_t events) override;
  uint32_t wanted_events() const;
  void leave_core();
  void read_ahead(const Piece& piece, size_t skip);
  void on_read_ahead();

  PosixCore& core_;
  SocketEvents* events_ = nullptr;
  Ahead* ahead_ = nullptr;  // owned by what comes back from the worker
  int descriptor_;
  uint32_t watched_ = 0;  // what the epoll set knows; 0: not in it
  bool wants_read_ = true;
  bool wants_write_ = false;
};

}  // namespace robustmq::runtime::posix
