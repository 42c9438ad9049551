// Leases of what a connection holds of others: packet ids of a range, given in turn (menu/sessions.h). Pure.
#pragma once

#include <cstdint>

namespace robustmq::broker {

// The first from `next` on that is not in `held`, which must leave one free; `next` is the one behind it then.
template <class Held>
uint16_t take_lease_id(const Held& held, uint16_t& next, uint16_t first, uint16_t last) {
  const auto step = [&] { next = next == last ? first : static_cast<uint16_t>(next + 1); };
  while (held.contains(next)) step();
  const uint16_t taken = next;
  step();
  return taken;
}

}  // namespace robustmq::broker
