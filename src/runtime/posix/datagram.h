// PosixDatagramSocket: a UDP socket on one core. Receives up to 16 datagrams a system call into a block of its own (32 KiB) and
// sends up to 32 at once as segments of one buffer (UDP_SEGMENT), where the system can.
//
// At the any-address the local address of each datagram is asked for (IP_PKTINFO) and set again when it is answered, so that a
// host with several addresses answers from the one that was spoken to.
#pragma once

#include <sys/uio.h>

#include <array>
#include <memory>

#include "runtime/datagram.h"
#include "runtime/posix/core.h"

namespace robustmq::runtime::posix {

Result<std::unique_ptr<DatagramSocket>> open_datagram_socket(PosixCore& core, const Endpoint& at, DatagramOptions options);

class PosixDatagramSocket final : public DatagramSocket, private Pollable {
 public:
  // Takes the descriptor, which is bound and non-blocking. `key`: what the core's listening sockets are counted by.
  PosixDatagramSocket(PosixCore& core, int descriptor, std::string key, DatagramOptions options);
  ~PosixDatagramSocket() override;

  void start(DatagramEvents& events) override;
  size_t send(const DatagramPath& path, std::span<const uint8_t> bytes, size_t segment_bytes, uint8_t ecn) override;
  Endpoint local() const override;

 private:
  static constexpr size_t kAtOnce = 16;    // datagrams a call
  static constexpr size_t kTurnsMax = 16;  // calls a turn

  void on_events(uint32_t events) override;
  bool receive_some();
  size_t send_one_call(const DatagramPath& path, std::span<const uint8_t> bytes, size_t segment_bytes, uint8_t ecn);
  void wait_for_room();

  PosixCore& core_;
  int descriptor_;
  std::string key_;
  DatagramOptions options_;
  DatagramEvents* events_ = nullptr;
  IpPort local_;
  bool is_any_ = false;         // bound to the any-address
  bool sends_segments_ = true;  // until the system refuses
  bool waits_for_room_ = false;
  std::unique_ptr<std::array<std::array<uint8_t, DatagramSocket::kDatagramBytesMax>, kAtOnce>> block_;
};

}  // namespace robustmq::runtime::posix
