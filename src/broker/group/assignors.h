// Who of a consumer group's members is to have which partitions: the assignors of the server (KIP-848). Pure.
//
// Each gives every partition of a topic that somebody follows to exactly one of those who follow it.
//   range    for each topic by itself: its partitions in order, cut into as many runs as it has followers, in the order of their
//            instance ids (those that have one, first) and member ids. So topics with as many partitions are cut at the same
//            places.
//   uniform  over all topics: no member has two partitions more than another that could have one of them, and a member keeps
//            what it was to have before as far as that allows.
// The same input gives the same output.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"

namespace robustmq::broker {

enum class Assignor : uint8_t { uniform, range };

// nullopt: there is none of this name.
std::optional<Assignor> assignor_of(std::string_view name);
std::string_view assignor_name(Assignor assignor);

using Partitions = std::set<ShardId>;

struct Assignee {
  std::string id;
  std::string instance_id;      // empty: none
  std::vector<TopicId> topics;  // ascending; of them only those in AssignmentInput::topics count
  Partitions before;            // what it was to have
};
struct AssignmentInput {
  std::map<TopicId, int32_t> topics;  // with their numbers of partitions
  std::vector<Assignee> members;      // by id
};
using Assignment = std::map<std::string, Partitions, std::less<>>;  // of every member

Assignment assign(Assignor assignor, const AssignmentInput& input);

}  // namespace robustmq::broker
