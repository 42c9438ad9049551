// ByteStream: a byte stream over one socket, with its output queue and the input that nobody has taken yet. Pure (the socket
// behind it is the world's).
//
// Input. Bytes are read into one 64 KiB block that all streams of a core share and handed on as slices of it; while nobody
// keeps a slice the block is used again. What the consumer leaves is kept: a little as a copy of its own, that goes in front of
// the next read; of a large frame (want()) in a block of its own, that takes the bytes straight from the socket and grows
// with what has arrived: at most to four times that, and so to the whole frame once a quarter of it is there. A stream whose
// last frame was large reads the next one straight into a block of that size. So a frame is copied at most once, and one as
// large as the last not at all.
//
// Output. send() queues; all that one turn queued leaves in one write at its end. Small pieces are put together, large ones
// are not copied, stored ranges go from the file to the socket.
//
// TLS, WebSocket and the PROXY protocol lie below, as filters of the socket (net/filter.h).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/describe.h"
#include "base/pieces.h"
#include "base/time.h"
#include "runtime/core.h"
#include "runtime/net.h"

namespace robustmq::net {

// Counted a core; merged by who reports them.
struct StreamCounters {
  uint64_t read_bytes_total = 0;
  uint64_t written_bytes_total = 0;
  uint64_t stored_bytes_total = 0;
  uint64_t input_copied_bytes_total = 0;
  uint64_t output_copied_bytes_total = 0;
  uint64_t reads_total = 0;
  uint64_t writes_total = 0;
  uint64_t over_budget_total = 0;
  int64_t streams_open = 0;
  int64_t input_held_bytes = 0;

  template <class V>
  static void describe(V& v) {
    using S = StreamCounters;
    v.field("read_bytes_total", &S::read_bytes_total, {.doc = "Bytes read from sockets."});
    v.field("written_bytes_total", &S::written_bytes_total, {.doc = "Bytes written to sockets."});
    v.field("stored_bytes_total", &S::stored_bytes_total, {.doc = "Of the written ones: from files, not through user memory."});
    v.field("input_copied_bytes_total", &S::input_copied_bytes_total,
            {.doc = "Bytes moved in user memory between a socket and its consumer."});
    v.field("output_copied_bytes_total", &S::output_copied_bytes_total,
            {.doc = "Bytes of small pieces put together in user memory before a write."});
    v.field("reads_total", &S::reads_total, {.doc = "Reads of sockets."});
    v.field("writes_total", &S::writes_total, {.doc = "Writes to sockets."});
    v.field("over_budget_total", &S::over_budget_total, {.doc = "Streams ended because the input budget was used up."});
    v.field("streams_open", &S::streams_open, {.doc = "Open streams."});
    v.field("input_held_bytes", &S::input_held_bytes,
            {.doc = "Memory held in streams for the rest of their frame.", .unit = "bytes"});
  }
};

struct StreamLimits {
  uint64_t input_held_bytes_max = 256 << 20;  // of one core's streams together
  uint64_t drain_mark_bytes = 256 << 10;      // on_drained comes when the unsent bytes fall to half of it
};

// Why a stream ended.
enum class StreamEnd : uint8_t {
  closed,           // by close(): everything was sent; or by close_now()
  close_timed_out,  // by close(): the peer did not take everything in time
  peer_closed,      // the peer sent its end
  failed,           // reset or another error of the socket
  over_budget,      // the core's input budget is used up
};

// What a stream tells its owner, on its core, never from inside a call of the owner (except where noted). The owner may destroy
// the stream inside any of these.
class StreamEvents {
 public:
  // All bytes that are there and not consumed yet, from the front. Returns how many were consumed; the rest comes again with
  // more behind it. Whoever keeps a slice past this call sees to Bytes::compact().
  virtual size_t on_bytes(const Bytes& bytes) = 0;
  virtual void on_drained() = 0;              // the unsent bytes were over the drain mark and fell to half of it
  virtual void on_closed(StreamEnd end) = 0;  // last call; comes once, however the stream ended
 protected:
  ~StreamEvents() = default;
};

class ByteStream;
struct StreamInput;
struct StreamOutput;

// What the streams of one core share: the read block, spare queues, counters, limits. Outlives its streams.
class Streams {
 public:
  static constexpr size_t kReadBytes = 64 << 10;

  explicit Streams(runtime::Core& core, StreamLimits limits = {});
  Streams(const Streams&) = delete;
  ~Streams();

  runtime::Core& core() { return core_; }
  const StreamLimits& limits() const { return limits_; }
  void set_limits(StreamLimits limits) { limits_ = limits; }
  const StreamCounters& counters() const { return counters_; }

