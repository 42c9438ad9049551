// Gathering: an answer whose parts come in any order, and from any core.
#pragma once

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

#include "broker/broker.h"

namespace robustmq::broker {

// Made with std::make_shared and held by who brings a part; lives on the asking core, as its parts must be brought there. Who
// makes it adds the number of parts to `waiting`, and finishes one itself, behind the last question: then nothing is done too
// early.
template <class Whole, class Done = ReplyTo>
struct Gathering {
  Whole whole;
  Done done;
  size_t waiting = 1;

  void finish_one() {
    if (--waiting == 0) done(std::move(whole));
  }
  // For lists: the part is put behind what is there.
  void add(Whole part) {
    std::move(part.begin(), part.end(), std::back_inserter(whole));
    finish_one();
  }
};

template <class Row>
using GatheringList = Gathering<std::vector<Row>, Callback<void(std::vector<Row>)>>;

}  // namespace robustmq::broker
