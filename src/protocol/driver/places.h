// ConnectionPlaces: how many connections a listener, or all of a node together, may have at once, on all cores. Pure.
//
// Counted exactly and at once, so the cores share the count: an atomic number, touched when a connection comes and when it goes.
#pragma once

#include <atomic>
#include <cstdint>

namespace robustmq::protocol::driver {

// Thread: any.
class ConnectionPlaces {
 public:
  explicit ConnectionPlaces(uint64_t max) : max_(max) {}

  // False when none is left.
  bool take() {
    if (taken_.fetch_add(1, std::memory_order_relaxed) < max_) return true;
    give_back();
    return false;
  }
  void give_back() { taken_.fetch_sub(1, std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> taken_{0};
  uint64_t max_;
};

}  // namespace robustmq::protocol::driver
