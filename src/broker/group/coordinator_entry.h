// What a GroupCoordinator has of one consumer group. Private to the room.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "broker/group/consumer_group.h"
#include "broker/group/coordinator.h"
#include "broker/group/share_group.h"

namespace robustmq::broker {

// The streams of a tenant.
class CatalogTopics final : public TopicSource {
 public:
  CatalogTopics(const meta::Meta& meta, TenantId tenant) : meta_(meta), tenant_(tenant) {}

  std::optional<FollowableTopic> find(std::string_view name) const override { return of(meta_.find(tenant_, name)); }
  std::optional<FollowableTopic> find(const TopicId& id) const override { return of(meta_.find(id)); }
  std::vector<FollowableTopic> list() const override {
    std::vector<FollowableTopic> out;
    for (const auto& topic : meta_.list(tenant_)) out.push_back({topic->id, topic->name, topic->partitions});
    return out;
  }

 private:
  static std::optional<FollowableTopic> of(const std::shared_ptr<const meta::Topic>& topic) {
    if (topic == nullptr) return std::nullopt;
    return FollowableTopic{topic->id, topic->name, topic->partitions};
  }
  const meta::Meta& meta_;
  TenantId tenant_;
};

struct GroupCoordinator::Entry {
  Entry(GroupCoordinator& owner_in, Key key_in)
      : owner(owner_in),
        key(std::move(key_in)),
        group(owner.options_, owner.metrics_),
        topics(owner.meta_, key.first),
        timer([](void* self) { static_cast<Entry*>(self)->owner.on_group_timer(*static_cast<Entry*>(self)); }, this) {}

  bool has_members() const {
    return group.has_members() || (consumers && consumers->has_members()) || (shares && shares->has_members());
  }
  // Nobody has joined; ids that were given out to come back with do not count.
  bool is_empty() const {
    return group.member_count() == 0 && !(consumers && consumers->has_members()) && !(shares && shares->has_members()) &&
           commits_under_way == 0 && writes_done == writes_begun;
  }
  bool is_idle() const { return !has_members() && commits_under_way == 0 && writes_done == writes_begun; }

  // What the members follow.
  struct Followed {
    const ConsumerGroup* consumers = nullptr;
    std::optional<std::set<std::string>> names;  // of classic members; nullopt: it cannot be told
    bool is_known() const { return consumers != nullptr || names.has_value(); }
    bool contains(const std::string& topic) const { return consumers ? consumers->is_followed(topic) : names->contains(topic); }
  };
  Followed followed() const {
    if (consumers) return {consumers.get(), std::nullopt};
    return {nullptr, group.subscribed_topics()};
  }

  // An answer that waits for the write that makes it true.
  struct Held {
    uint64_t write = 0;
    Callback<void(Reply)> done;
    Reply reply;
  };

  GroupCoordinator& owner;
  Key key;
  Group group;  // without members while there are `consumers`
  CatalogTopics topics;
  std::unique_ptr<ConsumerGroup> consumers;  // nullptr: not one with server-side assignment
  std::unique_ptr<ShareGroup> shares;        // nullptr: not a share group; without either a classic one
  bool is_ending = false;                    // a share group that is being deleted, or told to forget
  runtime::Timer timer;
  std::map<Group::Ticket, Callback<void(Reply)>> waiting;
  std::deque<Held> held;
  uint64_t writes_begun = 0;
  uint64_t writes_done = 0;
  int commits_under_way = 0;
  bool had_members = false;
  WallTime emptied_at{};
};

template <class Kind>
DescribedConsumers GroupCoordinator::describe_each(TenantId tenant, const std::vector<std::string>& groups,
                                                   std::unique_ptr<Kind> Entry::* kind, std::string_view name) const {
  DescribedConsumers reply;
  for (const std::string& group : groups) {
    DescribedConsumers::One& one = reply.groups.emplace_back();
    const Entry* entry = find(tenant, group);
    if (entry != nullptr && entry->*kind) {
      one = (entry->*kind)->describe();
    } else {
      one.code = group.empty() ? Code::invalid_group : Code::group_not_found;
      one.detail = "Group " + group + (entry ? " is not " + std::string(name) + "." : " not found.");
      one.state = "Dead";
    }
    one.group = group;
  }
  return reply;
}

}  // namespace robustmq::broker
