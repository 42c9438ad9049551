// What filters have in common (see the header). Pure.
#include "net/filter.h"

namespace robustmq::net {

namespace {

class DetachedProxied final : public DetachedFilter {
 public:
  DetachedProxied(std::unique_ptr<runtime::DetachedSocket> below, runtime::Endpoint peer)
      : below_(std::move(below)), peer_(std::move(peer)) {}
  std::unique_ptr<runtime::Socket> attach(runtime::Core& core) override {
    return std::make_unique<ProxiedSocket>(adopt(core, std::move(below_)), std::move(peer_));
  }

 private:
  std::unique_ptr<runtime::DetachedSocket> below_;
  runtime::Endpoint peer_;
};

}  // namespace

std::unique_ptr<runtime::Socket> adopt(runtime::Core& core, std::unique_ptr<runtime::DetachedSocket> socket) {
  if (auto* filter = dynamic_cast<DetachedFilter*>(socket.get())) return filter->attach(core);
  return core.net().adopt(std::move(socket));
}

std::unique_ptr<runtime::DetachedSocket> ProxiedSocket::detach() {
  return std::make_unique<DetachedProxied>(below_->detach(), std::move(peer_));
}

void FilterSocket::start(runtime::SocketEvents& events) {
  events_ = &events;
  below_->start(*this);
  if (is_due_) post_read();
  if (!write_own()) below_->want_write(true);
}

void FilterSocket::want_read(bool on) {
  wants_read_ = on;
  below_->want_read(on);
  if (on && is_due_) post_read();
}

void FilterSocket::want_write(bool on) {
  wants_write_ = on;
  if (on) below_->want_write(true);
}

void FilterSocket::post_read() {
  if (is_posted_ || !events_ || !wants_read_) return;
  is_posted_ = true;
  core_.post([anchor = anchor_.anchor(this)] {
    FilterSocket* self = anchor.get();
    if (!self) return;
    self->is_posted_ = false;
    if (!self->is_due_ || !self->wants_read_) return;
    self->events_->on_readable();
    // Its owner may have put off reading.
    self = anchor.get();
    if (self && self->is_due_) self->post_read();
  });
}

void FilterSocket::on_writable() {
  below_->want_write(false);
  if (!write_own()) return below_->want_write(true);
  if (is_closing_) return finish_close();
  if (wants_write_) events_->on_writable();
}

void FilterSocket::close_write() {
  if (is_closing_) return;
  is_closing_ = true;
  say_goodbye();
  if (write_own())
    finish_close();
  else
    below_->want_write(true);
}

void FilterSocket::finish_close() {
  is_closing_ = false;
  wants_write_ = false;
  below_->close_write();
}

}  // namespace robustmq::net