 private:
  friend class ByteStream;
  std::unique_ptr<StreamOutput> take_output();
  void give_back(std::unique_ptr<StreamOutput> output);

  runtime::Core& core_;
  StreamLimits limits_;
  StreamCounters counters_;
  BytesBlock* block_ = nullptr;  // shared with the slices handed out
  size_t block_used_ = 0;        // bytes of it that slices may still refer to
  std::vector<std::unique_ptr<StreamOutput>> spare_;
};

// A stream on its way to another core: nothing of it is lost.
struct DetachedStream {
  std::unique_ptr<runtime::DetachedSocket> socket;
  Bytes unread;
  Pieces unsent;
};

// Owned by its consumer, on one core. Idle: under 160 bytes and no buffers.
class ByteStream final : private runtime::SocketEvents, private runtime::Deferred {
 public:
  ByteStream(Streams& streams, std::unique_ptr<runtime::Socket> socket);
  ByteStream(Streams& streams, DetachedStream detached);
  ~ByteStream();  // closes at once

  // Events come from now on. The events object outlives the stream.
  void start(StreamEvents& events);

  void send(Bytes bytes);
  void send(Pieces pieces);
  // Copies the bytes behind what is queued: for the small messages of a turn, which then share a buffer that streams share too.
  void send_copy(ByteSpan bytes);
  uint64_t unsent_bytes() const { return unsent_bytes_; }
  // Over the drain mark now; on_drained will follow.
  bool is_congested() const { return is_congested_; }

  // on_bytes comes again only when this many bytes are there from the front (0: any more). Set from inside on_bytes or after it;
  // each on_bytes begins with 0. The bytes are received however many they are: who bounds a frame refuses it before wanting it.
  void want(size_t bytes) { wanted_ = bytes; }
  // No on_bytes until resume_reading(), which also hands over what was left, at the end of this turn.
  void pause_reading();
  void resume_reading();
  bool is_paused() const { return is_paused_; }
  // The rest of the input, bytes that were handed over but not consumed: empties it.
  Bytes take_unread();

  // Sends what is queued and then the end, reads on (and drops) until the peer ends too, then on_closed. At `limit` from now
  // it ends in any case. No on_bytes any more.
  void close(Duration limit);
  // Drops what is queued. on_closed comes at the end of this turn.
  void close_now();
  bool is_closing() const { return state_ != State::open; }

  // Takes the stream off this core; this object is only to be destroyed afterwards. Not while closing, nor inside on_bytes
  // (what that call consumes is not known yet): pause there, and detach at the end of the turn.
  DetachedStream detach();

  runtime::Endpoint peer() const { return socket_ ? socket_->peer() : runtime::Endpoint{}; }
  // Why it failed, when a filter knows; until on_closed returns.
  std::string_view failure() const { return socket_ ? socket_->failure() : std::string_view(); }
  runtime::Endpoint local() const { return socket_ ? socket_->local() : runtime::Endpoint{}; }
  Streams& streams() { return streams_; }

 private:
  enum class State : uint8_t { open, flushing, lingering, ended, closed };
  class Guard;

  void on_readable() override;
  void on_writable() override;
  void run_deferred() override;

  bool read_some();
  bool read_into_shared_block();
  bool read_into_own_block();
  bool settle_read(runtime::IoResult result, size_t room);
  void hand_over_held();
  bool hand_over(Bytes bytes, size_t* consumed);
  void keep(const Bytes& rest);
  bool hold_in_own_block(ByteSpan held, size_t capacity);
  size_t capacity_for(size_t held) const;
  bool is_over_budget(size_t bytes) const;
  size_t held_bytes() const;
  void drop_input();
  void discard_some();
  void flush();
  runtime::IoResult write_small();
  void drop_sent(size_t moved);
  void end(StreamEnd why);
  static void on_close_timer(void* self);

  Streams& streams_;
  std::unique_ptr<runtime::Socket> socket_;
  StreamEvents* events_ = nullptr;
  std::unique_ptr<StreamOutput> output_;
  std::unique_ptr<StreamInput> input_;
  std::unique_ptr<runtime::Timer> close_timer_;
  bool* destroyed_ = nullptr;  // set by the destructor, for whoever is on the stack
  uint64_t unsent_bytes_ = 0;
  size_t wanted_ = 0;
  uint32_t expected_ = 0;  // size of the last large frame: the next one is read into a block of this size
  State state_ = State::open;
  StreamEnd end_ = StreamEnd::closed;
  bool is_paused_ = false;
  bool is_congested_ = false;
  bool waits_for_writable_ = false;
  bool input_is_due_ = false;  // hand over what is left at the end of this turn
  bool is_handing_over_ = false;
};

}  // namespace robustmq::net
