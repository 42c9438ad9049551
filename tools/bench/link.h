// Client sockets for load generation: a Link is one connection, a Poller waits for many. Raw epoll, so that the generator costs
// less than what it measures. One thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace robustmq::bench {

// A TCP connection to 127.0.0.1. Blocking until added to a Poller. Every error ends the run (fail()).
class Link {
 public:
  Link() = default;
  Link(const Link&) = delete;
  ~Link();

  void connect(int port);
  void adopt(int fd) { fd_ = fd; }
  int fd() const { return fd_; }

  void close();

  // Set-up, while blocking: sends all; reads exactly `size` bytes, waiting at most 10 s.
  void send_now(std::string_view data);
  std::string read_now(size_t size);

  // Running: what is put into out() leaves with flush(); what the socket does not take at once stays for the next flush().
  std::string& out() { return out_; }
  void flush();
  bool has_unsent() const { return sent_ < out_.size(); }

  // Bytes that came before and did not make a whole packet.
  std::string& rest() { return rest_; }

 private:
  int fd_ = -1;
  size_t sent_ = 0;
  std::string out_, rest_;
};

class Poller {
 public:
  Poller();
  ~Poller();

  // Makes the link's socket non-blocking and waits for its bytes from now on. `index` comes back from wait().
  void add(const Link& link, uint32_t index);
  // The indices of the links with bytes to read, after at most `timeout_ns` (0: does not wait).
  const std::vector<uint32_t>& wait(int64_t timeout_ns);
  // Reads once from the link into a shared buffer: what came, empty when nothing was there. Valid until the next read.
  // A connection closed by the broker ends the run.
  std::string_view read(Link& link);

 private:
  int fd_;
  std::string buffer_;
  std::vector<uint32_t> ready_;
};

}  // namespace robustmq::bench
