// A QoS 2 message that its client sends again, and of which its session does not know that it came. A persistent light topic may
// have it all the same: there it is stored before the spool has its packet id, and the node may go between the two. Pure.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/batch.h"
#include "broker/session/spool_record.h"

namespace robustmq::broker {

// Which packet marks (spool_record.h) of the session are not settled.
struct PacketRepeat {
  uint64_t above = 0;              // up to it they are
  std::vector<uint64_t> released;  // these too

  bool is_open(uint64_t sequence) const {
    return sequence > above && std::find(released.begin(), released.end(), sequence) == released.end();
  }
};

// Whether `stored` is what `again` repeats: of the same session and packet id, an earlier mark that is not settled, and the same
// message. A producer may forge the mark: then the very message is there all the same.
bool is_same_packet(const RecordView& stored, const RecordView& again, const PacketRepeat& repeat);

}  // namespace robustmq::broker
