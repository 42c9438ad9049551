#include "broker/group/share_assignor.h"

#include <algorithm>
#include <utility>

namespace robustmq::broker {

Assignment assign_shared(const AssignmentInput& input) {
  Assignment assignment = assign(Assignor::uniform, input);
  std::vector<const Assignee*> left;  // who has nothing, and follows something
  for (const Assignee& member : input.members) {
    const bool follows = std::any_of(member.topics.begin(), member.topics.end(), [&](const TopicId& topic) {
      const auto at = input.topics.find(topic);
      return at != input.topics.end() && at->second > 0;
    });
    if (follows && assignment[member.id].empty()) left.push_back(&member);
  }
  if (left.empty()) return assignment;

  std::map<ShardId, size_t> readers;
  std::map<TopicId, std::set<std::pair<size_t, int32_t>>> by_readers;  // of each topic: readers, partition
  size_t partitions = 0, members = 0;
  for (const auto& [id, part] : assignment) {
    members += part.empty() ? 0 : 1;
    for (const ShardId& shard : part) ++readers[shard];
  }
  for (const auto& [topic, count] : input.topics) {
    partitions += static_cast<size_t>(count);
    for (int32_t partition = 0; partition < count; ++partition) by_readers[topic].emplace(readers[{topic, partition}], partition);
  }
  const auto give = [&](const Assignee& member, const ShardId& shard) {
    size_t& count = readers[shard];
    auto& order = by_readers[shard.topic];
    order.erase({count, shard.partition});
    order.emplace(++count, shard.partition);
    assignment[member.id].insert(shard);
  };
  const size_t fair = (members + left.size() + partitions - 1) / partitions;
  const auto follows = [&](const Assignee& member, const ShardId& shard) {
    const auto at = input.topics.find(shard.topic);
    return at != input.topics.end() && shard.partition < at->second &&
           std::binary_search(member.topics.begin(), member.topics.end(), shard.topic);
  };
  // Where it was before, unless there are too many.
  std::erase_if(left, [&](const Assignee* member) {
    for (const ShardId& shard : member->before) {
      if (!follows(*member, shard) || readers[shard] >= fair) continue;
      give(*member, shard);
      return true;
    }
    return false;
  });
  for (const Assignee* member : left) {
    std::optional<std::pair<size_t, ShardId>> least;
    for (const TopicId& topic : member->topics) {
      const auto order = by_readers.find(topic);
      if (order == by_readers.end() || order->second.empty()) continue;
      const auto& [count, partition] = *order->second.begin();
      if (!least || count < least->first) least.emplace(count, ShardId{topic, partition});
    }
    if (least) give(*member, least->second);
  }
  return assignment;
}

}  // namespace robustmq::broker
