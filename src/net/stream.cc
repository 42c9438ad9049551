// ByteStream and what the streams of a core share (see the header). Pure.
#include "net/stream.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "net/filter.h"

namespace robustmq::net {

namespace {

constexpr size_t kLargeBytes = 32 << 10;  // a frame above it is read into a block of its own
constexpr size_t kExpectedMax = 1 << 20;  // the largest block taken before any of its bytes arrived
constexpr size_t kReadMin = 16 << 10;     // room in the shared block that is worth a read
constexpr size_t kRoomMin = 4 << 10;      // room in an own block that is worth a read
constexpr int kReadsAtOnce = 4;           // a stream's share of a turn
constexpr size_t kSmallPiece = 512;       // put together with its neighbours
constexpr size_t kSpareOutputs = 64;
constexpr size_t kSparePieces = 32;
constexpr size_t kSpareSmall = 16 << 10;

}  // namespace

// Input that nobody has taken yet: [begin, end) of a block. Bytes from `end` on may be read into an own block; a shared one is
// only kept for what it holds.
struct StreamInput {
  BytesBlock* block = nullptr;
  size_t begin = 0;
  size_t end = 0;
  size_t accounted = 0;  // of the core's budget
  bool is_own = false;

  size_t size() const { return end - begin; }
  const uint8_t* data() const { return block->data() + begin; }
  size_t room() const { return is_own ? block->capacity - end : 0; }
};

struct StreamOutput {
  std::vector<Piece> pieces;
  size_t head = 0;  // pieces before it are sent
  size_t skip = 0;  // and so much of the one at it
  Buffer small;     // behind `pieces`: small ones put together

  bool is_empty() const { return head == pieces.size() && small.empty(); }
  void close_small() {
    if (!small.empty()) pieces.push_back(Piece::of(small.take()));
  }
};

// Tells whoever is on the stack that the owner destroyed the stream in a callback.
class ByteStream::Guard {
 public:
  explicit Guard(ByteStream& stream) : stream_(stream), outer_(stream.destroyed_) { stream.destroyed_ = &destroyed_; }
  ~Guard() {
    if (!destroyed_)
      stream_.destroyed_ = outer_;
    else if (outer_)
      *outer_ = true;
  }
  bool is_destroyed() const { return destroyed_; }

