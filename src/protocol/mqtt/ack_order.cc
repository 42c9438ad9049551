#include "protocol/mqtt/ack_order.h"

namespace robustmq::mqtt {

void AckOrder::requested(protocol::CallId call) {
  const uint64_t end = front_ + entries_.size();
  requests_.push_back({call, requested_ < front_ ? front_ : requested_, end});
  requested_ = end;
}

bool AckOrder::take_request(protocol::CallId call, Request& out) {
  for (size_t i = 0; i < requests_.size(); ++i) {
    if (requests_[i].call != call) continue;
    out = requests_[i];
    requests_.erase(requests_.begin() + static_cast<ptrdiff_t>(i));
    return true;
  }
  return false;
}

bool AckOrder::answer(protocol::CallId call, const broker::Published& published) {
  Request request;
  if (!take_request(call, request)) return false;
  size_t next = 0;
  // Entries already answered were refused without asking; one of those may even have left.
  for (uint64_t at = request.from < front_ ? front_ : request.from; at < request.to; ++at) {
    Entry& entry = entries_[at - front_];
    if (entry.is_answered) continue;
    entry.is_answered = true;
    entry.code = Code::internal;
    if (next < published.results.size()) {
      entry.code = published.results[next].code;
      entry.has_followers = published.results[next].has_followers;
    }
    ++next;
  }
  return true;
}

bool AckOrder::fail(protocol::CallId call, Code code) {
  Request request;
  if (!take_request(call, request)) return false;
  for (uint64_t at = request.from < front_ ? front_ : request.from; at < request.to; ++at) {
    Entry& entry = entries_[at - front_];
    if (entry.is_answered) continue;
    entry.is_answered = true;
    entry.code = code;
  }
  return true;
}

void AckOrder::forget_again(uint16_t packet_id) {
  for (size_t i = 0; i < entries_.size(); ++i) {
    Entry& entry = entries_[i];
    if (entry.kind == Kind::again && entry.packet_id == packet_id) entry.kind = Kind::forgotten;
  }
}

bool AckOrder::pop(Entry& out) {
  if (entries_.empty() || !entries_.front().is_answered) return false;
  out = entries_.front();
  entries_.pop_front();
  ++front_;
  return true;
}

}  // namespace robustmq::mqtt
