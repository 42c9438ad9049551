#include "broker/group/assignors.h"

#include <algorithm>
#include <utility>

namespace robustmq::broker {
namespace {

// Which members follow each topic, by their places in the input.
std::map<TopicId, std::vector<size_t>> followers_of(const AssignmentInput& input) {
  std::map<TopicId, std::vector<size_t>> followers;
  for (size_t i = 0; i < input.members.size(); ++i) {
    for (const TopicId& topic : input.members[i].topics) {
      if (input.topics.contains(topic)) followers[topic].push_back(i);
    }
  }
  return followers;
}

Assignment named(const AssignmentInput& input, std::vector<Partitions> parts) {
  Assignment assignment;
  for (size_t i = 0; i < parts.size(); ++i) assignment.emplace(input.members[i].id, std::move(parts[i]));
  return assignment;
}

Assignment assign_ranges(const AssignmentInput& input) {
  std::vector<Partitions> parts(input.members.size());
  for (auto& [topic, followers] : followers_of(input)) {
    std::sort(followers.begin(), followers.end(), [&](size_t a, size_t b) {
      const Assignee& left = input.members[a];
      const Assignee& right = input.members[b];
      if (left.instance_id.empty() != right.instance_id.empty()) return right.instance_id.empty();
      return std::tie(left.instance_id, left.id) < std::tie(right.instance_id, right.id);
    });
    const auto count = static_cast<int32_t>(followers.size());
    const int32_t partitions = input.topics.at(topic);
    int32_t next = 0;
    for (int32_t i = 0; i < count; ++i) {
      const int32_t share = partitions / count + (i < partitions % count ? 1 : 0);
      for (int32_t end = next + share; next < end; ++next) parts[followers[static_cast<size_t>(i)]].insert({topic, next});
    }
  }
  return named(input, std::move(parts));
}

// The uniform assignor at work: parts that grow, and what nobody has yet.
class Uniform {
 public:
  explicit Uniform(const AssignmentInput& input) : input_(input), followers_(followers_of(input)), parts_(input.members.size()) {}

  Assignment run() {
    if (input_.members.empty()) return {};
    keep();
    const bool are_alike = std::all_of(input_.members.begin(), input_.members.end(),
                                       [&](const Assignee& member) { return member.topics == input_.members[0].topics; });
    if (are_alike) {
      trim();
      fill_alike();
    } else {
      fill();
      level();
    }
    return named(input_, std::move(parts_));
  }

 private:
  void keep() {
    Partitions taken;
    for (size_t i = 0; i < parts_.size(); ++i) {
      const Assignee& member = input_.members[i];
      for (const ShardId& shard : member.before) {
        const auto topic = input_.topics.find(shard.topic);
        if (topic == input_.topics.end() || shard.partition >= topic->second || shard.partition < 0) continue;
        if (!std::binary_search(member.topics.begin(), member.topics.end(), shard.topic)) continue;
        if (taken.insert(shard).second) parts_[i].insert(shard);
      }
    }
    for (const auto& [topic, followers] : followers_) {
      for (int32_t partition = 0; partition < input_.topics.at(topic); ++partition) {
        if (!taken.contains({topic, partition})) free_.insert({topic, partition});
      }
    }
  }

  // All follow the same: nobody keeps more than its equal part.
  void trim() {
    size_t total = free_.size();
    for (const Partitions& part : parts_) total += part.size();
    const size_t least = total / parts_.size();
    size_t with_one_more = total % parts_.size();
    for (Partitions& part : parts_) {
      size_t limit = least;
      if (part.size() > least && with_one_more > 0) {
        ++limit;
        --with_one_more;
      }
      while (part.size() > limit) free_.insert(part.extract(std::prev(part.end())));
    }
  }
  void fill_alike() {
    std::set<std::pair<size_t, size_t>> by_size;
    for (size_t i = 0; i < parts_.size(); ++i) by_size.emplace(parts_[i].size(), i);
    for (const ShardId& shard : std::exchange(free_, {})) {
      const auto least = by_size.extract(by_size.begin()).value();
      parts_[least.second].insert(shard);
      by_size.emplace(least.first + 1, least.second);
    }
  }

  // They follow different topics: those that few follow are given out first.
  void fill() {
    std::vector<std::pair<size_t, ShardId>> order;
    for (const ShardId& shard : std::exchange(free_, {})) order.emplace_back(followers_.at(shard.topic).size(), shard);
    std::sort(order.begin(), order.end());
    for (const auto& [count, shard] : order) parts_[smallest(followers_.at(shard.topic))].insert(shard);
  }
  // Moves partitions to members that have at least two less, until there are none. Each move makes the sizes more equal, so it
  // comes to an end.
  void level() {
    for (bool moved = true; moved;) {
      moved = false;
      for (const auto& [topic, followers] : followers_) {
        while (move_one(topic, followers)) moved = true;
      }
    }
  }
  bool move_one(const TopicId& topic, const std::vector<size_t>& followers) {
    const size_t to = smallest(followers);
    size_t from = SIZE_MAX;
    for (const size_t i : followers) {
      if (from != SIZE_MAX && parts_[i].size() <= parts_[from].size()) continue;
      if (has_of(i, topic)) from = i;
    }
    if (from == SIZE_MAX || parts_[from].size() < parts_[to].size() + 2) return false;
    auto last = std::prev(parts_[from].upper_bound({topic, INT32_MAX}));
    parts_[to].insert(parts_[from].extract(last));
    return true;
  }
  bool has_of(size_t member, const TopicId& topic) const {
    const auto at = parts_[member].lower_bound({topic, 0});
    return at != parts_[member].end() && at->topic == topic;
  }
  size_t smallest(const std::vector<size_t>& of) const {
    return *std::min_element(of.begin(), of.end(), [&](size_t a, size_t b) { return parts_[a].size() < parts_[b].size(); });
  }

  const AssignmentInput& input_;
  std::map<TopicId, std::vector<size_t>> followers_;
  std::vector<Partitions> parts_;
  Partitions free_;
};

}  // namespace

std::optional<Assignor> assignor_of(std::string_view name) {
  if (name == "uniform") return Assignor::uniform;
  if (name == "range") return Assignor::range;
  return std::nullopt;
}

std::string_view assignor_name(Assignor assignor) { return assignor == Assignor::range ? "range" : "uniform"; }

Assignment assign(Assignor assignor, const AssignmentInput& input) {
  return assignor == Assignor::range ? assign_ranges(input) : Uniform(input).run();
}

}  // namespace robustmq::broker
