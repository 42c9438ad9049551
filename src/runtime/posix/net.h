// PosixNet: TCP and Unix listeners, outgoing connections and UDP sockets of one core.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "runtime/datagram.h"
#include "runtime/posix/core.h"

namespace robustmq::runtime::posix {

// Which endpoints this process listens at. The cores share an endpoint (SO_REUSEPORT), so the system would let another process of
// the same user share it too: the first core to listen makes sure that nobody else does. Any thread.
class PosixListening {
 public:
  // Counts one more listener at `key`; true for the first.
  bool enter(const std::string& key);
  // True for the last.
  bool leave(const std::string& key);
  // Unix sockets know no SO_REUSEPORT: the first core's listening socket serves all. share() gives a copy of the descriptor that
  // keep() was told, -1 where there is none.
  void keep(const std::string& key, int descriptor);
  int share(const std::string& key);

 private:
  std::mutex mutex_;
  std::map<std::string, int> listeners_;
  std::map<std::string, int> descriptors_;
};

struct Address;
class PosixConnecting;

class PosixNet final : public DatagramNet {
 public:
  explicit PosixNet(PosixCore& core);
  ~PosixNet() override;

  Result<std::unique_ptr<Listener>> listen(const Endpoint& at, ListenOptions options,
                                           Callback<void(std::unique_ptr<Socket>)> on_accept) override;
  void connect(const Endpoint& to, Callback<void(Result<std::unique_ptr<Socket>>)> done) override;
  std::unique_ptr<Socket> adopt(std::unique_ptr<DetachedSocket> socket) override;
  Result<std::unique_ptr<DatagramSocket>> open_datagrams(const Endpoint& at, DatagramOptions options) override;

 private:
  friend class PosixConnecting;

  Result<std::unique_ptr<Listener>> listen_local(const Address& address, const Endpoint& at, ListenOptions options,
                                                 Callback<void(std::unique_ptr<Socket>)> on_accept);

  PosixCore& core_;
  std::map<PosixConnecting*, std::unique_ptr<PosixConnecting>> connecting_;
};

}  // namespace robustmq::runtime::posix
