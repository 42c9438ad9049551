// What an append's origin says: the connection that published (Context::connection_id), 0 for the broker itself; with kMarked,
// that the publisher's own path made the batch, so that the packet marks in its records are the broker's. A header of the same
// name in what a client produced says nothing. Pure.
#pragma once

#include <cstdint>

namespace robustmq::broker {

constexpr uint64_t kMarkedOrigin = uint64_t{1} << 63;
// A client's, whose connection is not known any more.
constexpr uint64_t kSomeClient = kMarkedOrigin - 1;

constexpr uint64_t connection_of(uint64_t origin) { return origin & ~kMarkedOrigin; }
constexpr bool is_marked(uint64_t origin) { return (origin & kMarkedOrigin) != 0; }

}  // namespace robustmq::broker
