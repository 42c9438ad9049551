// The one way a Queue changes ranges. Pure. Private to broker/queue.
#pragma once

#include "broker/queue/queue.h"

namespace robustmq::queue {

// Calls change(first, range) for each range of [first, last], cut to it; every offset of it is known.
template <class Change>
void Queue::change(Offset first, Offset last, Change&& change) {
  auto at = split(first);
  split(last + 1);
  while (at != ranges_.end() && at->first <= last) {
    Range& range = at->second;
    const State before = range.state;
    Group* group = range.extra ? range.extra->group : nullptr;
    unindex(at->first, range);
    change(at->first, range);
    index(at->first, range);
    if (!group && range.extra) group = range.extra->group;
    if (group)
      refresh(*group);
    else if (range.state == State::available && before != State::available)
      make_ready(at->first, range.lane);
    ++at;
  }
  merge(first, last);
  forget_done();
}

}  // namespace robustmq::queue
