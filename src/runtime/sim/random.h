// SimRandom: the simulated world's random numbers (splitmix64), the same for the same seed on every machine. Pure.
#pragma once

#include <cstdint>

namespace robustmq::runtime::sim {

class SimRandom {
 public:
  explicit SimRandom(uint64_t seed) : state_(seed) {}

  uint64_t next() {
    uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  // In [0, bound); 0 when bound is 0.
  uint64_t below(uint64_t bound) { return bound == 0 ? 0 : next() % bound; }
  // In [low, high].
  uint64_t between(uint64_t low, uint64_t high) { return low + below(high - low + 1); }
  // True `per_million` times in a million.
  bool chance(uint32_t per_million) { return below(1'000'000) < per_million; }
  // A generator of its own, so that what one part draws does not shift what another gets.
  SimRandom fork() { return SimRandom(next()); }

 private:
  uint64_t state_;
};

}  // namespace robustmq::runtime::sim