 private:
  ByteStream& stream_;
  bool* outer_;
  bool destroyed_ = false;
};

// ---- Streams ----

Streams::Streams(runtime::Core& core, StreamLimits limits) : core_(core), limits_(limits) {}

Streams::~Streams() {
  ROBUSTMQ_CHECK(counters_.streams_open == 0, "streams outlive what they share");
  if (block_) block_->release();
}

std::unique_ptr<StreamOutput> Streams::take_output() {
  if (spare_.empty()) return std::make_unique<StreamOutput>();
  std::unique_ptr<StreamOutput> output = std::move(spare_.back());
  spare_.pop_back();
  return output;
}

void Streams::give_back(std::unique_ptr<StreamOutput> output) {
  if (spare_.size() >= kSpareOutputs || output->pieces.capacity() > kSparePieces || output->small.capacity() > kSpareSmall)
    return;
  output->pieces.clear();
  output->head = output->skip = 0;
  output->small.clear();
  spare_.push_back(std::move(output));
}

// ---- life ----

ByteStream::ByteStream(Streams& streams, std::unique_ptr<runtime::Socket> socket)
    : streams_(streams), socket_(std::move(socket)) {
  ++streams_.counters_.streams_open;
}

ByteStream::ByteStream(Streams& streams, DetachedStream detached)
    : ByteStream(streams, adopt(streams.core(), std::move(detached.socket))) {
  if (!detached.unread.empty()) hold_in_own_block(detached.unread, detached.unread.size());
  if (!detached.unsent.empty()) send(std::move(detached.unsent));
}

ByteStream::~ByteStream() {
  if (destroyed_) *destroyed_ = true;
  drop_input();
  if (output_) streams_.give_back(std::move(output_));
  --streams_.counters_.streams_open;
}

void ByteStream::start(StreamEvents& events) {
  events_ = &events;
  socket_->start(*this);
  if (held_bytes() > 0) input_is_due_ = true;
  if (input_is_due_ || output_ || state_ != State::open) streams_.core().defer(*this);
}

DetachedStream ByteStream::detach() {
  ROBUSTMQ_CHECK(state_ == State::open && !is_handing_over_, "a stream that closes or is read cannot move");
  DetachedStream detached;
  detached.unread = take_unread();
  if (output_) {
    output_->close_small();
    for (size_t i = output_->head; i < output_->pieces.size(); ++i) {
      Piece piece = std::move(output_->pieces[i]);
      if (i == output_->head && output_->skip > 0) {
        if (piece.is_stored())
          piece.stored.position += output_->skip;
        else
          piece.bytes = piece.bytes.slice(output_->skip);
        piece.size -= output_->skip;
      }
      detached.unsent.push_back(std::move(piece));
    }
    output_->pieces.clear();
    streams_.give_back(std::move(output_));
  }
  detached.socket = socket_->detach();
  socket_.reset();
  state_ = State::closed;
  unlink();
  return detached;
}

void ByteStream::end(StreamEnd why) {
  if (state_ == State::ended || state_ == State::closed) return;
  state_ = State::ended;
  end_ = why;
  unsent_bytes_ = 0;
  drop_input();
  if (output_) {
    output_->pieces.clear();
    streams_.give_back(std::move(output_));
  }
  close_timer_.reset();
  if (events_) streams_.core().defer(*this);
}

void ByteStream::close_now() { end(StreamEnd::closed); }

void ByteStream::close(Duration limit) {
  if (state_ != State::open) return;
  state_ = State::flushing;
  drop_input();
  close_timer_ = std::make_unique<runtime::Timer>(&ByteStream::on_close_timer, this);
  streams_.core().arm(*close_timer_, streams_.core().now() + limit);
  socket_->want_read(true);
  streams_.core().defer(*this);
}

void ByteStream::on_close_timer(void* self) {
  auto* stream = static_cast<ByteStream*>(self);
  stream->end(stream->state_ == State::flushing ? StreamEnd::close_timed_out : StreamEnd::closed);
}

void ByteStream::run_deferred() {
  Guard guard(*this);
  if (input_is_due_ && state_ == State::open && !is_paused_) {
    input_is_due_ = false;
    hand_over_held();
    if (guard.is_destroyed()) return;
  }
  if (state_ == State::open || state_ == State::flushing) flush();
  if (guard.is_destroyed() || state_ != State::ended) return;
  state_ = State::closed;
  if (events_) events_->on_closed(end_);
  if (guard.is_destroyed()) return;
  socket_.reset();
}

// ---- input ----

size_t ByteStream::held_bytes() const { return input_ ? input_->size() : 0; }

void ByteStream::drop_input() {
  if (!input_) return;
  streams_.counters_.input_held_bytes -= input_->accounted;
  input_->block->release();
  input_.reset();
}

Bytes ByteStream::take_unread() {
  if (!input_) return {};
  input_->block->share();
  Bytes unread = Bytes::adopt(input_->block, input_->data(), input_->size());
  drop_input();
  return unread;
}

void ByteStream::pause_reading() {
  if (is_paused_ || state_ != State::open) return;
  is_paused_ = true;
  socket_->want_read(false);
}

void ByteStream::resume_reading() {
  if (!is_paused_ || state_ != State::open) return;
  is_paused_ = false;
  socket_->want_read(true);
  // From inside on_bytes: what this call leaves is held only after it.
  if (held_bytes() == 0 && !is_handing_over_) return;
  input_is_due_ = true;
  streams_.core().defer(*this);
}

void ByteStream::on_readable() {
  if (state_ == State::flushing || state_ == State::lingering) return discard_some();
  if (state_ != State::open) return;
  // A paused socket only tells that the connection is dead.
  if (is_paused_) return end(StreamEnd::failed);
  Guard guard(*this);
  for (int i = 0; i < kReadsAtOnce; ++i) {
    // The socket tells again in the next turn.
    if (streams_.core().is_congested()) return;
    bool more = read_some();
    if (guard.is_destroyed() || !more || state_ != State::open || is_paused_) return;
  }
}

// Reads once and hands over what is there. True: there may be more.
bool ByteStream::read_some() {
  // What is held goes first: it is handed over at the end of this turn.
  if (input_is_due_) return false;
  bool is_large = std::max(wanted_, held_bytes()) > kLargeBytes || expected_ > 0;
  return is_large ? read_into_own_block() : read_into_shared_block();
}

bool ByteStream::settle_read(runtime::IoResult result, size_t room) {
  ++streams_.counters_.reads_total;
  switch (result.kind) {
    case runtime::IoResult::Kind::moved:
      streams_.counters_.read_bytes_total += result.bytes;
      return result.bytes == room;
    case runtime::IoResult::Kind::would_block:
      return false;
    case runtime::IoResult::Kind::end: {
      // The peer may still read: it gets what was queued for it.
      Guard guard(*this);
      flush();
      if (!guard.is_destroyed()) end(StreamEnd::peer_closed);
      return false;
    }
    case runtime::IoResult::Kind::failed:
      end(StreamEnd::failed);
      return false;
  }
  return false;
}

bool ByteStream::read_into_shared_block() {
  size_t held = held_bytes();
  BytesBlock*& block = streams_.block_;
  if (block && block->references.load(std::memory_order_acquire) == 1) streams_.block_used_ = 0;
  if (!block || block->capacity - streams_.block_used_ < held + kReadMin) {
    if (block) block->release();
    block = BytesBlock::allocate(std::max(Streams::kReadBytes, held + kReadMin));
    streams_.block_used_ = 0;
  }
  uint8_t* at = block->data() + streams_.block_used_;
  size_t room = block->capacity - streams_.block_used_ - held;
  runtime::IoResult result = socket_->read({at + held, room});
  if (result.kind != runtime::IoResult::Kind::moved) return settle_read(result, room);
  if (held > 0) {
    std::memcpy(at, input_->data(), held);
    streams_.counters_.input_copied_bytes_total += held;
    drop_input();
  }
  streams_.block_used_ += held + result.bytes;
  bool more = settle_read(result, room);
  block->share();
  Bytes bytes = Bytes::adopt(block, at, held + result.bytes);
  size_t consumed = 0;
  if (!hand_over(bytes, &consumed)) return false;
  keep(bytes.slice(consumed));
  return more;
}

bool ByteStream::read_into_own_block() {
  size_t held = held_bytes();
  // A block that can hold all that is wanted is filled; so is any with room while little of what is wanted has arrived.
  bool is_own = input_ && input_->is_own;
  bool holds_wanted = is_own && wanted_ > 0 && input_->begin + wanted_ <= input_->block->capacity;
  bool has_room = is_own && input_->room() >= kRoomMin && (wanted_ == 0 || held < wanted_ / 4);
  if (!holds_wanted && !has_room) {
    ByteSpan span = input_ ? ByteSpan{input_->data(), held} : ByteSpan{};
    if (!hold_in_own_block(span, capacity_for(held))) return false;
  }
  size_t room = input_->room();
  runtime::IoResult result = socket_->read({input_->block->data() + input_->end, room});
  if (result.kind != runtime::IoResult::Kind::moved) {
    if (held == 0) drop_input();
    return settle_read(result, room);
  }
  input_->end += result.bytes;
  bool more = settle_read(result, room);
  Guard guard(*this);
  hand_over_held();
  return !guard.is_destroyed() && more;
}

// Of the block that goes on from `held` bytes.
size_t ByteStream::capacity_for(size_t held) const {
  if (expected_ >= wanted_ && expected_ > held) return expected_;
  if (wanted_ <= held) return std::max(2 * held, Streams::kReadBytes);
  // A quarter, a sixteenth ... of what is wanted, so that the last step is the whole.
  size_t capacity = wanted_;
  while (capacity / 4 > held && capacity / 4 >= Streams::kReadBytes) capacity = capacity / 4 + 1;
  return capacity;
}

// Whether holding so much, in place of what is held now, takes more than all streams may.
bool ByteStream::is_over_budget(size_t bytes) const {
  const uint64_t others = static_cast<uint64_t>(streams_.counters_.input_held_bytes) - (input_ ? input_->accounted : 0);
  return others + bytes > streams_.limits_.input_held_bytes_max;
}

// Moves `held` (which may lie in the present input) to a new own block. False when the budget does not allow it: then the stream
// has ended.
bool ByteStream::hold_in_own_block(ByteSpan held, size_t capacity) {
  if (is_over_budget(capacity)) {
    ++streams_.counters_.over_budget_total;
    end(StreamEnd::over_budget);
    return false;
  }
  auto input = std::make_unique<StreamInput>();
  input->block = BytesBlock::allocate(capacity);
  input->is_own = true;
  input->accounted = capacity;
  input->end = held.size();
  if (!held.empty()) std::memcpy(input->block->data(), held.data(), held.size());
  streams_.counters_.input_copied_bytes_total += held.size();
  drop_input();
  streams_.counters_.input_held_bytes += capacity;
  input_ = std::move(input);
  return true;
}

// Keeps what the consumer left of a read of the shared block.
void ByteStream::keep(const Bytes& rest) {
  if (rest.empty() || state_ != State::open) return;
  if (wanted_ > kLargeBytes) {
    hold_in_own_block(rest, capacity_for(rest.size()));
  } else if (rest.size() < streams_.block_->capacity / 4 || is_over_budget(streams_.block_->capacity)) {
    hold_in_own_block(rest, rest.size());
  } else {
    // Much is left (the consumer paused): keeping the block costs less than copying.
    input_ = std::make_unique<StreamInput>();
    streams_.block_->share();
    input_->block = streams_.block_;
    input_->begin = static_cast<size_t>(rest.data() - streams_.block_->data());
    input_->end = input_->begin + rest.size();
    input_->accounted = streams_.block_->capacity;
    streams_.counters_.input_held_bytes += input_->accounted;
  }
}

// Hands over what is held.
void ByteStream::hand_over_held() {
  if (held_bytes() == 0) return;
  input_->block->share();
  Bytes bytes = Bytes::adopt(input_->block, input_->data(), input_->size());
  size_t consumed = 0;
  if (!hand_over(std::move(bytes), &consumed) || !input_) return;
  input_->begin += consumed;
  if (input_->size() == 0) drop_input();
}

// Calls the consumer until it wants more than there is. False when the stream is gone or ended meanwhile.
bool ByteStream::hand_over(Bytes bytes, size_t* consumed) {
  Guard guard(*this);
  while (*consumed < bytes.size() && bytes.size() - *consumed >= wanted_ && !is_paused_) {
    size_t wanted_before = wanted_;
    wanted_ = 0;
    is_handing_over_ = true;
    size_t taken = events_->on_bytes(bytes.slice(*consumed));
    if (guard.is_destroyed()) return false;
    is_handing_over_ = false;
    *consumed += taken;
    ROBUSTMQ_CHECK(*consumed <= bytes.size(), "more was consumed than there was");
    if (state_ != State::open) return false;
    if (taken > 0) {
      bool was_large = taken > kLargeBytes && (wanted_before > kLargeBytes || expected_ > 0);
      expected_ = was_large ? static_cast<uint32_t>(std::min(std::max(wanted_before, taken), kExpectedMax)) : 0;
    }
    if (taken == 0 || wanted_ == 0) break;
  }
  return true;
}

// While closing: what still comes is dropped, until the peer ends too.
void ByteStream::discard_some() {
  uint8_t into[4096];
  for (int i = 0; i < kReadsAtOnce; ++i) {
    runtime::IoResult result = socket_->read(into);
    if (result.kind == runtime::IoResult::Kind::end) {
      // In the middle of flushing the peer may still be reading.
      if (state_ == State::lingering)
        end(StreamEnd::closed);
      else
        socket_->want_read(false);
      return;
    }
    if (result.kind == runtime::IoResult::Kind::failed) {
      end(state_ == State::lingering ? StreamEnd::closed : StreamEnd::failed);
      return;
    }
    if (result.kind == runtime::IoResult::Kind::would_block) return;
  }
}

// ---- output ----

void ByteStream::send(Bytes bytes) {
  if (state_ != State::open || bytes.empty()) return;
  if (!output_) output_ = streams_.take_output();
  unsent_bytes_ += bytes.size();
  if (bytes.size() <= kSmallPiece && !output_->is_empty()) {
    streams_.counters_.output_copied_bytes_total += bytes.size();
    output_->small.append(bytes.span());
  } else {
    output_->close_small();
    output_->pieces.push_back(Piece::of(std::move(bytes)));
  }
  if (unsent_bytes_ > streams_.limits_.drain_mark_bytes) is_congested_ = true;
  if (events_) streams_.core().defer(*this);
}

void ByteStream::send_copy(ByteSpan bytes) {
  if (state_ != State::open || bytes.empty()) return;
  if (!output_) output_ = streams_.take_output();
  unsent_bytes_ += bytes.size();
  streams_.counters_.output_copied_bytes_total += bytes.size();
  output_->small.append(bytes);
  if (unsent_bytes_ > streams_.limits_.drain_mark_bytes) is_congested_ = true;
  if (events_) streams_.core().defer(*this);
}

void ByteStream::send(Pieces pieces) {
  if (state_ != State::open) return;
  for (Piece& piece : pieces) {
    if (!piece.is_stored()) {
      send(std::move(piece.bytes));
      continue;
    }
    if (piece.size == 0) continue;
    if (!output_) output_ = streams_.take_output();
    unsent_bytes_ += piece.size;
    output_->close_small();
    output_->pieces.push_back(std::move(piece));
    if (unsent_bytes_ > streams_.limits_.drain_mark_bytes) is_congested_ = true;
    if (events_) streams_.core().defer(*this);
  }
}

void ByteStream::on_writable() {
  waits_for_writable_ = false;
  socket_->want_write(false);
  if (state_ == State::open || state_ == State::flushing) flush();
}

void ByteStream::drop_sent(size_t moved) {
  StreamOutput& out = *output_;
  streams_.counters_.written_bytes_total += moved;
  unsent_bytes_ -= moved;
  while (moved > 0) {
    Piece& piece = out.pieces[out.head];
    size_t part = std::min<uint64_t>(moved, piece.size - out.skip);
    if (piece.is_stored()) streams_.counters_.stored_bytes_total += part;
    moved -= part;
    out.skip += part;
    if (out.skip < piece.size) break;
    piece = {};
    ++out.head;
    out.skip = 0;
  }
  // Sent pieces in front cost nothing but their place: it is taken back when half of it is theirs.
  if (out.head > 64 && out.head * 2 > out.pieces.size()) {
    out.pieces.erase(out.pieces.begin(), out.pieces.begin() + static_cast<std::ptrdiff_t>(out.head));
    out.head = 0;
  }
}

// Small pieces with nothing in front of them go straight from their buffer, which is then used again.
runtime::IoResult ByteStream::write_small() {
  const size_t size = output_->small.size();
  const Piece piece = Piece::of(Bytes::unowned(output_->small.span()));
  const runtime::IoResult result = socket_->write({&piece, 1}, 0);
  if (result.kind != runtime::IoResult::Kind::moved || result.bytes < size) {
    output_->close_small();
    return result;
  }
  output_->small.clear();
  streams_.counters_.written_bytes_total += size;
  unsent_bytes_ -= size;
  return {runtime::IoResult::Kind::moved, 0};
}

// One write of what is queued; then, when closing and all is out, the end.
void ByteStream::flush() {
  if (output_ && !waits_for_writable_) {
    runtime::IoResult result;
    if (output_->head == output_->pieces.size() && !output_->small.empty()) {
      result = write_small();
    } else {
      output_->close_small();
      std::span<const Piece> waiting(output_->pieces.data() + output_->head, output_->pieces.size() - output_->head);
      result = socket_->write(waiting, output_->skip);
    }
    ++streams_.counters_.writes_total;
    if (result.kind == runtime::IoResult::Kind::failed) return end(StreamEnd::failed);
    if (result.kind == runtime::IoResult::Kind::moved) drop_sent(result.bytes);
    if (output_->is_empty()) {
      streams_.give_back(std::move(output_));
    } else {
      waits_for_writable_ = true;
      socket_->want_write(true);
    }
  }
  if (state_ == State::flushing && !output_) {
    state_ = State::lingering;
    socket_->close_write();
    socket_->want_read(true);
  }
  if (is_congested_ && unsent_bytes_ <= streams_.limits_.drain_mark_bytes / 2) {
    is_congested_ = false;
    if (state_ == State::open && events_) events_->on_drained();
  }
}

}  // namespace robustmq::net
