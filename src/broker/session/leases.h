// Leases: what was handed to a session's client and is not settled, under packet ids, in the order it was handed out. Pure.
//
// Ids are 1 to kLeaseMax, given in turn, passing over those in use (MQTT5 2.2.1). A lease keeps its id and its place until it
// ends, also over connections (MQTT5 4.4, 4.6).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/ids.h"
#include "broker/menu/request.h"

namespace robustmq::broker {

struct Lease {
  uint16_t id = 0;
  uint8_t qos = 1;
  bool is_received = false;  // QoS 2: the client owns the message
  uint16_t source = 0;
  Offset offset = 0;
};

class Leases {
 public:
  // 0: every id is in use.
  uint16_t take(uint8_t qos, uint16_t source, Offset offset) {
    if (leases_.size() >= kLeaseMax) return 0;
    do {
      last_ = last_ == kLeaseMax ? uint16_t{1} : static_cast<uint16_t>(last_ + 1);
      ++given_;
    } while (given_ >= kLeaseMax && find(last_) != nullptr);
    leases_.push_back({last_, qos, false, source, offset});
    return last_;
  }
  // One that a row names; in its order, before any is taken.
  void restore(const Lease& lease) {
    leases_.push_back(lease);
    given_ = kLeaseMax;  // any id may be in use
  }
  // Clients settle about in order, so what is asked lies near the front.
  Lease* find(uint16_t id) {
    for (Lease& lease : leases_) {
      if (lease.id == id) return &lease;
    }
    return nullptr;
  }
  bool end(uint16_t id) {
    for (auto at = leases_.begin(); at != leases_.end(); ++at) {
      if (at->id != id) continue;
      leases_.erase(at);
      if (leases_.empty()) given_ = 0;
      return true;
    }
    return false;
  }
  // The first offset of a source that is not settled.
  std::optional<Offset> lowest(uint16_t source) const {
    std::optional<Offset> first;
    for (const Lease& lease : leases_) {
      if (lease.source == source && (!first || lease.offset < *first)) first = lease.offset;
    }
    return first;
  }
  size_t size() const { return leases_.size(); }
  const std::vector<Lease>& all() const { return leases_; }

 private:
  std::vector<Lease> leases_;
  uint16_t last_ = 0;
  uint64_t given_ = 0;  // ids since all were free: none of them can come twice before they have all come once
};

}  // namespace robustmq::broker
