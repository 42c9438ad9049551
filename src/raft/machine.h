// Machine: a replicated state machine: total, deterministic, pure. Pure.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"

namespace robustmq::raft {

// Owned above its group; called on the group's core. The same commands in the same order with the same stamps give the same
// replies and the same state on every replica: no clock, no random numbers, no order of addresses.
class Machine {
 public:
  virtual ~Machine() = default;
  // One committed command. `stamped` was set when it was proposed and never falls from one command to the next. The reply is
  // for the proposer; a refusal is a reply too. A command that cannot be understood changes nothing and says so in its reply.
  virtual Bytes apply(ByteSpan command, WallTime stamped) = 0;
  // The whole state, for restore(). Format of the machine's own.
  virtual Bytes snapshot() const = 0;
  // Replaces the state. Error: malformed, not_supported (written by a newer version).
  virtual Status restore(ByteSpan snapshot) = 0;
  // Equal states have equal fingerprints.
  virtual uint64_t fingerprint() const = 0;
};

}  // namespace robustmq::raft
