// What bans may be told and what they count. Pure.
#pragma once

#include <cstdint>

#include "base/describe.h"

namespace robustmq::broker {

struct BanOptions {
  int64_t bans_max = 10'000;
  bool flapping_detected = false;
  uint32_t flapping_ends_max = 15;
  int64_t flapping_window_ms = 60'000;
  int64_t flapping_ban_ms = 300'000;
  int64_t flapping_clients_max = 65'536;

  template <class V>
  static void describe(V& v) {
    using B = BanOptions;
    v.field("bans_max", &B::bans_max, {.doc = "Most bans that the node keeps.", .min = 1});
    v.field("flapping_detected", &B::flapping_detected,
            {.doc = "Whether clients whose connection ends too often are banned for a while."});
    v.field("flapping_ends_max", &B::flapping_ends_max,
            {.doc = "Ends of a client's connections within the window after which it is banned.", .min = 1});
    v.field("flapping_window_ms", &B::flapping_window_ms,
            {.doc = "The window, from the first of them.", .unit = "ms", .min = 1, .max = 86'400'000});
    v.field("flapping_ban_ms", &B::flapping_ban_ms, {.doc = "How long such a ban lasts.", .unit = "ms", .min = 1});
    v.field("flapping_clients_max", &B::flapping_clients_max,
            {.doc = "Clients that a core watches for it; over it, those that come anew are not watched.", .min = 1});
  }
};

// Counted per core; the list on core 0.
struct BanMetrics {
  int64_t bans = 0;
  uint64_t refused_connections_total = 0;
  uint64_t ended_connections_total = 0;
  uint64_t flapping_total = 0;
  uint64_t flapping_unwatched_total = 0;
  uint64_t row_failures_total = 0;

  template <class V>
  static void describe(V& v) {
    using M = BanMetrics;
    v.field("bans", &M::bans, {.doc = "Bans that are kept."});
    v.field("refused_connections_total", &M::refused_connections_total, {.doc = "Connections refused because of a ban."});
    v.field("ended_connections_total", &M::ended_connections_total, {.doc = "Connections ended when their ban came."});
    v.field("flapping_total", &M::flapping_total, {.doc = "Clients found to flap."});
    v.field("flapping_unwatched_total", &M::flapping_unwatched_total,
            {.doc = "Ends of connections not looked at because flapping_clients_max clients were watched already."});
    v.field("row_failures_total", &M::row_failures_total, {.doc = "Changes of bans that could not be stored."});
  }
};

}  // namespace robustmq::broker
