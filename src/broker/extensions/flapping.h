// Flapping: finds the clients whose connections end too often. Pure. Lives beside the sessions of its core, to which all
// connections of a client come.
//
// A client's window begins with an end of its connection; with flapping_ends_max of them in it the client flaps, and its count
// begins anew. Limit: BanOptions::flapping_clients_max; those whose window is over make room.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

#include "base/ids.h"
#include "base/time.h"
#include "broker/extensions/ban_options.h"

namespace robustmq::broker {

class Flapping {
 public:
  Flapping(const BanOptions& options, BanMetrics& metrics) : options_(options), metrics_(metrics) {}

  // A connection of the client ended. True: it flaps.
  bool note_end(std::string_view client_id, Instant now);

 private:
  struct Seen {
    Instant since{};
    uint32_t ends = 0;
  };
  bool is_over(const Seen& seen, Instant now) const { return now - seen.since >= Duration::millis(options_.flapping_window_ms); }
  bool has_room(Instant now);

  const BanOptions& options_;
  BanMetrics& metrics_;
  std::unordered_map<std::string, Seen, TextHash, std::equal_to<>> seen_;
  Instant swept_at_{};
};

}  // namespace robustmq::broker
