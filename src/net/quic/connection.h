// QuicConnection: one QUIC connection (RFC 9000) around ngtcp2, with its one stream as a socket. Private to the room. Pure but
// for GnuTLS (context.h): datagrams, time and randomness come from the endpoint that holds it.
//
// The stream is the first bidirectional one that the client opens; a second, and any unidirectional one, is over the limit that
// the client was told, which ends the connection (STREAM_LIMIT_ERROR).
//
// A connection lives with its endpoint (endpoint.h) until it is over and its socket is gone. Between two cores it lives in the
// detached socket, without an endpoint. Its socket gone, it still sends what was written to it, for a few seconds; then it says
// CONNECTION_CLOSE, and for three probe timeouts answers late datagrams with that again (RFC 9000 10.2).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/anchor.h"
#include "base/intrusive.h"
#include "net/quic/cid.h"
#include "net/quic/context.h"
#include "net/quic/options.h"
#include "net/quic/send_queue.h"
#include "runtime/core.h"
#include "runtime/datagram.h"
#include "runtime/timer.h"

namespace robustmq::net {

class QuicEndpoint;
class QuicSocket;
struct QuicTransport;  // what is ngtcp2's and GnuTLS's
struct QuicAllTag;
struct QuicDirtyTag;

// What an endpoint knows of a client when it makes its connection.
struct QuicFirst {
  runtime::DatagramPath path;
  uint32_t version = 0;
  QuicCid client;               // what the client calls itself
  QuicCid asked;                // what the client called the server, in the Initial that is answered
  QuicCid asked_first;          // the same, before a Retry
  bool is_after_retry = false;  // `asked` is what the Retry told
  ByteSpan token;               // valid in the call
};

class QuicConnection final : public ListHook<QuicAllTag>, public ListHook<QuicDirtyTag> {
 public:
  using DatagramPath = runtime::DatagramPath;
  enum class State : uint8_t {
    opening,   // handshake, then the wait for the stream
    open,      // the socket was handed over
    closing,   // CONNECTION_CLOSE was sent
    draining,  // CONNECTION_CLOSE came
    over,      // nothing is sent or expected any more
  };

  // Null when there is no memory for it.
  static std::unique_ptr<QuicConnection> accept(QuicEndpoint& endpoint, uint64_t id, std::shared_ptr<const QuicContext> context,
                                                const QuicFirst& first, Duration time_max);
  static std::unique_ptr<QuicConnection> dial(QuicEndpoint& endpoint, uint64_t id, std::shared_ptr<const QuicContext> context,
                                              const DatagramPath& path, const std::string& server_name, Duration time_max);
  ~QuicConnection();

  // ---- for the endpoint ----
  uint64_t id() const { return id_; }
  State state() const { return state_; }
  bool is_client() const { return is_client_; }
  const std::vector<QuicCid>& cids() const { return cids_; }
  const DatagramPath& path() const { return path_; }
  // One datagram of this connection. Not from inside any of its calls.
  void receive(const DatagramPath& path, ByteSpan bytes, uint8_t ecn);
  // Sends what there is to send. May end the connection.
  void flush();
  // The stream is there: its socket, once.
  std::unique_ptr<QuicSocket> take_socket();
  bool is_ready() const { return state_ == State::opening && is_shaken_ && stream_ >= 0; }
  std::string common_name() const;
  // Ends at once, with CONNECTION_CLOSE where that can be said.
  void close(uint64_t error_code, std::string_view reason);
  bool is_done() const { return state_ == State::over && !socket_; }
  const std::string& failure() const { return failure_; }
  void leave();                    // its endpoint: it is on its way
  void come_to(QuicEndpoint& to);  // its new one
  QuicEndpoint* endpoint() { return endpoint_; }
  std::vector<CoreIndex> former_homes;
  // Client only: goes on from another address of its own (RFC 9000 9), which `path` names.
  bool migrate(const DatagramPath& path);

