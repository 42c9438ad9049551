// Link: one client link: a byte stream, the protocol's connection over it, and what the broker knows of it. Not pure.
//
// Owned by its Listener, on one core; it dies with its stream. Idle: under 500 bytes with its stream, without the connection.
// States: open -> [moving] -> ending (the connection closed it, or the socket went) -> last_calls (on_peer_closed was given;
// its calls are being executed) -> flushing (the connection is gone; the stream sends the rest).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/intrusive.h"
#include "broker/broker.h"
#include "net/stream.h"
#include "protocol/connection.h"
#include "runtime/timer.h"

namespace robustmq::protocol::driver {

class Listener;
struct StalledTag;

// Names a link as long as it lives; afterwards it names none.
struct LinkHandle {
  uint32_t slot = 0;
  uint32_t generation = 0;
};

// A call that a connection issued and that is not executed yet.
struct Work {
  LinkHandle link;
  CallId id = 0;
  broker::Request request;
};

// A link between two cores.
struct MovingLink {
  net::DetachedStream stream;
  std::unique_ptr<Connection> connection;
  broker::Context context;
  CallId last_call = 0;
  Instant timer = Instant::never();
  std::vector<Work> work;  // OpenSession first
  Bytes input;             // what views in `work` may point into
};

class Link final : public ListHook<StalledTag>, private net::StreamEvents, private broker::Sink {
 public:
  Link(Listener& listener, std::unique_ptr<runtime::Socket> socket, uint64_t id);
  Link(Listener& listener, MovingLink&& arriving);
  ~Link();

 private:
  friend class Listener;
  enum class State : uint8_t { open, moving, ending, last_calls, flushing };

  size_t on_bytes(const Bytes& bytes) override;
  void on_drained() override;
  void on_closed(net::StreamEnd end) override;
  void on_delivery(const broker::Delivery& delivery) override;
  void on_notice(broker::Notice notice) override;
  bool is_ready() const override;
  void tell_ready();
  static void on_timer(void* self);

  void send(Outbox& out);
  // Reads on or stops reading, as connection, output and core now have it.
  void update_reading();
  bool drop_cancelled(CallId id);
  uint64_t written_bytes() const { return sent_bytes_ - stream_.unsent_bytes(); }

  Listener& listener_;
  LinkHandle handle_;
  State state_ = State::open;
  bool stream_is_closed_ = false;
  CloseWhy why_ = CloseWhy::none;
  uint32_t calls_under_way_ = 0;  // executed and not answered
  std::unique_ptr<Connection> connection_;
  broker::Context context_;
  CallId last_call_ = 0;
  uint64_t sent_bytes_ = 0;  // given to the stream
  runtime::Timer timer_{&Link::on_timer, this};
  struct Rare {
    std::vector<CallId> cancelled;  // their replies are dropped
    std::vector<Work> work;         // while moving: OpenSession and what came behind it
    Bytes input;
    std::string detail;         // of the close
    uint64_t written_mark = 0;  // while output waits: written bytes at the last look that saw progress
    Instant progress_at{};
  };
  Rare& rare() {
    if (!rare_) rare_ = std::make_unique<Rare>();
    return *rare_;
  }
  std::unique_ptr<Rare> rare_;
  net::ByteStream stream_;  // last: it goes first
};

}  // namespace robustmq::protocol::driver
