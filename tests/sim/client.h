// Client: one simulated client's link to the node: connects, reads, writes, and comes back when the link is lost.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"
#include "runtime/core.h"
#include "runtime/net.h"
#include "runtime/timer.h"

namespace robustmq::sim {

// Lives on a core of a client node of the simulated world.
class Client : public runtime::SocketEvents {
 public:
  Client(runtime::Core& core, runtime::Endpoint server);
  virtual ~Client();
  void start() { connect(); }
  // Ends the link and does not come back.
  void stop();
  bool is_connected() const { return socket_ != nullptr; }

 protected:
  virtual void on_connected() = 0;
  // Takes whole frames from the front; returns how many bytes it took.
  virtual size_t on_bytes(const Bytes& bytes) = 0;
  virtual void on_lost() = 0;
  void send(Bytes bytes);
  void drop();  // ends the link; comes back

  runtime::Core& core_;

 private:
  void connect();
  void lose();
  void flush();
  void on_readable() override;
  void on_writable() override { flush(); }

  runtime::Endpoint server_;
  std::unique_ptr<runtime::Socket> socket_;
  std::vector<Piece> unsent_;
  size_t sent_of_first_ = 0;
  Buffer input_;
  bool is_stopped_ = false;
  uint64_t attempt_ = 0;
  runtime::Timer reconnect_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace robustmq::sim
