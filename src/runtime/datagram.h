// DatagramSocket: UDP on one core. The seam; runtime/posix and runtime/sim implement it. Addresses are numbers here, as every
// datagram carries two of them.
//
// Every core that opens the same endpoint with `shares` has a socket of its own there; the system gives what comes from one peer
// always to the same of them (and to any while that set changes).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "runtime/net.h"

namespace robustmq::runtime {

// An IPv4 or IPv6 address with its port. 20 bytes; equal when all of it is.
struct IpPort {
  std::array<uint8_t, 16> ip{};  // IPv4: the first four, the rest 0
  uint16_t port = 0;
  bool is_v6 = false;

  bool operator==(const IpPort&) const = default;
  Endpoint to_endpoint() const;
};

// The two ends of a datagram's way.
struct DatagramPath {
  IpPort local;
  IpPort peer;
  bool operator==(const DatagramPath&) const = default;
};

// What a socket tells its owner, on the socket's core. The owner may destroy the socket inside neither.
class DatagramEvents {
 public:
  // One datagram, valid in this call; it may be changed in place. `ecn`: the two bits of its header (RFC 3168).
  virtual void on_datagram(const DatagramPath& path, std::span<uint8_t> bytes, uint8_t ecn) = 0;
  virtual void on_writable() = 0;  // once, after a send that fell short

 protected:
  ~DatagramEvents() = default;
};

struct DatagramOptions {
  bool shares = false;                    // the other cores open the same endpoint
  size_t receive_buffer_bytes = 4 << 20;  // asked of the system, which may give less
  Callback<void(size_t bytes)> on_cut;    // a datagram larger than kDatagramBytesMax came and was dropped
};

class DatagramSocket {
 public:
  static constexpr size_t kDatagramBytesMax = 2048;  // received
  static constexpr size_t kSegmentsMax = 32;         // of one send

  virtual ~DatagramSocket() = default;  // closes
  virtual void start(DatagramEvents& events) = 0;
  // Sends `bytes` as datagrams of `segment_bytes` each, the last of the rest; at most kSegmentsMax of them. Returns the bytes
  // that were taken, whole datagrams; fewer when the system has no room: then on_writable comes. What cannot be sent at all (no
  // route, too large for the way) counts as taken: datagrams get lost.
  virtual size_t send(const DatagramPath& path, std::span<const uint8_t> bytes, size_t segment_bytes, uint8_t ecn) = 0;
  virtual Endpoint local() const = 0;
};

// What a world's Net does with datagrams. Apart from Net, for few need them.
class DatagramNet : public Net {
 public:
  // The host is numeric, or localhost; port 0 takes a free one.
  virtual Result<std::unique_ptr<DatagramSocket>> open_datagrams(const Endpoint& at, DatagramOptions options) = 0;
};
// Every world's Net is one.
DatagramNet& datagrams_of(Net& net);

}  // namespace robustmq::runtime
