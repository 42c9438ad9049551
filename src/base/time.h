// Instant (monotonic: timers, leases, keep-alive) and WallTime (milliseconds since 1970, stored). They do not convert. Pure.
#pragma once

#include <compare>
#include <cstdint>

namespace robustmq {

struct Duration {
  int64_t ns = 0;
  static constexpr Duration micros(int64_t n) { return {n * 1000}; }
  static constexpr Duration millis(int64_t n) { return {n * 1'000'000}; }
  static constexpr Duration seconds(int64_t n) { return {n * 1'000'000'000}; }
  constexpr int64_t to_millis() const { return ns / 1'000'000; }
  constexpr auto operator<=>(const Duration&) const = default;
  constexpr Duration operator+(Duration other) const { return {ns + other.ns}; }
  constexpr Duration operator-(Duration other) const { return {ns - other.ns}; }
  constexpr Duration operator*(int64_t factor) const { return {ns * factor}; }
};

struct Instant {
  int64_t ns = 0;
  constexpr auto operator<=>(const Instant&) const = default;
  constexpr Instant operator+(Duration d) const { return {ns + d.ns}; }
  constexpr Instant operator-(Duration d) const { return {ns - d.ns}; }
  constexpr Duration operator-(Instant other) const { return {ns - other.ns}; }
  static constexpr Instant never() { return {INT64_MAX}; }
};

struct WallTime {
  int64_t ms = 0;
  constexpr auto operator<=>(const WallTime&) const = default;
};

}  // namespace robustmq