  // ---- for the socket ----
  runtime::IoResult read(std::span<uint8_t> into);
  runtime::IoResult write(std::span<const Piece> pieces, size_t skip_bytes_of_first);
  void finish();  // nothing more will be written
  void on_socket_gone();
  void on_socket_moved(QuicSocket& to) { socket_ = &to; }
  bool is_readable() const { return !input_.empty() || is_input_over() || has_failed(); }
  bool is_writable() const;

 private:
  friend struct QuicCallbacks;
  friend class QuicEndpoint;
  QuicConnection(QuicEndpoint& endpoint, uint64_t id, std::shared_ptr<const QuicContext> context, const DatagramPath& path,
                 Duration time_max);

  static void on_timer(void* self);
  void on_time();
  uint64_t now();
  bool is_alive() const { return state_ == State::opening || state_ == State::open; }
  bool is_input_over() const { return is_input_finished_ || left_in_order_; }
  bool has_failed() const { return state_ >= State::closing || is_stream_reset_; }
  void after_input();
  void set_timer();
  int write_packets();
  void settle_error(int error);
  void fail(int error);
  void close_now(int error, uint64_t code, std::string_view reason);
  void begin_end(State state, Duration span);
  void note_peer_close();
  void tell_socket();
  void see_path();
  void give_token();
  void add_cid(const QuicCid& cid);
  void drop_cid(const QuicCid& cid);

  QuicEndpoint* endpoint_;
  uint64_t id_;
  std::unique_ptr<QuicTransport> transport_;
  DatagramPath path_;
  std::vector<QuicCid> cids_;  // by which datagrams find it
  QuicSocket* socket_ = nullptr;
  runtime::Timer timer_{&QuicConnection::on_timer, this};
  Instant deadline_ = Instant::never();  // to be open; later, to have sent everything
  Instant last_now_{};
  int64_t stream_ = -1;
  QuicSendQueue output_;
  Buffer input_;
  size_t input_at_ = 0;
  std::string close_packet_;
  std::string failure_;
  uint32_t late_datagrams_ = 0;  // while closing
  State state_ = State::opening;
  bool is_client_ = false;
  bool is_shaken_ = false;
  bool is_input_finished_ = false;  // the peer's end of the stream came
  bool left_in_order_ = false;      // the peer closed without an error
  bool is_output_finished_ = false;
  bool is_finish_sent_ = false;
  bool is_output_refused_ = false;  // the peer reads no more
  bool is_stream_closed_ = false;
  bool is_stream_reset_ = false;
  bool was_handed_over_ = false;
  bool was_reset_ = false;  // the peer sent a stateless reset
  bool has_given_token_ = false;
  bool counts_as_ending_ = false;  // the endpoint's count
};

// The stream as a socket. Without a connection (its endpoint was gone when it came there) everything fails.
class QuicSocket final : public runtime::Socket {
 public:
  QuicSocket(runtime::Core& core, QuicConnection* connection);
  ~QuicSocket() override;

  void start(runtime::SocketEvents& events) override;
  runtime::IoResult read(std::span<uint8_t> into) override;
  runtime::IoResult write(std::span<const Piece> pieces, size_t skip_bytes_of_first) override;
  void want_read(bool on) override;
  void want_write(bool on) override;
  void close_write() override;
  runtime::Endpoint peer() const override;
  runtime::Endpoint local() const override;
  std::string_view failure() const override;
  std::unique_ptr<runtime::DetachedSocket> detach() override;

  // Something may have changed for its owner, who is told in a turn of its own.
  void tell();
  void forget_connection() { connection_ = nullptr; }

 private:
  void tell_now();
  bool is_event_due() const;

  runtime::Core& core_;
  QuicConnection* connection_;
  runtime::SocketEvents* events_ = nullptr;
  bool wants_read_ = true;
  bool wants_write_ = false;
  bool is_posted_ = false;
  AnchorOwner<QuicSocket> anchor_;
};

}  // namespace robustmq::net
