// Who of a share group's members reads which partitions (KIP-932's simple assignor). Pure.
//
// Every partition of a topic that somebody follows has a reader, every member that follows something has a partition. With fewer
// members than partitions each partition has one reader, as the assignor `uniform` gives them; members beyond that are spread
// over the partitions evenly. A member keeps what it had as far as that allows. The same input gives the same output.
#pragma once

#include "broker/group/assignors.h"

namespace robustmq::broker {

Assignment assign_shared(const AssignmentInput& input);

}  // namespace robustmq::broker
