#include "tests/sim/client.h"

namespace robustmq::sim {
namespace {
constexpr Duration kReconnectAfter = Duration::millis(20);
}

Client::Client(runtime::Core& core, runtime::Endpoint server)
    : core_(core), server_(std::move(server)), reconnect_([](void* self) { static_cast<Client*>(self)->connect(); }, this) {}

Client::~Client() { *alive_ = false; }

void Client::connect() {
  if (is_stopped_) return;
  core_.net().connect(server_, [this, alive = alive_, attempt = ++attempt_](Result<std::unique_ptr<runtime::Socket>> socket) {
    if (!*alive || is_stopped_ || attempt != attempt_) return;
    if (!socket) return core_.arm(reconnect_, core_.now() + kReconnectAfter);
    socket_ = socket.take();
    socket_->start(*this);
    on_connected();
  });
}

void Client::stop() {
  is_stopped_ = true;
  reconnect_.cancel();
  socket_.reset();
}

void Client::drop() {
  if (socket_) lose();
}

void Client::lose() {
  // Not destroyed inside its own event.
  core_.post([gone = std::shared_ptr<runtime::Socket>(std::move(socket_))] {});
  unsent_.clear();
  sent_of_first_ = 0;
  input_.clear();
  on_lost();
  if (!is_stopped_) core_.arm(reconnect_, core_.now() + kReconnectAfter);
}

void Client::send(Bytes bytes) {
  if (!socket_ || bytes.empty()) return;
  unsent_.push_back(Piece::of(std::move(bytes)));
  flush();
}

void Client::flush() {
  while (socket_ && !unsent_.empty()) {
    const runtime::IoResult result = socket_->write(unsent_, sent_of_first_);
    if (result.kind == runtime::IoResult::Kind::would_block) return socket_->want_write(true);
    if (result.kind != runtime::IoResult::Kind::moved) return lose();
    sent_of_first_ += result.bytes;
    size_t whole = 0;
    while (whole < unsent_.size() && sent_of_first_ >= unsent_[whole].size) sent_of_first_ -= unsent_[whole++].size;
    unsent_.erase(unsent_.begin(), unsent_.begin() + static_cast<ptrdiff_t>(whole));
  }
  if (socket_) socket_->want_write(false);
}

void Client::on_readable() {
  uint8_t block[4096];
  while (socket_) {
    const runtime::IoResult result = socket_->read(block);
    if (result.kind == runtime::IoResult::Kind::would_block) break;
    if (result.kind != runtime::IoResult::Kind::moved) return lose();
    input_.append(ByteSpan(block, result.bytes));
  }
  if (input_.empty()) return;
  const Bytes all = input_.take();
  const size_t taken = on_bytes(all);
  if (socket_ && taken < all.size()) input_.append(all.slice(taken).span());
}

}  // namespace robustmq::sim
